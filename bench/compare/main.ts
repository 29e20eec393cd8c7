import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Result, run, type Scenario } from '../perf/run.ts';
import { Fleet } from './fleet.ts';
import { type Peer, type PeerName, peers, type RunningPeer, rosetta } from './peers.ts';
import { type LatencyRow, type Report, type Row, toJson, toMarkdown } from './report.ts';
import { type Comparison, canRun, comparisons, latencyRows } from './scenarios.ts';
import {
  type Figure,
  measureBacklog,
  measureConnections,
  measureQueues,
  quickSizes,
  type Sizes,
  sizes,
} from './special.ts';

const help = `Usage: npm run bench:compare -- [options]

Runs the same load, from this process, on RosettaMQ and on every other broker that is installed, each started with a
fresh directory, and writes the medians, the goals and which of them are met as Markdown and JSON.

  --quick            a few minutes: one round of 1 s each, a tenth of the connections, queues and backlog
  --peers A,B        only these (RosettaMQ is always there): ${peers
    .slice(1)
    .map(({ name }) => name)
    .join(', ')}
  --only TEXT        only what has it in its name: scenarios, connections, queues, backlog; repeatable
  --rounds N         of each (3); fewer when they would not be done in --minutes M (24), on a busy machine
  --seconds S        measured time of each run (1.5), after --warmup S (0.7), and before that 1.5 s at full speed where
                     the scenario has a rate
  --no-special       without idle connections, connect storm, queues and backlog
  --no-latency       without latencies at equal load
  --out DIR          where compare.md and compare.json go (bench/compare/results)
`;

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    peers: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string' },
    minutes: { type: 'string', default: '24' },
    seconds: { type: 'string' },
    warmup: { type: 'string' },
    'no-special': { type: 'boolean', default: false },
    'no-latency': { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench/compare/results' },
    help: { type: 'boolean', default: false },
  },
});

const roundsMax = Number(flags.rounds ?? (flags.quick ? 1 : 3));
const seconds = Number(flags.seconds ?? (flags.quick ? 1 : 1.5));
const warmupSeconds = Number(flags.warmup ?? (flags.quick ? 0.5 : 0.7));
/** Beside a run's own time: connecting hundreds, and waiting for what is under way. */
const runTimeoutMs = (seconds + warmupSeconds + 60) * 1000;
const warmUpSeconds = 1.5;
const specialTimeoutMs = 240_000;
/** What is measured after the rounds takes so long. */
const afterRoundsMs = (flags['no-special'] ? 0 : 6 * 60_000) + (flags['no-latency'] ? 0 : 2 * 60_000);
const deadlineMs = performance.now() + Number(flags.minutes) * 60_000;

const fleet = new Fleet();

if (flags.help) process.stdout.write(help);
else await main();

async function main(): Promise<void> {
  const present = peers.filter((peer) => peer === rosetta || isWanted(peer));
  for (const peer of present) say(`${peer.name} ${peer.version()}: ${peer.settings}`);
  const scenarios = comparisons(warmupSeconds, seconds).filter(({ name }) => isAskedFor(name));
  const { rows, rounds } = await compareAll(scenarios, present);
  const latencies = flags['no-latency'] ? [] : await compareLatencies(scenarios, rows, present);
  await fleet.endRound();
  const figures = new Map<PeerName, Figure[]>();
  if (!flags['no-special']) for (const peer of present) figures.set(peer.name, await measureSpecial(peer));
  const report: Report = { peers: present, rounds, seconds, rows, latencies, figures };
  mkdirSync(flags.out, { recursive: true });
  writeFileSync(join(flags.out, 'compare.json'), toJson(report));
  writeFileSync(join(flags.out, 'compare.md'), toMarkdown(report));
  process.stdout.write(`\n${toMarkdown(report)}`);
}

function isWanted(peer: Peer): boolean {
  const wanted = flags.peers?.split(',').map((name) => name.trim().toLowerCase());
  if (wanted !== undefined && !wanted.includes(peer.name.toLowerCase())) return false;
  if (peer.installed()) return true;
  say(`${peer.name} is not installed`);
  return false;
}

function isAskedFor(name: string): boolean {
  return flags.only.length === 0 || flags.only.some((part) => name.includes(part));
}

/** All brokers in turn, scenario after scenario and round after round, so that what else the machine does meets all. */
async function compareAll(scenarios: readonly Comparison[], present: readonly Peer[]) {
  const runs = new Map(scenarios.map(({ name }) => [name, new Map<PeerName, Result[]>()]));
  let rounds = 0;
  for (let roundMs = 0; rounds < roundsMax; rounds++) {
    const startMs = performance.now();
    if (rounds > 0 && startMs + roundMs + afterRoundsMs > deadlineMs) {
      say(`no time for more than ${rounds} rounds`);
      break;
    }
    for (const { name, scenario } of scenarios) {
      for (const peer of present.filter((candidate) => canRun(candidate, scenario))) {
        const results = runs.get(name)!;
        const result = await runOn(peer, name, scenario);
        results.set(peer.name, [...(results.get(peer.name) ?? []), ...(result === null ? [] : [result])]);
      }
    }
    await fleet.endRound();
    roundMs = performance.now() - startMs;
  }
  const rows = scenarios.map(({ name }): Row => {
    const results = [...runs.get(name)!];
    return {
      name,
      results: new Map(results.flatMap(([peer, of]) => (of.length === 0 ? [] : [[peer, median(of)] as const]))),
      failed: results.filter(([, of]) => of.length === 0).map(([peer]) => peer),
    };
  });
  return { rows, rounds };
}

async function compareLatencies(
  scenarios: readonly Comparison[],
  rows: readonly Row[],
  present: readonly Peer[],
): Promise<LatencyRow[]> {
  const latencies: LatencyRow[] = [];
  for (const comparison of scenarios.filter(({ name }) => latencyRows.has(name))) {
    const row = rows.find(({ name }) => name === comparison.name)!;
    latencies.push(...(await compareLatency(comparison, row, present)));
  }
  return latencies;
}

async function compareLatency(
  { name, scenario }: Comparison,
  row: Row,
  present: readonly Peer[],
): Promise<LatencyRow[]> {
  const ours = row.results.get('RosettaMQ');
  const rows: LatencyRow[] = [];
  for (const peer of present) {
    const theirs = row.results.get(peer.name);
    if (peer === rosetta || ours === undefined || theirs === undefined) continue;
    const rate = Math.round(Math.min(ours.messagesPerSecond, theirs.messagesPerSecond) / 5);
    const paced = { ...scenario, rate };
    const [theirResult, ourResult] = [
      await runOn(peer, `${name} at ${rate}/s`, paced),
      await runOn(rosetta, `${name} at ${rate}/s`, paced),
    ];
    if (theirResult !== null && ourResult !== null) {
      rows.push({ name, peer: peer.name, rate, theirs: theirResult, ours: ourResult });
    }
  }
  return rows;
}

/** What fails is tried once more, on one started anew. */
async function runOn(peer: Peer, name: string, scenario: Scenario): Promise<Result | null> {
  for (const trial of [1, 2]) {
    try {
      const result = await fleet.use(peer, runTimeoutMs, async ({ target }) => {
        if (scenario.rate > 0) await run(warmUpOf(scenario), target);
        return run(scenario, target);
      });
      if (result.messages === 0) throw new Error('nothing arrived');
      say(`${labelOf(name, peer)} ${summaryOf(result)}`);
      return result;
    } catch (error) {
      say(`${labelOf(name, peer)} failed (${trial}): ${error instanceof Error ? error.message : error}`);
    }
  }
  return null;
}

// At a given rate, code that is compiled as it runs would still be cold: half of what a message costs in the first second.
function warmUpOf(scenario: Scenario): Scenario {
  return { ...scenario, rate: 0, window: 10, warmupSeconds: 0, seconds: warmUpSeconds };
}

async function measureSpecial(peer: Peer): Promise<Figure[]> {
  const figures: Figure[] = [];
  const measure = async (name: string, work: (running: RunningPeer, of: Sizes) => Promise<Figure[]>) => {
    if (!isAskedFor(name)) return;
    try {
      const measured = await fleet.useFresh(peer, specialTimeoutMs, { inspect: true }, (running) =>
        work(running, flags.quick ? quickSizes : sizes),
      );
      for (const figure of measured) say(`${labelOf(figure.name, peer)} ${figure.value.toFixed(1)} ${figure.unit}`);
      figures.push(...measured);
    } catch (error) {
      say(`${labelOf(name, peer)} failed: ${error instanceof Error ? error.message : error}`);
    }
  };
  if (peer.speaks.includes('mqtt')) await measure('connections', measureConnections);
  if (peer.speaks.includes('amqp')) await measure('queues', measureQueues);
  if (peer.speaks.includes('amqp')) await measure('backlog', measureBacklog);
  return figures;
}

/** By what a message cost: of two, the dearer. */
function median(results: readonly Result[]): Result {
  const sorted = [...results].sort((a, b) => a.brokerCpuMicrosPerMessage - b.brokerCpuMicrosPerMessage);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function labelOf(name: string, peer: Peer): string {
  return `${name.padEnd(44)} ${peer.name.padEnd(12)}`;
}

function summaryOf({ messagesPerSecond, brokerCpuMicrosPerMessage, generatorCpu, lost }: Result): string {
  return (
    `${Math.round(messagesPerSecond).toString().padStart(9)}/s ${brokerCpuMicrosPerMessage.toFixed(2).padStart(7)} µs, ` +
    `generator ${(generatorCpu * 100).toFixed(0)} %${lost > 0 ? `, ${lost} lost` : ''}`
  );
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
