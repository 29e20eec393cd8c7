import { DueHeap } from '../../lib/due-heap.ts';
import type { Timers } from '../../lib/timers.ts';
import type { Journal } from '../journal.ts';
import { type Chore, stateWeight } from './chores.ts';
import type { QueueEntry } from './entry.ts';
import { HeadAlarm } from './expiry.ts';

export const redeliveryKind = 'redelivery';

/** x-delivery-count, for consumers of quorum queues: times that the entry came back; 0 = not shown. */
export function shownDeliveryCount(entry: QueueEntry): number {
  return entry.deliveryCount > 0 && entry.queue.options.type === 'quorum' ? entry.deliveryCount : 0;
}

/** What the journal knows of an entry that came back. */
interface Redelivery {
  readonly count: number;
  /** When it may be delivered again, milliseconds since the epoch; 0 = at once. */
  readonly dueMs: number;
}

export type Return = 'now' | 'later' | 'never';

export interface RedeliveryOptions {
  readonly deliveryLimit: number;
  readonly retryDelaysMs: readonly number[];
}

/**
 * x-delivery-limit and x-retry-delays: how often an entry came back is counted, over restarts, until it is too often;
 * meanwhile each return may have to wait, invisible.
 */
export class Redeliveries {
  options: RedeliveryOptions;
  private readonly queueId: number;
  private readonly journal: Journal;
  private readonly known = new Map<number, Redelivery>();
  private readonly waitingEntries = new Set<QueueEntry>();
  private readonly heap = new DueHeap<QueueEntry>();
  private readonly alarm: HeadAlarm;

  /** @param onDue called when entries may be delivered again; `takeDue` gives them */
  constructor(options: RedeliveryOptions, queueId: number, journal: Journal, timers: Timers, onDue: () => void) {
    this.options = options;
    this.queueId = queueId;
    this.journal = journal;
    this.alarm = new HeadAlarm(timers, onDue);
  }

  /** How many wait for their next delivery. */
  get waiting(): number {
    return this.waitingEntries.size;
  }

  /** The entry came back once more: what becomes of it. */
  judge(entry: QueueEntry, nowMs: number): Return {
    const { deliveryLimit, retryDelaysMs } = this.options;
    const count = entry.deliveryCount;
    if (deliveryLimit >= 0 && count > deliveryLimit) return 'never';
    if (retryDelaysMs.length > 0 && deliveryLimit < 0 && count > retryDelaysMs.length) return 'never';
    const delayMs = retryDelaysMs[Math.min(count, retryDelaysMs.length) - 1] ?? 0;
    this.record(entry, delayMs > 0 ? nowMs + delayMs : 0);
    return delayMs > 0 ? 'later' : 'now';
  }

  /** Keeps the entry until it is due, as `judge` said. */
  hold(entry: QueueEntry, nowMs: number): void {
    const dueMs = this.known.get(entry.message.sequence)?.dueMs ?? nowMs;
    this.waitingEntries.add(entry);
    this.heap.add(dueMs, entry);
    this.alarm.watch(dueMs, nowMs);
  }

  /** The next that may be delivered again; undefined when none is. */
  takeDue(nowMs: number): QueueEntry | undefined {
    for (;;) {
      const entry = this.heap.shift(nowMs);
      if (entry === undefined) break;
      if (this.waitingEntries.delete(entry)) return entry;
    }
    if (this.heap.length > 0) this.alarm.watch(this.heap.nextDueMs, nowMs);
    return undefined;
  }

  /** More may be due: the rest goes in a turn of its own. */
  goOn(nowMs: number): void {
    this.alarm.watch(nowMs, nowMs);
  }

  /** All that wait, given up. */
  takeAll(): QueueEntry[] {
    const all = [...this.waitingEntries];
    this.waitingEntries.clear();
    this.heap.clear();
    return all;
  }

  /** The entry is settled. */
  forget(entry: QueueEntry): void {
    if (entry.deliveryCount === 0 || !this.known.delete(entry.message.sequence)) return;
    if (entry.queue.keeps(entry.message)) this.journal.delete(redeliveryKind, this.keyOf(entry.message.sequence));
  }

  /** The same for an entry that is not in memory. */
  forgetSequence(sequence: number): void {
    if (this.known.delete(sequence) && this.queueId !== 0) this.journal.delete(redeliveryKind, this.keyOf(sequence));
  }

  /** The queue is gone. */
  *forgetAll(): Chore {
    for (const sequence of this.known.keys()) {
      this.forgetSequence(sequence);
      yield stateWeight;
    }
  }

  /** What the journal remembers. */
  restore(sequence: number, value: Buffer): void {
    const [count, dueMs] = JSON.parse(value.toString('latin1')) as [number, number];
    this.known.set(sequence, { count, dueMs });
  }

  /** An entry that the journal gave back, with what is known of it. */
  revive(entry: QueueEntry): void {
    const redelivery = this.known.get(entry.message.sequence);
    if (redelivery === undefined) return;
    entry.deliveryCount = redelivery.count;
    entry.redelivered = true;
  }

  /** An entry that was read back waits as before. */
  isHeld(entry: QueueEntry, nowMs: number): boolean {
    return (this.known.get(entry.message.sequence)?.dueMs ?? 0) > nowMs;
  }

  close(): void {
    this.alarm.cancel();
  }

  private record(entry: QueueEntry, dueMs: number): void {
    this.known.set(entry.message.sequence, { count: entry.deliveryCount, dueMs });
    if (!entry.queue.keeps(entry.message)) return;
    const value = Buffer.from(JSON.stringify([entry.deliveryCount, dueMs]), 'latin1');
    this.journal.put(redeliveryKind, this.keyOf(entry.message.sequence), value);
  }

  private keyOf(sequence: number): string {
    return redeliveryKey(this.queueId, sequence);
  }
}

export function redeliveryKey(queueId: number, sequence: number): string {
  return `${queueId}\0${sequence}`;
}
