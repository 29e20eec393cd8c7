import { duplexPair } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Amqp10 } from '../../src/protocols/amqp10/protocol.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { ReasonCode } from '../../src/protocols/mqtt/reason-code.ts';
import { Stream } from '../../src/transport/stream.ts';
import { heldBytesMax } from '../../src/transport/valve.ts';
import { AmqpCore } from '../support/amqp-core.ts';
import type { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, data } from '../support/amqp10-peer.ts';
import { Core } from '../support/core.ts';
import { MqttHouse } from '../support/mqtt-house.ts';
import type { MqttPeer, Version } from '../support/mqtt-peer.ts';
import { StompRig } from '../support/stomp-rig.ts';

/**
 * An alarm, and peers that consume beside publishing: their acknowledgements are to arrive, and of their publishes no
 * more than `heldBytesMax`.
 */
const body = Buffer.alloc(100_000, 'x');
/** The last of these goes over it. */
const taken = Math.floor(heldBytesMax / body.length) + 1;

/** Till nothing more happens by itself. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await nextTurn();
}

function readyIn(core: { vhost: Core['vhost'] }, queue: string): number {
  return core.vhost.queues.get(queue)!.counts.ready;
}

/** A channel that consumes `in`, one message at a time, and `out` to publish to. */
async function consumerOn091(core: AmqpCore): Promise<AmqpPeer> {
  const peer = await core.openChannel();
  await peer.declare('in');
  await peer.declare('out');
  await peer.call(1, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
  await peer.call(1, methods.basicConsume, { queue: 'in' }, methods.basicConsumeOk);
  for (const each of ['1', '2']) core.core.publish('', 'in', each);
  await peer.content();
  return peer;
}

test('AMQP 0-9-1 with confirms: above the bound basic.nack, and acks go on arriving', async () => {
  const core = new AmqpCore();
  const peer = await consumerOn091(core);
  await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  core.core.broker.setAlarm('memory');
  for (let i = 1; i <= taken + 2; i++) {
    peer.publish(1, { routingKey: 'out' }, body);
    core.pass(1);
    const answer = await peer.expect(1, i <= taken ? methods.basicAck : methods.basicNack);
    expect(Number(answer.number('deliveryTag'))).toBe(i);
  }
  expect(readyIn(core.core, 'out')).toBe(taken);
  peer.send(1, methods.basicAck, { deliveryTag: 1 });
  core.pass(1);
  expect((await peer.content()).body.toString()).toBe('2');
  core.core.broker.setAlarm(null);
  peer.publish(1, { routingKey: 'out' }, body);
  expect(Number((await peer.expect(1, methods.basicAck)).number('deliveryTag'))).toBe(taken + 3);
  peer.destroy();
});

test.each(['plain', 'in a transaction'])(
  'AMQP 0-9-1, %s: above the bound nothing is read until the alarm is over',
  async (how) => {
    const core = new AmqpCore();
    const peer = await consumerOn091(core);
    if (how !== 'plain') await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    core.core.broker.setAlarm('memory');
    for (let i = 1; i <= taken + 3; i++) {
      peer.publish(1, { routingKey: 'out' }, body);
      core.pass(1);
      await settle();
    }
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    if (how !== 'plain') peer.send(1, methods.txCommit);
    core.pass(100);
    await settle();
    expect(core.door.connections.size).toBe(1); // its silence is ours
    if (how === 'plain') expect(readyIn(core.core, 'out')).toBe(taken + 1); // the one that told is taken
    expect(core.core.vhost.queues.get('in')!.counts).toMatchObject({ ready: 1, unacked: 1 });
    core.core.broker.setAlarm(null);
    expect((await peer.content()).body.toString()).toBe('2');
    if (how !== 'plain') await peer.expect(1, methods.txCommitOk);
    expect(readyIn(core.core, 'out')).toBe(taken + 3);
    peer.destroy();
  },
);

async function consumerOnMqtt(house: MqttHouse, version: Version): Promise<MqttPeer> {
  const { peer } = await house.connect({ clientId: 'both' }, version);
  await peer.subscribe('in', { qos: 1 });
  const { peer: other } = await house.connect({ clientId: 'other' }, version);
  await other.subscribe('out', { qos: 1 });
  return peer;
}

function unackedBy(house: MqttHouse, clientId: string): number {
  return [...house.vhost.queues.values()].find(({ name }) => name.includes(clientId))!.counts.unacked;
}

test('MQTT 5: above the bound PUBACK and PUBREC 0x97, QoS 0 is dropped, and acks go on arriving', async () => {
  const house = await MqttHouse.open();
  const peer = await consumerOnMqtt(house, 5);
  const { peer: third } = await house.connect({ clientId: 'third' });
  house.broker.setAlarm('memory');
  for (let i = 1; i <= taken + 1; i++) {
    peer.publish('out', body, { qos: 1, messageId: i });
    house.pass(1);
    const answer = await peer.nextOf('puback');
    expect(answer.reasonCode).toBe(i <= taken ? 0 : ReasonCode.quotaExceeded);
  }
  const atOther = unackedBy(house, 'other');
  peer.publish('out', body, { qos: 2, messageId: 100 });
  house.pass(1);
  expect((await peer.nextOf('pubrec')).reasonCode).toBe(ReasonCode.quotaExceeded);
  peer.publish('out', body);
  house.pass(1);
  await settle();
  expect(unackedBy(house, 'other')).toBe(atOther);
  third.publish('in', 'work', { qos: 1, messageId: 1 });
  const { messageId } = await peer.nextOf('publish');
  peer.send({ cmd: 'puback', messageId });
  house.pass(1);
  await settle();
  expect(unackedBy(house, 'both')).toBe(0);
  house.broker.setAlarm(null);
  peer.publish('out', body, { qos: 2, messageId: 100 });
  expect((await peer.nextOf('pubrec')).reasonCode).toBe(0);
});

test('MQTT 5: a topic alias that came with a refused publish is known', async () => {
  const house = await MqttHouse.open();
  const peer = await consumerOnMqtt(house, 5);
  house.broker.setAlarm('memory');
  for (let i = 1; i <= taken; i++) {
    peer.publish('out', body);
    house.pass(1);
    await settle();
  }
  peer.publish('out', body, { qos: 1, messageId: 1, properties: { topicAlias: 1 } });
  house.pass(1);
  expect((await peer.nextOf('puback')).reasonCode).toBe(ReasonCode.quotaExceeded);
  house.broker.setAlarm(null);
  peer.publish('', 'by alias', { qos: 1, messageId: 2, properties: { topicAlias: 1 } });
  expect((await peer.nextOf('puback')).reasonCode).toBe(0);
});

test('MQTT 3.1.1: above the bound nothing is read until the alarm is over; QoS 0 is dropped', async () => {
  const house = await MqttHouse.open();
  const peer = await consumerOnMqtt(house, 4);
  house.broker.setAlarm('memory');
  for (let i = 1; i <= taken; i++) {
    peer.publish('out', body, { qos: 1, messageId: i });
    house.pass(1);
    await peer.nextOf('puback');
  }
  const atOther = unackedBy(house, 'other');
  peer.publish('out', body);
  house.pass(1);
  await settle();
  expect(unackedBy(house, 'other')).toBe(atOther);
  for (let i = 1; i <= 3; i++) {
    peer.publish('out', body, { qos: 1, messageId: i });
    house.pass(1);
    await settle();
  }
  house.pass(100);
  await peer.nextOf('puback'); // the one that told is taken
  expect(unackedBy(house, 'other')).toBe(atOther + 1);
  expect(house.door.connections.has([...house.door.connections].find(({ clientId }) => clientId === 'both')!)).toBe(
    true,
  );
  house.broker.setAlarm(null);
  for (let i = 0; i < 2; i++) await peer.nextOf('puback');
});

test('STOMP: above the bound nothing is read until the alarm is over', async () => {
  const rig = new StompRig();
  const [near, far] = duplexPair();
  const remote = { address: '127.0.0.1', port: 1, local: '' };
  const stream = new Stream(near, rig.core.clock, rig.core.broker.log, remote);
  stream.handler = rig.door.accept(stream);
  near.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
  let received = '';
  far.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')));
  rig.core.declare('out');
  far.write('CONNECT\nhost:/\nlogin:guest\npasscode:guest\naccept-version:1.2\nheart-beat:1000,0\n\n\0');
  far.write('SUBSCRIBE\nid:0\ndestination:/queue/in\nack:client\n\n\0');
  await settle();
  rig.core.publish('', 'in', 'work');
  await settle();
  const ack = /\nack:(\S+)/.exec(received)![1];
  rig.core.broker.setAlarm('memory');
  for (let i = 1; i <= taken + 3; i++) {
    far.write(`SEND\ndestination:/queue/out\nreceipt:r${i}\n\n${body}\0`);
    rig.passSecond();
    await settle();
  }
  far.write(`ACK\nid:${ack}\n\n\0`);
  for (let i = 0; i < 100; i++) rig.passSecond();
  await settle();
  expect(readyIn(rig.core, 'out')).toBe(taken + 1); // the one that told is taken
  expect(rig.core.vhost.queues.get('in')!.counts.unacked).toBe(1);
  rig.core.broker.setAlarm(null);
  await settle();
  expect(readyIn(rig.core, 'out')).toBe(taken + 3);
  expect(rig.core.vhost.queues.get('in')!.counts.unacked).toBe(0);
  expect(received.match(/receipt-id:r\d+/g)).toHaveLength(taken + 3);
  expect(received).not.toContain('ERROR');
});

async function amqp10(): Promise<{ core: Core; door: Amqp10; peer: Amqp10Peer }> {
  const core = new Core();
  const door = new Amqp10(core.broker, {
    frameMax: 131_072,
    messageBytes: 1024 * 1024,
    sessionsMax: 100,
    heartbeatSeconds: 60,
    loginTimeoutMs: 10_000,
    rejectsLosses: false,
    anonymous: false,
    vhost: '/',
    createQueues: true,
    unroutable: 'released',
    product: 'RosettaMQ',
    version: '0.0.0',
  });
  const [near, far] = duplexPair();
  const remote = { address: '127.0.0.1', port: 1, local: '' };
  const stream = new Stream(near, core.clock, core.broker.log, remote);
  stream.handler = door.accept(stream);
  near.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
  const peer = new Amqp10Peer(far);
  await peer.login();
  await peer.sendOpen();
  await peer.begin();
  return { core, door, peer };
}

test('AMQP 1.0: what credit from before the alarm brings is rejected above the bound, and acks go on arriving', async () => {
  const { core, peer } = await amqp10();
  await peer.receiver(0, 'in', 1);
  await peer.sender(1, 'out');
  core.publish('', 'in', 'work');
  const { transfer } = await peer.message();
  core.broker.setAlarm('memory');
  for (let i = 1; i <= taken + 2; i++) {
    const outcome = await peer.publish(1, data(body));
    if (i <= taken) expect(outcome).toEqual({ is: 'accepted' });
    else {
      expect(outcome).toMatchObject({
        is: 'rejected',
        error: { condition: 'amqp:resource-limit-exceeded', description: 'publishers wait: memory' },
      });
    }
  }
  peer.settle(transfer.deliveryId!, { is: 'accepted' });
  await settle();
  expect(core.vhost.queues.get('in')!.counts).toMatchObject({ ready: 0, unacked: 0 });
  core.broker.setAlarm(null);
  expect(await peer.publish(1, data(body))).toEqual({ is: 'accepted' });
  expect(readyIn(core, 'out')).toBe(taken + 1);
});

test.each(['settled', 'unsettled'])('AMQP 1.0: one that only sends is not read above the bound: %s', async (how) => {
  const { core, door, peer } = await amqp10();
  await peer.sender(1, 'out');
  core.broker.setAlarm('memory');
  for (let i = 1; i <= taken + 3; i++) {
    peer.transfer(1, data(body), { settled: how === 'settled' });
    await settle();
  }
  for (let i = 0; i < 200; i++) {
    core.clock.advance(1000);
    door.sweep();
  }
  expect(door.connections.size).toBe(1); // its silence is ours
  expect(readyIn(core, 'out')).toBe(taken + 1); // the one that told is taken
  core.broker.setAlarm(null);
  await settle();
  expect(readyIn(core, 'out')).toBe(taken + 3);
});
