import { BrokerError } from '../errors.ts';
import type { Message } from '../message.ts';
import { isTyped, type Value } from '../properties.ts';
import type { Binding } from './binding.ts';
import type { Matcher } from './exchange.ts';

/** What is hashed: the routing key, a header of the message, or one of its properties. */
export type HashOn =
  | { readonly header: string }
  | { readonly property: 'messageId' | 'correlationId' | 'timestampMs' }
  | null;

const propertyNames = {
  message_id: 'messageId',
  correlation_id: 'correlationId',
  timestamp: 'timestampMs',
} as const;

/** @throws BrokerError precondition-failed when the arguments ask for what cannot be hashed */
export function readHashOn(args: ReadonlyMap<string, Value>): HashOn {
  const [header, property] = [args.get('hash-header'), args.get('hash-property')];
  if (header === undefined && property === undefined) return null;
  if (header !== undefined && property !== undefined) {
    throw new BrokerError('precondition-failed', 'hash-header and hash-property are mutually exclusive');
  }
  if (typeof header === 'string') return { header };
  if (typeof property === 'string' && Object.hasOwn(propertyNames, property)) {
    return { property: propertyNames[property as keyof typeof propertyNames] };
  }
  const named = typeof property === 'string' ? `: ${property}` : ' or header: its name is no text';
  throw new BrokerError('precondition-failed', `Unsupported property${named}`);
}

/**
 * x-consistent-hash: each message to one of the bindings, the same one for the same key, so that what belongs together
 * stays in order. A binding key is the binding's weight: its number of buckets. A bucket that comes takes its share of
 * the keys and moves no other [Lamping and Veach, jump consistent hash].
 */
export class ConsistentHashMatcher implements Matcher {
  readonly readsHeaders: boolean;
  private readonly hashOn: HashOn;
  private readonly buckets: Binding[] = [];

  constructor(hashOn: HashOn) {
    this.hashOn = hashOn;
    this.readsHeaders = hashOn !== null;
  }

  /** @throws BrokerError precondition-failed when the binding key is no weight */
  static checkWeight(key: string): void {
    if (!/^[+-]?\d{1,9}$/.test(key)) {
      // [RabbitMQ] as its language writes text
      throw new BrokerError(
        'precondition-failed',
        `The binding key must be an integer: <<${JSON.stringify(key).replace('""', '')}>>`,
      );
    }
    if (Number(key) < 1) throw new BrokerError('precondition-failed', 'The binding key must be greater than 0');
    if (Number(key) > weightMax) {
      throw new BrokerError('precondition-failed', `The binding key must not be greater than ${weightMax}`);
    }
  }

  add(binding: Binding): void {
    for (let weight = Number(binding.key); weight > 0; weight--) this.buckets.push(binding);
  }

  remove(binding: Binding): void {
    let kept = 0;
    for (const bucket of this.buckets) if (bucket !== binding) this.buckets[kept++] = bucket;
    this.buckets.length = kept;
  }

  match(routingKey: string, message: Message | null, found: Binding[]): void {
    if (this.buckets.length === 0) return;
    const key = this.hashOn === null ? routingKey : message === null ? null : hashed(this.hashOn, message);
    if (key !== null) found.push(this.buckets[jump(hash(key), this.buckets.length)]!);
  }

  explain({ key }: Binding, matched: boolean): string {
    return `the hash ${matched ? 'falls' : 'does not fall'} into its buckets (${key} of ${this.buckets.length})`;
  }
}

/** Each unit of weight is a place in an array. */
const weightMax = 10_000;

// A message without what is to be hashed counts as one with an empty key.
function hashed(on: NonNullable<HashOn>, message: Message): string {
  const { properties } = message;
  const value = 'header' in on ? properties.headers.get(on.header) : properties[on.property];
  if (value === undefined || value === null) return '';
  if (typeof value === 'object' && isTyped(value as Value)) return String((value as { value: unknown }).value);
  return Buffer.isBuffer(value) ? value.toString('latin1') : String(value);
}

// FNV-1a, its bits mixed once more: short keys that differ in the last character must not be neighbours.
function hash(key: string): bigint {
  let h = 0xcbf2_9ce4_8422_2325n;
  for (let i = 0; i < key.length; i++) h = BigInt.asUintN(64, (h ^ BigInt(key.charCodeAt(i))) * 0x100_0000_01b3n);
  h = BigInt.asUintN(64, (h ^ (h >> 33n)) * 0xff51_afd7_ed55_8ccdn);
  return h ^ (h >> 33n);
}

function jump(key: bigint, buckets: number): number {
  let at = -1;
  let next = 0;
  let state = key;
  while (next < buckets) {
    at = next;
    state = BigInt.asUintN(64, state * 2_862_933_555_777_941_757n + 1n);
    next = Math.floor((at + 1) * (2_147_483_648 / (Number(state >> 33n) + 1)));
  }
  return at;
}
