import { describe, expect, test } from 'vitest';
import type { Client } from '../../src/core/client.ts';
import type { Headers, Properties, Value } from '../../src/core/properties.ts';
import type { QueueEntry } from '../../src/core/queue/entry.ts';
import type { LocalQueue } from '../../src/core/queue/local-queue.ts';
import type { PublishResult, Vhost } from '../../src/core/vhost.ts';
import { int, type ManualClock, TestConsumer } from '../support/core.ts';

/** A broker without protocols, as the rules of queues need it. */
export interface QueueHarness {
  readonly vhost: Vhost;
  readonly client: Client;
  readonly clock: ManualClock;
  declare(name: string, args?: Readonly<Record<string, Value>>): LocalQueue;
  /** @param delayMs it is routed so much later */
  publish(queue: string, body: string, properties?: Partial<Properties>, delayMs?: number): PublishResult;
  /** What its publisher was told of full queues: why it is to wait, null when it may go on. */
  readonly alarms: readonly (string | null)[];
  /** Resolves when nothing is under way any longer. */
  idle(): Promise<void>;
  /** The process dies, and another begins with what it left; only of those that keep something. */
  kill?(): Promise<QueueHarness>;
}

type ConsumerOptions = ConstructorParameters<typeof TestConsumer>[1];

const dead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };
const header = (name: string, value: Value): Partial<Properties> => ({ headers: new Map([[name, value]]) });
const minute = 60_000;

/** What every queue does, whoever owns it. @param create made anew for each test */
export function queueSuite(create: () => Promise<QueueHarness>): void {
  function rule(title: string, body: (harness: QueueHarness) => void | Promise<void>): void {
    test(title, async () => body(await create()));
  }

  describe('messages and consumers', () => {
    rule('messages wait in the order of their publishing, and are counted', (h) => {
      const queue = h.declare('q');
      publish(h, 'a', 'b', 'c');
      expect(queue.counts).toEqual({ ready: 3, unacked: 0, consumers: 0 });
      expect(consume(h, queue).bodies).toEqual(['a', 'b', 'c']);
      expect(queue.counts).toEqual({ ready: 0, unacked: 3, consumers: 1 });
    });

    rule('consumers take turns', (h) => {
      const queue = h.declare('q');
      const [first, second] = [consume(h, queue), consume(h, queue)];
      publish(h, 'a', 'b', 'c', 'd');
      expect([first.bodies, second.bodies]).toEqual([
        ['a', 'c'],
        ['b', 'd'],
      ]);
    });

    rule('a consumer without credit gets nothing, and is served when it has some again', (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue, { credit: 1 });
      publish(h, 'a', 'b');
      expect(consumer.bodies).toEqual(['a']);
      consumer.grant(1, queue);
      expect(consumer.bodies).toEqual(['a', 'b']);
    });

    rule('of several consumers those of the highest priority are served first', (h) => {
      const queue = h.declare('q');
      const low = consume(h, queue, { priority: -1 });
      const high = consume(h, queue, { priority: 5, credit: 2 });
      publish(h, 'a', 'b', 'c');
      expect([high.bodies, low.bodies]).toEqual([['a', 'b'], ['c']]);
    });

    rule('what is acked is gone, and acking it again changes nothing', (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue);
      publish(h, 'a', 'b');
      consumer.entries[0]?.ack();
      consumer.entries[0]?.ack();
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
    });

    rule('what is requeued returns to its place, and says that it was delivered before', (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue, { credit: 3 });
      publish(h, 'a', 'b', 'c', 'd');
      const [a, b, c] = consumer.entries;
      for (const entry of [c, a, b]) entry?.requeue();
      consumer.grant(4, queue);
      expect(consumer.bodies.slice(3)).toEqual(['a', 'b', 'c', 'd']);
      expect(consumer.entries.slice(3).map((entry) => entry.redelivered)).toEqual([true, true, true, false]);
      expect(a?.deliveryCount).toBe(1);
    });

    rule('what is released was never delivered', (h) => {
      const consumer = consume(h, h.declare('q'), { credit: 1 });
      publish(h, 'a');
      const [entry] = consumer.entries;
      entry?.release();
      expect(entry).toMatchObject({ redelivered: false, deliveryCount: 0, state: 'ready' });
    });

    rule('a consumer that settles by taking leaves nothing unacked', (h) => {
      const queue = h.declare('q');
      publish(h, 'before');
      const consumer = consume(h, queue, { settles: true });
      publish(h, 'after');
      expect(consumer.bodies).toEqual(['before', 'after']);
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
    });

    rule('an exclusive consumer is alone, whichever comes first', (h) => {
      const queue = h.declare('q');
      const first = consume(h, queue, { exclusive: true });
      expect(() => consume(h, queue)).toThrow(/exclusive/);
      queue.detach(first);
      consume(h, queue);
      expect(() => consume(h, queue, { exclusive: true })).toThrow(/exclusive/);
    });

    rule('get takes the first, and nothing of an empty queue', async (h) => {
      const queue = h.declare('q');
      publish(h, 'a');
      expect((await queue.get())?.message.body.toString()).toBe('a');
      expect(await queue.get()).toBeUndefined();
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
    });

    rule('purge removes what is ready and leaves what is unacked', async (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue, { credit: 1 });
      publish(h, 'a', 'b', 'c');
      expect(await queue.purge()).toBe(2);
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
      consumer.entries[0]?.requeue();
      expect(queue.counts).toMatchObject({ ready: 1, unacked: 0 });
    });

    rule('a detached consumer gets nothing more, and what it has is still its own', (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue);
      publish(h, 'a');
      queue.detach(consumer);
      publish(h, 'b');
      expect(consumer.bodies).toEqual(['a']);
      expect(queue.counts).toEqual({ ready: 1, unacked: 1, consumers: 0 });
    });
  });

  describe('priorities', () => {
    rule('the highest first, in order within one; above the highest counts as it, none as the lowest', async (h) => {
      const queue = h.declare('q', { 'x-max-priority': int(5) });
      for (const [body, priority] of [
        ['none', undefined],
        ['2a', 2],
        ['9', 9],
        ['2b', 2],
        ['5', 5],
        ['0', 0],
      ] as const) {
        h.publish('q', body, priority === undefined ? {} : { priority });
      }
      expect(await drain(queue)).toEqual(['9', '5', '2a', '2b', 'none', '0']);
    });

    rule('weighted: while all have messages each has its share, within 5 %', async (h) => {
      const queue = h.declare('q', { 'x-max-priority': int(3), 'x-priority-mode': 'weighted' });
      for (let i = 0; i < 4 * 2000; i++) h.publish('q', String(i % 4), { priority: i % 4 });
      const taken = [0, 0, 0, 0];
      for (const body of await drain(queue, 3000)) taken[Number(body)]! += 1;
      for (const [level, count] of taken.entries()) {
        const share = (3000 * 2 ** level) / 15;
        expect(Math.abs(count - share) / share).toBeLessThan(0.05);
      }
    });

    rule('a quorum queue: two high ones, from 5 up, go for each other one', async (h) => {
      if (!h.declare('any').spec.durable) return; // quorum queues are durable
      const queue = h.declare('q', { 'x-queue-type': 'quorum' });
      for (const priority of [undefined, 0, 4, 1]) {
        h.publish('q', `n${priority ?? ''}`, priority === undefined ? {} : { priority });
      }
      for (const priority of [5, 255, 9, 6, 5]) h.publish('q', `h${priority}`, { priority });
      expect(await drain(queue)).toEqual(['h5', 'h255', 'n', 'h9', 'h6', 'n0', 'h5', 'n4', 'n1']);
    });

    rule('weighted by weights of its own, within 5 %', async (h) => {
      const weights = { 'x-priority-mode': 'weighted', 'x-priority-weights': '3,1' };
      const queue = h.declare('q', { 'x-max-priority': int(1), ...weights });
      for (let i = 0; i < 2000; i++) h.publish('q', String(i % 2), { priority: i % 2 });
      const low = (await drain(queue, 1000)).filter((body) => body === '0').length;
      expect(Math.abs(low - 750) / 750).toBeLessThan(0.05);
    });
  });

  describe('time to live', () => {
    rule('the smaller of the queue’s and the message’s holds', (h) => {
      const queue = h.declare('q', { 'x-message-ttl': int(minute) });
      h.publish('q', 'a', { ttlMs: 1000 });
      h.publish('q', 'b', { ttlMs: 10 * minute });
      h.clock.advance(1000);
      expect(queue.counts.ready).toBe(1);
      h.clock.advance(minute - 1001);
      expect(queue.counts.ready).toBe(1);
      h.clock.advance(1);
      expect(queue.counts.ready).toBe(0);
    });

    rule('0: it reaches a consumer that waits, and nobody else', (h) => {
      const queue = h.declare('q', { 'x-message-ttl': int(0) });
      const consumer = consume(h, queue, { credit: 1 });
      publish(h, 'a', 'b');
      h.clock.advance(0);
      expect(consumer.bodies).toEqual(['a']);
      expect(queue.counts.ready).toBe(0);
    });

    rule('exact: each goes when it is due, at any place of the queue', async (h) => {
      const letters = h.declare('dead');
      const queue = h.declare('q', dead);
      for (const [body, ttlMs] of Object.entries({ a: 5000, b: 10, c: 3000, d: 10_000, e: 1 })) {
        h.publish('q', body, { ttlMs });
      }
      publish(h, 'f');
      const gone: [number, number][] = [];
      for (const afterMs of [1, 9, 2989, 1, 1999, 1, 5000]) {
        h.clock.advance(afterMs);
        gone.push([afterMs, letters.counts.ready]);
      }
      expect(gone.map(([, count]) => count)).toEqual([1, 2, 2, 3, 3, 4, 5]);
      expect(await drain(letters)).toEqual(['e', 'b', 'c', 'a', 'd']);
      expect(await drain(queue)).toEqual(['f']);
    });

    rule('what came back expires when it would have', async (h) => {
      const queue = h.declare('q', { 'x-message-ttl': int(1000) });
      publish(h, 'm');
      const entry = await queue.get();
      h.clock.advance(999);
      entry?.requeue();
      expect(queue.counts.ready).toBe(1);
      h.clock.advance(1);
      expect(queue.counts.ready).toBe(0);
    });

    rule('x-expires: a queue that nobody uses goes; publishing to it is no use', (h) => {
      const queue = h.declare('q', { 'x-expires': int(minute) });
      const consumer = consume(h, queue);
      h.clock.advance(2 * minute);
      expect(queue.deleted).toBe(false);
      queue.detach(consumer);
      h.clock.advance(minute / 2);
      publish(h, 'a');
      h.clock.advance(minute / 2);
      expect(queue.deleted).toBe(true);
    });
  });

  describe('dead letters', () => {
    const reasons: Record<string, (h: QueueHarness) => void> = {
      rejected: (h) => {
        const queue = h.declare('q', dead);
        publish(h, 'm');
        consume(h, queue, { credit: 1 }).entries[0]?.reject();
      },
      expired: (h) => {
        h.declare('q', { ...dead, 'x-message-ttl': int(10) });
        publish(h, 'm');
        h.clock.advance(10);
      },
      maxlen: (h) => {
        h.declare('q', { ...dead, 'x-max-length': int(0) });
        publish(h, 'm');
      },
      delivery_limit: (h) => {
        const queue = h.declare('q', { ...dead, 'x-delivery-limit': int(0) });
        publish(h, 'm');
        consume(h, queue, { credit: 1 }).entries[0]?.requeue();
      },
    };
    for (const [reason, die] of Object.entries(reasons)) {
      rule(`${reason}: the message goes on, and says why`, async (h) => {
        const letters = h.declare('dead');
        die(h);
        const entry = await letters.get();
        expect(entry?.message.body.toString()).toBe('m');
        expect(entry?.message.deaths).toMatchObject([{ queue: 'q', reason, count: 1 }]);
        expect(entry?.message.properties.headers.get('x-first-death-reason')).toBe(reason);
        expect(h.vhost.queues.get('q')?.counts).toMatchObject({ ready: 0, unacked: 0 });
      });
    }

    rule('x-death: a row for each queue and reason, the latest first, counted', async (h) => {
      const letters = h.declare('dead', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'q' });
      const queue = h.declare('q', dead);
      publish(h, 'm');
      for (const each of [queue, letters, queue]) (await each.get())?.reject();
      expect((await letters.get())?.message.deaths).toMatchObject([
        { queue: 'q', reason: 'rejected', count: 2 },
        { queue: 'dead', reason: 'rejected', count: 1 },
      ]);
    });

    rule('a cycle that nobody rejects in is broken', (h) => {
      const cycle = { 'x-dead-letter-exchange': '', 'x-message-ttl': int(10) };
      h.declare('q', { ...cycle, 'x-dead-letter-routing-key': 'other' });
      const other = h.declare('other', { ...cycle, 'x-dead-letter-routing-key': 'q' });
      publish(h, 'm');
      h.clock.advance(100);
      expect(h.vhost.queues.get('q')?.counts.ready).toBe(0);
      expect(other.counts.ready).toBe(0);
    });

    rule('deadLetter.default: a queue has a .dlq of its own', async (h) => {
      setPolicy(h, { 'deadLetter.default': 'on' });
      const queue = h.declare('q');
      publish(h, 'm');
      (await queue.get())?.reject();
      expect(h.vhost.queues.get('q.dlq')?.counts.ready).toBe(1);
    });
  });

  describe('poison messages', () => {
    rule('x-delivery-limit: what comes back once more than that is dead', (h) => {
      const queue = h.declare('q', { 'x-delivery-limit': int(2) });
      const consumer = consume(h, queue, { credit: 1 });
      publish(h, 'm');
      for (let i = 0; i < 3; i++) again(consumer, queue);
      expect(consumer.bodies).toEqual(['m', 'm', 'm']);
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
    });

    rule('x-retry-delays: each return waits longer, invisible; then it is dead', (h) => {
      const letters = h.declare('dead');
      const queue = h.declare('q', { 'x-retry-delays': '1s,10s', ...dead });
      const consumer = consume(h, queue, { credit: 1 });
      publish(h, 'm');
      for (const delayMs of [1000, 10_000]) {
        again(consumer, queue);
        expect([queue.counts.ready, queue.counts.unacked, queue.waiting]).toEqual([0, 0, 1]);
        h.clock.advance(delayMs - 1);
        expect(queue.counts.unacked).toBe(0);
        h.clock.advance(1);
        expect(queue.counts.unacked).toBe(1);
      }
      again(consumer, queue);
      expect(letters.counts.ready).toBe(1);
    });
  });

  describe('limits', () => {
    rule('drop-head, the ring: the newest are kept', async (h) => {
      const queue = h.declare('q', { 'x-max-length': int(3) });
      publish(h, 'a', 'b', 'c', 'd', 'e');
      expect(await drain(queue)).toEqual(['c', 'd', 'e']);
    });

    rule('bytes count bodies that are ready', async (h) => {
      const queue = h.declare('q', { 'x-max-length-bytes': int(5) });
      publish(h, 'aaa', 'bb', 'c');
      expect(await drain(queue)).toEqual(['bb', 'c']);
    });

    rule('reject-publish: the publisher is told, and nothing is dropped', async (h) => {
      const queue = h.declare('q', { 'x-max-length': int(1), 'x-overflow': 'reject-publish' });
      expect([h.publish('q', 'a'), h.publish('q', 'b')]).toEqual(['routed', 'refused']);
      expect(await drain(queue)).toEqual(['a']);
    });

    rule('reject-publish-dlx: what is refused is a dead letter', (h) => {
      const letters = h.declare('dead');
      h.declare('q', { 'x-max-length': int(1), 'x-overflow': 'reject-publish-dlx', ...dead });
      publish(h, 'a');
      expect(h.publish('q', 'b')).toBe('refused');
      expect(letters.counts.ready).toBe(1);
    });
  });

  describe('block', () => {
    const full = { 'x-max-length': int(5), 'x-overflow': 'block' };

    rule('nothing is refused or dropped; the publisher waits until a fifth is free', async (h) => {
      const queue = h.declare('q', full);
      publish(h, '1', '2', '3', '4');
      expect(h.alarms).toEqual([]);
      expect([h.publish('q', '5'), h.publish('q', '6')]).toEqual(['routed', 'routed']);
      expect(h.alarms).toEqual(["queue 'q' is full"]);
      expect(await drain(queue, 1)).toEqual(['1']);
      h.clock.advance(0);
      expect(h.alarms).toHaveLength(1);
      expect(await drain(queue, 1)).toEqual(['2']);
      h.clock.advance(0);
      expect(h.alarms.at(-1)).toBeNull();
      expect(await drain(queue)).toEqual(['3', '4', '5', '6']);
    });

    rule('expiry lets it go on', (h) => {
      h.declare('q', { ...full, 'x-message-ttl': int(1000) });
      publish(h, '1', '2', '3', '4', '5');
      h.clock.advance(1000);
      expect(h.alarms).toEqual(["queue 'q' is full", null]);
    });
  });

  describe('delays', () => {
    rule('a message comes to the queue at its time and not before, the earliest first', (h) => {
      const queue = h.declare('q');
      const consumer = consume(h, queue);
      for (const [body, delayMs] of Object.entries({ a: 3000, b: 1000, c: 3000, d: 2000 })) {
        expect(h.publish('q', body, {}, delayMs)).toBe('routed');
      }
      publish(h, 'now');
      h.clock.advance(999);
      expect(consumer.bodies).toEqual(['now']);
      h.clock.advance(1);
      expect(consumer.bodies).toEqual(['now', 'b']);
      h.clock.advance(2000);
      expect(consumer.bodies).toEqual(['now', 'b', 'd', 'a', 'c']);
    });

    rule('its time to live begins when it comes', (h) => {
      const queue = h.declare('q');
      h.publish('q', 'm', { ttlMs: 500 }, minute);
      h.clock.advance(minute + 499);
      expect(queue.counts.ready).toBe(1);
      h.clock.advance(1);
      expect(queue.counts.ready).toBe(0);
    });

    rule('what is for later does not fill a queue, and is limited when it comes', (h) => {
      const queue = h.declare('q', { 'x-max-length': int(1), 'x-overflow': 'reject-publish' });
      for (const body of ['a', 'b']) expect(h.publish('q', body, {}, 10)).toBe('routed');
      expect(queue.counts.ready).toBe(0);
      h.clock.advance(10);
      expect(queue.counts.ready).toBe(1);
    });
  });

  describe('order and groups', () => {
    rule('a group goes in order to one consumer, others meanwhile to others', (h) => {
      const queue = h.declare('q', { 'x-message-groups': true });
      const [first, second] = [consume(h, queue), consume(h, queue, { credit: 1 })];
      for (const body of ['a1', 'b1', 'a2', 'b2', 'a3']) h.publish('q', body, { groupId: body[0]! });
      expect([first.bodies, second.bodies]).toEqual([['a1', 'a2', 'a3'], ['b1']]);
      queue.detach(second);
      second.entries[0]?.requeue();
      expect(first.bodies.slice(3)).toEqual(['b1', 'b2']);
    });

    rule('a single active consumer is served alone; the next takes over when it leaves', (h) => {
      const queue = h.declare('q', { 'x-single-active-consumer': true });
      const [first, second] = [consume(h, queue, { credit: 2 }), consume(h, queue)];
      expect([queue.isActive(first), queue.isActive(second)]).toEqual([true, false]);
      publish(h, 'a', 'b', 'c');
      queue.detach(first);
      for (const entry of first.entries) entry.requeue();
      publish(h, 'd');
      h.clock.advance(0);
      expect([first.bodies, second.bodies]).toEqual([
        ['a', 'b'],
        ['a', 'b', 'c', 'd'],
      ]);
      expect(() => consume(h, queue, { exclusive: true })).toThrow(/exclusive/);
    });
  });

  describe('a single active consumer of a quorum queue', () => {
    const quorum = { 'x-single-active-consumer': true, 'x-queue-type': 'quorum' };

    rule('one of a higher priority takes over when nothing is unacked; meanwhile nobody is served', (h) => {
      if (!h.declare('any').spec.durable) return; // quorum queues are durable
      const queue = h.declare('q', quorum);
      const low = consume(h, queue, { credit: 3 });
      publish(h, 'a', 'b');
      const high = consume(h, queue, { priority: 1 });
      publish(h, 'c');
      expect([low.bodies, high.bodies]).toEqual([['a', 'b'], []]);
      low.entries[0]?.ack();
      expect(queue.isActive(low)).toBe(true);
      low.entries[1]?.requeue();
      h.clock.advance(0);
      expect(queue.isActive(high)).toBe(true);
      expect([low.bodies, high.bodies]).toEqual([
        ['a', 'b'],
        ['b', 'c'],
      ]);
    });

    rule('one of the same priority waits, and so does any in a classic queue', (h) => {
      const classic = h.declare('q', { 'x-single-active-consumer': true });
      const [first, second] = [consume(h, classic), consume(h, classic, { priority: 1 })];
      expect([classic.isActive(first), classic.isActive(second)]).toEqual([true, false]);
    });
  });

  describe('deduplication', () => {
    rule('an id within the window is confirmed and not kept again, consumed or not', async (h) => {
      const queue = h.declare('q', { 'x-deduplication': true, 'x-deduplication-window': '1m' });
      for (const body of ['first', 'again']) expect(h.publish('q', body, { messageId: 'i' })).toBe('routed');
      expect(await drain(queue)).toEqual(['first']);
      h.publish('q', 'late', { messageId: 'i' });
      expect(queue.counts.ready).toBe(0);
      h.clock.advance(minute + 1);
      h.publish('q', 'new', { messageId: 'i' });
      expect(await drain(queue)).toEqual(['new']);
    });

    rule('x-deduplication-id goes before the message id; without an id all are new', (h) => {
      const queue = h.declare('q', { 'x-deduplication': true });
      h.publish('q', '1', { messageId: 'a', ...header('x-deduplication-id', 'x') });
      h.publish('q', '2', { messageId: 'b', ...header('x-deduplication-id', 'x') });
      publish(h, '3', '3');
      expect(queue.counts.ready).toBe(3);
    });
  });

  describe('visibility and pace', () => {
    rule('x-ack-timeout: what is kept too long goes to another consumer, and a late ack settles nothing', (h) => {
      const queue = h.declare('q', { 'x-ack-timeout': '30s' });
      const first = consume(h, queue, { credit: 1 });
      publish(h, 'm');
      const second = consume(h, queue, { credit: 1 });
      h.clock.advance(30_000);
      expect(second.entries.map(({ redelivered }) => redelivered)).toEqual([true]);
      first.entries[0]?.ack();
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 1 });
    });

    rule('x-ack-timeout: what returns has its place, ahead of what came after it', async (h) => {
      const queue = h.declare('q', { 'x-ack-timeout': '30s' });
      consume(h, queue, { credit: 2 });
      publish(h, 'a', 'b', 'c');
      h.clock.advance(30_000);
      expect(await drain(queue)).toEqual(['a', 'b', 'c']);
    });

    rule('x-ack-timeout: a group keeps its order, and goes to a consumer that does not hang', (h) => {
      const queue = h.declare('q', { 'x-ack-timeout': '30s', 'x-message-groups': true });
      consume(h, queue, { credit: 2 });
      for (const body of ['a1', 'a2', 'a3', 'a4']) h.publish('q', body, { groupId: 'a' });
      const other = consume(h, queue, { credit: 4 });
      expect(other.bodies).toEqual([]);
      h.clock.advance(30_000);
      expect(other.bodies).toEqual(['a1', 'a2', 'a3', 'a4']);
    });

    for (const selector of [undefined, () => true]) {
      rule(`x-rate-limit: deliveries are paced${selector === undefined ? '' : ', those of selectors too'}`, (h) => {
        const queue = h.declare('q', { 'x-rate-limit': '100/s' });
        for (let i = 0; i < 500; i++) publish(h, String(i));
        const options = selector === undefined ? {} : { selector };
        const consumers = [consume(h, queue, options), consume(h, queue, options)];
        const delivered = () => consumers.reduce((sum, { bodies }) => sum + bodies.length, 0);
        expect(delivered()).toBeLessThanOrEqual(1);
        h.clock.advance(1000);
        expect(delivered()).toBeGreaterThan(95);
        expect(delivered()).toBeLessThanOrEqual(102);
        h.clock.advance(2000);
        expect(Math.abs(delivered() - 300)).toBeLessThanOrEqual(15);
      });
    }
  });

  describe('last values, and looking', () => {
    rule('x-last-value-key: the newest of each value is kept', async (h) => {
      const queue = h.declare('q', { 'x-last-value-key': 'k' });
      for (const body of ['a1', 'b1', 'a2']) h.publish('q', body, header('k', body[0]!));
      expect(await drain(queue)).toEqual(['b1', 'a2']);
    });

    rule('browsing takes nothing', async (h) => {
      const queue = h.declare('q');
      publish(h, 'a', 'b');
      const seen = await queue.browse(null, 1);
      expect(seen.map(({ message }) => message.body.toString())).toEqual(['a']);
      expect((await queue.browse(seen[0]!, 5)).map(({ message }) => message.body.toString())).toEqual(['b']);
      expect(queue.counts).toMatchObject({ ready: 2, unacked: 0 });
    });
  });

  describe('types, policies and other arguments', () => {
    rule('a quorum queue counts returns to a limit of 20; unknown types are refused', (h) => {
      const type = (name: string) => ({ 'x-queue-type': name });
      expect(() => h.declare('x', type('stream'))).toThrow(/unsupported queue type 'stream'/);
      const classic = h.declare('c', type('classic'));
      expect(classic.options.deliveryLimit).toBe(-1);
      h.declare('q', { 'x-queue-mode': 'lazy', 'x-queue-version': int(2) });
      if (classic.spec.durable) expect(h.declare('quorum', type('quorum')).options.deliveryLimit).toBe(20);
      else expect(() => h.declare('quorum', type('quorum'))).toThrow(/non-durable/);
    });

    rule('a policy holds at once for what waits, and lets go again; an operator’s caps it', (h) => {
      const queue = h.declare('q');
      publish(h, 'a', 'b', 'c');
      setPolicy(h, { 'max-length': 2 });
      expect(queue.counts.ready).toBe(2);
      h.vhost.operatorPolicies.set({
        name: 'cap',
        pattern: '.*',
        applyTo: 'queues',
        priority: 0,
        definition: { 'max-length': 1 },
      });
      expect(queue.counts.ready).toBe(1);
      expect(queue.policyDefinition).toEqual({ 'max-length': 1 });
      h.vhost.policies.delete('p');
      h.vhost.operatorPolicies.delete('cap');
      publish(h, 'd', 'e');
      expect(queue.counts.ready).toBe(3);
    });

    rule('other arguments are refused, and change the queue under redeclare: migrate', async (h) => {
      const queue = h.declare('q', { 'x-max-length': int(10) });
      publish(h, 'a', 'b', 'c');
      expect(() => h.declare('q', { 'x-max-length': int(2) })).toThrow(/inequivalent arg 'x-max-length'/);
      setPolicy(h, { redeclare: 'migrate' });
      expect(h.declare('q', { 'x-max-length': int(2), 'x-max-priority': int(5) })).toBe(queue);
      expect(queue.counts.ready).toBe(2);
      h.declare('q', { 'x-max-priority': int(5) });
      h.publish('q', 'high', { priority: 5 });
      expect(await drain(queue)).toEqual(['high', 'b', 'c']);
      expect(() => h.declare('q', { 'x-queue-type': 'quorum' })).toThrow(/inequivalent arg 'x-queue-type'/);
      expect(() => h.declare('q', { 'x-max-length': 'many' })).toThrow(/invalid arg 'x-max-length'/);
    });
  });
}

/** What is durable of it outlives the process. */
export function lastingQueueSuite(create: () => Promise<QueueHarness>): void {
  /** @param before what is done first, @param after what is found, in another process */
  function lasting(
    title: string,
    before: (harness: QueueHarness) => void | Promise<void>,
    after: (harness: QueueHarness, queue: LocalQueue) => void | Promise<void>,
  ): void {
    test(title, async () => {
      const harness = await create();
      await before(harness);
      const next = await harness.kill!();
      await after(next, next.vhost.queues.get('q')!);
    });
  }

  lasting(
    'messages are there in their order, those that were unacked too, and say so',
    async (h) => {
      const queue = h.declare('q');
      publish(h, 'a', 'b', 'c', 'd');
      (await queue.get())?.ack();
      await queue.get();
    },
    async (_, queue) => expect(await drain(queue)).toEqual(['b', 'c', 'd']),
  );

  lasting(
    'priorities',
    (h) => {
      h.declare('q', { 'x-max-priority': int(5) });
      for (const priority of [1, 5, 3]) h.publish('q', String(priority), { priority });
    },
    async (h, queue) => {
      h.publish('q', '4', { priority: 4 });
      expect(await drain(queue)).toEqual(['5', '4', '3', '1']);
    },
  );

  lasting(
    'a time to live goes on',
    (h) => {
      h.declare('q', { 'x-message-ttl': int(minute) });
      publish(h, 'm');
      h.clock.advance(minute - 1000);
    },
    async (h, queue) => {
      expect(queue.counts.ready).toBe(1);
      h.clock.advance(1000);
      await h.idle();
      expect(queue.counts.ready).toBe(0);
    },
  );

  lasting(
    'each expires when it is due, whatever is ahead of it',
    (h) => {
      h.declare('dead');
      h.declare('q', dead);
      for (const [body, ttlMs] of Object.entries({ a: minute, b: 2000, c: 1000 })) h.publish('q', body, { ttlMs });
      publish(h, 'd');
    },
    async (h, queue) => {
      const letters = h.vhost.queues.get('dead')!;
      for (const [ms, count] of [
        [999, 0],
        [1, 1],
        [999, 1],
        [1, 2],
        [minute - 2001, 2],
        [1, 3],
      ] as const) {
        h.clock.advance(ms);
        await h.idle();
        expect(letters.counts.ready).toBe(count);
      }
      expect(await drain(letters)).toEqual(['c', 'b', 'a']);
      expect(await drain(queue)).toEqual(['d']);
    },
  );

  lasting(
    'what is for later comes at its time, once; what is overdue at the start',
    (h) => {
      h.declare('q');
      h.publish('q', 'late', {}, 2 * minute);
      h.publish('q', 'soon', {}, minute);
    },
    async (h, queue) => {
      h.clock.advance(minute - 1);
      await h.idle();
      expect(queue.counts.ready).toBe(0);
      h.clock.advance(1);
      await h.idle();
      expect(queue.counts.ready).toBe(1);
      const next = await h.kill!();
      next.clock.advance(minute);
      await next.idle();
      expect(await drain(next.vhost.queues.get('q')!)).toEqual(['soon', 'late']);
    },
  );

  lasting(
    'a queue that blocks its publishers has lost nothing, and blocks again',
    (h) => {
      h.declare('q', { 'x-max-length': int(3), 'x-overflow': 'block' });
      publish(h, '1', '2', '3', '4');
    },
    async (h, queue) => {
      await h.idle();
      expect(h.publish('q', '5')).toBe('routed');
      expect(h.alarms).toEqual(["queue 'q' is full"]);
      expect(await drain(queue)).toEqual(['1', '2', '3', '4', '5']);
      h.clock.advance(0);
      expect(h.alarms.at(-1)).toBeNull();
    },
  );

  lasting(
    'a dead letter is in one of the two queues, with its death',
    async (h) => {
      h.declare('dead');
      const queue = h.declare('q', dead);
      publish(h, 'm');
      (await queue.get())?.reject();
    },
    async (h, queue) => {
      expect(queue.counts.ready).toBe(0);
      expect((await h.vhost.queues.get('dead')!.get())?.message.deaths).toMatchObject([
        { queue: 'q', reason: 'rejected', count: 1 },
      ]);
    },
  );

  lasting(
    'returns are counted on',
    async (h) => {
      const queue = h.declare('q', { 'x-delivery-limit': int(3) });
      publish(h, 'm');
      for (let i = 0; i < 2; i++) (await queue.get())?.requeue();
    },
    async (_, queue) => {
      for (const count of [2, 3]) {
        const entry = await queue.get();
        expect(entry?.deliveryCount).toBe(count);
        entry?.requeue();
      }
      expect(queue.counts).toMatchObject({ ready: 0, unacked: 0 });
    },
  );

  lasting(
    'what waits to be delivered again waits on',
    async (h) => {
      const queue = h.declare('q', { 'x-retry-delays': '1m' });
      publish(h, 'm');
      (await queue.get())?.requeue();
      h.clock.advance(minute / 2);
    },
    async (h, queue) => {
      const consumer = consume(h, queue);
      await h.idle();
      h.clock.advance(minute / 2 - 1);
      expect(consumer.bodies).toEqual([]);
      h.clock.advance(1);
      expect(consumer.bodies).toEqual(['m']);
    },
  );

  lasting(
    'what a consumer kept too long has its place',
    (h) => {
      const queue = h.declare('q', { 'x-ack-timeout': '30s', 'x-delivery-limit': int(5) });
      publish(h, 'a', 'b');
      consume(h, queue, { credit: 1 });
      publish(h, 'c');
      h.clock.advance(30_000);
      publish(h, 'd');
    },
    async (_, queue) => {
      const first = await queue.get();
      expect(first?.deliveryCount).toBe(1);
      first?.release();
      expect(await drain(queue)).toEqual(['a', 'b', 'c', 'd']);
    },
  );

  lasting(
    'an id within the window is known',
    async (h) => {
      const queue = h.declare('q', { 'x-deduplication': true, 'x-deduplication-window': '1m' });
      h.publish('q', 'first', { messageId: 'i' });
      (await queue.get())?.ack();
      h.clock.advance(minute / 2);
    },
    (h, queue) => {
      h.publish('q', 'again', { messageId: 'i' });
      expect(queue.counts.ready).toBe(0);
      h.clock.advance(minute / 2 + 1);
      h.publish('q', 'new', { messageId: 'i' });
      expect(queue.counts.ready).toBe(1);
    },
  );

  lasting(
    'a group has its order',
    async (h) => {
      const queue = h.declare('q', { 'x-message-groups': true });
      for (const body of ['a1', 'b1', 'a2', 'b2']) h.publish('q', body, { groupId: body[0]! });
      (await queue.get())?.ack();
    },
    async (h, queue) => {
      const consumers = [consume(h, queue, { credit: 1 }), consume(h, queue, { credit: 1 })];
      await h.idle();
      expect(consumers.map(({ bodies }) => bodies).sort()).toEqual([['a2'], ['b1']]);
    },
  );

  lasting(
    'of each value the newest is there',
    (h) => {
      h.declare('q', { 'x-last-value-key': 'k' });
      for (const body of ['a1', 'b1', 'a2']) h.publish('q', body, header('k', body[0]!));
    },
    async (h, queue) => {
      await h.idle();
      h.publish('q', 'b2', header('k', 'b'));
      expect(await drain(queue)).toEqual(['a2', 'b2']);
    },
  );

  lasting(
    'a limit drops what came back with the process that had it',
    async (h) => {
      const queue = h.declare('q', { 'x-max-length': int(2) });
      publish(h, 'a', 'b');
      await queue.get();
      publish(h, 'c');
    },
    async (h, queue) => {
      await h.idle();
      expect(await drain(queue)).toEqual(['b', 'c']);
    },
  );

  lasting(
    'policies and arguments that were changed hold',
    (h) => {
      h.declare('q', { 'x-max-length': int(10) });
      setPolicy(h, { redeclare: 'migrate', 'message-ttl': minute });
      h.declare('q', { 'x-max-length': int(1) });
    },
    (h, queue) => {
      publish(h, 'a', 'b');
      expect(queue.counts.ready).toBe(1);
      expect(queue.options).toMatchObject({ maxLength: 1, messageTtlMs: minute, migrates: true });
    },
  );
}

function publish(harness: QueueHarness, ...bodies: string[]): void {
  for (const body of bodies) harness.publish('q', body);
}

function consume(harness: QueueHarness, queue: LocalQueue, options: ConsumerOptions = {}): TestConsumer {
  const consumer = new TestConsumer(harness.client, options);
  queue.attach(consumer);
  return consumer;
}

/** The consumer gives back what it was given last, and is ready for another. */
function again(consumer: TestConsumer, queue: LocalQueue): void {
  consumer.entries.at(-1)?.requeue();
  consumer.grant(1, queue);
}

/** Takes and acks what is ready, `max` messages at most. */
async function drain(queue: LocalQueue, max = Number.POSITIVE_INFINITY): Promise<string[]> {
  const bodies: string[] = [];
  for (let entry: QueueEntry | undefined; bodies.length < max; entry.ack()) {
    entry = await queue.get();
    if (entry === undefined) break;
    bodies.push(entry.message.body.toString());
  }
  return bodies;
}

function setPolicy({ vhost }: QueueHarness, definition: Readonly<Record<string, string | number | boolean>>): void {
  vhost.policies.set({ name: 'p', pattern: '^q$', applyTo: 'queues', priority: 0, definition });
}

/** As `declareQueue` wants it. */
export function specOf(name: string, durable: boolean, args: Readonly<Record<string, Value>>) {
  const headers: Headers = new Map(Object.entries(args));
  return { name, durable, autoDelete: false, exclusiveTo: null, arguments: headers };
}
