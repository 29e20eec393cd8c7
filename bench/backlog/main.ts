import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { PagingLimits } from '../../src/core/queue/pager.ts';
import { createClient, TestConsumer } from '../../test/support/core.ts';
import { caughtUp, declare, fill, openHouse, turn, turnMessages, written } from './house.ts';

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

async function run(): Promise<void> {
  let house = await openHouse(directory, limits);
  const emptyBytes = process.memoryUsage.rss();
  declare(house, 'q');
  let start = now();
  await fill(house, 'q', count, body, !values.transient);
  say('filled', start, emptyBytes);
  if (values.restart) {
    await house.journal.close();
    house.broker.timers.stop();
    start = now();
    house = await openHouse(directory, limits);
    say('started again', start, emptyBytes);
  }
  const vhost = house.broker.getVhost('/');
  const queue = vhost.queues.get('q')!;
  const consumer = new Drain(createClient(vhost), { settles: true, credit: turnMessages });
  start = now();
  queue.attach(consumer);
  while (consumer.delivered < count) {
    await turn();
    consumer.grant(turnMessages - consumer.credit, queue);
    await caughtUp(house.journal);
  }
  await written(house.journal); // the settlements are part of it, wherever the messages were
  say('drained', start, emptyBytes);
}

function say(what: string, { startMs, cpu }: Start, emptyBytes: number): void {
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const mebibytes = (process.memoryUsage.rss() - emptyBytes) / 1024 / 1024;
  const rate = Math.round(count / seconds).toLocaleString('en');
  const micros = ((user + system) / count).toFixed(2);
  process.stdout.write(
    `${what.padEnd(14)} ${seconds.toFixed(2)} s, ${rate} messages/s, ${micros} µs of CPU each, ${Math.round(mebibytes)} MiB over the empty broker\n`,
  );
}

interface Start {
  readonly startMs: number;
  readonly cpu: NodeJS.CpuUsage;
}

function now(): Start {
  return { startMs: performance.now(), cpu: process.cpuUsage() };
}
