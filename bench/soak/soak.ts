import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BrokerProcess } from '../../test/support/broker-process.ts';
import { residentBytes } from '../perf/cost.ts';
import { type ProtocolName, type Result, run, type Scenario, type Target } from '../perf/run.ts';
import { Churn } from './churn.ts';

export interface SoakOptions {
  readonly peakSeconds: number;
  /** Of the peak. */
  readonly share: number;
  readonly warmupSeconds: number;
  readonly seconds: number;
  /** What memory and disk are averaged over, at the end of the warm-up and of the whole. */
  readonly windowSeconds: number;
  tell(line: string): void;
}

export interface SoakResult {
  readonly rate: number;
  readonly lost: number;
  readonly rounds: number;
  readonly memoryBytes: { readonly warm: number; readonly end: number };
  readonly diskBytes: { readonly warm: number; readonly end: number };
}

interface Sample {
  readonly atMs: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

const common = {
  pubs: 1,
  subs: 1,
  bodyBytes: 200,
  headers: 0,
  persistent: true,
  confirm: true,
  ackEvery: 20,
  prefetch: 1000,
  messages: 0,
};

/** Everything persistent, confirmed and acknowledged; the last pair crosses. */
const pairs: readonly { readonly pub: ProtocolName; readonly sub: ProtocolName }[] = [
  { pub: 'amqp', sub: 'amqp' },
  { pub: 'amqp10', sub: 'amqp10' },
  { pub: 'mqtt', sub: 'mqtt' },
  { pub: 'stomp', sub: 'stomp' },
  { pub: 'mqtt', sub: 'amqp' },
];

/**
 * A broker under a share of the load that it can bear, in all protocols, while queues, sessions and consumers come and go. Finds
 * what the load may be by bearing all of it for a while.
 */
export async function soak(broker: BrokerProcess, options: SoakOptions): Promise<SoakResult> {
  const target = targetOf(broker);
  const { tell, share, warmupSeconds, seconds, windowSeconds } = options;
  const peaks = await load(target, { rates: pairs.map(() => 0), warmupSeconds: 1, seconds: options.peakSeconds });
  const rates = peaks.map(({ messagesPerSecond }) => Math.max(100, Math.floor(messagesPerSecond * share)));
  const rate = rates.reduce((sum, each) => sum + each, 0);
  tell(`peak ${Math.floor(rate / share)} messages/s together; soaking at ${rate}`);
  const samples: Sample[] = [];
  const churn = new Churn(target);
  churn.start();
  const startMs = performance.now();
  let sampling = false;
  const sampler = setInterval(async () => {
    if (sampling) return;
    sampling = true;
    const diskBytes = await sizeOf(broker.dataDir);
    const atMs = performance.now() - startMs;
    samples.push({ atMs, memoryBytes: residentBytes(broker.pid), diskBytes });
    if (samples.length % 30 === 0) tell(show(samples.at(-1)!, churn));
    sampling = false;
  }, 1000);
  const results = await load(target, { rates, warmupSeconds, seconds });
  clearInterval(sampler);
  const endMs = performance.now() - startMs;
  await churn.stop();
  const warm = within(samples, (warmupSeconds - windowSeconds) * 1000, warmupSeconds * 1000);
  const end = within(samples, endMs - windowSeconds * 1000, endMs);
  return {
    rate: results.reduce((sum, { messagesPerSecond }) => sum + messagesPerSecond, 0),
    lost: results.reduce((sum, { lost }) => sum + lost, 0) + churn.lost,
    rounds: churn.rounds,
    memoryBytes: { warm: mean(warm, 'memoryBytes'), end: mean(end, 'memoryBytes') },
    diskBytes: { warm: mean(warm, 'diskBytes'), end: mean(end, 'diskBytes') },
  };
}

interface Phase {
  /** By pair; 0: as fast as it goes. */
  readonly rates: readonly number[];
  readonly warmupSeconds: number;
  readonly seconds: number;
}

function load(target: Target, { rates, warmupSeconds, seconds }: Phase): Promise<Result[]> {
  const scenarios = pairs.map(
    (pair, i): Scenario => ({
      ...common,
      ...pair,
      qos: pair.pub === 'mqtt' ? 1 : 0,
      window: rates[i] === 0 ? 500 : 5000,
      rate: rates[i]!,
      warmupSeconds,
      seconds,
    }),
  );
  return Promise.all(scenarios.map((scenario) => run(scenario, target)));
}

function targetOf(broker: BrokerProcess): Target {
  const [amqp, mqtt, stomp] = [broker.port('amqp'), broker.port('mqtt'), broker.port('stomp')];
  const ports = { amqp, amqp10: amqp, mqtt, stomp };
  return { host: '127.0.0.1', ports, pid: broker.pid, user: 'guest', password: 'guest' };
}

/** Octets of the files of a directory; one that goes meanwhile counts nothing. */
async function sizeOf(directory: string): Promise<number> {
  const sizes = (await readdir(directory)).map((name) =>
    stat(join(directory, name)).then(
      ({ size }) => size,
      () => 0,
    ),
  );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

function within(samples: readonly Sample[], fromMs: number, toMs: number): Sample[] {
  return samples.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
}

function mean(samples: readonly Sample[], key: 'memoryBytes' | 'diskBytes'): number {
  return samples.reduce((sum, sample) => sum + sample[key], 0) / Math.max(1, samples.length);
}

function show({ atMs, memoryBytes, diskBytes }: Sample, churn: Churn): string {
  const [memory, disk] = [memoryBytes, diskBytes].map((bytes) => Math.round(bytes / 1024 / 1024));
  return `${Math.round(atMs / 1000)} s: memory ${memory} MiB, disk ${disk} MiB, ${churn.rounds} rounds, ${churn.lost} lost`;
}
