import { describe, expect, test } from 'vitest';
import type { Properties } from '../../../src/core/properties.ts';
import type { QueueEntry } from '../../../src/core/queue/entry.ts';
import type { Queue } from '../../../src/core/queue/queue.ts';
import type { DeviceRule } from '../../../src/protocols/mqtt/device-rules.ts';
import { createClient, createMessage, int } from '../../support/core.ts';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer } from '../../support/mqtt-peer.ts';

const json: DeviceRule = { filter: 'json/#', envelope: 'json', headers: {} };
const sensors: DeviceRule = {
  filter: 'sensors/+',
  envelope: 'none',
  contentType: 'application/json',
  headers: { site: 'north', floor: 2, dry: true },
  priority: 3,
  ttlMs: 60_000,
};

/** A house with rules, a client of MQTT 3.1.1, and a queue that gets all topics. */
async function open(...v3: DeviceRule[]): Promise<{ house: MqttHouse; peer: MqttPeer; queue: Queue }> {
  const house = await MqttHouse.open({ mqtt: { v3 } });
  const { vhost } = house;
  const client = createClient(vhost);
  const spec = { name: 'all', durable: false, autoDelete: false, exclusiveTo: null, arguments: new Map() };
  const queue = vhost.declareQueue(client, spec);
  vhost.bind(client, 'amq.topic', queue, '#', new Map());
  const { peer } = await house.connect({}, 4);
  return { house, peer, queue };
}

async function publish(peer: MqttPeer, topic: string, payload: string | Buffer): Promise<void> {
  peer.publish(topic, payload, { qos: 1, messageId: 1 });
  await peer.nextOf('puback');
}

async function take(queue: Queue): Promise<{ body: string; properties: Properties; entry: QueueEntry }> {
  const entry = (await queue.get()) as QueueEntry;
  const { message } = entry;
  return { body: message.body.toString(), properties: message.properties, entry };
}

const headersOf = ({ headers }: Properties): Record<string, unknown> => Object.fromEntries(headers);

describe('defaults', () => {
  test('a message of a filter’s topics has them, and one of others has nothing', async () => {
    const { house, peer, queue } = await open(sensors);
    await publish(peer, 'sensors/1', '{"t":20}');
    const { body, properties, entry } = await take(queue);
    expect(body).toBe('{"t":20}');
    expect(properties).toMatchObject({ contentType: 'application/json', priority: 3, ttlMs: 60_000 });
    expect(headersOf(properties)).toEqual({ site: 'north', floor: { type: 'long', value: 2n }, dry: true });
    expect([entry.message.priority, entry.message.expiresAtMs]).toEqual([3, house.clock.nowMs + 60_000]);
    await publish(peer, 'others/1', 'x');
    const other = await take(queue);
    expect([other.properties.contentType, other.entry.message.expiresAtMs]).toEqual([undefined, 0]);
    expect(headersOf(other.properties)).toEqual({});
  });

  test('the first filter that matches holds', async () => {
    const first = { ...sensors, filter: 'sensors/1', contentType: 'text/plain' };
    const { peer, queue } = await open(first, sensors);
    for (const topic of ['sensors/1', 'sensors/2']) await publish(peer, topic, 'x');
    expect([(await take(queue)).properties.contentType, (await take(queue)).properties.contentType]).toEqual([
      'text/plain',
      'application/json',
    ]);
  });

  test('MQTT 5 says it itself, and 3.1.1 subscribers get the body alone', async () => {
    const { house, peer, queue } = await open(sensors);
    const { peer: modern } = await house.connect({}, 5);
    await publish(modern, 'sensors/1', 'x');
    expect((await take(queue)).properties.contentType).toBeUndefined();
    const { peer: old } = await house.connect({}, 4);
    await old.subscribe('sensors/#');
    await modern.subscribe('sensors/#');
    await publish(peer, 'sensors/1', 'x');
    expect(await old.nextOf('publish')).toMatchObject({ payload: Buffer.from('x') });
    expect((await modern.nextOf('publish')).properties).toMatchObject({
      contentType: 'application/json',
      messageExpiryInterval: 60,
      userProperties: { site: 'north', priority: '3' },
    });
  });

  test('a will has them too', async () => {
    const { house, queue } = await open(sensors);
    const { peer } = await house.connect({ will: { topic: 'sensors/9', payload: Buffer.from('gone'), qos: 0 } }, 4);
    peer.destroy();
    await expect.poll(() => queue.counts.ready).toBe(1);
    const { body, properties } = await take(queue);
    expect([body, properties.contentType, properties.priority]).toEqual(['gone', 'application/json', 3]);
  });

  test('a filter with a leading wildcard does not hold for queues', async () => {
    const { peer, queue } = await open({ ...sensors, filter: '#' });
    await publish(peer, '$queue-of/all', 'x');
    expect((await take(queue)).properties.contentType).toBeUndefined();
  });
});

describe('the envelope of what is published', () => {
  test('has fields of a message in its head, and its body beside it', async () => {
    const { house, peer, queue } = await open(json);
    const h = {
      ...{ 'content-type': 'text/plain', 'correlation-id': 'c-1', 'reply-to': 'dev/7/resp', expiration: 1500 },
      ...{ 'message-id': 'm', priority: 7, retries: 3, ratio: 0.5, ok: true, none: null, list: [1, 'a'] },
    };
    await publish(peer, 'json/a', JSON.stringify({ h, p: 'Grüße' }));
    const { body, properties, entry } = await take(queue);
    expect(body).toBe('Grüße');
    expect(properties).toMatchObject({
      ...{ contentType: 'text/plain', correlationId: 'c-1', messageId: 'm', priority: 7, ttlMs: 2000 },
      replyTo: { exchange: 'amq.topic', key: 'dev.7.resp' },
    });
    expect(headersOf(properties)).toEqual({
      retries: { type: 'long', value: 3n },
      ratio: { type: 'double', value: 0.5 },
      ok: true,
      none: null,
      list: [{ type: 'long', value: 1n }, 'a'],
    });
    expect([entry.message.priority, entry.message.expiresAtMs]).toEqual([7, house.clock.nowMs + 2000]);
  });

  test.each([
    ['text', { p: 'x' }, 'x', undefined],
    ['text and a head', { h: { 'content-type': 'text/plain' }, p: 'x' }, 'x', 'text/plain'],
    ['a value', { p: { t: 20, ok: [true] } }, '{"t":20,"ok":[true]}', 'application/json'],
    ['a value of a kind', { h: { 'content-type': 'application/geo+json' }, p: 'x' }, '"x"', 'application/geo+json'],
    ['octets', { h: {}, p: 'AAECAw==', e: 'base64' }, '\0\x01\x02\x03', undefined],
    ['nothing', { p: '' }, '', undefined],
  ])('%s', async (_name, envelope, body, contentType) => {
    const { peer, queue } = await open(json);
    await publish(peer, 'json/a', JSON.stringify(envelope));
    const got = await take(queue);
    expect([got.body, got.properties.contentType]).toEqual([body, contentType]);
  });

  test.each([
    ['no JSON', '{"h":{},"p":'],
    ['another object', '{"p":1,"q":2}'],
    ['without a body', '{"h":{}}'],
    ['a head that is none', '{"h":[],"p":"x"}'],
    ['an unknown encoding', '{"p":"x","e":"gzip"}'],
    ['a reply topic that is none', '{"h":{"reply-to":"a/#"},"p":"x"}'],
    ['an expiry that is none', '{"h":{"expiration":"soon"},"p":"x"}'],
    ['a header with NUL', '{"h":{"a":"\\u0000"},"p":"x"}'],
    ['a list', '[1]'],
    ['text', 'x'],
    ['octets', '\xff'],
  ])('%s is a body, with the defaults', async (_name, payload) => {
    const { peer, queue } = await open({ ...json, contentType: 'a/b', headers: { site: 'north' } });
    await publish(peer, 'json/a', payload);
    const { body, properties } = await take(queue);
    expect([body, properties.contentType, headersOf(properties)]).toEqual([payload, 'a/b', { site: 'north' }]);
  });

  test('its head is before the defaults', async () => {
    const { peer, queue } = await open({ ...json, contentType: 'a/b', headers: { site: 'north', n: 1 } });
    await publish(peer, 'json/a', '{"h":{"content-type":"text/plain","n":2},"p":"x"}');
    const { properties } = await take(queue);
    expect([properties.contentType, headersOf(properties)]).toEqual([
      'text/plain',
      { site: 'north', n: { type: 'long', value: 2n } },
    ]);
  });

  test('a user id that is not the client’s own is none', async () => {
    const { peer, queue } = await open(json);
    for (const user of ['guest', 'root']) await publish(peer, 'json/a', `{"h":{"user-id":"${user}"},"p":"x"}`);
    expect([(await take(queue)).properties.userId, (await take(queue)).properties.userId]).toEqual([
      'guest',
      undefined,
    ]);
  });
});

describe('the envelope of what is delivered', () => {
  const receive = async (properties: Partial<Properties>, body: string): Promise<object> => {
    const { house, peer } = await open(json);
    await peer.subscribe('json/#', { qos: 1 });
    const message = createMessage(body, { exchange: 'amq.topic', key: 'json.a', properties });
    house.vhost.publish(house.vhost.routeFor('amq.topic', 'json.a'), message, null, 0);
    return JSON.parse((await peer.nextOf('publish')).payload.toString());
  };

  test('has what the publisher said, numbers and truth as such', async () => {
    const headers = new Map([
      ['retries', int(3)],
      ['ok', true],
      ['text', '5'],
    ] as const);
    const properties = { contentType: 'text/plain', correlationId: 'c', messageId: 'm', priority: 7, headers };
    expect(await receive(properties, 'hello')).toEqual({
      h: {
        ...{ 'content-type': 'text/plain', 'correlation-id': 'c', 'message-id': 'm', priority: 7 },
        ...{ retries: 3, ok: true, text: '5', 'x-rosetta-types': 'retries=I,ok=t' },
      },
      p: 'hello',
    });
  });

  test.each([
    ['application/json', '{ "t": 20 }', { p: { t: 20 } }],
    ['application/json', 'no json', { p: Buffer.from('no json').toString('base64'), e: 'base64' }],
    ['application/octet-stream', 'text', { p: 'text' }],
  ])('%s: %s', async (contentType, body, expected) => {
    expect(await receive({ contentType }, body)).toEqual({ h: { 'content-type': contentType }, ...expected });
  });

  test('comes back as it went, types and octets too', async () => {
    const { house, peer, queue } = await open(json);
    const headers = new Map([
      ['retries', int(3)],
      ['blob', Buffer.from([0, 255])],
      ['big', { type: 'long' as const, value: 9_007_199_254_740_993n }],
    ] as const);
    const properties = { contentType: 'text/plain', correlationId: Buffer.from([0, 255]), headers, type: 't' };
    await peer.subscribe('json/#');
    const message = createMessage('body', { exchange: 'amq.topic', key: 'json.a', properties });
    house.vhost.publish(house.vhost.routeFor('amq.topic', 'json.a'), message, null, 0);
    const first = await take(queue);
    const { payload } = await peer.nextOf('publish');
    await peer.subscribe('nothing');
    await publish((await house.connect({}, 4)).peer, 'json/b', payload);
    const second = await take(queue);
    expect(second.body).toBe(first.body);
    expect(second.properties.headers).toEqual(first.properties.headers);
    for (const field of ['contentType', 'correlationId', 'type'] as const) {
      expect(second.properties[field]).toEqual(first.properties[field]);
    }
  });

  test('tells what remains of its time, and MQTT 5 gets none', async () => {
    const { house, peer } = await open(json);
    const { peer: modern } = await house.connect({}, 5);
    await modern.subscribe('json/#');
    await peer.subscribe('json/#');
    const expiry = { properties: { messageExpiryInterval: 10 } };
    modern.publish('json/a', 'x', expiry);
    expect((await modern.nextOf('publish')).payload.toString()).toBe('x');
    expect((await peer.nextOf('publish')).payload.toString()).toBe('{"h":{"expiration":10000},"p":"x"}');
  });

  test('a retained message is wrapped for each, and one fan-out for all', async () => {
    const { house, peer } = await open(json);
    peer.publish('json/a', '{"h":{"n":1},"p":"kept"}', { qos: 1, messageId: 1, retain: true });
    await peer.nextOf('puback');
    const wrapped = '{"h":{"n":1,"x-rosetta-types":"n=l"},"p":"kept"}';
    const peers = [];
    for (const version of [3, 4] as const) {
      const { peer: old } = await house.connect({ clientId: `c${version}` }, version);
      await old.subscribe('json/#', { qos: 1 });
      expect((await old.nextOf('publish')).payload.toString()).toBe(wrapped);
      peers.push(old);
    }
    peer.publish('json/a', '{"h":{"n":2},"p":"live"}');
    for (const old of peers) expect(JSON.parse((await old.nextOf('publish')).payload).p).toBe('live');
  });
});
