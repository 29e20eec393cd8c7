import { DueHeap } from '../lib/due-heap.ts';
import type { Timers } from '../lib/timers.ts';
import type { Journal, Position } from './journal.ts';
import { copyMessage, type Message, repeatMessage } from './message.ts';
import { type ColdStore, type RecoveredQueue, type Slot, takeAll } from './queue/cold-store.ts';
import { QueueEntry } from './queue/entry.ts';
import { HeadAlarm } from './queue/expiry.ts';
import type { Paging } from './queue/pager.ts';
import type { EntryKeeper } from './queue/queue.ts';
import { SlotList } from './queue/slot-list.ts';
import { nextTiming, type Repeat, type Timing } from './timing.ts';

/** Schedules of durable exchanges in the journal: virtual host and exchange, and the number of their entries' queue. */
export const scheduleKind = 'schedule';
/** What the journal knows of a message that is routed more than once, by the schedule's number and its id. */
export const repeatKind = 'schedule-repeat';

/** What a schedule asks of its virtual host. */
export interface ScheduleOwner {
  readonly journal: Journal;
  readonly nowMs: number;
  readonly timers: Timers;
  nextSequence(): number;
  /** Routes a message whose time has come. @param copies it may have more routing keys than one */
  release(message: Message, copies: boolean): void;
  /** Reading failed; `again` is to be called in a while. */
  readFailed(why: Error, again: () => void): void;
}

/** A message that waits for its time. */
class Held {
  /** Its sequence number: nobody else's, also after a restart. */
  readonly id: number;
  dueMs: number;
  /** The first of its times: the time to live begins there. */
  readonly firstDueMs: number;
  repeat: Repeat | null;
  readonly bodyBytes: number;
  /** It may have more routing keys than one. */
  readonly copies: boolean;
  /** null while it is cold. */
  entry: QueueEntry<Schedule> | null;
  /** Where it is read back from while it is cold. */
  slot: Slot = 0;
  cancelled = false;

  constructor(id: number, timing: Timing, firstDueMs: number, bodyBytes: number, copies: boolean) {
    this.id = id;
    this.dueMs = timing.dueMs;
    this.firstDueMs = firstDueMs;
    this.repeat = timing.repeat;
    this.bodyBytes = bodyBytes;
    this.copies = copies;
    this.entry = null;
  }
}

/** A message that waits for its time, to be shown. */
export interface ScheduledMessage {
  readonly id: number;
  readonly dueMs: number;
  readonly repeat: Repeat | null;
  readonly message: Message;
}

/** Messages that are released in a turn, and cold ones that are read at a time. */
const sliceCount = 1024;
/** What is due sooner is not worth leaving memory. */
const warmMs = 5_000;
const retryMs = 1_000;

/**
 * The messages that an exchange is to route at a later time. They are entries of the journal as those of a queue are,
 * their time in the place of the expiry; one whose time has come is routed and settled in the same turn, so that it is
 * neither lost nor doubled. The earliest goes first, and of one time the one that was published first.
 */
export class Schedule implements EntryKeeper {
  /** 0: what waits here does not outlive a restart. */
  readonly id: number;
  private readonly owner: ScheduleOwner;
  private readonly heap = new DueHeap<Held>();
  private readonly alarm: HeadAlarm;
  private readonly repeats = new Map<number, Timing>();
  /** How many wait. */
  count = 0;
  private store: ColdStore | null = null;
  /** What is due and being read back; null: nothing is. */
  private reading: readonly Held[] | null = null;
  private cold = 0;
  private coldBytes = 0;
  private bodyBytes = 0;
  /** Where the next look for what can leave memory goes on. */
  private pager: Iterator<Held> | null = null;

  constructor(id: number, owner: ScheduleOwner) {
    this.id = id;
    this.owner = owner;
    this.alarm = new HeadAlarm(owner.timers, () => this.releaseDue());
  }

  /** Octets of the bodies that are in memory. */
  get memoryBytes(): number {
    return this.bodyBytes - this.coldBytes;
  }

  get memoryEntries(): number {
    return this.count - this.cold;
  }

  /**
   * Keeps the message until its time; what it is kept as is a copy that nobody published. Its sequence number, if it has
   * one, is the one that it is known by.
   * @param copies it has more routing keys than one
   * @returns the position to wait for, 0 when nothing is written
   */
  hold(message: Message, timing: Timing, copies: boolean): Position {
    const { owner } = this;
    const { dueMs } = timing;
    const kept = copyMessage(message, {
      publisher: null, // it would keep a connection in memory that is long gone
      expiresAtMs: laterBy(message, Math.max(dueMs - owner.nowMs, 0)),
    });
    kept.sequence = message.sequence > 0 ? message.sequence : owner.nextSequence();
    const entry = new QueueEntry<Schedule>(this, kept, null);
    entry.state = 'waiting';
    entry.expiresAtMs = dueMs;
    const held = new Held(kept.sequence, timing, dueMs, kept.bodyBytes, copies);
    held.entry = entry;
    this.add(held);
    this.alarm.watch(dueMs, owner.nowMs);
    if (this.id === 0 || !kept.durable) return 0;
    if (timing.repeat !== null) this.putRepeat(held);
    return owner.journal.publish(entry);
  }

  has(id: number): boolean {
    return this.find(id) !== undefined;
  }

  /** @returns false when there is none of the id */
  cancel(id: number): boolean {
    const held = this.find(id);
    if (held === undefined) return false;
    this.forget(held);
    return true;
  }

  /** All are cancelled. */
  clear(): void {
    for (const held of [...this.all()]) this.forget(held);
    this.heap.clear();
    this.alarm.cancel();
  }

  /**
   * At most `count` of what waits behind (`afterMs`, `afterId`), by time and id; those that are cold are read for it,
   * and stay cold.
   */
  async list(count: number, afterMs = 0, afterId = 0): Promise<ScheduledMessage[]> {
    const first = this.firstOf(count, afterMs, afterId);
    const cold = first.filter(({ entry }) => entry === null);
    const messages = new Map<Held, Message>();
    await this.read(cold, (held, entry) => messages.set(held, entry.message));
    return first.flatMap((held) => {
      const message = held.entry?.message ?? messages.get(held);
      if (message === undefined || held.cancelled) return []; // it went meanwhile
      return [{ id: held.id, dueMs: held.dueMs, repeat: held.repeat, message }];
    });
  }

  // A map from id to message would cost each of a million half as much again as it does now.
  private find(id: number): Held | undefined {
    for (const held of this.all()) if (held.id === id) return held;
    return undefined;
  }

  private *all(): Iterable<Held> {
    for (const held of this.reading ?? []) if (!held.cancelled) yield held;
    for (const held of this.heap) if (!held.cancelled) yield held;
  }

  // One pass: what is far behind is cut off whenever enough has gathered.
  private firstOf(count: number, afterMs: number, afterId: number): Held[] {
    let first: Held[] = [];
    let untilMs = Number.POSITIVE_INFINITY;
    for (const held of this.all()) {
      if (held.dueMs > untilMs || held.dueMs < afterMs || (held.dueMs === afterMs && held.id <= afterId)) continue;
      first.push(held);
      if (first.length < count * 2 + 1024) continue;
      first = first.sort(inOrder).slice(0, count);
      untilMs = first.at(-1)?.dueMs ?? afterMs;
    }
    return first.sort(inOrder).slice(0, count);
  }

  // — at their time ———————————————————————————————————————————————————————————————————————————————————————————————

  /** Releases what is due; called once everything else is as it was before a restart. */
  start(): void {
    this.watch();
  }

  private watch(): void {
    if (this.heap.length > 0) this.alarm.watch(this.heap.nextDueMs, this.owner.nowMs);
  }

  private releaseDue(): void {
    if (this.reading !== null) return;
    const { nowMs, journal } = this.owner;
    if (!journal.writable) {
      this.owner.timers.after(retryMs, () => this.releaseDue());
      return;
    }
    for (let left = sliceCount; left > 0; left--) {
      const held = this.heap.shift(nowMs);
      if (held === undefined) break;
      if (held.cancelled) continue;
      if (held.entry === null) return void this.releaseCold(held, left);
      this.release(held, held.entry);
    }
    this.watch(); // what is due still comes in a turn of its own
  }

  // Those of the slice that are due with it are read back together, and released in their order.
  private async releaseCold(first: Held, count: number): Promise<void> {
    const due = [first];
    while (due.length < count) {
      const held = this.heap.shift(this.owner.nowMs);
      if (held === undefined) break;
      due.push(held);
    }
    this.reading = due;
    try {
      await this.thaw(due);
    } catch (error) {
      this.owner.readFailed(error as Error, () => {
        this.reading = null;
        for (const held of due) if (!held.cancelled) this.heap.add(held.dueMs, held);
        this.watch();
      });
      return;
    }
    this.reading = null;
    for (const held of due) if (held.entry !== null && !held.cancelled) this.release(held, held.entry);
    this.watch();
  }

  private release(held: Held, entry: QueueEntry<Schedule>): void {
    const { owner } = this;
    const { message } = entry;
    const next = nextTiming(held, owner.nowMs);
    const laterMs = held.dueMs - held.firstDueMs;
    const copy =
      laterMs === 0 ? repeatMessage(message) : copyMessage(message, { expiresAtMs: laterBy(message, laterMs) });
    if (held.repeat?.cron && held.repeat.times !== 0) this.holdSeries(held, held.repeat, copy);
    else owner.release(copy, held.copies);
    if (held.cancelled) return; // what it set off deleted the exchange
    if (next === null) return this.forget(held);
    held.dueMs = next.dueMs;
    held.repeat = next.repeat;
    this.heap.add(held.dueMs, held);
    if (entry.journal !== 'none') this.putRepeat(held);
  }

  // A time of the cron entry begins a series of deliveries [ActiveMQ].
  private holdSeries(held: Held, { periodMs, times, delayMs }: Repeat, message: Message): void {
    const { nowMs } = this.owner;
    const repeat = periodMs > 0 ? { cron: null, periodMs, times, delayMs: 0 } : null;
    const dueMs = nowMs + delayMs;
    const own = copyMessage(message, { expiresAtMs: laterBy(message, nowMs - held.dueMs) });
    this.hold(own, { dueMs, repeat }, held.copies);
  }

  private add(held: Held): void {
    this.heap.add(held.dueMs, held);
    this.count += 1;
    this.bodyBytes += held.bodyBytes;
  }

  // Done with, or cancelled.
  private forget(held: Held): void {
    held.cancelled = true;
    this.count -= 1;
    this.bodyBytes -= held.bodyBytes;
    if (held.entry !== null) this.settle(held.entry);
    else {
      this.cold -= 1;
      this.coldBytes -= held.bodyBytes;
      this.store!.settle(held.slot);
    }
    if (held.repeat !== null && this.id !== 0) this.owner.journal.delete(repeatKind, repeatKey(this.id, held.id));
    // What is cancelled waits in the heap for its time, unless it is most of it.
    if (this.heap.length > 64 && this.heap.length > this.count * 2) this.heap.filter((each) => !each.cancelled);
  }

  settle(entry: QueueEntry<Schedule>): void {
    if (entry.state === 'settled') return;
    entry.state = 'settled';
    if (entry.journal === 'written') this.owner.journal.settle(entry);
  }

  requeue(): void {} // nobody takes entries from here

  reject(entry: QueueEntry<Schedule>): void {
    this.settle(entry);
  }

  // — over restarts, and out of memory ——————————————————————————————————————————————————————————————————————————————

  /** What the journal remembers of one that is routed more than once; before the entries. */
  restoreRepeat(id: number, value: Buffer): void {
    this.repeats.set(id, JSON.parse(value.toString('utf8')) as Timing);
  }

  /** The entries that were there when the broker stopped; nothing is released before `start`. */
  restore(recovered: RecoveredQueue, store: ColdStore): void {
    this.store = store;
    for (const slot of recovered.slots) {
      const id = recovered.sequence(slot);
      const firstDueMs = recovered.expiresAtMs(slot);
      const timing = this.repeats.get(id) ?? { dueMs: firstDueMs, repeat: null };
      const held = new Held(id, timing, firstDueMs, recovered.bodyBytes(slot), true);
      held.slot = slot;
      this.add(held);
      this.cold += 1;
      this.coldBytes += held.bodyBytes;
    }
    this.repeats.clear();
  }

  /** Lets entries leave memory that are not due soon, a slice of them. @returns true when there is more to do */
  page(paging: Paging): boolean {
    const { store } = paging;
    const fromMs = this.owner.nowMs + warmMs;
    this.store ??= store;
    this.pager ??= this.heap[Symbol.iterator]();
    for (let left = paging.sliceEntries; left > 0; left--) {
      const next = this.pager.next();
      if (next.done) {
        this.pager = null;
        return false;
      }
      const held = next.value;
      const { entry } = held;
      if (entry === null || held.cancelled || held.dueMs < fromMs || entry.journal !== 'written' || !store.holds(entry))
        continue;
      held.slot = store.freeze(entry);
      held.entry = null;
      this.cold += 1;
      this.coldBytes += held.bodyBytes;
    }
    return true;
  }

  private async thaw(due: readonly Held[]): Promise<void> {
    await this.read(
      due.filter(({ entry }) => entry === null),
      (held, entry) => {
        this.store!.thaw(held.slot, entry);
        entry.state = 'waiting';
        held.entry = entry;
        this.cold -= 1;
        this.coldBytes -= held.bodyBytes;
      },
    );
  }

  private async read(cold: readonly Held[], take: (held: Held, entry: QueueEntry<Schedule>) => void): Promise<void> {
    const isCold = ({ cancelled, entry }: Held): boolean => !cancelled && entry === null;
    let left = cold.filter(isCold);
    while (left.length > 0) {
      const asked = left;
      const slots = SlotList.of(asked.map(({ slot }) => slot));
      const entries = takeAll(await this.store!.read(this, slots, 0, asked.length));
      for (const [i, entry] of entries.entries()) if (isCold(asked[i]!)) take(asked[i]!, entry);
      // nothing comes when one of them went while it was asked for
      left = asked.slice(entries.length).filter(isCold);
      if (left.length === asked.length) throw new Error(`message ${left[0]!.id} cannot be found`);
    }
  }

  private putRepeat(held: Held): void {
    const value = Buffer.from(JSON.stringify({ dueMs: held.dueMs, repeat: held.repeat }), 'utf8');
    this.owner.journal.put(repeatKind, repeatKey(this.id, held.id), value);
  }
}

// A time to live begins when the message is routed; a time at which it expires is meant as such.
function laterBy(message: Message, ms: number): number {
  const { expiresAtMs } = message;
  return expiresAtMs === 0 || ms === 0 || message.properties.ttlMs === undefined ? expiresAtMs : expiresAtMs + ms;
}

function inOrder(a: Held, b: Held): number {
  return a.dueMs - b.dueMs || a.id - b.id;
}

function repeatKey(scheduleId: number, id: number): string {
  return `${scheduleId}\0${id}`;
}
