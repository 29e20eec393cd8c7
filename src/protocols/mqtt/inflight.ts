import type { QueueEntry } from '../../core/queue/entry.ts';

const packetIdMax = 65_535;

/** Deliveries that wait for the peer's acknowledgement, by packet id. */
export class Inflight {
  private readonly entries = new Map<number, QueueEntry>();
  private last = 0;

  get size(): number {
    return this.entries.size;
  }

  /** @returns the packet id that the entry got; there must be fewer than 65,535 in flight */
  add(entry: QueueEntry): number {
    do this.last = this.last === packetIdMax ? 1 : this.last + 1;
    while (this.entries.has(this.last));
    this.entries.set(this.last, entry);
    return this.last;
  }

  take(packetId: number): QueueEntry | undefined {
    const entry = this.entries.get(packetId);
    if (entry !== undefined) this.entries.delete(packetId);
    return entry;
  }

  /** All of them, oldest first, which are in flight no longer. */
  takeAll(): QueueEntry[] {
    const entries = [...this.entries.values()];
    this.entries.clear();
    return entries;
  }
}
