import { spawnSync } from 'node:child_process';
import amqplib, { type ChannelModel, type ConfirmChannel, type ConsumeMessage } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import rhea, { type Connection, type EventContext, type Sender } from 'rhea';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** Messages for later, from every protocol, taken by another one. */
class Clients {
  readonly api: ApiClient;
  readonly amqp: ChannelModel;
  readonly channel: ConfirmChannel;
  readonly mqtt: MqttClient;
  readonly stomp: StompWire;
  readonly connection: Connection;

  private constructor(
    api: ApiClient,
    amqp: ChannelModel,
    channel: ConfirmChannel,
    mqttClient: MqttClient,
    stomp: StompWire,
    connection: Connection,
  ) {
    this.api = api;
    this.amqp = amqp;
    this.channel = channel;
    this.mqtt = mqttClient;
    this.stomp = stomp;
    this.connection = connection;
  }

  static async open(broker: BrokerProcess): Promise<Clients> {
    const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    amqp.on('error', () => {});
    const channel = await amqp.createConfirmChannel();
    channel.on('error', () => {});
    const options = { username: 'guest', password: 'guest', protocolVersion: 5, reconnectPeriod: 0 } as const;
    const mqttClient = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, options);
    mqttClient.on('error', () => {});
    const stomp = await StompWire.login(broker.port('stomp'));
    const connection = rhea.create_container().connect({
      host: '127.0.0.1',
      port: broker.port('amqp'),
      username: 'guest',
      password: 'guest',
      reconnect: false,
    });
    connection.on('disconnected', () => {});
    await event(connection, 'connection_open');
    return new Clients(new ApiClient(broker.port('management')), amqp, channel, mqttClient, stomp, connection);
  }

  async close(): Promise<void> {
    this.connection.close();
    this.stomp.destroy();
    await this.mqtt.endAsync(true);
    await this.amqp.close().catch(() => {});
  }

  /** Resolves when the outcome is accepted. */
  async send(address: string, message: object): Promise<EventContext> {
    const sender: Sender = this.connection.open_sender(address);
    await event(sender, 'sendable');
    const outcome = Promise.race([event(sender, 'accepted'), event(sender, 'rejected'), event(sender, 'released')]);
    sender.send(message as never);
    return outcome;
  }

  /** The next messages of a queue that is made, durable. */
  async take(queue: string, count: number): Promise<ConsumeMessage[]> {
    await this.channel.assertQueue(queue);
    const got: ConsumeMessage[] = [];
    return new Promise((resolve) => {
      void this.channel.consume(queue, (message) => {
        got.push(message!);
        this.channel.ack(message!);
        if (got.length === count) resolve(got);
      });
    });
  }
}

function event(emitter: { once(name: string, then: (context: EventContext) => void): unknown }, name: string) {
  return new Promise<EventContext>((resolve) => emitter.once(name, resolve));
}

const text = (message: ConsumeMessage): string => message.content.toString();

describe('a broker', () => {
  let broker: BrokerProcess;
  let clients: Clients;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });
  afterAll(() => broker?.remove());
  beforeEach(async () => {
    clients = await Clients.open(broker);
  });
  afterEach(() => clients?.close());

  test('AMQP: x-delay at an x-delayed-message exchange; the earliest comes first, its delay negated', async () => {
    const { channel } = clients;
    await channel.assertExchange('later', 'x-delayed-message', { arguments: { 'x-delayed-type': 'direct' } });
    const got = clients.take('later', 3);
    await channel.bindQueue('later', 'later', 'k');
    for (const delay of [300, 3_600_000, 100, 200]) {
      channel.publish('later', 'k', Buffer.from(String(delay)), { headers: { 'x-delay': delay }, persistent: true });
    }
    await channel.waitForConfirms();
    const shown = (await got).map((message) => [text(message), message.properties.headers?.['x-delay']]);
    expect(shown).toEqual([
      ['100', -100],
      ['200', -200],
      ['300', -300],
    ]);
    expect(await clients.api.read('exchanges/%2F/later')).toMatchObject({ messages_delayed: 1 });
    const metrics = await (await fetch(`http://127.0.0.1:${broker.port('management')}/metrics`)).text();
    expect(metrics).toMatch(/^rosettamq_messages_delayed\{vhost="\/"\} 1$/m);
  });

  test('AMQP: an exchange that does not say how it routes is refused', async () => {
    const { channel } = clients;
    await expect(channel.assertExchange('wrong', 'x-delayed-message')).rejects.toThrow(
      /406 .*'x-delayed-type' must be an existing exchange type/,
    );
  });

  test('STOMP and MQTT delay at such an exchange too', async () => {
    const { channel, stomp } = clients;
    await channel.assertExchange('later-topic', 'x-delayed-message', { arguments: { 'x-delayed-type': 'topic' } });
    const got = clients.take('later-topic', 2);
    await channel.bindQueue('later-topic', 'later-topic', 'a.#');
    await stomp.publish('/exchange/later-topic/a.b', 'delayed', 'x-delay:100\n');
    await stomp.publish('/exchange/later-topic/a.b', 'at once');
    const messages = await got;
    expect(messages.map(text)).toEqual(['at once', 'delayed']);
    expect(messages[1]!.properties.headers?.['x-delay']).toBe('-100');
  });

  test('MQTT: $delayed/<seconds>/<topic> is published then, to MQTT and to AMQP', async () => {
    const { mqtt: client, channel } = clients;
    const got = clients.take('from-mqtt', 2);
    await channel.bindQueue('from-mqtt', 'amq.topic', 'dev.1');
    await client.subscribeAsync('dev/1', { qos: 1 });
    const topics: string[] = [];
    const both = new Promise<void>((resolve) =>
      client.on('message', (topic, payload) => {
        topics.push(`${topic} ${payload}`);
        if (topics.length === 2) resolve();
      }),
    );
    await client.publishAsync('$delayed/1/dev/1', 'later', { qos: 1, retain: true });
    await client.publishAsync('$delayed/0/dev/1', 'now', { qos: 2 });
    await both;
    expect(topics).toEqual(['dev/1 now', 'dev/1 later']);
    expect((await got).map(text)).toEqual(['now', 'later']);
    const retained = new Promise((resolve) => client.once('message', (_topic, payload) => resolve(String(payload))));
    await client.subscribeAsync('dev/1');
    expect(await retained).toBe('later');
    await client.publishAsync('dev/1', '', { retain: true });
  });

  test.each(['$delayed/soon/t', '$delayed/5', '$delayed/5/', '$delayed/-1/t', '$delayed//t'])(
    'MQTT: %s names no time or no topic',
    async (topic) => {
      await expect(clients.mqtt.publishAsync(topic, 'm', { qos: 1 })).rejects.toThrow(/Topic Name invalid/i);
    },
  );

  test('STOMP: AMQ_SCHEDULED_DELAY, PERIOD and REPEAT, as ActiveMQ has them', async () => {
    const got = clients.take('from-stomp', 3);
    await clients.stomp.publish(
      '/queue/from-stomp',
      'm',
      'persistent:true\nAMQ_SCHEDULED_DELAY:100\nmine:kept\nAMQ_SCHEDULED_PERIOD:50\nAMQ_SCHEDULED_REPEAT:2\n',
    );
    const messages = await got;
    expect(messages.map(text)).toEqual(['m', 'm', 'm']);
    const { headers } = messages[2]!.properties;
    expect(headers).toMatchObject({ mine: 'kept', scheduledJobId: expect.stringMatching(/^\d+$/) });
    expect(Object.keys(headers!).filter((name) => name.startsWith('AMQ_'))).toEqual([]);
  });

  test('STOMP: what was scheduled before is not scheduled again', async () => {
    const got = clients.take('again', 1);
    await clients.stomp.publish('/queue/again', 'm', 'scheduledJobId:1\nAMQ_SCHEDULED_DELAY:3600000\n');
    expect((await got).map(text)).toEqual(['m']);
  });

  test('STOMP: a cron entry that is none is an ERROR', async () => {
    clients.stomp.send('SEND\ndestination:/queue/cron\nAMQ_SCHEDULED_CRON:soon\n\nm\0');
    expect((await clients.stomp.error()).body.toString()).toMatch(/'soon' is no cron entry/);
  });

  test('STOMP: in a transaction, it is scheduled when that is committed', async () => {
    const { stomp, api } = clients;
    await clients.channel.assertQueue('in-tx');
    await stomp.confirm('BEGIN\ntransaction:t\n\n\0');
    stomp.send('SEND\ndestination:/queue/in-tx\ntransaction:t\nAMQ_SCHEDULED_DELAY:3600000\n\nm\0');
    await stomp.subscribe('s', '/queue/other'); // what came before was read
    expect(await api.read('scheduled/%2F?queue=in-tx')).toEqual([]);
    await stomp.confirm('COMMIT\ntransaction:t\n\n\0');
    expect(await api.read('scheduled/%2F?queue=in-tx')).toHaveLength(1);
  });

  test('AMQP 1.0: x-opt-delivery-delay and x-opt-delivery-time', async () => {
    await clients.channel.assertQueue('from-amqp10');
    const past = { durable: true, body: 'past', message_annotations: { 'x-opt-delivery-time': 1000 } };
    const at = rhea.types.wrap_timestamp(Date.now() + 500);
    const timed = { durable: true, body: 'time', message_annotations: { 'x-opt-delivery-time': at } };
    const delayed = { durable: true, body: 'delay', message_annotations: { 'x-opt-delivery-delay': 1500 } };
    for (const message of [past, timed, delayed]) await clients.send('/queues/from-amqp10', message);
    const bodies = (await clients.take('from-amqp10', 3)).map((message) =>
      text(message).replace(/^.*?([a-z]+)$/s, '$1'),
    );
    expect(bodies).toEqual(['past', 'time', 'delay']);
  });

  test('listed and cancelled, by HTTP and by the command', async () => {
    const { stomp, channel, api } = clients;
    await channel.assertQueue('jobs');
    for (const hours of [3, 1, 2]) {
      await stomp.publish('/queue/jobs', String(hours), `AMQ_SCHEDULED_DELAY:${hours * 3_600_000}\n`);
    }
    type Row = { id: number; due: number };
    const rows = await api.read<Row[]>('scheduled/%2F?queue=jobs');
    expect(rows).toMatchObject([
      { vhost: '/', exchange: '', routing_key: 'jobs', persistent: false, payload_bytes: 1, cron: null, repeat: 0 },
      {},
      {},
    ]);
    expect(rows.map(({ due }) => Math.round((due - rows[0]!.due) / 3_600_000))).toEqual([0, 1, 2]);
    expect(await api.read('scheduled/%2F/exchange/amq.default?queue=jobs&limit=1')).toHaveLength(1);
    expect((await api.get('scheduled/%2F?limit=0')).status).toBe(400);
    expect((await api.get('scheduled/%2F/exchange/none')).status).toBe(404);
    expect((await api.delete(`scheduled/%2F/${rows[0]!.id}`)).status).toBe(204);
    expect((await api.delete(`scheduled/%2F/${rows[0]!.id}`)).status).toBe(404);
    const command = (...words: string[]) =>
      spawnSync(process.execPath, ['bin/rosettamq.js', 'scheduled', ...words], {
        encoding: 'utf8',
        env: { ...process.env, ROSETTAMQ_URL: `http://127.0.0.1:${broker.port('management')}` },
      });
    expect(command('cancel', String(rows[1]!.id)).stdout).toBe(`message ${rows[1]!.id} is cancelled\n`);
    const listed = command('list', '--queue', 'jobs').stdout;
    expect(listed).toContain(String(rows[2]!.id));
    expect(listed.trim().split('\n')).toHaveLength(2);
    expect(command('cancel', '1').status).toBe(1);
  });

  test('who may not configure the exchange does not cancel', async () => {
    const { stomp, channel, api } = clients;
    await channel.assertQueue('mine');
    await stomp.publish('/queue/mine', 'm', 'AMQ_SCHEDULED_DELAY:3600000\n');
    await api.put('users/reader', { password: 'reader', tags: 'management' });
    await api.put('permissions/%2F/reader', { configure: '', write: '.*', read: '.*' });
    const other = new ApiClient(broker.port('management'), 'reader', 'reader');
    const [row] = await other.read<{ id: number }[]>('scheduled/%2F?queue=mine');
    expect((await other.delete(`scheduled/%2F/${row!.id}`)).status).toBe(401);
    expect((await api.delete(`scheduled/%2F/${row!.id}`)).status).toBe(204);
  });
});

test('what was promised comes after kill -9, once, in its order', async () => {
  let broker = await BrokerProcess.start();
  let clients = await Clients.open(broker);
  const { channel } = clients;
  await channel.assertExchange('later', 'x-delayed-message', { arguments: { 'x-delayed-type': 'direct' } });
  await channel.assertQueue('q');
  await channel.bindQueue('q', 'later', 'k');
  channel.publish('later', 'k', Buffer.from('amqp 3'), { headers: { 'x-delay': 1700 }, persistent: true });
  channel.publish('later', 'k', Buffer.from('lost'), { headers: { 'x-delay': 10 } });
  await clients.stomp.publish('/queue/q', 'stomp 2', 'persistent:true\nAMQ_SCHEDULED_DELAY:1200\n');
  await clients.mqtt.publishAsync('$delayed/1/$queue-of/q', 'mqtt 1', { qos: 1 });
  const annotations = { 'x-opt-delivery-delay': 2200 };
  await clients.send('/queues/q', {
    durable: true,
    body: rhea.message.data_section(Buffer.from('amqp10 4')),
    message_annotations: annotations,
  });
  await clients.stomp.publish('/queue/q', 'never', 'persistent:true\nAMQ_SCHEDULED_DELAY:3600000\n');
  await channel.waitForConfirms();
  await broker.kill();
  await clients.close();
  broker = await BrokerProcess.start({ dataDir: broker.dataDir });
  clients = await Clients.open(broker);
  const got = await clients.take('q', 4);
  expect(got.map(text).toSorted()).toEqual(['amqp 3', 'amqp10 4', 'mqtt 1', 'stomp 2']);
  // of one exchange
  expect(got.map(text).filter((body) => body !== 'amqp 3')).toEqual(['mqtt 1', 'stomp 2', 'amqp10 4']);
  expect(await clients.api.read('exchanges/%2F/amq.default')).toMatchObject({ messages_delayed: 1 });
  await clients.close();
  await broker.stop();
  broker = await BrokerProcess.start({ dataDir: broker.dataDir });
  const api = new ApiClient(broker.port('management'));
  expect(await api.read('queues/%2F/q')).toMatchObject({ messages: 0 });
  expect(await api.read<object[]>('scheduled')).toMatchObject([{ routing_key: 'q', persistent: true }]);
  await broker.remove();
});
