import { expect, test } from 'vitest';
import { runOnFaultyDisk } from './faulty-disk.ts';

/** `npm run test:simulation` is the long mode. */
const seeds = Number(process.env['SEEDS'] ?? 100);
const first = Number(process.env['SEED'] ?? 1);

/** Each thing that is asked of a disk, by what it is asked of. */
const every = [
  'create scratch',
  'create segment',
  'datasync segment',
  'list',
  'open scratch',
  'open segment',
  'read MANIFEST',
  'read scratch',
  'read segment',
  'remove scratch',
  'remove segment',
  'replace MANIFEST',
  'sync',
  'truncate segment',
  'write scratch',
  'write segment',
];

test(`${seeds} disks of which any operation may fail lose and misorder nothing that was confirmed`, {
  timeout: 60_000 + seeds * 500,
}, async () => {
  const failed = new Set<string>();
  for (let seed = first; seed < first + seeds; seed++) {
    const faults = await runOnFaultyDisk(seed).catch((error: Error) => {
      throw new Error(`seed ${seed}: ${error.message}`);
    });
    for (const fault of faults) failed.add(fault);
  }
  if (seeds >= 100) expect([...failed].sort()).toEqual(every);
});
