import { afterEach, expect, test } from 'vitest';
import { encodeProperties } from '../../src/protocols/amqp091/properties.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';

/** Dead letters of a real process that is killed, as clients of AMQP 0-9-1 see them. */

const persistent = encodeProperties({ headers: new Map(), durable: true }, null as never);
let first: BrokerProcess | null = null;
let broker: BrokerProcess;
afterEach(async () => {
  await broker.stop();
  await first?.remove();
});

async function start(): Promise<void> {
  first = await BrokerProcess.start();
  broker = first;
}

async function killAndStart(): Promise<AmqpPeer> {
  await broker.kill();
  broker = await BrokerProcess.start({ dataDir: broker.dataDir });
  return AmqpPeer.openChannel(broker.port('amqp'));
}

async function send(peer: AmqpPeer, queue: string, ...bodies: string[]): Promise<void> {
  for (const body of bodies) {
    peer.publish(1, { routingKey: queue }, body, persistent);
    await peer.expect(1, methods.basicAck);
  }
}

/** Rejects the first of the queue. */
async function reject(peer: AmqpPeer, queue: string): Promise<void> {
  peer.send(1, methods.basicGet, { queue });
  const { args } = await peer.content(methods.basicGetOk);
  peer.send(1, methods.basicReject, { deliveryTag: args.bigint('deliveryTag'), requeue: false });
}

async function count(peer: AmqpPeer, queue: string): Promise<number> {
  const declared = await peer.call(1, methods.queueDeclare, { queue, passive: true }, methods.queueDeclareOk);
  return declared.number('messageCount');
}

test('at least once: what no queue took is held over kill -9, then goes to the one that is bound', async () => {
  await start();
  const before = await AmqpPeer.openChannel(broker.port('amqp'));
  await before.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  const args = new Map([
    ['x-queue-type', 'quorum'],
    ['x-overflow', 'reject-publish'],
    ['x-dead-letter-strategy', 'at-least-once'],
    ['x-dead-letter-exchange', 'dlx'],
  ]);
  await before.declare('work', { durable: true, arguments: args });
  await send(before, 'work', '1', '2', '3');
  await reject(before, 'work');
  await send(before, 'work', '4'); // confirmed behind the death: that is durable too
  expect(broker.log).toContain('dead letters stay in their queue');

  const peer = await killAndStart();
  await peer.call(
    1,
    methods.exchangeDeclare,
    { exchange: 'dlx', type: 'fanout', durable: true },
    methods.exchangeDeclareOk,
  );
  await peer.declare('letters', { durable: true });
  await peer.call(1, methods.queueBind, { queue: 'letters', exchange: 'dlx' }, methods.queueBindOk);
  await expect.poll(() => count(peer, 'letters'), { timeout: 10_000 }).toBe(1);
  expect(await count(peer, 'work')).toBe(3);

  const last = await killAndStart();
  expect([await count(last, 'letters'), await count(last, 'work')]).toEqual([1, 3]);
  last.send(1, methods.basicGet, { queue: 'letters' });
  expect((await last.content(methods.basicGetOk)).body.toString()).toBe('1');
});

test('at most once, and durable all the same: killed while it rejects, each message is in one of the two queues', async () => {
  await start();
  const before = await AmqpPeer.openChannel(broker.port('amqp'));
  await before.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  await before.declare('letters', { durable: true });
  const args = new Map([
    ['x-dead-letter-exchange', ''],
    ['x-dead-letter-routing-key', 'letters'],
  ]);
  await before.declare('work', { durable: true, arguments: args });
  const total = 400;
  for (let i = 0; i < total; i++) before.publish(1, { routingKey: 'work' }, String(i), persistent);
  for (let confirmed = 0n; confirmed < total; ) {
    const ack = await before.expect(1, methods.basicAck);
    confirmed = ack.bigint('deliveryTag');
  }
  for (let i = 0; i < total / 2; i++) await reject(before, 'work');
  const peer = await killAndStart();
  const bodies: string[] = [];
  for (const queue of ['work', 'letters']) {
    const ready = await count(peer, queue);
    for (let i = 0; i < ready; i++) {
      peer.send(1, methods.basicGet, { queue, noAck: true });
      bodies.push((await peer.content(methods.basicGetOk)).body.toString());
    }
  }
  expect(bodies.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i));
});
