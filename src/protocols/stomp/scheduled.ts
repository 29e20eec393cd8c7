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
    const number = (i: number, name: Buffer): number => (i < 0 ? 0 : readNumber(frame.value(i, version), name));
    return timingOf(
      {
        delayMs: number(this.delay, names.delay),
        periodMs: number(this.period, names.period),
        times: number(this.repeat, names.repeat),
        cron: this.cron < 0 ? '' : frame.value(this.cron, version).trim(),
      },
      nowMs,
    );
  }
}

function readNumber(text: string, name: Buffer): number {
  if (/^\s*-?\d{1,15}\s*$/.test(text)) return Number(text);
  throw new BrokerError('invalid-field', `${name}: '${text}' is no number`);
}
