import { afterEach, beforeEach, expect, test } from 'vitest';
import type { QueueEntry } from '../../../src/core/queue/entry.ts';
import type { Queue } from '../../../src/core/queue/queue.ts';
import { createClient } from '../../support/core.ts';
import { MqttHouse } from '../../support/mqtt-house.ts';

let house: MqttHouse;
let queue: Queue;

beforeEach(async () => {
  house = await MqttHouse.open({ mqtt: { clientIdHeader: true } });
  const { vhost } = house;
  const client = createClient(vhost);
  const spec = { name: 'all', durable: false, autoDelete: false, exclusiveTo: null, arguments: new Map() };
  queue = vhost.declareQueue(client, spec);
  vhost.bind(client, 'amq.topic', queue, '#', new Map());
});

afterEach(() => expect(house.faults).toEqual([]));

async function headers(): Promise<Record<string, unknown>> {
  const entry = (await queue.get()) as QueueEntry;
  return Object.fromEntries(entry.message.properties.headers);
}

test.each([3, 4, 5] as const)(
  'a message of version %i says which client published it, and is else as it came',
  async (version) => {
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('t', { qos: 1 });
    const { peer } = await house.connect({ clientId: 'meter-7' }, version);
    const properties = {
      contentType: 'text/plain',
      correlationData: Buffer.from('c'),
      userProperties: { a: ['1', '2'] },
    };
    peer.publish('t', 'x', { qos: 1, messageId: 1, ...(version === 5 ? { properties } : {}) });
    await peer.nextOf('puback');
    const got = await watcher.nextOf('publish');
    expect(got.payload).toEqual(Buffer.from('x'));
    if (version === 5) {
      expect(got.properties).toEqual({
        ...properties,
        userProperties: { 'x-mqtt-client-id': 'meter-7', a: ['1', '2'] },
      });
    } else expect(got.properties).toEqual({ userProperties: { 'x-mqtt-client-id': 'meter-7' } });
    expect(await headers()).toMatchObject({ 'x-mqtt-client-id': 'meter-7' });
  },
);

test('what the client writes under the name is replaced, in clear, by an alias’s publish, and hidden in a residue', async () => {
  const { peer } = await house.connect({ clientId: 'honest' });
  const forged = { 'x-mqtt-client-id': ['other', 'third'], b: '1', 'x-mqtt-client-id-2': 'kept' };
  for (const topic of ['t', '']) {
    const properties = {
      topicAlias: 1,
      messageExpiryInterval: 9,
      payloadFormatIndicator: true,
      userProperties: forged,
    };
    peer.publish(topic, 'x', { qos: 1, messageId: 1, properties });
    await peer.nextOf('puback');
    expect(await headers()).toEqual({ 'x-mqtt-client-id': 'honest', b: '1', 'x-mqtt-client-id-2': 'kept' });
  }
  const residue = JSON.stringify({ k: [['x-mqtt-client-id', 'other\0']] });
  peer.publish('t', 'x', { qos: 1, messageId: 1, properties: { userProperties: { 'x-rosetta-residue': residue } } });
  await peer.nextOf('puback');
  expect(await headers()).toMatchObject({ 'x-mqtt-client-id': 'honest' });
});

test('an id that the server gave is said, and so is a will’s, of any version', async () => {
  const { peer, connack } = await house.connect({ clientId: '' });
  peer.publish('t', 'x', { qos: 1, messageId: 1 });
  await peer.nextOf('puback');
  expect(await headers()).toEqual({ 'x-mqtt-client-id': connack.properties.assignedClientIdentifier });
  for (const version of [4, 5] as const) {
    const will = { topic: 't', payload: Buffer.from('gone'), qos: 0, retain: false };
    const { peer: mortal } = await house.connect({ clientId: `mortal-${version}`, will }, version);
    mortal.destroy();
    await expect.poll(() => queue.counts.ready).toBe(1);
    expect(await headers()).toEqual({ 'x-mqtt-client-id': `mortal-${version}` });
  }
});

test('a retained message has it for later subscribers, also over a crash, and an empty one clears it', async () => {
  const { peer } = await house.connect({ clientId: 'keeper' }, 4);
  peer.publish('kept', 'x', { qos: 1, messageId: 1, retain: true });
  await peer.nextOf('puback');
  await house.durable();
  house = await house.crash();
  const { peer: late } = await house.connect();
  await late.subscribe('kept');
  expect(await late.nextOf('publish')).toMatchObject({
    retain: true,
    properties: { userProperties: { 'x-mqtt-client-id': 'keeper' } },
  });
  late.publish('kept', '', { retain: true });
  await late.nextOf('publish');
  const { peer: later } = await house.connect();
  await later.subscribe('kept');
  await later.nothing();
});
