import { expect, test } from 'vitest';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import type { Queue } from '../../../../src/core/queue/queue.ts';
import { Core, drain, int, TestConsumer } from '../../../support/core.ts';

const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

function fail(queue: Queue): number {
  const entry = queue.get() as QueueEntry;
  const { deliveryCount } = entry;
  entry.requeue();
  return deliveryCount;
}

test('x-delivery-limit: what comes back once more than that is a dead letter', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-delivery-limit': int(2), ...toDead });
  const dead = core.declare('dead');
  core.publish('', 'q', 'm');
  expect([fail(queue), fail(queue), fail(queue)]).toEqual([0, 1, 2]);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
  expect((dead.get() as QueueEntry).message.deaths[0]).toMatchObject({
    queue: 'q',
    reason: 'delivery_limit',
    count: 1,
  });
});

test('what is released was not delivered, and does not count', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-delivery-limit': int(0) });
  core.publish('', 'q', 'm');
  for (let i = 0; i < 5; i++) (queue.get() as QueueEntry).release();
  expect(queue.counts.ready).toBe(1);
  fail(queue);
  expect(queue.counts.ready).toBe(0);
});

test('a quorum queue has a limit of 20; a negative one is none', () => {
  const core = new Core();
  const quorum = core.declare('q', { 'x-queue-type': 'quorum' }, true);
  const unlimited = core.declare('u', { 'x-queue-type': 'quorum', 'x-delivery-limit': int(-1) }, true);
  core.publish('', 'q', 'm');
  core.publish('', 'u', 'm');
  for (let i = 0; i < 21; i++) fail(quorum);
  for (let i = 0; i < 100; i++) fail(unlimited);
  expect(quorum.counts.ready).toBe(0);
  expect(unlimited.counts.ready).toBe(1);
});

test('x-retry-delays: each return waits, invisible; then it is a dead letter', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-retry-delays': '1s,10s', ...toDead });
  const dead = core.declare('dead');
  core.publish('', 'q', 'm');
  core.publish('', 'q', 'other');
  fail(queue);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(999);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(1);
  expect(queue.counts.ready).toBe(2);
  fail(queue);
  core.clock.advance(9999);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(1);
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  expect(consumer.bodies).toEqual(['m', 'other']);
  consumer.entries[0]!.requeue();
  expect(drain(dead)).toEqual(['m']);
});

test('deadLetter.default gives a queue a .dlq of its own, and that one none', () => {
  const core = new Core();
  const definition = { 'deadLetter.default': 'on' };
  core.vhost.policies.set({ name: 'p', pattern: '.*', applyTo: 'queues', priority: 0, definition });
  const queue = core.declare('orders');
  expect(core.vhost.queues.has('orders.dlq')).toBe(false);
  core.publish('', 'orders', 'm');
  (queue.get() as QueueEntry).reject();
  const dead = core.vhost.queues.get('orders.dlq')!;
  expect(queue.options.deliveryLimit).toBe(20);
  expect(dead.options.deliveryLimit).toBe(-1);
  (dead.get() as QueueEntry).reject();
  expect(core.vhost.queues.has('orders.dlq.dlq')).toBe(false);
});

test('a message id that comes again within the window is confirmed, and not kept again', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-deduplication': true, 'x-deduplication-window': '1m' });
  core.publish('', 'q', '1', { messageId: 'a' });
  core.clock.advance(59_999);
  expect(core.publish('', 'q', '2', { messageId: 'a' })).toBe('routed');
  core.publish('', 'q', '3', { messageId: 'b' });
  core.publish('', 'q', 'without');
  core.publish('', 'q', 'without');
  core.clock.advance(1);
  core.publish('', 'q', '4', { messageId: 'a' });
  expect(drain(queue)).toEqual(['1', '3', 'without', 'without', '4']);
});

test('what the queue refused is not known; what is known is not refused', () => {
  const core = new Core();
  const limit = { 'x-max-length': int(1), 'x-overflow': 'reject-publish' };
  const queue = core.declare('q', { 'x-deduplication': true, ...limit });
  core.publish('', 'q', '1', { messageId: 'a' });
  expect(core.publish('', 'q', '2', { messageId: 'b' })).toBe('refused');
  expect(core.publish('', 'q', '1', { messageId: 'a' })).toBe('routed');
  drain(queue);
  expect(core.publish('', 'q', '2', { messageId: 'b' })).toBe('routed');
  expect(drain(queue)).toEqual(['2']);
});

test('x-rate-limit paces the deliveries of the queue as a whole', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-rate-limit': '10/s' });
  const consumers = [new TestConsumer(core.client), new TestConsumer(core.client, { settles: true })];
  for (const consumer of consumers) queue.attach(consumer);
  for (let i = 0; i < 100; i++) core.publish('', 'q', String(i));
  const delivered = (): number => consumers.reduce((sum, { bodies }) => sum + bodies.length, 0);
  expect(delivered()).toBe(1);
  core.clock.advance(1000);
  expect(delivered()).toBe(11);
  core.clock.advance(5000);
  expect(delivered()).toBe(61);
});

test.each([
  [{}, [1, 2, 4, 8]],
  [{ 'x-priority-weights': '1,1,1,7' }, [1, 1, 1, 7]],
])('weighted priorities: while all are full each gets its share ± 5 %% %o', (args, weights) => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-priority': int(3), 'x-priority-mode': 'weighted', ...args });
  for (let i = 0; i < 2000; i++) core.publish('', 'q', String(i % 4), { priority: i % 4 });
  const taken = [0, 0, 0, 0];
  for (let i = 0; i < 600; i++) {
    const entry = queue.get() as QueueEntry;
    taken[entry.message.priority]! += 1;
    entry.ack();
  }
  const sum = weights.reduce((a, b) => a + b);
  for (const [level, count] of taken.entries()) {
    const share = (600 * weights[level]!) / sum;
    expect(Math.abs(count - share), `level ${level}: ${count} of ${share}`).toBeLessThanOrEqual(0.05 * share + 1);
  }
});

test('many whose wait ends at once come back in several turns, in their order', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-retry-delays': '1s' });
  for (let i = 0; i < 3000; i++) core.publish('', 'q', String(i));
  const first = new TestConsumer(core.client);
  queue.attach(first);
  queue.detach(first);
  for (const entry of first.entries) entry.requeue();
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  core.clock.nowMs += 1000;
  const turn = (): number => {
    const before = consumer.entries.length;
    core.clock.timers.runDue();
    return consumer.entries.length - before;
  };
  for (let turns = 0; consumer.entries.length < 3000; turns++) {
    expect(turns).toBeLessThan(10);
    const back = turn();
    expect(back).toBeGreaterThan(0);
    expect(back).toBeLessThan(1500);
  }
  expect(consumer.bodies).toEqual(first.bodies);
  expect(turn()).toBe(0);
});
