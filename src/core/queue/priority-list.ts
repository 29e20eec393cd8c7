import type { QueueOptions } from './arguments.ts';
import type { ColdOwner } from './cold-list.ts';
import type { RecoveredQueue } from './cold-store.ts';
import type { QueueEntry } from './entry.ts';
import { has, type PriorityOrder } from './priority-order.ts';
import { PriorityTurns } from './priority-turns.ts';
import { PriorityWeights } from './priority-weights.ts';
import { ReadyList } from './ready-list.ts';
import type { Remains } from './remains.ts';
import { Sweep } from './sweep.ts';

/** A list for each priority, the highest served first or in another order; made when its first message comes. */
export class PriorityList {
  private readonly levels: (ReadyList | undefined)[];
  private readonly max: number;
  private readonly normalMax: number;
  private readonly order: PriorityOrder | null;
  length = 0;

  /**
   * @param max the highest level
   * @param normalMax published priorities up to it are of level 0, the next of level 1
   * @param order null: the highest first
   */
  constructor(max: number, normalMax: number, order: PriorityOrder | null) {
    this.max = max;
    this.normalMax = normalMax;
    this.order = order;
    this.levels = new Array(max + 1);
  }

  /** The first of a priority is being read back. */
  get isReading(): boolean {
    return this.levels.some((level) => level?.isReading === true);
  }

  get memoryLength(): number {
    return this.sum((level) => level.memoryLength);
  }

  get coldBytes(): number {
    return this.sum((level) => level.coldBytes);
  }

  push(entry: QueueEntry): void {
    this.levelOf(entry.message.priority).push(entry);
    this.length += 1;
  }

  restore(entry: QueueEntry): void {
    this.levelOf(entry.message.priority).restore(entry);
    this.length += 1;
  }

  shift(): QueueEntry | undefined {
    const level = this.next();
    const entry = this.levels[level]?.shift();
    if (entry === undefined) return undefined;
    this.length -= 1;
    this.order?.taken(level);
    return entry;
  }

  remove(entry: QueueEntry): void {
    this.levelOf(entry.message.priority).remove(entry);
    this.length -= 1;
  }

  /** Takes the next expired entry that stands at the head of its priority. */
  shiftExpired(nowMs: number): QueueEntry | undefined {
    for (const level of this.levels) {
      const entry = level?.shiftExpired(nowMs);
      if (entry === undefined) continue;
      this.length -= 1;
      return entry;
    }
    return undefined;
  }

  nextExpiryMs(): number {
    let next = 0;
    for (const level of this.levels) {
      const ms = level?.nextExpiryMs() ?? 0;
      if (ms > 0 && (next === 0 || ms < next)) next = ms;
    }
    return next;
  }

  expire(nowMs: number, take: (entry: QueueEntry) => void): boolean {
    const counted = (entry: QueueEntry): void => {
      this.length -= 1;
      take(entry);
    };
    let reads = false;
    for (const level of this.levels) if (level?.expire(nowMs, counted) === true) reads = true;
    return reads;
  }

  shorten(dueMs: number): void {
    for (const level of this.levels) level?.shorten(dueMs);
  }

  clear(remains: Remains): void {
    for (const level of this.levels) level?.clear(remains);
    this.levels.fill(undefined);
    this.length = 0;
  }

  *[Symbol.iterator](): IterableIterator<QueueEntry> {
    for (let priority = this.max; priority >= 0; priority--) {
      const level = this.levels[priority];
      if (level !== undefined) yield* level;
    }
  }

  adopt(recovered: RecoveredQueue, slots: Uint32Array, owner: ColdOwner): void {
    const byLevel = new Map<ReadyList, number[]>();
    for (const slot of slots) {
      const level = this.levelOf(recovered.priority(slot));
      const own = byLevel.get(level);
      if (own === undefined) byLevel.set(level, [slot]);
      else own.push(slot);
    }
    for (const [level, own] of byLevel) level.adopt(recovered, Uint32Array.from(own), owner);
    this.length += slots.length;
  }

  freeze(keep: number, max: number, owner: ColdOwner): boolean {
    let left = max;
    for (const level of this.levels) {
      if (level === undefined) continue;
      const entries = level.memoryLength;
      if (level.freeze(keep, left, owner)) return true;
      left -= entries - level.memoryLength;
      if (left <= 0) return true;
    }
    return false;
  }

  demand(): void {
    this.first()?.demand();
  }

  browse(after: QueueEntry | null, count: number): QueueEntry[] | Promise<QueueEntry[]> {
    const levels: ReadyList[] = [];
    const from = after === null ? null : this.levelOf(after.message.priority);
    for (
      let priority = after === null ? this.max : this.priorityOf(after.message.priority);
      priority >= 0;
      priority--
    ) {
      const level = this.levels[priority];
      if (level !== undefined) levels.push(level);
    }
    const found: QueueEntry[] = [];
    const next = (): QueueEntry[] | Promise<QueueEntry[]> => {
      for (let level = levels.shift(); level !== undefined; level = levels.shift()) {
        const some = level.browse(level === from ? after : null, count - found.length);
        if (some instanceof Promise) {
          return some.then((read) => {
            found.push(...read);
            return next();
          });
        }
        found.push(...some);
      }
      return found;
    };
    return next();
  }

  sweep(sweep: Sweep): void {
    const from = (priority: number): void => {
      if (priority < 0 || sweep.isOver) return sweep.done();
      const level = this.levels[priority];
      if (level === undefined) return from(priority - 1);
      const own = new Sweep(
        (entry) => {
          const taken = sweep.take(entry);
          if (taken) this.length -= 1;
          own.isOver = sweep.isOver;
          return taken;
        },
        () => from(priority - 1),
        sweep.later,
      );
      level.sweep(own);
    };
    from(this.max);
  }

  // A message without a priority has the lowest, one above the highest has the highest.
  private priorityOf(published: number): number {
    return Math.min(Math.max(published - this.normalMax, 0), this.max);
  }

  private levelOf(published: number): ReadyList {
    const priority = this.priorityOf(published);
    let level = this.levels[priority];
    if (level === undefined) {
      level = new ReadyList();
      this.levels[priority] = level;
    }
    if (this.order !== null && level.length === 0) this.order.filled(priority);
    return level;
  }

  private sum(of: (level: ReadyList) => number): number {
    let sum = 0;
    for (const level of this.levels) if (level !== undefined) sum += of(level);
    return sum;
  }

  private first(): ReadyList | undefined {
    return this.levels[this.next()];
  }

  // The level that is served next, −1 when all are empty.
  private next(): number {
    if (this.order !== null) return this.order.next(this.levels);
    for (let priority = this.max; priority >= 0; priority--) if (has(this.levels, priority)) return priority;
    return -1;
  }
}

/** Of a quorum queue: messages of a higher priority are of its high level [RabbitMQ: quorum queues, priorities]. */
const quorumNormalMax = 4;

/** The list that a queue of these options has for what waits. */
export function createList({ type, maxPriority, priorityWeights }: QueueOptions): ReadyList | PriorityList {
  if (type === 'quorum') return new PriorityList(1, quorumNormalMax, new PriorityTurns());
  if (maxPriority < 0) return new ReadyList();
  return new PriorityList(maxPriority, 0, priorityWeights === null ? null : new PriorityWeights(priorityWeights));
}
