import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

const program = '/usr/bin/rabbitmqadmin';

// reason of the skip: RabbitMQ's own command is not installed
describe.skipIf(!existsSync(program))("RabbitMQ's own command", () => {
  let broker: BrokerProcess;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rabbitmqadmin-'));
    broker = await BrokerProcess.start();
  });
  afterAll(async () => {
    await broker.remove();
    await rm(folder, { recursive: true, force: true });
  });

  const run = (...args: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const all = [program, '-P', String(broker.port('management')), '-f', 'tsv', ...args];
      execFile('/usr/bin/python3', all, (error, stdout, stderr) =>
        error === null ? resolve(stdout) : reject(new Error(`${stdout}${stderr}`)),
      );
    });

  test('declares, binds, publishes, gets, lists, purges and deletes', async () => {
    await run('declare', 'queue', 'name=q', 'durable=true', 'arguments={"x-max-length": 5}');
    await run('declare', 'exchange', 'name=x', 'type=topic');
    await run('declare', 'binding', 'source=x', 'destination=q', 'routing_key=a.#');
    expect(await run('publish', 'exchange=x', 'routing_key=a.b', 'payload=hello')).toContain('Message published');
    expect(await run('get', 'queue=q', 'ackmode=ack_requeue_true')).toContain('a.b\tx\t0\thello\t5\tstring\tFalse');
    expect(await run('list', 'queues', 'name', 'messages')).toBe('name\tmessages\nq\t1\n');
    await run('purge', 'queue', 'name=q');
    expect(await run('list', 'queues', 'name', 'messages')).toBe('name\tmessages\nq\t0\n');
    await run('delete', 'binding', 'source=x', 'destination_type=queue', 'destination=q', 'properties_key=a.%23');
    expect(await run('list', 'bindings', 'source')).toBe('source\n\n');
    await run('delete', 'queue', 'name=q');
    await run('delete', 'exchange', 'name=x');
    await expect(run('delete', 'queue', 'name=q')).rejects.toThrow(/Not found/);
  });

  test('makes users, permissions, virtual hosts and policies, and takes definitions out and in', async () => {
    await run('declare', 'vhost', 'name=v');
    await run('declare', 'user', 'name=u', 'password=p', 'tags=management');
    await run('declare', 'permission', 'vhost=v', 'user=u', 'configure=^a', 'write=.*', 'read=.*');
    await run(
      'declare',
      'policy',
      '-V',
      'v',
      'name=p',
      'pattern=^q',
      'definition={"max-length": 3}',
      'apply-to=queues',
    );
    expect(await run('list', 'permissions')).toContain('v\t^a\t.*\tu\t.*');
    const file = join(folder, 'definitions.json');
    await run('export', file);
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ policies: [{ name: 'p', vhost: 'v' }] });
    await run('delete', 'vhost', 'name=v');
    await run('import', file);
    expect(await run('list', 'vhosts', 'name')).toBe('name\n/\nv\n');
    expect(await run('-u', 'u', '-p', 'p', '-V', 'v', 'list', 'policies', 'name')).toBe('name\np\n');
    expect(await run('show', 'overview')).toContain('rabbitmq_version');
    expect(await run('list', 'nodes', 'name', 'type')).toMatch(/disc/);
  });
});
