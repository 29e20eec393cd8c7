import { type FileHandle, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { Latencies } from '../perf/latency.ts';
import { pace } from './pace.ts';
import { Publisher } from './publisher.ts';

/**
 * How long a confirm takes beside the disk alone, and while the journal gives space back. Slices of a second take turns, so
 * that all meet the same disk:
 *
 *   disk        writes of one message's size, each with its fdatasync, one behind the other: the next waits when one is late
 *   grouped     messages at the steady rate of the broker's, all that have come meanwhile with one write and one fdatasync
 *   quiet       a broker at a steady rate, a quarter of the messages kept and the others purged; its segments are large
 *   compacting  the same with segments so small that it moves what is kept all the time
 */
const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '5000' },
    size: { type: 'string', default: '1024' },
    seconds: { type: 'string', default: '15' },
    warmup: { type: 'string', default: '3' },
  },
});
const rate = Number(values.rate);
const body = Buffer.alloc(Number(values.size), 'x');
const sliceMs = 1000;

const directory = await mkdtemp(join(tmpdir(), 'rosettamq-confirm-'));
const quiet = await BrokerProcess.start();
const compacting = await BrokerProcess.start({ args: ['--set', 'journal.segmentBytes=4194304'] });
try {
  await main();
} finally {
  await quiet.remove();
  await compacting.remove();
  await rm(directory, { recursive: true, force: true });
}
process.exit(0);

async function main(): Promise<void> {
  const file = await open(join(directory, 'raw'), 'ax');
  const publishers = [
    await Publisher.open(quiet.port('amqp'), body),
    await Publisher.open(compacting.port('amqp'), body),
  ];
  const all = Array.from({ length: 4 }, () => new Latencies()) as [Latencies, Latencies, Latencies, Latencies];
  const [disk, grouped, ofQuiet, ofCompacting] = all;
  const rounds = Number(values.warmup) + Number(values.seconds);
  for (let round = 0; round < rounds; round++) {
    if (round === Number(values.warmup)) for (const latencies of all) latencies.clear();
    await syncAlone(file, disk);
    await syncGroups(file, grouped);
    await publishers[0]!.publish(rate, sliceMs, ofQuiet);
    await publishers[1]!.publish(rate, sliceMs, ofCompacting);
  }
  await file.close();
  for (const publisher of publishers) publisher.close();
  say('disk', disk, null);
  say('grouped', grouped, disk);
  say('quiet', ofQuiet, disk);
  say('… grouped', ofQuiet, grouped);
  say('compacting', ofCompacting, ofQuiet);
  for (const { dataDir } of [quiet, compacting]) await saySegments(dataDir);
}

async function syncAlone(file: FileHandle, latencies: Latencies): Promise<void> {
  for (const endMs = performance.now() + sliceMs; performance.now() < endMs; ) {
    const startMs = performance.now();
    await file.write(body);
    await file.datasync();
    latencies.add((performance.now() - startMs) * 1000);
  }
}

/** What a program that does nothing else could confirm, at the broker's rate and in the runtime that it has. */
async function syncGroups(file: FileHandle, latencies: Latencies): Promise<void> {
  let waiting: number[] = [];
  let writing: Promise<void> | null = null;
  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const group = waiting;
      waiting = [];
      await file.writev(group.map(() => body));
      await file.datasync();
      const nowMs = performance.now();
      for (const sinceMs of group) latencies.add((nowMs - sinceMs) * 1000);
    }
    writing = null;
  };
  await pace(rate, sliceMs, (count) => {
    const nowMs = performance.now();
    for (let i = 0; i < count; i++) waiting.push(nowMs);
    writing ??= write();
  });
  await writing;
}

function say(what: string, latencies: Latencies, beside: Latencies | null): void {
  const shown = [0.5, 0.99, 0.999].map((quantile) => {
    const micros = latencies.quantile(quantile);
    const ratio = beside === null ? '' : ` (${(micros / beside.quantile(quantile)).toFixed(2)} ×)`;
    return `p${quantile * 100} ${(micros / 1000).toFixed(2)} ms${ratio}`;
  });
  process.stdout.write(`${what.padEnd(11)} ${shown.join('  ')}  of ${latencies.count}\n`);
}

async function saySegments(dataDir: string): Promise<void> {
  const segments = (await readdir(dataDir)).filter((name) => name.endsWith('.segment')).sort();
  process.stdout.write(`${segments.length} segments are left of ${Number.parseInt(segments.at(-1)!, 10)}\n`);
}
