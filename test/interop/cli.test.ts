import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { freePort } from '../support/local-brokers.ts';

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function rosettamq(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['bin/rosettamq.js', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    child.once('close', (code) => resolve({ code, out, err }));
  });
}

test('--help lists the commands, --version says which it is', async () => {
  expect(await rosettamq('--help')).toMatchObject({ code: 0, out: expect.stringContaining('start '), err: '' });
  expect((await rosettamq('--version')).out).toMatch(/^rosettamq \d+\.\d+\.\d+\n$/);
});

test('a broker that is not there ends a command with 3', async () => {
  const { code, err } = await rosettamq('list', 'queues', '--url', `http://127.0.0.1:${await freePort()}`);
  expect(code).toBe(3);
  expect(err).toMatch(/cannot be reached \(ECONNREFUSED\)\n$/);
});

test('check ends with 0 or 78 as the configuration is', async () => {
  expect(await rosettamq('check')).toMatchObject({ code: 0, out: 'the configuration is valid\n' });
  const { code, err } = await rosettamq('check', '--set', 'colour=red');
  expect(code).toBe(78);
  expect(err).toMatch(/colour.*red/);
});

/** The machine's own Node, if it is older than the pinned one. */
function findOlderNode(): string | undefined {
  const found = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => existsSync(path));
  if (found === undefined) return undefined;
  const major = Number(/^v(\d+)/.exec(execFileSync(found, ['--version'], { encoding: 'utf8' }))?.[1]);
  return major >= 20 && major < 24 ? found : undefined;
}

interface Started {
  readonly child: ChildProcess;
  readonly dataDir: string;
  readonly ended: Promise<number | null>;
}

async function start(node: string): Promise<Started> {
  const dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-cli-'));
  const ports = ['amqp', 'mqtt', 'stomp', 'management'].flatMap((name) => ['--set', `listeners.${name}.port=0`]);
  const child = spawn(node, ['bin/rosettamq.js', 'start', '--data-dir', dataDir, ...ports], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (/^ready in \d+ ms$/m.test(out)) resolve();
    });
    child.once('exit', (code) => reject(new Error(`it ended with ${code}`)));
  });
  return { child, dataDir, ended: new Promise((resolve) => child.once('close', (code) => resolve(code))) };
}

const older = findOlderNode();
const nodes = [
  ['this Node', process.execPath],
  ['an older Node', older],
] as const;

describe.each(nodes)('under %s', (_name, node) => {
  // reason: the machine's own Node is not between 20 and 23
  test.skipIf(node === undefined)('start runs the broker until SIGTERM', async () => {
    const { child, dataDir, ended } = await start(node!);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    await rm(dataDir, { recursive: true, force: true });
  });

  test.skipIf(node === undefined)('an exit code comes through', () => {
    const { status, stderr } = spawnSync(node!, ['bin/rosettamq.js', 'nonsense'], { encoding: 'utf8' });
    expect([status, stderr]).toEqual([2, expect.stringMatching(/^rosettamq: 'nonsense' is no command/)]);
  });
});

// reason: as above
test.skipIf(older === undefined)('killed without a word, the command leaves no broker behind', async () => {
  const { child, dataDir, ended } = await start(older!);
  child.kill('SIGKILL');
  await ended; // 'close': nobody holds the broker's standard output any longer
  await rm(dataDir, { recursive: true, force: true });
});
