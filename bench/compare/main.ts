import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Result, run } from '../perf/run.ts';
import { type Peer, type PeerName, peers, rosetta } from './peers.ts';
import { type LatencyRow, type Report, type Row, toJson, toMarkdown } from './report.ts';
import { type Comparison, canRun, comparisons, latencyRows } from './scenarios.ts';
import { type Figure, measureBacklog, measureConnections, measureQueues } from './special.ts';

const help = `Usage: npm run bench:compare -- [options]

Runs the same load, from this process, on RosettaMQ and on every other broker that is installed, each started afresh for
every run, and writes the medians as a table (Markdown) and JSON.

  --peers A,B        only these (RosettaMQ is always there): ${peers
    .slice(1)
    .map(({ name }) => name)
    .join(', ')}
  --only TEXT        only scenarios whose names contain it; repeatable
  --rounds N         of each (3)
  --seconds S        measured time of each run (3), after --warmup S (1)
  --no-special       without idle connections, connect storm, queues and backlog
  --no-latency       without latencies at equal load
  --out DIR          where compare.md and compare.json go (bench/compare/results)
`;

const { values: flags } = parseArgs({
  options: {
    peers: { type: 'string' },
    only: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    warmup: { type: 'string', default: '1' },
    'no-special': { type: 'boolean', default: false },
    'no-latency': { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench/compare/results' },
    help: { type: 'boolean', default: false },
  },
});

if (flags.help) process.stdout.write(help);
else await main();

async function main(): Promise<void> {
  const rounds = Number(flags.rounds);
  const present = peers.filter((peer) => peer === rosetta || isWanted(peer));
  for (const peer of present) say(`${peer.name} ${peer.version()}: ${peer.settings}`);
  const scenarios = comparisons(Number(flags.warmup), Number(flags.seconds)).filter(({ name }) => isAskedFor(name));
  const rows: Row[] = [];
  for (const comparison of scenarios) rows.push(await compare(comparison, present, rounds));
  const latencies: LatencyRow[] = [];
  if (!flags['no-latency']) {
    for (const comparison of scenarios.filter(({ name }) => latencyRows.has(name))) {
      const row = rows.find(({ name }) => name === comparison.name)!;
      latencies.push(...(await compareLatency(comparison, row, present)));
    }
  }
  const figures = new Map<PeerName, Figure[]>();
  if (!flags['no-special']) for (const peer of present) figures.set(peer.name, await special(peer));
  const report: Report = { peers: present, rounds, seconds: Number(flags.seconds), rows, latencies, figures };
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

/** All brokers in turn, round after round, so that what else the machine does meets all of them. */
async function compare({ name, scenario }: Comparison, present: readonly Peer[], rounds: number): Promise<Row> {
  const runs = new Map<PeerName, Result[]>();
  for (let round = 0; round < rounds; round++) {
    for (const peer of present.filter((candidate) => canRun(candidate, scenario))) {
      const result = await runOn(peer, name, scenario);
      if (result !== null) runs.set(peer.name, [...(runs.get(peer.name) ?? []), result]);
    }
  }
  return { name, results: new Map([...runs].map(([peer, results]) => [peer, median(results)])) };
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
    const results = [
      await runOn(peer, `${name} at ${rate}/s`, paced),
      await runOn(rosetta, `${name} at ${rate}/s`, paced),
    ];
    if (results[0] != null && results[1] != null) {
      rows.push({ name, peer: peer.name, rate, theirs: results[0], ours: results[1] });
    }
  }
  return rows;
}

async function runOn(peer: Peer, name: string, scenario: Comparison['scenario']): Promise<Result | null> {
  const running = await peer.start();
  try {
    const result = await run(scenario, running.target);
    const { messagesPerSecond, brokerCpuMicrosPerMessage, generatorCpu, lost } = result;
    say(
      `${name.padEnd(44)} ${peer.name.padEnd(12)} ${Math.round(messagesPerSecond).toString().padStart(9)}/s ` +
        `${brokerCpuMicrosPerMessage.toFixed(2).padStart(7)} µs, generator ${(generatorCpu * 100).toFixed(0)} %` +
        `${lost > 0 ? `, ${lost} lost` : ''}`,
    );
    return result;
  } catch (error) {
    say(`${name.padEnd(44)} ${peer.name.padEnd(12)} failed: ${error instanceof Error ? error.message : error}`);
    return null;
  } finally {
    await running.stop();
  }
}

async function special(peer: Peer): Promise<Figure[]> {
  const figures: Figure[] = [];
  const measures = [
    ...(peer.speaks.includes('mqtt') ? [measureConnections] : []),
    ...(peer.speaks.includes('amqp') ? [measureQueues, measureBacklog] : []),
  ];
  for (const measure of measures) {
    try {
      for (const figure of await measure(peer)) {
        say(`${figure.name.padEnd(44)} ${peer.name.padEnd(12)} ${figure.value.toFixed(1)} ${figure.unit}`);
        figures.push(figure);
      }
    } catch (error) {
      say(`${measure.name} ${peer.name} failed: ${error instanceof Error ? error.message : error}`);
    }
  }
  return figures;
}

/** By what a message cost: of two, the dearer. */
function median(results: readonly Result[]): Result {
  const sorted = [...results].sort((a, b) => a.brokerCpuMicrosPerMessage - b.brokerCpuMicrosPerMessage);
  return sorted[Math.floor(sorted.length / 2)]!;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
