import type { QueueEntry } from './entry.ts';
import { ReadyList } from './ready-list.ts';

/** x-max-priority: a list for each priority, the highest served first; made when its first message comes. */
export class PriorityList {
  private readonly levels: (ReadyList | undefined)[];
  private readonly max: number;
  length = 0;

  constructor(maxPriority: number) {
    this.max = maxPriority;
    this.levels = new Array(maxPriority + 1);
  }

  push(entry: QueueEntry): void {
    this.levelOf(entry).push(entry);
    this.length += 1;
  }

  restore(entry: QueueEntry): void {
    this.levelOf(entry).restore(entry);
    this.length += 1;
  }

  shift(): QueueEntry | undefined {
    const entry = this.first()?.shift();
    if (entry !== undefined) this.length -= 1;
    return entry;
  }

  peek(): QueueEntry | undefined {
    return this.first()?.peek();
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

  clear(): void {
    this.levels.fill(undefined);
    this.length = 0;
  }

  *[Symbol.iterator](): IterableIterator<QueueEntry> {
    for (let priority = this.max; priority >= 0; priority--) {
      const level = this.levels[priority];
      if (level !== undefined) yield* level;
    }
  }

  // A message without a priority has the lowest, one above the highest has the highest.
  private levelOf(entry: QueueEntry): ReadyList {
    const priority = Math.min(Math.max(entry.message.priority, 0), this.max);
    let level = this.levels[priority];
    if (level === undefined) {
      level = new ReadyList();
      this.levels[priority] = level;
    }
    return level;
  }

  private first(): ReadyList | undefined {
    for (let priority = this.max; priority >= 0; priority--) {
      const level = this.levels[priority];
      if (level !== undefined && level.length > 0) return level;
    }
    return undefined;
  }
}
