import fc from 'fast-check';
import { expect, test } from 'vitest';
import { QueueEntry } from '../../../../src/core/queue/entry.ts';
import { PriorityList } from '../../../../src/core/queue/priority-list.ts';
import type { Queue } from '../../../../src/core/queue/queue.ts';
import { ReadyList } from '../../../../src/core/queue/ready-list.ts';
import { createMessage } from '../../../support/core.ts';

function createEntry(sequence: number, priority = -1): QueueEntry {
  const message = createMessage(String(sequence), { priority });
  message.sequence = sequence;
  return new QueueEntry(null as unknown as Queue, message, null);
}

function sequences(entries: Iterable<QueueEntry>): number[] {
  return [...entries].map(({ message }) => message.sequence);
}

test('what is taken out of the middle is passed over, and has its place when it comes back', () => {
  const list = new ReadyList();
  const entries = [1, 2, 3, 4].map((each) => createEntry(each));
  for (const entry of entries) list.push(entry);
  list.remove(entries[0]!);
  list.remove(entries[2]!);
  expect(list.length).toBe(2);
  expect(list.peek()).toBe(entries[1]);
  list.restore(entries[2]!);
  expect(sequences(list)).toEqual([2, 3, 4]);
});

const step = fc.oneof(
  fc.constant({ op: 'push' as const }),
  fc.record({ op: fc.constantFrom('remove' as const, 'restore' as const), at: fc.nat(1000) }),
  fc.constantFrom({ op: 'shift' as const }, { op: 'peek' as const }, { op: 'browse' as const }),
);

test('browsing goes on behind what was seen last, also when that is of a higher priority', async () => {
  const list = new PriorityList(9, 0, null);
  for (let sequence = 1; sequence <= 30; sequence++) list.push(createEntry(sequence, sequence % 3));
  const seen: number[] = [];
  for (let last: QueueEntry | null = null; ; ) {
    const entries: QueueEntry[] = await list.browse(last, 4);
    if (entries.length === 0) break;
    seen.push(...sequences(entries));
    last = entries.at(-1)!;
  }
  const of = (rest: number) => Array.from({ length: 30 }, (_, i) => i + 1).filter((each) => each % 3 === rest);
  expect(seen).toEqual([...of(2), ...of(1), ...of(0)]);
});

test('however entries come, go and come back, they stand in the order of their messages', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const list = new ReadyList();
      const inside: QueueEntry[] = [];
      const outside: QueueEntry[] = [];
      let sequence = 0;
      for (const next of steps) {
        switch (next.op) {
          case 'push': {
            const entry = createEntry(++sequence);
            list.push(entry);
            inside.push(entry);
            break;
          }
          case 'remove': {
            const [entry] = inside.splice(next.at % Math.max(1, inside.length), 1);
            if (entry === undefined) break;
            list.remove(entry);
            outside.push(entry);
            break;
          }
          case 'restore': {
            const [entry] = outside.splice(next.at % Math.max(1, outside.length), 1);
            if (entry === undefined) break;
            list.restore(entry);
            inside.push(entry);
            inside.sort((a, b) => a.message.sequence - b.message.sequence);
            break;
          }
          case 'shift': {
            const entry = inside.shift();
            expect(list.shift()).toBe(entry);
            if (entry !== undefined) outside.push(entry);
            break;
          }
          case 'peek':
            expect(list.peek()).toBe(inside[0]);
            break;
          case 'browse':
            expect(list.browse(null, 5)).toEqual(inside.slice(0, 5));
            break;
        }
        expect(list.length).toBe(inside.length);
        expect(list.memoryLength).toBe(inside.length);
      }
      expect(sequences(list)).toEqual(sequences(inside));
    }),
  );
});
