import { expect, test } from 'vitest';
import { QueueEntry } from '../../../src/core/queue/entry.ts';
import { Catalog } from '../../../src/storage/catalog.ts';
import { createMessage } from '../../support/core.ts';

const queue = { id: 1 } as never;
const createEntry = () => new QueueEntry(queue, createMessage('x', { durable: true }), null);

test('an entry that replaces another one has its index in the segment, where a list of survivors looks for it', () => {
  const catalog = new Catalog();
  const segment = catalog.add(1);
  const [first, second, third, again] = [createEntry(), createEntry(), createEntry(), createEntry()];
  for (const [i, entry] of [first, second, third].entries()) catalog.place(entry, segment, 100 * i, 50, 1);
  second.journal = 'written';
  catalog.replace(second, again);
  expect(segment.entries).toEqual([first, again, third]);
  expect([again.homeAt, again.homeBytes, again.journal, second.journal]).toEqual([100, 50, 'written', 'none']);
  expect(segment.neededBytes).toBe(150);
  catalog.release(again, segment);
  expect([segment.entries, segment.neededBytes]).toEqual([[first, third], 100]);
});

test('one that had left memory once hands its slot on', () => {
  const catalog = new Catalog();
  const segment = catalog.add(1);
  const [entry, back, again] = [createEntry(), createEntry(), createEntry()];
  catalog.place(entry, segment, 100, 50, 1);
  const slot = catalog.freeze(entry);
  catalog.thaw(slot, back);
  catalog.replace(back, again);
  expect([back.slot, again.slot, segment.livingCount]).toEqual([-1, slot, 1]);
  catalog.releaseCold(again.slot, segment);
  expect([segment.livingCount, segment.neededBytes]).toEqual([0, 0]);
});
