import { expect, test } from 'vitest';
import type { Client } from '../../../../src/core/client.ts';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import { Core, createClient, createMessage, drain, int } from '../../../support/core.ts';

const block = { 'x-max-length': int(5), 'x-overflow': 'block' };

/** A publisher that remembers what it was told. */
function publisher(core: Core): {
  client: Client;
  told: (string | null)[];
  publish(queue: string, body?: string): void;
} {
  const told: (string | null)[] = [];
  const client: Client = { ...createClient(core.vhost), onAlarm: (why) => told.push(why) };
  core.broker.addClient(client);
  const publish = (queue: string, body = 'm'): void => {
    const message = createMessage(body, { key: queue, publisher: client });
    core.vhost.publish(core.vhost.routeFor('', queue), message, null, 0);
  };
  return { client, told, publish };
}

test('who fills a queue waits until a fifth of it is free; nothing is refused or dropped', () => {
  const core = new Core();
  const queue = core.declare('q', block);
  const { told, publish } = publisher(core);
  const other = publisher(core);
  for (let i = 0; i < 4; i++) publish('q');
  expect(told).toEqual([]);
  publish('q');
  expect([told, other.told]).toEqual([["queue 'q' is full"], []]);
  publish('q'); // it was under way
  expect(queue.counts.ready).toBe(6);
  const [first, second] = [queue.get() as QueueEntry, queue.get() as QueueEntry];
  core.clock.advance(1);
  expect(told).toHaveLength(1 + 1);
  expect(told.at(-1)).toBeNull();
  first.ack();
  second.ack();
  expect([drain(queue).length, told.length]).toEqual([4, 2]);
});

test('octets fill it too', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-length-bytes': int(10), 'x-overflow': 'block' });
  const { told, publish } = publisher(core);
  publish('q', '0123456789');
  expect(told).toEqual(["queue 'q' is full"]);
  drain(queue);
  core.clock.advance(0);
  expect(told.at(-1)).toBeNull();
});

test.each(['purged', 'deleted', 'expired', 'limited otherwise'])('what is %s lets its publishers go', (how) => {
  const core = new Core();
  const ttl = { 'x-message-ttl': int(1000), 'x-redeclare': 'migrate' };
  const queue = core.declare('q', { ...block, ...ttl });
  const { told, publish } = publisher(core);
  for (let i = 0; i < 5; i++) publish('q');
  if (how === 'purged') queue.purge();
  else if (how === 'deleted') core.vhost.deleteQueue(core.client, 'q', false, false);
  else if (how === 'expired') core.clock.advance(1000);
  else core.declare('q', { ...block, ...ttl, 'x-max-length': int(100) });
  core.clock.advance(0);
  expect(told).toEqual(["queue 'q' is full", null]);
});

test('two full queues hold a publisher until both have room; an alarm of the broker goes before', () => {
  const core = new Core();
  const [a, b] = [core.declare('a', block), core.declare('b', block)];
  const { client, told, publish } = publisher(core);
  for (let i = 0; i < 5; i++) publish('a');
  for (let i = 0; i < 5; i++) publish('b');
  expect(told).toEqual(["queue 'a' is full"]);
  core.broker.setAlarm('memory');
  drain(a);
  core.clock.advance(0);
  core.broker.setAlarm(null);
  expect(told).toEqual(["queue 'a' is full", 'memory', "queue 'b' is full"]);
  drain(b);
  core.clock.advance(0);
  expect(told.at(-1)).toBeNull();
  core.broker.clientGone(client);
});
