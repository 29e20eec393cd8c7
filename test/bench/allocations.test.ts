import { expect, test } from 'vitest';
import { countAllocations } from '../../bench/micro/allocations.ts';
import { paths } from '../../bench/micro/paths.ts';

// A count, not a time: it is the same on a busy machine.
for (const { name, scenario, heapBytesMax } of paths) {
  test(`${name}: a message allocates ${heapBytesMax} octets at most`, async () => {
    const { heapBytes } = await countAllocations(scenario);
    expect(heapBytes).toBeGreaterThan(0);
    expect(heapBytes).toBeLessThan(heapBytesMax);
  });
}
