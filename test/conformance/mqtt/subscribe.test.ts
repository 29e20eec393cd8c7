import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../../support/broker-process.ts';
import { MqttPeer } from '../../support/mqtt-peer.ts';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'mqtt.sysIntervalSeconds=1'] });
});

afterAll(() => broker?.remove());

describe('subscriptions', () => {
  test('[MQTT-3.3.4-2] [MQTT-3.3.4-3] overlapping subscriptions: one copy, the highest QoS, all identifiers', async () => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('over/#', { qos: 0 }, { subscriptionIdentifier: 1 });
    await peer.subscribe('over/+', { qos: 2 }, { subscriptionIdentifier: 2 });
    peer.publish('over/x', 'x', { qos: 1, messageId: 1 });
    const packets = [await peer.next(), await peer.next()];
    const publish = packets.find(({ cmd }) => cmd === 'publish');
    expect(publish.qos).toBe(1);
    expect([...publish.properties.subscriptionIdentifier].sort()).toEqual([1, 2]);
    await peer.nothing();
    peer.destroy();
  });

  test('[MQTT-4.7.1-1] [MQTT-4.7.1-2] filters that are none get 0x8F, and the others their QoS', async () => {
    const { peer } = await MqttPeer.connect(broker);
    const topics = ['a/#/b', 'a#', 'a+', '$share/g', '$share//a', '$share/g+/a', 'ok/+/#'];
    peer.send({
      cmd: 'subscribe',
      messageId: 4,
      subscriptions: topics.map((topic) => ({ topic, qos: 2 as const })),
    } as never);
    expect((await peer.nextOf('suback')).granted).toEqual([0x8f, 0x8f, 0x8f, 0x8f, 0x8f, 0x8f, 2]);
    peer.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['ok/+/#', 'ok/+/#'] });
    expect((await peer.nextOf('unsuback')).granted).toEqual([0, 0x11]);
    peer.destroy();
  });

  test('[MQTT-3.8.3-3] no local: what the session publishes does not come back, and others’ does', async () => {
    const { peer } = await MqttPeer.connect(broker);
    const { peer: other } = await MqttPeer.connect(broker);
    await peer.subscribe('local', { qos: 0, nl: true });
    peer.publish('local', 'own');
    await peer.nothing();
    other.publish('local', 'other');
    expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('other') });
    peer.destroy();
    other.destroy();
  });

  test('[MQTT-3.8.3-4] no local on a shared subscription is a protocol error', async () => {
    const { peer } = await MqttPeer.connect(broker);
    peer.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: '$share/g/a', qos: 0, nl: true }] } as never);
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('[MQTT-4.7.2-1] a leading wildcard does not see topics that begin with $', async () => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('#');
    await peer.subscribe('+/broker/version');
    await peer.subscribe('$SYS/broker/version');
    expect(await peer.nextOf('publish')).toMatchObject({ topic: '$SYS/broker/version' });
    peer.destroy();
  });

  test('[MQTT-4.8.2-4] members of a share take turns, of 3.1.1 too, and one that leaves loses nothing', async () => {
    const one = await MqttPeer.connect(broker, {}, 4);
    const two = await MqttPeer.connect(broker, {}, 5);
    for (const { peer } of [one, two]) await peer.subscribe('$share/turns/t', { qos: 1 });
    const { peer: sender } = await MqttPeer.connect(broker);
    for (let i = 1; i <= 4; i++) {
      sender.publish('t', `${i}`, { qos: 1, messageId: i });
      await sender.nextOf('puback');
    }
    const first = [await one.peer.nextOf('publish'), await one.peer.nextOf('publish')];
    const second = [await two.peer.nextOf('publish'), await two.peer.nextOf('publish')];
    const bodies = [...first, ...second].map(({ payload }) => String(payload));
    expect(bodies.sort()).toEqual(['1', '2', '3', '4']);
    one.peer.destroy();
    const left = [await two.peer.nextOf('publish'), await two.peer.nextOf('publish')];
    expect(left.map(({ payload }) => String(payload)).sort()).toEqual(
      first.map(({ payload }) => String(payload)).sort(),
    );
    two.peer.destroy();
    sender.destroy();
  });
});

describe('retained messages', () => {
  test('[MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8] the last one comes to exact and wildcard filters, and an empty one clears it', async () => {
    const { peer: sender } = await MqttPeer.connect(broker);
    for (const [topic, body] of [
      ['r/a', '1'],
      ['r/a', '2'],
      ['r/b/c', '3'],
    ] as const) {
      sender.publish(topic, body, { qos: 1, messageId: 1, retain: true });
      await sender.nextOf('puback');
    }
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('r/a', { qos: 1 });
    expect(await peer.nextOf('publish')).toMatchObject({ retain: true, qos: 1, payload: Buffer.from('2') });
    await peer.subscribe('r/#', { qos: 0 });
    const all = [await peer.nextOf('publish'), await peer.nextOf('publish')];
    expect(all.map(({ topic, retain }) => [topic, retain]).sort()).toEqual([
      ['r/a', true],
      ['r/b/c', true],
    ]);
    sender.publish('r/a', '', { qos: 0, retain: true });
    expect(await peer.nextOf('publish')).toMatchObject({ topic: 'r/a', retain: false });
    await peer.subscribe('r/+', { qos: 0 });
    await peer.nothing();
    peer.destroy();
    sender.destroy();
  });

  test('[MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] retain handling 0, 1 and 2', async () => {
    const { peer } = await MqttPeer.connect(broker);
    peer.publish('rh', 'x', { retain: true });
    await peer.subscribe('rh', { rh: 2 });
    await peer.subscribe('rh', { rh: 1 });
    await peer.nothing();
    await peer.subscribe('rh', { rh: 0 });
    await peer.nextOf('publish');
    peer.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['rh'] });
    await peer.nextOf('unsuback');
    await peer.subscribe('rh', { rh: 1 });
    await peer.nextOf('publish');
    peer.destroy();
  });

  test('[MQTT-3.3.1-12] [MQTT-3.3.1-13] retain as published', async () => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('rap/yes', { rap: true });
    await peer.subscribe('rap/no', { rap: false });
    peer.publish('rap/yes', 'x', { retain: true });
    expect(await peer.nextOf('publish')).toMatchObject({ retain: true });
    peer.publish('rap/no', 'x', { retain: true });
    expect(await peer.nextOf('publish')).toMatchObject({ retain: false });
    peer.destroy();
  });

  test('retained messages are there after kill -9, with what remains of their expiry', async () => {
    const own = await BrokerProcess.start();
    const { peer: sender } = await MqttPeer.connect(own);
    const properties = { messageExpiryInterval: 1000, userProperties: { k: 'v' } };
    sender.publish('kept', 'x', { qos: 1, messageId: 1, retain: true, properties });
    await sender.nextOf('puback');
    await own.kill();
    const next = await BrokerProcess.start({ dataDir: own.dataDir });
    const { peer } = await MqttPeer.connect(next);
    await peer.subscribe('kept', { qos: 1 });
    const seen = await peer.nextOf('publish');
    expect(seen).toMatchObject({ retain: true, payload: Buffer.from('x') });
    expect({ ...seen.properties.userProperties }).toEqual({ k: 'v' });
    expect(seen.properties.messageExpiryInterval).toBeLessThanOrEqual(1000);
    peer.destroy();
    await next.remove();
    await own.remove();
  });
});

describe('topic aliases', () => {
  test('[MQTT-3.3.2-8] [MQTT-3.3.2-11] [MQTT-3.3.2-12] both ways, none of the publisher’s is forwarded', async () => {
    const { peer } = await MqttPeer.connect(broker, { properties: { topicAliasMaximum: 1 } });
    await peer.subscribe('alias/#');
    const { peer: sender } = await MqttPeer.connect(broker);
    const properties = { topicAlias: 3, contentType: 'c', userProperties: { k: 'v' } };
    sender.publish('alias/one', '1', { properties });
    sender.publish('', '2', { properties: { topicAlias: 3 } });
    sender.publish('alias/two', '3');
    const seen = [await peer.nextOf('publish'), await peer.nextOf('publish'), await peer.nextOf('publish')];
    expect(seen.map(({ topic, payload }) => [topic, String(payload)])).toEqual([
      ['alias/one', '1'],
      ['', '2'],
      ['alias/two', '3'],
    ]);
    expect(seen.map(({ properties: each }) => each?.topicAlias)).toEqual([1, 1, undefined]);
    expect(seen[0].properties).toMatchObject({ contentType: 'c' });
    sender.publish('', 'x', { properties: { topicAlias: 4 } });
    expect(await sender.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
    const { peer: greedy } = await MqttPeer.connect(broker);
    greedy.publish('a', 'x', { properties: { topicAlias: 60_000 } });
    expect(await greedy.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x94 }]);
    peer.destroy();
  });
});

test('[MQTT-3.1.2-24] [MQTT-3.1.2-25] a packet above the peer’s maximum is not sent, and counts as delivered', async () => {
  const { peer } = await MqttPeer.connect(broker, { properties: { maximumPacketSize: 100, receiveMaximum: 1 } });
  await peer.subscribe('size', { qos: 1 });
  const { peer: sender } = await MqttPeer.connect(broker);
  sender.publish('size', Buffer.alloc(200), { qos: 1, messageId: 1 });
  sender.publish('size', 'small', { qos: 1, messageId: 2 });
  expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('small') });
  peer.destroy();
  sender.destroy();
});
