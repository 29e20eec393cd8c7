import { expect, test } from 'vitest';
import {
  batchBytes,
  findLargeBuffer,
  returnBuffer,
  smallBatchBytes,
  takeBuffer,
} from '../../../src/transport/buffer-pool.ts';

const mebibyte = 1024 * 1024;

test('a buffer that was returned is given to the next who needs about as much', () => {
  for (const bytes of [100, smallBatchBytes + 1, batchBytes + 1, 3 * mebibyte]) {
    const buffer = takeBuffer(bytes);
    expect(buffer.length).toBeGreaterThanOrEqual(bytes);
    returnBuffer(buffer);
    expect(takeBuffer(bytes)).toBe(buffer);
  }
});

test('who needs little does not get what is more than twice as long', () => {
  const buffer = takeBuffer(4 * mebibyte);
  returnBuffer(buffer);
  expect(findLargeBuffer(2 * mebibyte - 1)).toBe(undefined);
  expect(takeBuffer(batchBytes)).not.toBe(buffer);
  expect(findLargeBuffer(4 * mebibyte + 1)).toBe(undefined);
  expect(findLargeBuffer(2 * mebibyte)).toBe(buffer);
});

test('large buffers beyond 16 MiB are forgotten, the oldest first', () => {
  const buffers = Array.from({ length: 5 }, () => takeBuffer(5 * mebibyte));
  for (const buffer of buffers) returnBuffer(buffer);
  const found = [0, 1, 2, 3].map(() => findLargeBuffer(5 * mebibyte));
  expect(found.map((buffer) => buffer !== undefined && buffers.indexOf(buffer))).toEqual([4, 3, 2, false]);
  returnBuffer(Buffer.alloc(17 * mebibyte));
  expect(findLargeBuffer(17 * mebibyte)).toBe(undefined);
});

test('a buffer of another length is nobody’s', () => {
  returnBuffer(Buffer.alloc(smallBatchBytes + 1));
  expect(takeBuffer(smallBatchBytes + 1).length).toBe(batchBytes);
});
