import type { QueueEntry } from './entry.ts';

/** Entries that are offered in a turn: with selectors and their decoding a few milliseconds. */
export const sweepSlice = 1024;

/**
 * A pass over all that waits in a list, in order: a slice at once, the rest in turns of its own. Between two of them
 * entries come and go, leave memory and come back, so it knows no place but the last message that it has seen.
 */
export class Sweep {
  /** Messages up to this one have been offered. */
  swept = 0;
  /** Whoever takes is done: what is left is not offered. */
  isOver = false;
  /** Returns true for what is taken. */
  readonly take: (entry: QueueEntry) => boolean;
  /** Called once, in the end, also when the list was emptied meanwhile. */
  readonly done: () => void;
  /** Has a slice run in a turn of its own. */
  readonly later: (slice: () => void) => void;

  constructor(take: (entry: QueueEntry) => boolean, done: () => void, later: (slice: () => void) => void) {
    this.take = take;
    this.done = done;
    this.later = later;
  }

  /** The entry is nobody's any longer: the pass goes on behind it. */
  pass({ message }: QueueEntry): void {
    this.swept = Math.max(this.swept, message.sequence);
  }

  /** @returns true when it is taken */
  offer(entry: QueueEntry): boolean {
    const isTaken = this.take(entry);
    if (isTaken || !this.isOver) this.pass(entry);
    return isTaken;
  }
}
