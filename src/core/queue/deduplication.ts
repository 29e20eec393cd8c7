import type { Timers } from '../../lib/timers.ts';
import type { Journal } from '../journal.ts';
import { HeaderName } from '../lookup.ts';
import type { Message } from '../message.ts';
import { isTyped } from '../properties.ts';
import { type Chore, stateWeight } from './chores.ts';
import { HeadAlarm } from './expiry.ts';

export const deduplicationKind = 'deduplication';
const idHeader = new HeaderName('x-deduplication-id');

/**
 * x-deduplication: the ids of the last messages, and how long each keeps others of the same id out. A map is in the
 * order of insertion, which is that of expiry.
 */
export class Deduplication {
  windowMs: number;
  /** Until when, in milliseconds since the epoch; negative: the journal knows it too. */
  private readonly seen = new Map<string, number>();
  private readonly queueId: number;
  private readonly journal: Journal;
  private readonly alarm: HeadAlarm;
  private readonly now: () => number;

  constructor(windowMs: number, queueId: number, journal: Journal, timers: Timers, now: () => number) {
    this.windowMs = windowMs;
    this.queueId = queueId;
    this.journal = journal;
    this.now = now;
    this.alarm = new HeadAlarm(timers, () => this.expire());
  }

  /** @returns the id that tells the message from others; null: it has none, and is always new */
  static idOf(message: Message): string | null {
    const id = message.findHeader(idHeader) ?? message.findField('messageId') ?? null;
    if (id === null || id === '') return null;
    if (typeof id === 'string') return id;
    if (Buffer.isBuffer(id)) return id.toString('base64');
    if (typeof id === 'object' && isTyped(id))
      return Buffer.isBuffer(id.value) ? id.value.toString('hex') : String(id.value);
    return null;
  }

  has(id: string): boolean {
    const untilMs = this.seen.get(id);
    return untilMs !== undefined && Math.abs(untilMs) > this.now();
  }

  /** @param durable what became of the message outlives a restart: so must its id */
  add(id: string, durable: boolean): void {
    const nowMs = this.now();
    const untilMs = nowMs + this.windowMs;
    this.seen.delete(id); // to the end of the order
    this.seen.set(id, durable ? -untilMs : untilMs);
    if (durable) this.journal.put(deduplicationKind, this.keyOf(id), Buffer.from(String(untilMs), 'latin1'));
    if (this.seen.size === 1) this.alarm.watch(untilMs, nowMs);
  }

  /** What the journal remembers; in the order in which it was written. */
  restore(id: string, value: Buffer): void {
    this.seen.set(id, -Number(value.toString('latin1')));
    this.alarm.watch(Math.abs(this.seen.values().next().value!), this.now());
  }

  /** The queue does without. */
  clear(): void {
    const all = this.forgetAll();
    while (all.next().done !== true);
  }

  /** The queue is gone. */
  *forgetAll(): Chore {
    this.alarm.cancel();
    for (const [id, untilMs] of this.seen) {
      this.seen.delete(id);
      if (untilMs < 0) this.journal.delete(deduplicationKind, this.keyOf(id));
      yield untilMs < 0 ? stateWeight : 1;
    }
  }

  private expire(): void {
    const nowMs = this.now();
    let left = expiredMax;
    for (const [id, until] of this.seen) {
      const untilMs = Math.abs(until);
      if (untilMs > nowMs || left === 0) return this.alarm.watch(Math.max(untilMs, nowMs), nowMs);
      left -= 1;
      this.seen.delete(id);
      if (until < 0) this.journal.delete(deduplicationKind, this.keyOf(id));
    }
  }

  private keyOf(id: string): string {
    return `${this.queueId}\0${id}`;
  }
}

/** Of one turn: others have something to do too. */
const expiredMax = 10_000;
