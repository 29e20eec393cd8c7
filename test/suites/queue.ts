import { expect, test } from 'vitest';
import type { Client } from '../../src/core/client.ts';
import type { Queue } from '../../src/core/queue/queue.ts';
import { type MessageOptions, TestConsumer } from '../support/core.ts';

/** What a suite needs of an implementation. */
export interface QueueHarness {
  readonly queue: Queue;
  readonly client: Client;
  publish(body: string, options?: MessageOptions): void;
}

/** What every queue does, whoever owns it. */
export function queueSuite(create: () => QueueHarness): void {
  function consume(harness: QueueHarness, options: ConstructorParameters<typeof TestConsumer>[1] = {}): TestConsumer {
    const consumer = new TestConsumer(harness.client, options);
    harness.queue.attach(consumer);
    return consumer;
  }

  test('messages wait in the order of their publishing, and are counted', async () => {
    const harness = create();
    for (const body of ['a', 'b', 'c']) harness.publish(body);
    expect(harness.queue.counts).toEqual({ ready: 3, unacked: 0, consumers: 0 });
    const consumer = consume(harness);
    expect(consumer.bodies).toEqual(['a', 'b', 'c']);
    expect(harness.queue.counts).toEqual({ ready: 0, unacked: 3, consumers: 1 });
  });

  test('consumers take turns', () => {
    const harness = create();
    const [first, second] = [consume(harness), consume(harness)];
    for (const body of ['a', 'b', 'c', 'd']) harness.publish(body);
    expect([first.bodies, second.bodies]).toEqual([
      ['a', 'c'],
      ['b', 'd'],
    ]);
  });

  test('a consumer without credit gets nothing, and is served when it has some again', () => {
    const harness = create();
    const consumer = consume(harness, { credit: 1 });
    harness.publish('a');
    harness.publish('b');
    expect(consumer.bodies).toEqual(['a']);
    consumer.grant(1, harness.queue);
    expect(consumer.bodies).toEqual(['a', 'b']);
  });

  test('of several consumers those of the highest priority are served first', () => {
    const harness = create();
    const low = consume(harness, { priority: -1 });
    const high = consume(harness, { priority: 5, credit: 2 });
    for (const body of ['a', 'b', 'c']) harness.publish(body);
    expect([high.bodies, low.bodies]).toEqual([['a', 'b'], ['c']]);
  });

  test('what is acked is gone, and acking it again changes nothing', () => {
    const harness = create();
    const consumer = consume(harness);
    harness.publish('a');
    harness.publish('b');
    consumer.entries[0]?.ack();
    consumer.entries[0]?.ack();
    expect(harness.queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  });

  test('what is requeued returns to its place, and says that it was delivered before', () => {
    const harness = create();
    const consumer = consume(harness, { credit: 3 });
    for (const body of ['a', 'b', 'c', 'd']) harness.publish(body);
    const [a, b, c] = consumer.entries;
    c?.requeue();
    a?.requeue();
    b?.requeue();
    consumer.grant(4, harness.queue);
    expect(consumer.bodies.slice(3)).toEqual(['a', 'b', 'c', 'd']);
    expect(consumer.entries.slice(3).map((entry) => entry.redelivered)).toEqual([true, true, true, false]);
    expect(a?.deliveryCount).toBe(1);
  });

  test('what is released was never delivered', () => {
    const harness = create();
    const consumer = consume(harness, { credit: 1 });
    harness.publish('a');
    const [entry] = consumer.entries;
    entry?.release();
    expect(entry).toMatchObject({ redelivered: false, deliveryCount: 0, state: 'ready' });
  });

  test('a consumer that settles by taking leaves nothing unacked', () => {
    const harness = create();
    harness.publish('before');
    const consumer = consume(harness, { settles: true });
    harness.publish('after');
    expect(consumer.bodies).toEqual(['before', 'after']);
    expect(harness.queue.counts).toMatchObject({ ready: 0, unacked: 0 });
  });

  test('an exclusive consumer is alone, whichever comes first', () => {
    const harness = create();
    const first = consume(harness, { exclusive: true });
    expect(() => consume(harness)).toThrow(/exclusive/);
    harness.queue.detach(first);
    consume(harness);
    expect(() => consume(harness, { exclusive: true })).toThrow(/exclusive/);
  });

  test('get takes the first, and nothing of an empty queue', async () => {
    const harness = create();
    harness.publish('a');
    const entry = await harness.queue.get();
    expect(entry?.message.body.toString()).toBe('a');
    expect(await harness.queue.get()).toBeUndefined();
    expect(harness.queue.counts).toMatchObject({ ready: 0, unacked: 1 });
  });

  test('purge removes what is ready and leaves what is unacked', async () => {
    const harness = create();
    const consumer = consume(harness, { credit: 1 });
    for (const body of ['a', 'b', 'c']) harness.publish(body);
    expect(await harness.queue.purge()).toBe(2);
    expect(harness.queue.counts).toMatchObject({ ready: 0, unacked: 1 });
    consumer.entries[0]?.requeue();
    expect(harness.queue.counts).toMatchObject({ ready: 1, unacked: 0 });
  });

  test('a detached consumer gets nothing more, and what it has is still its own', () => {
    const harness = create();
    const consumer = consume(harness);
    harness.publish('a');
    harness.queue.detach(consumer);
    harness.publish('b');
    expect(consumer.bodies).toEqual(['a']);
    expect(harness.queue.counts).toEqual({ ready: 1, unacked: 1, consumers: 0 });
  });
}
