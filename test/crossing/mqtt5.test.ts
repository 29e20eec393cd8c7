import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import { connectAsync, type IPublishPacket, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';

/** What a client of MQTT 5 and one of AMQP 0-9-1 see of each other's messages, as their libraries show them. */
let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let client: MqttClient;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  client = await connectAsync(`mqtt://guest:guest@127.0.0.1:${broker.port('mqtt')}`, { protocolVersion: 5 });
});

afterAll(async () => {
  await client?.endAsync(true);
  await amqp?.close();
  await broker?.remove();
});

/** A queue that is bound to a topic of its own. */
async function bound(): Promise<{ queue: string; topic: string; key: string }> {
  const key = `mqtt5.${++count}`;
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'amq.topic', key);
  return { queue, key, topic: key.replace('.', '/') };
}

async function get(queue: string): Promise<ConsumeMessage> {
  let message: Awaited<ReturnType<Channel['get']>> = false;
  await expect.poll(async () => (message = await channel.get(queue, { noAck: true }))).not.toBe(false);
  return message as unknown as ConsumeMessage;
}

async function arriving(topic: string): Promise<() => Promise<IPublishPacket>> {
  await client.subscribeAsync(topic, { qos: 1 });
  const came = new Promise<IPublishPacket>((resolve) =>
    client.on('message', (name, _body, packet) => {
      if (name === topic) resolve(packet);
    }),
  );
  return () => came;
}

describe('MQTT 5 → AMQP → MQTT 5', () => {
  test.each([
    ['text', Buffer.from('id-7')],
    ['octets that are no text', Buffer.from([0xff, 0, 0x80])],
    ['octets that are text with NUL', Buffer.from('a\0b')],
    ['none', Buffer.alloc(0)],
    ['more than a short string holds', Buffer.alloc(300, 'x')],
  ])(
    'every property, with correlation data of %s, comes back when AMQP publishes it again',
    async (_name, correlationData) => {
      const { queue, topic } = await bound();
      const back = await bound();
      const arrived = await arriving(back.topic);
      const properties = {
        contentType: 'text/plain; charset=utf-8',
        correlationData,
        responseTopic: 'answers/1',
        messageExpiryInterval: 100,
        payloadFormatIndicator: true,
        userProperties: { a: ['1', '2', '1'], '': 'empty', ü: 'ö' },
      };
      await client.publishAsync(topic, 'body', { qos: 1, properties });
      const { content, properties: seen } = await get(queue);
      expect(content.toString()).toBe('body');
      expect(seen).toMatchObject({
        contentType: 'text/plain; charset=utf-8',
        replyTo: expect.any(String),
        deliveryMode: 2,
      });
      expect(Number(seen.expiration)).toBeGreaterThan(90_000);
      expect(seen.headers).toMatchObject({ a: '1', 'x-mqtt-payload-format': true });
      channel.publish('amq.topic', back.key, content, seen);
      const { properties: again } = await arrived();
      expect(again).toEqual({ ...properties, messageExpiryInterval: expect.any(Number) });
      expect(again?.messageExpiryInterval).toBeGreaterThan(90);
    },
  );

  test('a request of MQTT is answered by an AMQP responder that knows replyTo and correlationId alone', async () => {
    const { queue, topic } = await bound();
    const arrived = await arriving(`answers/${count}`);
    const correlationData = Buffer.from([1, 0xfe, 3]);
    await client.publishAsync(topic, 'q', {
      qos: 1,
      properties: { responseTopic: `answers/${count}`, correlationData },
    });
    const { properties } = await get(queue);
    const { replyTo, correlationId } = properties;
    channel.publish('', replyTo, Buffer.from('a'), { correlationId });
    const answer = await arrived();
    expect(answer.properties?.correlationData).toEqual(correlationData);
  });
});

test('AMQP → MQTT 5 → AMQP: properties and typed headers', async () => {
  const { queue, key, topic } = await bound();
  const back = await bound();
  const arrived = await arriving(topic);
  const properties = {
    contentType: 'application/json',
    contentEncoding: 'gzip',
    correlationId: 'c-1',
    messageId: 'm-1',
    type: 'order',
    appId: 'shop',
    priority: 4,
    timestamp: 1_700_000_000,
    expiration: '60000',
    headers: { n: 5, big: 2 ** 40, half: 0.5, yes: true, list: [1, 'a'], text: 'x', none: null },
  };
  channel.publish('amq.topic', key, Buffer.from('{}'), { ...properties, persistent: true });
  await get(queue);
  const { properties: seen, payload } = await arrived();
  expect(seen).toMatchObject({
    contentType: 'application/json',
    correlationData: Buffer.from('c-1'),
    messageExpiryInterval: 60,
  });
  await client.publishAsync(back.topic, payload, { qos: 1, properties: seen as NonNullable<typeof seen> });
  const { properties: again } = await get(back.queue);
  expect(again).toMatchObject({ ...properties, deliveryMode: 2 });
});

test('a will of MQTT 5 reaches AMQP with its properties', async () => {
  const { queue, topic } = await bound();
  const { peer } = await MqttPeer.connect(broker, {
    will: {
      topic,
      payload: Buffer.from('gone'),
      qos: 2,
      retain: true,
      properties: {
        contentType: 'text/plain',
        payloadFormatIndicator: true,
        correlationData: Buffer.from('c'),
        responseTopic: 'answers/w',
        messageExpiryInterval: 50,
        userProperties: { a: ['1', '2'] },
      },
    } as never,
  });
  peer.destroy();
  const { content, properties } = await get(queue);
  expect(content.toString()).toBe('gone');
  expect(properties).toMatchObject({
    contentType: 'text/plain',
    correlationId: 'c',
    deliveryMode: 2,
    expiration: expect.stringMatching(/^(50000|49\d{3})$/),
  });
  expect(properties.headers).toMatchObject({ a: '1', 'x-mqtt-retain': true, 'x-mqtt-payload-format': true });
});

test('QoS 2 reaches an AMQP queue once, whichever of its steps a connection is lost at', async () => {
  const { queue, topic } = await bound();
  const session = { clientId: 'steps', clean: false, properties: { sessionExpiryInterval: 600 } };
  let { peer } = await MqttPeer.connect(broker, session);
  const again = async () => {
    peer.destroy();
    ({ peer } = await MqttPeer.connect(broker, session));
  };
  for (let messageId = 1; messageId <= 20; messageId++) {
    const send = (dup: boolean) => peer.publish(topic, String(messageId), { qos: 2, messageId, dup });
    send(false);
    if (messageId % 4 !== 0) await peer.nextOf('pubrec'); // else: whether it came is not known
    if (messageId % 4 < 2) {
      await again();
      send(true);
      expect(await peer.nextOf('pubrec')).toMatchObject({ messageId });
    }
    peer.send({ cmd: 'pubrel', messageId });
    if (messageId % 4 === 2) {
      await again();
      peer.send({ cmd: 'pubrel', messageId }); // [MQTT-4.4.0-1] PUBCOMP may say that it is not known
    }
    await peer.nextOf('pubcomp');
  }
  peer.destroy();
  const bodies: string[] = [];
  for (let i = 0; i < 20; i++) bodies.push((await get(queue)).content.toString());
  expect(bodies.sort((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 20 }, (_, i) => String(i + 1)));
  expect(await channel.get(queue, { noAck: true })).toBe(false);
});
