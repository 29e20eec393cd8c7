import { expect, test } from 'vitest';
import type { Value } from '../../../../src/core/properties.ts';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import { Core, drain, int, TestConsumer } from '../../../support/core.ts';
import { Random } from '../../../support/random.ts';

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

test('a message expires at any place of its queue', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  const dead = core.declare('dead');
  core.publish('', 'q', 'first');
  core.publish('', 'q', 'long', { ttlMs: 1000 });
  core.publish('', 'q', 'short', { ttlMs: 10 });
  core.publish('', 'q', 'middle', { ttlMs: 100 });
  core.publish('', 'q', 'last');
  core.clock.advance(9);
  expect(queue.counts.ready).toBe(5);
  core.clock.advance(1);
  expect([queue.counts.ready, drain(dead)]).toEqual([4, ['short']]);
  core.clock.advance(90);
  expect([queue.counts.ready, drain(dead)]).toEqual([3, ['middle']]);
  core.clock.advance(900);
  expect([drain(queue), drain(dead)]).toEqual([['first', 'last'], ['long']]);
});

test('a time to live of 0 behind others is none', () => {
  const core = new Core();
  const queue = core.declare('q');
  core.publish('', 'q', 'first');
  core.publish('', 'q', 'zero', { ttlMs: 0 });
  expect(drain(queue)).toEqual(['first']);
});

test('what came back and never expires holds nothing behind it up', () => {
  const core = new Core();
  const queue = core.declare('q');
  core.publish('', 'q', 'first');
  const entry = queue.get() as QueueEntry;
  core.publish('', 'q', 'short', { ttlMs: 10 });
  entry.requeue();
  core.clock.advance(10);
  expect(drain(queue)).toEqual(['first']);
});

test('in every kind of queue, whatever comes, goes and comes back, each expires when it is due', () => {
  const kinds: Record<string, Value>[] = [
    {},
    { 'x-max-priority': int(3) },
    { 'x-message-groups': true },
    { 'x-message-ttl': int(60) },
  ];
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const core = new Core();
    const args = kinds[seed % kinds.length]!;
    const queue = core.declare('q', args);
    const ttlOfQueue = 'x-message-ttl' in args ? 60 : Number.POSITIVE_INFINITY;
    const dueOf = new Map<string, number>();
    const out: QueueEntry[] = [];
    for (let step = 0; step < 60; step++) {
      const what = random.below(10);
      if (what < 5) {
        const ttlMs = random.below(3) === 0 ? undefined : random.below(100);
        const body = String(step);
        const headers = new Map<string, Value>([['x-group-id', String(random.below(3))]]);
        core.publish('', 'q', body, { headers, priority: random.below(4), ...(ttlMs === undefined ? {} : { ttlMs }) });
        dueOf.set(body, core.clock.nowMs + Math.min(ttlMs ?? Number.POSITIVE_INFINITY, ttlOfQueue));
      } else if (what < 7) {
        const entry = queue.get() as QueueEntry | undefined;
        if (entry !== undefined) out.push(entry);
      } else if (what < 8) out.splice(random.below(out.length + 1), 1)[0]?.requeue();
      else core.clock.advance(random.below(30));
      const taken = new Set(out.map((entry) => entry.message.body.toString()));
      const left = (queue.browse(null, 1000) as QueueEntry[]).map((entry) => entry.message.body.toString());
      const dead = [...dueOf].filter(([body, dueMs]) => dueMs <= core.clock.nowMs && !taken.has(body));
      for (const [body] of dead) dueOf.delete(body);
      const expected = [...dueOf.keys()].filter((body) => !taken.has(body));
      expect(left.toSorted(), `seed ${seed}, step ${step}`).toEqual(expected.toSorted());
      expect(queue.counts.ready).toBe(left.length);
    }
  }
});

test.each<[string, Record<string, Value>, boolean]>([
  ['in their order', {}, true],
  ['behind others', {}, false],
  ['by priority', { 'x-max-priority': int(2) }, true],
  ['in groups', { 'x-message-groups': true }, false],
])('many that expire at once go in several turns, and none is handed out: %s', async (_, args, ordered) => {
  const core = new Core();
  const queue = core.declare('q', { ...args, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  const dead = core.declare('dead');
  if (!ordered) core.publish('', 'q', 'head');
  for (let i = 0; i < 5000; i++) core.publish('', 'q', String(i), { ttlMs: 10, priority: 2 });
  core.publish('', 'q', 'last', { headers: new Map([['x-group-id', 'g']]) });
  const living = ordered ? ['last'] : ['head', 'last'];
  const turn = (): void => {
    core.clock.nowMs = Math.max(core.clock.nowMs, core.clock.timers.nextDueMs);
    core.clock.timers.runDue();
  };
  core.clock.nowMs += 10;
  turn();
  expect(dead.counts.ready).toBeGreaterThan(0);
  expect(dead.counts.ready).toBeLessThan(2000);
  const asked = queue.get();
  expect(asked).toBeInstanceOf(Promise);
  const consumer = new TestConsumer(core.client);
  queue.attach(consumer);
  expect(consumer.bodies).toEqual([]);
  for (let turns = 0; dead.counts.ready < 5000; turns++) {
    expect(turns).toBeLessThan(10);
    turn();
  }
  const got = await asked;
  expect([...consumer.bodies, got?.message.body.toString()].toSorted()).toEqual(expect.arrayContaining(living));
  expect(consumer.bodies.length + (got === undefined ? 0 : 1)).toBe(living.length);
  expect(queue.counts.ready).toBe(0);
  expect(drain(dead).map(Number)).toEqual(Array.from({ length: 5000 }, (__, i) => i));
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
