import type { Timers } from '../../lib/timers.ts';
import { HeadAlarm } from './expiry.ts';

/** What may be delivered at once after a pause: timers are no finer. */
const burstMs = 10;

/** x-rate-limit: a queue's deliveries as a whole are paced. */
export class RateLimit {
  private readonly perMs: number;
  private readonly burst: number;
  private readonly alarm: HeadAlarm;
  private tokens: number;
  private sinceMs: number;

  /** @param onOpen called when there is room for a delivery again */
  constructor(perSecond: number, nowMs: number, timers: Timers, onOpen: () => void) {
    this.perMs = perSecond / 1000;
    this.burst = Math.max(1, this.perMs * burstMs);
    this.tokens = this.burst;
    this.sinceMs = nowMs;
    this.alarm = new HeadAlarm(timers, onOpen);
  }

  /** Room for a delivery now; if not, `onOpen` will say when. */
  isOpen(nowMs: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + (nowMs - this.sinceMs) * this.perMs);
    this.sinceMs = nowMs;
    if (this.tokens > 1 - 1e-6) return true;
    this.alarm.watch(nowMs + Math.ceil((1 - this.tokens) / this.perMs), nowMs);
    return false;
  }

  spend(): void {
    this.tokens -= 1;
  }

  close(): void {
    this.alarm.cancel();
  }
}
