import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';
import type stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AmqpMap } from '../../src/protocols/amqp10/types.ts';
import { connectStomp } from '../suites/interop.ts';
import { Amqp10Peer, data, mapOf, section, sectionsOf } from '../support/amqp10-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';

/** What `explain` says of a message, and what consumers of every protocol get when the same one is published. */
let broker: BrokerProcess;
let api: ApiClient;
let amqp: ChannelModel;
let channel: Channel;
let mqtt5: MqttClient;
let mqtt3: MqttClient;
let stomp: stompit.Client;
let amqp10: Amqp10Peer;
let topics = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  api = new ApiClient(broker.port('management'));
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  const login = { username: 'guest', password: 'guest' };
  mqtt5 = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, { ...login, protocolVersion: 5 });
  mqtt3 = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, { ...login, protocolVersion: 4 });
  stomp = await connectStomp({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });
  amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
});

afterAll(async () => {
  amqp10?.destroy();
  await mqtt5?.endAsync();
  await mqtt3?.endAsync();
  await amqp?.close();
  stomp?.destroy();
  await broker?.remove();
});

interface Item {
  readonly name: string;
  readonly value: string;
  readonly companion?: boolean;
}

interface Consumer {
  readonly protocol: string;
  readonly delivery: readonly Item[];
  readonly fields: readonly Item[];
  readonly headers: readonly Item[];
  readonly lost: readonly string[];
}

interface Explanation {
  readonly result: string;
  readonly declares: string | null;
  readonly retained: boolean;
  readonly routing_keys: readonly string[];
  readonly route: readonly {
    exchange: string;
    matched: boolean;
    dead_end: boolean;
    alternate_taken: boolean;
    bindings: { destination: string; matched: boolean; why: string }[];
  }[];
  readonly queues: readonly { name: string; policy: string | null; effective_policy_definition: object }[];
  readonly consumers: readonly Consumer[];
}

async function explain(description: object): Promise<Explanation> {
  const { status, body } = await api.post('explain', description);
  expect(body).toBeDefined();
  expect(status, JSON.stringify(body)).toBe(200);
  return body as Explanation;
}

function consumerOf({ consumers }: Explanation, protocol: string): Consumer {
  return consumers.find((each) => each.protocol === protocol) as Consumer;
}

const asObject = (items: readonly Item[]): Record<string, string> =>
  Object.fromEntries(items.map(({ name, value }) => [name, value]));

interface Arrived {
  readonly amqp: ConsumeMessage;
  readonly mqtt5: IPublishPacket;
  readonly mqtt3: IPublishPacket;
  readonly stomp: Record<string, string>;
  readonly amqp10: ReturnType<typeof sectionsOf>;
}

/** Subscribes one consumer of each protocol to the key, publishes, and waits for all five. */
async function receive(key: string, publish: () => unknown): Promise<Arrived> {
  const topic = key.replaceAll('.', '/');
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'amq.topic', key);
  const fromAmqp = new Promise<ConsumeMessage>((resolve) => {
    channel.consume(queue, (message) => resolve(message as ConsumeMessage), { noAck: true });
  });
  const through = async (client: MqttClient): Promise<Promise<IPublishPacket>[]> => {
    await client.subscribeAsync(topic);
    return [
      new Promise((resolve) =>
        client.on('message', (arrived, _body, packet) => {
          if (arrived === topic) resolve(packet);
        }),
      ),
    ];
  };
  const [from5] = await through(mqtt5);
  const [from3] = await through(mqtt3);
  const fromStomp = new Promise<Record<string, string>>((resolve, reject) =>
    stomp.subscribe({ destination: `/topic/${key}`, ack: 'auto' }, (error, message) => {
      if (error) return reject(error);
      message.resume();
      message.on('end', () => resolve(message.headers));
    }),
  );
  await new Promise<void>((resolve, reject) =>
    stomp.send({ destination: '/topic/nobody' }, { onReceipt: resolve, onError: reject }).end(''),
  );
  await amqp10.receiver(2 * topics, `/exchanges/amq.topic/${key}`, 1);
  await publish();
  const octets = (await amqp10.message()).octets;
  return {
    amqp: await fromAmqp,
    mqtt5: (await from5) as IPublishPacket,
    mqtt3: (await from3) as IPublishPacket,
    stomp: await fromStomp,
    amqp10: sectionsOf(octets),
  };
}

function compare(explained: Explanation, arrived: Arrived): void {
  const amqp091 = consumerOf(explained, 'amqp-0-9-1');
  const { properties } = arrived.amqp;
  expect(Object.keys(properties.headers ?? {}).sort()).toEqual(amqp091.headers.map(({ name }) => name).sort());
  const named: Record<string, unknown> = {
    content_type: properties.contentType,
    correlation_id: properties.correlationId,
    message_id: properties.messageId,
    reply_to: properties.replyTo?.replace(/^rosetta\.reply\..*/, 'rosetta.reply.…'),
    priority: properties.priority,
    expiration: properties.expiration,
    delivery_mode: properties.deliveryMode,
    app_id: properties.appId,
    type: properties.type,
  };
  const fields = Object.entries(named).filter(([, value]) => value !== undefined);
  expect(Object.fromEntries(fields.map(([name, value]) => [name, String(value)]))).toEqual(asObject(amqp091.fields));

  const five = consumerOf(explained, 'mqtt-5');
  expect({ ...arrived.mqtt5.properties?.userProperties }).toEqual(asObject(five.headers));
  const inMqtt = asObject(five.fields);
  expect(arrived.mqtt5.properties?.contentType).toBe(inMqtt['content-type']);
  expect(String(arrived.mqtt5.properties?.messageExpiryInterval)).toBe(String(inMqtt['message-expiry-interval']));
  expect(arrived.mqtt5.properties?.responseTopic?.replace(/^\$reply\/.*/, '$reply/…')).toBe(inMqtt['response-topic']);
  expect(asObject(five.delivery)).toEqual({ topic: arrived.mqtt5.topic });

  const three = consumerOf(explained, 'mqtt-3.1.1');
  expect(asObject(three.delivery)).toEqual({ topic: arrived.mqtt3.topic });
  expect([...three.fields, ...three.headers]).toEqual([]);

  const inStomp = consumerOf(explained, 'stomp');
  const own = ['message-id', 'subscription', 'redelivered', 'content-length', 'ack'];
  const lines = Object.entries(arrived.stomp).filter(([name]) => !own.includes(name));
  expect(
    lines
      .map(([name, value]) => [name, name === 'reply-to' ? value.replace(/(rosetta\.reply\.).*/, '$1…') : value])
      .sort(),
  ).toEqual(Object.entries(asObject([...inStomp.delivery, ...inStomp.fields, ...inStomp.headers])).sort());

  const ten = consumerOf(explained, 'amqp-1.0');
  const names = [0x72, 0x74].flatMap((code) => {
    const map = arrived.amqp10.get(code);
    return map instanceof AmqpMap
      ? map.pairs.map(([key]) => (typeof key === 'string' ? key : (key as { value: string }).value))
      : [];
  });
  const broker = ten.delivery.map(({ name }) => name);
  expect(names.sort()).toEqual([...broker, ...ten.headers.map(({ name }) => name)].sort());
}

describe('consumers of every protocol get what was explained', () => {
  const headers = { text: 'é', n: 2 ** 40, yes: true, list: ['one', 'two'], priority: 'mine' };
  const body = 'x';

  test('from AMQP 0-9-1', async () => {
    const key = `explain.${++topics}`;
    let explained: Explanation | undefined;
    const arrived = await receive(key, async () => {
      const properties = {
        content_type: 'application/json',
        correlation_id: 'c-1',
        message_id: 'm-1',
        priority: 7,
        ttl_ms: 60_000,
        type: 'order',
        app_id: 'shop',
        reply_to: 'answers',
        durable: true,
      };
      explained = await explain({
        protocol: 'amqp-0-9-1',
        exchange: 'amq.topic',
        destination: key,
        properties,
        headers,
        body,
      });
      channel.publish('amq.topic', key, Buffer.from(body), {
        contentType: 'application/json',
        correlationId: 'c-1',
        messageId: 'm-1',
        priority: 7,
        expiration: '60000',
        type: 'order',
        appId: 'shop',
        replyTo: 'answers',
        persistent: true,
        headers,
      });
    });
    compareWith(arrived, explained);
    expect(explained?.queues).toHaveLength(5);
    const five = consumerOf(explained as Explanation, 'mqtt-5');
    const companions = five.headers.filter(({ companion }) => companion).map(({ name }) => name);
    expect(companions).toEqual(
      expect.arrayContaining(['message-id', 'priority', 'x-rosetta-h.priority', 'x-rosetta-types']),
    );
    expect(five.lost).toEqual([]);
    expect(consumerOf(explained as Explanation, 'stomp').lost).toEqual([]);
    expect(consumerOf(explained as Explanation, 'mqtt-3.1.1').lost).toEqual(
      expect.arrayContaining(['contentType', 'messageId', 'replyTo', "header 'n'"]),
    );
  });

  test('from MQTT 5', async () => {
    const key = `explain.${++topics}`;
    const destination = key.replace('.', '/');
    let explained: Explanation | undefined;
    const arrived = await receive(key, async () => {
      const properties = { content_type: 'text/plain', correlation_id: 'c-1', ttl_ms: 60_000, reply_to: 'answers/1' };
      explained = await explain({ protocol: 'mqtt-5', destination, properties, headers: { note: 'é' }, body, qos: 1 });
      await mqtt5.publishAsync(destination, body, {
        qos: 1,
        properties: {
          contentType: 'text/plain',
          correlationData: Buffer.from('c-1'),
          messageExpiryInterval: 60,
          responseTopic: 'answers/1',
          userProperties: { note: 'é' },
        },
      });
    });
    compareWith(arrived, explained);
  });

  test('from STOMP', async () => {
    const key = `explain.${++topics}`;
    let explained: Explanation | undefined;
    const arrived = await receive(key, async () => {
      const properties = { content_type: 'text/plain', correlation_id: 'c-1', priority: 7, durable: true };
      explained = await explain({
        protocol: 'stomp',
        destination: `/topic/${key}`,
        properties,
        headers: { note: 'a:b' },
        body,
      });
      stomp
        .send({
          destination: `/topic/${key}`,
          'content-type': 'text/plain',
          'correlation-id': 'c-1',
          priority: '7',
          persistent: 'true',
          note: 'a:b',
        })
        .end(body);
    });
    compareWith(arrived, explained);
  });

  test('from AMQP 1.0', async () => {
    const key = `explain.${++topics}`;
    const destination = `/exchanges/amq.topic/${key}`;
    let explained: Explanation | undefined;
    const arrived = await receive(key, async () => {
      const properties = { subject: 'news', group_id: 'g', message_id: 'm-1' };
      explained = await explain({ protocol: 'amqp-1.0', destination, properties, headers: { note: 'é' }, body });
      const handle = 2 * topics + 1;
      await amqp10.sender(handle, destination);
      const list = section(0x73, ['m-1', null, null, 'news', null, null, null, null, null, null, 'g']);
      amqp10.transfer(handle, Buffer.concat([list, section(0x74, mapOf({ note: 'é' })), data(body)]), {
        settled: true,
      });
    });
    compareWith(arrived, explained);
  });

  function compareWith(arrived: Arrived, explained: Explanation | undefined): void {
    expect(explained).toBeDefined();
    compare(explained as Explanation, arrived);
  }
});

describe('the route', () => {
  test('each exchange and binding says whether it matched, and why; the alternate exchange is taken', async () => {
    await channel.assertExchange('spare', 'fanout', { durable: false });
    await channel.assertExchange('letters', 'headers', { durable: false, alternateExchange: 'spare' });
    await channel.assertExchange('front', 'topic', { durable: false });
    await channel.assertQueue('blue', { durable: false });
    await channel.assertQueue('rest', { durable: false });
    await channel.bindExchange('letters', 'front', 'a.*');
    await channel.bindQueue('blue', 'front', 'b.#');
    await channel.bindQueue('blue', 'letters', '', { colour: 'blue', 'x-match': 'all' });
    await channel.bindQueue('rest', 'spare', '');
    await api.put('policies/%2F/short', { pattern: '^rest$', definition: { 'max-length': 5 }, 'apply-to': 'queues' });

    const description = { protocol: 'amqp-0-9-1', exchange: 'front', destination: 'a.b' };
    const red = await explain({ ...description, headers: { colour: 'red' } });
    expect(red.route).toMatchObject([
      {
        exchange: 'front',
        bindings: [
          { destination: 'letters', matched: true, why: "the routing key fits the pattern 'a.*'" },
          { destination: 'blue', matched: false, why: "the routing key does not fit the pattern 'b.#'" },
        ],
      },
      {
        exchange: 'letters',
        matched: false,
        alternate_taken: true,
        dead_end: false,
        bindings: [{ destination: 'blue', matched: false, why: "x-match all: 'colour' has another value" }],
      },
      { exchange: 'spare', matched: true, bindings: [{ destination: 'rest', matched: true }] },
    ]);
    expect(red.queues).toMatchObject([
      { name: 'rest', policy: 'short', effective_policy_definition: { 'max-length': 5 } },
    ]);
    const blue = await explain({ ...description, headers: { colour: 'blue' } });
    expect(blue.queues.map(({ name }) => name)).toEqual(['blue']);
    expect((await channel.checkQueue('rest')).messageCount).toBe(0);
    expect((await channel.checkQueue('blue')).messageCount).toBe(0);
  });

  test('a key that nothing matches ends, and is unroutable', async () => {
    const { result, route, queues } = await explain({ protocol: 'amqp-0-9-1', destination: 'nobody' });
    expect({ result, queues }).toEqual({ result: 'unroutable', queues: [] });
    expect(route).toMatchObject([
      { exchange: '', dead_end: true, bindings: [{ matched: false, why: "no queue has the name 'nobody'" }] },
    ]);
  });

  test('CC and BCC are further routing keys, and consumers do not see BCC', async () => {
    for (const name of ['cc-1', 'cc-2', 'cc-3']) await channel.assertQueue(name, { durable: false });
    const headers = { CC: ['cc-2'], BCC: ['cc-3'] };
    const explained = await explain({ protocol: 'amqp-0-9-1', destination: 'cc-1', headers });
    expect(explained.routing_keys).toEqual(['cc-1', 'cc-2', 'cc-3']);
    expect(explained.queues.map(({ name }) => name)).toEqual(['cc-1', 'cc-2', 'cc-3']);
    expect(consumerOf(explained, 'amqp-0-9-1').headers.map(({ name }) => name)).toEqual(['CC']);
  });

  test("STOMP's queue that is not there would be declared, and is not", async () => {
    const { declares, result } = await explain({ protocol: 'stomp', destination: '/queue/later' });
    expect({ declares, result }).toEqual({ declares: 'later', result: 'routed' });
    expect((await api.get('queues/%2F/later')).status).toBe(404);
  });

  test('a retained message says so, and is not retained', async () => {
    const description = { protocol: 'mqtt-5', destination: 'kept/here', body: '1' };
    expect((await explain({ ...description, retain: true })).retained).toBe(true);
    expect((await explain(description)).retained).toBe(false);
  });
});

describe('what cannot be explained is refused as its publisher would be', () => {
  test.each([
    [{ protocol: 'smtp', destination: 'a' }, 400, /unknown protocol 'smtp'; there are amqp-0-9-1/],
    [{ protocol: 'mqtt-5', destination: 'a/#' }, 400, /'a\/#' is no topic/],
    [{ protocol: 'stomp', destination: '/nowhere/a' }, 400, /Unknown destination/],
    [{ protocol: 'amqp-0-9-1', exchange: 'absent', destination: 'a' }, 404, /no exchange 'absent'/],
    [{ protocol: 'mqtt-5', destination: 'a', properties: { colour: 'red' } }, 400, /properties.colour is not known/],
    [{ protocol: 'mqtt-5', destination: 'a', vhost: 'absent' }, 404, /vhost_not_found/],
  ])('%j', async (description, status, reason) => {
    const answer = await api.post('explain', description);
    expect(answer).toMatchObject({ status, body: { reason: expect.stringMatching(reason) } });
  });

  test('who may not publish there', async () => {
    await api.put('users/reader', { password: 'reader', tags: 'management' });
    await api.put('permissions/%2F/reader', { configure: '', write: '', read: '.*' });
    const reader = new ApiClient(broker.port('management'), 'reader', 'reader');
    const answer = await reader.post('explain', { protocol: 'mqtt-5', destination: 'a/b' });
    expect(answer).toMatchObject({
      status: 401,
      body: { reason: expect.stringMatching(/^write access to exchange 'amq.topic'/) },
    });
  });
});

describe('rosettamq explain', () => {
  const run = (...args: string[]) =>
    promisify(execFile)(
      process.execPath,
      ['bin/rosettamq.js', 'explain', ...args, '--url', `http://127.0.0.1:${broker.port('management')}`],
      { env: { ...process.env, COLUMNS: '100' } },
    );

  test('tables fit the terminal, and say what is moved and lost', async () => {
    await channel.assertQueue('shown', { durable: false });
    const { stdout } = await run('amqp-0-9-1', 'shown', '{}', '-P', 'message_id=m-1', '-H', 'n=5');
    expect(stdout.split('\n').every((line) => [...line].length <= 100)).toBe(true);
    expect(stdout).toContain("with the routing key 'shown': routed");
    expect(stdout).toContain('+ message-id: m-1');
    expect(stdout).toContain('- messageId');
    for (const title of ['AMQP 0-9-1', 'AMQP 1.0', 'MQTT 5', 'MQTT 3.1.1', 'STOMP 1.2'])
      expect(stdout).toContain(title);
  });

  test('a message for later is held, and then routed so', async () => {
    const { stdout } = await run('mqtt-5', '$delayed/5/a/b', 'x');
    expect(stdout).toMatch(/Held for 5 s, until 2\S+Z, then routed; as things are now, so:/);
    const headers = { AMQ_SCHEDULED_DELAY: '1000', AMQ_SCHEDULED_PERIOD: '2000', AMQ_SCHEDULED_REPEAT: '3' };
    const answer = await explain({ protocol: 'stomp', destination: '/queue/later', headers });
    expect(answer).toMatchObject({ held: { delay: 1000, period: 2000, repeat: 3, cron: null } });
    expect((await api.get('scheduled')).body).toEqual([]);
  });

  test('a body comes from a file as it is, and what is no file is an error of usage', async () => {
    const file = join(broker.dataDir, 'body');
    await writeFile(file, Buffer.from([0, 0xff, 0x41]));
    const { stdout } = await run('mqtt-5', 'a/b', '--body-file', file, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ body: Buffer.from([0, 0xff, 0x41]).toString('base64') });
    await expect(run('mqtt-5', 'a/b', '--body-file', `${file}-not`)).rejects.toMatchObject({ code: 2 });
    await expect(run('mqtt-5', 'a/b', 'text', '--body-file', file)).rejects.toMatchObject({ code: 2 });
  });

  test('a file says the message, and --json prints what the API answers', async () => {
    const file = join(broker.dataDir, 'message.json');
    const description = { protocol: 'stomp', destination: '/queue/shown', headers: { n: 'x' }, body: 'b' };
    await writeFile(file, JSON.stringify(description));
    const { stdout } = await run('--file', file, '--json');
    expect(JSON.parse(stdout)).toEqual(await explain(description));
  });

  test('without a protocol it tells its usage', async () => {
    await expect(run()).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('PROTOCOL is missing') });
  });
});
