import type { Timer, Timers } from '../../lib/timers.ts';

/**
 * x-message-ttl and per-message expiration: one alarm a queue, at the latest when the entry at the head is due.
 * It rings too early when that entry has been consumed meanwhile, and is set again for the head of then.
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
  private readonly timers: Timers;
  private readonly afterMs: number;
  private readonly ring: () => void;
  private readonly now: () => number;
  private timer: Timer | null = null;
  private idleSinceMs: number;
  private busy = false;

  constructor(timers: Timers, afterMs: number, now: () => number, ring: () => void) {
    this.timers = timers;
    this.afterMs = afterMs;
    this.now = now;
    this.ring = ring;
    this.idleSinceMs = now();
    this.arm(afterMs);
  }

  /** Declared again or fetched from; publishing to it is no use. */
  used(): void {
    this.idleSinceMs = this.now();
  }

  /** @param busy it has consumers */
  consumed(busy: boolean): void {
    this.busy = busy;
    this.idleSinceMs = this.now();
    if (!busy && this.timer === null) this.arm(this.afterMs);
  }

  cancel(): void {
    this.timer?.cancel();
    this.timer = null;
  }

  private arm(ms: number): void {
    this.timer = this.timers.after(ms, () => {
      this.timer = null;
      if (this.busy) return;
      const restMs = this.idleSinceMs + this.afterMs - this.now();
      if (restMs > 0) this.arm(restMs);
      else this.ring();
    });
  }
}
