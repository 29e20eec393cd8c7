import { describe } from 'vitest';
import type { Client } from '../../../../src/core/client.ts';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { lastingQueueSuite, type QueueHarness, queueSuite, specOf } from '../../../suites/queue.ts';
import { Core, createMessage } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const firstMs = new Core().clock.nowMs;

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await new Promise(setImmediate);
}

async function withoutJournal(durable: boolean): Promise<QueueHarness> {
  return harness(new Core(), durable);
}

async function withJournal(disk = new SimulatedDisk(), sinceMs = 0): Promise<QueueHarness> {
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024, sinceMs });
  core.broker.startSchedules();
  return {
    ...harness(core, true),
    kill: async () => {
      await core.durable();
      return withJournal(SimulatedDisk.holding(disk.contents()), core.clock.nowMs - firstMs);
    },
  };
}

function harness({ broker, vhost, client, clock }: Core | JournaledBroker, durable: boolean): QueueHarness {
  const alarms: (string | null)[] = [];
  const publisher: Client = { ...client, onAlarm: (why) => alarms.push(why) };
  broker.addClient(publisher);
  return {
    alarms,
    vhost,
    client,
    clock,
    declare: (name, args = {}) => vhost.declareQueue(client, specOf(name, durable, args)) as LocalQueue,
    publish(queue, body, properties = {}, delayMs = 0) {
      const expiresAtMs = properties.ttlMs === undefined ? 0 : clock.nowMs + properties.ttlMs;
      const message = createMessage(body, { key: queue, durable, properties, expiresAtMs, publisher });
      if (delayMs > 0) message.timing = { dueMs: clock.nowMs + delayMs, repeat: null };
      return vhost.publish(vhost.routeFor('', queue), message, null, 0);
    },
    idle: turns,
  };
}

describe('a local queue, transient', () => queueSuite(() => withoutJournal(false)));
describe('a local queue, durable, without a journal', () => queueSuite(() => withoutJournal(true)));
describe('a local queue with a journal', () => queueSuite(() => withJournal()));
describe('a local queue, over a kill', () => lastingQueueSuite(() => withJournal()));
