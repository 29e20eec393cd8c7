import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'vitest';
import type { Endpoint } from './interop.ts';

const run = promisify(execFile);

/** pika, for Python: the checks are functions of scripts of its own. */
export function pikaSuite(endpoint: () => Endpoint): void {
  for (const name of ['pika_checks.py', 'pika_tutorials.py']) {
    const script = join(import.meta.dirname, name);
    const checks = [...readFileSync(script, 'utf8').matchAll(/^def check_(\w+)/gm)].map((match) => match[1] as string);
    test.each(checks)('%s', async (check) => {
      await run('/usr/bin/python3', [script, String(endpoint().port), check], { timeout: 30_000 });
    });
  }
}
