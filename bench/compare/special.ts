import { connect } from 'amqplib';
import { Inspector } from '../micro/inspector.ts';
import { AmqpLink } from '../perf/amqp.ts';
import { cpuMicros, residentBytes } from '../perf/cost.ts';
import { Latencies } from '../perf/latency.ts';
import { type Load, Topic } from '../perf/link.ts';
import { MqttLink } from '../perf/mqtt.ts';
import { Wire } from '../perf/wire.ts';
import type { Peer, RunningPeer } from './peers.ts';

/** A figure that no steady stream of messages gives. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
}

const load: Load = {
  bodyBytes: 100,
  qos: 0,
  persistent: false,
  confirm: false,
  ackEvery: 0,
  prefetch: 1000,
  user: 'guest',
  password: 'guest',
  run: 'compare',
};

/** Connections that are counted; so many more before them pay for what a broker makes once. */
const idleConnections = 10_000;
const idleBefore = 2_000;
const stormConnections = 2_000;
const queues = 10_000;
const backlog = 1_000_000;

export async function measureConnections(peer: Peer): Promise<Figure[]> {
  const running = await peer.start({ inspect: true });
  const { pid } = running.target;
  const inspector = running.broker === null ? null : await Inspector.of(running.broker);
  const wires: Wire[] = [];
  try {
    await open(running, wires, idleBefore);
    const before = await resting(pid, inspector);
    await open(running, wires, idleConnections);
    const after = await resting(pid, inspector);
    const idleFrom = cpuMicros(pid);
    await sleep(5000);
    const idleMicros = (cpuMicros(pid) - idleFrom) / 5;
    for (const wire of wires.splice(0)) wire.close();
    await sleep(2000);
    const startMs = performance.now();
    const startMicros = cpuMicros(pid);
    await open(running, wires, stormConnections);
    const seconds = (performance.now() - startMs) / 1000;
    return [
      figure('idle MQTT connection: memory', 'KiB', (after - before) / 1024 / idleConnections),
      figure(`${idleConnections + idleBefore} idle MQTT connections: CPU a second`, 'µs', idleMicros),
      figure('connect storm: rate', '/s', stormConnections / seconds),
      figure('connect storm: CPU a connection', 'µs', (cpuMicros(pid) - startMicros) / stormConnections),
    ];
  } finally {
    inspector?.close();
    for (const wire of wires) wire.close();
    await running.stop();
  }
}

export async function measureQueues(peer: Peer): Promise<Figure[]> {
  const running = await peer.start();
  const { host, ports, pid, user, password } = running.target;
  const connection = await connect({ hostname: host, port: ports.amqp, username: user, password });
  try {
    const channel = await connection.createChannel();
    const startMs = performance.now();
    const startMicros = cpuMicros(pid);
    for (let i = 0; i < queues; i += 100) {
      const names = Array.from({ length: 100 }, (_, k) => `compare-${i + k}`);
      await Promise.all(names.map((name) => channel.assertQueue(name, { durable: true })));
    }
    const seconds = (performance.now() - startMs) / 1000;
    return [
      figure(`${queues} durable queues declared`, 'queues/s', queues / seconds),
      figure('a durable queue declared: CPU', 'µs', (cpuMicros(pid) - startMicros) / queues),
    ];
  } finally {
    await connection.close().catch(() => {});
    await running.stop();
  }
}

/** Persistent messages that nobody consumes, then drained by one consumer with acknowledgements. */
export async function measureBacklog(peer: Peer): Promise<Figure[]> {
  const running = await peer.start();
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
  try {
    const consumer = await link();
    await consumer.declare();
    const publisher = await link();
    const batch = publisher.prepare();
    const before = residentBytes(target.pid);
    const fill = stopwatch(target.pid);
    while (topic.confirmed < backlog) {
      const room = Math.min(batch, 10_000 - (topic.published - topic.confirmed), backlog - topic.published);
      if (room > 0 && !publisher.wire.busy) publisher.publish(room);
      await nextTurn();
    }
    const filled = fill();
    const resident = residentBytes(target.pid) - before;
    const drain = stopwatch(target.pid);
    await consumer.consume();
    while (topic.delivered < backlog) await nextTurn();
    const drained = drain();
    return [
      figure('backlog of 1,000,000 persistent: fill', 'messages/s', backlog / filled.seconds),
      figure('backlog: fill, CPU a message', 'µs', filled.micros / backlog),
      figure('backlog: memory over the empty broker', 'MiB', resident / 1024 / 1024),
      figure('backlog: drain', 'messages/s', backlog / drained.seconds),
      figure('backlog: drain, CPU a message', 'µs', drained.micros / backlog),
    ];
  } finally {
    for (const wire of wires) wire.close();
    await running.stop();
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
