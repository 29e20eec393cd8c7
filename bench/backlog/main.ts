import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { PagingLimits } from '../../src/core/queue/pager.ts';
import { createClient, TestConsumer } from '../../test/support/core.ts';
import { caughtUp, declare, fill, openHouse, turn, turnMessages, written } from './house.ts';

/**
 * A backlog without protocols: fills a durable queue, stops, starts again, and drains it, and says what memory and time it
 * took. `--queue-bytes` is `memory.queueBytes`; Infinity keeps everything in memory. `--rounds 3` has it done three times as
 * it says and three times in memory, by turns, and compares what the drains cost.
 */
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    size: { type: 'string', default: '100' },
    'queue-bytes': { type: 'string', default: String(16 * 1024 * 1024) },
    transient: { type: 'boolean', default: false },
    restart: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '0' },
  },
});
const count = Number(values.messages);
const body = 'x'.repeat(Number(values.size));
const limits: PagingLimits = {
  queueBytes: Number(values['queue-bytes']),
  bodyBytes: Number.POSITIVE_INFINITY,
  heapBytes: Number.POSITIVE_INFINITY,
};

/** Forgets what it is given. Who waits for it takes no time meanwhile. */
class Drain extends TestConsumer {
  delivered = 0;
  private onSpent: (() => void) | null = null;

  override deliver(): void {
    this.credit -= 1;
    this.delivered += 1;
    if (this.credit === 0) this.onSpent?.();
  }

  /** Resolves in the turn after that in which its credit was spent. */
  async spent(): Promise<void> {
    if (this.credit > 0) await new Promise<void>((resolve) => (this.onSpent = resolve));
    await turn();
  }
}

if (Number(values.rounds) > 0) await compare(Number(values.rounds));
else await measure();
process.exit(0);

/** What the drain cost is told to a process that forked this one. */
async function measure(): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'rosettamq-backlog-'));
  try {
    const micros = await run(directory);
    process.send?.(micros);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function compare(rounds: number): Promise<void> {
  const paged: number[] = [];
  const inMemory: number[] = [];
  const args = process.argv.slice(2).filter((arg, i, all) => !arg.startsWith('--rounds') && all[i - 1] !== '--rounds');
  for (let round = 0; round < rounds; round++) {
    paged.push(await measureApart(args));
    inMemory.push(await measureApart([...args, '--queue-bytes', 'Infinity']));
  }
  const [slow, fast] = [median(paged), median(inMemory)];
  process.stdout.write(
    `drained, medians: paged ${slow.toFixed(3)} µs of CPU each, in memory ${fast.toFixed(3)}: ${Math.round((100 * fast) / slow)} %\n`,
  );
}

async function measureApart(args: readonly string[]): Promise<number> {
  const child = fork(import.meta.filename, args);
  const [micros] = await once(child, 'message');
  await once(child, 'exit');
  return micros;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!;
}

/** @returns µs of CPU a message that the drain took */
async function run(directory: string): Promise<number> {
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
  const consumer = new Drain(createClient(vhost), { settles: true, credit: Math.min(turnMessages, count) });
  start = now();
  queue.attach(consumer);
  for (;;) {
    await consumer.spent();
    if (consumer.delivered === count) break;
    await caughtUp(house.journal);
    consumer.grant(Math.min(turnMessages, count - consumer.delivered), queue);
  }
  await written(house.journal); // the settlements are part of it, wherever the messages were
  return say('drained', start, emptyBytes);
}

/** @returns µs of CPU a message */
function say(what: string, { startMs, cpu }: Start, emptyBytes: number): number {
  const seconds = (performance.now() - startMs) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const mebibytes = (process.memoryUsage.rss() - emptyBytes) / 1024 / 1024;
  const rate = Math.round(count / seconds).toLocaleString('en');
  const micros = (user + system) / count;
  process.stdout.write(
    `${what.padEnd(14)} ${seconds.toFixed(2)} s, ${rate} messages/s, ${micros.toFixed(2)} µs of CPU each, ${Math.round(mebibytes)} MiB over the empty broker\n`,
  );
  return micros;
}

interface Start {
  readonly startMs: number;
  readonly cpu: NodeJS.CpuUsage;
}

function now(): Start {
  return { startMs: performance.now(), cpu: process.cpuUsage() };
}
