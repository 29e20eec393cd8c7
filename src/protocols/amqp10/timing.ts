import { BrokerError } from '../../core/errors.ts';
import { isTyped } from '../../core/properties.ts';
import { dueMaxMs, type Timing, timingOf } from '../../core/timing.ts';
import { startsWith } from '../../lib/bytes.ts';
import { AmqpMap, type Any, Decoder, skipValue } from './types.ts';

const prefix = Buffer.from('x-opt-delivery-');

/**
 * When the annotations of a message want it routed: `x-opt-delivery-time` (milliseconds since the epoch, as JMS' delivery
 * time is written) or `x-opt-delivery-delay` (milliseconds), and `-period`, `-repeat` and `-cron` as ActiveMQ has them.
 * @param at where the map of annotations begins
 * @returns null: as it comes
 * @throws BrokerError invalid-field
 */
export function findTiming(bytes: Buffer, at: number, end: number, nowMs: number): Timing | null {
  if (!isScheduled(bytes, at, end)) return null;
  const annotations = new Decoder(bytes, at).read();
  if (!(annotations instanceof AmqpMap)) return null;
  const find = (name: string): Any => annotations.get(`x-opt-delivery-${name}`) ?? null;
  const time = toNumber(find('time'));
  const cron = find('cron');
  return timingOf(
    {
      delayMs: time > 0 ? Math.min(time, dueMaxMs) - nowMs : toNumber(find('delay')),
      periodMs: toNumber(find('period')),
      times: toNumber(find('repeat')),
      cron: typeof cron === 'string' ? cron : '',
    },
    nowMs,
  );
}

// Most annotations are others: their keys are looked at where they lie.
function isScheduled(bytes: Buffer, at: number, end: number): boolean {
  const isShort = bytes[at] === 0xc1;
  let count = isShort ? bytes[at + 2]! : bytes.readUInt32BE(at + 5);
  for (let key = at + (isShort ? 3 : 9); count >= 2; count -= 2) {
    // a symbol of at most 255 octets
    if (bytes[key] === 0xa3 && bytes[key + 1]! > prefix.length && startsWith(bytes, key + 2, prefix, prefix.length))
      return true;
    key = skipValue(bytes, skipValue(bytes, key, end), end);
  }
  return false;
}

function toNumber(value: Any): number {
  if (value === null) return 0;
  if (typeof value === 'string') {
    if (/^-?\d{1,15}$/.test(value)) return Number(value);
  } else if (typeof value === 'object' && 'type' in value && isTyped(value)) {
    if (typeof value.value === 'number' || typeof value.value === 'bigint') return Math.trunc(Number(value.value));
  }
  throw new BrokerError('invalid-field', 'a time of delivery is no number');
}
