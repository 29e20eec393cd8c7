import { Ring } from '../../lib/ring.ts';
import type { Timers } from '../../lib/timers.ts';
import type { Journal } from '../journal.ts';

/** Work on many entries: tells, now and then, how much of it has been done since. */
export type Chore = Iterator<number, void>;

/** An entry in memory that is settled, beside a cold one, which takes a seventh of a microsecond with the journal. */
export const warmWeight = 4;
/** Settling a fact of a feature's own in the journal. */
export const stateWeight = 8;
/** Of a turn: one or two milliseconds, and as much when the journal writes it. */
const sliceWeight = 16_384;

interface Waiting {
  readonly chore: Chore;
  readonly done: () => void;
}

/**
 * What need not be done in one turn, such as settling the millions of entries of a purge: a slice at once, the rest in
 * turns of their own. Chores take turns, so that a short one does not wait for a long one, and a slice waits until the
 * journal has the last, for that is encoded in one turn too. While the disk refuses, chores wait.
 */
export class Chores {
  private readonly journal: Journal;
  private readonly timers: Timers;
  private readonly waiting = new Ring<Waiting>();
  /** Of the slice of this turn. */
  private left = sliceWeight;
  private scheduled = false;

  constructor(journal: Journal, timers: Timers) {
    this.journal = journal;
    this.timers = timers;
  }

  /** @returns undefined when the chore is done at once, else a promise of its end */
  run(chore: Chore): undefined | Promise<void> {
    const before = this.journal.position;
    const isDone = this.waiting.length === 0 && this.work(chore);
    this.schedule(before);
    return isDone ? undefined : new Promise((done) => this.waiting.push({ chore, done }));
  }

  // @returns true when it is done, false when the slice is
  private work(chore: Chore): boolean {
    while (this.left > 0) {
      const step = chore.next();
      if (step.done === true) return true;
      this.left -= step.value;
    }
    return false;
  }

  // The next slice, also when nothing waits for it now: what comes is done at once then.
  private schedule(before: number): void {
    if (this.scheduled) return;
    this.scheduled = true;
    const { journal, timers } = this;
    const next = (): void => {
      timers.after(0, () => this.workSlice());
    };
    if (journal.position === before) next();
    else journal.whenDurable(journal.position, next);
  }

  private workSlice(): void {
    this.scheduled = false;
    this.left = sliceWeight;
    const before = this.journal.position;
    while (this.left > 0) {
      const next = this.waiting.shift();
      if (next === undefined) break;
      if (this.work(next.chore)) next.done();
      else this.waiting.push(next);
    }
    if (this.left < sliceWeight || this.waiting.length > 0) this.schedule(before);
  }
}
