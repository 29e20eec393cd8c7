import { Ring } from '../../lib/ring.ts';
import { ColdList, type ColdOwner } from './cold-list.ts';
import type { RecoveredQueue } from './cold-store.ts';
import type { QueueEntry } from './entry.ts';
import type { Remains } from './remains.ts';
import { type Sweep, sweepSlice } from './sweep.ts';

/**
 * Entries that wait, in the order of their messages. What comes back from a consumer was mostly ahead of everything that
 * never left, so that it needs only a small heap in front of the ring. What is taken out of the middle leaves a hole,
 * passed over when it comes up, and filled with others when half of the places are holes.
 *
 *     returned (heap by sequence)  │  fresh (ring, in order)  │  cold (of a long list; null for all others)
 */
export class ReadyList {
  private fresh = new Ring<QueueEntry>();
  private returned: QueueEntry[] = [];
  private cold: ColdList | null = null;
  /** Places of entries that were taken out of the middle: passed over when they come up. */
  private holes: Set<QueueEntry> | null = null;

  get length(): number {
    const { cold, holes } = this;
    return this.warmPlaces + (cold === null ? 0 : cold.length) - (holes === null ? 0 : holes.size);
  }

  /** Entries that are in memory. */
  get memoryLength(): number {
    return this.memoryPlaces - (this.holes === null ? 0 : this.holes.size);
  }

  private get warmPlaces(): number {
    return this.fresh.length + this.returned.length;
  }

  private get memoryPlaces(): number {
    return this.warmPlaces + (this.cold === null ? 0 : this.cold.back.length);
  }

  /** Octets of the bodies that are not in memory. */
  get coldBytes(): number {
    return this.cold === null ? 0 : this.cold.bodyBytes;
  }

  push(entry: QueueEntry): void {
    if (this.cold === null) this.fresh.push(entry);
    else this.cold.back.push(entry);
  }

  /** Takes an entry that is in memory out of its place, wherever that is. */
  remove(entry: QueueEntry): void {
    this.holes ??= new Set();
    this.holes.add(entry);
    if (this.holes.size > holesMin && this.holes.size * 2 > this.memoryPlaces) this.fill();
  }

  /** Puts an entry that left the list back to its place. */
  restore(entry: QueueEntry): void {
    if (this.holes?.delete(entry)) {
      if (this.holes.size === 0) this.holes = null;
      return; // it is still there
    }
    const heap = this.returned;
    let at = heap.length;
    heap.push(entry);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.message.sequence <= entry.message.sequence) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  /** Takes the first; undefined when there is none, or it is still to be read back: the owner is told when it is there. */
  shift(): QueueEntry | undefined {
    for (;;) {
      const entry = this.take();
      if (this.holes === null || entry === undefined || !this.isHole(entry)) return entry;
    }
  }

  private take(): QueueEntry | undefined {
    if (this.returned.length === 0) return this.cold === null ? this.fresh.shift() : this.shiftAhead(this.cold);
    if (this.fresh.length === 0 && this.cold !== null && !this.join(this.cold)) {
      this.cold.demand(); // one of the cold may be ahead of it
      return undefined;
    }
    const fresh = this.fresh.at(0);
    if (fresh === undefined || this.returned[0]!.message.sequence < fresh.message.sequence) return this.shiftReturned();
    return this.cold === null ? this.fresh.shift() : this.shiftAhead(this.cold);
  }

  /** The first if it is in memory. */
  peek(): QueueEntry | undefined {
    if (this.holes !== null) this.pass();
    const returned = this.returned[0];
    const fresh = this.fresh.at(0);
    if (returned === undefined || fresh === undefined) return returned ?? fresh;
    return returned.message.sequence < fresh.message.sequence ? returned : fresh;
  }

  /** Takes the first of those that came back, or of the others, if it is expired and none of the cold is ahead of it. */
  shiftExpired(nowMs: number): QueueEntry | undefined {
    this.findHead();
    const { cold } = this;
    const returned = this.returned[0];
    const fresh = this.fresh.at(0);
    const isAhead = returned !== undefined && fresh !== undefined && isBefore(returned, fresh);
    if (isExpired(returned, nowMs) && (isAhead || !isExpired(fresh, nowMs))) {
      return isAhead || cold?.mayBeExpired(nowMs) !== true ? this.shiftReturned() : undefined;
    }
    if (!isExpired(fresh, nowMs)) return undefined;
    return cold === null ? this.fresh.shift() : this.shiftAhead(cold);
  }

  /**
   * When one of those that `shiftExpired` looks at, or of those that are not in memory, expires, in milliseconds since the
   * epoch; 0 = never, or they are being read back, and the owner is told when they are there.
   */
  nextExpiryMs(): number {
    this.findHead();
    const { cold } = this;
    const returned = this.returned[0];
    const fresh = this.fresh.at(0);
    // what came back and may be behind what is being read dies after it
    const waits =
      cold?.isReading === true && returned !== undefined && !(fresh !== undefined && isBefore(returned, fresh));
    const warmMs = earlier(waits ? 0 : (returned?.expiresAtMs ?? 0), fresh?.expiresAtMs ?? 0);
    return cold === null ? warmMs : earlier(warmMs, cold.nextDueMs);
  }

  /** The first is being read back: the owner is told when it is there. */
  get isReading(): boolean {
    return this.cold !== null && this.fresh.length === 0 && this.cold.isReading;
  }

  // What stands at the head is an entry, in memory if none is cold.
  private findHead(): void {
    do if (this.holes !== null) this.pass();
    while (this.cold !== null && this.fresh.length === 0 && this.join(this.cold));
  }

  /**
   * Has what is expired and not in memory read back, and gives it away as it comes, each behind those that came back and
   * are ahead of it. @returns false when nothing is
   */
  expire(nowMs: number, take: (entry: QueueEntry) => void): boolean {
    const { cold } = this;
    if (cold === null || cold.isReading) return cold?.mayBeExpired(nowMs) === true;
    return cold.expire(nowMs, (entry) => {
      for (let first = this.returned[0]; first !== undefined && isBefore(first, entry); first = this.returned[0]) {
        if (!isExpired(first, nowMs)) break;
        this.shiftReturned();
        if (!this.isHole(first)) take(first);
      }
      take(entry);
    });
  }

  /** What is not in memory expires at `dueMs`, unless it does sooner. */
  shorten(dueMs: number): void {
    this.cold?.shorten(dueMs);
  }

  /** Gives all away. */
  clear(remains: Remains): void {
    const { fresh, returned, cold, holes } = this;
    this.fresh = new Ring();
    this.returned = [];
    this.cold = null;
    this.holes = null;
    remains.add(returned, holes);
    remains.add(fresh, holes);
    if (cold === null) return;
    remains.add(cold.back, holes);
    cold.clear(remains);
  }

  /** The entries that are in memory; those ahead of cold ones first. */
  *[Symbol.iterator](): IterableIterator<QueueEntry> {
    this.fill();
    yield* this.warm();
    if (this.cold !== null) yield* this.cold.back;
  }

  private *warm(): IterableIterator<QueueEntry> {
    const returned = this.returned.toSorted((a, b) => a.message.sequence - b.message.sequence);
    let next = 0;
    for (const entry of this.fresh) {
      while (next < returned.length && returned[next]!.message.sequence < entry.message.sequence) {
        yield returned[next++]!;
      }
      yield entry;
    }
    for (; next < returned.length; next++) yield returned[next]!;
  }

  // — entries that leave memory ————————————————————————————————————————————————————————————————————————————————————

  /** Entries of a queue as it was at the start, all of them cold; the list is empty. */
  adopt(recovered: RecoveredQueue, slots: Uint32Array, owner: ColdOwner): void {
    if (slots.length === 0) return;
    this.cold = new ColdList(this.fresh, owner, (entry) => this.isHole(entry));
    this.cold.adopt(recovered, slots);
  }

  /**
   * Lets entries leave memory: those behind the first `keep`, as far as they can be read back.
   * @param max entries at most
   * @returns true when more of them can leave at once
   */
  freeze(keep: number, max: number, owner: ColdOwner): boolean {
    this.fill();
    if (this.cold === null) {
      const next = this.fresh.at(keep);
      if (next === undefined || (next.journal !== 'none' && !owner.store.holds(next))) return false;
      const back = this.fresh;
      this.fresh = new Ring();
      for (let i = 0; i < keep; i++) this.fresh.push(back.shift()!);
      this.cold = new ColdList(this.fresh, owner, (entry) => this.isHole(entry));
      this.cold.back = back;
    }
    return this.cold.freeze(keep * 2, max);
  }

  /** Has the first entries read back if none is in memory. */
  demand(): void {
    if (this.holes !== null) this.pass();
    if (this.warmPlaces === 0) this.cold?.demand();
  }

  /** At most `count` entries behind `after`, in order; those that are cold are read for it, and stay cold. */
  browse(last: QueueEntry | null, count: number): QueueEntry[] | Promise<QueueEntry[]> {
    this.fill();
    const { cold } = this;
    const after = last === null ? 0 : last.message.sequence;
    const found: QueueEntry[] = [];
    if (cold === null) return browse(this, after, count, found);
    browse(this.warm(), after, count, found);
    if (found.length >= count) return found;
    return this.browseCold(cold, after, count);
  }

  // What is read for it may come back to memory meanwhile, or be taken: what is in memory is looked at in the end.
  private async browseCold(cold: ColdList, after: number, count: number): Promise<QueueEntry[]> {
    const found = new Map<number, QueueEntry>();
    for (let last = after; found.size < count; ) {
      const look = cold.look(last, count - found.size);
      if (look === null) break;
      const { entries, until } = await look;
      for (const entry of entries) found.set(entry.message.sequence, entry);
      last = until;
    }
    for (const entry of browse(this, after, count, [])) found.set(entry.message.sequence, entry);
    return [...found.values()].sort((a, b) => a.message.sequence - b.message.sequence).slice(0, count);
  }

  /** Offers all behind what is swept, in order; what is cold as it is read. */
  sweep(sweep: Sweep): void {
    const entries = sweep.isOver ? [] : this.memoryBehind(sweep.swept, sweepSlice);
    for (const entry of entries) {
      if (entry.state !== 'ready' || this.holes?.has(entry) === true) {
        sweep.pass(entry); // it went meanwhile
        continue;
      }
      this.remove(entry);
      if (!sweep.offer(entry)) this.restore(entry);
      if (sweep.isOver) break;
    }
    const { cold } = this;
    if (sweep.isOver) sweep.done();
    else if (entries.length === sweepSlice) sweep.later(() => this.sweep(sweep));
    else if (cold === null || cold.nextBehind(sweep.swept) === Number.POSITIVE_INFINITY) sweep.done();
    else cold.sweep(sweep, this.nextReturned(sweep.swept), () => this.sweep(sweep));
  }

  // Of the first behind `after` that came back: it may stand among what is cold. Infinity when there is none.
  private nextReturned(after: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const { message } of this.returned) {
      if (message.sequence > after && message.sequence < next) next = message.sequence;
    }
    return next;
  }

  // At most `count` entries behind `after` that nothing cold is ahead of, in order.
  private memoryBehind(after: number, count: number): QueueEntry[] {
    const { cold } = this;
    const end = cold === null ? Number.POSITIVE_INFINITY : cold.nextBehind(after);
    const found = this.returned.filter(({ message: { sequence } }) => sequence > after && sequence < end);
    gather(this.fresh, after, end, count, found);
    if (cold !== null) gather(cold.back, after, end, count, found);
    return found.sort((a, b) => a.message.sequence - b.message.sequence).slice(0, count);
  }

  private shiftAhead(cold: ColdList): QueueEntry | undefined {
    if (this.fresh.length === 0 && this.join(cold)) return this.fresh.shift();
    const entry = this.fresh.shift();
    if (entry === undefined) cold.demand();
    else cold.taken();
    return entry;
  }

  // Once nothing is cold, what is at the back follows what is in front. @returns true if that is so
  private join(cold: ColdList): boolean {
    if (!cold.isWarm) return false;
    this.fresh = cold.back;
    this.cold = null;
    cold.abandon();
    return true;
  }

  // — places of entries that were taken out of the middle ——————————————————————————————————————————————————————————

  // True for one whose place has come up: it is gone now.
  private isHole(entry: QueueEntry): boolean {
    const { holes } = this;
    if (holes === null || !holes.delete(entry)) return false;
    if (holes.size === 0) this.holes = null;
    return true;
  }

  // What stands at the head is no hole after it.
  private pass(): void {
    for (let first = this.fresh.at(0); first !== undefined && this.isHole(first); first = this.fresh.at(0)) {
      this.fresh.shift();
      this.cold?.taken();
    }
    while (this.returned.length > 0 && this.isHole(this.returned[0]!)) this.shiftReturned();
  }

  private fill(): void {
    const { holes } = this;
    if (holes === null) return;
    this.holes = null;
    const isThere = (entry: QueueEntry): boolean => !holes.has(entry);
    this.fresh.filter(isThere);
    this.returned = this.returned.filter(isThere).sort((a, b) => a.message.sequence - b.message.sequence);
    this.cold?.back.filter(isThere);
    this.cold?.refill();
  }

  private shiftReturned(): QueueEntry {
    const heap = this.returned;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.message.sequence < heap[child]!.message.sequence) child += 1;
      if (last.message.sequence <= heap[child]!.message.sequence) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first;
  }
}

/** Fewer of them are not worth tidying up. */
const holesMin = 64;

function isExpired(entry: QueueEntry | undefined, nowMs: number): boolean {
  return entry !== undefined && entry.expiresAtMs > 0 && entry.expiresAtMs <= nowMs;
}

function isBefore(a: QueueEntry, b: QueueEntry): boolean {
  return a.message.sequence < b.message.sequence;
}

function earlier(a: number, b: number): number {
  return a === 0 || b === 0 ? a + b : Math.min(a, b);
}

function browse(entries: Iterable<QueueEntry>, after: number, count: number, found: QueueEntry[]): QueueEntry[] {
  for (const entry of entries) {
    if (found.length >= count) break;
    if (entry.message.sequence > after) found.push(entry);
  }
  return found;
}

/** Adds at most `count` behind `after` and ahead of `end`, of a ring in order. */
function gather(ring: Ring<QueueEntry>, after: number, end: number, count: number, found: QueueEntry[]): void {
  let begin = 0;
  for (let last = ring.length; begin < last; ) {
    const middle = (begin + last) >> 1;
    if (ring.at(middle)!.message.sequence > after) last = middle;
    else begin = middle + 1;
  }
  for (const stop = Math.min(ring.length, begin + count); begin < stop; begin++) {
    const entry = ring.at(begin)!;
    if (entry.message.sequence >= end) return;
    found.push(entry);
  }
}
