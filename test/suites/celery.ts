import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, test } from 'vitest';
import type { Endpoint } from './interop.ts';

const run = promisify(execFile);
const here = import.meta.dirname;
const script = join(here, 'celery_checks.py');
const checks = [...readFileSync(script, 'utf8').matchAll(/^def check_(\w+)/gm)].map((match) => match[1] as string);

/** Celery, whose worker runs tasks one at a time: the checks call it from processes of their own. */
export function celerySuite(endpoint: () => Endpoint): void {
  let worker: ChildProcess;

  function environment(): NodeJS.ProcessEnv {
    const { host, port, user, password } = endpoint();
    return {
      PATH: process.env['PATH'],
      BROKER: `amqp://${user}:${password}@${host}:${port}//`,
      PYTHONPATH: here,
      PYTHONDONTWRITEBYTECODE: '1',
    };
  }

  beforeAll(async () => {
    const args = ['-m', 'celery', '-A', 'celery_tasks', 'worker', '--pool', 'solo', '--queues', 'celery,ranked'];
    worker = spawn('/usr/bin/python3', [...args, '--without-gossip', '--without-mingle', '--loglevel', 'INFO'], {
      env: environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 300_000,
    });
    await started(worker);
  });
  afterAll(async () => {
    if (worker.exitCode !== null || worker.signalCode !== null) return;
    const gone = once(worker, 'exit');
    worker.kill('SIGKILL');
    await gone;
  });

  test.each(checks)('%s', async (check) => {
    await run('/usr/bin/python3', [script, check], { env: environment(), timeout: 50_000 });
  });
}

function started(worker: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const hear = (chunk: Buffer): void => {
      said += chunk.toString();
      if (/ready\./.test(said)) resolve();
    };
    worker.stdout!.on('data', hear);
    worker.stderr!.on('data', hear);
    worker.once('exit', (code) => reject(new Error(`the worker ended with ${code}: ${said}`)));
  });
}
