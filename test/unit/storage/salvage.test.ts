import { expect, test } from 'vitest';
import { silent } from '../../../src/lib/log.ts';
import { inspect } from '../../../src/storage/inspect.ts';
import { readManifest } from '../../../src/storage/manifest.ts';
import { recover } from '../../../src/storage/recovery.ts';
import { rewrite } from '../../../src/storage/salvage.ts';
import { JournalDamage } from '../../../src/storage/segment.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

/** Several segments, some of them cleared: messages that were moved, settled and kept, each a unit. */
async function busyLog(): Promise<Map<string, Buffer>> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk, 2048);
  core.declare('a');
  core.declare('b', { 'x-message-ttl': { type: 'int', value: 60_000 } });
  for (let i = 0; i < 60; i++) {
    core.publish(i % 3 === 0 ? 'b' : 'a', `${i}`.padStart(4, '0').repeat(20));
    await core.durable();
    if (i % 5 === 1 || i === 59) core.get('a')?.ack();
    await core.durable();
  }
  return disk.contents();
}

/** Where the start stops, or null where it does not. */
async function startStopsAt(contents: Map<string, Buffer>): Promise<{ file: string; offset: number } | null> {
  const disk = SimulatedDisk.holding(contents);
  try {
    await recover(disk, await readManifest(disk), silent);
    return null;
  } catch (error) {
    if (!(error instanceof JournalDamage)) throw error;
    return { file: error.file, offset: error.offset };
  }
}

async function bodiesAfterStart(disk: SimulatedDisk): Promise<Record<string, string[]>> {
  const core = await JournaledBroker.open(disk);
  const bodies: Record<string, string[]> = {};
  for (const name of core.vhost.queues.keys()) bodies[name] = core.bodies(name);
  return bodies;
}

test('of a whole log the state is the same', async () => {
  const contents = await busyLog();
  const target = new SimulatedDisk();
  expect(await rewrite(SimulatedDisk.holding(contents), target)).toMatchObject({ found: [], report: { damage: [] } });
  expect((await inspect(target)).damage).toEqual([]);
  const before = await bodiesAfterStart(SimulatedDisk.holding(contents));
  expect(await bodiesAfterStart(target)).toEqual(before);
  expect(before['a']?.length).toBeGreaterThan(0);
});

test('wherever an octet is wrong the start and the report name one place, and the rest is salvaged', async () => {
  const contents = await busyLog();
  const whole = await bodiesAfterStart(SimulatedDisk.holding(contents));
  const all = whole['a']!.length + whole['b']!.length;
  let harmed = 0;
  for (const [file, content] of contents) {
    if (!file.endsWith('.segment')) continue;
    for (let at = 0; at < content.length; at += 61) {
      const broken = Buffer.from(content);
      broken[at] = broken[at]! ^ 0x10;
      const harm = new Map(contents).set(file, broken);
      const { damage } = await inspect(SimulatedDisk.holding(harm));
      if (damage.length === 0) {
        expect(at % content.length, `${file} ${at}`).toBeLessThan(32); // padding of the header
        continue;
      }
      harmed += 1;
      const [first] = damage;
      const stop = await startStopsAt(harm);
      if (first!.kind === 'damage') expect(stop, `${file} ${at}`).toMatchObject({ file: first!.file });
      else expect(stop, `${file} ${at}`).toBeNull();
      expect(first!.offset).toBeLessThanOrEqual(Math.max(at, 12)); // of a header its field is named
      expect(first!.end).toBeGreaterThan(at);
      const target = new SimulatedDisk();
      await rewrite(SimulatedDisk.holding(harm), target);
      expect((await inspect(target)).damage).toEqual([]);
      const left = await bodiesAfterStart(target);
      const bodies = Object.values(left).flat();
      // A batch is a unit here: at most the message of one is lost, or its settlement and what that had settled is back.
      expect(bodies.length, `${file} ${at}`).toBeGreaterThanOrEqual(all - 4);
    }
  }
  expect(harmed).toBeGreaterThan(100);
});

test('a segment that was cut at the end of a unit is damage, for its neighbour goes on later', async () => {
  const contents = await busyLog();
  const files = [...contents.keys()].filter((name) => name.endsWith('.segment')).sort();
  const cut = files.find((name, i) => Number.parseInt(files[i + 1] ?? '0', 10) === Number.parseInt(name, 10) + 1)!;
  const content = contents.get(cut)!;
  let end = 32;
  for (let next = end; next < content.length; next += 32 + content.readUInt32BE(next)) end = next;
  contents.set(cut, content.subarray(0, end));
  expect(await startStopsAt(contents)).toEqual({ file: cut, offset: end });
  expect((await inspect(SimulatedDisk.holding(contents))).damage).toMatchObject([
    { kind: 'damage', file: cut, offset: end },
  ]);
});

test('messages whose queue is declared nowhere come into a queue of their own', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('lost', { 'x-message-ttl': { type: 'int', value: 1000 } });
  await core.durable();
  core.publish('lost', 'one');
  await core.durable();
  core.publish('lost', 'two');
  await core.durable();
  const contents = disk.contents();
  const log = contents.get('0000000001.segment')!;
  log[80] = log[80]! ^ 1;
  const target = new SimulatedDisk();
  const { found } = await rewrite(SimulatedDisk.holding(contents), target);
  expect(found).toEqual([{ id: 1, name: 'salvaged.1' }]);
  const later = await JournaledBroker.openCold(target, { segmentBytes: 65_536, sinceMs: 3_600_000 });
  const entry = await later.vhost.queues.get('salvaged.1')!.get();
  expect(entry?.message.body.toString()).toBe('one');
});
