import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

let dataDir: string;

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-start-'));
});
afterAll(() => rm(dataDir, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function run(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['src/main.ts', '--data-dir', dataDir, ...args]);
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

test('--check of a right configuration ends with 0', async () => {
  expect(await run('--check')).toMatchObject({ code: 0, err: '' });
});

test.each([
  ['an unknown key', ['--set', 'colour=red'], /colour.*red/],
  ['a wrong type', ['--set', 'listeners.mqtt.port=many'], /listeners\.mqtt\.port.*many/],
  ['a --set without a value', ['--set', 'logLevel'], /logLevel/],
  ['a file that is not there', ['--config', '/none/rosettamq.yaml'], /\/none\/rosettamq\.yaml/],
])('%s ends the start with 78 and one line', async (_what, args, message) => {
  const { code, out, err } = await run(...args);
  expect(code).toBe(78);
  expect(out).toBe('');
  expect(err).toMatch(message);
  expect(err.trimEnd().split('\n')).toHaveLength(1);
});

test('a port in use ends the start with 1 and a line that names the key and the port', async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const only = Object.entries({ amqp: port, mqtt: 0, stomp: 0, management: 0 }).flatMap(([name, each]) => [
    '--set',
    `listeners.${name}.port=${each}`,
    '--set',
    `listeners.${name}.host=127.0.0.1`,
  ]);
  const { code, err } = await run('--set', 'logLevel=silent', ...only);
  taken.close();
  expect(code).toBe(1);
  expect(err.trimEnd()).toMatch(new RegExp(`listeners\\.amqp\\.port: ${port} .*in use`));
});

test('--version and --help say so and end with 0', async () => {
  expect(await run('--version')).toMatchObject({ code: 0, out: expect.stringMatching(/^rosettamq \d+\.\d+\.\d+\n$/) });
  expect((await run('--help')).out).toContain('--data-dir');
});
