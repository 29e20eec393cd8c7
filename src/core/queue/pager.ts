import { restedBytes } from '../../lib/bytes.ts';
import type { Logger } from '../../lib/log.ts';
import type { Timers } from '../../lib/timers.ts';
import type { ColdStore } from './cold-store.ts';
import type { LocalQueue } from './local-queue.ts';

/** How much memory waiting messages may take, in octets. */
export interface PagingLimits {
  /** One queue's: what is more leaves memory at once, however much of it there is. */
  readonly queueBytes: number;
  /** All bodies, which lie outside the heap. */
  readonly bodyBytes: number;
  /** All entries, in the heap. */
  readonly heapBytes: number;
}

/** What a queue needs to let entries leave memory. */
export interface Paging {
  readonly store: ColdStore;
  /** Entries that may leave now: two milliseconds for all queues together. */
  readonly sliceEntries: number;
  failed(queue: LocalQueue, why: Error, again: () => void): void;
}

/** Whatever keeps entries in memory that can leave it. */
export interface Pageable {
  /** Octets of bodies, and entries, that are in memory. */
  readonly memoryBytes: number;
  readonly memoryEntries: number;
  /** Lets entries behind the first `keep` leave memory, a slice of them. @returns true when the slice is used up */
  page(paging: Paging, keep: number): boolean;
}

export interface PagerParts {
  readonly store: ColdStore;
  readonly limits: PagingLimits;
  readonly timers: Timers;
  readonly log: Logger;
  queues(): Iterable<Pageable>;
}

/** Of the heap, for an entry that waits and its message. */
const entryBytes = 400;
const everyMs = 100;
/** While there is too much: entries that leave before they are old cost the collector little. */
const againMs = 20;
/** Octets that must have come to rest since the last look, or it is not worth one. */
const lookAfterBytes = 256 * 1024;
const sliceEntriesMax = 4096;
const retryMs = 1000;
/** Entries of a queue that stay in memory at its head: as many as there is room for, within these bounds. */
const keepMin = 16;
const keepMax = 4096;

/**
 * Looks how much memory waiting messages take, and has the longest queues give some of it back. Nothing is counted for
 * it on the way of a message: the sums are made of what queues know anyway.
 */
export class Pager implements Paging {
  readonly store: ColdStore;
  sliceEntries = sliceEntriesMax;
  private readonly parts: PagerParts;
  private lookedAtBytes = 0;
  private slicing = false;
  /** What the last look found too much may not have been written yet. */
  private isOver = false;
  /** Why queues cannot read or write what left memory, each until it is tried without a new failure. */
  private readonly faults = new Map<LocalQueue, Error>();

  constructor(parts: PagerParts) {
    this.parts = parts;
    this.store = parts.store;
    parts.timers.every(everyMs, () => {
      if (this.isOver || this.hasWork) this.look();
    });
  }

  private get hasWork(): boolean {
    return restedBytes() - this.lookedAtBytes >= lookAfterBytes;
  }

  /** Has queues that take too much let go of a slice, and goes on in a while if that was not enough. */
  look(): void {
    this.lookedAtBytes = restedBytes();
    const queues = [...this.parts.queues()].filter((queue) => queue.memoryEntries > keepMin);
    const allowance = this.allowance(queues);
    let more = false;
    this.isOver = false;
    this.sliceEntries = sliceEntriesMax;
    for (const queue of queues) {
      const bytes = memoryOf(queue);
      if (bytes <= allowance) continue;
      this.isOver = true;
      const entries = queue.memoryEntries;
      const keep = Math.floor((entries * allowance) / bytes / 4);
      more = queue.page(this, Math.min(Math.max(keep, keepMin), keepMax));
      this.sliceEntries -= entries - queue.memoryEntries;
      more ||= this.sliceEntries <= 0;
      if (more) break;
    }
    if (!this.isOver || this.slicing) return;
    this.slicing = true;
    this.parts.timers.after(more ? 0 : againMs, () => {
      this.slicing = false;
      if (more || this.hasWork) this.look();
    });
  }

  /** What cannot be read or written of some queue, for people; null: all can. */
  get fault(): string | null {
    for (const [{ name }, why] of this.faults) {
      const others = this.faults.size === 1 ? '' : ` and ${this.faults.size - 1} others`;
      return `messages of queue '${name}'${others} cannot be read back (${why.message})`;
    }
    return null;
  }

  failed(queue: LocalQueue, why: Error, again: () => void): void {
    const { log, timers } = this.parts;
    if (this.faults.get(queue)?.message !== why.message) {
      log.error(
        { queue: queue.name, err: why.message },
        'messages that left memory cannot be read or written: tried again every second',
      );
    }
    this.faults.set(queue, why);
    timers.after(retryMs, again);
    timers.after(2 * retryMs, () => {
      if (this.faults.get(queue) === why) this.faults.delete(queue);
    });
  }

  // What a queue may take, so that all of them together keep to the budgets.
  private allowance(queues: readonly Pageable[]): number {
    const { limits } = this.parts;
    let bodyBytes = 0;
    let entries = 0;
    for (const queue of queues) {
      bodyBytes += queue.memoryBytes;
      entries += queue.memoryEntries;
    }
    const excess = Math.max(bodyBytes / limits.bodyBytes, (entries * entryBytes) / limits.heapBytes);
    if (excess <= 1) return limits.queueBytes;
    // As long as what is over it is less than what is to go, the allowance is too high.
    const total = bodyBytes + entries * entryBytes;
    const tooMuch = total - total / excess;
    let allowance = limits.queueBytes;
    for (let saved = 0; saved < tooMuch && allowance > entryBytes; ) {
      allowance /= 2;
      saved = 0;
      for (const queue of queues) saved += Math.max(0, memoryOf(queue) - allowance);
    }
    return allowance;
  }
}

function memoryOf(queue: Pageable): number {
  return queue.memoryBytes + queue.memoryEntries * entryBytes;
}
