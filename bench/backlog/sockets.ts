import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer, contentFrames } from '../../test/support/amqp-peer.ts';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { cpuMicros, peakResidentBytes, residentBytes } from '../perf/cost.ts';

/**
 * A backlog as a client sees it: persistent messages are published, rest, and are drained by one consumer of AMQP that
 * acknowledges – once paged as by default, and once all in memory, unless `--only-paged` leaves that out; `--rounds 3` does
 * it three times, by turns. Memory is what of the process is resident.
 */
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    size: { type: 'string', default: '100' },
    'only-paged': { type: 'boolean', default: false },
    rounds: { type: 'string', default: '1' },
  },
});
const count = Number(values.messages);
const body = Buffer.alloc(Number(values.size), 'x');
const queue = 'backlog';
const persistent = Buffer.from([0x10, 0, 2]);
const prefetch = 2000;
/** Of a delivery: method frame with tag, delivery tag, flag, exchange and key; header frame; body frame. */
const methodBytes = 4 + 2 + 8 + 1 + 1 + 1 + queue.length;
const consumeOkBytes = 8 + 4 + 2;
const deliveryBytes = 8 + methodBytes + 8 + 12 + persistent.length + 8 + body.length;

interface Cost {
  /** Messages a second, µs of the broker's CPU a message. */
  readonly rate: number;
  readonly micros: number;
}

const paged: Cost[] = [];
const inMemory: Cost[] = [];
for (let round = 0; round < Number(values.rounds); round++) {
  paged.push(await measure('paged', []));
  if (!values['only-paged']) inMemory.push(await measure('in memory', ['--set', 'memory.queueBytes=1000000000000']));
}
if (!values['only-paged']) {
  const rate = Math.round((100 * median(paged, 'rate')) / median(inMemory, 'rate'));
  const cpu = Math.round((100 * median(inMemory, 'micros')) / median(paged, 'micros'));
  process.stdout.write(`paged beside in memory, medians: ${rate} % of the rate, ${cpu} % by CPU\n`);
}

function median(costs: readonly Cost[], key: keyof Cost): number {
  return costs.map((cost) => cost[key]).sort((a, b) => a - b)[costs.length >> 1]!;
}

async function measure(what: string, args: readonly string[]): Promise<Cost> {
  const broker = await BrokerProcess.start({ args });
  try {
    const emptyBytes = residentBytes(broker.pid);
    const peer = await AmqpPeer.openChannel(broker.port('amqp'));
    await peer.declare(queue, { durable: true });
    await fill(peer);
    const restingBytes = residentBytes(broker.pid) - emptyBytes;
    const startMicros = cpuMicros(broker.pid);
    const startMs = performance.now();
    await drain(peer);
    const seconds = (performance.now() - startMs) / 1000;
    const micros = (cpuMicros(broker.pid) - startMicros) / count;
    const rate = count / seconds;
    const mebibytes = [restingBytes, peakResidentBytes(broker.pid) - emptyBytes].map((bytes) => bytes >> 20);
    process.stdout.write(
      `${what.padEnd(10)} drained ${Math.round(rate).toLocaleString('en')} messages/s, ${micros.toFixed(2)} µs of CPU each; ${mebibytes[0]} MiB over the empty broker while it rested, ${mebibytes[1]} at the peak\n`,
    );
    peer.destroy();
    return { rate, micros };
  } finally {
    await broker.remove();
  }
}

/** Publishes all, and waits until the last is confirmed. */
async function fill(peer: AmqpPeer): Promise<void> {
  const frames = contentFrames(1, { routingKey: queue }, body, persistent);
  const batch = Buffer.concat(Array.from({ length: 500 }, () => frames));
  await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  for (let sent = 0; sent < count; sent += 500) {
    if (!peer.socket.write(batch)) await once(peer.socket, 'drain');
  }
  for (;;) {
    const ack = await peer.expect(1, methods.basicAck);
    if (ack.bigint('deliveryTag') === BigInt(count)) return;
  }
}

/** Consumes all, acknowledging half a window at a time. */
async function drain(peer: AmqpPeer): Promise<void> {
  await peer.call(1, methods.basicQos, { prefetchCount: prefetch }, methods.basicQosOk);
  peer.socket.removeAllListeners('data');
  let octets = -consumeOkBytes;
  let acked = 0;
  await new Promise<void>((resolve) => {
    peer.socket.on('data', (chunk: Buffer) => {
      octets += chunk.length;
      const received = Math.floor(octets / deliveryBytes);
      if (received - acked < prefetch / 2 && received < count) return;
      acked = received;
      peer.send(1, methods.basicAck, { deliveryTag: received, multiple: true });
      if (received < count) return;
      peer.send(1, methods.queueDelete, { queue }); // its answer waits for the settlements, wherever the messages were
      peer.socket.on('data', () => resolve());
    });
    peer.send(1, methods.basicConsume, { queue, consumerTag: 'c' });
  });
}
