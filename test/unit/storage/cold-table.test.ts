import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Blocks } from '../../../src/storage/blocks.ts';
import { ColdTable, type Home, type Place } from '../../../src/storage/cold-table.ts';

function createHome(file: string): Home {
  return { file, epoch: 1, blocks: new Blocks(), bytes: 0, cold: 0, coldId: -1 };
}

interface Known {
  readonly sequence: number;
  readonly queueId: number;
  place: Place;
}

function expectKnown(table: ColdTable, known: ReadonlyMap<number, Known>): void {
  expect(table.count).toBe(known.size);
  for (const [slot, { sequence, queueId, place }] of known) {
    expect([
      table.has(slot),
      table.sequence(slot),
      table.queueId(slot),
      table.home(slot),
      table.offset(slot),
      table.length(slot),
      table.share(slot),
    ]).toEqual([true, sequence, queueId, place.home, place.offset, place.length, place.share]);
  }
  const seen: number[] = [];
  for (let at = 0; at < table.end; ) at = table.visitChunk(at, null, (slot) => seen.push(slot));
  expect(seen).toEqual([...known.keys()].sort((a, b) => a - b));
}

const homes = Array.from({ length: 3 }, (_, i) => createHome(String(i)));
const place = fc
  .record({
    home: fc.constantFrom(...homes),
    offset: fc.oneof(fc.nat(1000), fc.integer({ min: 0, max: 0xffff_fffe })),
    length: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 0xffff_ffff })),
    parts: fc.constantFrom(1, 1, 1, 3),
  })
  .map(({ parts, ...rest }): Place => ({ ...rest, share: Math.floor(rest.length / parts) }));
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      sequence: fc.oneof(fc.nat(1000), fc.nat(Number.MAX_SAFE_INTEGER - 100)),
      queueId: fc.oneof(fc.nat(1000), fc.integer({ min: 0, max: 0xffff_ffff })),
      place,
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('follow' as const), offset: fc.nat(1000) }) },
  fc.record({ kind: fc.constant('remove' as const), which: fc.nat() }),
  fc.record({ kind: fc.constant('move' as const), which: fc.nat(), place }),
);

test('what was added is found as it was, however large its numbers are', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      for (const home of homes) home.cold = 0;
      const table = new ColdTable();
      const known = new Map<number, Known>();
      let last: Known = { sequence: 0, queueId: 1, place: { home: homes[0]!, offset: 0, length: 1, share: 1 } };
      for (const each of steps) {
        if (each.kind === 'follow') {
          // messages in a row, of one queue and of one length, are kept in less
          last = { ...last, sequence: last.sequence + 1, place: { ...last.place, offset: each.offset } };
          known.set(table.add(last.sequence, last.queueId, last.place), { ...last });
          continue;
        }
        if (each.kind === 'add') {
          last = { ...each };
          known.set(table.add(each.sequence, each.queueId, each.place), { ...each });
          continue;
        }
        const slot = [...known.keys()][each.which % Math.max(1, known.size)];
        if (slot === undefined) continue;
        if (each.kind === 'remove') {
          table.remove(slot);
          known.delete(slot);
        } else {
          table.move(slot, each.place);
          known.get(slot)!.place = each.place;
        }
      }
      expectKnown(table, known);
      for (const home of homes) {
        expect(home.cold).toBe([...known.values()].filter(({ place }) => place.home === home).length);
      }
    }),
    { numRuns: 500 },
  );
});

test('more homes than sixteen bits count, and more entries than a chunk has', () => {
  const table = new ColdTable();
  const known = new Map<number, Known>();
  for (let i = 0; i < 70_000; i++) {
    const entry = {
      sequence: 2 ** 40 + i,
      queueId: 1,
      place: { home: createHome(String(i)), offset: i, length: 1, share: 1 },
    };
    known.set(table.add(entry.sequence, entry.queueId, entry.place), entry);
  }
  const [first, last] = [[...known.keys()][0]!, [...known.keys()].at(-1)!];
  for (const slot of [first, last]) {
    expect([table.sequence(slot), table.home(slot)]).toEqual([known.get(slot)!.sequence, known.get(slot)!.place.home]);
    table.remove(slot);
    expect(table.has(slot)).toBe(false);
  }
  expect(table.count).toBe(69_998);
});
