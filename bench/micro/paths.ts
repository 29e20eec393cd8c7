import type { Scenario } from '../perf/run.ts';

export interface Path {
  readonly name: string;
  readonly scenario: Partial<Scenario>;
  /** Octets of objects a message that the path may allocate: half as much again as it does. */
  readonly heapBytesMax: number;
}

/** The message path of each protocol and of each crossing that matters, and what a message may leave behind on it. */
export const paths: readonly Path[] = [
  { name: 'MQTT QoS 0', scenario: {}, heapBytesMax: 400 },
  { name: 'MQTT QoS 1', scenario: { qos: 1, window: 100 }, heapBytesMax: 1100 },
  { name: 'MQTT QoS 0, 1 to 20', scenario: { subs: 20, window: 100 }, heapBytesMax: 60 },
  { name: 'AMQP auto', scenario: { pub: 'amqp', sub: 'amqp' }, heapBytesMax: 400 },
  {
    name: 'AMQP confirms, acks',
    scenario: { pub: 'amqp', sub: 'amqp', confirm: true, ackEvery: 100 },
    heapBytesMax: 650,
  },
  { name: 'AMQP 1.0 settled', scenario: { pub: 'amqp10', sub: 'amqp10' }, heapBytesMax: 700 },
  {
    name: 'AMQP 1.0 unsettled',
    scenario: { pub: 'amqp10', sub: 'amqp10', confirm: true, ackEvery: 100 },
    heapBytesMax: 800,
  },
  { name: 'STOMP auto', scenario: { pub: 'stomp', sub: 'stomp' }, heapBytesMax: 420 },
  { name: 'MQTT to AMQP', scenario: { sub: 'amqp' }, heapBytesMax: 450 },
  { name: 'AMQP to STOMP', scenario: { pub: 'amqp', sub: 'stomp' }, heapBytesMax: 350 },
  { name: 'STOMP to MQTT', scenario: { pub: 'stomp' }, heapBytesMax: 420 },
];
