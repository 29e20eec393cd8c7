import { expect, test } from 'vitest';
import { int } from '../support/core.ts';
import { QueueHouse } from '../support/queue-house.ts';
import { type Name, openers, type QueueScript } from '../support/queue-scripts.ts';

/** What a queue promises holds for all protocols alike: each publishes, and each consumes. */

const house = QueueHouse.open();
const names = Object.keys(openers) as Name[];

async function bodies(consumer: QueueScript, count: number): Promise<string[]> {
  const found: string[] = [];
  while (found.length < count) {
    found.push(await consumer.next());
    consumer.ack();
  }
  return found;
}

/** A consumer of each protocol beside one of the next. */
const pairs = names.map((name, i) => [name, names[(i + 1) % names.length]!] as const);

test.each(pairs)(
  'a group that all protocols publish to goes in order to one consumer: %s, not %s',
  async (one, other) => {
    const queue = await house.declare({ 'x-message-groups': true });
    const first = await house.script(one, queue);
    const second = await house.script(other, queue);
    await first.consume(1);
    await second.consume(10);
    const publishers = await Promise.all(names.map((name) => house.script(name, queue)));
    await publishers[0]!.publish('a0', { group: 'a' });
    expect(await first.next()).toBe('a0'); // it came first
    for (const [i, publisher] of publishers.entries()) {
      await publisher.publish(`a${i + 1}`, { group: 'a' });
      await publisher.publish(`b${i}`, { group: 'b' });
    }
    expect(await bodies(second, 4)).toEqual(['b0', 'b1', 'b2', 'b3']);
    first.ack();
    expect(await bodies(first, 4)).toEqual(['a1', 'a2', 'a3', 'a4']);
  },
);

test.each(pairs)('the groups of a consumer that leaves go on with another: %s, then %s', async (one, other) => {
  const queue = await house.declare({ 'x-message-groups': true });
  const first = await house.script(one, queue);
  const second = await house.script(other, queue);
  const publisher = await house.script('ST', queue);
  await first.consume(2);
  for (const body of ['a1', 'a2', 'a3']) await publisher.publish(body, { group: 'a' });
  expect([await first.next(), await first.next()]).toEqual(['a1', 'a2']);
  await second.consume(1);
  first.close();
  expect(await bodies(second, 3)).toEqual(['a1', 'a2', 'a3']);
});

test.each(pairs)('an id that %s published is known when %s publishes it again', async (one, other) => {
  const queue = await house.declare({ 'x-deduplication': true });
  await (await house.script(one, queue)).publish('first', { id: 'i' });
  await (await house.script(other, queue)).publish('again', { id: 'i' });
  await (await house.script(other, queue)).publish('other', { id: 'j' });
  const consumer = await house.script(one, queue);
  await consumer.consume(10);
  expect(await bodies(consumer, 2)).toEqual(['first', 'other']);
});

test.each(pairs)('of the values that all publish the newest is kept: %s, %s', async (one, other) => {
  const queue = await house.declare({ 'x-last-value-key': 'k' });
  const [first, second] = [await house.script(one, queue), await house.script(other, queue)];
  await first.publish('a1', { k: 'a' });
  await second.publish('b1', { k: 'b' });
  await second.publish('a2', { k: 'a' });
  await first.publish('b2', { k: 'b' });
  const consumer = await house.script(other, queue);
  await consumer.consume(10);
  expect(await bodies(consumer, 2)).toEqual(['a2', 'b2']);
});

test.each(names)('priorities that all publish are in order for %s', async (name) => {
  const queue = await house.declare({ 'x-max-priority': int(9) });
  const priorities: Record<Name, number> = { '091': 2, '1.0': 7, M5: 4, ST: 9 };
  for (const [from, priority] of Object.entries(priorities) as [Name, number][]) {
    await (await house.script(from, queue)).publish(from, { priority });
  }
  const consumer = await house.script(name, queue);
  await consumer.consume(1);
  expect(await bodies(consumer, 4)).toEqual(['ST', '1.0', 'M5', '091']);
});

test.each(names.filter((name) => name !== 'M5'))(
  'what %s gives back too often is a dead letter for all',
  async (name) => {
    const letters = await house.declare({});
    const queue = await house.declare({
      'x-delivery-limit': int(2),
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': letters,
    });
    await (await house.script('M5', queue)).publish('m');
    const consumer = await house.script(name, queue);
    await consumer.consume(1);
    for (let i = 0; i < 3; i++) {
      expect(await consumer.next()).toBe('m');
      consumer.fail!();
    }
    const reader = await house.script('M5', letters);
    await reader.consume(1);
    expect(await bodies(reader, 1)).toEqual(['m']);
  },
);

test.each(pairs)('what %s keeps too long goes to %s', async (one, other) => {
  const queue = await house.declare({ 'x-ack-timeout': '200ms' });
  const [first, second] = [await house.script(one, queue), await house.script(other, queue)];
  await (await house.script('091', queue)).publish('m');
  await first.consume(1);
  expect(await first.next()).toBe('m');
  await second.consume(1);
  expect(await bodies(second, 1)).toEqual(['m']);
});

test.each(pairs)('a single active consumer of %s hands over to one of %s', async (one, other) => {
  const queue = await house.declare({ 'x-single-active-consumer': true });
  const [first, second] = [await house.script(one, queue), await house.script(other, queue)];
  await first.consume(1);
  await second.consume(10);
  const publisher = await house.script('1.0', queue);
  for (const body of ['1', '2', '3']) await publisher.publish(body);
  expect(await first.next()).toBe('1');
  await second.settled();
  first.close();
  expect(await bodies(second, 3)).toEqual(['1', '2', '3']);
});

test.each(names)('%s is paced by a rate', async (name) => {
  const queue = await house.declare({ 'x-rate-limit': '50/s' });
  const publisher = await house.script('091', queue);
  for (let i = 0; i < 11; i++) await publisher.publish(String(i));
  const consumer = await house.script(name, queue);
  const beganMs = performance.now();
  await consumer.consume(100);
  await bodies(consumer, 11);
  expect(performance.now() - beganMs).toBeGreaterThan(190); // never sooner; later on a busy machine
});
