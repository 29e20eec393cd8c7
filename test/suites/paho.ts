import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'vitest';
import type { MortalBroker } from '../support/mortal-broker.ts';

const script = join(import.meta.dirname, 'paho_checks.py');
const checks = [...readFileSync(script, 'utf8').matchAll(/^def check_(\w+)/gm)].map((match) => match[1] as string);

/** paho-mqtt, for Python: the checks are functions of a script of its own, which may ask for the broker's restart. */
export function pahoSuite(broker: () => MortalBroker): void {
  test.each(checks)(
    '%s',
    async (check) => {
      const args = [script, String(broker().port), check, String(broker().webSocketPort)];
      const python = spawn('/usr/bin/python3', args, { stdio: 'pipe' });
      const errors: string[] = [];
      python.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
      const ended = new Promise<number | null>((resolve) => python.once('close', resolve));
      for await (const line of createInterface({ input: python.stdout })) {
        const signal = /^restart (SIGTERM|SIGKILL)$/.exec(line)?.[1] as 'SIGTERM' | 'SIGKILL' | undefined;
        if (signal === undefined) continue;
        await broker().restart(signal);
        python.stdin.write('\n');
      }
      if ((await ended) !== 0) throw new Error(errors.join(''));
    },
    60_000,
  );
}
