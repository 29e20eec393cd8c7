import type { Scenario } from '../perf/run.ts';

export interface Path {
  readonly name: string;
  readonly scenario: Partial<Scenario>;
  /** Octets of objects a message that the path may allocate: half as much again as it does. */
  readonly heapBytesMax: number;
}

/** The message path of each protocol and of each crossing that matters, and what a message may leave behind on it. */
export const paths: readonly Path[] = [
  { name: 'MQTT QoS 0', scenario: {}, heapBytesMax: 450 },
  { name: 'MQTT QoS 1', scenario: { qos: 1, window: 100 }, heapBytesMax: 1200 },
  { name: 'MQTT QoS 2', scenario: { qos: 2, window: 100 }, heapBytesMax: 1700 },
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
  {
    name: 'AMQP persistent, confirms, acks',
    scenario: { pub: 'amqp', sub: 'amqp', confirm: true, ackEvery: 100, persistent: true },
    heapBytesMax: 1100,
  },
  { name: 'STOMP auto', scenario: { pub: 'stomp', sub: 'stomp' }, heapBytesMax: 420 },
  {
    name: 'STOMP receipts, client ack',
    scenario: { pub: 'stomp', sub: 'stomp', confirm: true, ackEvery: 50, window: 100 },
    heapBytesMax: 820,
  },
  {
    name: 'STOMP persistent, receipts, client ack',
    scenario: { pub: 'stomp', sub: 'stomp', confirm: true, ackEvery: 50, window: 100, persistent: true },
    heapBytesMax: 1800,
  },
  { name: 'AMQP to MQTT', scenario: { pub: 'amqp', sub: 'mqtt' }, heapBytesMax: 350 },
  { name: 'MQTT to STOMP', scenario: { sub: 'stomp' }, heapBytesMax: 470 },
  { name: 'STOMP to AMQP', scenario: { pub: 'stomp', sub: 'amqp' }, heapBytesMax: 500 },
  { name: 'AMQP 1.0 to AMQP', scenario: { pub: 'amqp10', sub: 'amqp' }, heapBytesMax: 500 },
  { name: 'AMQP to AMQP 1.0', scenario: { pub: 'amqp', sub: 'amqp10' }, heapBytesMax: 570 },
  { name: 'MQTT to AMQP 1.0', scenario: { sub: 'amqp10' }, heapBytesMax: 640 },
  { name: 'MQTT to AMQP', scenario: { sub: 'amqp' }, heapBytesMax: 450 },
  { name: 'AMQP to STOMP', scenario: { pub: 'amqp', sub: 'stomp' }, heapBytesMax: 350 },
  { name: 'STOMP to MQTT', scenario: { pub: 'stomp' }, heapBytesMax: 420 },
  { name: 'MQTT to AMQP, 5 headers', scenario: { sub: 'amqp', headers: 5 }, heapBytesMax: 800 },
  { name: 'AMQP to MQTT, 5 headers', scenario: { pub: 'amqp', sub: 'mqtt', headers: 5 }, heapBytesMax: 770 },
  { name: 'AMQP to STOMP, 5 headers', scenario: { pub: 'amqp', sub: 'stomp', headers: 5 }, heapBytesMax: 700 },
  { name: 'STOMP to AMQP, 5 headers', scenario: { pub: 'stomp', sub: 'amqp', headers: 5 }, heapBytesMax: 750 },
  { name: 'STOMP to MQTT, 5 headers', scenario: { pub: 'stomp', headers: 5 }, heapBytesMax: 800 },
  { name: 'MQTT to STOMP, 5 headers', scenario: { sub: 'stomp', headers: 5 }, heapBytesMax: 750 },
  { name: 'AMQP 1.0 to AMQP, 5 headers', scenario: { pub: 'amqp10', sub: 'amqp', headers: 5 }, heapBytesMax: 860 },
  { name: 'AMQP to AMQP 1.0, 5 headers', scenario: { pub: 'amqp', sub: 'amqp10', headers: 5 }, heapBytesMax: 900 },
];
