import { expect, test } from 'vitest';
import type { Queue } from '../../../../src/core/queue/queue.ts';
import { createMessage, int } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { Random } from '../../../support/random.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

/** Hardly anything stays in memory. */
const paging = { queueBytes: 4_000, bodyBytes: 1e9, heapBytes: 1e9 };

function declare(core: JournaledBroker, name: string, args: Record<string, unknown> = {}): Queue {
  return core.vhost.declareQueue(core.client, {
    name,
    durable: true,
    autoDelete: false,
    exclusiveTo: null,
    arguments: new Map(Object.entries(args)) as never,
  });
}

function publish(core: JournaledBroker, body: string, ttlMs: number, durable: boolean, priority = -1): void {
  const expiresAtMs = ttlMs === 0 ? 0 : core.clock.nowMs + ttlMs;
  const message = createMessage(body, { key: 'q', durable, expiresAtMs, priority });
  core.vhost.publish(core.vhost.routeFor('', 'q'), message, null, 0);
}

/** What is read back and written takes turns of the event loop, at a time that stands. */
async function settle(core: JournaledBroker): Promise<void> {
  for (let i = 0; i < 40; i++) {
    core.broker.pager?.look();
    core.clock.advance(0);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await core.durable();
}

const toDead = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' };

async function bodies(queue: Queue): Promise<string[]> {
  const found: string[] = [];
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    found.push(entry.message.body.toString());
  }
  return found;
}

test.each([
  ['durable', {}, true],
  ['transient', {}, false],
  ['durable, with priorities', { 'x-max-priority': int(2) }, true],
])('what has left memory expires in time, at any place: %s', async (_name, args, durable) => {
  const random = new Random(7);
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes: 64 * 1024, paging });
  const queue = declare(core, 'q', { ...toDead, ...args });
  const dead = declare(core, 'dead');
  const dueOf = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    const ttlMs = random.below(4) === 0 ? 0 : 1000 + random.below(1000);
    publish(core, String(i), ttlMs, durable, random.below(3));
    dueOf.set(String(i), ttlMs === 0 ? Number.POSITIVE_INFINITY : core.clock.nowMs + ttlMs);
  }
  await settle(core);
  expect((queue as unknown as { memoryEntries: number }).memoryEntries).toBeLessThan(200);
  core.clock.advance(1000);
  for (const ms of [137, 400, 1, 300]) {
    core.clock.advance(ms);
    await settle(core);
    const { nowMs } = core.clock;
    const living = [...dueOf.values()].filter((dueMs) => dueMs > nowMs).length;
    expect([queue.counts.ready, dead.counts.ready]).toEqual([living, 3000 - living]);
  }
  const { nowMs } = core.clock;
  const left = [...dueOf].filter(([, dueMs]) => dueMs > nowMs).map(([body]) => body);
  expect((await bodies(queue)).toSorted()).toEqual(left.toSorted());
  expect(await bodies(dead)).toHaveLength(3000 - left.length);
  expect([queue.readyBytes, dead.readyBytes]).toEqual([0, 0]);
});

test('over a restart, behind one that never expires; nothing comes back of what expired', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 });
  declare(core, 'q');
  publish(core, 'first', 0, true);
  for (let i = 0; i < 100; i++) publish(core, String(i), 1000 + i * 10, true);
  await core.durable();
  const again = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), {
    segmentBytes: 64 * 1024,
    sinceMs: 1500,
  });
  await settle(again);
  const queue = again.vhost.queues.get('q')!;
  expect(queue.counts.ready).toBe(50); // the first, and 51 to 99
  again.clock.advance(100);
  await settle(again);
  expect(queue.counts.ready).toBe(40);
  again.clock.advance(10_000);
  await settle(again);
  expect(await bodies(queue)).toEqual(['first']);
});

test('a policy that shortens the time to live holds for what has left memory', async () => {
  const core = await JournaledBroker.openCold(new SimulatedDisk(), { segmentBytes: 64 * 1024, paging });
  const queue = declare(core, 'q');
  for (let i = 0; i < 500; i++) publish(core, String(i), i % 2 === 0 ? 0 : 100, true);
  await settle(core);
  core.vhost.policies.set({
    name: 'short',
    pattern: '^q$',
    applyTo: 'queues',
    priority: 0,
    definition: { 'message-ttl': 500 },
  });
  core.clock.advance(100);
  await settle(core);
  expect(queue.counts.ready).toBe(250);
  core.clock.advance(400);
  await settle(core);
  expect(queue.counts.ready).toBe(0);
});
