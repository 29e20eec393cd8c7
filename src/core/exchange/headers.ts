import { BrokerError } from '../errors.ts';
import type { Message } from '../message.ts';
import { type Headers, isTyped, toOctets, type Value } from '../properties.ts';
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

  explain(binding: Binding, _matched: boolean, _routingKeys: readonly string[], { properties }: Message): string {
    const mode = modeOf(binding);
    const each = [...binding.arguments.keys()].map((name) => {
      if (name === 'x-match') return null;
      if (!counts(mode, name)) return `'${name}' does not count`;
      if (isMet(binding, name, properties.headers)) return `'${name}' is as asked`;
      return properties.headers.has(name) ? `'${name}' has another value` : `'${name}' is missing`;
    });
    return `x-match ${mode}: ${each.filter((part) => part !== null).join(', ') || 'nothing is asked for'}`;
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
  const mode = modeOf(binding);
  const any = mode === 'any' || mode === 'any-with-x';
  const headers = message.properties.headers;
  for (const name of binding.arguments.keys()) {
    if (!counts(mode, name)) continue;
    const met = isMet(binding, name, headers);
    if (any && met) return true;
    if (!any && !met) return false;
  }
  return !any;
}

function modeOf(binding: Binding): Value {
  return binding.arguments.get('x-match') ?? 'all';
}

function counts(mode: Value, name: string): boolean {
  return name !== 'x-match' && (mode === 'all-with-x' || mode === 'any-with-x' || !name.startsWith('x-'));
}

function isMet(binding: Binding, name: string, headers: Headers): boolean {
  const wanted = binding.arguments.get(name)!; // the name is one of its arguments'
  const actual = headers.get(name);
  return actual !== undefined && (wanted === null || sameValue(wanted, actual));
}

/** Equal in value, whatever the width of a number; binary is the text of the same octets. */
export function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a === null || b === null) return false;
  if (Buffer.isBuffer(a)) return (Buffer.isBuffer(b) || typeof b === 'string') && a.equals(toOctets(b));
  if (Buffer.isBuffer(b)) return typeof a === 'string' && b.equals(toOctets(a));
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
