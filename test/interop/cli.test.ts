import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectAmqp } from 'amqplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { freePort } from '../support/local-brokers.ts';

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Surroundings {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function rosettamq(...args: string[]): Promise<Ended> {
  return rosettamqIn({}, ...args);
}

function rosettamqIn({ input, env }: Surroundings, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['bin/rosettamq.js', ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    // A command that is refused may end before it reads: its exit code tells how it went, not this pipe.
    child.stdin.on('error', () => {});
    child.stdin.end(input);
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

describe('as a client of a broker', () => {
  let broker: BrokerProcess;
  let folder: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rosettamq-cli-'));
    broker = await BrokerProcess.start();
    env = { ROSETTAMQ_URL: `http://127.0.0.1:${broker.port('management')}` };
  });
  afterAll(async () => {
    await broker.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (...args: string[]): Promise<Ended> => rosettamqIn({ env }, ...args);
  const json = async (...args: string[]): Promise<Record<string, unknown>[]> => {
    const { code, out, err } = await run(...args, '--json');
    if (code !== 0) throw new Error(err);
    return JSON.parse(out);
  };

  test('status shows version, memory and ports', async () => {
    const { code, out } = await run('status');
    expect(code).toBe(0);
    expect(out).toMatch(/^version +RosettaMQ \d/);
    expect(out).toContain(`port ${broker.port('amqp')}`);
  });

  test('users come, change and go', async () => {
    expect(await run('users', 'add', 'ada', 'first', '--tags', 'management')).toMatchObject({ code: 0 });
    expect(await run('users', 'add', 'ada', 'again')).toMatchObject({
      code: 1,
      err: "rosettamq: user 'ada' is there already\n",
    });
    const login = async (password: string): Promise<number | null> =>
      (await run('list', 'vhosts', '--user', 'ada', '--password', password)).code;
    expect(await login('first')).toBe(0);
    // tags alone leave the password; a line of standard input is the new one
    expect(await run('users', 'set', 'ada', '--tags', 'monitoring')).toMatchObject({ code: 0 });
    expect(await login('first')).toBe(0);
    expect(await rosettamqIn({ env, input: 'second\n' }, 'users', 'set', 'ada')).toMatchObject({ code: 0 });
    expect(await login('first')).toBe(1);
    expect(await login('second')).toBe(0);
    expect(await run('list', 'vhosts', '--user', 'ada', '--password', 'first')).toMatchObject({
      code: 1,
      err: "rosettamq: the log-in of 'ada' is refused (HTTP 401)\n",
    });
    expect(await run('queues', 'delete', 'a/b')).toMatchObject({
      code: 1,
      err: 'rosettamq: not found: /api/queues/%2F/a%2Fb (HTTP 404)\n',
    });
    expect(await json('list', 'users')).toContainEqual(expect.objectContaining({ name: 'ada', tags: ['monitoring'] }));
    const fromStdin = ['list', 'vhosts', '--user', 'ada', '--password-stdin'];
    expect(await rosettamqIn({ env, input: 'second\n' }, ...fromStdin)).toMatchObject({ code: 0 });
    const inEnv = { ...env, ROSETTAMQ_USER: 'ada', ROSETTAMQ_PASSWORD: 'second' };
    expect(await rosettamqIn({ env: inEnv }, 'list', 'vhosts')).toMatchObject({ code: 0 });
    expect(await run('list', 'vhosts', '--user', 'ada')).toMatchObject({ code: 2 });
    expect(await run('users', 'delete', 'ada')).toMatchObject({ code: 0 });
    expect(await run('users', 'delete', 'ada')).toMatchObject({ code: 1 });
  });

  test('virtual hosts, permissions and policies are set, listed and deleted', async () => {
    expect((await run('vhosts', 'add', 'a/b', '--description', 'for tests')).code).toBe(0);
    expect((await run('users', 'add', 'bob', 'secret')).code).toBe(0);
    expect((await run('permissions', 'set', 'bob', '^mine', '', '.*', '--vhost', 'a/b')).code).toBe(0);
    expect(await json('list', 'permissions', '--vhost', 'a/b')).toContainEqual({
      user: 'bob',
      vhost: 'a/b',
      configure: '^mine',
      write: '',
      read: '.*',
    });
    expect((await run('topic-permissions', 'set', 'bob', 'amq.topic', '^a', '^b', '-V', 'a/b')).code).toBe(0);
    expect(await json('list', 'topic-permissions')).toMatchObject([
      { user: 'bob', exchange: 'amq.topic', write: '^a' },
    ]);
    expect((await run('topic-permissions', 'delete', 'bob', '-V', 'a/b')).code).toBe(0);
    const policy = ['policies', 'set', 'short', '^q', '{"max-length": 3}', '--priority', '2', '--apply-to', 'queues'];
    expect((await run(...policy)).code).toBe(0);
    expect(await json('list', 'policies')).toEqual([
      { vhost: '/', name: 'short', pattern: '^q', 'apply-to': 'queues', definition: { 'max-length': 3 }, priority: 2 },
    ]);
    expect(await run('policies', 'set', 'wrong', '^q', '{"nonsense": 3}')).toMatchObject({ code: 1 });
    expect(await run('policies', 'set', 'wrong', '^q', 'nonsense')).toMatchObject({ code: 2 });
    expect((await run('policies', 'delete', 'short')).code).toBe(0);
    expect((await run('permissions', 'delete', 'bob', '--vhost', 'a/b')).code).toBe(0);
    expect((await run('vhosts', 'delete', 'a/b')).code).toBe(0);
    expect((await json('list', 'vhosts')).map(({ name }) => name)).toEqual(['/']);
  });

  test('queues are declared, listed as a table, purged and deleted', async () => {
    const declare = ['queues', 'declare', 'orders', '-a', 'x-max-length=5', '-a', 'x-overflow=reject-publish'];
    expect((await run(...declare)).code).toBe(0);
    const { out } = await run('list', 'queues');
    expect(out).toMatch(
      /^name +vhost +ready +unacked +consumers +durable +policy +state\norders +\/ +0 +0 +0 +yes +running\n$/,
    );
    const narrow = await rosettamqIn({ env: { ...env, COLUMNS: '40' } }, 'list', 'queues');
    expect(Math.max(...narrow.out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(40);
    expect(await json('list', 'queues')).toMatchObject([
      { name: 'orders', arguments: { 'x-max-length': 5, 'x-overflow': 'reject-publish' } },
    ]);
    expect((await run('queues', 'purge', 'orders')).code).toBe(0);
    expect((await run('queues', 'delete', 'orders', '--if-empty')).code).toBe(0);
    expect(await run('queues', 'delete', 'orders')).toMatchObject({ code: 1 });
  });

  test.each(['connections', 'channels', 'consumers', 'exchanges', 'bindings', 'operator-policies'])(
    'list %s has a table and JSON',
    async (what) => {
      expect(await run('list', what)).toMatchObject({ code: 0, err: '' });
      expect(Array.isArray(await json('list', what))).toBe(true);
    },
  );

  test('a connection is closed, and told why', async () => {
    const connection = await connectAmqp(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const closed = new Promise<Error>((resolve) => connection.once('close', (error) => resolve(error)));
    const [{ name } = {}] = await json('list', 'connections');
    expect((await run('connections', 'close', String(name), '--reason', 'maintenance')).code).toBe(0);
    expect((await closed).message).toContain('maintenance');
    expect(await run('connections', 'close')).toMatchObject({ code: 2 });
  });

  test('definitions go to a file and come back, for nobody else to read', async () => {
    const file = join(folder, 'definitions.json');
    await run('queues', 'declare', 'defined');
    expect((await run('definitions', 'export', file)).code).toBe(0);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    await run('queues', 'delete', 'defined');
    expect((await run('definitions', 'import', file)).code).toBe(0);
    expect((await json('list', 'queues')).map(({ name }) => name)).toContain('defined');
    const text = await readFile(file, 'utf8');
    expect((await rosettamqIn({ env, input: text }, 'definitions', 'import', '-')).code).toBe(0);
    expect(await run('definitions', 'import', join(folder, 'none.json'))).toMatchObject({ code: 1 });
    expect(JSON.parse((await run('definitions', 'export')).out)).toMatchObject({ product_name: 'RosettaMQ' });
  });

  test('the log level is shown and set', async () => {
    expect(await run('log-level')).toMatchObject({ code: 0, out: 'warn\n' });
    expect(await run('log-level', 'debug')).toMatchObject({ code: 0, out: 'debug\n' });
    expect(await run('log-level', 'loud')).toMatchObject({ code: 1 });
    await new ApiClient(broker.port('management')).put('log-level', { level: 'warn' });
  });
});
