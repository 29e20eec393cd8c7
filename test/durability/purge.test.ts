import { expect, test } from 'vitest';
import { JournaledBroker } from '../support/journaled.ts';
import { SimulatedDisk } from '../support/simulated-disk.ts';

const count = 60_000;
const options = { segmentBytes: 256 * 1024 };

/** What a kill at this moment, or a loss of power, leaves in the queue. */
async function left(disk: SimulatedDisk, how: 'contents' | 'syncedContents'): Promise<string[] | null> {
  const core = await JournaledBroker.openCold(SimulatedDisk.holding(disk[how]()), options);
  const queue = core.vhost.queues.get('q');
  if (queue === undefined) return null;
  const bodies: string[] = [];
  for (let entry = await queue.get(); entry !== undefined; entry = await queue.get()) {
    bodies.push(entry.message.body.toString());
  }
  return bodies;
}

async function openBacklog(): Promise<{ core: JournaledBroker; disk: SimulatedDisk }> {
  const disk = new SimulatedDisk();
  const before = await JournaledBroker.openCold(disk, options);
  before.declare('q');
  for (let i = 0; i < count; i++) before.publish('q', String(i));
  await before.durable();
  const again = SimulatedDisk.holding(disk.contents());
  return { core: await JournaledBroker.openCold(again, options), disk: again };
}

const all = Array.from({ length: count }, (_, i) => String(i));

test('a kill while many are purged leaves none of them twice or out of order, and all that came after; once it is answered, none', async () => {
  const { core, disk } = await openBacklog();
  const queue = core.vhost.queues.get('q')!;
  let isAnswered = false;
  void Promise.resolve(queue.purge()).then((purged) => {
    expect(purged).toBe(count);
    core.journal.whenDurable(core.journal.position, () => {
      isAnswered = true;
    });
  });
  core.publish('q', 'after');
  await core.durable();
  const seen = new Set<number>();
  for (let turn = 0; !isAnswered; turn++) {
    if (turn % 4 === 0) {
      for (const how of ['contents', 'syncedContents'] as const) {
        const bodies = (await left(disk, how))!;
        expect(bodies.at(-1)).toBe('after');
        const rest = bodies.slice(0, -1);
        expect(rest).toEqual(all.slice(count - rest.length)); // the oldest go first
        seen.add(rest.length);
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
    core.clock.advance(0);
  }
  expect(seen.size).toBeGreaterThan(2); // kills met it half way
  for (const how of ['contents', 'syncedContents'] as const) expect(await left(disk, how)).toEqual(['after']);
});

test('a kill while a deleted queue gives its space back brings neither it nor its messages back', async () => {
  const { core, disk } = await openBacklog();
  core.vhost.deleteQueue(core.client, 'q', false, false);
  await core.durable();
  for (const how of ['contents', 'syncedContents'] as const) expect(await left(disk, how)).toBeNull();
  const again = await JournaledBroker.openCold(SimulatedDisk.holding(disk.contents()), options);
  again.declare('q');
  again.publish('q', 'new');
  await again.durable();
  expect(again.bodies('q')).toEqual(['new']);
});
