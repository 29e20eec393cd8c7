import type { Slot } from './cold-store.ts';

const smallest = 64;

/** Slots in their order. As long as each is one more than the one before, which is common, they take no memory. */
export class SlotList {
  length = 0;
  private first: Slot = 0;
  /** Null while they are `first`, `first + 1` and so on. */
  private slots: Uint32Array | null = null;

  static of(slots: Iterable<Slot>): SlotList {
    const list = new SlotList();
    for (const slot of slots) list.push(slot);
    return list;
  }

  /** @param index below `length` */
  at(index: number): Slot {
    return this.slots === null ? this.first + index : this.slots[index]!;
  }

  push(slot: Slot): void {
    const { length } = this;
    if (length === 0) this.first = slot;
    if (this.slots !== null || slot !== this.first + length) this.makeRoom()[length] = slot;
    this.length = length + 1;
  }

  private makeRoom(): Uint32Array {
    const { slots, first, length } = this;
    if (slots !== null && length < slots.length) return slots;
    const grown = new Uint32Array(Math.max(smallest, length * 2));
    if (slots !== null) grown.set(slots);
    else for (let i = 0; i < length; i++) grown[i] = first + i;
    this.slots = grown;
    return grown;
  }
}
