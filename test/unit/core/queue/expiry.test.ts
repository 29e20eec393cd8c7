import { expect, test } from 'vitest';
import { Core, drain, int, TestConsumer } from '../../../support/core.ts';

test('a message older than x-message-ttl is gone', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-message-ttl': int(1000) });
  core.publish('', 'q', 'old');
  core.clock.advance(500);
  core.publish('', 'q', 'young');
  core.clock.advance(499);
  expect(queue.counts.ready).toBe(2);
  core.clock.advance(1);
  expect(queue.counts.ready).toBe(1);
  expect(drain(queue)).toEqual(['young']);
});

test('the sooner of the two times to live counts', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-message-ttl': int(1000) });
  core.publish('', 'q', 'own', { ttlMs: 100 });
  core.publish('', 'q', 'queue', { ttlMs: 5000 });
  core.clock.advance(100);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(900);
  expect(queue.counts.ready).toBe(0);
});

test('a message expires at the head of its queue only', () => {
  const core = new Core();
  const queue = core.declare('q');
  core.publish('', 'q', 'first');
  core.publish('', 'q', 'short', { ttlMs: 10 });
  core.clock.advance(1000);
  expect(queue.counts.ready).toBe(2);
  expect(drain(queue)).toEqual(['first']);
});

test('what stands behind the head expires when the head has been taken, without anybody asking', () => {
  const core = new Core();
  const queue = core.declare('q');
  core.publish('', 'q', 'first');
  core.publish('', 'q', 'short', { ttlMs: 10 });
  const consumer = new TestConsumer(core.client, { credit: 1 });
  queue.attach(consumer);
  core.clock.advance(10);
  expect(consumer.bodies).toEqual(['first']);
  expect(queue.counts.ready).toBe(0);
});

test('a time to live of 0 reaches a consumer that waits, and nobody else', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-message-ttl': int(0) });
  core.publish('', 'q', 'nobody waits');
  expect(queue.counts.ready).toBe(0);
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  core.publish('', 'q', 'somebody waits');
  expect(consumer.bodies).toEqual(['somebody waits']);
});

test('a requeued message keeps its expiry', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-message-ttl': int(1000) });
  core.publish('', 'q', 'm');
  const consumer = new TestConsumer(core.client, { credit: 1 });
  queue.attach(consumer);
  core.clock.advance(900);
  consumer.entries[0]?.requeue();
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(100);
  expect(queue.counts.ready).toBe(0);
});

test('an expired message that is unacked stays with its consumer', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-message-ttl': int(10) });
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  core.publish('', 'q', 'm');
  core.clock.advance(1000);
  expect(queue.counts.unacked).toBe(1);
});

test('x-expires deletes a queue that nobody used for so long', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-expires': int(1000) });
  core.clock.advance(900);
  core.declare('q', { 'x-expires': int(1000) });
  core.clock.advance(900);
  queue.get();
  core.clock.advance(999);
  expect(core.vhost.queues.has('q')).toBe(true);
  core.clock.advance(1);
  expect(core.vhost.queues.has('q')).toBe(false);
});

test('x-expires waits for the last consumer to leave', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-expires': int(1000) });
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  core.clock.advance(5000);
  expect(core.vhost.queues.has('q')).toBe(true);
  queue.detach(consumer);
  core.clock.advance(999);
  expect(core.vhost.queues.has('q')).toBe(true);
  core.clock.advance(1);
  expect(core.vhost.queues.has('q')).toBe(false);
});
