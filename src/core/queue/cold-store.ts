import type { KeptEntry, QueueEntry } from './entry.ts';
import type { EntryKeeper } from './queue.ts';
import type { SlotList } from './slot-list.ts';

/** The number that a store gave an entry which has left memory. */
export type Slot = number;

/** Messages that were read, as octets. */
export interface ColdBatch<K extends EntryKeeper> {
  /** Entries that are still to be made. */
  readonly left: number;
  /** Octets that it keeps in memory. */
  readonly bytes: number;
  /**
   * Makes the next entry anew, in the order of the slots; there must be one left.
   * @throws Error when its octets are not those that were written: it is not taken then
   */
  next(): QueueEntry<K>;
}

/** All that is left of a batch. */
export function takeAll<K extends EntryKeeper>(batch: ColdBatch<K>): QueueEntry<K>[] {
  const entries: QueueEntry<K>[] = [];
  while (batch.left > 0) entries.push(batch.next());
  return entries;
}

/**
 * Where messages can be read back from, so that entries that wait need not be in memory. An entry that is *cold* is its
 * queue's as before, and in its order: the queue keeps its slot, and nothing else of it.
 */
export interface ColdStore {
  /** True when the entry's message can be read back. */
  holds(entry: KeptEntry): boolean;
  /** Writes messages that are not durable to where they can be read back from; a restart forgets them. */
  spill(entries: readonly KeptEntry[]): Promise<void>;
  /** Takes an entry that it holds; the caller forgets the entry. */
  freeze(entry: KeptEntry): Slot;
  /**
   * Reads the messages of `slots[from, to)`: as many as are read at a time, at least one; none when the first slot is
   * free meanwhile. Their entries are cold until each is thawed, and may be forgotten instead.
   */
  read<K extends EntryKeeper>(queue: K, slots: SlotList, from: number, to: number): Promise<ColdBatch<K>>;
  /** Of the message; the slot must be taken. */
  sequence(slot: Slot): number;
  /** The entry that was read is its queue's again, and settled like any other; the slot is the store's own business. */
  thaw(slot: Slot, entry: KeptEntry): void;
  /** The entry is settled where it is. */
  settle(slot: Slot): void;
}

/** The entries of one queue that were there when the broker started, cold. */
export interface RecoveredQueue {
  readonly id: number;
  /** In the order of their messages. */
  readonly slots: Uint32Array;
  sequence(slot: Slot): number;
  bodyBytes(slot: Slot): number;
  /** As published, −1 = none. */
  priority(slot: Slot): number;
  /** Milliseconds since the epoch, 0 = never. */
  expiresAtMs(slot: Slot): number;
}
