import { BrokerError } from '../errors.ts';
import type { Message } from '../message.ts';
import { type Headers, isTyped, type Value } from '../properties.ts';
import { typeName } from '../queue/arguments.ts';
import type { Binding } from './binding.ts';
import type { Matcher } from './exchange.ts';

/**
 * The message's headers meet the binding's arguments: all of them (`x-match: all`, the default) or one of them
 * (`any`). Names that begin with `x-` are left aside unless `all-with-x` or `any-with-x` asks for them. An argument
 * without a value asks for the name alone.
 */
export class HeadersMatcher implements Matcher {
  readonly readsHeaders = true;
  private readonly bindings = new Set<Binding>();

  add(binding: Binding): void {
    this.bindings.add(binding);
  }

  remove(binding: Binding): void {
    this.bindings.delete(binding);
  }

  match(_routingKey: string, message: Message | null, found: Binding[]): void {
    if (message === null) return;
    for (const binding of this.bindings) if (matchesHeaders(binding, message)) found.push(binding);
  }
}

const modes = ['all', 'any', 'all-with-x', 'any-with-x'];

/** @throws BrokerError precondition-failed in RabbitMQ's words when `x-match` is none of the four */
export function checkMode(args: Headers): void {
  const mode = args.get('x-match');
  if (mode === undefined) return;
  if (typeof mode !== 'string') {
    const value = isTyped(mode) ? mode.value : mode;
    throw new BrokerError(
      'precondition-failed',
      `Invalid x-match field type ${typeName(mode)} (value ${value}); expected longstr`,
    );
  }
  if (!modes.includes(mode)) {
    throw new BrokerError(
      'precondition-failed',
      `Invalid x-match field value <<"${mode}">>; expected all, any, all-with-x, or any-with-x`,
    );
  }
}

function matchesHeaders(binding: Binding, message: Message): boolean {
  const mode = binding.arguments.get('x-match') ?? 'all';
  const any = mode === 'any' || mode === 'any-with-x';
  const withX = mode === 'all-with-x' || mode === 'any-with-x';
  const headers = message.properties.headers;
  for (const [name, wanted] of binding.arguments) {
    if (name === 'x-match' || (!withX && name.startsWith('x-'))) continue;
    const actual = headers.get(name);
    const met = actual !== undefined && (wanted === null || sameValue(wanted, actual));
    if (any && met) return true;
    if (!any && !met) return false;
  }
  return !any;
}

/** Equal in value, whatever the width of a number. */
export function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b);
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  if (a instanceof Map) {
    if (!(b instanceof Map) || a.size !== b.size) return false;
    for (const [name, value] of a) {
      const other = b.get(name);
      if (other === undefined || !sameValue(value, other)) return false;
    }
    return true;
  }
  if (!isTyped(a) || !isTyped(b)) return false;
  if (Buffer.isBuffer(a.value)) return Buffer.isBuffer(b.value) && a.type === b.type && a.value.equals(b.value);
  if (a.type === 'decimal' || b.type === 'decimal') {
    return a.type === 'decimal' && b.type === 'decimal' && a.value === b.value && a.scale === b.scale;
  }
  // biome-ignore lint/suspicious/noDoubleEquals: 5 and 5n are the same number
  return a.value == b.value && (a.type === 'timestamp') === (b.type === 'timestamp');
}
