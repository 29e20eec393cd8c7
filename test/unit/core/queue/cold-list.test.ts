import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { createMessage, TestConsumer } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const count = 10_000;

/** A queue that was there at the start: nothing of it is in memory. */
async function openBacklog(): Promise<{ core: JournaledBroker; queue: LocalQueue }> {
  const disk = new SimulatedDisk();
  const options = { segmentBytes: 4 * 1024 * 1024 };
  const before = await JournaledBroker.openCold(disk, options);
  before.declare('q');
  const route = before.vhost.routeFor('', 'q');
  for (let i = 0; i < count; i++)
    before.vhost.publish(route, createMessage(String(i), { key: 'q', durable: true }), null, 0);
  await before.durable();
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), options);
  return { core, queue: core.vhost.queues.get('q') as LocalQueue };
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
