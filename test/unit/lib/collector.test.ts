import { expect, test } from 'vitest';
import { growthPercent } from '../../../src/lib/collector.ts';

const mebibyte = 1024 * 1024;

test.each([
  [16, 600],
  [32, 300],
  [96, 100],
])('a heap of %i MiB grows by 96 MiB', (living, percent) => {
  expect(growthPercent(living * mebibyte)).toBe(percent);
});

test('a large heap grows as V8 thinks best', () => {
  expect(growthPercent(128 * mebibyte)).toBe(0);
});
