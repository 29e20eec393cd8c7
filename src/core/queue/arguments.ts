import { BrokerError } from '../errors.ts';
import { type Headers, isTyped, type TypedValue, type Value } from '../properties.ts';

export type Overflow = 'drop-head' | 'reject-publish' | 'reject-publish-dlx';

/** What a queue's arguments ask for; a feature that is not asked for is −1, null or false. */
export interface QueueOptions {
  readonly messageTtlMs: number;
  readonly expiresMs: number;
  readonly maxLength: number;
  readonly maxLengthBytes: number;
  readonly overflow: Overflow;
  readonly deadLetterExchange: string | null;
  readonly deadLetterRoutingKey: string | null;
  /** Priorities above it count as it; −1: a queue without priorities. */
  readonly maxPriority: number;
  readonly singleActiveConsumer: boolean;
}

/** The longest time that RabbitMQ takes, in milliseconds: ten years. */
export const expiryMaxMs = 315_360_000_000;

/** A quorum queue is a queue like all others here: what it promises is kept by every durable one. */
const queueTypes: readonly string[] = ['classic', 'quorum'];
const overflows: readonly string[] = ['drop-head', 'reject-publish', 'reject-publish-dlx'];

/**
 * @param what the queue in RabbitMQ's words: `queue 'orders' in vhost '/'`
 * @throws BrokerError precondition-failed naming argument and value
 */
export function readQueueArguments(args: Headers, what: string): QueueOptions {
  const invalid = (name: string, why: string): never => {
    throw new BrokerError('precondition-failed', `invalid arg '${name}' for ${what}: ${why}`);
  };
  const integer = (name: string): number => {
    const value = args.get(name);
    if (value === undefined) return -1;
    if (!isTyped(value) || !isInteger(value)) return invalid(name, `"expected integer, got ${typeName(value)}"`);
    const number = Number(value.value);
    return number < 0 ? invalid(name, `{value_negative,${value.value}}`) : number;
  };
  const timer = (name: string): number => {
    const ms = integer(name);
    return ms > expiryMaxMs ? invalid(name, `{value_too_big,${ms}}`) : ms;
  };
  const text = (name: string): string | null => {
    const value = args.get(name);
    if (value === undefined) return null;
    return typeof value === 'string' ? value : invalid(name, unacceptable(value));
  };
  const expiresMs = timer('x-expires');
  if (expiresMs === 0) invalid('x-expires', '{value_zero,0}');
  const maxPriority = integer('x-max-priority');
  if (maxPriority > 255) invalid('x-max-priority', `{max_value_exceeded,${maxPriority}}`);
  const overflow = text('x-overflow') ?? 'drop-head';
  if (!overflows.includes(overflow)) invalid('x-overflow', 'invalid_overflow');
  const deadLetterExchange = readExchangeName(args, 'x-dead-letter-exchange', what);
  const deadLetterRoutingKey = text('x-dead-letter-routing-key');
  if (deadLetterRoutingKey !== null && deadLetterExchange === null) {
    invalid('x-dead-letter-routing-key', 'routing_key_but_no_dlx_defined');
  }
  const type = text('x-queue-type') ?? 'classic';
  if (!queueTypes.includes(type)) invalid('x-queue-type', `"unsupported queue type '${type}'"`);
  const singleActive = args.get('x-single-active-consumer') ?? false;
  if (typeof singleActive !== 'boolean') invalid('x-single-active-consumer', unacceptable(singleActive));
  return {
    messageTtlMs: timer('x-message-ttl'),
    expiresMs,
    maxLength: integer('x-max-length'),
    maxLengthBytes: integer('x-max-length-bytes'),
    overflow: overflow as Overflow,
    deadLetterExchange,
    deadLetterRoutingKey,
    maxPriority,
    singleActiveConsumer: singleActive === true,
  };
}

/**
 * An argument that names an exchange.
 * @throws BrokerError precondition-failed when it is not text
 */
export function readExchangeName(args: Headers, name: string, what: string): string | null {
  const value = args.get(name);
  if (value === undefined) return null;
  if (typeof value === 'string') return value;
  throw new BrokerError('precondition-failed', `invalid type '${typeName(value)}' for arg '${name}' in ${what}`);
}

/**
 * x-priority of a consumer.
 * @throws BrokerError precondition-failed when it is not an integer
 */
export function readConsumerPriority(args: Headers, what: string): number {
  const value = args.get('x-priority');
  if (value === undefined) return 0;
  if (isTyped(value) && isInteger(value)) return Number(value.value);
  throw new BrokerError(
    'precondition-failed',
    `invalid arg 'x-priority' for ${what}: "expected integer, got ${typeName(value)}"`,
  );
}

function isInteger(value: TypedValue): boolean {
  return ['byte', 'ubyte', 'short', 'ushort', 'int', 'uint', 'long', 'ulong'].includes(value.type);
}

function unacceptable(value: Value): string {
  return `{unacceptable_type,${typeName(value)}}`;
}

/** RabbitMQ's name of a field's type. */
export function typeName(value: Value): string {
  if (value === null) return 'void';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'string') return 'longstr';
  if (Buffer.isBuffer(value)) return 'binary';
  if (value instanceof Map) return 'table';
  if (!isTyped(value)) return 'array';
  return typeNames[value.type] ?? value.type;
}

const typeNames: Partial<Record<TypedValue['type'], string>> = {
  ubyte: 'unsignedbyte',
  ushort: 'unsignedshort',
  int: 'signedint',
  uint: 'unsignedint',
  ulong: 'unsignedlong',
};

// RabbitMQ names the type only where there is nothing to compare with.
function showArgument(value: Value | undefined, other: Value | undefined): string {
  if (value === undefined) return 'none';
  const shown = isTyped(value) ? value.value : value === null ? 'undefined' : value;
  return other === undefined ? `the value '${shown}' of type '${typeName(value)}'` : `'${shown}'`;
}

/** A plain field of a declaration, and how it is called. */
export type Field = readonly [name: string, wanted: unknown, current: unknown];

/**
 * Declaring again what exists must say the same.
 * @param names the arguments that count; others may differ
 * @throws BrokerError precondition-failed naming what differs, in RabbitMQ's words
 */
export function demandEquivalent(
  what: string,
  fields: readonly Field[],
  wanted: Headers,
  current: Headers,
  names: readonly string[],
): void {
  const inequivalent = (name: string, received: string, is: string): never => {
    throw new BrokerError(
      'precondition-failed',
      `inequivalent arg '${name}' for ${what}: received ${received} but current is ${is}`,
    );
  };
  for (const [name, received, is] of fields) if (received !== is) inequivalent(name, `'${received}'`, `'${is}'`);
  for (const name of names) {
    const [received, is] = [wanted.get(name), current.get(name)];
    if (!sameArgument(received, is)) inequivalent(name, showArgument(received, is), showArgument(is, received));
  }
}

// Integers are equal in value, whatever their width.
function sameArgument(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a === null || b === null) return false;
  if (isTyped(a) && isTyped(b) && isInteger(a) && isInteger(b)) return Number(a.value) === Number(b.value);
  return typeName(a) === typeName(b) && showArgument(a, b) === showArgument(b, a);
}

/** The arguments of a queue that must be the same when it is declared again. */
export const queueArguments = [
  'x-expires',
  'x-message-ttl',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-max-length',
  'x-max-length-bytes',
  'x-overflow',
  'x-max-priority',
  'x-single-active-consumer',
  'x-queue-type',
] as const;
