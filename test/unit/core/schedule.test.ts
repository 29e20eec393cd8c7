import { expect, test } from 'vitest';
import { spendDelay } from '../../../src/core/exchange/delay.ts';
import type { Exchange } from '../../../src/core/exchange/exchange.ts';
import type { MessageFormat } from '../../../src/core/format.ts';
import type { PublishReceipt } from '../../../src/core/journal.ts';
import { Message } from '../../../src/core/message.ts';
import type { Value } from '../../../src/core/properties.ts';
import type { QueueEntry } from '../../../src/core/queue/entry.ts';
import { timingOf, type Wish } from '../../../src/core/timing.ts';
import { Transaction } from '../../../src/core/transaction.ts';
import { amqp10Format } from '../../../src/protocols/amqp10/message.ts';
import { amqp091Format } from '../../../src/protocols/amqp091/message.ts';
import { mqtt5Format } from '../../../src/protocols/mqtt/message.ts';
import { formats as stompFormats } from '../../../src/protocols/stomp/message.ts';
import { Core, createMessage, drain, int } from '../../support/core.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

/** A header `x-delay` of 50. */
const headerOf: Record<string, [MessageFormat, Buffer]> = {
  'AMQP 0-9-1': [amqp091Format, createMessage('', { properties: { headers: new Map([['x-delay', int(50)]]) } }).native],
  'AMQP 1.0': [amqp10Format, Buffer.from('005374c10c02a107782d64656c61795432', 'hex')],
  'MQTT 5': [mqtt5Format, Buffer.from('\x26\0\x07x-delay\0\x0250', 'latin1')],
  'STOMP 1.2': [stompFormats.text['1.2'], Buffer.from('a:1\nx-delay:50\nb:2\n')],
};

const hourMs = 3_600_000;
const yearMs = 365 * 24 * hourMs;

function delayed(core: Core, type = 'direct', durable = false): Exchange {
  return core.vhost.declareExchange(core.client, {
    name: 'later',
    type: 'x-delayed-message',
    durable,
    autoDelete: false,
    internal: false,
    arguments: new Map([['x-delayed-type', type]]),
  });
}

function bound(type = 'direct'): Core {
  const core = new Core();
  const exchange = delayed(core, type);
  core.vhost.bind(core.client, exchange.name, core.declare('q'), 'k', new Map());
  return core;
}

function publishLater(core: Core, body: string, delay: Value, properties: { ttlMs?: number } = {}): void {
  core.publish('later', 'k', body, { ...properties, headers: new Map([['x-delay', delay]]) });
}

/** Into a queue, at the times that are wished for. */
function schedule(core: Core, queue: string, body: string, wish: Partial<Wish>): void {
  const message = createMessage(body, { key: queue, durable: true });
  message.timing = timingOf({ delayMs: 0, periodMs: 0, times: 0, cron: '', ...wish }, core.clock.nowMs);
  core.vhost.publish(core.vhost.routeFor('', queue), message, null, 0);
}

test('x-delay: a message waits so many milliseconds before it is routed', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  publishLater(core, 'm', int(1000));
  core.clock.advance(999);
  expect([queue.counts.ready, core.vhost.exchanges.get('later')?.schedule?.count]).toEqual([0, 1]);
  core.clock.advance(1);
  expect([drain(queue), core.vhost.exchanges.get('later')?.schedule?.count]).toEqual([['m'], 0]);
});

test('the earliest goes first, and of one time the one that was published first', () => {
  const core = bound();
  for (const [body, delay] of Object.entries({ a: 500, b: 100, c: 300, d: 200, e: 100, f: 400 })) {
    publishLater(core, body, int(delay));
  }
  core.clock.advance(500);
  expect(drain(core.vhost.queues.get('q')!)).toEqual(['b', 'e', 'd', 'c', 'f', 'a']);
});

test('text is a number too; nothing, 0, less and what is no number are no delay', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  publishLater(core, 'text', '50');
  publishLater(core, 'long', { type: 'long', value: 50n });
  publishLater(core, 'double', { type: 'double', value: 50.9 });
  expect(queue.counts.ready).toBe(0);
  for (const [i, none] of [int(0), int(-50), 'soon', true, null].entries()) publishLater(core, String(i), none);
  core.publish('later', 'k', 'without');
  expect(drain(queue)).toEqual(['0', '1', '2', '3', '4', 'without']);
  core.clock.advance(50);
  expect(drain(queue)).toEqual(['text', 'long', 'double']);
});

test('consumers see the delay negated; what was not delayed is as it was', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  publishLater(core, 'm', int(70));
  publishLater(core, 'far', { type: 'long', value: 3_000_000_000n });
  publishLater(core, 'text', '80');
  publishLater(core, 'now', int(-5));
  core.clock.advance(3_000_000_000);
  const shown = [0, 1, 2, 3].map(() => {
    const { message } = queue.get() as QueueEntry;
    return [message.body.toString(), message.properties.headers.get('x-delay')];
  });
  expect(shown).toEqual([
    ['now', int(-5)],
    ['m', int(-70)],
    ['text', '-80'],
    ['far', { type: 'long', value: -3_000_000_000n }],
  ]);
});

test.each(Object.entries(headerOf))('the delay is negated in %s', (_name, [format, native]) => {
  const bytes = Buffer.concat([native, Buffer.from('b')]);
  const message = new Message({
    ...createMessage('b', { exchange: 'later' }),
    format,
    bytes,
    end: bytes.length,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
  const spent = spendDelay(message, 50);
  expect(spent.body.toString()).toBe('b');
  const value = spent.properties.headers.get('x-delay');
  expect(Number(typeof value === 'object' && value !== null && 'value' in value ? value.value : value)).toBe(-50);
  expect(spent.as(amqp091Format)).not.toEqual(message.as(amqp091Format));
});

test('it is routed as the other type does, by the bindings of then', () => {
  const core = new Core();
  delayed(core, 'topic');
  const early = core.declare('early');
  core.vhost.bind(core.client, 'later', early, 'a.#', new Map());
  core.publish('later', 'a.b', 'm', { headers: new Map([['x-delay', int(10)]]) });
  const late = core.declare('late');
  core.vhost.bind(core.client, 'later', late, '*.b', new Map());
  core.vhost.unbind(core.client, 'later', early, 'a.#', new Map());
  core.clock.advance(10);
  expect([drain(early), drain(late)]).toEqual([[], ['m']]);
});

test('further keys are followed, hidden ones too', () => {
  const core = new Core();
  const exchange = delayed(core);
  for (const key of ['k', 'cc']) core.vhost.bind(core.client, exchange.name, core.declare(key), key, new Map());
  const headers = new Map<string, Value>([
    ['x-delay', int(10)],
    ['CC', ['cc']],
  ]);
  const message = createMessage('m', { exchange: 'later', key: 'k', properties: { headers } });
  core.vhost.publish(core.vhost.routeForAll('later', ['k', 'cc']), message, null, 0);
  core.clock.advance(10);
  expect(['k', 'cc'].map((key) => drain(core.vhost.queues.get(key)!))).toEqual([['m'], ['m']]);
});

test('an exchange that delays needs a type to route by, which is not its own', () => {
  const core = new Core();
  for (const type of ['x-delayed-message', 'x-not-valid-type']) {
    expect(() => delayed(core, type)).toThrow(/'x-delayed-type' must be an existing exchange type/);
  }
  expect(core.vhost.exchanges.has('later')).toBe(false);
});

test('the time to live begins when the delay ends', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  publishLater(core, 'm', int(1000), { ttlMs: 100 });
  core.clock.advance(1099);
  expect(queue.counts.ready).toBe(1);
  core.clock.advance(1);
  expect(queue.counts.ready).toBe(0);
});

test('years are no matter', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  publishLater(core, 'm', { type: 'long', value: BigInt(5 * yearMs) });
  core.clock.advance(5 * yearMs - 1);
  expect(queue.counts.ready).toBe(0);
  core.clock.advance(1);
  expect(queue.counts.ready).toBe(1);
});

test('mandatory: what no queue would get now is not kept', () => {
  const core = new Core();
  const exchange = delayed(core);
  const headers = new Map([['x-delay', int(10)]]);
  const message = (): ReturnType<typeof createMessage> =>
    createMessage('m', { exchange: 'later', key: 'k', properties: { headers } });
  const route = core.vhost.routeFor('later', 'k');
  expect(core.vhost.publish(route, message(), null, 0, true)).toBe('unroutable');
  expect(exchange.schedule).toBeNull();
  expect(core.vhost.publish(route, message(), null, 0)).toBe('routed');
  expect(exchange.schedule?.count).toBe(1);
});

test('a dead letter is delayed as a publish is, once', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  const work = core.declare('work', { 'x-dead-letter-exchange': 'later', 'x-dead-letter-routing-key': 'k' });
  core.publish('', 'work', 'm', { headers: new Map([['x-delay', int(100)]]) });
  (work.get() as QueueEntry).reject();
  expect(queue.counts.ready).toBe(0);
  core.clock.advance(100);
  const { message } = queue.get() as QueueEntry;
  expect(message.properties.headers.get('x-delay')).toEqual(int(-100));
  expect(message.deaths).toMatchObject([{ queue: 'work', reason: 'rejected', count: 1 }]);
  core.publish('', 'work', 'again', { headers: message.properties.headers });
  (work.get() as QueueEntry).reject();
  expect(drain(queue)).toEqual(['again']);
});

test('what is cancelled does not come; an exchange takes what waits there with it', async () => {
  const core = bound();
  const exchange = core.vhost.exchanges.get('later')!;
  publishLater(core, 'a', int(30));
  publishLater(core, 'b', int(20));
  publishLater(core, 'c', int(10));
  const listed = await exchange.schedule!.list(10);
  expect(listed.map(({ message, dueMs }) => [message.body.toString(), dueMs - core.clock.nowMs])).toEqual([
    ['c', 10],
    ['b', 20],
    ['a', 30],
  ]);
  expect(exchange.schedule?.cancel(listed[1]!.id)).toBe(true);
  expect(exchange.schedule?.cancel(listed[1]!.id)).toBe(false);
  core.clock.advance(20);
  expect(drain(core.vhost.queues.get('q')!)).toEqual(['c']);
  core.vhost.deleteExchange(core.client, 'later', false);
  core.clock.advance(hourMs);
  expect(core.vhost.queues.get('q')?.counts.ready).toBe(0);
});

test('a list goes on behind where it ended', async () => {
  const core = bound();
  const { schedule } = core.vhost.exchanges.get('later')!;
  expect(schedule).toBeNull();
  for (let i = 0; i < 5000; i++) publishLater(core, String(i), int(1 + ((i * 7) % 50)));
  const pages: string[] = [];
  let last = { dueMs: 0, id: 0 };
  for (;;) {
    const page = await core.vhost.exchanges.get('later')!.schedule!.list(700, last.dueMs, last.id);
    if (page.length === 0) break;
    pages.push(...page.map(({ message }) => message.body.toString()));
    last = page.at(-1)!;
  }
  core.clock.advance(50);
  expect(pages).toEqual(drain(core.vhost.queues.get('q')!));
});

test('a period: the message comes again, so often and no more', () => {
  const core = new Core();
  const queue = core.declare('q');
  schedule(core, 'q', 'm', { delayMs: 500, periodMs: 100, times: 2 });
  const counts = [499, 1, 99, 1, 100, hourMs].map((ms) => {
    core.clock.advance(ms);
    return queue.counts.ready;
  });
  expect(counts).toEqual([0, 1, 1, 2, 3, 3]);
  expect(core.vhost.exchanges.get('')?.schedule?.count).toBe(0);
});

test('without a delay the first period is one; repeated −1 it does not end', () => {
  const core = new Core();
  const queue = core.declare('q');
  schedule(core, 'q', 'm', { periodMs: 100, times: -1 });
  core.clock.advance(10_000);
  expect(queue.counts.ready).toBe(100);
});

test('a cron entry: at each of its times, and with a period a series there', () => {
  const core = new Core();
  core.clock.nowMs = new Date(2026, 0, 1, 9, 30).getTime();
  const queue = core.declare('q');
  schedule(core, 'q', 'hourly', { cron: '0 * * * *' });
  core.clock.advance(hourMs / 2 - 1);
  expect(queue.counts.ready).toBe(0);
  core.clock.advance(1);
  expect(drain(queue)).toEqual(['hourly']);
  core.clock.advance(3 * hourMs);
  expect(drain(queue)).toEqual(['hourly', 'hourly', 'hourly']);
  core.vhost.exchanges.get('')?.schedule?.clear();
  schedule(core, 'q', 'series', { cron: '0 * * * *', delayMs: 1000, periodMs: 1000, times: 9 });
  core.clock.advance(hourMs + 9999);
  expect(queue.counts.ready).toBe(9);
  core.clock.advance(1);
  expect(queue.counts.ready).toBe(10);
  core.clock.advance(hourMs);
  expect(queue.counts.ready).toBe(20);
});

test('a cron entry that is none, or whose time never comes, is refused', () => {
  for (const cron of ['soon', '61 * * * *', '0 0 30 2 *']) {
    expect(() => timingOf({ delayMs: 0, periodMs: 0, times: 0, cron }, 0)).toThrow(/cron entry/);
  }
});

test('a transaction keeps what is for later when it is committed', () => {
  const core = bound();
  const queue = core.vhost.queues.get('q')!;
  const transaction = new Transaction(core.vhost);
  const publish = (): void =>
    transaction.publish(
      core.vhost.routeFor('later', 'k'),
      createMessage('m', { exchange: 'later', key: 'k', properties: { headers: new Map([['x-delay', int(10)]]) } }),
    );
  publish();
  transaction.rollback();
  core.clock.advance(10);
  expect(core.vhost.exchanges.get('later')?.schedule).toBeNull();
  publish();
  transaction.commit(null);
  expect(queue.counts.ready).toBe(0);
  core.clock.advance(10);
  expect(queue.counts.ready).toBe(1);
});

// — over restarts —————————————————————————————————————————————————————————————————————————————————————————————————

const told = (confirmed: string[]): PublishReceipt => ({
  confirmed: (tag) => confirmed.push(`confirmed ${tag}`),
  refused: (tag) => confirmed.push(`refused ${tag}`),
});

function publishAt(
  core: JournaledBroker,
  body: string,
  wish: Partial<Wish>,
  receipt: PublishReceipt | null = null,
): void {
  const message = createMessage(body, { key: 'q', durable: true });
  message.timing = timingOf({ delayMs: 0, periodMs: 0, times: 0, cron: '', ...wish }, core.clock.nowMs);
  core.vhost.publish(core.vhost.routeFor('', 'q'), message, receipt, 1);
}

async function reopen(disk: SimulatedDisk, sinceMs: number): Promise<JournaledBroker> {
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), {
    segmentBytes: 64 * 1024,
    sinceMs,
  });
  core.broker.startSchedules();
  return core;
}

// What is read back comes in a later turn.
async function released(core: JournaledBroker, ms = 0): Promise<string[]> {
  core.clock.advance(ms);
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    core.clock.advance(0);
  }
  const bodies: string[] = [];
  const queue = core.vhost.queues.get('q')!;
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    bodies.push(entry.message.body.toString());
  }
  return bodies;
}

test('a durable message is confirmed when it is on the disk, and waits on after a restart', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  const confirmed: string[] = [];
  publishAt(core, 'm', { delayMs: 1000 }, told(confirmed));
  expect(confirmed).toEqual([]);
  await core.durable();
  expect(confirmed).toEqual(['confirmed 1']);
  const again = await reopen(disk, 400);
  expect(again.vhost.exchanges.get('')?.schedule?.count).toBe(1);
  expect(await released(again, 599)).toEqual([]);
  expect(await released(again, 1)).toEqual(['m']);
  await again.durable();
});

test('what is overdue is routed at once after a restart, in order, and only once', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  for (const [body, delayMs] of Object.entries({ a: 5000, b: 1000, c: 3000, d: 2000, e: 1000, f: 4000, g: 10_000 })) {
    publishAt(core, body, { delayMs });
  }
  await core.durable();
  const again = await reopen(disk, 8000);
  expect(await released(again)).toEqual(['b', 'e', 'd', 'c', 'f', 'a']);
  await again.durable();
  const third = await reopen(SimulatedDisk.holding(disk.contents()), 8000);
  expect(await released(third)).toHaveLength(6); // the copy of before: nothing of `again` is there
});

test('what was routed does not wait any longer after a restart; what was cancelled is gone', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  publishAt(core, 'routed', { delayMs: 10 });
  publishAt(core, 'cancelled', { delayMs: 20 });
  publishAt(core, 'waits', { delayMs: 30 });
  await core.durable();
  core.clock.advance(10);
  const { schedule } = core.vhost.exchanges.get('')!;
  schedule?.cancel((await schedule.list(1))[0]!.id);
  await core.durable();
  const again = await reopen(disk, 10);
  expect(again.vhost.exchanges.get('')?.schedule?.count).toBe(1);
  expect(await released(again, 20)).toEqual(['routed', 'waits']);
});

test('a schedule that repeats comes once for all the times it missed, and keeps to its times', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  publishAt(core, 'm', { delayMs: 100, periodMs: 100, times: 4 });
  core.clock.advance(100);
  await core.durable();
  const again = await reopen(disk, 750);
  expect(await released(again)).toEqual(['m', 'm']); // that of before, and one for 200 to 700
  expect(await released(again, 49)).toEqual([]);
  expect(await released(again, 1)).toEqual(['m']);
  expect(await released(again, 100)).toEqual(['m']);
  expect(await released(again, 100)).toEqual(['m']);
  expect(await released(again, hourMs)).toEqual([]);
  expect(again.vhost.exchanges.get('')?.schedule?.count).toBe(0);
});

test('what does not come soon leaves memory, and comes in time', async () => {
  const disk = new SimulatedDisk();
  const limits = { queueBytes: 10_000, bodyBytes: 1e9, heapBytes: 1e9 };
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024, paging: limits });
  core.declare('q');
  for (let i = 0; i < 500; i++) publishAt(core, String(i), { delayMs: hourMs + ((i * 7) % 500) });
  await core.durable();
  core.broker.pager?.look();
  const schedule = core.vhost.exchanges.get('')!.schedule!;
  expect([schedule.count, schedule.memoryEntries]).toEqual([500, 0]);
  expect((await schedule.list(3)).map(({ message }) => message.body.toString())).toEqual(['0', '143', '286']);
  core.clock.advance(hourMs);
  expect(await released(core, 500)).toHaveLength(500);
  expect([schedule.count, schedule.memoryEntries, schedule.memoryBytes]).toEqual([0, 0, 0]);
});

test('a message that is not durable, or whose exchange is not, does not outlive a restart', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  const message = createMessage('m', { key: 'q' });
  message.timing = { dueMs: core.clock.nowMs + 10, repeat: null };
  core.vhost.publish(core.vhost.routeFor('', 'q'), message, null, 0);
  await core.durable();
  const again = await reopen(disk, 0);
  expect(await released(again, 10)).toEqual([]);
});

test('many that are due at once go in several turns, in their order', () => {
  const core = new Core();
  const queue = core.declare('q');
  for (let i = 0; i < 3000; i++) schedule(core, 'q', String(i), { delayMs: 10 });
  core.clock.nowMs += 10;
  core.clock.timers.runDue();
  expect(queue.counts.ready).toBeGreaterThan(0);
  expect(queue.counts.ready).toBeLessThan(2000);
  core.clock.advance(0);
  expect(drain(queue).map(Number)).toEqual(Array.from({ length: 3000 }, (_, i) => i));
});
