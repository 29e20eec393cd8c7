import { execFileSync } from 'node:child_process';
import { cpus, release } from 'node:os';
import type { Result } from '../perf/run.ts';
import { type Judgement, judgeLatency, judgeMemory, judgeRow } from './goals.ts';
import type { Peer, PeerName } from './peers.ts';
import type { Figure } from './special.ts';

export interface Row {
  readonly name: string;
  /** The median of the rounds. */
  readonly results: ReadonlyMap<PeerName, Result>;
  /** Who was to be measured and could not be. */
  readonly failed: readonly PeerName[];
}

export interface LatencyRow {
  readonly name: string;
  readonly peer: PeerName;
  readonly rate: number;
  readonly theirs: Result;
  readonly ours: Result;
}

export interface Report {
  readonly peers: readonly Peer[];
  readonly rounds: number;
  readonly seconds: number;
  readonly rows: readonly Row[];
  readonly latencies: readonly LatencyRow[];
  readonly figures: ReadonlyMap<PeerName, readonly Figure[]>;
}

export function toJson(report: Report): string {
  const { rows, latencies, figures, rounds, seconds } = report;
  return JSON.stringify(
    {
      ...machine(),
      rounds,
      seconds,
      peers: report.peers.map(({ name, version, settings }) => ({ name, version: version(), settings })),
      rows: rows.map(({ name, results, failed }) => ({ name, results: Object.fromEntries(results), failed })),
      latencies,
      figures: Object.fromEntries(figures),
      goals: judgements(report),
    },
    null,
    2,
  );
}

function judgements({ rows, latencies, figures }: Report): Judgement[] {
  return [...rows.flatMap(judgeRow), ...latencies.map(judgeLatency), ...judgeMemory(figures)];
}

export function toMarkdown(report: Report): string {
  const { peers } = report;
  const parts = [
    `${Object.values(machine()).join(', ')}; medians of ${report.rounds} rounds of ${report.seconds} s.`,
    peers.map((peer) => `- ${peer.name} ${peer.version()}: ${peer.settings}`).join('\n'),
  ];
  if (report.rows.length > 0) {
    parts.push(
      'Messages/s · broker µs a message (ratio of rates; ratio of CPU, both in favour of RosettaMQ). *g 95 %*: the generator used so much of its core, and may be what is measured.',
      table(
        ['scenario', ...peers.map(({ name }) => name)],
        report.rows.map((row) => [row.name, ...cells(row, peers)]),
      ),
    );
  }
  if (report.latencies.length > 0) {
    parts.push(
      'Latency at a fifth of the slower one’s rate, p50 / p99 in ms:',
      table(
        ['scenario', 'peer', 'messages/s', 'peer’s', 'RosettaMQ’s'],
        report.latencies.map(({ name, peer, rate, theirs, ours }) => [
          name,
          peer,
          grouped(rate),
          latency(theirs),
          latency(ours),
        ]),
      ),
    );
  }
  if (report.figures.size > 0) {
    const shown = peers.filter(({ name }) => (report.figures.get(name)?.length ?? 0) > 0);
    const names = [...new Set([...report.figures.values()].flat().map(({ name, unit }) => `${name}, ${unit}`))];
    parts.push(
      table(
        ['', ...shown.map(({ name }) => name)],
        names.map((name) => [name, ...shown.map((peer) => figureOf(report.figures.get(peer.name)!, name))]),
      ),
    );
  }
  const judged = judgements(report);
  if (judged.length > 0) {
    parts.push(
      'Goals: ours beside the peer’s in this run; of rate and CPU a message the better one counts, for what else the machine does disturbs the other.',
      table(
        ['', 'peer', 'goal', 'measured', 'met'],
        judged.map(({ what, peer, goal, measured, met }) => [what, peer, goal, measured, met ? 'yes' : '**no**']),
      ),
    );
  }
  return `${parts.join('\n\n')}\n`;
}

function cells({ results, failed }: Row, peers: readonly Peer[]): string[] {
  const ours = results.get('RosettaMQ');
  return peers.map(({ name }) => {
    const result = results.get(name);
    if (result === undefined) return failed.includes(name) ? 'failed' : '–';
    const limit = result.generatorCpu >= 0.9 ? ` *g ${(result.generatorCpu * 100).toFixed(0)} %*` : '';
    const text = `${grouped(result.messagesPerSecond)} · ${result.brokerCpuMicrosPerMessage.toFixed(2)}${limit}`;
    if (ours === undefined || result === ours) return text;
    const rate = ours.messagesPerSecond / result.messagesPerSecond;
    const cost = result.brokerCpuMicrosPerMessage / ours.brokerCpuMicrosPerMessage;
    return `${text} (${rate.toFixed(1)} ×; ${cost.toFixed(1)} ×)`;
  });
}

function figureOf(figures: readonly Figure[], label: string): string {
  const figure = figures.find(({ name, unit }) => `${name}, ${unit}` === label);
  if (figure === undefined) return '–';
  return figure.value >= 100 ? grouped(figure.value) : figure.value.toFixed(1);
}

function latency({ latencyMicros: { p50, p99 } }: Result): string {
  return `${(p50 / 1000).toFixed(2)} / ${(p99 / 1000).toFixed(2)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function machine(): { commit: string; machine: string; node: string } {
  const [cpu] = cpus();
  return {
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    machine: `${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, Linux ${release()}`,
    node: `Node ${process.versions.node}`,
  };
}
