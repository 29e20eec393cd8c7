import type { Condition } from './errors.ts';
import type { RecoveredQueue } from './queue/cold-store.ts';
import type { KeptEntry } from './queue/entry.ts';

/** Number of a record in the order of appending; grows for ever. */
export type Position = number;

/** One per channel or session, not per message: told what became of what was published with a tag. */
export interface PublishReceipt {
  /** Every queue has it, and it is on disk if it is durable. */
  confirmed(tag: number): void;
  refused(tag: number, why: Condition): void;
}

/**
 * The order of all durable facts. Appending is a plain call; everything appended in one turn reaches the disk as one
 * atomic unit, so that what belongs together (a transaction, a settlement and its dead letter) needs no bracket.
 */
export interface Journal {
  /** The last position appended. */
  readonly position: Position;
  /** Everything up to here survives a crash. */
  readonly durable: Position;
  /** Octets appended and not yet durable: publishers are paused above a mark. */
  readonly backlogBytes: number;
  /** False while the disk refuses: durable messages are not taken. */
  readonly writable: boolean;
  /** Why it refuses, in words for operators; null while `writable`. */
  readonly failure: string | null;

  /**
   * One record however many durable queues: `first` and the entries chained behind it by `sibling`.
   * Entries settled before their group is written are left out; a message with none left is never written.
   */
  publish(first: KeptEntry): Position;
  /** The entry was acked, expired or otherwise removed; nothing is written if its message was not. */
  settle(entry: KeptEntry): Position;
  /** Another entry of the same message and queue is what is kept from now on; `entry` is written, and means nothing after it. */
  replace(entry: KeptEntry, by: KeptEntry): void;
  /** State that is the last value of a key: topology, sessions, retained messages; replayed by kind. */
  put(kind: string, key: string, value: Buffer): Position;
  delete(kind: string, key: string): Position;

  /** Tells `receipt` of `tag` once `upTo` is durable, or that the disk refused. */
  confirm(upTo: Position, receipt: PublishReceipt, tag: number): void;
  /** Calls back once `upTo` is durable; at once if it is. For cold operations: replies that promise a durable fact. */
  whenDurable(upTo: Position, done: () => void): void;
  /** Everything is put back, and what nobody wanted is forgotten. */
  restored(): void;
  /** Writes all that was appended and resolves when it is durable. */
  close(): Promise<void>;
}

/** What the journal tells at the start: the state as it was, last values and living entries only. */
export interface Recovered {
  /** The highest ever given, so that none is given again: what is left of a deleted queue would rise in a new one. */
  readonly lastSequence: number;
  readonly lastQueueId: number;
  entries(kind: string): Iterable<[key: string, value: Buffer]>;
  /** The durable queues that hold something. */
  queues(): Iterable<RecoveredQueue>;
  /** The entries of a queue that is not there any longer: deleted while a consumer had the message. */
  forget(queue: RecoveredQueue): void;
}
