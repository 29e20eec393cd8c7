import { beforeEach, expect, test } from 'vitest';
import { silent } from '../../../src/lib/log.ts';
import { ResourceWatch } from '../../../src/storage/resource-watch.ts';
import { ManualClock } from '../../support/core.ts';

let clock: ManualClock;
let told: (string | null)[];
let memory: number;
let heap: number;
let free: number | Error;
let backlog: number;

beforeEach(() => {
  clock = new ManualClock();
  told = [];
  memory = 0;
  heap = 0;
  free = 10_000;
  backlog = 0;
  new ResourceWatch({
    marks: { memoryBytes: 1000, heapBytes: 500, diskFreeBytes: 100, backlogBytes: 1000 },
    gauges: {
      memoryBytes: () => memory,
      heapBytes: () => heap,
      backlogBytes: () => backlog,
      diskFreeBytes: async () => {
        if (free instanceof Error) throw free;
        return free;
      },
    },
    timers: clock.timers,
    log: silent,
    onChange: (why) => told.push(why),
  });
});

async function aSecondLater(): Promise<void> {
  clock.advance(1000);
  await new Promise((resolve) => setImmediate(resolve));
}

test('memory at its mark raises the alarm, and a tenth below it ends it', async () => {
  memory = 999;
  await aSecondLater();
  expect(told).toEqual([]);
  memory = 1000;
  await aSecondLater();
  expect(told).toEqual(['memory']);
  memory = 901;
  await aSecondLater();
  expect(told).toEqual(['memory']);
  memory = 899;
  await aSecondLater();
  expect(told).toEqual(['memory', null]);
});

test('the heap has a mark of its own', async () => {
  heap = 500;
  await aSecondLater();
  expect(told).toEqual(['memory']);
});

test('a disk with less than its mark raises the alarm, and a fifth above it ends it', async () => {
  free = 99;
  await aSecondLater();
  expect(told).toEqual(['disk']);
  free = 119;
  await aSecondLater();
  expect(told).toEqual(['disk']);
  free = 121;
  await aSecondLater();
  expect(told).toEqual(['disk', null]);
});

test('both are named, and what cannot be read changes nothing', async () => {
  memory = 1000;
  free = 0;
  await aSecondLater();
  expect(told).toEqual(['memory', 'memory and disk']);
  free = new Error('EIO');
  await aSecondLater();
  expect(told).toEqual(['memory', 'memory and disk']);
  free = 1000;
  await aSecondLater();
  expect(told.at(-1)).toBe('memory');
});

test('a journal that is far behind raises the alarm of the disk, and half of it ends it', async () => {
  backlog = 1000;
  await aSecondLater();
  expect(told).toEqual(['disk']);
  backlog = 501;
  await aSecondLater();
  expect(told).toEqual(['disk']);
  backlog = 499;
  await aSecondLater();
  expect(told).toEqual(['disk', null]);
});
