import { BrokerProcess } from '../../test/support/broker-process.ts';
import { run, type Scenario } from '../perf/run.ts';
import { Inspector, inspectable } from './inspector.ts';

/** What a message leaves for the collector, on its whole way through the broker. */
export interface Allocations {
  /** Octets of JavaScript objects. */
  readonly heapBytes: number;
  /** Octets of buffers. */
  readonly bufferBytes: number;
}

const warmUpMessages = 100_000;
const fewMessages = 1_000;
const manyMessages = 51_000;

/** Octets allocated a message, counted in a broker that collects nothing meanwhile: the slope between few and many. */
export async function countAllocations(scenario: Partial<Scenario>): Promise<Allocations> {
  const broker = await BrokerProcess.start({ nodeArgs: inspectable });
  try {
    const inspector = await Inspector.of(broker);
    await inspector.evaluate(noteCollections);
    await publish(broker, scenario, warmUpMessages);
    const few = await allocatedBy(inspector, () => publish(broker, scenario, fewMessages));
    const many = await allocatedBy(inspector, () => publish(broker, scenario, manyMessages));
    inspector.close();
    const messages = (manyMessages - fewMessages) * (scenario.subs ?? 1);
    return {
      heapBytes: (many.heapBytes - few.heapBytes) / messages,
      bufferBytes: (many.bufferBytes - few.bufferBytes) / messages,
    };
  } finally {
    await broker.remove();
  }
}

async function allocatedBy(inspector: Inspector, work: () => Promise<void>): Promise<Allocations> {
  await inspector.collect();
  const before = await memory(inspector);
  await work();
  const after = await memory(inspector);
  if (after.collectedAtMs > before.nowMs) throw new Error('the broker collected garbage while it was measured');
  return { heapBytes: after.heapUsed - before.heapUsed, bufferBytes: after.arrayBuffers - before.arrayBuffers };
}

interface Memory extends NodeJS.MemoryUsage {
  readonly nowMs: number;
  /** When the last collection began that was told. */
  readonly collectedAtMs: number;
}

function memory(inspector: Inspector): Promise<Memory> {
  return inspector.evaluate(
    '({ ...process.memoryUsage(), nowMs: performance.now(), collectedAtMs: globalThis.collectedAtMs })',
  );
}

const noteCollections = `
  globalThis.collectedAtMs = 0;
  new (process.getBuiltinModule('node:perf_hooks').PerformanceObserver)((list) => {
    globalThis.collectedAtMs = Math.max(...list.getEntries().map(({ startTime }) => startTime));
  }).observe({ entryTypes: ['gc'] });
  1`;

async function publish(broker: BrokerProcess, scenario: Partial<Scenario>, messages: number): Promise<void> {
  const ports = {
    amqp: broker.port('amqp'),
    amqp10: broker.port('amqp'),
    mqtt: broker.port('mqtt'),
    stomp: broker.port('stomp'),
  };
  const { lost } = await run(
    { ...plain, ...scenario, messages },
    { host: '127.0.0.1', ports, pid: broker.pid, user: 'guest', password: 'guest' },
  );
  if (lost > 0) throw new Error(`${lost} messages were lost`);
}

const plain: Scenario = {
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
  warmupSeconds: 0,
  seconds: 0,
  messages: 0,
};
