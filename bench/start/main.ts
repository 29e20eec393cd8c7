import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { createClient } from '../../test/support/core.ts';
import { declare, fill, type House, openHouse, turn, written } from '../backlog/house.ts';
import { cpuMicros, residentBytes } from '../perf/cost.ts';

/**
 * How long a broker takes from its command to its line `ready`, with resting messages, or with queues and a binding of each; after a
 * kill -9 and after a clean stop.
 */
const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '1000000' },
    size: { type: 'string', default: '1024' },
    queues: { type: 'string', default: '100000' },
  },
});
const limits = { queueBytes: 16 * 1024 * 1024, bodyBytes: 1024 ** 3, heapBytes: 1024 ** 3 };
/** Declarations between two turns of the loop. */
const turnQueues = 1000;

await measure(`${values.messages} messages of ${values.size} octets`, async (house) => {
  declare(house, 'q');
  await fill(house, 'q', Number(values.messages), 'x'.repeat(Number(values.size)), true);
});
await measure(`${values.queues} queues and bindings`, async (house) => {
  const vhost = house.broker.getVhost('/');
  const client = createClient(vhost);
  for (let i = 0; i < Number(values.queues); i++) {
    declare(house, `queue-${i}`);
    vhost.bind(client, 'amq.topic', vhost.queues.get(`queue-${i}`)!, `key.${i}.#`, new Map());
    if (i % turnQueues === 0) await turn();
  }
  await written(house.journal);
});
process.exit(0);

async function measure(what: string, prepare: (house: House) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-start-'));
  try {
    const house = await openHouse(dataDir, limits);
    await prepare(house); // and nothing is closed: as a kill leaves it
    house.broker.timers.stop();
    process.stdout.write(`${what}\n`);
    let broker = await start('after a kill', dataDir);
    await broker.kill();
    broker = await start('after another', dataDir);
    await broker.stop();
    broker = await start('after a clean stop', dataDir);
    await broker.stop();
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function start(when: string, dataDir: string): Promise<BrokerProcess> {
  const startMs = performance.now();
  const broker = await BrokerProcess.start({ dataDir });
  const seconds = (performance.now() - startMs) / 1000;
  const mebibytes = Math.round(residentBytes(broker.pid) / 1024 / 1024);
  const cpuSeconds = (cpuMicros(broker.pid) / 1e6).toFixed(2);
  process.stdout.write(`  ${when.padEnd(20)} ${seconds.toFixed(2)} s, ${cpuSeconds} s of CPU, ${mebibytes} MiB\n`);
  return broker;
}
