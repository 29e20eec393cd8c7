import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Value } from '../../src/core/properties.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, bodyOf } from '../support/amqp10-peer.ts';
import { defs } from '../support/amqplib-codec.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** What a consumer cannot be told whole: counted, and dead-lettered where its queue or its listener rejects losses. */
let broker: BrokerProcess;
let amqp: AmqpPeer;
let count = 0;
/** Of this test. */
let queue = '';
let dead = '';

beforeAll(async () => {
  const strict = 'listeners.strict={protocol: amqp, port: 0, onLoss: reject}';
  broker = await BrokerProcess.start({ args: ['--set', strict] });
  amqp = await AmqpPeer.openChannel(broker.port('amqp'));
});

afterAll(async () => {
  amqp?.destroy();
  await broker?.remove();
});

beforeEach(() => {
  count += 1;
  queue = `losses-${count}`;
  dead = `dead-${count}`;
});

async function declare(onLoss?: string): Promise<void> {
  const args = new Map<string, Value>([
    ['x-dead-letter-exchange', ''],
    ['x-dead-letter-routing-key', dead],
  ]);
  if (onLoss !== undefined) args.set('x-on-loss', onLoss);
  await amqp.declare(dead);
  await amqp.declare(queue, { durable: true, arguments: args });
}

/** Reason and body of the dead letter that comes. */
async function deadLetter(): Promise<{ reason: unknown; body: string }> {
  for (;;) {
    const content = await amqp.get(dead);
    if (content === null) continue;
    const { headers } = defs.decode(60, content.native) as { headers: Record<string, unknown> };
    return { reason: headers['x-first-death-reason'], body: content.body.toString() };
  }
}

async function losses(from: string, to: string, field: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${broker.port('management')}/metrics`);
  const series = `rosettamq_conversion_loss_total{from="${from}",to="${to}",field="${field}"} `;
  const line = (await answer.text()).split('\n').find((each) => each.startsWith(series));
  return line === undefined ? 0 : Number(line.slice(series.length));
}

/** User properties of one name that have no room in a residue. */
const repeats = { a: ['1', 'x'.repeat(5000)] };
/** Headers longer than the smallest frame. */
const longHeaders = defs.encodeProperties(60, 1, 0, { headers: { note: 'x'.repeat(5000) }, type: 'order' });
const long = longHeaders.subarray(19, -1);

async function publishMqtt(body: string, properties: object, qos: 0 | 1 = 1): Promise<void> {
  const { peer } = await MqttPeer.connect(broker);
  peer.publish(`$queue-of/${queue}`, body, { qos, messageId: 1, properties });
  if (qos === 1) await peer.nextOf('puback');
  await peer.leave();
}

test.each(['x-on-loss: deliver', 'not said'])(
  '%s: the message comes as far as it can be told, and is counted',
  async (which) => {
    await declare(which === 'not said' ? undefined : 'deliver');
    const before = await losses('mqtt-5', 'amqp-0-9-1', 'repeats');
    await publishMqtt('loss', { userProperties: repeats });
    const content = await amqp.get(queue);
    expect(defs.decode(60, content!.native)['headers']).toEqual({ a: '1' });
    expect(await losses('mqtt-5', 'amqp-0-9-1', 'repeats')).toBe(before + 1);
    expect(await amqp.get(dead)).toBe(null);
  },
);

test('an argument that is neither is refused', async () => {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  peer.send(1, methods.queueDeclare, { queue, arguments: new Map([['x-on-loss', 'perhaps']]) });
  expect((await peer.closed()).text).toContain("invalid arg 'x-on-loss' for queue");
  peer.destroy();
});

describe('x-on-loss: reject', () => {
  test('what waits is dead-lettered when an AMQP 0-9-1 client fetches it, and the next one comes', async () => {
    await declare('reject');
    await publishMqtt('loss', { userProperties: repeats });
    await publishMqtt('whole', {});
    expect((await amqp.get(queue))!.body.toString()).toBe('whole');
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'loss' });
  });

  test.each([true, false])('a consumer gets only what can be told it (noAck %s)', async (noAck) => {
    await declare('reject');
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    await publishMqtt('waits', { userProperties: repeats });
    await peer.call(1, methods.basicConsume, { queue, noAck }, methods.basicConsumeOk);
    await publishMqtt('flies', { userProperties: repeats });
    await publishMqtt('whole', {});
    expect((await peer.content()).body.toString()).toBe('whole');
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'waits' });
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'flies' });
    peer.destroy();
    const left = await amqp.call(1, methods.queueDeclare, { queue, passive: true }, methods.queueDeclareOk);
    expect(left.number('messageCount')).toBeLessThan(2);
  });

  test('a STOMP subscriber gets only what can be told it', async () => {
    await declare('reject');
    const wire = await StompWire.login(broker.port('stomp'));
    await wire.subscribe('1', `/amq/queue/${queue}`);
    await publishMqtt('loss', { userProperties: repeats });
    await publishMqtt('whole', {});
    expect((await wire.next()).body.toString()).toBe('whole');
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'loss' });
    wire.destroy();
  });

  test('an AMQP 1.0 receiver gets only what can be told it', async () => {
    await declare('reject');
    const peer = await Amqp10Peer.openSession(broker.port('amqp'));
    await peer.receiver(0, `/queues/${queue}`, 10);
    await publishMqtt('loss', { userProperties: repeats });
    await publishMqtt('whole', {});
    expect(bodyOf((await peer.message()).octets)).toBe('whole');
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'loss' });
    peer.destroy();
  });

  test('by a policy', async () => {
    await declare();
    const policy = { pattern: `^${queue}$`, definition: { 'on-loss': 'reject' }, 'apply-to': 'queues' };
    const answer = await fetch(`http://127.0.0.1:${broker.port('management')}/api/policies/%2F/${queue}`, {
      method: 'PUT',
      headers: { authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}` },
      body: JSON.stringify(policy),
    });
    expect(answer.status).toBe(201);
    await publishMqtt('loss', { userProperties: repeats });
    expect(await amqp.get(queue)).toBe(null);
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'loss' });
  });

  test("by the listener's word, whatever the queue says", async () => {
    await declare();
    const peer = await AmqpPeer.openChannel(broker.port('strict'));
    await publishMqtt('loss', { userProperties: repeats });
    expect(await peer.get(queue)).toBe(null);
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'loss' });
    await peer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
    await publishMqtt('more', { userProperties: repeats }, 0);
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'more' });
    peer.destroy();
  });

  test('what was published in the same protocol is whole', async () => {
    await declare('reject');
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe(`$queue-of/${queue}`, { qos: 1 });
    await publishMqtt('mine', { userProperties: repeats });
    const packet = await peer.nextOf('publish');
    expect(packet.properties.userProperties['a']).toEqual(repeats.a);
    peer.destroy();
  });
});

describe('headers longer than a frame that an AMQP 0-9-1 consumer takes', () => {
  test('are left out, and counted', async () => {
    await declare();
    const peer = await AmqpPeer.openChannel(broker.port('amqp'), { frameMax: 4096 });
    const before = await losses('amqp-0-9-1', 'amqp-0-9-1', 'headers');
    amqp.publish(1, { routingKey: queue }, 'long', long);
    amqp.publish(1, { routingKey: queue }, 'short');
    await peer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
    const { native, body } = await peer.content();
    const { headers, type } = defs.decode(60, native);
    expect([body.toString(), headers, type]).toEqual(['long', {}, 'order']);
    expect((await peer.content()).body.toString()).toBe('short');
    expect(await losses('amqp-0-9-1', 'amqp-0-9-1', 'headers')).toBe(before + 1);
    peer.destroy();
  });

  test('and where losses are rejected the message is dead-lettered', async () => {
    await declare('reject');
    const peer = await AmqpPeer.openChannel(broker.port('amqp'), { frameMax: 4096 });
    await peer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
    amqp.publish(1, { routingKey: queue }, 'long', long);
    amqp.publish(1, { routingKey: queue }, 'short');
    expect((await peer.content()).body.toString()).toBe('short');
    expect(await deadLetter()).toEqual({ reason: 'unrepresentable', body: 'long' });
    peer.destroy();
  });
});

describe('a message longer than the Maximum Packet Size of an MQTT client', () => {
  const connect = () => MqttPeer.connect(broker, { properties: { maximumPacketSize: 200 } });

  test('is treated as delivered, and counted [MQTT-3.1.2-25]', async () => {
    await declare();
    const { peer } = await connect();
    await peer.subscribe(`$queue-of/${queue}`, { qos: 1 });
    const before = await losses('amqp-0-9-1', 'mqtt-5', 'size');
    amqp.publish(1, { routingKey: queue }, 'x'.repeat(200));
    amqp.publish(1, { routingKey: queue }, 'short');
    expect((await peer.nextOf('publish')).payload.toString()).toBe('short');
    expect(await losses('amqp-0-9-1', 'mqtt-5', 'size')).toBe(before + 1);
    expect(await amqp.get(dead)).toBe(null);
    peer.destroy();
  });

  test('is dead-lettered where losses are rejected', async () => {
    await declare('reject');
    const { peer } = await connect();
    await peer.subscribe(`$queue-of/${queue}`, { qos: 1 });
    amqp.publish(1, { routingKey: queue }, 'x'.repeat(200));
    amqp.publish(1, { routingKey: queue }, 'short');
    expect((await peer.nextOf('publish')).payload.toString()).toBe('short');
    expect((await deadLetter()).reason).toBe('unrepresentable');
    peer.destroy();
  });
});

test('however many consumers of a protocol there are, the message is translated, and its loss counted, once', async () => {
  const peers = await Promise.all(Array.from({ length: 5 }, () => AmqpPeer.openChannel(broker.port('amqp'))));
  for (const peer of peers) {
    const own = await peer.declare('', { exclusive: true });
    const binding = { queue: own, exchange: 'amq.topic', routingKey: 'fan.out' };
    await peer.call(1, methods.queueBind, binding, methods.queueBindOk);
    await peer.call(1, methods.basicConsume, { queue: own, noAck: true }, methods.basicConsumeOk);
  }
  const before = await losses('mqtt-5', 'amqp-0-9-1', 'repeats');
  const { peer } = await MqttPeer.connect(broker);
  peer.publish('fan/out', 'to all', { properties: { userProperties: repeats } });
  for (const each of peers) expect((await each.content()).body.toString()).toBe('to all');
  expect(await losses('mqtt-5', 'amqp-0-9-1', 'repeats')).toBe(before + 1);
  for (const each of [peer, ...peers]) each.destroy();
});

test('a topic longer than a routing key of AMQP 0-9-1 is whole in a header: it reaches a queue that rejects losses', async () => {
  await declare('reject');
  await amqp.call(1, methods.queueBind, { queue, exchange: 'amq.topic', routingKey: 'lossy.#' }, methods.queueBindOk);
  const before = await losses('mqtt-5', 'amqp-0-9-1', 'routingKey');
  const { peer } = await MqttPeer.connect(broker);
  peer.publish(`lossy/${'é'.repeat(130)}`, 'whole', { qos: 1, messageId: 1 });
  await peer.nextOf('puback');
  expect((await amqp.get(queue))!.args.text('routingKey')).toBe('lossy');
  expect(await losses('mqtt-5', 'amqp-0-9-1', 'routingKey')).toBe(before);
  await peer.leave();
});

test('a key that is no topic does not reach MQTT, and is counted', async () => {
  const { peer } = await MqttPeer.connect(broker);
  await peer.subscribe('#');
  const before = await losses('amqp-0-9-1', 'mqtt-5', 'topic');
  amqp.publish(1, { exchange: 'amq.topic', routingKey: '' }, 'no topic');
  amqp.publish(1, { exchange: 'amq.topic', routingKey: 'a' }, 'topic');
  expect((await peer.nextOf('publish')).payload.toString()).toBe('topic');
  expect(await losses('amqp-0-9-1', 'mqtt-5', 'topic')).toBe(before + 1);
  peer.destroy();
});
