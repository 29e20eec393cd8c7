import { Ring } from '../../lib/ring.ts';
import type { QueueEntry } from './entry.ts';

/**
 * Entries that wait, in the order of their messages. What comes back from a consumer was ahead of everything that
 * never left, so that it needs only a small heap in front of the ring:
 *
 *     returned (heap by sequence)  │  fresh (ring, in order)
 */
export class ReadyList {
  private readonly fresh = new Ring<QueueEntry>();
  private readonly returned: QueueEntry[] = [];

  get length(): number {
    return this.fresh.length + this.returned.length;
  }

  push(entry: QueueEntry): void {
    this.fresh.push(entry);
  }

  /** Puts an entry that left the list back to its place. */
  restore(entry: QueueEntry): void {
    const heap = this.returned;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.message.sequence <= entry.message.sequence) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  shift(): QueueEntry | undefined {
    return this.returned.length > 0 ? this.shiftReturned() : this.fresh.shift();
  }

  peek(): QueueEntry | undefined {
    return this.returned[0] ?? this.fresh.at(0);
  }

  /** Takes the entry at the head if it is expired. */
  shiftExpired(nowMs: number): QueueEntry | undefined {
    const dueMs = this.peek()?.expiresAtMs ?? 0;
    return dueMs > 0 && dueMs <= nowMs ? this.shift() : undefined;
  }

  /** When the entry at the head expires, in milliseconds since the epoch; 0 = never. */
  nextExpiryMs(): number {
    return this.peek()?.expiresAtMs ?? 0;
  }

  clear(): void {
    this.fresh.clear();
    this.returned.length = 0;
  }

  *[Symbol.iterator](): IterableIterator<QueueEntry> {
    yield* this.returned.toSorted((a, b) => a.message.sequence - b.message.sequence);
    yield* this.fresh;
  }

  private shiftReturned(): QueueEntry {
    const heap = this.returned;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.message.sequence < heap[child]!.message.sequence) child += 1;
      if (last.message.sequence <= heap[child]!.message.sequence) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}
