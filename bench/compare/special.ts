import { connect } from 'amqplib';
import { Inspector } from '../micro/inspector.ts';
import { AmqpLink } from '../perf/amqp.ts';
import { cpuMicros, residentBytes } from '../perf/cost.ts';
import { Latencies } from '../perf/latency.ts';
import { type Load, Topic } from '../perf/link.ts';
import { MqttLink } from '../perf/mqtt.ts';
import { Wire } from '../perf/wire.ts';
import type { RunningPeer } from './peers.ts';

/** A figure that no steady stream of messages gives. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
}

const load: Load = {
  bodyBytes: 100,
  headers: 0,
  qos: 0,
  persistent: false,
  confirm: false,
  ackEvery: 0,
  prefetch: 1000,
  user: 'guest',
  password: 'guest',
  run: 'compare',
};

/** How many of what is counted; a tenth of it for a quick look. */
export interface Sizes {
  readonly idle: number;
  readonly storm: number;
  readonly queues: number;
  readonly backlog: number;
}

export const sizes: Sizes = { idle: 10_000, storm: 2_000, queues: 10_000, backlog: 1_000_000 };
export const quickSizes: Sizes = { idle: 1_000, storm: 500, queues: 1_000, backlog: 100_000 };

export const idleMemory = 'idle MQTT connection: memory';

// Those that connect as fast as they can stay, and have paid for what a broker makes once when the idle ones come.
export async function measureConnections(running: RunningPeer, { idle, storm }: Sizes): Promise<Figure[]> {
  const { pid } = running.target;
  const inspector = running.broker === null ? null : await Inspector.of(running.broker);
  const wires: Wire[] = [];
  try {
    const stormed = stopwatch(pid);
    await open(running, wires, storm);
    const { seconds, micros } = stormed();
    const before = await resting(pid, inspector);
    await open(running, wires, idle);
    const after = await resting(pid, inspector);
    const idleFrom = cpuMicros(pid);
    await sleep(5000);
    const idleMicros = (cpuMicros(pid) - idleFrom) / 5;
    return [
      figure(idleMemory, 'KiB', (after - before) / 1024 / idle),
      figure('idle MQTT connections: CPU a second for all', 'µs', idleMicros),
      figure('connect storm: rate', '/s', storm / seconds),
      figure('connect storm: CPU a connection', 'µs', micros / storm),
    ];
  } finally {
    inspector?.close();
    for (const wire of wires) wire.close();
  }
}

export async function measureQueues(running: RunningPeer, { queues }: Sizes): Promise<Figure[]> {
  const { host, ports, pid, user, password } = running.target;
  const connection = await connect({ hostname: host, port: ports.amqp, username: user, password });
  connection.on('error', () => {}); // the broker is ended when this took too long
  try {
    const channel = await connection.createChannel();
    const stop = stopwatch(pid);
    for (let i = 0; i < queues; i += 100) {
      const names = Array.from({ length: 100 }, (_, k) => `compare-${i + k}`);
      await Promise.all(names.map((name) => channel.assertQueue(name, { durable: true })));
    }
    const { seconds, micros } = stop();
    return [
      figure('durable queues declared', 'queues/s', queues / seconds),
      figure('a durable queue declared: CPU', 'µs', micros / queues),
    ];
  } finally {
    await connection.close().catch(() => {});
  }
}

/** Persistent messages that nobody consumes, then drained by one consumer with acknowledgements. */
export async function measureBacklog(running: RunningPeer, { backlog }: Sizes): Promise<Figure[]> {
  const { target } = running;
  const latencies = new Latencies();
  const topic = new Topic(0);
  const durable: Load = { ...load, persistent: true, confirm: true, ackEvery: 100 };
  const wires: Wire[] = [];
  const link = async () => {
    const wire = await Wire.connect(target.host, target.ports.amqp);
    wires.push(wire);
    const made = new AmqpLink({ wire, load: durable, topic, latencies });
    await made.open();
    return made;
  };
  const demandOpen = () => {
    if (wires.some(({ closed }) => closed)) throw new Error('a connection was lost');
  };
  try {
    const consumer = await link();
    await consumer.declare();
    const publisher = await link();
    const batch = publisher.prepare();
    const before = residentBytes(target.pid);
    const fill = stopwatch(target.pid);
    while (topic.confirmed < backlog) {
      demandOpen();
      const room = Math.min(batch, 10_000 - (topic.published - topic.confirmed), backlog - topic.published);
      if (room > 0 && !publisher.wire.busy) publisher.publish(room);
      await (room > 0 ? nextTurn() : sleep(1));
    }
    const filled = fill();
    const resident = residentBytes(target.pid) - before;
    const drain = stopwatch(target.pid);
    await consumer.consume();
    while (topic.delivered < backlog) {
      demandOpen();
      await sleep(1);
    }
    const drained = drain();
    return [
      figure('backlog of persistent messages: fill', 'messages/s', backlog / filled.seconds),
      figure('backlog: fill, CPU a message', 'µs', filled.micros / backlog),
      figure('backlog: memory over the empty broker', 'MiB', resident / 1024 / 1024),
      figure('backlog: drain', 'messages/s', backlog / drained.seconds),
      figure('backlog: drain, CPU a message', 'µs', drained.micros / backlog),
    ];
  } finally {
    for (const wire of wires) wire.close();
  }
}

function stopwatch(pid: number): () => { seconds: number; micros: number } {
  const startMs = performance.now();
  const startMicros = cpuMicros(pid);
  return () => ({ seconds: (performance.now() - startMs) / 1000, micros: cpuMicros(pid) - startMicros });
}

async function open(running: RunningPeer, wires: Wire[], count: number): Promise<void> {
  const { host, ports } = running.target;
  const latencies = new Latencies();
  for (let i = 0; i < count; i += 100) {
    const group = Array.from({ length: Math.min(100, count - i) }, async (_, k) => {
      const wire = await Wire.connect(host, ports.mqtt);
      wires.push(wire);
      const link = new MqttLink({ wire, load, topic: new Topic(wires.length + k), latencies });
      await link.open();
      await link.subscribe();
    });
    await Promise.all(group);
  }
}

// After a collection where one can be asked for; the others have had five seconds to come to rest.
async function resting(pid: number, inspector: Inspector | null): Promise<number> {
  await sleep(5000);
  await inspector?.collectAll();
  await sleep(500);
  return residentBytes(pid);
}

function figure(name: string, unit: string, value: number): Figure {
  return { name, unit, value };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
