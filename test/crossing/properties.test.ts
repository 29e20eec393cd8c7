import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';
import type stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AmqpMap, symbol } from '../../src/protocols/amqp10/types.ts';
import { connectStomp } from '../suites/interop.ts';
import { Amqp10Peer, bareOf, data, section, sectionsOf } from '../support/amqp10-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';

/** Each property of a message, from each protocol to each other one, in that one's own place. */
let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let client: MqttClient;
let stomp: stompit.Client;
let amqp10: Amqp10Peer;
let topics = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
  });
  client.setMaxListeners(100);
  stomp = await connectStomp({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });
  amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
});

afterAll(async () => {
  amqp10?.destroy();
  await client?.endAsync();
  await amqp?.close();
  stomp?.destroy();
  await broker?.remove();
});

type Publish = (topic: string) => unknown;

async function throughAmqp(publish: Publish): Promise<ConsumeMessage['properties']> {
  const topic = `properties.${++topics}`;
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'amq.topic', topic);
  const next = new Promise<ConsumeMessage>((resolve) =>
    channel.consume(queue, (message) => resolve(message as ConsumeMessage), { noAck: true }),
  );
  publish(topic);
  return (await next).properties;
}

async function throughMqtt(publish: Publish): Promise<NonNullable<IPublishPacket['properties']>> {
  const topic = `properties.${++topics}`;
  const name = topic.replace('.', '/');
  await client.subscribeAsync(name);
  const next = new Promise<IPublishPacket>((resolve) =>
    client.on('message', (arrived, _body, packet) => {
      if (arrived === name) resolve(packet);
    }),
  );
  publish(topic);
  return (await next).properties ?? {};
}

async function throughStomp(publish: Publish): Promise<Record<string, string>> {
  const topic = `properties.${++topics}`;
  const next = new Promise<Record<string, string>>((resolve, reject) =>
    stomp.subscribe({ destination: `/topic/${topic}`, ack: 'auto' }, (error, message) => {
      if (error) return reject(error);
      message.resume();
      message.on('end', () => resolve(message.headers));
    }),
  );
  await new Promise<void>((resolve, reject) =>
    stomp.send({ destination: '/topic/nobody' }, { onReceipt: resolve, onError: reject }).end(''),
  );
  publish(topic);
  return next;
}

/** The sections of what arrives, by their codes. */
async function throughAmqp10(publish: Publish): Promise<ReturnType<typeof sectionsOf>> {
  const topic = `properties.${++topics}`;
  await amqp10.receiver(2 * topics, `/exchanges/amq.topic/${topic}`, 1);
  publish(topic);
  return sectionsOf((await amqp10.message()).octets);
}

const fromAmqp10 =
  (...sections: Buffer[]) =>
  async (topic: string) => {
    const handle = 2 * topics + 1;
    await amqp10.sender(handle, `/exchanges/amq.topic/${topic}`);
    amqp10.transfer(handle, Buffer.concat(sections), { settled: true });
  };
const fromAmqp = (options: amqplib.Options.Publish) => (topic: string) =>
  channel.publish('amq.topic', topic, Buffer.from('x'), options);
const fromMqtt = (properties: NonNullable<IPublishPacket['properties']>) => (topic: string) =>
  client.publish(topic.replace('.', '/'), 'x', { properties });
const fromStomp = (headers: Record<string, string>) => (topic: string) =>
  stomp.send({ destination: `/topic/${topic}`, ...headers }).end('x');

describe('AMQP 0-9-1 →', () => {
  const everything: amqplib.Options.Publish = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    correlationId: 'c-1',
    messageId: 'm-1',
    priority: 7,
    expiration: '60000',
    timestamp: 1_700_000_000,
    type: 'order',
    appId: 'shop',
    headers: { text: 'é', n: 5, yes: true, half: 0.5, list: [1, 'two'], nested: { a: 'b' } },
  };

  test('MQTT 5: content type, correlation and expiry in their places, the rest readable as user properties', async () => {
    const properties = await throughMqtt(fromAmqp(everything));
    expect(properties).toMatchObject({
      contentType: 'application/json',
      correlationData: Buffer.from('c-1'),
      messageExpiryInterval: 60,
      userProperties: {
        'content-encoding': 'gzip',
        'message-id': 'm-1',
        priority: '7',
        timestamp: '1700000000000',
        type: 'order',
        'app-id': 'shop',
        text: 'é',
        n: '5',
        yes: 'true',
        half: '0.5',
        list: '[1,"two"]',
        nested: '{"a":"b"}',
      },
    });
    const types = String(properties.userProperties?.['x-rosetta-types']).split(',');
    expect(types).toEqual(expect.arrayContaining(['yes=t', 'half=d', 'list=json(b.-)', 'nested=json']));
  });

  test('STOMP: all of it as headers, and one companion for the types', async () => {
    const headers = await throughStomp(fromAmqp(everything));
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'correlation-id': 'c-1',
      'amqp-message-id': 'm-1',
      priority: '7',
      expiration: '60000',
      timestamp: '1700000000000',
      type: 'order',
      'app-id': 'shop',
      text: 'é',
      n: '5',
      yes: 'true',
    });
    expect(headers['x-rosetta-types']).toContain('yes=t');
  });

  test('a plain message stays clean: no companion header', async () => {
    const plain = fromAmqp({ headers: { note: 'text' } });
    expect(await throughStomp(plain)).not.toHaveProperty('x-rosetta-types');
    expect((await throughMqtt(plain)).userProperties).toEqual({ note: 'text' });
  });

  test('a header named as a property of the other protocol does not pass for it', async () => {
    const headers = await throughStomp(fromAmqp({ headers: { priority: '7', 'message-id': 'mine' } }));
    expect(headers).toMatchObject({ 'x-rosetta-h.priority': '7', 'x-rosetta-h.message-id': 'mine' });
    expect(headers['message-id']).not.toBe('mine');
  });

  test('one that could not be read as that property keeps its name', async () => {
    expect(await throughStomp(fromAmqp({ headers: { timestamp: 'noon' } }))).toMatchObject({ timestamp: 'noon' });
  });

  test('one that a SEND would be refused for does not', async () => {
    const headers = await throughStomp(fromAmqp({ headers: { priority: 'mine' } }));
    expect(headers).toMatchObject({ 'x-rosetta-h.priority': 'mine' });
    expect(headers).not.toHaveProperty('priority');
  });

  test('a header does not become the expiry of who publishes it again', async () => {
    const headers = await throughStomp(fromAmqp({ headers: { expires: '22' } }));
    expect(headers).toMatchObject({ 'x-rosetta-h.expires': '22' });
    expect(headers).not.toHaveProperty('expires');
  });
});

describe('MQTT 5 →', () => {
  const everything = {
    contentType: 'application/json',
    correlationData: Buffer.from([0, 255, 128]),
    messageExpiryInterval: 60,
    payloadFormatIndicator: true,
    userProperties: { 'message-id': 'm-1', priority: '7', note: 'é' },
  };

  test('AMQP 0-9-1: properties in their fields', async () => {
    const properties = await throughAmqp(fromMqtt(everything));
    expect(properties).toMatchObject({
      contentType: 'application/json',
      expiration: '60000',
      messageId: 'm-1',
      priority: 7,
      deliveryMode: 1,
      headers: { note: 'é', 'x-mqtt-payload-format': true, 'x-correlation-id': Buffer.from([0, 255, 128]) },
    });
  });

  test('STOMP: binary as base64, with its type beside it', async () => {
    expect(await throughStomp(fromMqtt(everything))).toMatchObject({
      'content-type': 'application/json',
      'correlation-id': Buffer.from([0, 255, 128]).toString('base64'),
      'x-rosetta-types': 'correlation-id=b64',
      expiration: '60000',
      'amqp-message-id': 'm-1',
      priority: '7',
      'x-mqtt-payload-format': 'true',
      note: 'é',
    });
  });
});

test.each([
  ['MQTT 5', fromMqtt({ messageExpiryInterval: 4_294_967_295 })],
  ['STOMP', fromStomp({ expiration: '999999999999999' })],
])(
  'a time to live of %s beyond ten years is ten to AMQP 0-9-1, which could not be published again',
  async (_, publish) => {
    const { expiration } = await throughAmqp(publish);
    expect(expiration).toBe('315360000000');
    expect(await throughAmqp(fromAmqp({ expiration }))).toMatchObject({ expiration });
  },
);

describe('STOMP →', () => {
  const everything = {
    'content-type': 'application/json',
    'correlation-id': 'c-1',
    'amqp-message-id': 'm-1',
    priority: '7',
    expiration: '60000',
    persistent: 'true',
    type: 'order',
    note: 'a:b\nc',
  };

  test('AMQP 0-9-1: properties in their fields, headers as text', async () => {
    expect(await throughAmqp(fromStomp(everything))).toMatchObject({
      contentType: 'application/json',
      correlationId: 'c-1',
      messageId: 'm-1',
      priority: 7,
      expiration: '60000',
      deliveryMode: 2,
      type: 'order',
      headers: { note: 'a:b\nc' },
    });
  });

  test('MQTT 5: content type, correlation and expiry in their places', async () => {
    expect(await throughMqtt(fromStomp(everything))).toMatchObject({
      contentType: 'application/json',
      correlationData: Buffer.from('c-1'),
      messageExpiryInterval: 60,
      userProperties: { 'message-id': 'm-1', priority: '7', type: 'order', note: 'a:b\nc' },
    });
  });
});

describe('AMQP 1.0 →', () => {
  const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  const everything = [
    section(0x70, [true, { type: 'ubyte', value: 7 }, { type: 'uint', value: 60_000 }]),
    section(
      0x72,
      new AmqpMap([
        [symbol('x-opt-mine'), 'a'],
        [symbol('x-opt-app-id'), 'shop'],
        [symbol('x-opt-type'), 'order'],
      ]),
    ),
    section(0x73, [
      { type: 'uuid', value: uuid },
      Buffer.from('guest'),
      'somewhere',
      'news',
      null,
      'c-1',
      symbol('application/json'),
      symbol('gzip'),
      null,
      { type: 'timestamp', value: 1_700_000_000_123n },
      'group',
      { type: 'uint', value: 5 },
      'replies',
    ]),
    section(
      0x74,
      new AmqpMap([
        ['text', 'é'],
        ['n', { type: 'ulong', value: 5n }],
        ['when', { type: 'timestamp', value: 1_700_000_000_000n }],
      ]),
    ),
    data('{}'),
  ];

  test('AMQP 0-9-1: properties in their fields, the rest as headers, and one companion for the types', async () => {
    const properties = await throughAmqp(fromAmqp10(...everything));
    expect(properties).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'gzip',
      correlationId: 'c-1',
      deliveryMode: 2,
      priority: 7,
      expiration: '60000',
      timestamp: 1_700_000_000,
      userId: 'guest',
      appId: 'shop',
      type: 'order',
      headers: {
        text: 'é',
        n: 5,
        'x-opt-mine': 'a',
        'x-subject': 'news',
        'x-to': 'somewhere',
        'x-group-id': 'group',
        'x-group-sequence': 5,
        'x-reply-to-group-id': 'replies',
        'x-message-id': uuid,
        timestamp_in_ms: 1_700_000_000_123,
      },
    });
    expect(String(properties.headers?.['x-rosetta-types']).split(',').sort()).toEqual(['n=L', 'x-message-id=U']);
  });

  test('MQTT 5: content type, correlation and expiry in their places, the rest as user properties', async () => {
    expect(await throughMqtt(fromAmqp10(...everything))).toMatchObject({
      contentType: 'application/json',
      correlationData: Buffer.from('c-1'),
      messageExpiryInterval: 60,
      userProperties: {
        'content-encoding': 'gzip',
        'message-id': uuid.toString('hex'),
        priority: '7',
        timestamp: '1700000000123',
        'x-subject': 'news',
        'x-group-id': 'group',
        'x-opt-mine': 'a',
        text: 'é',
        n: '5',
        when: '1700000000000',
      },
    });
  });

  test('STOMP: all of it as headers', async () => {
    expect(await throughStomp(fromAmqp10(...everything))).toMatchObject({
      'content-type': 'application/json',
      'correlation-id': 'c-1',
      'amqp-message-id': uuid.toString('hex'),
      persistent: 'true',
      priority: '7',
      'x-subject': 'news',
      'x-opt-mine': 'a',
      n: '5',
    });
  });

  test('a value is octets to the others, and says so by its content type', async () => {
    const properties = await throughMqtt(fromAmqp10(section(0x77, 'text')));
    expect(properties.contentType).toBe('message/vnd.rosettamq.amqp-value');
  });
});

describe('→ AMQP 1.0', () => {
  test('from 0-9-1: each in its section, tables as JSON with their types', async () => {
    const options = {
      contentType: 'application/json',
      correlationId: 'c-1',
      messageId: 'm-1',
      priority: 7,
      expiration: '60000',
      persistent: true,
      timestamp: 1_700_000_000,
      type: 'order',
      appId: 'shop',
      headers: { text: 'é', n: 5, nested: { a: 'b' }, 'x-opt-mine': 'a' },
    };
    const sections = await throughAmqp10(fromAmqp(options));
    const [durable, priority] = sections.get(0x70) as unknown[];
    expect([durable, priority]).toEqual([true, { type: 'ubyte', value: 7 }]);
    const annotations = sections.get(0x72) as AmqpMap;
    expect(['x-opt-app-id', 'x-opt-type', 'x-opt-mine', 'x-exchange'].map((name) => annotations.get(name))).toEqual([
      'shop',
      'order',
      'a',
      'amq.topic',
    ]);
    const [messageId, , , , , correlationId, contentType, , , creation] = sections.get(0x73) as unknown[];
    expect([messageId, correlationId, contentType, creation]).toEqual([
      'm-1',
      'c-1',
      symbol('application/json'),
      { type: 'timestamp', value: 1_700_000_000_000n },
    ]);
    const application = sections.get(0x74) as AmqpMap;
    expect([application.get('text'), application.get('nested'), application.get('x-rosetta-types')]).toEqual([
      'é',
      '{"a":"b"}',
      'nested=json',
    ]);
    expect(String(sections.get(0x75))).toBe('x');
  });

  test('from MQTT 5: octets stay octets, and what is text stays text', async () => {
    const sections = await throughAmqp10(
      fromMqtt({
        contentType: 'text/plain',
        correlationData: Buffer.from([0, 255]),
        payloadFormatIndicator: true,
        userProperties: { note: 'é' },
      }),
    );
    expect((sections.get(0x73) as unknown[])[5]).toEqual(Buffer.from([0, 255]));
    expect((sections.get(0x72) as AmqpMap).get('x-opt-mqtt-payload-format')).toBe(true);
    expect((sections.get(0x74) as AmqpMap).get('note')).toBe('é');
  });

  test('from STOMP: header lines are application properties', async () => {
    const sections = await throughAmqp10(fromStomp({ 'content-type': 'text/plain', priority: '7', note: 'a:b' }));
    expect((sections.get(0x73) as unknown[])[6]).toEqual(symbol('text/plain'));
    expect((sections.get(0x74) as AmqpMap).get('note')).toBe('a:b');
  });

  test('a value that went round through 0-9-1 is a value again, and what only says so is octets', async () => {
    const value = section(0x77, 'text');
    const type = 'message/vnd.rosettamq.amqp-value';
    const bodies = [value, Buffer.from('no value')].map(async (body) => {
      const topic = `properties.${++topics}`;
      const handle = 2 * topics;
      await amqp10.receiver(handle, `/exchanges/amq.topic/${topic}`, 1);
      channel.publish('amq.topic', topic, body, { contentType: type });
    });
    for (const body of bodies) await body;
    const got = [bareOf((await amqp10.message()).octets), bareOf((await amqp10.message()).octets)];
    expect(got.map((octets) => octets.toString('hex')).sort()).toEqual(
      [data('no value').toString('hex'), value.toString('hex')].sort(),
    );
  });
});

test('what AMQP 1.0 marks with x-opt-mqtt-retain is retained for subscribers to come', async () => {
  const topic = `properties.${++topics}`;
  await amqp10.sender(2 * topics, `/exchanges/amq.topic/${topic}`);
  const mark = section(0x72, new AmqpMap([[symbol('x-opt-mqtt-retain'), true]]));
  amqp10.transfer(2 * topics, Buffer.concat([mark, data('kept')]));
  await amqp10.expect('disposition');
  const name = topic.replace('.', '/');
  const got = new Promise<string>((resolve) =>
    client.on('message', (arrived, body) => {
      if (arrived === name) resolve(body.toString());
    }),
  );
  await client.subscribeAsync(name);
  expect(await got).toBe('kept');
});
