import { expect, test } from 'vitest';
import type { Properties, Value } from '../../../../src/core/properties.ts';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { Core, int, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

type ConsumerOptions = ConstructorParameters<typeof TestConsumer>[1];

const valued = (value: Value) => ({ headers: new Map([['stock', value]]) });

class Rig {
  readonly core = new Core();
  readonly queue: LocalQueue;

  constructor(args: Readonly<Record<string, Value>> = {}) {
    this.queue = this.core.declare('q', { 'x-last-value-key': 'stock', ...args }) as LocalQueue;
  }

  /** The first letter of the body is the value. */
  publish(...bodies: string[]): void {
    for (const body of bodies) this.core.publish('', 'q', body, valued(body[0]!));
  }

  send(body: string, properties: Partial<Properties>): string {
    return this.core.publish('', 'q', body, properties);
  }

  consume(options: ConsumerOptions = {}): TestConsumer {
    const consumer = new TestConsumer(this.core.client, options);
    this.queue.attach(consumer);
    return consumer;
  }

  get bodies(): string[] {
    return (this.queue.browse(null, 100) as readonly QueueEntry[]).map(({ message }) => message.body.toString());
  }
}

test('of the messages that wait with one value the newest is kept, in its own place', () => {
  const rig = new Rig();
  rig.publish('a1', 'b1', 'a2', 'c1', 'a3', 'b2');
  expect(rig.bodies).toEqual(['c1', 'a3', 'b2']);
  expect(rig.queue.counts.ready).toBe(3);
  expect(rig.queue.readyBytes).toBe(6);
  expect(rig.queue.replaced).toBe(3);
  expect(rig.consume().bodies).toEqual(['c1', 'a3', 'b2']);
});

test('a message without the value replaces nothing, and is not replaced', () => {
  const rig = new Rig();
  rig.send('1', {});
  rig.publish('a1');
  rig.send('2', { headers: new Map([['other', 'a']]) });
  expect(rig.bodies).toEqual(['1', 'a1', '2']);
});

test.each<[string, Value, Value]>([
  ['text', 'x', 'x'],
  ['a number, whatever its width', int(1), { type: 'long', value: 1n }],
  ['a boolean', true, true],
  ['binary', Buffer.from([1, 2]), Buffer.from([1, 2])],
])('the value may be %s', (_, one, other) => {
  const rig = new Rig();
  rig.send('1', valued(one));
  rig.send('2', valued(other));
  expect(rig.bodies).toEqual(['2']);
});

test.each<[string, Partial<Properties>]>([
  ['message-id', { messageId: 'v' }],
  ['subject', { subject: 'v' }],
  ['correlation-id', { correlationId: 'v' }],
  ['group-id', { groupId: 'v' }],
  ['routing-key', {}],
])('the key may be the name of a property: %s', (key, properties) => {
  const rig = new Rig({ 'x-last-value-key': key });
  rig.send('1', properties);
  rig.send('2', properties);
  expect(rig.bodies).toEqual(['2']);
});

test('what a consumer has is not replaced: the newer one waits behind it', () => {
  const rig = new Rig();
  const consumer = rig.consume({ credit: 1 });
  rig.publish('a1', 'a2', 'a3');
  expect(rig.bodies).toEqual(['a3']);
  expect(rig.queue.counts).toMatchObject({ ready: 1, unacked: 1 });
  consumer.entries[0]!.ack();
  consumer.grant(1, rig.queue);
  expect(consumer.bodies).toEqual(['a1', 'a3']);
});

test('what comes back is dropped if a newer one waits, and else has its place', () => {
  const rig = new Rig();
  const consumer = rig.consume({ credit: 3 });
  rig.publish('a1', 'b1', 'a2');
  rig.publish('a3');
  const [a1, b1, a2] = consumer.entries;
  for (const entry of [a1, b1, a2]) entry!.requeue();
  expect(rig.bodies).toEqual(['b1', 'a3']);
  expect(rig.queue.counts).toMatchObject({ ready: 2, unacked: 0 });
});

test.each([
  [0, 1],
  [1, 0],
])('of several that come back the newest is kept, whichever comes first: %i, %i', (...order) => {
  const rig = new Rig();
  const consumer = rig.consume({ credit: 2 });
  rig.publish('a1', 'a2');
  for (const index of order) consumer.entries[index]!.requeue();
  expect(rig.bodies).toEqual(['a2']);
});

test('what was replaced while it waited to be delivered again is dropped', () => {
  const rig = new Rig({ 'x-retry-delays': '1s' });
  const consumer = rig.consume({ credit: 1 });
  rig.publish('a1');
  consumer.entries[0]!.requeue();
  rig.publish('a2');
  rig.core.clock.advance(2000);
  expect(rig.bodies).toEqual(['a2']);
  expect(rig.queue.waiting).toBe(0);
});

test('what is out of date does not come back after an ack timeout', () => {
  const rig = new Rig({ 'x-ack-timeout': '1s' });
  rig.consume({ credit: 1 });
  rig.publish('a1', 'a2');
  rig.core.clock.advance(2000);
  expect(rig.bodies).toEqual(['a2']);
});

test('a newer value is taken by a full queue, for the older makes room', () => {
  const rig = new Rig({ 'x-max-length': int(2), 'x-overflow': 'reject-publish' });
  rig.publish('a1', 'b1');
  expect(rig.send('c1', valued('c'))).toBe('refused');
  expect(rig.send('a2', valued('a'))).toBe('routed');
  expect(rig.bodies).toEqual(['b1', 'a2']);
});

test('it is no dead letter that is replaced', () => {
  const rig = new Rig({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  const dead = rig.core.declare('dead');
  rig.publish('a1', 'a2');
  expect(dead.counts.ready).toBe(0);
});

test('with priorities and groups it is the same', () => {
  const rig = new Rig({ 'x-max-priority': int(3), 'x-message-groups': true });
  const consumer = rig.consume({ credit: 1 });
  rig.send('1', { groupId: 'g', priority: 1 });
  rig.send('2', { groupId: 'g', priority: 3, ...valued('a') });
  rig.send('3', { groupId: 'g', priority: 0, ...valued('a') });
  consumer.entries[0]!.ack();
  consumer.grant(5, rig.queue);
  expect(consumer.bodies).toEqual(['1', '3']);
});

test('a policy makes a living queue keep last values only, and lets go of it again', () => {
  const rig = new Rig();
  const { policies } = rig.core.vhost;
  const queue = rig.core.declare('p');
  const publish = (body: string) => rig.core.publish('', 'p', body, valued(body[0]!));
  for (const body of ['a1', 'b1', 'a2']) publish(body);
  const applyTo = 'queues';
  policies.set({ name: 'l', pattern: '^p$', applyTo, priority: 0, definition: { 'last-value-key': 'stock' } });
  expect(queue.counts.ready).toBe(2);
  publish('b2');
  expect(queue.counts.ready).toBe(2);
  policies.delete('l');
  publish('b3');
  expect(queue.counts.ready).toBe(3);
});

function declare(core: JournaledBroker): LocalQueue {
  return core.declare('q', { 'x-last-value-key': 'stock' }) as LocalQueue;
}

function send(core: JournaledBroker, body: string): void {
  core.send('q', body, { properties: valued(body.split('.')[0]!) });
}

async function restart(core: JournaledBroker, disk: SimulatedDisk): Promise<JournaledBroker> {
  await core.durable();
  return JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), { segmentBytes: 64 * 1024 });
}

async function settled(core: JournaledBroker): Promise<void> {
  for (let i = 0; i < 20; i++) {
    core.clock.advance(1);
    await new Promise(setImmediate);
  }
}

function page(core: JournaledBroker, queue: LocalQueue): void {
  queue.page({ store: core.journal.cold, sliceEntries: 8192, failed: () => expect.fail() }, 16);
}

async function all(core: JournaledBroker): Promise<string[]> {
  const consumer = new TestConsumer(core.client);
  const queue = core.vhost.queues.get('q')!;
  queue.attach(consumer);
  for (let i = 0; i < 100 && queue.counts.ready > 0; i++) await settled(core);
  return consumer.bodies;
}

test('after a restart the newest of each value is there, and is replaced by what comes then', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  declare(core);
  for (const body of ['a.1', 'b.1', 'a.2', 'c.1']) send(core, body);
  const again = await restart(core, disk);
  const queue = again.vhost.queues.get('q')!;
  expect(queue.counts.ready).toBe(3);
  send(again, 'a.3');
  await settled(again);
  send(again, 'b.2');
  expect(queue.counts.ready).toBe(3);
  expect(await all(again)).toEqual(['c.1', 'a.3', 'b.2']);
  expect(queue.counts).toMatchObject({ ready: 0, unacked: 3 });
});

test('what a consumer had at the crash is dropped if a newer one was there', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  const queue = declare(core);
  queue.attach(new TestConsumer(core.client, { credit: 1 }));
  for (const body of ['a.1', 'a.2']) send(core, body);
  const again = await restart(core, disk);
  await settled(again);
  expect(again.vhost.queues.get('q')!.counts.ready).toBe(1);
  expect(await all(again)).toEqual(['a.2']);
});

test('what has left memory is replaced too, at once in the count', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  const queue = declare(core);
  for (let i = 0; i < 500; i++) send(core, `${i}.old`);
  await core.durable();
  page(core, queue);
  expect(queue.memoryEntries).toBe(16);
  const bytes = queue.readyBytes;
  for (let i = 0; i < 500; i += 2) send(core, `${i}.new`);
  expect(queue.counts.ready).toBe(500);
  expect(queue.readyBytes).toBe(bytes);
  await core.durable();
  page(core, queue);
  for (let i = 0; i < 500; i += 4) send(core, `${i}.now`);
  expect(queue.counts.ready).toBe(500);
  const expected = [
    ...Array.from({ length: 250 }, (_, i) => `${i * 2 + 1}.old`),
    ...Array.from({ length: 125 }, (_, i) => `${i * 4 + 2}.new`),
    ...Array.from({ length: 125 }, (_, i) => `${i * 4}.now`),
  ];
  const again = await restart(core, disk);
  for (const each of [core, again]) {
    expect(await all(each)).toEqual(expected);
    expect(each.vhost.queues.get('q')!.counts).toMatchObject({ ready: 0, unacked: 500 });
    expect(each.vhost.queues.get('q')!.readyBytes).toBe(0);
  }
});

test('what is stale and never read is let go of before it is most of the queue', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 1024 * 1024 });
  const queue = declare(core);
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 1000; i++) send(core, `${i}.${round}`);
    await core.durable();
    page(core, queue);
    await settled(core);
    expect(queue.counts.ready).toBe(1000);
  }
  const { lastValues } = queue as unknown as { lastValues: { staleCount: number } };
  expect(lastValues.staleCount).toBeLessThan(8000);
  expect(await all(core)).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}.11`));
});
