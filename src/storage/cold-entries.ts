import type { ColdStore, Slot } from '../core/queue/cold-store.ts';
import type { KeptEntry } from '../core/queue/entry.ts';
import type { EntryKeeper } from '../core/queue/queue.ts';
import type { SlotList } from '../core/queue/slot-list.ts';
import { type Catalog, Segment } from './catalog.ts';
import { ColdReader, ReadPlan } from './cold-reader.ts';
import { ColdRecords } from './cold-records.ts';
import type { Home } from './cold-table.ts';
import type { Disk } from './disk.ts';
import { Scratch } from './scratch.ts';

/** What the journal does for entries that have left memory. */
export interface ColdJournal {
  /** Resolves when what is being written now has been. */
  written(): Promise<void>;
  settleCold(slot: Slot): void;
}

/** Entries of durable messages are read back from the journal, others from files that a restart forgets. */
export class ColdEntries implements ColdStore {
  readonly reader: ColdReader;
  private readonly catalog: Catalog;
  private readonly journal: ColdJournal;
  private readonly scratch: Scratch;
  private collecting = false;

  constructor(disk: Disk, catalog: Catalog, journal: ColdJournal) {
    this.catalog = catalog;
    this.journal = journal;
    this.reader = new ColdReader(disk);
    this.scratch = new Scratch(disk, (file) => this.reader.forget(file));
  }

  holds(entry: KeptEntry): boolean {
    if (entry.slot >= 0) return true;
    const home = entry.home as Home | null;
    if (home === null || entry.homeAt >= home.bytes) return false;
    return !(home instanceof Segment && home.listed);
  }

  spill(entries: readonly KeptEntry[]): Promise<void> {
    return this.scratch.spill(entries);
  }

  freeze(entry: KeptEntry): Slot {
    return this.catalog.freeze(entry);
  }

  async read<K extends EntryKeeper>(queue: K, slots: SlotList, from: number, to: number): Promise<ColdRecords<K>> {
    const { cold } = this.catalog;
    for (;;) {
      const plan = new ReadPlan();
      let count = 0;
      for (; from + count < to; count++) {
        const slot = slots.at(from + count);
        if (!cold.has(slot)) return new ColdRecords(queue, 0, []); // taken while somebody only looks
        const home = cold.home(slot);
        const offset = cold.offset(slot);
        if (offset >= home.bytes) break; // it is being moved, and where to is not yet written
        if (!plan.add(home, offset, cold.length(slot))) break;
      }
      if (count === 0) {
        await this.journal.written();
        continue;
      }
      const { home } = plan.pieces[0]!;
      try {
        return new ColdRecords(queue, count, await this.reader.read(plan));
      } catch (error) {
        // It may have been moved, and its file be gone.
        if (cold.has(slots.at(from)) && cold.home(slots.at(from)) === home) throw error;
      }
    }
  }

  sequence(slot: Slot): number {
    return this.catalog.cold.sequence(slot);
  }

  thaw(slot: Slot, entry: KeptEntry): void {
    const home = this.catalog.thaw(slot, entry);
    if (!(home instanceof Segment)) this.collectLater(home);
  }

  settle(slot: Slot): void {
    const home = this.catalog.cold.home(slot);
    if (home instanceof Segment) return this.journal.settleCold(slot);
    this.catalog.cold.remove(slot);
    this.collectLater(home);
  }

  async close(): Promise<void> {
    await this.scratch.close();
    this.reader.closeAll();
  }

  private collectLater(home: Home): void {
    if (home.cold > 0 || this.collecting) return;
    this.collecting = true;
    setImmediate(() => {
      this.collecting = false;
      this.scratch.collect();
    });
  }
}
