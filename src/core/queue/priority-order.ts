import type { QueueEntry } from './entry.ts';

interface Level {
  readonly length: number;
  /** The first if it is in memory. */
  peek(): QueueEntry | undefined;
}

export type Levels = readonly (Level | undefined)[];

/** Which of the levels that have messages is served next, where that is not always the highest. */
export interface PriorityOrder {
  /** A level that was empty has a message. */
  filled(level: number): void;
  /** @returns the level that is next, −1 when all are empty */
  next(levels: Levels): number;
  taken(level: number): void;
}

export function has(levels: Levels, level: number): boolean {
  const list = levels[level];
  return list !== undefined && list.length > 0;
}
