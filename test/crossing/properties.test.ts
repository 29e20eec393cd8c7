import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import mqtt, { type IPublishPacket, type MqttClient } from 'mqtt';
import type stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectStomp } from '../suites/interop.ts';
import { BrokerProcess } from '../support/broker-process.ts';

/** Each property of a message, from each protocol to each other one, in that one's own place. */
let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let client: MqttClient;
let stomp: stompit.Client;
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
});

afterAll(async () => {
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
    const headers = await throughStomp(fromAmqp({ headers: { priority: 'mine', 'message-id': 'mine' } }));
    expect(headers).toMatchObject({ 'x-rosetta-h.priority': 'mine', 'x-rosetta-h.message-id': 'mine' });
    expect(headers['message-id']).not.toBe('mine');
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
