import { type Chore, warmWeight } from './chores.ts';
import type { Slot } from './cold-store.ts';
import type { QueueEntry } from './entry.ts';
import type { SlotList } from './slot-list.ts';

/** Cold entries: `slots[from, to)`. */
interface SlotRun {
  readonly slots: SlotList;
  readonly from: number;
  readonly to: number;
}

interface Part {
  readonly entries: Iterable<QueueEntry>;
  /** Entries that had been taken out of their places. */
  readonly holes: ReadonlySet<QueueEntry> | null;
}

/** Between two looks whether the slice is over. */
const stepEntries = 64;

/** What was in a list when it was emptied: nobody's any longer, and still to be settled. */
export class Remains {
  private parts: Part[] = [];
  private runs: SlotRun[] = [];

  add(entries: Iterable<QueueEntry>, holes: ReadonlySet<QueueEntry> | null = null): void {
    this.parts.push({ entries, holes });
  }

  addCold(run: SlotRun): void {
    this.runs.push(run);
  }

  /** Gives all away; once. */
  *settle(settle: (entry: QueueEntry) => void, settleCold: (slot: Slot) => void): Chore {
    let count = 0;
    const { parts, runs } = this;
    this.parts = [];
    this.runs = [];
    for (const { entries, holes } of parts) {
      for (const entry of entries) {
        if (holes?.has(entry) === true) continue;
        settle(entry);
        count += 1;
        if (count % stepEntries === 0) yield stepEntries * warmWeight;
      }
    }
    yield (count % stepEntries) * warmWeight;
    for (const { slots, from, to } of runs) {
      for (let at = from; at < to; ) {
        const end = Math.min(to, at + stepEntries);
        const begin = at;
        for (; at < end; at++) settleCold(slots.at(at));
        yield end - begin;
      }
    }
  }
}
