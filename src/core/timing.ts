import { CronTimes } from '../lib/cron.ts';
import { BrokerError } from './errors.ts';

/** When a message is to be routed: not as it comes, but at its time, and perhaps again. */
export interface Timing {
  /** Milliseconds since the epoch. */
  readonly dueMs: number;
  /** null: once. */
  readonly repeat: Repeat | null;
}

/** What happens at a time of a schedule: a delivery, or with `cron` and `times` a series of them that begins there. */
export interface Repeat {
  /** null: the next time is a period later. */
  readonly cron: string | null;
  readonly periodMs: number;
  /** Deliveries that follow the first; −1: without end. */
  readonly times: number;
  /** How long after a time of `cron` its series begins. */
  readonly delayMs: number;
}

/** A publisher's wish in the words of ActiveMQ's scheduled messages; absent is 0 and ''. */
export interface Wish {
  readonly delayMs: number;
  readonly periodMs: number;
  readonly times: number;
  readonly cron: string;
}

/** The latest time that can be shown as a date. */
export const dueMaxMs = 8_640_000_000_000_000;

/**
 * @returns null: it is to be routed as it comes
 * @throws BrokerError invalid-field when the cron entry is none, or names no time that comes
 */
export function timingOf({ delayMs, periodMs, times, cron }: Wish, nowMs: number): Timing | null {
  if (cron !== '') {
    if (times < 0) throw new BrokerError('invalid-field', 'a cron entry begins series that end');
    return { dueMs: demandCron(cron, nowMs), repeat: { cron, periodMs, times, delayMs: Math.max(delayMs, 0) } };
  }
  const repeats = times !== 0 && periodMs > 0;
  // [ActiveMQ] without a delay the first period is one
  const firstMs = delayMs > 0 ? delayMs : periodMs;
  if (firstMs <= 0) return null;
  return {
    dueMs: Math.min(nowMs + firstMs, dueMaxMs),
    repeat: repeats ? { cron: null, periodMs, times, delayMs: 0 } : null,
  };
}

function demandCron(entry: string, nowMs: number): number {
  let nextMs: number;
  try {
    nextMs = new CronTimes(entry).nextMs(nowMs);
  } catch (error) {
    throw new BrokerError('invalid-field', (error as Error).message);
  }
  if (nextMs < Number.POSITIVE_INFINITY) return nextMs;
  throw new BrokerError('invalid-field', `no time of the cron entry '${entry}' comes`);
}

/**
 * What follows the time `dueMs`, which has come: times that passed unseen, while the broker was down, are not made up.
 * @returns null when it was the last
 */
export function nextTiming({ dueMs, repeat }: Timing, nowMs: number): Timing | null {
  if (repeat === null) return null;
  if (repeat.cron !== null) {
    const nextMs = new CronTimes(repeat.cron).nextMs(Math.max(dueMs, nowMs));
    return nextMs < Number.POSITIVE_INFINITY ? { dueMs: nextMs, repeat } : null;
  }
  if (repeat.times === 0) return null;
  const missed = Math.floor(Math.max(nowMs - dueMs, 0) / repeat.periodMs);
  const times = repeat.times < 0 ? repeat.times : repeat.times - 1;
  return { dueMs: dueMs + (missed + 1) * repeat.periodMs, repeat: { ...repeat, times } };
}
