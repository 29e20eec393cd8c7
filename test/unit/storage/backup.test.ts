import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backup, readTail } from '../../../src/storage/backup.ts';
import { openDisk } from '../../../src/storage/disk.ts';
import { JournalDamage, segmentName } from '../../../src/storage/segment.ts';
import { JournaledBroker } from '../../support/journaled.ts';
import { SimulatedDisk } from '../../support/simulated-disk.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'rosettamq-backup-'));
});

afterEach(() => rm(directory, { recursive: true }));

test('a copy made while the broker writes and clears segments opens with all that was durable before', async () => {
  const source = join(directory, 'data');
  const core = await JournaledBroker.open(await openDisk(source), 4096);
  core.declare('q');
  let number = 0;
  const publish = (): void => core.publish('q', String(number++).padStart(300, '0'));
  for (let n = 0; n < 100; n++) publish();
  await core.durable();
  const durable = number;
  for (let n = 0; n < durable / 2; n++) core.get('q')?.ack();
  await core.durable();
  const copying = backup(source, join(directory, 'copy'));
  let copied = false;
  copying.then(() => {
    copied = true;
  });
  while (!copied) {
    publish();
    await core.durable();
  }
  await core.journal.close();
  expect(await copying).toContain('MANIFEST');
  const copy = await JournaledBroker.open(await openDisk(join(directory, 'copy')), 4096);
  const found = copy.bodies('q').map(Number);
  expect(found.length).toBeGreaterThanOrEqual(durable / 2);
  expect(found).toEqual(found.map((_, i) => durable / 2 + i));
  await copy.journal.close();
});

/** A log of three units, and as a reader finds it that passed the second one's place before it was written. */
async function hurried(): Promise<{ log: Buffer; read: Buffer }> {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.open(disk);
  core.declare('q');
  await core.durable();
  const before = disk.contents().get(segmentName(1))!.length;
  for (const body of ['a', 'b', 'c']) {
    core.publish('q', body);
    await core.durable();
  }
  const log = disk.contents().get(segmentName(1))!;
  const read = Buffer.from(log);
  read.fill(0, before, before + 60);
  return { log, read };
}

test('what was written while its segment was read is read again', async () => {
  const { log, read } = await hurried();
  const disk = SimulatedDisk.holding([[segmentName(1), Buffer.concat([log, Buffer.alloc(100)])]]);
  disk.read = async () => Buffer.concat([read, Buffer.alloc(100)]);
  expect((await readTail(disk, 1)).equals(log)).toBe(true);
});

test('damage of the last segment ends the copy', async () => {
  const { read } = await hurried();
  await expect(readTail(SimulatedDisk.holding([[segmentName(1), read]]), 1)).rejects.toThrow(JournalDamage);
});

test('a directory that holds something is not written to', async () => {
  await writeFile(join(directory, 'mine'), '');
  await expect(backup(directory, directory)).rejects.toThrow('is not empty');
});
