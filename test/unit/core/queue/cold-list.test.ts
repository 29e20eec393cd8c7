import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { createMessage, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const count = 10_000;

/** A queue that was there at the start: nothing of it is in memory. */
async function openBacklog(
  messages = count,
  bodyOf: (i: number) => string = String,
): Promise<{ core: JournaledBroker; queue: LocalQueue; disk: SimulatedDisk }> {
  const disk = new SimulatedDisk();
  const options = { segmentBytes: 4 * 1024 * 1024 };
  const before = await JournaledBroker.openCold(disk, options);
  before.declare('q');
  const route = before.vhost.routeFor('', 'q');
  for (let i = 0; i < messages; i++)
    before.vhost.publish(route, createMessage(bodyOf(i), { key: 'q', durable: true }), null, 0);
  await before.durable();
  const again = SimulatedDisk.holding(disk.contents());
  const core = await JournaledBroker.openCold(again, options);
  return { core, queue: core.vhost.queues.get('q') as LocalQueue, disk: again };
}

async function rest(queue: LocalQueue): Promise<string[]> {
  const found: string[] = [];
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    found.push(entry.message.body.toString());
  }
  return found;
}

function numbers(from: number, isWanted: (i: number) => boolean = () => true): string[] {
  return Array.from({ length: count - from }, (_, i) => from + i)
    .filter(isWanted)
    .map(String);
}

test('of what was read, few are entries before they are asked for', async () => {
  const { queue } = await openBacklog();
  for (let i = 0; i < count; i++) {
    const entry = await queue.get();
    expect(entry!.message.body.toString()).toBe(String(i));
    entry!.ack();
    if (queue.memoryEntries > 64) expect.fail(`${queue.memoryEntries} entries in memory`);
  }
  expect(await queue.get()).toBeUndefined();
});

test('of large messages, a few megabytes are read ahead of who takes none', async () => {
  const { queue, disk } = await openBacklog(300, () => 'x'.repeat(64 * 1024));
  let reads = 0; // of a quarter of a megabyte at most, with three messages each
  disk.fault = (operation) => {
    if (operation === 'read') reads += 1;
    return null;
  };
  (await queue.get())!.ack();
  for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(reads).toBeGreaterThan(1);
  expect(reads).toBeLessThanOrEqual(24);
  expect(await rest(queue)).toHaveLength(299);
});

test('what comes back goes out again before what was read ahead', async () => {
  const { queue } = await openBacklog();
  const first = await queue.get();
  for (let i = 1; i < 100; i++) (await queue.get())!.ack();
  first!.requeue();
  expect(await rest(queue)).toEqual(['0', ...numbers(100)]);
});

test('a consumer that selects is offered what was read ahead, once', async () => {
  const { core, queue } = await openBacklog();
  for (let i = 0; i < 100; i++) (await queue.get())!.ack();
  const even = new TestConsumer(core.client, { selector: ({ body }) => Number(body.toString()) % 2 === 0 });
  queue.attach(even);
  await queue.serve();
  expect(even.bodies).toEqual(numbers(100, (i) => i % 2 === 0));
  queue.detach(even);
  expect(await rest(queue)).toEqual(numbers(100, (i) => i % 2 === 1));
});

test('a purge empties what was read ahead, and what comes after it is the first', async () => {
  const { core, queue } = await openBacklog();
  for (let i = 0; i < 100; i++) (await queue.get())!.ack();
  queue.purge();
  core.vhost.publish(core.vhost.routeFor('', 'q'), createMessage('new', { key: 'q', durable: true }), null, 0);
  expect(await rest(queue)).toEqual(['new']);
  expect([queue.counts.ready, queue.readyBytes]).toEqual([0, 0]);
});
