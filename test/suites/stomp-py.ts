import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { test } from 'vitest';
import type { Endpoint } from './interop.ts';

const run = promisify(execFile);
const script = join(import.meta.dirname, 'stomp_checks.py');
const checks = [...readFileSync(script, 'utf8').matchAll(/^def check_(\w+)/gm)].map((match) => match[1] as string);

/** stomp.py, for Python: the checks are functions of a script of its own. */
export function stompPySuite(endpoint: () => Endpoint): void {
  test.each(checks)('%s', async (check) => {
    await run('/usr/bin/python3', [script, String(endpoint().port), check], { timeout: 30_000 });
  });
}
