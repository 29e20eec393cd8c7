import type { Client } from '../../core/client.ts';
import { BrokerError } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { Value } from '../../core/properties.ts';
import { compileSelector } from '../../core/selector.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { compileSqlFilter } from './sql-filter.ts';
import { AmqpMap, type Any, Described, encodeValue, isTyped, textOf } from './types.ts';

type Predicate = (message: Message) => boolean;

/**
 * The filters of a source that hold here; what is not known is left out of the answer [AMQP 1.0 §3.5.8], and so is a
 * filter expression that is wrong [RabbitMQ: stream filtering, definitional errors].
 */
export interface Filter {
  readonly shown: AmqpMap | undefined;
  /** null: everything passes. */
  readonly predicate: Predicate | null;
  /** Equal for filters that say the same in the same words. */
  readonly key: string;
}

type Kind = 'selector' | 'no-local' | 'properties' | 'application-properties' | 'sql';

/** Descriptors as symbol and as code. */
const filterKinds = new Map<string | bigint, Kind>([
  ['apache.org:selector-filter:string', 'selector'],
  [0x0000_468c_0000_0004n, 'selector'],
  ['apache.org:no-local-filter:list', 'no-local'],
  [0x0000_468c_0000_0003n, 'no-local'],
  ['amqp:properties-filter', 'properties'],
  [0x173n, 'properties'],
  ['amqp:application-properties-filter', 'application-properties'],
  [0x174n, 'application-properties'],
  ['amqp:sql-filter', 'sql'],
  [0x120n, 'sql'],
]);

/** Of one filter expression [Filter Expressions §7.1]. */
const fieldsMax = 16;

/** @throws AmqpError, BrokerError invalid-field for a selector that is none: JMS clients wait for that */
export function readFilter(map: AmqpMap | undefined, client: Client): Filter {
  const pairs: (readonly [Any, Any])[] = [];
  const predicates: Predicate[] = [];
  for (const [key, value] of map?.pairs ?? []) {
    const name = textOf(key) ?? '';
    const kind = value instanceof Described ? filterKinds.get(value.descriptor) : filterKinds.get(name);
    const predicate =
      kind === undefined ? null : compile(kind, value instanceof Described ? value.value : value, client);
    if (predicate === null) continue;
    predicates.push(predicate);
    pairs.push([key, value]);
  }
  if (predicates.length === 0) return { shown: undefined, predicate: null, key: '' };
  const [only] = predicates;
  const predicate =
    predicates.length === 1 ? only! : (message: Message) => predicates.every((passes) => passes(message));
  const shown = new AmqpMap(pairs);
  return { shown, predicate, key: encodeValue(shown).toString('latin1') };
}

function compile(kind: Kind, value: Any, client: Client): Predicate | null {
  switch (kind) {
    case 'selector':
      if (typeof value !== 'string') throw invalid('a selector is text');
      return compileSelector(value);
    case 'no-local':
      return (message) => message.publisher?.subscriber !== client.subscriber;
    case 'properties':
      return unlessWrong(() => compileProperties(pairsOf(value)));
    case 'application-properties':
      return unlessWrong(() => compileApplicationProperties(pairsOf(value)));
    case 'sql':
      if (typeof value !== 'string') return null;
      return unlessWrong(() => compileSqlFilter(value, () => client.vhost.nowMs));
  }
}

function unlessWrong(make: () => Predicate): Predicate | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof AmqpError || error instanceof BrokerError) return null;
    throw error;
  }
}

function pairsOf(value: Any): readonly (readonly [Any, Any])[] {
  if (value instanceof AmqpMap && value.pairs.length > 0 && value.pairs.length <= fieldsMax) return value.pairs;
  throw invalid(`a property filter is a map of 1 to ${fieldsMax} fields`);
}

type Matcher = (value: Value | undefined) => boolean;

function compileApplicationProperties(pairs: readonly (readonly [Any, Any])[]): Predicate {
  const matchers = pairs.map(([key, value]) => {
    if (typeof key !== 'string') throw invalid('a key of an application property is a string');
    return [key, matcherOf(value)] as const;
  });
  return ({ properties }) =>
    matchers.every(([key, matches]) => properties.headers.has(key) && matches(properties.headers.get(key)));
}

type Read = (message: Message) => Value | undefined;

/** Fields of the properties section by their names. */
const fieldReaders: Readonly<Record<string, Read>> = {
  'message-id': ({ properties }) => properties.messageId,
  'user-id': ({ properties }) => (properties.userId === undefined ? undefined : Buffer.from(properties.userId, 'utf8')),
  to: ({ properties }) => properties.to,
  subject: ({ properties }) => properties.subject,
  'reply-to': ({ properties }) => properties.replyTo?.text,
  'correlation-id': ({ properties }) => properties.correlationId,
  'content-type': ({ properties }) => properties.contentType,
  'content-encoding': ({ properties }) => properties.contentEncoding,
  'creation-time': ({ properties }) => numberOrNothing(properties.timestampMs),
  'group-id': ({ properties }) => properties.groupId,
  'group-sequence': ({ properties }) => numberOrNothing(properties.groupSequence),
  'reply-to-group-id': ({ properties }) => properties.replyToGroupId,
};

function numberOrNothing(value: number | undefined): Value | undefined {
  return value === undefined ? undefined : { type: 'double', value };
}

function compileProperties(pairs: readonly (readonly [Any, Any])[]): Predicate {
  const matchers = pairs.map(([key, value]) => {
    const read = fieldReaders[textOf(key) ?? ''];
    if (read === undefined) throw invalid(`no field '${textOf(key)}' of the properties section`);
    return [read, matcherOf(value)] as const;
  });
  return (message) => matchers.every(([read, matches]) => matches(read(message)));
}

/** [Filter Expressions §4.1.1] Null matches anything; text may begin with a modifier. */
function matcherOf(reference: Any): Matcher {
  if (reference === null) return () => true;
  if (typeof reference === 'string' && reference.startsWith('&')) return modifierOf(reference);
  if (typeof reference === 'string' || (isTyped(reference) && reference.type === 'symbol')) {
    const text = textOf(reference);
    return (value) => textOf(value as Any) === text;
  }
  if (Buffer.isBuffer(reference)) return (value) => Buffer.isBuffer(value) && value.equals(reference);
  if (typeof reference === 'boolean') return (value) => value === reference;
  const scalar = scalarOf(reference);
  if (scalar === undefined) throw invalid('a reference value is of a simple type');
  return (value) => value !== undefined && scalarOf(value as Any) === scalar;
}

function modifierOf(reference: string): Matcher {
  const rest = reference.slice(3);
  if (reference.startsWith('&s:')) return (value) => textOf(value as Any)?.endsWith(rest) === true;
  if (reference.startsWith('&p:')) return (value) => textOf(value as Any)?.startsWith(rest) === true;
  if (reference.startsWith('&&')) return (value) => textOf(value as Any) === reference.slice(1);
  throw invalid(`unknown modifier in '${reference}'`);
}

// Numbers are equal in value, whatever their types.
function scalarOf(value: Any): number | string | undefined {
  if (!isTyped(value)) return undefined;
  if (Buffer.isBuffer(value.value)) return `${value.type} ${value.value.toString('hex')}`;
  return typeof value.value === 'string' ? value.value : Number(value.value);
}

function invalid(text: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'link', text);
}
