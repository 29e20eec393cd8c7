import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Broker } from '../../src/core/broker.ts';
import type { PagingLimits } from '../../src/core/queue/pager.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silent } from '../../src/lib/log.ts';
import { Timers } from '../../src/lib/timers.ts';
import { openDisk } from '../../src/storage/disk.ts';
import { SegmentJournal } from '../../src/storage/journal.ts';
import { createClient, createMessage, openDoor, TestConsumer } from '../../test/support/core.ts';

/**
 * A backlog without protocols: fills a durable queue, stops, starts again, and drains it, and says what memory and time it
 * took. `--queue-bytes` is `memory.queueBytes`; Infinity keeps everything in memory.
 */
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    size: { type: 'string', default: '100' },
    'queue-bytes': { type: 'string', default: String(16 * 1024 * 1024) },
    transient: { type: 'boolean', default: false },
    restart: { type: 'boolean', default: false },
  },
});
const count = Number(values.messages);
const body = 'x'.repeat(Number(values.size));
const limits: PagingLimits = {
  queueBytes: Number(values['queue-bytes']),
  bodyBytes: Number.POSITIVE_INFINITY,
  heapBytes: Number.POSITIVE_INFINITY,
};
const turnMessages = 1000;

/** Forgets what it is given. */
class Drain extends TestConsumer {
  delivered = 0;

  override deliver(): void {
    this.credit -= 1;
    this.delivered += 1;
  }
}

const directory = await mkdtemp(join(tmpdir(), 'rosettamq-backlog-'));
try {
  await run();
} finally {
  await rm(directory, { recursive: true, force: true });
}
process.exit(0);

async function open(): Promise<{ broker: Broker; journal: SegmentJournal }> {
  const clock = new SystemClock();
  const timers = new Timers(clock);
  const { journal, recovered } = await SegmentJournal.open(await openDisk(directory), {
    segmentBytes: 64 * 1024 * 1024,
    log: silent,
    clock,
    timers,
  });
  const broker = new Broker({
    journal,
    clock,
    timers,
    log: silent,
    createToken: () => 'token',
    authenticator: openDoor,
    paging: { store: journal.cold, limits },
  });
  broker.addVhost('/');
  broker.restore(recovered);
  return { broker, journal };
}

async function run(): Promise<void> {
  let { broker, journal } = await open();
  const emptyBytes = process.memoryUsage.rss();
  const vhost = broker.getVhost('/');
  const spec = { name: 'q', durable: true, autoDelete: false, exclusiveTo: null, arguments: new Map() };
  vhost.declareQueue(createClient(vhost), spec);
  let startMs = performance.now();
  for (let sent = 0; sent < count; sent += turnMessages) {
    const route = vhost.routeFor('', 'q');
    for (let i = 0; i < turnMessages; i++) {
      vhost.publish(route, createMessage(body, { durable: !values.transient, key: 'q' }), null, 0);
    }
    await turn();
    while (journal.backlogBytes > 16 * 1024 * 1024) await turn();
  }
  await new Promise<void>((resolve) => journal.whenDurable(journal.position, resolve));
  say('filled', startMs, emptyBytes);
  if (values.restart) {
    await journal.close();
    broker.timers.stop();
    startMs = performance.now();
    ({ broker, journal } = await open());
    say('started again', startMs, emptyBytes);
  }
  const queue = broker.getVhost('/').queues.get('q')!;
  const consumer = new Drain(createClient(broker.getVhost('/')), { settles: true, credit: turnMessages });
  startMs = performance.now();
  queue.attach(consumer);
  while (consumer.delivered < count) {
    await turn();
    consumer.grant(turnMessages - consumer.credit, queue);
    while (journal.backlogBytes > 16 * 1024 * 1024) await turn();
  }
  say('drained', startMs, emptyBytes);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function say(what: string, startMs: number, emptyBytes: number): void {
  const seconds = (performance.now() - startMs) / 1000;
  const mebibytes = (process.memoryUsage.rss() - emptyBytes) / 1024 / 1024;
  const rate = Math.round(count / seconds).toLocaleString('en');
  process.stdout.write(
    `${what.padEnd(14)} ${seconds.toFixed(2)} s, ${rate} messages/s, ${Math.round(mebibytes)} MiB over the empty broker\n`,
  );
}
