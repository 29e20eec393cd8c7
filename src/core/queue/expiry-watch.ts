import type { QueueEntry } from './entry.ts';
import { Expiries, type ExpiryClock, HeadAlarm } from './expiry.ts';

/** The list of what waits. */
interface WatchedList extends Iterable<QueueEntry> {
  readonly length: number;
  shiftExpired(nowMs: number): QueueEntry | undefined;
  nextExpiryMs(): number;
  expire(nowMs: number, take: (entry: QueueEntry) => void): boolean;
  remove(entry: QueueEntry): void;
}

/** What it asks of its queue. */
export interface ExpiryWatchOwner {
  /** The entry has left the list. */
  readonly expired: (entry: QueueEntry) => void;
  /** Something is due: `drop` is to be called, and all else that may have to be done then. */
  due(): void;
  /** After more was expired than a turn takes: what waits can be handed out again. */
  caughtUp(): void;
}

/** Entries that expire, or come back by a timer, in a turn: with dead letters a few milliseconds. */
export const expirySlice = 512;

/** Drops what is expired of all that waits in a queue, a slice in a turn, and has an alarm set for the next. */
export class ExpiryWatch {
  /** What does not expire in the order in which it came. */
  readonly expiries: Expiries;
  /** More is expired than a turn takes: nothing is handed out before the rest is gone. */
  isBehind = false;
  /** What is expired and not in memory is being read: the owner of the list is told when it is there. */
  private readsCold = false;
  private readonly alarm: HeadAlarm;
  private readonly clock: ExpiryClock;
  private readonly owner: ExpiryWatchOwner;
  private list: WatchedList;

  constructor(list: WatchedList, clock: ExpiryClock, owner: ExpiryWatchOwner) {
    this.list = list;
    this.clock = clock;
    this.owner = owner;
    this.alarm = new HeadAlarm(clock.timers, () => this.ring());
    this.expiries = new Expiries(list.length <= 1);
  }

  /** An entry that can expire came to the end. @param overtakes it may be handed out before what is ahead of it */
  pushed(entry: QueueEntry, overtakes: boolean): void {
    if (overtakes) this.expiries.add(entry);
    else this.expiries.pushed(entry, this.list.length === 1);
    this.setAlarm();
  }

  /** An entry that can expire came to its place. */
  restored(entry: QueueEntry): void {
    this.expiries.add(entry);
    this.setAlarm();
  }

  /** What waits may expire in any order. */
  addAll(): void {
    this.expiries.unending();
    for (const entry of this.list) if (entry.expiresAtMs > 0) this.expiries.add(entry);
    this.setAlarm();
  }

  /** What waits moves to another list. */
  move(list: WatchedList): void {
    this.list = list;
    this.readsCold = false;
  }

  /** Nothing waits any longer. */
  emptied(): void {
    this.expiries.clear();
    this.readsCold = false;
    this.isBehind = false;
  }

  close(): void {
    this.alarm.cancel();
  }

  /** The head may be another one. */
  setAlarm(): void {
    const { alarm, clock } = this;
    alarm.watch(this.list.nextExpiryMs(), clock.nowMs);
    if (this.readsCold) return;
    const { nextMs } = this.expiries;
    if (nextMs < Number.POSITIVE_INFINITY) alarm.watch(nextMs, clock.nowMs);
  }

  /** @returns false when there is more than a turn takes: the rest goes in turns of its own */
  drop(): boolean {
    if (this.isBehind) return false;
    const { owner } = this;
    const { nowMs } = this.clock;
    let left = expirySlice;
    for (; left > 0; left--) {
      const entry = this.list.shiftExpired(nowMs);
      if (entry === undefined) break;
      owner.expired(entry);
    }
    if (left > 0) {
      // those were mostly published before: they go first, and the rest when they have been read
      this.readsCold = this.list.expire(nowMs, owner.expired);
      if (this.readsCold) return true;
    }
    for (; left > 0; left--) {
      const entry = this.expiries.takeDue(nowMs);
      if (entry === undefined) return true;
      this.list.remove(entry);
      owner.expired(entry);
    }
    this.isBehind = true;
    this.alarm.watch(nowMs, nowMs);
    return false;
  }

  private ring(): void {
    const wasBehind = this.isBehind;
    this.isBehind = false;
    this.owner.due();
    if (wasBehind && !this.isBehind) this.owner.caughtUp();
    this.setAlarm();
  }
}
