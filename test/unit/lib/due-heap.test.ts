import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DueHeap } from '../../../src/lib/due-heap.ts';

test('what is due comes out by time, and of one time in the order in which it came', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 300 }), fc.nat(20), (dues, now) => {
      const heap = new DueHeap<number>();
      for (const [i, due] of dues.entries()) heap.add(due, i);
      const taken: number[] = [];
      for (let item = heap.shift(now); item !== undefined; item = heap.shift(now)) taken.push(item);
      const expected = [...dues.keys()].filter((i) => dues[i]! <= now).sort((a, b) => dues[a]! - dues[b]! || a - b);
      expect(taken).toEqual(expected);
      expect(heap.length).toBe(dues.length - taken.length);
    }),
  );
});

test('filtering keeps order and times', () => {
  const heap = new DueHeap<number>();
  for (let i = 0; i < 100; i++) heap.add((i * 37) % 50, i);
  heap.filter((item) => item % 3 === 0);
  const dues: number[] = [];
  for (let item = heap.shift(1000); item !== undefined; item = heap.shift(1000)) dues.push((item * 37) % 50);
  expect(dues).toHaveLength(34);
  expect(dues).toEqual(dues.toSorted((a, b) => a - b));
  expect(heap.nextDueMs).toBe(Number.POSITIVE_INFINITY);
});
