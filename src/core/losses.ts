import type { MessageFormat } from './format.ts';
import type { Message } from './message.ts';

/**
 * What could not be said in another protocol at all, not even in a companion header. Encoders note it; the message
 * that asked for the translation counts it, once for each translation, and nothing is done where nothing is lost.
 */
const noted: string[] = [];

/** @param field of the shared vocabulary, or what of the lines or sections it was */
export function noteLoss(field: string): void {
  noted.push(field);
}

/** @returns what was noted since the last call: the same array when there was nothing */
export function takeLosses(): readonly string[] {
  return noted.length === 0 ? none : noted.splice(0);
}

const none: readonly string[] = [];

export interface Loss {
  readonly from: string;
  readonly to: string;
  readonly field: string;
  readonly count: number;
}

/** One that grows, and how much of it was told already. */
interface Tally {
  readonly from: string;
  readonly to: string;
  readonly field: string;
  count: number;
  told: number;
}

/** Losses since the start by (from, to, field), for the metrics and the log. */
export class ConversionLosses {
  private counts = new Map<string, Tally>();

  count(from: string, to: string, fields: readonly string[]): void {
    for (const field of fields) {
      const key = `${from}\0${to}\0${field}`;
      const loss = this.counts.get(key);
      if (loss === undefined) this.counts.set(key, { from, to, field, count: 1, told: 0 });
      else loss.count += 1;
    }
  }

  /** Runs what translates for a question alone: nothing of it counts. */
  aside<T>(work: () => T): T {
    const { counts } = this;
    this.counts = new Map();
    try {
      return work();
    } finally {
      this.counts = counts;
    }
  }

  all(): Iterable<Loss> {
    return this.counts.values();
  }

  /** Those since the last call. */
  takeUntold(): Loss[] {
    const untold: Loss[] = [];
    for (const loss of this.counts.values()) {
      if (loss.count === loss.told) continue;
      untold.push({ from: loss.from, to: loss.to, field: loss.field, count: loss.count - loss.told });
      loss.told = loss.count;
    }
    return untold;
  }
}

/** Of the whole process, as the translations are. */
export const conversionLosses = new ConversionLosses();

/** A loss of one delivery, for its peer takes less than the protocol does. */
export function countLoss(message: Message, to: MessageFormat, field: string): void {
  conversionLosses.count(message.format.name, to.name, [field]);
}
