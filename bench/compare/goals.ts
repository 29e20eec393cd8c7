import type { Result } from '../perf/run.ts';
import type { PeerName } from './peers.ts';
import type { LatencyRow, Row } from './report.ts';
import { type Figure, idleMemory } from './special.ts';

/** How far ahead of each peer we mean to be: what is compared, and from which ratio on it is met. */
interface Goal {
  readonly scenario: string;
  /** At least so many times a peer's rate, or its CPU a message at most the same part of it. */
  readonly ahead?: Partial<Record<PeerName, number>>;
  /** Ours at most so many times a peer's CPU a message: for loads whose rate is given. */
  readonly cpuAtMost?: Partial<Record<PeerName, number>>;
}

const goals: readonly Goal[] = [
  { scenario: 'MQTT QoS 0', ahead: { Mosquitto: 12, 'nats-server': 3, RabbitMQ: 60, aedes: 15 } },
  { scenario: 'MQTT QoS 1, window 100', ahead: { Mosquitto: 12, 'nats-server': 15, RabbitMQ: 60, aedes: 10 } },
  { scenario: 'MQTT QoS 2, window 100', ahead: { Mosquitto: 12, aedes: 12 } },
  { scenario: 'MQTT fan-out 1→100', ahead: { Mosquitto: 15, 'nats-server': 3, RabbitMQ: 100, aedes: 40 } },
  {
    scenario: 'trickle, 500 connections, 5,000/s',
    cpuAtMost: { Mosquitto: 1.5, 'nats-server': 0.6, RabbitMQ: 0.15, aedes: 0.5 },
  },
  { scenario: 'AMQP auto-ack', ahead: { RabbitMQ: 15 } },
  { scenario: 'AMQP confirms + acks, transient', ahead: { RabbitMQ: 10 } },
  { scenario: 'AMQP persistent + confirms, 1 KiB', ahead: { RabbitMQ: 10 } },
  { scenario: 'STOMP auto', ahead: { RabbitMQ: 30, ActiveMQ: 30 } },
  { scenario: 'STOMP receipts + client ack', ahead: { RabbitMQ: 15, ActiveMQ: 10 } },
  { scenario: 'STOMP persistent, receipts + client ack', ahead: { ActiveMQ: 25 } },
  { scenario: 'MQTT → AMQP', ahead: { RabbitMQ: 25 } },
  { scenario: 'AMQP → STOMP', ahead: { RabbitMQ: 25 } },
  { scenario: 'STOMP → MQTT', ahead: { RabbitMQ: 25 } },
];

/** p99 at equal load: at most so many times the peer's; beside the first two, 2 ms are enough. */
const latencyAtMost: Record<PeerName, number> = {
  RosettaMQ: 1,
  Mosquitto: 1.5,
  'nats-server': 1.5,
  RabbitMQ: 0.5,
  ActiveMQ: 0.5,
  aedes: 0.5,
};
const latencyEnoughMicros = 2000;
const enoughBeside: readonly PeerName[] = ['Mosquitto', 'nats-server'];

const idleKibAtMost = 8;
const idleAtMost: Partial<Record<PeerName, number>> = { 'nats-server': 0.6, RabbitMQ: 0.2, aedes: 0.8 };

export interface Judgement {
  readonly what: string;
  readonly peer: PeerName | '–';
  readonly goal: string;
  readonly measured: string;
  readonly met: boolean;
}

export function judgeRow({ name, results }: Row): Judgement[] {
  const goal = goals.find(({ scenario }) => scenario === name);
  const ours = results.get('RosettaMQ');
  if (goal === undefined || ours === undefined) return [];
  return [
    ...ratios(goal.ahead, results, (theirs, least, peer) => {
      const rate = ours.messagesPerSecond / theirs.messagesPerSecond;
      const cpu = theirs.brokerCpuMicrosPerMessage / ours.brokerCpuMicrosPerMessage;
      const measured = `rate ${times(rate)}, CPU ${times(cpu)}`;
      return { what: name, peer, goal: `≥ ${least} ×`, measured, met: Math.max(rate, cpu) >= least };
    }),
    ...ratios(goal.cpuAtMost, results, (theirs, most, peer) => {
      const ratio = ours.brokerCpuMicrosPerMessage / theirs.brokerCpuMicrosPerMessage;
      return { what: name, peer, goal: `CPU ≤ ${most} ×`, measured: times(ratio), met: ratio <= most };
    }),
  ];
}

export function judgeLatency({ name, peer, ours, theirs }: LatencyRow): Judgement {
  const most = latencyAtMost[peer];
  const isEnough = enoughBeside.includes(peer);
  const ratio = ours.latencyMicros.p99 / theirs.latencyMicros.p99;
  return {
    what: `p99 latency, ${name}`,
    peer,
    goal: `≤ ${most} ×${isEnough ? ' or ≤ 2 ms' : ''}`,
    measured: `${times(ratio)}, ${(ours.latencyMicros.p99 / 1000).toFixed(2)} ms`,
    met: ratio <= most || (isEnough && ours.latencyMicros.p99 <= latencyEnoughMicros),
  };
}

export function judgeMemory(figures: ReadonlyMap<PeerName, readonly Figure[]>): Judgement[] {
  const idle = (peer: PeerName) => figures.get(peer)?.find(({ name }) => name === idleMemory)?.value;
  const ours = idle('RosettaMQ');
  if (ours === undefined) return [];
  const own: Judgement = {
    what: idleMemory,
    peer: '–',
    goal: `≤ ${idleKibAtMost} KiB`,
    measured: `${ours.toFixed(1)} KiB`,
    met: ours <= idleKibAtMost,
  };
  const others = [...figures.keys()].flatMap((peer) => {
    const [theirs, most] = [idle(peer), idleAtMost[peer]];
    if (theirs === undefined || most === undefined) return [];
    const ratio = ours / theirs;
    return { what: idleMemory, peer, goal: `≤ ${most} ×`, measured: times(ratio), met: ratio <= most };
  });
  return [own, ...others];
}

function ratios(
  bounds: Partial<Record<PeerName, number>> | undefined,
  results: ReadonlyMap<PeerName, Result>,
  judge: (theirs: Result, bound: number, peer: PeerName) => Judgement,
): Judgement[] {
  return Object.entries(bounds ?? {}).flatMap(([name, bound]) => {
    const theirs = results.get(name as PeerName);
    return theirs === undefined ? [] : judge(theirs, bound, name as PeerName);
  });
}

function times(ratio: number): string {
  return `${ratio.toFixed(ratio < 10 ? 2 : 0)} ×`;
}
