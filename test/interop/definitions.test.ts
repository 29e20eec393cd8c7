import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectAmqp } from 'amqplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalRabbitMq, startRabbitMq } from '../support/local-brokers.ts';

const program = findProgram('rabbitmq-server');

/** Objects whose keys come in one order. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}

type Definitions = Record<string, Record<string, unknown>[]>;

// reason of the skip: rabbitmq-server is not installed
describe.skipIf(program === undefined)('definitions and a real RabbitMQ', () => {
  let rabbit: LocalRabbitMq;
  let ours: BrokerProcess;
  let theirApi: ApiClient;
  let ourApi: ApiClient;

  beforeAll(async () => {
    [rabbit, ours] = await Promise.all([startRabbitMq(program!, { management: true }), BrokerProcess.start()]);
    theirApi = new ApiClient(rabbit.managementPort);
    ourApi = new ApiClient(ours.port('management'));
  });
  afterAll(async () => {
    await Promise.all([rabbit?.stop(), ours?.remove()]);
  });

  /** What both understand, made through the API that both have. */
  async function fill(api: ApiClient, vhost: string, user: string, hashing?: string): Promise<void> {
    const must = async (answer: Promise<{ status: number; body: unknown }>): Promise<void> => {
      const { status, body } = await answer;
      if (status >= 300) throw new Error(`${status} ${JSON.stringify(body)}`);
    };
    const v = encodeURIComponent(vhost);
    await must(api.put(`vhosts/${v}`, { description: 'moves', tags: 'a,b' }));
    const algorithm = hashing === undefined ? {} : { hashing_algorithm: hashing };
    await must(api.put(`users/${user}`, { password: `${user}'s`, tags: 'management,policymaker', ...algorithm }));
    await must(api.put(`permissions/${v}/${user}`, { configure: '^q', write: '.*', read: '.*' }));
    await must(api.put(`topic-permissions/${v}/${user}`, { exchange: 'amq.topic', write: '^a', read: '^b' }));
    const definition = { 'max-length': 7, 'dead-letter-exchange': 'dead' };
    await must(api.put(`policies/${v}/few`, { pattern: '^q', definition, priority: 3, 'apply-to': 'queues' }));
    await must(api.put(`exchanges/${v}/dead`, { type: 'fanout', durable: true }));
    await must(
      api.put(`exchanges/${v}/events`, { type: 'topic', durable: true, arguments: { 'alternate-exchange': 'dead' } }),
    );
    await must(api.put(`exchanges/${v}/inner`, { type: 'headers', durable: true, internal: true }));
    await must(
      api.put(`queues/${v}/q.one`, { durable: true, arguments: { 'x-message-ttl': 60_000, 'x-max-priority': 3 } }),
    );
    await must(api.put(`queues/${v}/q-transient`, { auto_delete: true }));
    await must(api.post(`bindings/${v}/e/events/q/q.one`, { routing_key: 'a.*.#' }));
    await must(api.post(`bindings/${v}/e/inner/q/q.one`, { arguments: { 'x-match': 'any', n: 1 } }));
    await must(api.post(`bindings/${v}/e/events/e/inner`, { routing_key: 'z' }));
    await must(api.put('global-parameters/moved', { value: { from: vhost } }));
  }

  /** What must be the same on both sides, of one virtual host and user. */
  async function shownBy(api: ApiClient, vhost: string, user: string): Promise<unknown> {
    const all = await api.read<Definitions>('definitions');
    const pick = (name: string, fields: readonly string[]): unknown[] =>
      (all[name] ?? [])
        .filter((each) => each['vhost'] === vhost || (name === 'users' && each['name'] === user))
        .map((each) => Object.fromEntries(fields.map((field) => [field, each[field]])))
        .map((each) => JSON.stringify(sorted(each)))
        .sort();
    return {
      users: pick('users', ['name', 'tags']),
      permissions: pick('permissions', ['user', 'configure', 'write', 'read']).filter((each) =>
        String(each).includes(user),
      ),
      topics: pick('topic_permissions', ['user', 'exchange', 'write', 'read']),
      policies: pick('policies', ['name', 'pattern', 'apply-to', 'priority']),
      exchanges: pick('exchanges', ['name', 'type', 'durable', 'auto_delete', 'internal', 'arguments']),
      queues: pick('queues', ['name', 'durable', 'auto_delete', 'arguments']),
      bindings: pick('bindings', ['source', 'destination', 'destination_type', 'routing_key', 'arguments']),
      global: (all['global_parameters'] ?? []).find(({ name }) => name === 'moved'),
    };
  }

  test('what RabbitMQ exports loads here, once and again, and its users log in', async () => {
    await fill(theirApi, 'theirs', 'erlang');
    const definitions = await theirApi.read('definitions');
    expect((await ourApi.post('definitions', definitions)).status).toBe(204);
    expect(await shownBy(ourApi, 'theirs', 'erlang')).toEqual(await shownBy(theirApi, 'theirs', 'erlang'));
    expect((await ourApi.post('definitions', definitions)).status).toBe(204);
    expect(await shownBy(ourApi, 'theirs', 'erlang')).toEqual(await shownBy(theirApi, 'theirs', 'erlang'));
    const connection = await connectAmqp(`amqp://erlang:erlang's@127.0.0.1:${ours.port('amqp')}/theirs`);
    await connection.close();
  });

  test('what we export loads there, and users with a hash that it knows log in', async () => {
    await fill(ourApi, 'ours', 'node', 'rabbit_password_hashing_sha256');
    await ourApi.put('users/scrypt-user', { password: 'secret', tags: 'management' });
    const definitions = await ourApi.read('definitions');
    const loaded = await theirApi.post('definitions', definitions);
    expect([loaded.status, loaded.body]).toEqual([204, undefined]);
    expect(await shownBy(theirApi, 'ours', 'node')).toEqual(await shownBy(ourApi, 'ours', 'node'));
    const connection = await connectAmqp(`amqp://node:node's@127.0.0.1:${rabbit.endpoint.port}/ours`);
    await connection.close();
    // and back again: our own hash has survived the journey
    const back = await theirApi.read('definitions');
    await ourApi.delete('users/scrypt-user');
    expect((await ourApi.post('definitions', back)).status).toBe(204);
    expect((await new ApiClient(ours.port('management'), 'scrypt-user', 'secret').get('whoami')).status).toBe(200);
  });

  test('a virtual host alone goes into another, both ways', async () => {
    const theirs = await theirApi.read('definitions/theirs');
    await ourApi.put('vhosts/into');
    expect((await ourApi.post('definitions/into', theirs)).status).toBe(204);
    expect(await ourApi.read<unknown[]>('queues/into')).toHaveLength(2);
    const own = await ourApi.read('definitions/ours');
    await theirApi.put('vhosts/into');
    const loaded = await theirApi.post('definitions/into', own);
    expect([loaded.status, loaded.body]).toEqual([204, undefined]);
    expect(await theirApi.read<unknown[]>('queues/into')).toHaveLength(2);
  });
});

describe('definitions.load', () => {
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rosettamq-definitions-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const definitions = {
    rabbit_version: '3.10.8',
    users: [
      {
        name: 'hashed',
        password_hash: 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
        hashing_algorithm: 'rabbit_password_hashing_sha256',
        tags: ['administrator'],
        limits: {},
      },
    ],
    vhosts: [{ name: '/' }, { name: 'loaded' }],
    permissions: [{ user: 'hashed', vhost: 'loaded', configure: '.*', write: '.*', read: '.*' }],
    topic_permissions: [],
    parameters: [],
    global_parameters: [{ name: 'cluster_name', value: 'from a file' }],
    policies: [
      { vhost: 'loaded', name: 'p', pattern: '.*', 'apply-to': 'all', definition: { 'max-length': 3 }, priority: 0 },
    ],
    queues: [{ name: 'q', vhost: 'loaded', durable: true, auto_delete: false, arguments: { 'x-message-ttl': 60000 } }],
    exchanges: [
      { name: 'x', vhost: 'loaded', type: 'topic', durable: true, auto_delete: false, internal: false, arguments: {} },
    ],
    bindings: [
      { source: 'x', vhost: 'loaded', destination: 'q', destination_type: 'queue', routing_key: 'a.#', arguments: {} },
    ],
  };

  test('is applied at every start, and a start that finds all of it writes nothing', async () => {
    const file = join(folder, 'definitions.json');
    await writeFile(file, JSON.stringify(definitions));
    const dataDir = join(folder, 'data');
    const options = { dataDir, args: ['--set', `definitions.load=${file}`] };
    const sizes: number[] = [];
    for (let start = 0; start < 3; start++) {
      const broker = await BrokerProcess.start(options);
      const api = new ApiClient(broker.port('management'), 'hashed', 'test12');
      expect(await api.read('queues/loaded/q')).toMatchObject({ durable: true, policy: 'p' });
      expect(await api.read<unknown[]>('bindings/loaded')).toHaveLength(2);
      expect(await api.read('cluster-name')).toEqual({ name: 'from a file' });
      await broker.kill();
      sizes.push((await segments(dataDir)).reduce((sum, each) => sum + each, 0));
    }
    expect(sizes[0]).toBeGreaterThan(0);
    expect(sizes[2]).toBe(sizes[1]);
  });

  test.each([
    ['is not there', undefined, /none\.json.*ENOENT/],
    ['holds no JSON', 'nonsense', /wrong\.json.*JSON/],
    [
      'names a vhost that is not there',
      JSON.stringify({ queues: [{ name: 'q', vhost: 'none' }] }),
      /queue 'q'.*'none'/,
    ],
  ])('a file that %s ends the start with 78', async (_what, text, message) => {
    const file = join(folder, text === undefined ? 'none.json' : 'wrong.json');
    if (text !== undefined) await writeFile(file, text);
    const starting = BrokerProcess.start({ args: ['--set', `definitions.load=${file}`] });
    await expect(starting).rejects.toThrow(/ended with 78/);
    await expect(starting).rejects.toThrow(message);
  });
});

async function segments(dataDir: string): Promise<number[]> {
  const names = (await readdir(dataDir)).filter((name) => name.endsWith('.segment'));
  return Promise.all(names.map(async (name) => (await stat(join(dataDir, name))).size));
}

describe('what only other brokers have', () => {
  let broker: BrokerProcess;
  let api: ApiClient;

  beforeAll(async () => {
    broker = await BrokerProcess.start();
    api = new ApiClient(broker.port('management'));
  });
  afterAll(() => broker.remove());

  const exchange = (name: string, type: string): object => ({
    name,
    vhost: '/',
    type,
    durable: true,
    auto_delete: false,
    internal: false,
    arguments: {},
  });
  const queue = (name: string, args: object): object => ({
    name,
    vhost: '/',
    durable: true,
    auto_delete: false,
    arguments: args,
  });
  const binding = (source: string, destination: string, kind = 'queue'): object => ({
    source,
    vhost: '/',
    destination,
    destination_type: kind,
    routing_key: 'k',
    arguments: {},
  });
  const policy = (name: string, definition: object): object => ({
    vhost: '/',
    name,
    pattern: '^p',
    'apply-to': 'queues',
    definition,
    priority: 0,
  });
  // as RabbitMQ 4.1 writes them
  const definitions = {
    rabbit_version: '4.1.0',
    rabbitmq_version: '4.1.0',
    product_name: 'RabbitMQ',
    product_version: '4.1.0',
    rabbitmq_definition_format: 'cluster',
    original_cluster_name: 'rabbit@host',
    explanation: 'Definitions of cluster rabbit@host',
    users: [],
    vhosts: [
      {
        name: '/',
        description: 'Default virtual host',
        tags: [],
        default_queue_type: 'undefined',
        metadata: { description: 'Default virtual host', tags: [], default_queue_type: 'undefined' },
      },
    ],
    permissions: [],
    topic_permissions: [],
    parameters: [
      { vhost: '/', component: 'federation-upstream', name: 'up', value: { uri: 'amqp://there', expires: 3600000 } },
    ],
    global_parameters: [
      { name: 'cluster_tags', value: [] },
      { name: 'internal_cluster_id', value: 'rabbitmq-cluster-id-x' },
    ],
    policies: [
      policy('mirrors', { 'ha-mode': 'nodes', 'ha-params': ['a@b', 'c@d'] }),
      policy('streams', { 'max-age': '7D', 'stream-max-segment-size-bytes': 500000000 }),
      policy('strategy', { 'dead-letter-strategy': 'at-most-once', 'dead-letter-exchange': 'dead' }),
      policy('partly', { 'max-length': 5, 'consumer-timeout': 60000 }),
      policy('unknown', { 'consumer-timeout': 60000 }),
    ],
    queues: [
      queue('stream', { 'x-queue-type': 'stream', 'x-max-age': '7D' }),
      queue('quorum', {
        'x-queue-type': 'quorum',
        'x-quorum-initial-group-size': 3,
        'x-queue-leader-locator': 'balanced',
        'x-delivery-limit': 5,
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
        'x-dead-letter-exchange': 'dead',
      }),
      queue('classic', { 'x-queue-type': 'classic', 'x-queue-mode': 'lazy', 'x-queue-version': 2 }),
    ],
    exchanges: [exchange('history', 'x-recent-history'), exchange('kept', 'topic')],
    bindings: [
      binding('history', 'classic'),
      binding('kept', 'stream'),
      binding('kept', 'history', 'exchange'),
      binding('kept', 'quorum'),
    ],
  };

  test('is left out and told to who asks; all the rest is there', async () => {
    const told = await api.post('definitions?report=true', definitions);
    expect([told.status, told.body]).toEqual([
      200,
      {
        left_out: [
          "parameter 'up' of federation-upstream, which is kept and has no effect",
          "'consumer-timeout' of policy 'partly'",
          "'consumer-timeout' of policy 'unknown'",
          "exchange 'history' in vhost '/', of type x-recent-history",
          "queue 'stream' in vhost '/', of type stream",
          "binding 'history → classic' in vhost '/'",
          "binding 'kept → stream' in vhost '/'",
          "binding 'kept → history' in vhost '/'",
        ],
      },
    ]);
    expect((await api.post('definitions', definitions)).status).toBe(204);
    const names = async (path: string): Promise<unknown[]> =>
      (await api.read<{ name: string }[]>(path)).map(({ name }) => name);
    expect(await names('queues/%2F')).toEqual(['classic', 'quorum']);
    expect(await names('policies/%2F')).toEqual(['mirrors', 'partly', 'strategy', 'streams']);
    expect(await api.read('policies/%2F/partly')).toMatchObject({ definition: { 'max-length': 5 } });
    expect(await api.read('bindings/%2F/e/kept/q/quorum')).toHaveLength(1);
    expect(broker.log).toContain('"msg":"definitions: left out"');
  });

  test('does not keep a broker from starting with definitions.load', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'rosettamq-definitions-'));
    const file = join(folder, 'rabbitmq.json');
    await writeFile(file, JSON.stringify(definitions));
    const started = await BrokerProcess.start({ args: ['--set', `definitions.load=${file}`] });
    expect(started.log).toContain("queue 'stream' in vhost '/', of type stream");
    await started.remove();
    await rm(folder, { recursive: true, force: true });
  });
});
