import type { ProtocolName, Scenario } from '../perf/run.ts';
import type { Peer } from './peers.ts';

/** What is run on each broker. */
export interface Comparison {
  readonly name: string;
  readonly scenario: Scenario;
}

const base: Omit<Scenario, 'warmupSeconds' | 'seconds'> = {
  pub: 'mqtt',
  sub: 'mqtt',
  pubs: 1,
  subs: 1,
  bodyBytes: 100,
  headers: 0,
  qos: 0,
  persistent: false,
  confirm: false,
  ackEvery: 0,
  prefetch: 1000,
  window: 1000,
  rate: 0,
  messages: 0,
};

const amqp = { pub: 'amqp', sub: 'amqp' } as const;
const stomp = { pub: 'stomp', sub: 'stomp' } as const;
const receipts = { ...stomp, confirm: true, ackEvery: 50, window: 100 } as const;

const rows: readonly (readonly [string, Partial<Scenario>])[] = [
  ['MQTT QoS 0', {}],
  ['MQTT QoS 0, 16 B', { bodyBytes: 16 }],
  ['MQTT QoS 0, 1 KiB', { bodyBytes: 1024 }],
  ['MQTT QoS 0, 64 KiB', { bodyBytes: 65_536, window: 100 }],
  ['MQTT QoS 1, window 100', { qos: 1, window: 100 }],
  ['MQTT QoS 2, window 100', { qos: 2, window: 100 }],
  ['MQTT fan-out 1→100', { subs: 100, window: 100 }],
  ['MQTT fan-in 100→1', { pubs: 100, window: 10 }],
  ['trickle, 500 connections, 5,000/s', { pubs: 250, subs: 250, rate: 5000 }],
  ['AMQP auto-ack', amqp],
  ['AMQP auto-ack, 16 B', { ...amqp, bodyBytes: 16 }],
  ['AMQP auto-ack, 1 KiB', { ...amqp, bodyBytes: 1024 }],
  ['AMQP auto-ack, 64 KiB', { ...amqp, bodyBytes: 65_536, window: 100 }],
  ['AMQP confirms + acks, transient', { ...amqp, confirm: true, ackEvery: 100 }],
  ['AMQP persistent + confirms, 1 KiB', { ...amqp, confirm: true, ackEvery: 100, persistent: true, bodyBytes: 1024 }],
  ['STOMP auto', stomp],
  ['STOMP receipts + client ack', receipts],
  ['STOMP persistent, receipts + client ack', { ...receipts, persistent: true }],
  ['MQTT → AMQP', { sub: 'amqp' }],
  ['AMQP → STOMP', { pub: 'amqp', sub: 'stomp' }],
  ['STOMP → MQTT', { pub: 'stomp', sub: 'mqtt' }],
];

export function comparisons(warmupSeconds: number, seconds: number): Comparison[] {
  return rows.map(([name, differs]) => ({ name, scenario: { ...base, ...differs, warmupSeconds, seconds } }));
}

/** Those whose latency at equal load is compared too: at a fifth of the slower one's rate. */
export const latencyRows: ReadonlySet<string> = new Set([
  'MQTT QoS 0',
  'MQTT QoS 1, window 100',
  'AMQP confirms + acks, transient',
  'STOMP auto',
]);

export function canRun(peer: Peer, { pub, sub, qos }: Scenario): boolean {
  const speaks = (protocol: ProtocolName | 'none') => protocol === 'none' || peer.speaks.includes(protocol);
  return speaks(pub) && speaks(sub) && ((pub !== 'mqtt' && sub !== 'mqtt') || qos <= peer.qosMax);
}
