import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

/** What a listener adds to its clients' messages, as a configuration file says it. */
const yaml = `
listeners:
  mqtt:
    protocol: mqtt
    port: 0
    clientIdHeader: true
    v3:
      - { filter: sensors/#, contentType: application/json, headers: { site: 7 }, priority: 3, ttlMs: 60000 }
      - { filter: json/+, envelope: json }
`;

let dir: string;
let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let queue: string;
const clients: MqttClient[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rosettamq-'));
  await writeFile(join(dir, 'rosettamq.yaml'), yaml);
  broker = await BrokerProcess.start({ args: ['--config', join(dir, 'rosettamq.yaml')] });
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  ({ queue } = await channel.assertQueue(''));
  await channel.bindQueue(queue, 'amq.topic', '#');
});

afterAll(async () => {
  await Promise.all(clients.map((client) => client.endAsync(true)));
  await amqp?.close();
  await broker?.remove();
  if (dir !== undefined) await rm(dir, { recursive: true });
});

async function dial(clientId: string, protocolVersion: 3 | 4 | 5): Promise<MqttClient> {
  const client = await connectAsync(`mqtt://guest:guest@127.0.0.1:${broker.port('mqtt')}`, {
    clientId,
    protocolVersion,
    ...(protocolVersion === 3 ? { protocolId: 'MQIsdp' } : {}),
  });
  clients.push(client);
  return client;
}

async function take(): Promise<ConsumeMessage> {
  const message = await channel.get(queue, { noAck: true });
  if (message === false) throw new Error('nothing came');
  return message as unknown as ConsumeMessage;
}

test.each([3, 4] as const)('a device of version %i has the defaults of its topics, and its id', async (version) => {
  const device = await dial(`device-${version}`, version);
  await device.publishAsync('sensors/1', '{"t":20}', { qos: 1 });
  const { content, properties } = await take();
  expect(content.toString()).toBe('{"t":20}');
  expect(properties).toMatchObject({ contentType: 'application/json', priority: 3 });
  expect(Number(properties.expiration)).toBeGreaterThan(50_000);
  expect(properties.headers).toEqual({ site: 7, 'x-mqtt-client-id': `device-${version}` });
});

test('a device’s envelope is unwrapped, and what AMQP publishes comes in one', async () => {
  const device = await dial('wrapped', 4);
  await device.publishAsync('json/up', '{"h":{"content-type":"text/plain","retries":3},"p":"hello"}', { qos: 1 });
  const { content, properties } = await take();
  expect([content.toString(), properties.contentType]).toEqual(['hello', 'text/plain']);
  expect(properties.headers).toEqual({ retries: 3, 'x-mqtt-client-id': 'wrapped' });
  await device.subscribeAsync('json/down', { qos: 1 });
  const came = new Promise<string>((resolve) => device.once('message', (_topic, payload) => resolve(String(payload))));
  channel.publish('amq.topic', 'json.down', Buffer.from('on'), {
    contentType: 'text/plain',
    headers: { site: 'north' },
  });
  expect(JSON.parse(await came)).toEqual({ h: { 'content-type': 'text/plain', site: 'north' }, p: 'on' });
  await take();
});

test('MQTT 5 has its id alone added', async () => {
  const modern = await dial('modern', 5);
  await modern.publishAsync('sensors/1', 'x', { qos: 1, properties: { contentType: 'text/plain' } });
  const { properties } = await take();
  expect([properties.contentType, properties.headers]).toEqual(['text/plain', { 'x-mqtt-client-id': 'modern' }]);
});
