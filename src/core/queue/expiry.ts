import { DueHeap } from '../../lib/due-heap.ts';
import type { Timer, Timers } from '../../lib/timers.ts';
import type { QueueEntry } from './entry.ts';

/** The time, and who is to be called later. */
export interface ExpiryClock {
  readonly nowMs: number;
  readonly timers: Timers;
}

/**
 * x-message-ttl and per-message expiration, at any place of a queue. Mostly entries expire in the order in which they
 * came, and the one at the head is the next: only those that expire before something ahead of them are kept here.
 */
export class Expiries {
  private readonly heap = new DueHeap<QueueEntry>();
  /** When the last of those that expire in their order does; Infinity when something is ahead that never does. */
  private lastMs: number;
  private tidyAt = tidyMin;

  /** @param isFirst nothing waits ahead of the first entry that is to come */
  constructor(isFirst: boolean) {
    this.lastMs = isFirst ? 0 : Number.POSITIVE_INFINITY;
  }

  /** An entry came that never expires, or has others behind it that are not known here. */
  unending(): void {
    this.lastMs = Number.POSITIVE_INFINITY;
  }

  /** An entry came to the end of the queue. @param isAlone nothing is ahead of it */
  pushed(entry: QueueEntry, isAlone: boolean): void {
    if (isAlone || entry.expiresAtMs >= this.lastMs) this.lastMs = entry.expiresAtMs;
    else this.add(entry);
  }

  /** An entry is somewhere in the queue. */
  add(entry: QueueEntry): void {
    this.heap.add(entry.expiresAtMs, entry);
    if (this.heap.length >= this.tidyAt) this.tidy();
  }

  /** When the next of those that are kept here expires; Infinity when there is none. */
  get nextMs(): number {
    for (let first = this.heap.first; first !== undefined && first.state !== 'ready'; first = this.heap.first) {
      this.heap.shift(Number.POSITIVE_INFINITY);
    }
    return this.heap.nextDueMs;
  }

  /** The next that is expired and still waits; undefined when there is none. */
  takeDue(nowMs: number): QueueEntry | undefined {
    for (;;) {
      const entry = this.heap.shift(nowMs);
      if (entry === undefined || entry.state === 'ready') return entry;
    }
  }

  clear(): void {
    this.heap.clear();
    this.tidyAt = tidyMin;
  }

  // What was delivered meanwhile must not be kept until it would have expired; what came back may be here twice.
  private tidy(): void {
    const seen = new Set<QueueEntry>();
    this.heap.filter((entry) => entry.state === 'ready' && !seen.has(entry) && seen.add(entry) !== undefined);
    this.tidyAt = Math.max(tidyMin, this.heap.length * 2);
  }
}

const tidyMin = 64;

/**
 * One alarm for all things that are due sometime, at the latest when the first of them is. It rings too early when that
 * one is gone meanwhile, and is set again for the first of then.
 */
export class HeadAlarm {
  private readonly timers: Timers;
  private readonly ring: () => void;
  private timer: Timer | null = null;
  private dueMs = Number.POSITIVE_INFINITY;

  constructor(timers: Timers, ring: () => void) {
    this.timers = timers;
    this.ring = ring;
  }

  /** @param dueMs milliseconds since the epoch, 0 = never */
  watch(dueMs: number, nowMs: number): void {
    if (dueMs === 0 || dueMs >= this.dueMs) return;
    this.timer?.cancel();
    this.dueMs = dueMs;
    this.timer = this.timers.after(Math.max(dueMs - nowMs, 0), () => {
      this.timer = null;
      this.dueMs = Number.POSITIVE_INFINITY;
      this.ring();
    });
  }

  cancel(): void {
    this.timer?.cancel();
    this.timer = null;
    this.dueMs = Number.POSITIVE_INFINITY;
  }
}

/** x-expires: a queue without consumers that nobody has used for so long goes. */
export class IdleAlarm {
  private readonly clock: ExpiryClock;
  private readonly afterMs: number;
  private readonly ring: () => void;
  private timer: Timer | null = null;
  private idleSinceMs: number;
  private busy = false;

  constructor(clock: ExpiryClock, afterMs: number, ring: () => void) {
    this.clock = clock;
    this.afterMs = afterMs;
    this.ring = ring;
    this.idleSinceMs = clock.nowMs;
    this.arm(afterMs);
  }

  /** Declared again or fetched from; publishing to it is no use. */
  used(): void {
    this.idleSinceMs = this.clock.nowMs;
  }

  /** @param busy it has consumers */
  consumed(busy: boolean): void {
    this.busy = busy;
    this.idleSinceMs = this.clock.nowMs;
    if (!busy && this.timer === null) this.arm(this.afterMs);
  }

  cancel(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private arm(ms: number): void {
    this.timer = this.clock.timers.after(ms, () => {
      this.timer = null;
      if (this.busy) return;
      const restMs = this.idleSinceMs + this.afterMs - this.clock.nowMs;
      if (restMs > 0) this.arm(restMs);
      else this.ring();
    });
  }
}
