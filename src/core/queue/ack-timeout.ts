import type { Timers } from '../../lib/timers.ts';
import type { QueueEntry } from './entry.ts';
import { HeadAlarm } from './expiry.ts';

/** x-ack-timeout: how long a delivery may stay unacked. A map is in the order of insertion, which is that of expiry. */
export class AckTimeout {
  private timeoutMs: number;
  private readonly due = new Map<QueueEntry, number>();
  private readonly alarm: HeadAlarm;
  /** Over those that are due: a new one would step over all that were taken before. */
  private sweep: MapIterator<[QueueEntry, number]> | null = null;

  /** @param onDue called when deliveries have waited too long; `takeDue` gives them */
  constructor(timeoutMs: number, timers: Timers, onDue: () => void) {
    this.timeoutMs = timeoutMs;
    this.alarm = new HeadAlarm(timers, onDue);
  }

  /** Another time holds: for deliveries that are out, from now on. */
  change(timeoutMs: number, nowMs: number): void {
    if (timeoutMs === this.timeoutMs) return;
    this.timeoutMs = timeoutMs;
    for (const entry of this.due.keys()) this.due.set(entry, nowMs + timeoutMs);
    if (this.due.size > 0) this.alarm.watch(nowMs + timeoutMs, nowMs);
  }

  delivered(entry: QueueEntry, nowMs: number): void {
    this.due.set(entry, nowMs + this.timeoutMs);
    if (this.due.size === 1) this.alarm.watch(nowMs + this.timeoutMs, nowMs);
  }

  /** It is acked, or came back. */
  ended(entry: QueueEntry): void {
    this.due.delete(entry);
  }

  /** The next delivery that waited too long; undefined when none did. */
  takeDue(nowMs: number): QueueEntry | undefined {
    this.sweep ??= this.due.entries();
    const next = this.sweep.next();
    if (next.done !== true) {
      const [entry, dueMs] = next.value;
      if (dueMs <= nowMs) {
        this.due.delete(entry);
        return entry;
      }
      this.alarm.watch(dueMs, nowMs);
    }
    this.sweep = null;
    return undefined;
  }

  /** More may be due: the rest goes in a turn of its own. */
  goOn(nowMs: number): void {
    this.alarm.watch(nowMs, nowMs);
  }

  close(): void {
    this.alarm.cancel();
  }
}
