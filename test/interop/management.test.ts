import { type ConsumeMessage, connect as connectAmqp } from 'amqplib';
import { connectAsync } from 'mqtt';
import rhea from 'rhea';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, data } from '../support/amqp10-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

let broker: BrokerProcess;
let api: ApiClient;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  api = new ApiClient(broker.port('management'));
});
afterAll(() => broker.remove());

const amqpUrl = (user = 'guest', password = 'guest', vhost = '%2F'): string =>
  `amqp://${user}:${password}@127.0.0.1:${broker.port('amqp')}/${vhost}`;

describe('who asks', () => {
  test('without credentials, or with wrong ones, is asked for them', async () => {
    const without = await fetch(`http://127.0.0.1:${broker.port('management')}/api/whoami`);
    expect([without.status, without.headers.get('www-authenticate')]).toEqual([401, 'Basic realm="RosettaMQ"']);
    const wrong = await new ApiClient(broker.port('management'), 'nobody', 'wrong').get('whoami');
    expect([wrong.status, wrong.body]).toEqual([401, { error: 'not_authorized', reason: 'Not_Authorized' }]);
  });

  test('is told who they are', async () => {
    expect(await api.read('whoami')).toMatchObject({ name: 'guest', tags: ['administrator'] });
  });

  // The rows and their answers are RabbitMQ's.
  const roles = ['', 'management', 'policymaker', 'monitoring', 'administrator'] as const;
  const rows: [method: string, path: string, body: unknown, statuses: readonly number[]][] = [
    ['GET', 'whoami', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'overview', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'nodes', undefined, [401, 401, 401, 200, 200]],
    ['GET', 'vhosts', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'vhosts/%2F', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'users', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'users/guest', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'permissions', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'topic-permissions', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'connections', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'queues/%2F', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'queues/closed', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'exchanges/closed', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'bindings/closed', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'policies/%2F', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'policies/closed', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'parameters', undefined, [401, 401, 200, 401, 200]],
    ['GET', 'global-parameters', undefined, [401, 401, 200, 401, 200]],
    ['GET', 'definitions', undefined, [401, 401, 401, 401, 200]],
    ['GET', 'health/checks/alarms', undefined, [401, 200, 200, 200, 200]],
    ['GET', 'vhosts/%2F/connections', undefined, [401, 200, 200, 200, 200]],
    ['PUT', 'queues/%2F/mine-1', {}, [401, 201, 204, 204, 204]],
    ['PUT', 'queues/%2F/yours', {}, [401, 401, 401, 401, 401]],
    ['PUT', 'queues/closed/mine-1', {}, [401, 401, 401, 401, 401]],
    ['PUT', 'vhosts/made', undefined, [401, 401, 401, 401, 201]],
    ['PUT', 'users/made', { tags: '' }, [401, 401, 401, 401, 201]],
    ['PUT', 'policies/%2F/p', { pattern: '^p', definition: { 'max-length': 1 } }, [401, 401, 201, 401, 204]],
    ['PUT', 'operator-policies/%2F/p', { pattern: '^p', definition: { 'max-length': 1 } }, [401, 401, 401, 401, 201]],
    ['PUT', 'permissions/%2F/guest', { configure: '.*', write: '.*', read: '.*' }, [401, 401, 401, 401, 204]],
    ['POST', 'definitions', {}, [401, 401, 401, 401, 204]],
    ['DELETE', 'policies/%2F/p', undefined, [401, 401, 204, 401, 404]],
  ];

  test.each(rows)('%s %s is for whom RabbitMQ has it', async (method, path, body, statuses) => {
    await api.put('vhosts/closed');
    const seen: number[] = [];
    for (const role of roles) {
      const name = `role-${role}`;
      await api.put(`users/${name}`, { password: 'secret', tags: role });
      await api.put(`permissions/%2F/${name}`, { configure: '^mine', write: '^mine', read: '^mine' });
      const answer = await new ApiClient(broker.port('management'), name, 'secret').request(method, path, body);
      seen.push(answer.status);
    }
    expect(seen).toEqual(statuses);
  });
});

describe('errors', () => {
  test.each([
    ['GET', 'nowhere', undefined, 404],
    ['GET', 'vhosts/none', undefined, 404],
    ['GET', 'queues/%2F/none', undefined, 404],
    ['GET', 'exchanges/%2F/none', undefined, 404],
    ['DELETE', 'users/none', undefined, 404],
    ['DELETE', 'connections/none', undefined, 404],
    ['PUT', 'queues/none/q', {}, 404],
    ['POST', 'bindings/%2F/e/amq.topic/q/none', {}, 404],
    ['PUT', 'users/u', 'not json', 400],
    ['PUT', 'users/u', '[]', 400],
    ['PUT', 'users/u', {}, 400],
    ['PUT', 'users/u', { password_hash: 'abc', tags: '' }, 400],
    ['PUT', 'permissions/%2F/guest', { configure: '.*' }, 400],
    ['PUT', 'permissions/none/guest', { configure: '', write: '', read: '' }, 400],
    ['PUT', 'permissions/%2F/none', { configure: '', write: '', read: '' }, 400],
    ['PUT', 'exchanges/%2F/x', { type: 'nonsense' }, 400],
    ['PUT', 'queues/%2F/q', { durable: 'perhaps' }, 400],
    ['PUT', 'queues/%2F/q', { arguments: { 'x-max-length': 'many' } }, 400],
    ['PUT', 'policies/%2F/p', { pattern: '(', definition: { 'max-length': 1 } }, 400],
    ['PUT', 'policies/%2F/p', { pattern: 'a', definition: { nonsense: 1 } }, 400],
    ['PUT', 'policies/%2F/p', { pattern: 'a', definition: {} }, 400],
    ['PUT', `queues/%2F/${'q'.repeat(256)}`, {}, 400],
    ['GET', 'queues/%2F/a%ZZ', undefined, 400],
    ['GET', 'queues?page=0', undefined, 400],
    ['GET', 'queues?page=99', undefined, 400],
    ['GET', 'queues?page=1&page_size=501', undefined, 400],
    ['PUT', 'overview', {}, 405],
    ['POST', 'whoami', {}, 405],
    ['PUT', 'queues/%2F/amq.mine', {}, 401],
    ['DELETE', 'exchanges/%2F/amq.topic', undefined, 401],
  ])('%s %s says what is wrong', async (method, path, body, status) => {
    const answer = await api.request(method, path, body);
    expect(answer.status).toBe(status);
    expect(answer.body).toEqual({ error: expect.any(String), reason: expect.stringMatching(/./) });
  });

  test('JSON is of the type application/json, errors too', async () => {
    for (const path of ['overview', 'queues', 'queues/%2F/none', 'health/checks/alarms', 'nothing']) {
      expect((await api.get(path)).headers.get('content-type')).toBe('application/json');
    }
  });

  test('whoever comes by browser sees what is here: / and /api lead to it, without a log-in', async () => {
    const base = `http://127.0.0.1:${broker.port('management')}`;
    for (const path of ['/', '/api', '/api/', '/api/index.html']) {
      const answer = await fetch(base + path);
      expect([path, answer.status, answer.headers.get('content-type')]).toEqual([
        path,
        200,
        'text/html; charset=utf-8',
      ]);
      expect(await answer.text()).toMatch(/RosettaMQ[\s\S]*\/api/);
    }
    const listed = await (await fetch(`${base}/api/index.html`)).text();
    for (const path of ['/api/overview', '/api/queues/{vhost}/{queue}', '/api/exchanges/{vhost}/{exchange}/publish']) {
      expect(listed).toContain(path);
    }
    const moved = await fetch(`${base}/api`, { redirect: 'manual' });
    expect([moved.status, moved.headers.get('location')]).toEqual([301, '/api/index.html']);
  });

  test('a method that is not for a path is told which are', async () => {
    const { headers } = await api.put('overview', {});
    expect(headers.get('allow')?.split(', ').sort()).toEqual(['GET', 'HEAD', 'OPTIONS']);
  });
});

describe('users', () => {
  test('come with a password, its hash, or none', async () => {
    expect((await api.put('users/ada', { password: 'lovelace', tags: 'management,monitoring' })).status).toBe(201);
    expect((await api.put('users/ada', { password: 'lovelace', tags: ['management'] })).status).toBe(204);
    expect(await api.read('users/ada')).toMatchObject({ name: 'ada', tags: ['management'], limits: {} });
    // salt and digest of «test12», as RabbitMQ's documentation has them
    const hash = 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR';
    await api.put('users/hashed', { password_hash: hash, tags: 'management' });
    expect((await new ApiClient(broker.port('management'), 'hashed', 'test12').get('whoami')).status).toBe(200);
    await api.put('users/mute', { password_hash: '', tags: 'management' });
    expect((await new ApiClient(broker.port('management'), 'mute', '').get('whoami')).status).toBe(401);
  });

  test('keep their password when what the API shows is given back', async () => {
    await api.put('users/kept', { password: 'as it was', tags: '' });
    const { password_hash, hashing_algorithm } = await api.read('users/kept');
    await api.put('users/kept', { password_hash, hashing_algorithm, tags: 'management' });
    expect((await new ApiClient(broker.port('management'), 'kept', 'as it was').get('whoami')).status).toBe(200);
  });

  test('are deleted one by one or together', async () => {
    for (const name of ['one', 'two', 'three']) await api.put(`users/${name}`, { tags: '' });
    expect(await api.read<{ name: string }[]>('users/without-permissions')).toEqual(
      expect.arrayContaining([expect.objectContaining({ name: 'one' })]),
    );
    expect((await api.delete('users/one')).status).toBe(204);
    expect((await api.post('users/bulk-delete', { users: ['two', 'three'] })).status).toBe(204);
    const names = (await api.read<{ name: string }[]>('users')).map(({ name }) => name);
    expect(names.filter((name) => ['one', 'two', 'three'].includes(name))).toEqual([]);
  });

  test('a hashed password is one that `password_hash` takes', async () => {
    const { ok } = await api.read<{ ok: string }>('auth/hash_password/some%2Fthing');
    await api.put('users/prehashed', { password_hash: ok, tags: 'management' });
    expect((await new ApiClient(broker.port('management'), 'prehashed', 'some/thing').get('whoami')).status).toBe(200);
  });
});

describe('virtual hosts, permissions, policies', () => {
  test('a virtual host has metadata, is its maker’s, and goes with all that is in it', async () => {
    const name = encodeURIComponent('a/b c');
    expect((await api.put(`vhosts/${name}`, { description: 'for tests', tags: 'x,y' })).status).toBe(201);
    expect((await api.put(`vhosts/${name}`)).status).toBe(204);
    expect(await api.read(`vhosts/${name}`)).toMatchObject({
      name: 'a/b c',
      description: 'for tests',
      tags: ['x', 'y'],
    });
    expect((await api.put(`queues/${name}/q`, { durable: true })).status).toBe(201);
    expect(await api.read<unknown[]>(`vhosts/${name}/permissions`)).toEqual([
      { user: 'guest', vhost: 'a/b c', configure: '.*', write: '.*', read: '.*' },
    ]);
    await api.post(`vhosts/${name}/deletion/protection`);
    expect((await api.delete(`vhosts/${name}`)).status).toBe(412);
    await api.delete(`vhosts/${name}/deletion/protection`);
    expect((await api.delete(`vhosts/${name}`)).status).toBe(204);
    expect((await api.get(`queues/${name}/q`)).status).toBe(404);
    expect((await api.get(`permissions/${name}/guest`)).status).toBe(404);
  });

  test('a default queue type is for durable queues that name none, and what is there keeps its own', async () => {
    await api.put('vhosts/typed');
    await api.put('queues/typed/before', { durable: true });
    expect((await api.put('vhosts/typed', { default_queue_type: 'quorum' })).status).toBe(204);
    expect(await api.read('vhosts/typed')).toMatchObject({ default_queue_type: 'quorum' });
    const typeOf = async (queue: string): Promise<unknown> => (await api.read(`queues/typed/${queue}`))['type'];
    await api.put('queues/typed/durable', { durable: true });
    await api.put('queues/typed/transient', {});
    await api.put('queues/typed/named', { durable: true, arguments: { 'x-queue-type': 'classic' } });
    expect(await Promise.all(['before', 'durable', 'transient', 'named'].map(typeOf))).toEqual([
      'classic',
      'quorum',
      'classic',
      'classic',
    ]);
    for (const queue of ['before', 'durable']) {
      expect((await api.put(`queues/typed/${queue}`, { durable: true })).status).toBe(204);
    }
    expect((await api.put('vhosts/typed', { default_queue_type: 'stream' })).status).toBe(400);
    expect((await api.put('vhosts/typed', { topic_mapping: 'rabbitmq' })).status).toBe(400);
    expect((await api.put('vhosts/mapped', { topic_mapping: 'rabbitmq' })).status).toBe(201);
    expect(await api.read('vhosts/mapped')).toMatchObject({ topic_mapping: 'rabbitmq' });
    expect((await api.delete('vhosts/mapped')).status).toBe(204);
    await api.delete('vhosts/typed');
  });

  test('topic permissions are set by exchange and cleared', async () => {
    await api.put('users/topical', { tags: '' });
    const permission = { exchange: 'amq.topic', write: '^a', read: '.*' };
    expect((await api.put('topic-permissions/%2F/topical', permission)).status).toBe(201);
    expect(await api.read('topic-permissions/%2F/topical')).toEqual([{ user: 'topical', vhost: '/', ...permission }]);
    expect(await api.read('users/topical/topic-permissions')).toHaveLength(1);
    expect((await api.delete('topic-permissions/%2F/topical')).status).toBe(204);
    expect((await api.get('topic-permissions/%2F/topical')).status).toBe(404);
  });

  test('a policy is shown on the queues that it holds for', async () => {
    await api.put('queues/%2F/governed', { durable: true });
    const policy = { pattern: '^governed$', definition: { 'max-length': 5 }, priority: 3, 'apply-to': 'queues' };
    const operator = { pattern: '^governed$', definition: { 'max-length': 2 }, priority: 0, 'apply-to': 'queues' };
    expect((await api.put('policies/%2F/few', policy)).status).toBe(201);
    expect((await api.put('operator-policies/%2F/fewer', operator)).status).toBe(201);
    expect(await api.read('policies/%2F/few')).toEqual({ vhost: '/', name: 'few', ...policy });
    expect(await api.read('queues/%2F/governed')).toMatchObject({
      policy: 'few',
      operator_policy: 'fewer',
      effective_policy_definition: { 'max-length': 2 },
      arguments: {},
      effective_arguments: { 'x-max-length': 2 },
    });
    await api.delete('policies/%2F/few');
    await api.delete('operator-policies/%2F/fewer');
    expect(await api.read('queues/%2F/governed')).toMatchObject({ policy: null, operator_policy: null });
  });

  test('limits of a virtual host and of a user are kept to', async () => {
    await api.put('vhosts/small');
    await api.put('vhost-limits/small/max-queues', { value: 1 });
    await api.put('vhost-limits/small/max-connections', { value: 1 });
    expect(await api.read('vhost-limits/small')).toEqual([
      { vhost: 'small', value: { 'max-queues': 1, 'max-connections': 1 } },
    ]);
    expect((await api.put('queues/small/one', {})).status).toBe(201);
    expect((await api.put('queues/small/two', {})).status).toBe(400);
    const first = await connectAmqp(amqpUrl('guest', 'guest', 'small'));
    await expect(connectAmqp(amqpUrl('guest', 'guest', 'small'))).rejects.toThrow(/ConnectionClose/);
    await first.close();
    await api.put('users/lonely', { password: 'pass', tags: '' });
    await api.put('permissions/%2F/lonely', { configure: '.*', write: '.*', read: '.*' });
    await api.put('user-limits/lonely/max-connections', { value: 0 });
    await expect(connectAmqp(amqpUrl('lonely', 'pass'))).rejects.toThrow(/ConnectionClose/);
    await api.delete('user-limits/lonely/max-connections');
    await api.put('user-limits/lonely/max-channels', { value: 0 });
    const stomp = await StompWire.open(broker.port('stomp'));
    stomp.send('CONNECT\naccept-version:1.2\nhost:/\nlogin:lonely\npasscode:pass\n\n\0');
    expect((await stomp.error()).body.toString()).toMatch(/reached the maximum allowed user limit of \(0\)/);
    const mqtt = connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
      username: 'lonely',
      password: 'pass',
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    await expect(mqtt).rejects.toThrow(/Quota exceeded|Not authorized/);
    const amqp10 = rhea.create_container();
    amqp10.on('connection_close', () => {});
    amqp10.on('disconnected', () => {});
    const ended = new Promise<string>((resolve) => {
      amqp10.once('connection_error', ({ connection }) => resolve(JSON.stringify(connection?.error)));
    });
    amqp10
      .connect({ port: broker.port('amqp'), username: 'lonely', password: 'pass', reconnect: false })
      .open_sender('q');
    expect(await ended).toMatch(/reached the maximum allowed user limit of \(0\)/);
    await api.put('user-limits/lonely/max-channels', { value: 1 });
    const lonely = await connectAmqp(amqpUrl('lonely', 'pass'));
    await lonely.createChannel();
    const refused = new Promise<Error>((resolve) => lonely.once('error', resolve));
    lonely.createChannel().catch(() => {});
    expect((await refused).message).toMatch(/530.*reached the maximum allowed user limit of \(1\)/);
  });
});

describe('topology', () => {
  test('a queue is declared, filled, looked into, purged and deleted', async () => {
    const queue = 'queues/%2F/api%2Fqueue';
    expect((await api.put(queue, { durable: true, arguments: { 'x-max-length': 10 } })).status).toBe(201);
    expect((await api.put(queue, { durable: true, arguments: { 'x-max-length': 10 } })).status).toBe(204);
    expect((await api.put(queue, { durable: false })).status).toBe(400);
    const published = await api.post('exchanges/%2F/amq.default/publish', {
      properties: {
        delivery_mode: 2,
        headers: { n: 1, deep: { list: [true, 'x'] } },
        correlation_id: 'c',
        reply_to: 'r',
      },
      routing_key: 'api/queue',
      payload: 'häl lo',
      payload_encoding: 'string',
    });
    expect(published.body).toEqual({ routed: true });
    expect(await api.read(queue)).toMatchObject({
      name: 'api/queue',
      vhost: '/',
      durable: true,
      state: 'running',
      messages: 1,
      messages_ready: 1,
      messages_unacknowledged: 0,
      consumers: 0,
      message_bytes: 7,
      message_stats: { publish: 1 },
      arguments: { 'x-max-length': 10 },
    });
    const get = { count: 2, ackmode: 'ack_requeue_true', encoding: 'auto' };
    const [first] = (await api.post(`${queue}/get`, get)).body as object[];
    expect(first).toEqual({
      payload_bytes: 7,
      redelivered: false,
      exchange: '',
      routing_key: 'api/queue',
      message_count: 0,
      properties: {
        delivery_mode: 2,
        headers: { n: 1, deep: { list: [true, 'x'] } },
        correlation_id: 'c',
        reply_to: 'r',
      },
      payload: 'häl lo',
      payload_encoding: 'string',
    });
    const again = { ...get, encoding: 'base64', truncate: 3 };
    expect((await api.post(`${queue}/get`, again)).body).toMatchObject([
      {
        redelivered: true,
        payload_bytes: 7,
        payload: Buffer.from('hä').toString('base64'),
        payload_encoding: 'base64',
      },
    ]);
    expect((await api.delete(`${queue}?if-empty=true`)).status).toBe(400);
    expect((await api.delete(`${queue}/contents`)).status).toBe(204);
    expect((await api.post(`${queue}/get`, get)).body).toEqual([]);
    expect((await api.delete(`${queue}?if-empty=true`)).status).toBe(204);
    expect((await api.get(queue)).status).toBe(404);
  });

  test('octets of a queue are those that wait and those in consumers’ hands, and go with them', async () => {
    const connection = await connectAmqp(amqpUrl());
    const channel = await connection.createChannel();
    await channel.assertQueue('octets', { durable: true });
    await channel.prefetch(2);
    for (const body of ['1', '22', '333', '4444'])
      channel.sendToQueue('octets', Buffer.from(body), { persistent: true });
    const taken: ConsumeMessage[] = [];
    await channel.consume('octets', (message) => void taken.push(message!));
    const shown = async (): Promise<unknown[]> => {
      const queue = await api.read<Record<string, unknown>>('queues/%2F/octets');
      const names = ['', '_ready', '_unacknowledged', '_ram', '_paged_out'];
      return [...names.map((name) => queue[`message_bytes${name}`]), queue['messages_ram']];
    };
    await expect.poll(shown).toEqual([10, 7, 3, 10, 0, 4]);
    channel.nack(taken[0]!, false, true);
    await expect.poll(shown).toEqual([10, 7, 3, 10, 0, 4]);
    channel.ackAll();
    await expect.poll(() => taken.length).toBe(5);
    channel.ackAll();
    await expect.poll(shown).toEqual([0, 0, 0, 0, 0, 0]);
    await channel.deleteQueue('octets');
    await connection.close();
  });

  test('bytes that are no text are published as base64, and shown so', async () => {
    await api.put('queues/%2F/octets', {});
    await api.post('exchanges/%2F/amq.default/publish', {
      properties: {},
      routing_key: 'octets',
      payload: Buffer.from([0, 255, 128]).toString('base64'),
      payload_encoding: 'base64',
    });
    const get = { count: 1, ackmode: 'ack_requeue_false', encoding: 'auto' };
    expect((await api.post('queues/%2F/octets/get', get)).body).toMatchObject([
      { payload: 'AP+A', payload_encoding: 'base64', payload_bytes: 3 },
    ]);
    expect(await api.read('queues/%2F/octets')).toMatchObject({ messages: 0 });
  });

  test('totals count what clients publish, and nothing that the broker says itself', async () => {
    await api.put('vhosts/counted');
    const message = { properties: {}, routing_key: 'q', payload: 'x', payload_encoding: 'string' };
    await api.put('queues/counted/q', {});
    for (let i = 0; i < 3; i++) await api.post('exchanges/counted/amq.default/publish', message);
    await api.post('exchanges/counted/amq.direct/publish', message);
    expect(await api.read('vhosts/counted')).toMatchObject({
      messages: 3,
      message_stats: { publish: 4, confirm: 4, return_unroutable: 1, drop_unroutable: 0 },
    });
    await api.post('queues/counted/q/get', { count: 2, ackmode: 'ack_requeue_false', encoding: 'auto' });
    expect(await api.read('queues/counted/q')).toMatchObject({
      messages: 1,
      message_stats: { publish: 3, get: 2, deliver_get: 2, ack: 2 },
    });
    await api.delete('vhosts/counted');
  });

  // The same session gives the same counts in RabbitMQ 3.10.
  test('channels, exchanges, queues and virtual hosts count as RabbitMQ’s do', async () => {
    await api.put('vhosts/stats');
    const peer = await AmqpPeer.openChannel(broker.port('amqp'), { vhost: 'stats' });
    await peer.openChannel(2);
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    await peer.call(1, methods.exchangeDeclare, { exchange: 'x', type: 'fanout' }, methods.exchangeDeclareOk);
    for (const queue of ['one', 'two']) {
      await peer.declare(queue);
      for (const routingKey of ['', 'again']) {
        await peer.call(1, methods.queueBind, { queue, exchange: 'x', routingKey }, methods.queueBindOk);
      }
    }
    for (let i = 0; i < 10; i++) peer.publish(1, { exchange: 'x' }, '12345');
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'nowhere', mandatory: true }, '1');
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'nowhere' }, '1');
    peer.publish(1, { routingKey: 'one' }, 'x');
    peer.send(2, methods.basicQos, { prefetchCount: 5 });
    peer.send(2, methods.basicConsume, { queue: 'one', consumerTag: 'acks' });
    peer.send(2, methods.basicConsume, { queue: 'two', consumerTag: 'settles', noAck: true });
    peer.send(2, methods.basicAck, { deliveryTag: 3, multiple: true });
    peer.send(1, methods.basicGet, { queue: 'one' });
    peer.send(1, methods.basicNack, { deliveryTag: 1, requeue: true });
    peer.send(1, methods.basicGet, { queue: 'two' });
    peer.send(1, methods.basicGet, { queue: 'one', noAck: true });
    const channels = async (): Promise<Record<string, Record<string, number>>[]> =>
      (await api.read<Record<string, Record<string, number>>[]>('vhosts/stats/channels')).sort(
        (a, b) => Number(a['number']) - Number(b['number']),
      );
    const stats = async (): Promise<unknown> => (await channels())[0]?.['message_stats'];
    await expect.poll(stats).toMatchObject({ confirm: 13, get_no_ack: 1 });
    expect((await channels()).map((channel) => channel['message_stats'])).toMatchObject([
      {
        publish: 13,
        confirm: 13,
        return_unroutable: 1,
        drop_unroutable: 1,
        deliver: 0,
        deliver_no_ack: 0,
        get: 1,
        get_no_ack: 1,
        get_empty: 1,
        deliver_get: 2,
        redeliver: 1,
        ack: 0,
        publish_details: { rate: expect.any(Number) },
      },
      { publish: 0, deliver: 8, deliver_no_ack: 10, deliver_get: 18, get: 0, get_empty: 0, redeliver: 0, ack: 3 },
    ]);
    expect(await api.read('exchanges/stats/x')).toMatchObject({ message_stats: { publish_in: 10, publish_out: 20 } });
    expect(await api.read('exchanges/stats/amq.direct')).toMatchObject({
      message_stats: { publish_in: 2, publish_out: 0 },
    });
    expect(await api.read('queues/stats/one')).toMatchObject({
      message_stats: {
        publish: 11,
        deliver: 8,
        deliver_no_ack: 0,
        get: 1,
        get_no_ack: 1,
        get_empty: 0,
        deliver_get: 10,
        redeliver: 1,
        ack: 3,
      },
    });
    const sums = {
      publish: 13,
      confirm: 13,
      return_unroutable: 1,
      drop_unroutable: 1,
      deliver: 8,
      deliver_no_ack: 10,
      get: 1,
      get_no_ack: 1,
      get_empty: 1,
      deliver_get: 20,
      redeliver: 1,
      ack: 3,
    };
    expect(await api.read('vhosts/stats')).toMatchObject({ message_stats: sums });
    // what was counted stays when queues and channels go
    await api.delete('queues/stats/one');
    peer.destroy();
    await expect.poll(channels).toEqual([]);
    expect(await api.read('vhosts/stats')).toMatchObject({ message_stats: sums });
    await api.delete('vhosts/stats');
  });

  test('sessions of AMQP 1.0 count what they publish and deliver, settled or not', async () => {
    await api.put('vhosts/stats10');
    const peer = await Amqp10Peer.openSession(broker.port('amqp'), { hostname: 'vhost:stats10' });
    await peer.sender(0, 'q');
    for (let i = 0; i < 3; i++) await peer.publish(0, data('x'));
    await peer.receiver(1, 'q', 1);
    await peer.message();
    await peer.receiver(2, 'q', 2, { sndSettleMode: 1 });
    for (let i = 0; i < 2; i++) await peer.message();
    const [session] = await api.read<Record<string, unknown>[]>('vhosts/stats10/channels');
    expect(session).toMatchObject({
      messages_unacknowledged: 1,
      message_stats: { publish: 3, deliver: 1, deliver_no_ack: 2, deliver_get: 3 },
    });
    peer.destroy();
    await expect.poll(() => api.read('vhosts/stats10/channels')).toEqual([]);
    await api.delete('vhosts/stats10');
  });

  test('the overview counts what came and went', async () => {
    const churn = async (): Promise<Record<string, number>> =>
      (await api.read<{ churn_rates: Record<string, number> }>('overview')).churn_rates;
    const grown = (before: Record<string, number>, after: Record<string, number>): Record<string, number> =>
      Object.fromEntries(
        Object.keys(before)
          .filter((name) => !name.endsWith('_details'))
          .map((name) => [name, after[name]! - before[name]!]),
      );
    await expect.poll(async () => (await api.read<unknown[]>('connections')).length).toBe(0);
    const before = await churn();
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    await peer.openChannel(2);
    for (const queue of ['churn', 'churn', 'churn2']) await peer.declare(queue);
    await peer.call(1, methods.queueDelete, { queue: 'churn' }, methods.queueDeleteOk);
    await peer.call(2, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
    expect(grown(before, await churn())).toEqual({
      connection_created: 1,
      connection_closed: 0,
      channel_created: 2,
      channel_closed: 1,
      queue_declared: 3,
      queue_created: 2,
      queue_deleted: 1,
    });
    peer.destroy();
    await expect
      .poll(async () => grown(before, await churn()))
      .toMatchObject({
        connection_closed: 1,
        channel_closed: 2,
      });
    expect(await churn()).toMatchObject({ queue_created_details: { rate: expect.any(Number) } });
    expect((await api.read<unknown[]>('nodes'))[0]).toMatchObject({
      channel_created: (await churn())['channel_created'],
    });
    await api.delete('queues/%2F/churn2');
  });

  test('what no queue wants is not routed, what is no exchange is refused', async () => {
    const message = { properties: {}, routing_key: 'nowhere', payload: '', payload_encoding: 'string' };
    expect((await api.post('exchanges/%2F/amq.direct/publish', message)).body).toEqual({ routed: false });
    expect((await api.post('exchanges/%2F/none/publish', message)).body).toEqual({
      error: 'bad_request',
      reason: "404 NOT_FOUND - no exchange 'none' in vhost '/'",
    });
  });

  test('bindings are made, named, found and removed', async () => {
    await api.put('exchanges/%2F/from', { type: 'topic', durable: true });
    await api.put('exchanges/%2F/to', { type: 'fanout' });
    await api.put('queues/%2F/bound', { durable: true });
    const toQueue = 'bindings/%2F/e/from/q/bound';
    const made = await api.post(toQueue, { routing_key: 'a/*.b', arguments: { x: 1 } });
    expect(made.status).toBe(201);
    const [binding] = await api.read<Record<string, string>[]>(toQueue);
    expect(binding).toMatchObject({
      source: 'from',
      vhost: '/',
      destination: 'bound',
      destination_type: 'queue',
      routing_key: 'a/*.b',
      arguments: { x: 1 },
    });
    const key = binding!['properties_key']!;
    expect(made.headers.get('location')).toBe(`bound/${encodeURIComponent(key)}`);
    expect(await api.read(`${toQueue}/${encodeURIComponent(key)}`)).toEqual(binding);
    await api.post(toQueue, {});
    expect((await api.read<Record<string, string>[]>(toQueue)).map((each) => each['properties_key'])).toContain('~');
    expect((await api.post('bindings/%2F/e/from/e/to', { routing_key: 'k' })).status).toBe(201);
    expect(await api.read<unknown[]>('exchanges/%2F/from/bindings/source')).toHaveLength(3);
    expect(await api.read('exchanges/%2F/to/bindings/destination')).toMatchObject([{ source: 'from' }]);
    expect(await api.read('queues/%2F/bound/bindings')).toMatchObject([
      { source: '', routing_key: 'bound' },
      { source: 'from' },
      { source: 'from' },
    ]);
    expect((await api.delete(`${toQueue}/${encodeURIComponent(key)}`)).status).toBe(204);
    expect((await api.delete(`${toQueue}/~`)).status).toBe(204);
    expect((await api.delete('bindings/%2F/e/from/e/to/k')).status).toBe(204);
    expect(await api.read('exchanges/%2F/from/bindings/source')).toEqual([]);
    expect((await api.delete('exchanges/%2F/from?if-unused=true')).status).toBe(204);
  });

  test('lists are paged, filtered, sorted and cut to columns', async () => {
    await api.put('vhosts/lists');
    for (const name of ['b1', 'a1', 'a2']) await api.put(`queues/lists/${name}`, {});
    expect(await api.read('queues/lists?columns=name')).toEqual([{ name: 'a1' }, { name: 'a2' }, { name: 'b1' }]);
    expect(await api.read('queues/lists?columns=name&sort=name&sort_reverse=true')).toEqual([
      { name: 'b1' },
      { name: 'a2' },
      { name: 'a1' },
    ]);
    expect(await api.read('queues/lists?page=2&page_size=1&name=a&columns=name')).toEqual({
      filtered_count: 2,
      item_count: 1,
      items: [{ name: 'a2' }],
      page: 2,
      page_count: 2,
      page_size: 1,
      total_count: 3,
    });
    expect(await api.read('queues/lists?page=1&name=%5Eb&use_regex=true&columns=name')).toMatchObject({
      items: [{ name: 'b1' }],
    });
    expect(await api.read('queues/lists?disable_stats=true&enable_queue_totals=true')).toMatchObject([
      { name: 'a1', messages: 0 },
      {},
      {},
    ]);
    // those that have no such field keep the order of their names
    expect(await api.read('queues/lists?columns=name&sort=nothing')).toEqual([
      { name: 'a1' },
      { name: 'a2' },
      { name: 'b1' },
    ]);
  });
});

describe('connections', () => {
  test('of all protocols are shown with their channels and consumers, and closed with a reason', async () => {
    const amqp = await connectAmqp(amqpUrl(), { clientProperties: { connection_name: 'the one' } });
    const channel = await amqp.createChannel();
    await channel.assertQueue('consumed', { durable: true });
    await channel.prefetch(7);
    const { consumerTag } = await channel.consume('consumed', () => {});
    const mqtt = await connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
      username: 'guest',
      password: 'guest',
      clientId: 'sensor-1',
      protocolVersion: 5,
      reconnectPeriod: 0,
    });
    await mqtt.subscribeAsync('a/b', { qos: 1 });
    const stomp = await StompWire.login(broker.port('stomp'));
    await stomp.subscribe('s1', '/queue/stomped');

    const connections = await api.read<Record<string, string>[]>('connections');
    expect(connections.map(({ protocol }) => protocol).sort()).toEqual(['AMQP 0-9-1', 'MQTT 5-0', 'STOMP 1.2']);
    const own = connections.find(({ protocol }) => protocol === 'AMQP 0-9-1')!;
    expect(own).toMatchObject({
      user: 'guest',
      vhost: '/',
      state: 'running',
      channels: 1,
      auth_mechanism: 'PLAIN',
      user_provided_name: 'the one',
      ssl: false,
      peer_host: '127.0.0.1',
      port: broker.port('amqp'),
      name: expect.stringMatching(/^127\.0\.0\.1:\d+ -> 127\.0\.0\.1:\d+$/),
    });
    const name = encodeURIComponent(own['name']!);
    expect(await api.read(`connections/${name}/channels`)).toMatchObject([
      { number: 1, consumer_count: 1, connection_details: { name: own['name'] }, user: 'guest' },
    ]);
    expect(await api.read(`channels/${encodeURIComponent(`${own['name']} (1)`)}`)).toMatchObject({
      consumer_details: [{ consumer_tag: consumerTag, prefetch_count: 7, queue: { name: 'consumed', vhost: '/' } }],
    });
    const consumers = await api.read<Record<string, string>[]>('consumers/%2F');
    expect(consumers.map((each) => each['consumer_tag']).sort()).toEqual([consumerTag, 'T_s1', 'sensor-1'].sort());
    expect(await api.read('overview')).toMatchObject({ object_totals: { connections: 3, consumers: 3, channels: 3 } });

    const closed = new Promise<Error>((resolve) => amqp.once('close', (error) => resolve(error)));
    expect((await api.delete(`connections/${name}`, { 'x-reason': 'make room' })).status).toBe(204);
    expect((await closed).message).toMatch(/320.*make room/);
    const gone = new Promise<void>((resolve) => mqtt.once('close', () => resolve()));
    expect((await api.delete('connections/username/guest')).status).toBe(204);
    await gone;
    await expect.poll(() => api.read('connections')).toEqual([]);
  });

  test('are seen and closed by their own user, not by others', async () => {
    for (const name of ['mine', 'other']) {
      await api.put(`users/${name}`, { password: 'p', tags: 'management' });
      await api.put(`permissions/%2F/${name}`, { configure: '.*', write: '.*', read: '.*' });
    }
    const amqp = await connectAmqp(amqpUrl('mine', 'p'));
    const closed = new Promise<void>((resolve) => amqp.once('close', () => resolve()));
    const mine = new ApiClient(broker.port('management'), 'mine', 'p');
    const other = new ApiClient(broker.port('management'), 'other', 'p');
    const [own] = await mine.read<{ name: string }[]>('connections');
    const path = `connections/${encodeURIComponent(own!.name)}`;
    expect(await other.read('connections')).toEqual([]);
    expect((await other.get(path)).status).toBe(401);
    expect((await other.delete(path)).status).toBe(401);
    expect((await mine.delete(path)).status).toBe(204);
    await closed;
  });
});

describe('health and the rest', () => {
  test.each([
    'alarms',
    'local-alarms',
    'is-in-service',
    'ready-to-serve-clients',
    'virtual-hosts',
    'node-is-quorum-critical',
    'below-node-connection-limit',
    'protocol-listener/mqtt,stomp,amqp',
  ])('health/checks/%s is ok', async (check) => {
    expect(await api.read(`health/checks/${check}`)).toMatchObject({ status: 'ok' });
  });

  test('a port and a protocol that nobody listens to are failures, told with what is listened to', async () => {
    const { status, body } = await api.get('health/checks/port-listener/1');
    expect([status, body]).toEqual([
      503,
      {
        status: 'failed',
        reason: 'No active listener',
        missing: 1,
        ports: expect.arrayContaining([broker.port('amqp')]),
      },
    ]);
    const port = broker.port('amqp');
    expect(await api.read(`health/checks/port-listener/${port}`)).toEqual({ status: 'ok', port });
    for (const none of ['x', '1.5', '-1', '65536']) {
      const answer = await api.get(`health/checks/port-listener/${none}`);
      expect([answer.status, answer.body]).toEqual([400, { error: 'bad_request', reason: 'Invalid port' }]);
    }
    expect(await api.read('health/checks/protocol-listener/stomp')).toEqual({ status: 'ok', protocol: 'stomp' });
    const missing = await api.get('health/checks/protocol-listener/amqps');
    expect([missing.status, missing.body]).toEqual([
      503,
      {
        status: 'failed',
        reason: 'No active listener',
        missing: 'amqps',
        protocols: expect.arrayContaining(['amqp', 'http', 'mqtt', 'stomp', 'web-mqtt', 'web-stomp']),
      },
    ]);
    const several = await api.get('health/checks/protocol-listener/stomp,amqps,mqtts');
    expect([several.status, several.body]).toMatchObject([503, { missing: 'amqps,mqtts' }]);
  });

  test('certificates that expire: none without TLS; a time that is none is told so', async () => {
    for (const within of ['1/days', '2/weeks', '3/months', '4/years']) {
      expect(await api.read(`health/checks/certificate-expiration/${within}`)).toEqual({ status: 'ok' });
    }
    for (const [within, reason] of [
      ['x/weeks', 'Invalid expiration value.'],
      ['1/fortnights', 'Time unit not recognised. Supported units: days, weeks, months, years.'],
    ] as const) {
      const answer = await api.get(`health/checks/certificate-expiration/${within}`);
      expect([answer.status, answer.body]).toEqual([400, { error: 'bad_request', reason }]);
    }
  });

  test('queues are rebalanced by POST; there is nothing to do', async () => {
    expect((await api.post('rebalance/queues', {})).status).toBe(204);
    expect((await api.get('rebalance/queues')).status).toBe(405);
  });

  test.each(['extensions', 'feature-flags', 'auth', 'cluster-name', 'aliveness-test/%2F', 'deprecated-features'])(
    '%s is there for clients that ask',
    async (path) => {
      expect((await api.get(path)).status).toBe(200);
    },
  );

  test('a node is described', async () => {
    const [node] = await api.read<Record<string, unknown>[]>('nodes');
    expect(node).toMatchObject({
      running: true,
      mem_alarm: false,
      disk_free_alarm: false,
      disk_free: expect.any(Number),
      mem_used: expect.any(Number),
    });
    expect((await api.get(`nodes/${node!['name']}`)).status).toBe(200);
  });

  test('parameters are kept as they come', async () => {
    expect((await api.put('parameters/some-component/%2F/p', { value: { a: [1] } })).status).toBe(201);
    expect(await api.read('parameters/some-component/%2F/p')).toEqual({
      value: { a: [1] },
      vhost: '/',
      component: 'some-component',
      name: 'p',
    });
    expect((await api.put('global-parameters/g', { value: 'v' })).status).toBe(201);
    expect(await api.read('global-parameters/g')).toEqual({ name: 'g', value: 'v' });
    expect((await api.delete('parameters/some-component/%2F/p')).status).toBe(204);
    expect((await api.delete('global-parameters/g')).status).toBe(204);
  });
});

test('what RabbitMQ counts of a connection, a queue that is full of somebody, and the node', async () => {
  const connection = await connectAmqp(amqpUrl());
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue('counted', { durable: true });
  channel.sendToQueue('counted', Buffer.from('1'), { timestamp: 1_700_000_000 });
  channel.sendToQueue('counted', Buffer.from('2'), { timestamp: 1_700_000_001 });
  await channel.waitForConfirms();
  expect(await api.read('queues/%2F/counted')).toMatchObject({
    head_message_timestamp: 1_700_000_000,
    consumer_capacity: 0,
    consumer_utilisation: 0,
  });
  await channel.prefetch(1);
  const got: ConsumeMessage[] = [];
  await channel.consume('counted', (message) => got.push(message!));
  await expect.poll(() => got.length).toBe(1);
  // it has what it may have: the queue can deliver nothing
  const full = { head_message_timestamp: 1_700_000_001, consumer_capacity: 0, consumer_utilisation: 0 };
  expect(await api.read('queues/%2F/counted')).toMatchObject(full);
  channel.ack(got[0]!);
  await expect.poll(() => got.length).toBe(2);
  channel.ack(got[1]!);
  await expect
    .poll(() => api.read('queues/%2F/counted'))
    .toMatchObject({ head_message_timestamp: null, consumer_capacity: 1, consumer_utilisation: 1 });

  const own = (
    await api.read<{ user_provided_name?: string; recv_cnt: number; send_cnt: number }[]>('connections')
  )[0]!;
  expect(own).toMatchObject({ ssl: false, ssl_protocol: null, ssl_cipher: null, peer_cert_subject: null });
  expect(own.recv_cnt).toBeGreaterThan(3);
  expect(own.send_cnt).toBeGreaterThan(3);
  const [node] = await api.read<Record<string, number>[]>('nodes');
  expect(node).toMatchObject({ fd_used: expect.any(Number), sockets_used: expect.any(Number) });
  expect(node!['sockets_used']).toBeGreaterThanOrEqual(1);
  expect(node!['fd_used']).toBeGreaterThan(node!['sockets_used']!);
  expect(node!['fd_total']).toBeGreaterThan(node!['fd_used']!);
  await connection.close();
  await api.delete('queues/%2F/counted');
});

test('in an alarm who publishes is blocked, whatever its protocol; metrics and health say so', async () => {
  const short = await BrokerProcess.start({ args: ['--set', 'disk.freeMinBytes=9000000000000000'] });
  const shortApi = new ApiClient(short.port('management'));
  await expect.poll(async () => (await shortApi.get('health/checks/alarms')).status, { timeout: 10_000 }).toBe(503);
  const mqtt = await connectAsync(`mqtt://127.0.0.1:${short.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    reconnectPeriod: 0,
  });
  mqtt.publish('short', 'x', { qos: 1 });
  const stomp = await StompWire.login(short.port('stomp'));
  await stomp.publish('/topic/short', 'x');
  const amqp = await connectAmqp(`amqp://guest:guest@127.0.0.1:${short.port('amqp')}`);
  amqp.on('error', () => {}); // its broker goes
  (await amqp.createChannel()).publish('amq.fanout', '', Buffer.from('x'));
  const states = async (): Promise<string[]> => {
    const list = await shortApi.read<{ protocol: string; state: string }[]>('connections');
    return list.map(({ protocol, state }) => `${protocol.slice(0, 4)} ${state}`).sort();
  };
  await expect.poll(states).toEqual(['AMQP blocked', 'MQTT blocked', 'STOM blocked']);
  const metrics = await (await fetch(`http://127.0.0.1:${short.port('management')}/metrics`)).text();
  expect(metrics).toContain('rosettamq_alarm{resource="disk"} 1');
  expect(metrics).toContain('rosettamq_alarm{resource="memory"} 0');
  expect(metrics).toContain('rosettamq_journal_writable 1');
  const ready = await fetch(`http://127.0.0.1:${short.port('management')}/health/ready`);
  expect(ready.status).toBe(200); // consumers are to drain it
  mqtt.end(true);
  await short.remove();
});
