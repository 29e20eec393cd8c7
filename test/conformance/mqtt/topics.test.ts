import { describe, expect, onTestFinished, test } from 'vitest';
import { BrokerProcess } from '../../support/broker-process.ts';
import { createMessage } from '../../support/core.ts';
import { MqttHouse } from '../../support/mqtt-house.ts';
import { MqttPeer } from '../../support/mqtt-peer.ts';

describe('topicMapping: rabbitmq', () => {
  test('a dot in a topic is a separator, for publishers, filters and what comes back', async () => {
    const house = await MqttHouse.open({ topicMapping: 'rabbitmq' });
    const { peer } = await house.connect();
    await peer.subscribe('a/b/+');
    await peer.subscribe('x.y/#', { qos: 1 });
    peer.publish('a.b/c', 'one');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'a/b/c', payload: Buffer.from('one') });
    peer.publish('x/y.z', 'two', { qos: 1, messageId: 9 });
    const [first, second] = [await peer.next(), await peer.next()];
    expect([first.cmd, second.cmd].sort()).toEqual(['puback', 'publish']);
    expect([first, second].find(({ cmd }) => cmd === 'publish')).toMatchObject({ topic: 'x/y/z' });
  });

  test('retained messages, shares and wills are found by either spelling', async () => {
    const house = await MqttHouse.open({ topicMapping: 'rabbitmq' });
    const { peer } = await house.connect();
    peer.publish('kept.a/b', 'kept', { retain: true });
    await peer.subscribe('kept/a/b');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'kept/a/b', retain: true });
    await peer.subscribe('$share/g/jobs.+/x');
    await peer.subscribe('$share/g/jobs/1');
    const { peer: dying } = await house.connect({ will: { topic: 'jobs.1', payload: Buffer.from('gone'), qos: 0 } });
    dying.destroy();
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'jobs/1', payload: Buffer.from('gone') });
  });

  test('what a session missed has its topics and grants after a crash', async () => {
    const house = await MqttHouse.open({ topicMapping: 'rabbitmq' });
    const lasting = { clientId: 'c', clean: false, properties: { sessionExpiryInterval: 600 } };
    const { peer } = await house.connect(lasting);
    await peer.subscribe('a.b/+', { qos: 2 }, { subscriptionIdentifier: 7 });
    await peer.leave();
    const { peer: publisher } = await house.connect();
    publisher.publish('a/b.c', 'missed', { qos: 2, messageId: 1 });
    await publisher.nextOf('pubrec');
    const next = await house.crash();
    const { peer: back, connack } = await next.connect(lasting);
    expect(connack.sessionPresent).toBe(true);
    expect(await back.nextOf('publish')).toMatchObject({
      topic: 'a/b/c',
      qos: 2,
      properties: { subscriptionIdentifier: 7 },
    });
  });
});

describe('qosFromPersistence', () => {
  const qosOf = async (qosFromPersistence: boolean, granted: number, durable: boolean, retained: boolean) => {
    const house = await MqttHouse.open({ sessions: { qosFromPersistence } });
    const { peer } = await house.connect();
    const message = createMessage('x', { exchange: 'amq.topic', key: 'a', durable, properties: {} });
    if (retained) house.vhost.retained.set(message);
    await peer.subscribe('a', { qos: granted });
    if (!retained) house.vhost.publish(house.vhost.routeFor('amq.topic', 'a'), message, null, 0);
    return (await peer.nextOf('publish')).qos;
  };

  test.each([
    [0, false, 0],
    [0, true, 0],
    [1, false, 0],
    [1, true, 1],
    [2, false, 0],
    [2, true, 1],
  ])('true: granted %i, persistent %s, delivered at %i', async (granted, durable, delivered) => {
    expect(await qosOf(true, granted, durable, false)).toBe(delivered);
    expect(await qosOf(true, granted, durable, true)).toBe(delivered);
  });

  test.each([
    [0, true],
    [1, false],
    [2, false],
    [2, true],
  ])('false: granted %i, persistent %s, delivered as granted', async (granted, durable) => {
    expect(await qosOf(false, granted, durable, false)).toBe(granted);
    expect(await qosOf(false, granted, durable, true)).toBe(granted);
  });
});

test('mqtt.exchange is made where it is missing, and topics are published, kept and found there', async () => {
  const args = ['--set', 'mqtt.exchange=sensors', '--set', 'vhosts=[/, other]'];
  const first = await BrokerProcess.start({ args });
  let broker = first;
  onTestFinished(async () => {
    await broker.stop();
    await first.remove();
  });
  const lasting = { clientId: 'c', clean: false, properties: { sessionExpiryInterval: 600 } };
  for (const username of ['guest', 'other:guest']) {
    const { peer } = await MqttPeer.connect(broker, { ...lasting, username });
    peer.publish('a/b', 'kept', { qos: 1, messageId: 1, retain: true });
    await peer.nextOf('puback');
    await peer.subscribe('a/+', { qos: 1 });
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'a/b', payload: Buffer.from('kept'), retain: true });
    await peer.leave();
  }
  await broker.kill();
  broker = await BrokerProcess.start({ args, dataDir: first.dataDir });
  const { peer, connack } = await MqttPeer.connect(broker, lasting);
  expect(connack.sessionPresent).toBe(true);
  peer.publish('a/c', 'live');
  const bodies = [await peer.next(), await peer.next()].map(({ payload }) => payload.toString());
  expect(bodies.sort()).toEqual(['kept', 'live']);
  peer.destroy();
});
