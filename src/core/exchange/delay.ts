import { BrokerError } from '../errors.ts';
import { copyMessage, type Message } from '../message.ts';
import { type Headers, isTyped, type Value } from '../properties.ts';
import { dueMaxMs } from '../timing.ts';

/**
 * `x-delayed-message`: an exchange that routes as the type `x-delayed-type` does, each message so many milliseconds
 * later as its header `x-delay` says [RabbitMQ's delayed message plugin].
 */
export const delayedType = 'x-delayed-message';

const typeArgument = 'x-delayed-type';
const header = 'x-delay';

/**
 * The type that an exchange routes by.
 * @throws BrokerError precondition-failed when a delayed one does not say
 */
export function routingTypeOf<T extends string>(type: T, args: Headers, types: readonly T[]): T {
  if (type !== delayedType) return type;
  const inner = args.get(typeArgument);
  if (typeof inner === 'string' && inner !== delayedType && types.includes(inner as T)) return inner as T;
  throw new BrokerError('precondition-failed', `Invalid argument, '${typeArgument}' must be an existing exchange type`);
}

/** Milliseconds; 0 = at once. */
export function findDelay(message: Message): number {
  const delayMs = Math.trunc(toNumber(message.properties.headers.get(header)));
  return delayMs > 0 ? Math.min(delayMs, dueMaxMs) : 0;
}

function toNumber(value: Value | undefined): number {
  if (typeof value === 'string') return /^[+-]?\d{1,15}$/.test(value) ? Number(value) : 0;
  if (value === undefined || value === null || !isTyped(value)) return 0;
  if (value.type === 'decimal') return value.value / 10 ** value.scale;
  return typeof value.value === 'number' || typeof value.value === 'bigint' ? Number(value.value) : 0;
}

/**
 * The message as it is kept and goes on: with the delay negated, so that no exchange on its way, and nobody who sends
 * it on, delays it a second time; whoever gets it sees that it was.
 */
export function spendDelay(message: Message, delayMs: number): Message {
  const native = encodeSpent(message, delayMs);
  const bytes = Buffer.concat([native, message.body]);
  return copyMessage(message, {
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
}

function encodeSpent(message: Message, delayMs: number): Buffer {
  const { format, native, properties } = message;
  const spent = negated(properties.headers.get(header), delayMs);
  if (format.replaceHeader !== undefined && typeof spent === 'string') {
    return format.replaceHeader(native, header, spent);
  }
  const headers = new Map(properties.headers).set(header, spent);
  if (properties.blindCopies !== undefined) headers.set('BCC', properties.blindCopies);
  return format.encode({ ...properties, headers }, message);
}

// Text stays text: that is what protocols without numbers carry.
function negated(value: Value | undefined, delayMs: number): Value {
  if (typeof value === 'string') return String(-delayMs);
  if (delayMs <= 0x7fffffff) return { type: 'int', value: -delayMs };
  return { type: 'long', value: BigInt(-delayMs) };
}
