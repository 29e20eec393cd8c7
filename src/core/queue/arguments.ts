import { BrokerError } from '../errors.ts';
import { type Headers, isTyped, type TypedValue, type Value } from '../properties.ts';

export type Overflow = 'drop-head' | 'reject-publish' | 'reject-publish-dlx' | 'block';
export type QueueType = 'classic' | 'quorum';
export type DeadLetterStrategy = 'at-most-once' | 'at-least-once';

/** What a queue's arguments and policies ask for; a feature that is not asked for is −1, null, empty or false. */
export interface QueueOptions {
  readonly type: QueueType;
  readonly messageTtlMs: number;
  readonly expiresMs: number;
  readonly maxLength: number;
  readonly maxLengthBytes: number;
  /** A quorum queue takes `reject-publish-dlx`, and drops all the same [RabbitMQ: rabbit_quorum_queue, overflow]. */
  readonly overflow: Overflow;
  readonly deadLetterExchange: string | null;
  readonly deadLetterRoutingKey: string | null;
  /** Dead letters go to `<queue>.dlq` where no exchange for them is named. */
  readonly deadLetterDefault: boolean;
  /** As asked for: what died is held until its dead letter is safe. */
  readonly deadLetterStrategy: DeadLetterStrategy;
  /** How often a message may come back; once more, and it is a dead letter. */
  readonly deliveryLimit: number;
  /** How long a message that comes back for the first, second … time waits. */
  readonly retryDelaysMs: readonly number[];
  /** Priorities above it count as it; −1: a queue without priorities. */
  readonly maxPriority: number;
  /** Shares of the priorities from 0 up; null: the highest first. */
  readonly priorityWeights: readonly number[] | null;
  readonly singleActiveConsumer: boolean;
  /** The messages of a group go in order to one consumer at a time. */
  readonly messageGroups: boolean;
  /** Of those that wait with one value of this header or property only the newest is kept. */
  readonly lastValueKey: string | null;
  readonly deduplicationWindowMs: number;
  /** How long a delivery may stay unacked. */
  readonly ackTimeoutMs: number;
  /** Deliveries a second. */
  readonly rateLimit: number;
  /** What a consumer's protocol cannot say whole is dead-lettered instead of delivered. */
  readonly rejectsLosses: boolean;
  /** Declaring again with other arguments changes them. */
  readonly migrates: boolean;
}

/** The longest time that RabbitMQ takes, in milliseconds: ten years. */
export const expiryMaxMs = 315_360_000_000;
/** As RabbitMQ's quorum queues have it. */
const quorumDeliveryLimit = 20;
const deduplicationWindowMs = 300_000;

const overflows: readonly string[] = ['drop-head', 'reject-publish', 'reject-publish-dlx', 'block'];

/** Arguments that RabbitMQ takes for the other type only. */
export const foreignArguments: Readonly<Record<QueueType, readonly string[]>> = {
  classic: ['x-quorum-initial-group-size', 'x-quorum-target-group-size', 'x-dead-letter-strategy'],
  quorum: ['x-max-priority', 'x-queue-mode', 'x-queue-version'],
};

/**
 * @param what the queue in RabbitMQ's words: `queue 'orders' in vhost '/'`
 * @throws BrokerError precondition-failed naming argument and value
 */
export function readQueueArguments(args: Headers, what: string): QueueOptions {
  return args.size === 0 ? plainOptions : readOptions(args, what);
}

function readOptions(args: Headers, what: string): QueueOptions {
  const read = new ArgumentReader(args, what);
  const type = readType(read);
  for (const name of foreignArguments[type]) {
    if (!args.has(name)) continue;
    throw new BrokerError(
      'precondition-failed',
      `invalid arg '${name}' for ${what} of queue type rabbit_${type}_queue`,
    );
  }
  const expiresMs = read.timer('x-expires');
  if (expiresMs === 0) read.invalid('x-expires', '{value_zero,0}');
  const maxPriority = read.integer('x-max-priority');
  if (maxPriority > 255) read.invalid('x-max-priority', `{max_value_exceeded,${maxPriority}}`);
  const overflow = read.text('x-overflow') ?? 'drop-head';
  if (!overflows.includes(overflow)) read.invalid('x-overflow', 'invalid_overflow');
  const deadLetterExchange = readExchangeName(args, 'x-dead-letter-exchange', what);
  const deadLetterRoutingKey = read.text('x-dead-letter-routing-key');
  if (deadLetterRoutingKey !== null && deadLetterExchange === null) {
    read.invalid('x-dead-letter-routing-key', 'routing_key_but_no_dlx_defined');
  }
  checkWithoutEffect(read);
  return {
    type,
    messageTtlMs: read.timer('x-message-ttl'),
    expiresMs,
    maxLength: read.integer('x-max-length'),
    maxLengthBytes: read.integer('x-max-length-bytes'),
    overflow: type === 'quorum' && overflow === 'reject-publish-dlx' ? 'drop-head' : (overflow as Overflow),
    deadLetterExchange,
    deadLetterRoutingKey,
    deadLetterDefault: read.flag('x-dead-letter-default'),
    deadLetterStrategy: readStrategy(read),
    deliveryLimit: readDeliveryLimit(read, type),
    retryDelaysMs: readDelays(read),
    maxPriority,
    priorityWeights: readWeights(read, maxPriority),
    singleActiveConsumer: read.flag('x-single-active-consumer'),
    messageGroups: read.flag('x-message-groups'),
    lastValueKey: readKey(read),
    deduplicationWindowMs: readWindow(read),
    ackTimeoutMs: readAckTimeout(read),
    rateLimit: readRate(read),
    rejectsLosses: readOnLoss(read),
    migrates: readMigrates(read),
  };
}

function readType(read: ArgumentReader): QueueType {
  const type = read.text('x-queue-type') ?? 'classic';
  if (type === 'classic' || type === 'quorum') return type;
  return read.invalid('x-queue-type', `"unsupported queue type '${type}'"`);
}

// What other brokers keep their queues by, checked as they check it.
function checkWithoutEffect(read: ArgumentReader): void {
  const mode = read.text('x-queue-mode') ?? 'default';
  if (mode !== 'default' && mode !== 'lazy') read.invalid('x-queue-mode', `"unsupported queue mode '${mode}'"`);
  const version = read.integer('x-queue-version');
  if (version > 2 || version === 0) read.invalid('x-queue-version', `"unsupported queue version '${version}'"`);
  read.positive('x-quorum-initial-group-size');
  read.positive('x-quorum-target-group-size');
}

function readStrategy(read: ArgumentReader): DeadLetterStrategy {
  const strategy = read.text('x-dead-letter-strategy') ?? 'at-most-once';
  if (strategy === 'at-most-once' || strategy === 'at-least-once') return strategy;
  return read.invalid('x-dead-letter-strategy', 'invalid_dlx_strategy');
}

// A negative limit is none [RabbitMQ: quorum queues, poison message handling].
function readDeliveryLimit(read: ArgumentReader, type: QueueType): number {
  const limit = read.signed('x-delivery-limit');
  if (limit !== null) return Math.max(limit, -1);
  return type === 'quorum' || read.flag('x-dead-letter-default') ? quorumDeliveryLimit : -1;
}

function readDelays(read: ArgumentReader): number[] {
  const text = read.text('x-retry-delays');
  if (text === null) return [];
  return text.split(',').map((part) => {
    const ms = parseDuration(part.trim());
    return ms < 0 || ms > expiryMaxMs ? read.invalid('x-retry-delays', `"'${part.trim()}' is no time"`) : ms;
  });
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `500ms`, `10s`, `1m`, `2h`, `1d`; a number alone is milliseconds. @returns −1 when it is none */
export function parseDuration(text: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)?$/.exec(text);
  return match === null ? -1 : Math.round(Number(match[1]) * unitMs[match[2] ?? 'ms']!);
}

function readWeights(read: ArgumentReader, maxPriority: number): number[] | null {
  const mode = read.text('x-priority-mode') ?? 'strict';
  if (mode !== 'strict' && mode !== 'weighted')
    read.invalid('x-priority-mode', `"unsupported priority mode '${mode}'"`);
  const text = read.text('x-priority-weights');
  if (mode === 'strict' || maxPriority < 0) return null;
  const weights: number[] = [];
  for (let level = 0; level <= maxPriority; level++) weights.push(2 ** level);
  for (const [level, part] of (text === null ? [] : text.split(',')).entries()) {
    const weight = Number(part);
    if (!(weight > 0) || weight > 1e9 || level > maxPriority) {
      read.invalid('x-priority-weights', `"'${part.trim()}' is no weight of level ${level}"`);
    }
    weights[level] = weight;
  }
  return weights;
}

function readWindow(read: ArgumentReader): number {
  const windowMs = read.duration('x-deduplication-window');
  if (!read.flag('x-deduplication')) return -1;
  return windowMs < 0 ? deduplicationWindowMs : windowMs;
}

function readAckTimeout(read: ArgumentReader): number {
  const timeoutMs = read.duration('x-ack-timeout');
  return timeoutMs === 0 ? read.invalid('x-ack-timeout', '{value_zero,0}') : timeoutMs;
}

function readKey(read: ArgumentReader): string | null {
  const key = read.text('x-last-value-key');
  return key === '' ? read.invalid('x-last-value-key', '"it is empty"') : key;
}

function readRate(read: ArgumentReader): number {
  const text = read.text('x-rate-limit');
  if (text === null) return -1;
  const match = /^(\d{1,9}(?:\.\d{1,3})?)\/(s|m|h)$/.exec(text);
  const rate = match === null ? 0 : (Number(match[1]) * 1000) / unitMs[match[2]!]!;
  return rate > 0 ? rate : read.invalid('x-rate-limit', `"'${text}' is no rate, as 100/s is"`);
}

function readOnLoss(read: ArgumentReader): boolean {
  const text = read.text('x-on-loss') ?? 'deliver';
  if (text !== 'deliver' && text !== 'reject') read.invalid('x-on-loss', `"'${text}' is neither deliver nor reject"`);
  return text === 'reject';
}

function readMigrates(read: ArgumentReader): boolean {
  const text = read.text('x-redeclare') ?? 'refuse';
  if (text !== 'refuse' && text !== 'migrate') read.invalid('x-redeclare', `"unsupported redeclare mode '${text}'"`);
  return text === 'migrate';
}

/** Arguments by name and type, refused in RabbitMQ's words. */
class ArgumentReader {
  private readonly args: Headers;
  private readonly what: string;

  constructor(args: Headers, what: string) {
    this.args = args;
    this.what = what;
  }

  invalid(name: string, why: string): never {
    throw new BrokerError('precondition-failed', `invalid arg '${name}' for ${this.what}: ${why}`);
  }

  /** null: not given. */
  signed(name: string): number | null {
    const value = this.args.get(name);
    if (value === undefined) return null;
    if (!isInteger(value)) this.invalid(name, `"expected integer, got ${typeName(value)}"`);
    return Number(value.value);
  }

  /** −1: not given. */
  integer(name: string): number {
    const number = this.signed(name);
    if (number === null) return -1;
    return number < 0 ? this.invalid(name, `{value_negative,${number}}`) : number;
  }

  positive(name: string): number {
    const number = this.integer(name);
    return number === 0 ? this.invalid(name, '{value_zero,0}') : number;
  }

  timer(name: string): number {
    const ms = this.integer(name);
    return ms > expiryMaxMs ? this.invalid(name, `{value_too_big,${ms}}`) : ms;
  }

  /** Milliseconds as a number, or a time in words: `5m`. */
  duration(name: string): number {
    const value = this.args.get(name);
    if (typeof value !== 'string') return this.timer(name);
    const ms = parseDuration(value);
    return ms < 0 ? this.invalid(name, `"'${value}' is no time"`) : ms;
  }

  text(name: string): string | null {
    const value = this.args.get(name);
    if (value === undefined) return null;
    return typeof value === 'string' ? value : this.invalid(name, unacceptable(value));
  }

  flag(name: string): boolean {
    const value = this.args.get(name) ?? false;
    return typeof value === 'boolean' ? value : this.invalid(name, unacceptable(value));
  }
}

/**
 * What RabbitMQ asks of a queue of the type beside its arguments.
 * @throws BrokerError precondition-failed
 */
export function demandType(
  { type }: QueueOptions,
  spec: { readonly durable: boolean; readonly autoDelete: boolean; readonly exclusiveTo: object | null },
  what: string,
): void {
  if (type !== 'quorum') return;
  const property = spec.autoDelete
    ? 'auto-delete'
    : spec.exclusiveTo !== null
      ? 'exclusive-owner'
      : spec.durable
        ? null
        : 'non-durable';
  if (property === null) return;
  throw new BrokerError('precondition-failed', `invalid property '${property}' for ${what}`);
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
  if (isInteger(value)) return Number(value.value);
  throw new BrokerError(
    'precondition-failed',
    `invalid arg 'x-priority' for ${what}: "expected integer, got ${typeName(value)}"`,
  );
}

export function isInteger(value: Value): value is Extract<TypedValue, { value: number | bigint }> {
  if (!isTyped(value)) return false;
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
    if (!sameArgument(received ?? defaults.get(name), is ?? defaults.get(name)))
      inequivalent(name, showArgument(received, is), showArgument(is, received));
  }
}

/** True if those of `names` are the same, however wide their numbers. */
export function sameArguments(a: Headers, b: Headers, names: readonly string[]): boolean {
  return names.every((name) => sameArgument(a.get(name) ?? defaults.get(name), b.get(name) ?? defaults.get(name)));
}

/** Said or not said, it is the same. */
const defaults: Headers = new Map([['x-queue-type', 'classic']]);

// Integers are equal in value, whatever their width.
function sameArgument(a: Value | undefined, b: Value | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a === null || b === null) return false;
  if (isInteger(a) && isInteger(b)) return Number(a.value) === Number(b.value);
  return typeName(a) === typeName(b) && showArgument(a, b) === showArgument(b, a);
}

/** The arguments of a queue that must be the same when it is declared again. */
export const queueArguments = [
  'x-expires',
  'x-message-ttl',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-dead-letter-strategy',
  'x-dead-letter-default',
  'x-max-length',
  'x-max-length-bytes',
  'x-overflow',
  'x-max-priority',
  'x-priority-mode',
  'x-priority-weights',
  'x-single-active-consumer',
  'x-message-groups',
  'x-last-value-key',
  'x-queue-type',
  'x-queue-mode',
  'x-queue-version',
  'x-quorum-initial-group-size',
  'x-quorum-target-group-size',
  'x-delivery-limit',
  'x-retry-delays',
  'x-deduplication',
  'x-deduplication-window',
  'x-ack-timeout',
  'x-rate-limit',
  'x-on-loss',
] as const;

/** Those of them that a living queue cannot change. */
export const fixedArguments: readonly string[] = ['x-queue-type'];

/** Of all queues that ask for nothing: one object, for there may be a queue a connection. */
const plainOptions = readOptions(new Map(), '');
