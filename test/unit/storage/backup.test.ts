import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { backup } from '../../../src/storage/backup.ts';
import { openDisk } from '../../../src/storage/disk.ts';
import { JournaledBroker } from '../../support/journaled.ts';

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

test('a directory that holds something is not written to', async () => {
  await writeFile(join(directory, 'mine'), '');
  await expect(backup(directory, directory)).rejects.toThrow('is not empty');
});
