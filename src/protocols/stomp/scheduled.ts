import { BrokerError } from '../../core/errors.ts';
import { type Timing, timingOf } from '../../core/timing.ts';
import type { FrameReader } from './frame.ts';
import type { Version } from './versions.ts';

const names = {
  cron: Buffer.from('AMQ_SCHEDULED_CRON'),
  delay: Buffer.from('AMQ_SCHEDULED_DELAY'),
  period: Buffer.from('AMQ_SCHEDULED_PERIOD'),
  repeat: Buffer.from('AMQ_SCHEDULED_REPEAT'),
};

/**
 * The headers of a SEND that say when its message is to be routed [ActiveMQ: delay and schedule message delivery]. They
 * are the frame's own: whoever gets the message is told the number of its schedule instead, and a message that has one
 * is not scheduled again.
 */
export class ScheduledHeaders {
  private cron = -1;
  private delay = -1;
  private period = -1;
  private repeat = -1;

  reset(): void {
    this.cron = this.delay = this.period = this.repeat = -1;
  }

  get given(): boolean {
    return this.cron >= 0 || this.delay >= 0 || this.period >= 0;
  }

  /** True if the header, whose name has 18 to 20 octets, is one of them. */
  take(frame: FrameReader, i: number): boolean {
    if (frame.isName(i, names.delay)) this.delay = this.delay < 0 ? i : this.delay;
    else if (frame.isName(i, names.period)) this.period = this.period < 0 ? i : this.period;
    else if (frame.isName(i, names.repeat)) this.repeat = this.repeat < 0 ? i : this.repeat;
    else if (frame.isName(i, names.cron)) this.cron = this.cron < 0 ? i : this.cron;
    else return false;
    return true;
  }

  /**
   * @returns null: as it comes
   * @throws BrokerError invalid-field
   */
  findTiming(frame: FrameReader, version: Version, nowMs: number): Timing | null {
    return readTiming((which) => (this[which] < 0 ? undefined : frame.value(this[which], version)), nowMs);
  }
}

/**
 * The same from headers by name. @param find undefined: there is no such header
 * @throws BrokerError invalid-field
 */
export function readTiming(find: (which: Which, name: string) => string | undefined, nowMs: number): Timing | null {
  const text = (which: Which): string | undefined => find(which, names[which].toString('latin1'));
  const number = (which: Which): number => readNumber(text(which) ?? '0', names[which]);
  return timingOf(
    {
      delayMs: number('delay'),
      periodMs: number('period'),
      times: number('repeat'),
      cron: (text('cron') ?? '').trim(),
    },
    nowMs,
  );
}

type Which = keyof typeof names;

/** True for the name of one of them. */
export function isScheduledHeader(name: string): boolean {
  return Object.values(names).some((each) => each.toString('latin1') === name);
}

function readNumber(text: string, name: Buffer): number {
  if (/^\s*-?\d{1,15}\s*$/.test(text)) return Number(text);
  throw new BrokerError('invalid-field', `${name}: '${text}' is no number`);
}
