import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { Core, drain, int, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

test('a delivery that is kept too long goes to another consumer, and its late ack to nobody', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-ack-timeout': '30s' });
  const [slow, other] = [new TestConsumer(core.client, { credit: 1 }), new TestConsumer(core.client, { credit: 0 })];
  queue.attach(slow);
  queue.attach(other);
  core.publish('', 'q', 'a');
  core.clock.advance(29_999);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  other.credit = 1;
  core.clock.advance(1);
  expect(other.bodies).toEqual(['a']);
  expect(other.entries[0]).toMatchObject({ redelivered: true, deliveryCount: 1 });
  for (const late of ['ack', 'requeue', 'release', 'reject'] as const) slow.entries[0]![late]();
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  expect((queue as LocalQueue).acked).toBe(0);
  other.entries[0]!.ack();
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
  core.clock.advance(60_000);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
  expect((queue as LocalQueue).acked).toBe(1);
});

test('what is acked or returned in time is left alone; each delivery has its own time', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-ack-timeout': int(1000) });
  const consumer = new TestConsumer(core.client, { credit: 2 });
  queue.attach(consumer);
  core.publish('', 'q', 'a');
  core.publish('', 'q', 'b');
  core.clock.advance(600);
  consumer.entries[0]!.ack();
  consumer.credit = 1;
  consumer.entries[1]!.requeue();
  core.clock.advance(999);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  core.clock.advance(1);
  expect(queue.counts).toMatchObject({ ready: 1, unacked: 0 });
});

test('timeouts count toward the delivery limit', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-ack-timeout': int(10), 'x-delivery-limit': int(2) });
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  core.publish('', 'q', 'a');
  core.clock.advance(1000);
  expect(consumer.bodies).toEqual(['a', 'a', 'a']);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
});

test('a shorter time holds for deliveries that are out, from then on', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-redeclare': 'migrate', 'x-ack-timeout': '1h' });
  queue.attach(new TestConsumer(core.client, { credit: 1 }));
  core.publish('', 'q', 'a');
  core.clock.advance(500);
  (queue as LocalQueue).migrate(new Map([['x-ack-timeout', '1s']]));
  core.clock.advance(999);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  core.clock.advance(1);
  expect(queue.counts).toMatchObject({ ready: 1, unacked: 0 });
});

test('after a timeout and a crash the message is there once, until it is acked', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  const queue = core.vhost.declareQueue(core.client, {
    name: 'q',
    durable: true,
    autoDelete: false,
    exclusiveTo: null,
    arguments: new Map([['x-ack-timeout', int(10)]]),
  });
  core.publish('q', 'a');
  await core.durable();
  queue.attach(new TestConsumer(core.client, { credit: 1 }));
  core.clock.advance(10);
  await core.durable();
  const left = SimulatedDisk.holding(disk.contents());
  const again = await JournaledBroker.open(left);
  expect(again.vhost.queues.get('q')!.counts.ready).toBe(1);
  (await again.get('q'))!.ack();
  await again.durable();
  const last = await JournaledBroker.open(SimulatedDisk.holding(left.contents()));
  expect(last.vhost.queues.get('q')!.counts.ready).toBe(0);
});

test('thousands that are due at once return some at a time, and others are served in between', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-ack-timeout': int(10), 'x-retry-delays': '1s' });
  const count = 2000;
  const bodies = Array.from({ length: count }, (_, i) => String(i));
  queue.attach(new TestConsumer(core.client, { credit: count }));
  for (const body of bodies) core.publish('', 'q', body);
  core.clock.nowMs += 10;
  core.clock.timers.runDue();
  expect((queue as LocalQueue).waiting).toBeLessThan(count);
  core.clock.advance(0);
  expect((queue as LocalQueue).waiting).toBe(count);
  core.clock.nowMs += 1000;
  core.clock.timers.runDue();
  expect(queue.counts.ready).toBeLessThan(count);
  core.clock.advance(0);
  expect(drain(queue)).toEqual(bodies);
});

test('many that are kept too long are recalled in several turns; those acked meanwhile are not', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-ack-timeout': int(1000) });
  const slow = new TestConsumer(core.client, { credit: 3000 });
  queue.attach(slow);
  for (let i = 0; i < 3000; i++) core.publish('', 'q', String(i));
  core.clock.nowMs += 1000;
  const turn = (): void => core.clock.timers.runDue();
  turn();
  expect(queue.counts.ready).toBeGreaterThan(0);
  expect(queue.counts.ready).toBeLessThan(1500);
  slow.entries[2999]!.ack();
  slow.entries[2000]!.ack();
  for (let turns = 0; queue.counts.unacked > 0; turns++) {
    expect(turns).toBeLessThan(10);
    turn();
  }
  expect(queue.counts.ready).toBe(2998);
  const other = new TestConsumer(core.client);
  queue.attach(other);
  expect(other.bodies).toEqual(slow.bodies.filter((body) => body !== '2999' && body !== '2000'));
});
