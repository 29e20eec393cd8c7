import { expect, test } from 'vitest';
import type { LocalQueue } from '../../../../src/core/queue/local-queue.ts';
import { silent } from '../../../../src/lib/log.ts';
import { SegmentJournal } from '../../../../src/storage/journal.ts';
import { Core, int, ManualClock } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const count = 60_000;
/** Settled in one turn at most. */
const sliceMax = 16_384;

async function rest(queue: LocalQueue): Promise<string[]> {
  const found: string[] = [];
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    found.push(entry.message.body.toString());
  }
  return found;
}

/** A queue of which nothing is in memory. */
async function openBacklog(): Promise<{ core: JournaledBroker; queue: LocalQueue }> {
  const disk = new SimulatedDisk();
  const before = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024 * 1024 });
  before.declare('q');
  for (let i = 0; i < count; i++) before.publish('q', String(i));
  await before.durable();
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), { segmentBytes: 1024 * 1024 });
  return { core, queue: core.vhost.queues.get('q')! };
}

/** Turns of the loop until `isDone`. @returns the most that the journal was given in one */
async function turns(core: JournaledBroker, isDone: () => boolean): Promise<number> {
  let most = 0;
  for (let before = core.journal.position; !isDone(); before = core.journal.position) {
    await new Promise((resolve) => setImmediate(resolve));
    core.clock.advance(0);
    most = Math.max(most, core.journal.position - before);
  }
  return most;
}

function coldCount(core: JournaledBroker): number {
  return (core.journal as unknown as { catalog: { cold: { count: number } } }).catalog.cold.count;
}

test('a purge of many is over for the queue at once, and answered when the journal has been told of all', async () => {
  const { core, queue } = await openBacklog();
  const unacked = await queue.get();
  let answer = -1;
  const before = core.journal.position;
  const purged = Promise.resolve(queue.purge()).then((purgedCount) => {
    answer = purgedCount;
  });
  expect(core.journal.position - before).toBeLessThanOrEqual(sliceMax);
  expect([queue.counts.ready, queue.readyBytes, queue.settled]).toEqual([0, 0, count - 1]);
  core.publish('q', 'new');
  const most = await turns(core, () => answer >= 0);
  await purged;
  expect(answer).toBe(count - 1);
  expect(most).toBeLessThanOrEqual(sliceMax);
  expect(coldCount(core)).toBeGreaterThan(0); // the last slice is not written yet
  await core.durable();
  expect(coldCount(core)).toBe(1); // what is unacked
  unacked!.requeue();
  expect(await rest(queue)).toEqual(['0', 'new']);
});

test('what waits in memory is purged in slices too, and what is published meanwhile stays', async () => {
  const core = new Core();
  const queue = core.declare('q') as LocalQueue;
  for (let i = 0; i < count; i++) core.publish('', 'q', String(i));
  const first = queue.purge();
  core.publish('', 'q', 'a');
  const second = queue.purge();
  core.publish('', 'q', 'b');
  expect(first).toBeInstanceOf(Promise);
  for (let i = 0; i < 10; i++) core.clock.advance(1);
  expect([await first, await second]).toEqual([count, 1]);
  expect(await rest(queue)).toEqual(['b']);
});

test('a short purge does not wait until a long one is over', async () => {
  const { core, queue } = await openBacklog();
  core.declare('short');
  core.publish('short', 'm');
  const answers: string[] = [];
  const long = Promise.resolve(queue.purge()).then(() => answers.push('long'));
  const short = Promise.resolve(core.vhost.queues.get('short')!.purge()).then(() => answers.push('short'));
  await turns(core, () => answers.length === 2);
  await Promise.all([long, short]);
  expect(answers).toEqual(['short', 'long']);
});

test('a deleted queue is gone by its name at once, and gives its space back in slices', async () => {
  const { core, queue } = await openBacklog();
  const unacked = await queue.get();
  const before = core.journal.position;
  expect(core.vhost.deleteQueue(core.client, 'q', false, false)).toBe(count - 1);
  expect(core.journal.position - before).toBeLessThanOrEqual(sliceMax + 1); // and the queue itself
  expect(core.vhost.queues.has('q')).toBe(false);
  const again = core.declare('q') as LocalQueue;
  core.publish('q', 'new');
  expect(await turns(core, () => coldCount(core) === 1)).toBeLessThanOrEqual(sliceMax);
  unacked!.ack();
  await core.durable();
  expect(coldCount(core)).toBe(0);
  expect(await rest(again)).toEqual(['new']);
});

test('of what came back before, a purge leaves nothing in the journal, in memory or not', async () => {
  const segmentBytes = 1024 * 1024;
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes });
  core.declare('q', { 'x-delivery-limit': int(5) });
  core.publish('q', 'm');
  core.get('q')!.requeue();
  await core.durable();
  const kept = async (from: SimulatedDisk): Promise<number> => {
    const clock = new ManualClock();
    const options = { segmentBytes, log: silent, clock, timers: clock.timers };
    const { recovered } = await SegmentJournal.open(SimulatedDisk.holding(from.contents()), options);
    return [...recovered.entries('redelivery')].length;
  };
  expect(await kept(disk)).toBe(1);
  const left = SimulatedDisk.holding(disk.contents());
  const cold = await JournaledBroker.openCold(left, { segmentBytes });
  for (const each of [core, cold]) {
    each.vhost.queues.get('q')!.purge();
    await each.durable();
  }
  expect([await kept(disk), await kept(left)]).toEqual([0, 0]);
});
