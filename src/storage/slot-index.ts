import type { ColdTable } from './cold-table.ts';

const capacityMin = 1024;

/**
 * Finds the slot of a message in a queue while the log is replayed: open addressing on one array of numbers, for a map
 * of millions of objects takes ten times the memory. What was removed from the table is not removed here: whatever is
 * found is compared with the table.
 */
export class SlotIndex {
  private readonly table: ColdTable;
  /** Slot + 1; 0 = empty. */
  private cells = new Uint32Array(capacityMin);
  private mask = capacityMin - 1;
  private used = 0;

  constructor(table: ColdTable) {
    this.table = table;
  }

  /** @returns −1 when there is none */
  find(queueId: number, sequence: number): number {
    const { table, cells, mask } = this;
    for (let at = hash(queueId, sequence) & mask; ; at = (at + 1) & mask) {
      const slot = cells[at]! - 1;
      if (slot < 0) return -1;
      if (table.has(slot) && table.sequence(slot) === sequence && table.queueId(slot) === queueId) return slot;
    }
  }

  add(queueId: number, sequence: number, slot: number): void {
    if (this.used * 2 > this.mask) this.rebuild();
    this.enter(queueId, sequence, slot);
  }

  private enter(queueId: number, sequence: number, slot: number): void {
    const { cells, mask } = this;
    let at = hash(queueId, sequence) & mask;
    while (cells[at] !== 0) at = (at + 1) & mask;
    cells[at] = slot + 1;
    this.used += 1;
  }

  // With room for as many again as live.
  private rebuild(): void {
    const { table } = this;
    let capacity = capacityMin;
    while (capacity < table.count * 4) capacity *= 2;
    this.cells = new Uint32Array(capacity);
    this.mask = capacity - 1;
    this.used = 0;
    for (let at = 0; at < table.end; ) {
      at = table.visitChunk(at, null, (slot) => this.enter(table.queueId(slot), table.sequence(slot), slot));
    }
  }
}

// The messages of one queue lie side by side, those of many are spread.
function hash(queueId: number, sequence: number): number {
  return (Math.imul(queueId, 0x9e3779b1) + (sequence % 0x1_0000_0000)) >>> 0;
}
