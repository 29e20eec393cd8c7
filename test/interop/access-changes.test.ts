import { once } from 'node:events';
import { connect as connectAmqp } from 'amqplib';
import { connectAsync } from 'mqtt';
import rhea from 'rhea';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

const all = { configure: '.*', write: '.*', read: '.*' };
const none = { configure: '', write: '', read: '' };

describe('a permission that is taken away', () => {
  let broker: BrokerProcess;
  let api: ApiClient;

  beforeAll(async () => {
    broker = await BrokerProcess.start();
    api = new ApiClient(broker.port('management'));
    await api.put('queues/%2F/target', { durable: true });
  });
  afterAll(() => broker.remove());

  async function allow(user: string, permission: object): Promise<void> {
    await api.put(`permissions/%2F/${user}`, permission);
  }

  async function addUser(user: string): Promise<void> {
    await api.put(`users/${user}`, { password: 'p', tags: '' });
    await allow(user, all);
  }

  const messages = async (): Promise<unknown> => (await api.read('queues/%2F/target'))['messages'];

  test('holds at once on an open connection of AMQP 0-9-1', async () => {
    await addUser('amqp');
    const connection = await connectAmqp(`amqp://amqp:p@127.0.0.1:${broker.port('amqp')}`);
    const channel = await connection.createConfirmChannel();
    const publish = (): Promise<void> =>
      new Promise((resolve, reject) =>
        channel.publish('', 'target', Buffer.from('x'), {}, (error) => (error ? reject(error) : resolve())),
      );
    await publish();
    const before = await messages();
    await allow('amqp', none);
    const refused = new Promise<Error>((resolve) => channel.once('error', resolve));
    publish().catch(() => {});
    expect((await refused).message).toMatch(/403.*write access to exchange 'amq.default' in vhost '\/' refused/);
    expect(await messages()).toBe(before);
    await allow('amqp', all);
    await (await connection.createChannel()).checkQueue('target');
    await connection.close();
  });

  test('holds at once on an open connection of AMQP 1.0', async () => {
    await addUser('amqp10');
    const container = rhea.create_container();
    const connection = container.connect({
      host: '127.0.0.1',
      port: broker.port('amqp'),
      username: 'amqp10',
      password: 'p',
      reconnect: false,
    });
    const sender = connection.open_sender('/queues/target');
    await once(sender, 'sendable');
    const before = Number(await messages());
    const accepted = once(sender, 'accepted');
    sender.send({ body: 'x' });
    await accepted;
    expect(await messages()).toBe(before + 1);
    await allow('amqp10', none);
    const refused = Promise.race([
      once(sender, 'rejected'),
      once(sender, 'sender_error'),
      once(connection, 'connection_error'),
    ]);
    sender.send({ body: 'x' });
    await refused;
    expect(await messages()).toBe(before + 1);
    connection.close();
  });

  test.each([3, 4, 5] as const)('holds at once on an open connection of MQTT, level %i', async (level) => {
    const user = `mqtt${level}`;
    await addUser(user);
    const client = await connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
      username: user,
      password: 'p',
      clientId: user,
      protocolVersion: level,
      ...(level === 3 ? { protocolId: 'MQIsdp' } : {}),
      reconnectPeriod: 0,
    });
    client.on('error', () => {});
    await client.publishAsync('a/b', 'x', { qos: 1 });
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
    await allow(user, none);
    const published = client.publishAsync('a/b', 'x', { qos: 1 });
    if (level === 5) await expect(published).rejects.toThrow(/not authorized/i);
    else {
      published.catch(() => {});
      await closed; // 3.1 and 3.1.1 have no word for it
    }
    client.end(true);
  });

  test('holds at once on an open connection of STOMP', async () => {
    await addUser('stomp');
    const wire = await StompWire.open(broker.port('stomp'));
    wire.send('CONNECT\naccept-version:1.2\nhost:/\nlogin:stomp\npasscode:p\n\n\0');
    expect((await wire.next()).command).toBe('CONNECTED');
    await wire.publish('/queue/target', 'x');
    const before = await messages();
    await allow('stomp', none);
    wire.send('SEND\ndestination:/queue/target\nreceipt:r\n\nx\0');
    const error = await wire.next();
    expect([error.command, error.body.toString()]).toEqual([
      'ERROR',
      expect.stringMatching(/refused for user 'stomp'/),
    ]);
    expect(await messages()).toBe(before);
  });

  test('a user who is deleted loses their connections', async () => {
    await addUser('gone');
    const connection = await connectAmqp(`amqp://gone:p@127.0.0.1:${broker.port('amqp')}`);
    const closed = new Promise<Error>((resolve) => connection.once('close', (error) => resolve(error)));
    await api.delete('users/gone');
    expect((await closed).message).toMatch(/320.*user 'gone' is deleted/);
    await expect(connectAmqp(`amqp://gone:p@127.0.0.1:${broker.port('amqp')}`)).rejects.toThrow(/403|ACCESS_REFUSED/);
  });

  test('a password that was changed lets nobody in with the old one', async () => {
    await addUser('changed');
    const url = (password: string): string => `amqp://changed:${password}@127.0.0.1:${broker.port('amqp')}`;
    await (await connectAmqp(url('p'))).close();
    await api.put('users/changed', { password: 'new', tags: '' });
    await expect(connectAmqp(url('p'))).rejects.toThrow();
    await (await connectAmqp(url('new'))).close();
  });
});

test('users, permissions, policies, limits and parameters survive kill -9, and what was seeded and deleted stays away', async () => {
  const seeds = [
    'users={guest: {password: guest, tags: [administrator]}, seeded: {password: seeded}}',
    'vhosts=[/, seeded-vhost]',
  ].flatMap((each) => ['--set', each]);
  let broker = await BrokerProcess.start({ args: seeds });
  let api = new ApiClient(broker.port('management'));
  await api.put('vhosts/kept', { description: 'kept', tags: 'a' });
  await api.put('users/kept', { password: 'secret', tags: 'management' });
  await api.put('permissions/kept/kept', { configure: '^a', write: '^b', read: '^c' });
  await api.put('topic-permissions/kept/kept', { exchange: 'amq.topic', write: '^d', read: '^e' });
  await api.put('policies/kept/p', {
    pattern: '^q',
    definition: { 'max-length': 4 },
    priority: 2,
    'apply-to': 'queues',
  });
  await api.put('operator-policies/kept/o', { pattern: '^q', definition: { 'max-length': 3 }, 'apply-to': 'queues' });
  await api.put('vhost-limits/kept/max-queues', { value: 2 });
  await api.put('user-limits/kept/max-connections', { value: 5 });
  await api.put('parameters/c/kept/p', { value: [1, 'two'] });
  await api.put('global-parameters/g', { value: { a: null } });
  await api.put('queues/kept/q', { durable: true });
  await api.delete('users/seeded');
  await api.delete('vhosts/seeded-vhost');
  const before = await api.read('definitions');
  await broker.kill();
  broker = await BrokerProcess.start({ args: seeds, dataDir: broker.dataDir });
  api = new ApiClient(broker.port('management'));
  expect(await api.read('definitions')).toEqual(before);
  expect(await api.read('queues/kept/q')).toMatchObject({ policy: 'p', operator_policy: 'o' });
  expect((await api.put('queues/kept/q2', {})).status).toBe(201);
  expect((await api.put('queues/kept/q3', {})).status).toBe(400);
  expect((await new ApiClient(broker.port('management'), 'kept', 'secret').get('whoami')).status).toBe(200);
  expect((await api.get('users/seeded')).status).toBe(404);
  expect((await api.get('vhosts/seeded-vhost')).status).toBe(404);
  await api.delete('vhosts/kept');
  await broker.kill();
  broker = await BrokerProcess.start({ args: seeds, dataDir: broker.dataDir });
  api = new ApiClient(broker.port('management'));
  expect((await api.get('vhosts/kept')).status).toBe(404);
  expect((await api.get('permissions/kept/kept')).status).toBe(404);
  await broker.remove();
});
