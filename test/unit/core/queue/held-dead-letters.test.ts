import { expect, test } from 'vitest';
import type { Value } from '../../../../src/core/properties.ts';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { silent } from '../../../../src/lib/log.ts';
import { SegmentJournal } from '../../../../src/storage/journal.ts';
import { Core, drain, int, ManualClock, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { Random } from '../../../support/random.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const safe = {
  'x-queue-type': 'quorum',
  'x-overflow': 'reject-publish',
  'x-dead-letter-strategy': 'at-least-once',
  'x-dead-letter-exchange': 'dlx',
} as const;

const retryMs = 1000;

function declareWork(core: Core, args: Readonly<Record<string, Value>> = {}): LocalQueue {
  return core.declare('work', { ...safe, ...args }, true) as LocalQueue;
}

function declareExchange({ vhost, client }: Core): void {
  const spec = { name: 'dlx', type: 'fanout', durable: true, autoDelete: false, internal: false } as const;
  vhost.declareExchange(client, { ...spec, arguments: new Map() });
}

function bind(core: Core, name: string, args: Readonly<Record<string, Value>> = {}): LocalQueue {
  const queue = core.declare(name, args, true) as LocalQueue;
  core.vhost.bind(core.client, 'dlx', queue, '', new Map());
  return queue;
}

function reject(core: Core, queue: LocalQueue, ...bodies: string[]): void {
  for (const body of bodies) {
    core.publish('', queue.name, body);
    const entry = queue.get();
    if (entry === undefined || entry instanceof Promise) throw new Error('nothing to reject');
    entry.reject();
  }
}

function deathsOf(queue: LocalQueue): unknown {
  const entry = queue.get();
  return entry === undefined || entry instanceof Promise ? undefined : entry.message.deaths;
}

test('a dead letter that every queue takes goes at once', () => {
  const core = new Core();
  declareExchange(core);
  const [a, b] = [bind(core, 'a'), bind(core, 'b')];
  const work = declareWork(core);
  reject(core, work, 'm');
  expect([a.counts.ready, b.counts.ready, work.deadHeld.count]).toEqual([1, 1, 0]);
  expect(work.counts).toMatchObject({ ready: 0, unacked: 0 });
});

test('without its exchange it stays, in nobody’s reach, until the exchange is there and somebody is bound', () => {
  const core = new Core();
  const work = declareWork(core);
  const consumer = new TestConsumer(core.client);
  work.attach(consumer);
  core.publish('', 'work', 'm');
  const diedMs = core.clock.nowMs;
  consumer.entries[0]?.reject();
  expect(work.deadHeld).toMatchObject({ count: 1, bytes: 1 });
  expect(work.counts).toMatchObject({ ready: 0, unacked: 0 });
  core.clock.advance(10 * retryMs);
  declareExchange(core);
  core.clock.advance(10 * retryMs);
  expect(work.deadHeld.count).toBe(1); // no route
  const letters = bind(core, 'letters');
  core.clock.advance(retryMs);
  expect(work.deadHeld).toMatchObject({ count: 0, bytes: 0 });
  expect(deathsOf(letters)).toMatchObject([{ queue: 'work', reason: 'rejected', count: 1, timeMs: diedMs }]);
  expect(consumer.bodies).toEqual(['m']);
});

test('each reason is held: expired, delivery limit, rejected', () => {
  const core = new Core();
  const work = declareWork(core, { 'x-delivery-limit': int(0), 'x-message-ttl': int(50) });
  reject(core, work, 'rejected');
  core.publish('', 'work', 'returned');
  const entry = work.get();
  if (!(entry instanceof Promise)) entry?.requeue();
  core.publish('', 'work', 'expired');
  core.clock.advance(50);
  expect(work.deadHeld.count).toBe(3);
  declareExchange(core);
  const letters = bind(core, 'letters');
  core.clock.advance(retryMs);
  expect([1, 2, 3].map(() => deathsOf(letters))).toMatchObject(
    ['rejected', 'delivery_limit', 'expired'].map((reason) => [{ reason }]),
  );
});

test('a full queue gets it when it has room; those that took it do not get it twice', () => {
  const core = new Core();
  declareExchange(core);
  const open = bind(core, 'open');
  const full = bind(core, 'full', { 'x-max-length': int(1), 'x-overflow': 'reject-publish' });
  const work = declareWork(core);
  reject(core, work, '1', '2');
  core.clock.advance(5 * retryMs);
  expect([open.counts.ready, full.counts.ready, work.deadHeld.count]).toEqual([2, 1, 1]);
  expect(drain(full)).toEqual(['1']);
  core.clock.advance(retryMs);
  expect([open.counts.ready, work.deadHeld.count]).toEqual([2, 0]);
  expect(drain(full)).toEqual(['2']);
});

test('a queue that is bound no longer is not waited for, when another has the dead letter', () => {
  const core = new Core();
  declareExchange(core);
  bind(core, 'open');
  const full = bind(core, 'full', { 'x-max-length': int(0), 'x-overflow': 'reject-publish' });
  const work = declareWork(core);
  reject(core, work, 'm');
  expect(work.deadHeld.count).toBe(1);
  core.vhost.removeQueue(full);
  core.clock.advance(retryMs);
  expect(work.deadHeld.count).toBe(0);
});

test('what is held counts against the limit of its queue, and is not purged', () => {
  const core = new Core();
  const work = declareWork(core, { 'x-max-length': int(2) });
  reject(core, work, '1', '2');
  expect(core.publish('', 'work', '3')).toBe('refused');
  expect(work.purge()).toBe(0);
  declareExchange(core);
  bind(core, 'letters');
  core.clock.advance(retryMs);
  expect(core.publish('', 'work', '3')).toBe('routed');
});

test('with overflow block its publishers wait for what is held, and go on when it has gone', () => {
  const alarms: (string | null)[] = [];
  const core = new Core();
  const publisher = Object.assign(core.client, { onAlarm: (why: string | null) => alarms.push(why) });
  core.broker.addClient(publisher);
  const work = declareWork(core, { 'x-max-length': int(1), 'x-overflow': 'block' });
  reject(core, work, '1');
  core.clock.advance(0);
  core.publish('', 'work', '2');
  expect(alarms.at(-1)).toBe("queue 'work' is full");
  drain(work);
  core.clock.advance(0);
  expect(alarms.at(-1)).toBe("queue 'work' is full");
  declareExchange(core);
  bind(core, 'letters');
  core.clock.advance(retryMs);
  expect(alarms.at(-1)).toBeNull();
});

test('a cycle that nobody rejects in is held, not lost', () => {
  const core = new Core();
  const work = core.declare(
    'work',
    { ...safe, 'x-dead-letter-exchange': '', 'x-message-ttl': int(10) },
    true,
  ) as LocalQueue;
  core.publish('', 'work', 'm');
  core.clock.advance(10);
  expect(work.deadHeld.count).toBe(1);
});

test.each([
  ['drop-head', { 'x-overflow': 'drop-head' }],
  ['no overflow said', { 'x-overflow': undefined }],
  ['at-most-once', { 'x-dead-letter-strategy': 'at-most-once' }],
])('%s: at most once, and nothing is held', (_, args) => {
  const core = new Core();
  const all = Object.entries({ ...safe, ...args }).filter(([, value]) => value !== undefined);
  const work = core.declare('work', Object.fromEntries(all) as Record<string, Value>, true) as LocalQueue;
  reject(core, work, 'm');
  expect(work.deadHeld.count).toBe(0);
  expect(work.counts).toMatchObject({ ready: 0, unacked: 0 });
});

test('a policy turns it on, and off again: what is held then goes once more, and is gone', () => {
  const core = new Core();
  const work = core.declare('work', { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish' }, true) as LocalQueue;
  const definition = { 'dead-letter-strategy': 'at-least-once', 'dead-letter-exchange': 'dlx' };
  const policy = { name: 'p', pattern: '^work$', applyTo: 'queues', priority: 0 } as const;
  core.vhost.policies.set({ ...policy, definition });
  reject(core, work, '1');
  expect(work.deadHeld.count).toBe(1);
  declareExchange(core);
  const letters = bind(core, 'letters');
  core.vhost.policies.set({ ...policy, definition: { ...definition, 'dead-letter-routing-key': 'k' } });
  expect(drain(letters)).toEqual(['1']); // a new policy is a reason to try
  core.vhost.removeQueue(letters);
  reject(core, work, '2');
  core.vhost.policies.delete('p');
  expect(work.deadHeld).toMatchObject({ count: 0, bytes: 0 });
  expect(work.counts).toMatchObject({ ready: 0, unacked: 0 });
});

test('turned off, it sends what is held once more, and only to those that do not have it', () => {
  const core = new Core();
  declareExchange(core);
  const open = bind(core, 'open');
  const full = bind(core, 'full', { 'x-max-length': int(0), 'x-overflow': 'reject-publish' });
  const args = { 'x-queue-type': 'quorum', 'x-overflow': 'reject-publish', 'x-dead-letter-exchange': 'dlx' };
  const work = core.declare('work', args, true) as LocalQueue;
  const policy = { name: 'p', pattern: '^work$', applyTo: 'queues', priority: 0 } as const;
  core.vhost.policies.set({ ...policy, definition: { 'dead-letter-strategy': 'at-least-once' } });
  reject(core, work, '1', '2');
  expect(work.deadHeld.count).toBe(2);
  core.vhost.removeQueue(full);
  const late = bind(core, 'late');
  core.vhost.policies.delete('p');
  expect([drain(open), drain(late), work.deadHeld.count]).toEqual([['1', '2'], ['1', '2'], 0]);
});

test('what is held dies once, however often it is rejected', () => {
  const core = new Core();
  const work = declareWork(core);
  core.publish('', 'work', 'm');
  const entry = work.get();
  if (entry === undefined || entry instanceof Promise) throw new Error('nothing to reject');
  entry.reject();
  entry.reject();
  expect(work.deadHeld).toMatchObject({ count: 1, bytes: 1 });
});

test('what is held goes with its queue', () => {
  const core = new Core();
  const work = declareWork(core);
  reject(core, work, 'm');
  core.vhost.removeQueue(work);
  declareExchange(core);
  const letters = bind(core, 'letters');
  core.clock.advance(10 * retryMs);
  expect(letters.counts.ready).toBe(0);
});

test('many are tried a slice a turn, each once a pass', () => {
  const core = new Core();
  const work = declareWork(core);
  const bodies = Array.from({ length: 1000 }, (_, i) => String(i));
  reject(core, work, ...bodies);
  declareExchange(core);
  const letters = bind(core, 'letters');
  core.clock.advance(retryMs);
  expect(drain(letters)).toEqual(bodies);
  expect(work.deadHeld).toMatchObject({ count: 0, bytes: 0 });
});

test('a .dlq for which the virtual host has no room: held, or dropped, and nobody fails', () => {
  for (const [strategy, held] of [
    ['at-least-once', 1],
    ['at-most-once', 0],
  ] as const) {
    const core = new Core();
    const args = {
      ...safe,
      'x-dead-letter-default': true,
      'x-dead-letter-strategy': strategy,
      'x-message-ttl': int(5),
    };
    const { 'x-dead-letter-exchange': _, ...own } = args;
    const work = core.declare('work', own, true) as LocalQueue;
    core.vhost.limits = { ...core.vhost.limits, queues: 1 };
    core.publish('', 'work', 'm');
    core.clock.advance(5);
    expect(work.deadHeld.count).toBe(held);
    core.vhost.limits = { ...core.vhost.limits, queues: 2 };
    core.clock.advance(retryMs);
    expect(core.vhost.queues.get('work.dlq')?.counts.ready ?? 0).toBe(held);
  }
});

const segmentBytes = 64 * 1024;

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
}

test('over a kill: what is held is dead, not ready, and goes when it can; what went is not there twice', async () => {
  const first = new SimulatedDisk();
  const before = await JournaledBroker.openCold(first, { segmentBytes });
  before.declare('work', safe);
  before.publish('work', '1');
  before.publish('work', '2');
  before.get('work')?.reject();
  await before.durable();

  const second = SimulatedDisk.holding(first.contents());
  const after = await JournaledBroker.openCold(second, { segmentBytes, sinceMs: 60_000 });
  const work = after.vhost.queues.get('work')!;
  const consumer = new TestConsumer(after.client, { credit: 10 });
  work.attach(consumer);
  await turns();
  expect(consumer.bodies).toEqual(['2']);
  expect(work.deadHeld).toMatchObject({ count: 1, bytes: 1 });
  expect(work.counts).toMatchObject({ ready: 0, unacked: 1 });
  const spec = { name: 'dlx', type: 'fanout', durable: true, autoDelete: false, internal: false } as const;
  after.vhost.declareExchange(after.client, { ...spec, arguments: new Map() });
  after.vhost.bind(after.client, 'dlx', after.declare('letters'), '', new Map());
  after.clock.advance(retryMs);
  await turns();
  expect(after.vhost.queues.get('letters')?.counts.ready).toBe(1);
  await after.durable();

  const last = await JournaledBroker.openCold(SimulatedDisk.holding(second.contents()), { segmentBytes });
  const letter = await last.vhost.queues.get('letters')?.get();
  expect(letter?.message.body.toString()).toBe('1');
  expect(letter?.message.deaths).toMatchObject([{ reason: 'rejected', timeMs: before.clock.nowMs }]);
  await turns();
  expect(last.vhost.queues.get('work')).toMatchObject({ counts: { ready: 1 }, deadHeld: { count: 0 } });
});

test('nobody has to ask for what died before a kill', async () => {
  const first = new SimulatedDisk();
  const before = await JournaledBroker.openCold(first, { segmentBytes });
  before.declare('work', safe);
  for (const body of ['1', '2', '3']) before.publish('work', body);
  const [a] = [before.get('work'), before.get('work')];
  a?.reject();
  await before.durable();
  const after = await JournaledBroker.openCold(SimulatedDisk.holding(first.contents()), { segmentBytes });
  await turns();
  const work = after.vhost.queues.get('work')!;
  expect(work.deadHeld.count).toBe(1);
  expect(work.counts).toMatchObject({ ready: 2, unacked: 0 });
});

/** Hardly anything stays in memory. */
const paging = { queueBytes: 4_000, bodyBytes: 1e9, heapBytes: 1e9 };

/** What is read back and written takes turns of the event loop, at a time that stands. */
async function rest(core: JournaledBroker): Promise<void> {
  for (let i = 0; i < 20; i++) {
    core.broker.pager?.look();
    core.clock.advance(0);
    await new Promise(setImmediate);
  }
  await core.durable();
}

interface Held {
  readonly work: LocalQueue;
  readonly bodies: readonly string[];
}

/** A thousand died, and are held, out of memory but for the few that stay in any queue. */
async function holdMany(core: JournaledBroker, args: Readonly<Record<string, Value>> = safe): Promise<Held> {
  const work = core.declare('work', args) as LocalQueue;
  const bodies = Array.from({ length: 1000 }, (_, i) => `${i}`.padStart(100, ' '));
  for (const [i, body] of bodies.entries()) {
    core.publish('work', body);
    if (i % 100 === 99) await core.durable();
  }
  for (const _ of bodies) core.get('work')?.reject();
  await rest(core);
  expect(work.deadHeld).toEqual({ count: 1000, bytes: 100_000, memoryCount: expect.toSatisfy((n) => n < 17) });
  expect(work.memoryBytes).toBeLessThan(2000);
  return { work, bodies };
}

async function bindLetters(core: JournaledBroker): Promise<LocalQueue> {
  const spec = { name: 'dlx', type: 'fanout', durable: true, autoDelete: false, internal: false } as const;
  core.vhost.declareExchange(core.client, { ...spec, arguments: new Map() });
  const letters = core.declare('letters') as LocalQueue;
  core.vhost.bind(core.client, 'dlx', letters, '', new Map());
  return letters;
}

async function drainCold(queue: LocalQueue): Promise<string[]> {
  const bodies: string[] = [];
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    bodies.push(entry.message.body.toString());
    entry.ack();
  }
  return bodies;
}

/** Long enough for each that is held to be tried. */
async function retryAll(core: JournaledBroker): Promise<void> {
  for (let i = 0; i < 10; i++) {
    core.clock.advance(retryMs / 2);
    await rest(core);
  }
}

test('what is held leaves memory, is tried again all the same, and goes in the order of its deaths', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes, paging });
  const { work, bodies } = await holdMany(core);
  await retryAll(core);
  expect(work.deadHeld.count).toBe(1000); // each was read, and stayed
  expect(work.deadHeld.memoryCount).toBeLessThan(17);
  const letters = await bindLetters(core);
  await retryAll(core);
  expect(work.deadHeld).toEqual({ count: 0, bytes: 0, memoryCount: 0 });
  expect(letters.counts.ready).toBe(1000);
  const last = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), { segmentBytes });
  expect(last.vhost.queues.get('work')).toMatchObject({ counts: { ready: 0 }, deadHeld: { count: 0 } });
  expect(await drainCold(last.vhost.queues.get('letters') as LocalQueue)).toEqual(bodies);
});

test('out of memory over a kill: nothing has to be read for it to be dead, and its queue can be purged', async () => {
  const disk = new SimulatedDisk();
  const { bodies } = await holdMany(await JournaledBroker.openCold(disk, { segmentBytes, paging }));
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), { segmentBytes, paging });
  const work = core.vhost.queues.get('work') as LocalQueue;
  expect(work.deadHeld).toEqual({ count: 1000, bytes: 100_000, memoryCount: 0 });
  core.publish('work', 'alive');
  expect(await work.purge()).toBe(1);
  expect(work.deadHeld.count).toBe(1000);
  const letters = await bindLetters(core);
  await retryAll(core);
  expect(await drainCold(letters)).toEqual(bodies);
  expect(work.deadHeld).toEqual({ count: 0, bytes: 0, memoryCount: 0 });
});

test('out of memory, one that a queue has no room for does not keep the others, nor go twice to those that had it', async () => {
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes, paging });
  const { work, bodies } = await holdMany(core);
  const open = await bindLetters(core);
  const full = core.declare('full', { 'x-max-length': int(300), 'x-overflow': 'reject-publish' }) as LocalQueue;
  core.vhost.bind(core.client, 'dlx', full, '', new Map());
  await retryAll(core);
  expect([open.counts.ready, full.counts.ready, work.deadHeld.count]).toEqual([1000, 300, 700]);
  const got: string[] = [];
  while (got.length < 1000) {
    got.push(...(await drainCold(full)));
    await retryAll(core);
  }
  expect(got.toSorted()).toEqual(bodies);
  expect([open.counts.ready, work.deadHeld.count]).toEqual([1000, 0]);
});

test('out of memory, rejected again by who had it: it died once', async () => {
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes, paging });
  const work = core.declare('work', safe) as LocalQueue;
  for (let i = 0; i < 100; i++) core.publish('work', `${i}`.padStart(100, ' '));
  const entries = Array.from({ length: 100 }, () => core.get('work')!);
  await core.durable();
  for (const entry of entries) entry.reject();
  await rest(core);
  expect(work.deadHeld.memoryCount).toBeLessThan(17);
  for (const entry of entries) entry.reject();
  expect(work.deadHeld).toMatchObject({ count: 100, bytes: 10_000 });
});

test('out of memory, it goes with its queue, and nothing of it is left in the journal', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes, paging });
  const { work } = await holdMany(core);
  core.vhost.removeQueue(work);
  await rest(core);
  await core.durable();
  const clock = new ManualClock();
  const options = { segmentBytes, log: silent, clock, timers: clock.timers };
  const { recovered } = await SegmentJournal.open(SimulatedDisk.holding(disk.contents()), options);
  expect([...recovered.queues(), ...recovered.entries('held-dead-letter')]).toEqual([]);
});

test('out of memory, and turned to at most once: it goes once more, as it is read, and is gone', async () => {
  const { 'x-dead-letter-strategy': _, ...args } = safe;
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes, paging });
  const policy = { name: 'p', pattern: '^work$', applyTo: 'queues', priority: 0 } as const;
  core.vhost.policies.set({ ...policy, definition: { 'dead-letter-strategy': 'at-least-once' } });
  const { work, bodies } = await holdMany(core, args);
  const letters = await bindLetters(core);
  const full = core.declare('full', { 'x-max-length': int(300), 'x-overflow': 'reject-publish' }) as LocalQueue;
  core.vhost.bind(core.client, 'dlx', full, '', new Map());
  core.vhost.policies.delete('p');
  core.publish('work', 'younger');
  core.get('work')?.reject();
  await rest(core);
  expect(work.deadHeld).toEqual({ count: 0, bytes: 0, memoryCount: 0 });
  expect((await drainCold(letters)).toSorted()).toEqual([...bodies, 'younger'].toSorted());
  expect(await drainCold(full)).toHaveLength(300);
});

test('out of memory, turned to at most once and back: what has not gone is held', async () => {
  const { 'x-dead-letter-strategy': _, ...args } = safe;
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes, paging });
  const policy = { name: 'p', pattern: '^work$', applyTo: 'queues', priority: 0 } as const;
  const set = (): void => {
    core.vhost.policies.set({ ...policy, definition: { 'dead-letter-strategy': 'at-least-once' } });
  };
  set();
  const { work } = await holdMany(core, args);
  core.vhost.policies.delete('p');
  set();
  await retryAll(core);
  expect(work.deadHeld.count).toBe(1000);
});

test('it cannot be read back: it is tried again, and somebody is told', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes, paging });
  const { work } = await holdMany(core);
  const letters = await bindLetters(core);
  disk.fault = (operation) => (operation === 'read' ? { code: 'EIO' } : null);
  await retryAll(core);
  expect(work.deadHeld.count).toBeGreaterThan(900);
  expect(core.broker.pager?.fault).toContain("messages of queue 'work'");
  disk.fault = () => null;
  await retryAll(core);
  expect([work.deadHeld.count, letters.counts.ready]).toEqual([0, 1000]);
});

test('what cannot be read back does not keep the others', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes, paging });
  const { work } = await holdMany(core);
  const letters = await bindLetters(core);
  const [first] = [...disk.contents().keys()].filter((name) => name.endsWith('.segment')).toSorted();
  disk.fault = (operation, _, name) => (operation === 'read' && name === first ? { code: 'EIO' } : null);
  await retryAll(core);
  expect(letters.counts.ready).toBeGreaterThan(400);
  expect(work.deadHeld.count).toBe(1000 - letters.counts.ready);
  disk.fault = () => null;
  await retryAll(core);
  expect([work.deadHeld.count, letters.counts.ready]).toEqual([0, 1000]);
});

// The settlement and the dead letter are one unit of the journal: wherever the disk stops, one of the queues has it.
test.each(['at-most-once', 'at-least-once'])(
  '%s: power fails at any moment, and one queue has the message',
  async (s) => {
    for (let stopsAt = 0; stopsAt < 6; stopsAt++) {
      for (let seed = 1; seed <= 10; seed++) {
        const disk = new SimulatedDisk();
        const broker = await JournaledBroker.openCold(disk, { segmentBytes });
        broker.declare('work', {
          ...safe,
          'x-dead-letter-exchange': '',
          'x-dead-letter-routing-key': 'dead',
          'x-dead-letter-strategy': s,
        });
        broker.declare('dead');
        broker.publish('work', 'm');
        const entry = broker.get('work');
        await broker.durable();
        const from = disk.operations;
        disk.fault = (_, count) => (count >= from + stopsAt ? 'hang' : null);
        entry?.reject();
        await turns();
        const next = await JournaledBroker.openCold(disk.crash(new Random(seed)), { segmentBytes });
        const { work, dead } = Object.fromEntries(next.vhost.queues);
        expect([work?.counts.ready, dead?.counts.ready].sort(), `${stopsAt} ${seed}`).toEqual([0, 1]);
      }
    }
  },
);
