import { expect, test } from 'vitest';
import { inspect } from '../../../src/storage/inspect.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

const segment = '0000000001.segment';

/** Two units: the queue with a, then b with a settled. */
async function twoUnits(): Promise<Map<string, Buffer>> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  core.publish('q', 'a');
  await core.durable();
  core.publish('q', 'b');
  core.get('q')?.ack();
  await core.durable();
  return disk.contents();
}

test('what a log holds is counted and shown without a change', async () => {
  const contents = await twoUnits();
  const bodies: string[] = [];
  const disk = SimulatedDisk.holding(contents);
  const reports = await inspect(disk, { published: (message) => bodies.push(message.body.toString()) });
  expect(reports).toMatchObject([{ file: segment, units: 2, messages: 2, settlements: 1, deletions: 0, fault: null }]);
  expect(bodies).toEqual(['a', 'b']);
  expect(disk.contents()).toEqual(contents);
});

test('a torn tail, damage before it, and a missing segment are told apart', async () => {
  const contents = await twoUnits();
  const log = contents.get(segment)!;
  contents.set(segment, log.subarray(0, -1));
  const [torn] = await inspect(SimulatedDisk.holding(contents));
  expect(torn).toMatchObject({ units: 1, fault: { kind: 'torn tail' } });
  const damaged = Buffer.from(log);
  damaged[70] = damaged[70]! ^ 1;
  contents.set(segment, damaged);
  const [harmed] = await inspect(SimulatedDisk.holding(contents));
  expect(harmed).toMatchObject({ units: 0, fault: { kind: 'damage', offset: 32 } });
  contents.delete(segment);
  const [missing] = await inspect(SimulatedDisk.holding(contents));
  expect(missing?.fault).toEqual({ kind: 'damage', offset: 0, what: 'it is missing' });
});
