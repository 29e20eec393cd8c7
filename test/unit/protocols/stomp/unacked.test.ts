import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { QueueEntry } from '../../../../src/core/queue/entry.ts';
import { Unacked } from '../../../../src/protocols/stomp/unacked.ts';

const owners = [{}, {}];

/** An entry as far as it is looked at here. */
function entryOf(owner: number): QueueEntry {
  return { consumer: owners[owner] } as unknown as QueueEntry;
}

test('what is given, found, taken and put back is what a plain map says', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), owner: fc.nat(1), gap: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constantFrom('take' as const, 'takeUpTo' as const, 'restore' as const), pick: fc.nat(), owner: fc.nat(1) }), // biome-ignore format: one piece
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const unacked = new Unacked();
      const model = new Map<number, QueueEntry>();
      const taken: [number, QueueEntry][] = [];
      let number = 0;
      for (const each of steps) {
        if (each.kind === 'add') {
          number += each.gap;
          const entry = entryOf(each.owner);
          unacked.add(number, entry);
          model.set(number, entry);
        } else if (each.kind === 'take') {
          const delivery = each.pick % (number + 2);
          const entry = model.get(delivery) ?? null;
          expect(unacked.find(delivery)).toBe(entry);
          expect(unacked.take(delivery)).toBe(entry);
          if (entry !== null) taken.push([delivery, entry]);
          model.delete(delivery);
        } else if (each.kind === 'takeUpTo') {
          const delivery = each.pick % (number + 2);
          const owner = owners[each.owner]!;
          const due = [...model].filter(([at, entry]) => at <= delivery && entry.consumer === owner);
          expect(unacked.numbersUpTo(delivery, owner)).toEqual(due.map(([at]) => at));
          expect(unacked.takeUpTo(delivery, owner)).toEqual(due.map(([, entry]) => entry));
          for (const [at] of due) model.delete(at);
        } else {
          for (const [at, entry] of taken) model.set(at, entry);
          unacked.restore(taken.splice(0));
          const sorted = [...model].sort(([a], [b]) => a - b);
          model.clear();
          for (const [at, entry] of sorted) model.set(at, entry);
        }
        expect(unacked.count).toBe(model.size);
      }
      expect(unacked.takeAll(null)).toEqual([...model.values()]);
      expect(unacked.count).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test('holes are swept out: one that stays unacked does not keep the rest', () => {
  const unacked = new Unacked();
  unacked.add(1, entryOf(0));
  for (let number = 2; number < 100_000; number++) {
    unacked.add(number, entryOf(1));
    unacked.take(number);
  }
  const { entries } = unacked as unknown as { entries: { length: number } };
  expect(entries.length).toBeLessThan(100);
  expect(unacked.find(1)).not.toBeNull();
});
