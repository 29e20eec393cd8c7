import { expect, test } from 'vitest';
import type { Value } from '../../../../src/core/properties.ts';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import type { Queue } from '../../../../src/core/queue/queue.ts';
import { silent } from '../../../../src/lib/log.ts';
import { Core, drain, int, TestConsumer } from '../../../support/core.ts';

function take(queue: Queue): QueueEntry {
  const entry = queue.get() as QueueEntry | undefined;
  if (entry === undefined) throw new Error(`${queue.name} is empty`);
  return entry;
}

function header(entry: QueueEntry, name: string): Value | undefined {
  return entry.message.properties.headers.get(name);
}

const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

test('a rejected message goes to where its queue says, with its death beside it', () => {
  const core = new Core();
  const work = core.declare('work', toDead);
  const dead = core.declare('dead');
  core.publish('', 'work', 'm');
  take(work).reject();
  expect(work.counts).toMatchObject({ ready: 0, unacked: 0 });
  const entry = take(dead);
  expect(entry.message.routingKey).toBe('dead');
  expect(entry.message.deaths).toEqual([
    {
      queue: 'work',
      reason: 'rejected',
      count: 1,
      exchange: '',
      routingKeys: ['work'],
      timeMs: core.clock.nowMs,
      first: true,
      rerouted: true,
    },
  ]);
  expect(header(entry, 'x-first-death-queue')).toBe('work');
  expect(header(entry, 'x-last-death-reason')).toBe('rejected');
});

test('an expired message goes there without its expiration, which the death remembers', () => {
  const core = new Core();
  core.declare('work', toDead);
  const dead = core.declare('dead');
  core.publish('', 'work', 'm', { ttlMs: 50 });
  core.clock.advance(50);
  const entry = take(dead);
  expect(entry.message.properties.ttlMs).toBeUndefined();
  expect(entry.message.expiresAtMs).toBe(0);
  const [row] = header(entry, 'x-death') as Map<string, Value>[];
  expect([...(row?.keys() ?? [])]).toEqual([
    'count',
    'reason',
    'queue',
    'time',
    'exchange',
    'routing-keys',
    'original-expiration',
  ]);
  expect(row?.get('original-expiration')).toBe('50');
  expect(row?.get('count')).toEqual({ type: 'long', value: 1n });
});

test('deaths of one queue and reason are counted in one row, the latest first', () => {
  const core = new Core();
  const retry = core.declare('retry', {
    'x-message-ttl': int(10),
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'work',
  });
  const work = core.declare('work', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'retry' });
  core.publish('', 'work', 'm');
  for (let round = 0; round < 3; round++) {
    take(work).reject();
    expect(retry.counts.ready).toBe(1);
    core.clock.advance(10);
  }
  const { deaths } = take(work).message;
  expect(deaths.map(({ queue, reason, count, first }) => ({ queue, reason, count, first }))).toEqual([
    { queue: 'retry', reason: 'expired', count: 3, first: undefined },
    { queue: 'work', reason: 'rejected', count: 3, first: true },
  ]);
});

test('a message that comes back to its queue without having been rejected is dropped', () => {
  const core = new Core();
  const a = core.declare('a', {
    'x-message-ttl': int(10),
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'b',
  });
  const b = core.declare('b', {
    'x-message-ttl': int(10),
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'a',
  });
  core.publish('', 'a', 'm');
  core.clock.advance(10);
  expect(b.counts.ready).toBe(1);
  core.clock.advance(10);
  expect([a.counts.ready, b.counts.ready]).toEqual([0, 0]);
});

test('without a routing key of the queue the message keeps its own', () => {
  const core = new Core();
  core.vhost.declareExchange(core.client, {
    name: 'dlx',
    type: 'direct',
    durable: false,
    autoDelete: false,
    internal: false,
    arguments: new Map(),
  });
  const work = core.declare('work', { 'x-dead-letter-exchange': 'dlx' });
  const dead = core.declare('dead');
  core.vhost.bind(core.client, 'dlx', dead, 'work', new Map());
  core.publish('', 'work', 'm');
  take(work).reject();
  expect(take(dead).message).toMatchObject({ exchange: 'dlx', routingKey: 'work' });
});

test('a queue without dead-letter exchange, or one that does not exist, drops', () => {
  const core = new Core();
  const plain = core.declare('plain');
  const lost = core.declare('lost', { 'x-dead-letter-exchange': 'nowhere' });
  core.publish('', 'plain', 'm');
  core.publish('', 'lost', 'm');
  take(plain).reject();
  take(lost).reject();
  expect(core.vhost.publishedIn).toBe(2);
});

test('a chain of dead letters through many queues does not recurse', () => {
  const core = new Core();
  const depth = 2000;
  for (let i = 0; i < depth; i++) {
    core.declare(`q${i}`, {
      'x-max-length': int(0),
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': `q${i + 1}`,
    });
  }
  const last = core.declare(`q${depth}`);
  core.publish('', 'q0', 'm');
  expect(drain(last)).toEqual(['m']);
});

test('x-max-length drops the oldest ready message', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-length': int(2), ...toDead });
  const dead = core.declare('dead');
  for (const body of ['1', '2', '3']) core.publish('', 'q', body);
  expect(drain(queue)).toEqual(['2', '3']);
  const entry = take(dead);
  expect(entry.message.body.toString()).toBe('1');
  expect(header(entry, 'x-first-death-reason')).toBe('maxlen');
});

test('x-max-length-bytes counts the bodies of ready messages, not of unacked ones', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-length-bytes': int(4) });
  const consumer = new TestConsumer(core.client, { credit: 1 });
  queue.attach(consumer);
  for (const body of ['aaa', 'bb', 'cc', 'd']) core.publish('', 'q', body);
  expect(consumer.bodies).toEqual(['aaa']);
  expect(queue.readyBytes).toBe(3);
  expect(drain(queue)).toEqual(['cc', 'd']);
});

test.each([
  ['reject-publish', 0],
  ['reject-publish-dlx', 1],
])('%s refuses what is too much', (overflow, deadLetters) => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-length': int(1), 'x-overflow': overflow, ...toDead });
  const dead = core.declare('dead');
  expect(core.publish('', 'q', '1')).toBe('routed');
  expect(core.publish('', 'q', '2')).toBe('refused');
  expect(drain(queue)).toEqual(['1']);
  expect(dead.counts.ready).toBe(deadLetters);
});

// As RabbitMQ 3.10 does, which warns of it.
test('a quorum queue takes reject-publish-dlx, and makes room all the same', () => {
  const warnings: string[] = [];
  const log = { ...silent, warn: (_facts: object, text: string) => warnings.push(text) };
  const core = new Core({ log });
  const args = { 'x-queue-type': 'quorum', 'x-max-length': int(2), 'x-overflow': 'reject-publish-dlx', ...toDead };
  const queue = core.declare('q', args, true);
  const dead = core.declare('dead');
  for (const body of ['0', '1', '2', '3']) expect(core.publish('', 'q', body)).toBe('routed');
  expect(drain(queue)).toEqual(['2', '3']);
  expect(drain(dead)).toEqual(['0', '1']);
  expect(warnings).toEqual([expect.stringMatching(/reject-publish-dlx.*quorum/)]);
});

test('x-max-priority serves the highest first, and what has no priority last', () => {
  const core = new Core();
  const queue = core.declare('q', { 'x-max-priority': int(5) });
  core.publish('', 'q', 'none');
  core.publish('', 'q', 'three', { priority: 3 });
  core.publish('', 'q', 'nine', { priority: 9 });
  core.publish('', 'q', 'five', { priority: 5 });
  expect(drain(queue)).toEqual(['nine', 'five', 'three', 'none']);
});
