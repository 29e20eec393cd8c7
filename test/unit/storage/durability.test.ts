import { expect, test } from 'vitest';
import type { Durability } from '../../../src/storage/journal.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { Random } from '../../support/random.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

const intervalMs = 100;
const interval: Durability = { mode: 'interval', intervalMs };
const none: Durability = { mode: 'none', intervalMs };

async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

interface Opened {
  readonly disk: SimulatedDisk;
  readonly core: JournaledBroker;
  readonly synced: () => number;
}

async function open(durability: Durability): Promise<Opened> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes: 64 * 1024, durability });
  core.declare('q');
  await core.durable();
  let syncs = 0;
  disk.fault = (operation) => {
    if (operation === 'datasync') syncs += 1;
    return null;
  };
  return { disk, core, synced: () => syncs };
}

/** The bodies that are there after the broker is killed, and after a loss of power that takes all that was not synced. */
async function left(disk: SimulatedDisk): Promise<{ killed: string[]; powerless: string[] }> {
  const killed = await JournaledBroker.open(SimulatedDisk.holding(disk.contents()));
  const powerless = await JournaledBroker.open(SimulatedDisk.holding(disk.syncedContents()));
  return { killed: killed.bodies('q'), powerless: powerless.bodies('q') };
}

function publish(core: JournaledBroker, body: string): Promise<'confirmed' | 'refused'> {
  return new Promise((resolve) =>
    core.publish('q', body, { confirmed: () => resolve('confirmed'), refused: () => resolve('refused') }),
  );
}

test('sync: a confirmed message is on the disk', async () => {
  const { disk, core } = await open({ mode: 'sync', intervalMs: 0 });
  expect(await publish(core, 'a')).toBe('confirmed');
  expect(await left(disk)).toEqual({ killed: ['a'], powerless: ['a'] });
});

test('interval: confirmed when the system has it; on the disk when the interval is over, with one sync for all', async () => {
  const { disk, core, synced } = await open(interval);
  core.clock.advance(intervalMs); // the declaration's
  await turns();
  const before = synced();
  for (const body of ['a', 'b', 'c']) expect(await publish(core, body)).toBe('confirmed');
  expect(synced()).toBe(before);
  expect(await left(disk)).toEqual({ killed: ['a', 'b', 'c'], powerless: [] });
  core.clock.advance(intervalMs - 1);
  await turns();
  expect(synced()).toBe(before);
  core.clock.advance(1);
  await turns();
  expect(synced()).toBe(before + 1);
  expect(await left(disk)).toEqual({ killed: ['a', 'b', 'c'], powerless: ['a', 'b', 'c'] });
  core.clock.advance(10 * intervalMs);
  await turns();
  expect(synced()).toBe(before + 1); // nothing new
});

test('none: confirmed when the system has it, and never synced', async () => {
  const { disk, core, synced } = await open(none);
  for (const body of ['a', 'b', 'c']) expect(await publish(core, body)).toBe('confirmed');
  core.clock.advance(60_000);
  await turns();
  expect(synced()).toBe(0);
  expect(await left(disk)).toEqual({ killed: ['a', 'b', 'c'], powerless: [] });
});

const seeds = Number(process.env['SEEDS'] ?? 60); // npm run test:simulation has thousands

for (const durability of [interval, none]) {
  const { mode } = durability;

  test(`${mode}: nothing is confirmed before the system has it`, async () => {
    const { disk, core } = await open(durability);
    disk.fault = (operation) => (operation === 'write' ? 'hang' : null);
    const told: string[] = [];
    void publish(core, 'a').then((what) => told.push(what));
    await turns();
    expect(told).toEqual([]);
  });

  test(`${mode}: a stop leaves everything on the disk`, async () => {
    const { disk, core } = await open(durability);
    expect(await publish(core, 'a')).toBe('confirmed');
    await core.journal.close();
    expect(await left(disk)).toEqual({ killed: ['a'], powerless: ['a'] });
  });

  test(`${mode}: a loss of power leaves what came before some moment, once and in order, and the start succeeds`, {
    timeout: 60_000 + seeds * 500,
  }, async () => {
    for (let seed = 0; seed < seeds; seed++) {
      const random = new Random(seed);
      const disk = new SimulatedDisk();
      const core = await JournaledBroker.openCold(disk, { segmentBytes: 2048, durability });
      core.declare('q');
      await core.durable();
      const count = 5 + random.below(40);
      for (let i = 0; i < count; i++) {
        expect(await publish(core, String(i).padStart(1 + random.below(300), '0'))).toBe('confirmed');
        if (random.chance(0.1)) core.clock.advance(intervalMs);
      }
      const after = await JournaledBroker.open(disk.crash(random)).catch((error) => {
        throw new Error(`seed ${seed}: ${error.message}`);
      });
      const found = after.vhost.queues.has('q') ? after.bodies('q').map(Number) : [];
      expect({ seed, found }).toEqual({ seed, found: Array.from(found, (_, i) => i) });
    }
  });
}

test('interval: a sync that fails beside a group that is being written lets nothing more be confirmed', async () => {
  const { disk, core } = await open(interval);
  expect(await publish(core, 'a')).toBe('confirmed');
  disk.fault = (operation) => (operation === 'datasync' ? { code: 'EIO' } : null);
  const b = publish(core, 'b');
  core.clock.advance(intervalMs);
  await turns();
  expect(core.journal.failure).toMatch(/lost until a restart \(EIO/);
  expect(['confirmed', 'refused']).toContain(await b);
  expect(await publish(core, 'c')).toBe('refused');
  disk.fault = () => null;
  core.clock.advance(60_000);
  await turns();
  expect(core.journal.writable).toBe(false);
  expect(await publish(core, 'd')).toBe('refused');
});
