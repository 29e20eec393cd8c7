import { expect, test } from 'vitest';
import { runOnFaultyDisk } from './faulty-disk.ts';

/** `npm run test:simulation` is the long mode. */
const seeds = Number(process.env['SEEDS'] ?? 100);
const first = Number(process.env['SEED'] ?? 1);

test(`${seeds} disks of which any operation may fail lose and misorder nothing that was confirmed`, {
  timeout: 60_000 + seeds * 500,
}, async () => {
  let faults = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const result = await runOnFaultyDisk(seed);
    expect(result, `seed ${seed}`).toEqual(expect.any(Number));
    faults += result as number;
  }
  expect(faults).toBeGreaterThan(seeds);
});
