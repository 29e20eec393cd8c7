import type { Value } from '../../src/core/properties.ts';
import type { LocalQueue } from '../../src/core/queue/local-queue.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { Timers } from '../../src/lib/timers.ts';
import { Core, createMessage, type MessageOptions, TestConsumer } from '../../test/support/core.ts';

/**
 * What features of queues cost while a million messages wait: nanoseconds of CPU for each, and octets of memory for
 * each that waits, its message with them. `npm run bench:timed`
 */
const resting = 1_000_000;
const measured = 200_000;

function memory(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function nanoseconds(count: number, run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / count;
}

function report(name: string, ns: number): void {
  process.stdout.write(`${name.padEnd(44)} ${ns.toFixed(0).padStart(7)} ns\n`);
}

function delayed(): void {
  const core = new Core();
  core.declare('q');
  const route = core.vhost.routeFor('', 'q');
  const hold = (dueMs: number): void => {
    const message = createMessage('0123456789', { key: 'q', durable: true });
    message.timing = { dueMs, repeat: null };
    core.vhost.publish(route, message, null, 0);
  };
  const { nowMs } = core.clock;
  const before = memory();
  for (let i = 0; i < resting; i++) hold(nowMs + 3_600_000 + ((i * 7919) % 3_600_000));
  const bytes = (memory() - before) / resting;
  for (let i = 0; i < measured; i++) hold(nowMs + 1000 + ((i * 7919) % 1000));
  report(
    'delayed: a release',
    nanoseconds(measured, () => core.clock.advance(2000)),
  );
  report(
    'a publish, for comparison',
    nanoseconds(measured, () => {
      for (let i = 0; i < measured; i++) {
        core.vhost.publish(route, createMessage('0123456789', { key: 'q', durable: true }), null, 0);
      }
    }),
  );
  report(
    'delayed: a hold',
    nanoseconds(measured, () => {
      for (let i = 0; i < measured; i++) hold(nowMs + 10_000_000 + ((i * 7919) % 1000));
    }),
  );
  process.stdout.write(`${'delayed: memory of each that waits'.padEnd(44)} ${bytes.toFixed(0).padStart(7)} octets\n`);
}

function expiring(): void {
  const core = new Core();
  core.declare('q');
  const route = core.vhost.routeFor('', 'q');
  const publish = (expiresAtMs: number): void => {
    const message = createMessage('0123456789', { key: 'q', durable: true, expiresAtMs });
    core.vhost.publish(route, message, null, 0);
  };
  const { nowMs } = core.clock;
  const fill = (ordered: boolean): number => {
    const before = memory();
    for (let i = 0; i < resting; i++) publish(nowMs + 3_600_000 + (ordered ? i : (i * 7919) % 1_000_000));
    return (memory() - before) / resting;
  };
  const plainBytes = fill(true);
  core.vhost.queues.get('q')?.purge();
  const bytes = fill(false);
  for (let i = 0; i < measured; i++) publish(nowMs + 1000 + ((i * 7919) % 1000));
  report(
    'expiry: one behind those that live longer',
    nanoseconds(measured, () => core.clock.advance(2000)),
  );
  const text = 'expiry: memory of each out of its order';
  process.stdout.write(`${text.padEnd(44)} ${(bytes - plainBytes).toFixed(0).padStart(7)} octets\n`);
}

/** A million that are due in the same millisecond: how long others wait for them. */
function atOnce(name: string, publish: (core: Core) => void): void {
  const core = new Core();
  core.declare('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  core.declare('dead');
  for (let i = 0; i < resting; i++) publish(core);
  const turns: number[] = [];
  globalThis.gc?.();
  core.clock.nowMs += 1000;
  while (core.clock.timers.nextDueMs <= core.clock.nowMs) {
    const beganMs = performance.now();
    core.clock.timers.runDue();
    turns.push(performance.now() - beganMs);
  }
  turns.sort((a, b) => a - b);
  const [median, longest] = [turns[turns.length >> 1]!, turns.at(-1)!];
  process.stdout.write(
    `${name.padEnd(44)} ${turns.length} turns, median ${median.toFixed(1)} ms, longest ${longest.toFixed(1)} ms\n`,
  );
}

/** Ten thousand expiries a second, on the clock that brokers run by: how late each is a dead letter. */
async function late(): Promise<void> {
  globalThis.gc?.();
  const clock = new SystemClock();
  const timers = new Timers(clock);
  const core = new Core({ clock, timers });
  core.declare('q', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  const dead = core.declare('dead');
  const count = 30_000;
  const lates: number[] = [];
  const consumer = new TestConsumer(core.client);
  consumer.deliver = (entry) => {
    lates.push(Date.now() - Number(entry.message.body.toString()));
    entry.ack();
  };
  dead.attach(consumer);
  clock.refresh();
  const route = core.vhost.routeFor('', 'q');
  for (let i = 0; i < count; i++) {
    const expiresAtMs = clock.nowMs + 1000 + Math.floor(((i * 7919) % count) / 10);
    core.vhost.publish(route, createMessage(String(expiresAtMs), { key: 'q', expiresAtMs }), null, 0);
  }
  const alive = setInterval(() => {}, 1000); // the timers of a broker keep no process
  while (lates.length < count) await new Promise((resolve) => setTimeout(resolve, 50));
  clearInterval(alive);
  timers.stop();
  lates.sort((a, b) => a - b);
  const [first, p99, last] = [lates[0], lates[Math.floor(count * 0.99)], lates.at(-1)];
  const text = 'expiry: lateness at 10,000 a second';
  process.stdout.write(`${text.padEnd(44)} least ${first} ms, p99 ${p99} ms, most ${last} ms\n`);
}

/** A queue in which a million messages rest, each made by `options`. */
function rest(args: Readonly<Record<string, Value>>, options: (i: number) => MessageOptions): Rested {
  const core = new Core();
  const queue = core.declare('q', args) as LocalQueue;
  const route = core.vhost.routeFor('', 'q');
  const publish = (i: number): void => {
    core.vhost.publish(route, createMessage('0123456789', { key: 'q', ...options(i) }), null, 0);
  };
  const before = memory();
  for (let i = 0; i < resting; i++) publish(i);
  return { core, queue, publish, bytes: (memory() - before) / resting };
}

interface Rested {
  readonly core: Core;
  readonly queue: LocalQueue;
  readonly publish: (i: number) => void;
  readonly bytes: number;
}

const headers = (name: string, i: number) => ({ properties: { headers: new Map([[name, `value ${i}`]]) } });

/** What the feature adds to the same publish into a queue without it. */
function compared(name: string, args: Readonly<Record<string, Value>>, options: (i: number) => MessageOptions): void {
  const [plain, own] = [rest({}, options), rest(args, options)];
  const time = ({ publish }: Rested, from: number): number =>
    nanoseconds(measured, () => {
      for (let i = 0; i < measured; i++) publish(from + i);
    });
  const rounds = [0, 1, 2].map((round) => time(own, round * measured) - time(plain, round * measured));
  report(`${name}: a publish costs more by`, rounds.sort((a, b) => a - b)[1]!);
  const octets = (own.bytes - plain.bytes).toFixed(0).padStart(7);
  process.stdout.write(`${`${name}: memory of each, more by`.padEnd(44)} ${octets} octets\n`);
}

/** A delivery and its ack, of a queue with a million messages in a thousand groups, to ten consumers. */
function grouped(args: Readonly<Record<string, Value>>, name: string): void {
  const { core, queue } = rest(args, (i) => ({ properties: { groupId: `group ${i % 1000}` } }));
  const consumers = Array.from({ length: 10 }, () => new TestConsumer(core.client, { credit: 10 }));
  for (const consumer of consumers) queue.attach(consumer);
  const ns = nanoseconds(measured, () => {
    for (let i = 0; i < measured; ) {
      for (const consumer of consumers) {
        const given = consumer.entries.splice(0);
        for (const entry of given) entry.ack();
        consumer.bodies.length = 0;
        consumer.grant(given.length, queue);
        i += given.length;
      }
    }
  });
  report(name, ns);
}

delayed();
expiring();
atOnce('expiry: a million at once', (core) => {
  const expiresAtMs = core.clock.nowMs + 1000;
  core.vhost.publish(core.vhost.routeFor('', 'q'), createMessage('0123456789', { key: 'q', expiresAtMs }), null, 0);
});
atOnce('delayed: a million at once', (core) => {
  const message = createMessage('0123456789', { key: 'q' });
  message.timing = { dueMs: core.clock.nowMs + 1000, repeat: null };
  core.vhost.publish(core.vhost.routeFor('', 'q'), message, null, 0);
});
await late();
compared('deduplication', { 'x-deduplication': true }, (i) => headers('x-deduplication-id', i));
compared('last values', { 'x-last-value-key': 'k' }, (i) => headers('k', i));
grouped({}, 'without groups: a delivery and its ack');
grouped({ 'x-message-groups': true }, 'groups: a delivery and its ack');
