import { Ring } from '../../lib/ring.ts';
import type { Match } from '../exchange/binding.ts';
import { type ColdBatch, type ColdStore, type RecoveredQueue, type Slot, takeAll } from './cold-store.ts';
import type { QueueEntry } from './entry.ts';
import type { Queue } from './queue.ts';
import type { Remains } from './remains.ts';
import { SlotList } from './slot-list.ts';
import { type Sweep, sweepSlice } from './sweep.ts';

/** What a list with cold entries asks of its queue. */
export interface ColdOwner {
  readonly queue: Queue;
  readonly store: ColdStore;
  /** The entry was read back: what the store does not know of it is to be set. */
  revive(entry: QueueEntry): void;
  /** The entry leaves memory. */
  froze(entry: QueueEntry): void;
  /** The entry, which expires, came back to the front. */
  thawed(entry: QueueEntry): void;
  /** Entries came back to the front. */
  arrived(): void;
  /** Everything was offered: what was not taken waits for something to change. */
  swept(): void;
  /** Reading or writing failed; `again` is to be called in a while. */
  failed(why: Error, again: () => void): void;
}

const pageSlots = 4096;
/** What comes back ahead of need: entries, and octets. */
const aheadMax = 8192;
const aheadBytes = 4 * 1024 * 1024;
/** Entries that are made at a time of what was read: few, so that they are young when they are settled. */
const thawEntries = 64;
/** What is written at a time of messages that are not durable: entries, and octets; two milliseconds to encode. */
const spillEntries = 2048;
const spillBytes = 2 * 1024 * 1024;
/** Entries that expire between two reads: what becomes of them may cost some µs each. */
const expireEntries = 512;

interface ColdSweep {
  readonly sweep: Sweep;
  /** The first message that is not to be offered. */
  readonly end: number;
  readonly offered: () => void;
}

/** What somebody sees who looks at cold entries, and up to which message that is all. */
interface Glance {
  readonly entries: readonly QueueEntry[];
  readonly until: number;
}

/** A run of cold entries, at most four octets each beside what the store keeps; features in use take more. */
class ColdPage {
  readonly slots = new SlotList();
  from = 0;
  /** None of them expires before; 0 = none expires. */
  dueMs = 0;
  /** By index, 0 = never, when one of them expires. */
  private dues: Float64Array | null = null;
  /** By index, when a subscription of MQTT matched. */
  private matches: (Match | null)[] | null = null;
  /** By index, of those that were in a consumer's hands before. */
  private deliveries: Map<number, { readonly count: number; readonly redelivered: boolean }> | null = null;

  get to(): number {
    return this.slots.length;
  }

  get isFull(): boolean {
    return this.to === pageSlots;
  }

  add(slot: Slot, expiresAtMs: number): void {
    if (expiresAtMs > 0) this.setDue(this.to, expiresAtMs);
    this.slots.push(slot);
  }

  private setDue(index: number, dueMs: number): void {
    if (this.dues === null || this.dues.length <= index) {
      const dues = new Float64Array(Math.min(pageSlots, Math.max(64, index * 2)));
      if (this.dues !== null) dues.set(this.dues);
      this.dues = dues;
    }
    this.dues[index] = dueMs;
    if (this.dueMs === 0 || dueMs < this.dueMs) this.dueMs = dueMs;
  }

  private dueOf(index: number): number {
    return this.dues === null || index >= this.dues.length ? 0 : this.dues[index]!;
  }

  /** The first indices, `max` at most, of those that are expired; `dueMs` is that of the next one if it finds none. */
  findExpired(nowMs: number, max: number): number[] {
    const expired: number[] = [];
    this.dueMs = 0;
    for (let i = this.from; i < this.to; i++) {
      const dueMs = this.dueOf(i);
      if (dueMs === 0) continue;
      if (dueMs <= nowMs && expired.length < max) expired.push(i);
      else if (this.dueMs === 0 || dueMs < this.dueMs) this.dueMs = dueMs;
    }
    return expired;
  }

  /** All expire at `dueMs`, unless they do sooner. */
  shorten(dueMs: number): void {
    for (let i = this.from; i < this.to; i++) {
      const own = this.dueOf(i);
      if (own === 0 || own > dueMs) this.setDue(i, dueMs);
    }
  }

  /** Keeps what no store knows of the entry that is about to be added. */
  keep(entry: QueueEntry): void {
    if (entry.match !== null) {
      this.matches ??= [];
      this.matches[this.to] = entry.match;
    }
    if (entry.deliveryCount > 0 || entry.redelivered) {
      this.deliveries ??= new Map();
      this.deliveries.set(this.to, { count: entry.deliveryCount, redelivered: entry.redelivered });
    }
  }

  revive(index: number, entry: QueueEntry): void {
    if (this.matches === null && this.deliveries === null) return;
    entry.match = this.matches?.[index] ?? null;
    const delivery = this.deliveries?.get(index);
    if (delivery === undefined) return;
    entry.deliveryCount = delivery.count;
    entry.redelivered = delivery.redelivered;
  }

  /** The same without the entries at `indices`, which ascend. */
  without(indices: readonly number[]): ColdPage {
    const rest = new ColdPage();
    let next = 0;
    for (let i = this.from; i < this.to; i++) {
      if (indices[next] === i) {
        next += 1;
        continue;
      }
      const match = this.matches?.[i];
      if (match !== undefined && match !== null) {
        rest.matches ??= [];
        rest.matches[rest.to] = match;
      }
      const delivery = this.deliveries?.get(i);
      if (delivery !== undefined) {
        rest.deliveries ??= new Map();
        rest.deliveries.set(rest.to, delivery);
      }
      rest.add(this.slots.at(i), this.dueOf(i));
    }
    return rest;
  }
}

/**
 * The middle and the end of a long list, of which the middle has left memory:
 *
 *     front (ring of the ready list)  │  pages (cold, read back in order)  │  back (ring: the newest)
 *
 * Pages are read ahead of need, as octets; entries are made of them when the front is empty, so that it is never empty
 * while something has been read. What gathers at the back is frozen into pages. One read or write is under way at a time.
 */
export class ColdList {
  /** Of the entries that are cold. */
  bodyBytes = 0;
  /** The newest, which are in memory. */
  back = new Ring<QueueEntry>();
  private readonly pages = new Ring<ColdPage>();
  private readonly front: Ring<QueueEntry>;
  private readonly owner: ColdOwner;
  /** True, once, for an entry that was taken out of its place. */
  private readonly isGone: (entry: QueueEntry) => boolean;
  /** What was read of the beginning of the pages, in order. */
  private readonly batches = new Ring<ColdBatch<Queue>>();
  /** Entries in them, and octets. */
  private batched = 0;
  private batchedBytes = 0;
  /** Entries that are read ahead of need. */
  private ahead = aheadMax;
  private coldCount = 0;
  /** No page has one that expires before; 0 = none expires. */
  private dueMs = 0;
  private reading = false;
  private spilling = false;
  /** Raised when what is under way is of no use any longer. */
  private generation = 0;
  /** Sweeps that are wanted, one after another. */
  private sweeps: ColdSweep[] = [];

  /** @param front entries ahead of all that this list will have; the caller takes from it and calls `taken` */
  constructor(front: Ring<QueueEntry>, owner: ColdOwner, isGone: (entry: QueueEntry) => boolean) {
    this.front = front;
    this.owner = owner;
    this.isGone = isGone;
  }

  /** Entries in pages and at the back. */
  get length(): number {
    return this.coldCount + this.back.length;
  }

  /** True when nothing is cold: what is at the back belongs into the front. */
  get isWarm(): boolean {
    return this.coldCount === 0;
  }

  get isReading(): boolean {
    return this.reading;
  }

  /** None of the cold expires before; 0 = never, or they are being read. */
  get nextDueMs(): number {
    return this.reading ? 0 : this.dueMs;
  }

  /** An entry was taken from the front. */
  taken(): void {
    if (this.front.length === 0) this.refill();
  }

  /** Makes entries of what was read if the front is empty, and reads ahead unless enough is read. */
  refill(): void {
    const batch = this.batches.at(0);
    if (this.front.length === 0 && batch !== undefined) this.thawNext(batch);
    this.demand();
  }

  /** Reads ahead unless enough is read. */
  demand(): void {
    if (this.reading || this.coldCount === this.batched) return;
    if (this.front.length + this.batched >= this.ahead || this.batchedBytes >= aheadBytes) return;
    void this.readAhead();
  }

  /** Entries of a queue as it was at the start. */
  adopt(recovered: RecoveredQueue, slots: Uint32Array): void {
    for (let at = 0; at < slots.length; at += pageSlots) {
      const page = new ColdPage();
      for (let i = at; i < slots.length && !page.isFull; i++) {
        const slot = slots[i]!;
        this.bodyBytes += recovered.bodyBytes(slot);
        page.add(slot, recovered.expiresAtMs(slot));
      }
      this.pages.push(page);
      this.watch(page.dueMs);
    }
    this.coldCount += slots.length;
  }

  /**
   * Freezes what the store holds from the beginning of the back, and has written what it does not.
   * @param ahead entries that are enough in the front
   * @param max entries at most
   * @returns true when there is more that can be frozen at once
   */
  freeze(ahead: number, max: number): boolean {
    this.ahead = Math.min(ahead, aheadMax);
    if (this.batched > 2 * this.ahead) this.forgetRead();
    if (this.spilling) return false;
    const { store } = this.owner;
    const loose: QueueEntry[] = [];
    let bytes = 0;
    let count = 0;
    for (; count < this.back.length && count < max; count++) {
      const entry = this.back.at(count)!;
      if (store.holds(entry)) continue;
      if (entry.journal !== 'none' || loose.length === spillEntries || bytes > spillBytes) break;
      loose.push(entry);
      bytes += entry.message.end - entry.message.start;
    }
    if (loose.length > 0) void this.spill(loose, count);
    else this.freezeRun(count);
    return loose.length === 0 && count === max;
  }

  /** Has what is cold between the last that was swept and `end` read and offered, and calls `offered`. */
  sweep(sweep: Sweep, end: number, offered: () => void): void {
    this.sweeps.push({ sweep, end, offered });
    this.forgetRead();
    if (!this.reading) void this.sweepPages();
  }

  /** Of the first message that is cold behind `after`; Infinity when none is. */
  nextBehind(after: number): number {
    const index = this.findPage(after);
    if (index < 0) return Number.POSITIVE_INFINITY;
    const page = this.pages.at(index)!;
    return this.owner.store.sequence(page.slots.at(this.findBehind(page, after)));
  }

  /** Some of the cold are expired, or were when they began to be read for it. */
  mayBeExpired(nowMs: number): boolean {
    return this.dueMs > 0 && this.dueMs <= nowMs;
  }

  /** Has those that are expired read back, and gives them away, out of their places. @returns false when none is */
  expire(nowMs: number, take: (entry: QueueEntry) => void): boolean {
    if (!this.mayBeExpired(nowMs)) return false;
    if (!this.reading) void this.expirePages(nowMs, take);
    return true;
  }

  /** All that are cold expire at `dueMs`, unless they do sooner. */
  shorten(dueMs: number): void {
    for (const page of this.pages) page.shorten(dueMs);
    this.watchPages();
  }

  private async expirePages(nowMs: number, take: (entry: QueueEntry) => void): Promise<void> {
    const { generation } = this;
    this.reading = true;
    this.forgetRead();
    for (let i = 0; i < this.pages.length; ) {
      const page = this.pages.at(i)!;
      const indices = page.dueMs > 0 && page.dueMs <= nowMs ? page.findExpired(nowMs, expireEntries) : [];
      if (indices.length === 0) {
        i += 1;
        continue;
      }
      const entries = await this.readAll(SlotList.of(indices.map((index) => page.slots.at(index))));
      if (entries === null) return;
      for (const [j, entry] of entries.entries()) this.thaw(page, indices[j]!, entry);
      this.pages.set(i, page.without(indices));
      for (const entry of entries) take(entry);
      if (generation !== this.generation) return;
    }
    this.reading = false;
    this.dropEmpty();
    this.watchPages();
    if (this.sweeps.length > 0) void this.sweepPages();
    else this.demand();
    this.owner.swept();
  }

  private dropEmpty(): void {
    for (let left = this.pages.length; left > 0; left--) {
      const page = this.pages.shift()!;
      if (page.from < page.to) this.pages.push(page);
    }
  }

  private watchPages(): void {
    this.dueMs = 0;
    for (const page of this.pages) this.watch(page.dueMs);
  }

  private watch(dueMs: number): void {
    if (dueMs > 0 && (this.dueMs === 0 || dueMs < this.dueMs)) this.dueMs = dueMs;
  }

  /**
   * Reads at most `count` of the cold entries behind `after` for somebody who only looks: they stay cold.
   * @returns null when there are none
   */
  look(after: number, count: number): Promise<Glance> | null {
    const index = this.findPage(after);
    if (index < 0) return null;
    const page = this.pages.at(index)!;
    const at = this.findBehind(page, after);
    return this.lookAt(page, at, Math.min(page.to, at + count));
  }

  private async lookAt(page: ColdPage, from: number, to: number): Promise<Glance> {
    const { store, queue } = this.owner;
    const sequences = Array.from({ length: to - from }, (_, i) => store.sequence(page.slots.at(from + i)));
    const entries: QueueEntry[] = [];
    let next = 0;
    for (const entry of takeAll(await store.read(queue, page.slots, from, to))) {
      const at = next++;
      // it was taken while it was looked for, and its slot may be another's by now, of another queue
      if (entry.message.sequence !== sequences[at]) continue;
      page.revive(from + at, entry);
      this.owner.revive(entry);
      entries.push(entry);
    }
    return { entries, until: sequences[Math.max(next - 1, 0)]! };
  }

  // The first index whose message is behind `after`; they are in order.
  private findBehind({ slots, from, to }: ColdPage, after: number): number {
    const { store } = this.owner;
    let begin = from;
    for (let end = to; begin < end; ) {
      const middle = (begin + end) >> 1;
      if (store.sequence(slots.at(middle)) > after) end = middle;
      else begin = middle + 1;
    }
    return begin;
  }

  /** Gives away everything that is cold, unread. */
  clear(remains: Remains): void {
    for (const page of this.pages) remains.addCold(page);
    this.pages.clear();
    this.dueMs = 0;
    this.coldCount = 0;
    this.bodyBytes = 0;
    this.abandon();
  }

  /** What is under way comes to nothing. */
  abandon(): void {
    this.generation += 1;
    this.reading = false;
    this.spilling = false;
    this.forgetRead();
    for (const { offered } of this.sweeps.splice(0)) offered();
  }

  // It stays cold.
  private forgetRead(): void {
    this.batches.clear();
    this.batched = 0;
    this.batchedBytes = 0;
  }

  private async readAhead(): Promise<void> {
    const [page, from] = this.firstUnread();
    const batch = await this.readSlots(page.slots, from, Math.min(page.to, from + this.ahead));
    if (batch === null) return;
    this.reading = false;
    if (this.sweeps.length > 0) {
      void this.sweepPages(); // it reads everything anew
      return;
    }
    // What was read before may have been forgotten meanwhile: this is not the beginning then.
    const [nextPage, nextFrom] = this.firstUnread();
    if (page === nextPage && from === nextFrom) {
      this.batches.push(batch);
      this.batched += batch.left;
      this.batchedBytes += batch.bytes;
    }
    this.refill();
    this.owner.arrived();
  }

  // There is one.
  private firstUnread(): [page: ColdPage, from: number] {
    let skipped = this.batched;
    for (let i = 0; ; i++) {
      const page = this.pages.at(i)!;
      const length = page.to - page.from;
      if (skipped < length) return [page, page.from + skipped];
      skipped -= length;
    }
  }

  // The batch is the first.
  private thawNext(batch: ColdBatch<Queue>): void {
    const page = this.pages.at(0)!;
    const { front, owner } = this;
    const { store } = owner;
    const max = Math.min(thawEntries, batch.left);
    let count = 0;
    let bytes = 0;
    let failure: Error | null = null;
    try {
      for (; count < max; count++) {
        const entry = batch.next();
        page.revive(page.from, entry);
        owner.revive(entry);
        store.thaw(page.slots.at(page.from), entry);
        page.from += 1;
        bytes += entry.message.bodyBytes;
        front.push(entry);
        if (entry.expiresAtMs > 0) owner.thawed(entry);
      }
    } catch (error) {
      failure = error as Error;
    }
    this.batched -= count;
    this.coldCount -= count;
    this.bodyBytes -= bytes;
    if (failure !== null) {
      this.forgetRead();
      if (!this.reading) this.fail(failure); // else what is being read comes to nothing, and this is tried again
    }
    if (batch.left === 0 && this.batches.at(0) === batch) {
      this.batches.shift();
      this.batchedBytes -= batch.bytes;
    }
    if (page.from === page.to) this.pages.shift();
  }

  private async sweepPages(): Promise<void> {
    const { generation } = this;
    this.reading = true;
    for (let next = this.sweeps[0]; next !== undefined; next = this.sweeps[0]) {
      const { sweep, end, offered } = next;
      if (sweep.isOver || this.nextBehind(sweep.swept) >= end) {
        this.sweeps.shift();
        offered();
      } else if (!(await this.sweepPage(next))) return;
      if (generation !== this.generation) return;
    }
    this.reading = false;
    this.watchPages();
    this.demand();
    this.owner.swept();
  }

  // Offers as much as is read at a time. @returns false when it is of no use any longer, or failed
  private async sweepPage({ sweep, end }: ColdSweep): Promise<boolean> {
    const { generation } = this;
    const index = this.findPage(sweep.swept);
    const page = this.pages.at(index)!;
    const from = this.findBehind(page, sweep.swept);
    const to = Math.min(from + sweepSlice, this.findBehind(page, end - 1));
    const entries = await this.readEntries(page.slots, from, to);
    if (entries === null) return false;
    const taken: number[] = [];
    for (const [i, entry] of entries.entries()) {
      page.revive(from + i, entry);
      this.owner.revive(entry);
      if (sweep.offer(entry)) {
        this.takeOut(page, from + i, entry);
        taken.push(from + i);
      }
      if (generation !== this.generation) return false;
      if (sweep.isOver) break;
    }
    if (taken.length === 0) return true;
    const rest = page.without(taken);
    this.pages.set(index, rest);
    if (rest.to === 0) this.dropEmpty();
    return true;
  }

  // The page with the first that is cold behind `after`, −1 when none is.
  private findPage(after: number): number {
    const { store } = this.owner;
    for (let i = 0; i < this.pages.length; i++) {
      const { slots, from, to } = this.pages.at(i)!;
      if (from < to && store.sequence(slots.at(to - 1)) > after) return i;
    }
    return -1;
  }

  private async readAll(slots: SlotList): Promise<QueueEntry[] | null> {
    const all: QueueEntry[] = [];
    while (all.length < slots.length) {
      const entries = await this.readEntries(slots, all.length, slots.length);
      if (entries === null) return null;
      all.push(...entries);
    }
    return all;
  }

  private async readEntries(slots: SlotList, from: number, to: number): Promise<QueueEntry[] | null> {
    const batch = await this.readSlots(slots, from, to);
    if (batch === null) return null;
    try {
      return takeAll(batch);
    } catch (error) {
      this.fail(error as Error);
      return null;
    }
  }

  /** @returns null when it is of no use any longer, or failed and will be tried again */
  private async readSlots(slots: SlotList, from: number, to: number): Promise<ColdBatch<Queue> | null> {
    const { generation } = this;
    const { store, queue } = this.owner;
    this.reading = true;
    try {
      const batch = await store.read(queue, slots, from, to);
      return generation === this.generation ? batch : null;
    } catch (error) {
      if (generation === this.generation) this.fail(error as Error);
      return null;
    }
  }

  // Nothing is read until it is tried again.
  private fail(why: Error): void {
    const { generation } = this;
    this.reading = true;
    this.owner.failed(why, () => {
      if (generation !== this.generation) return;
      this.reading = false;
      this.dropEmpty();
      this.watchPages();
      if (this.sweeps.length > 0) void this.sweepPages();
      else this.demand();
      this.owner.swept();
    });
  }

  // Whoever took it may be done with it already.
  private takeOut(page: ColdPage, index: number, entry: QueueEntry): void {
    if (entry.state !== 'settled') return this.thaw(page, index, entry);
    this.owner.store.settle(page.slots.at(index));
    this.coldCount -= 1;
    this.bodyBytes -= entry.message.bodyBytes;
  }

  private thaw(page: ColdPage, index: number, entry: QueueEntry): void {
    page.revive(index, entry);
    this.owner.revive(entry);
    this.owner.store.thaw(page.slots.at(index), entry);
    this.coldCount -= 1;
    this.bodyBytes -= entry.message.bodyBytes;
  }

  private async spill(loose: readonly QueueEntry[], count: number): Promise<void> {
    const { generation } = this;
    this.spilling = true;
    try {
      await this.owner.store.spill(loose);
    } catch (error) {
      // It stays in memory; the pager tries again when it looks next.
      this.owner.failed(error as Error, () => {});
      if (generation === this.generation) this.spilling = false;
      return;
    }
    if (generation === this.generation) {
      this.spilling = false;
      this.freezeRun(count);
      if (this.front.length === 0) this.demand();
      // More came than one write takes: the pager looks too seldom for it.
      if (this.back.length >= spillEntries) this.freeze(this.ahead, spillEntries);
    }
    for (const entry of loose) entry.home = null; // those frozen are nobody's, the others are in memory alone
  }

  private freezeRun(count: number): void {
    const { store } = this.owner;
    for (let i = 0; i < count; i++) {
      const entry = this.back.at(0);
      if (entry === undefined) return;
      if (this.isGone(entry)) {
        this.back.shift();
        continue;
      }
      if (!store.holds(entry)) return;
      this.back.shift();
      let page = this.pages.at(this.pages.length - 1);
      if (page === undefined || page.isFull) {
        page = new ColdPage();
        this.pages.push(page);
      }
      page.keep(entry);
      this.owner.froze(entry);
      this.bodyBytes += entry.message.bodyBytes;
      page.add(store.freeze(entry), entry.expiresAtMs);
      this.watch(entry.expiresAtMs);
      this.coldCount += 1;
    }
  }
}
