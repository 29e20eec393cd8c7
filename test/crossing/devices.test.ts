import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { symbol, uint } from '../../src/protocols/amqp10/types.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { type Heard, openers, type Script } from '../support/scripts.ts';

/** What a listener says for devices of MQTT 3.1.1, as the others hear it, and what they say to devices. */
let broker: BrokerProcess;

beforeAll(async () => {
  const rules = [
    "{filter: 'crossing/plain', contentType: application/json, headers: {site: 7}, priority: 3, ttlMs: 60000}",
    "{filter: 'crossing/envelope', envelope: json}",
  ];
  broker = await BrokerProcess.start({ args: ['--set', `listeners.mqtt.v3=[${rules.join(', ')}]`] });
});

afterAll(async () => {
  await broker?.remove();
});

async function hear(topic: string, payload: string): Promise<Record<'091' | '1.0' | 'M5' | 'ST', Heard>> {
  const names = ['091', '1.0', 'M5', 'ST'] as const;
  const scripts: Script[] = await Promise.all(names.map((name) => openers[name](broker, topic)));
  const { peer } = await MqttPeer.connect(broker, {}, 4);
  peer.publish(topic.replace('.', '/'), payload, { qos: 1, messageId: 1 });
  await peer.nextOf('puback');
  const heard = await Promise.all(scripts.map((script) => script.next()));
  for (const script of scripts) script.close();
  peer.destroy();
  return Object.fromEntries(names.map((name, i) => [name, heard[i]!])) as Record<(typeof names)[number], Heard>;
}

test('defaults are what the device would have said', async () => {
  const heard = await hear('crossing.plain', '{"t":21}');
  expect(heard['091'].words).toMatchObject({
    content_type: 'application/json',
    priority: 3,
    expiration: '60000',
    delivery_mode: 2,
    headers: { site: 7 },
  });
  expect(heard['1.0'].words).toMatchObject({
    'content-type': symbol('application/json'),
    priority: { type: 'ubyte', value: 3 },
    durable: true,
  });
  expect(heard.M5.words).toMatchObject({
    contentType: 'application/json',
    messageExpiryInterval: 60,
    userProperties: { site: '7', priority: '3' },
  });
  expect(heard.ST.words).toMatchObject({ 'content-type': 'application/json', priority: '3', site: '7' });
  for (const { body } of Object.values(heard)) expect(body.toString()).toBe('{"t":21}');
});

test('an envelope is opened for the others', async () => {
  const heard = await hear(
    'crossing.envelope',
    '{"h":{"content-type":"text/plain","retries":3,"note":"x"},"p":"the body"}',
  );
  expect(heard['091'].words).toMatchObject({ content_type: 'text/plain', headers: { retries: 3, note: 'x' } });
  expect(heard['1.0'].words).toMatchObject({ 'content-type': symbol('text/plain') });
  expect(heard.M5.words).toMatchObject({ contentType: 'text/plain', userProperties: { retries: '3', note: 'x' } });
  expect(heard.ST.words).toMatchObject({ 'content-type': 'text/plain', retries: '3', note: 'x' });
  for (const { body } of Object.values(heard)) expect(body.toString()).toBe('the body');
});

test.each([
  ['091', { content_type: 'text/plain', headers: { retries: { '!': 'int32', value: 3 } } }],
  ['1.0', { 'content-type': symbol('text/plain'), application: { retries: uint(3) } }],
  ['M5', { contentType: 'text/plain', userProperties: { retries: '3', 'x-rosetta-types': 'retries=I' } }],
  ['ST', { 'content-type': 'text/plain', retries: '3', 'x-rosetta-types': 'retries=I' }],
] as const)('and closed for the device: from %s', async (name, words) => {
  const { peer } = await MqttPeer.connect(broker, {}, 4);
  await peer.subscribe('crossing/envelope');
  const script = await openers[name](broker, 'crossing.nobody');
  await script.publish('crossing.envelope', words, Buffer.from('the body'));
  const { h, p } = JSON.parse((await peer.nextOf('publish')).payload.toString());
  expect([h['content-type'], h.retries, p]).toEqual(['text/plain', 3, 'the body']);
  script.close();
  peer.destroy();
});

describe("explain with the listener's rules", () => {
  const explain = async (description: object) => {
    const answer = await new ApiClient(broker.port('management')).post('explain', { listener: 'mqtt', ...description });
    return answer as { status: number; body: { consumers: { protocol: string }[] } };
  };

  test('what a device published is as the others hear it', async () => {
    const { body } = await explain({ protocol: 'mqtt-3.1.1', destination: 'crossing/plain', body: '{"t":21}', qos: 1 });
    const stomp = body.consumers.find(({ protocol }) => protocol === 'stomp') as unknown as Shown;
    const heard = await hear('crossing.plain', '{"t":21}');
    const told = Object.fromEntries([...stomp.fields, ...stomp.headers].map(({ name, value }) => [name, value]));
    expect(heard.ST.words).toMatchObject({ 'content-type': 'application/json', priority: '3', site: '7' });
    expect(told).toMatchObject({ 'content-type': 'application/json', priority: '3', site: '7', expiration: '60000' });
  });

  test('an envelope is opened, and closed for a device', async () => {
    const { body } = await explain({
      protocol: 'mqtt-3.1.1',
      destination: 'crossing/envelope',
      body: '{"h":{"content-type":"text/plain","retries":3},"p":"the body"}',
    });
    expect(body).toMatchObject({ body: 'the body' });
    const device = body.consumers.find(({ protocol }) => protocol === 'mqtt-3.1.1') as unknown as Shown;
    const payload = device.delivery.find(({ name }) => name === 'payload');
    expect(JSON.parse(payload!.value)).toMatchObject({
      h: { 'content-type': 'text/plain', retries: 3 },
      p: 'the body',
    });
  });

  test('no listener of MQTT has the name', async () => {
    expect(await explain({ protocol: 'mqtt-5', destination: 'a', listener: 'amqp' })).toMatchObject({ status: 400 });
  });
});

interface Shown {
  readonly delivery: readonly Item[];
  readonly fields: readonly Item[];
  readonly headers: readonly Item[];
}

interface Item {
  readonly name: string;
  readonly value: string;
}
