import type { HeaderName } from './lookup.ts';
import type { Message } from './message.ts';
import { isTyped, type Properties, type Value } from './properties.ts';
import {
  compareNumbers,
  compile,
  type Dialect,
  type Expression,
  isNumber,
  type Operand,
  type Predicate,
  type Token,
  type TokenForm,
} from './sql.ts';

/**
 * Message selectors: the subset of SQL-92 that JMS defines [JMS 2.0 §3.8.1], compiled to a predicate. Whole numbers are
 * bigints and others doubles, so that 7 / 2 is 3 and 7.0 / 2 is 3.5, as in Java.
 */
export interface SelectorOptions {
  /** Text is compared with numbers and booleans by what it reads as: for protocols whose headers are all text. */
  readonly textIsTyped?: boolean;
}

/** @throws BrokerError invalid-field, saying what was expected where */
export function compileSelector(text: string, options: SelectorOptions = {}): Predicate {
  return compile(text, options.textIsTyped === true ? typedDialect : plainDialect);
}

// — words ———————————————————————————————————————————————————————————————————————————————————————————————————————————

const reserved: ReadonlySet<string> = new Set([
  ...['NULL', 'TRUE', 'FALSE', 'NOT', 'AND', 'OR', 'BETWEEN', 'LIKE', 'IN', 'IS', 'ESCAPE'],
]);

const tokenForms: readonly TokenForm[] = [
  [/0[xX][0-9a-fA-F]+[lL]?/y, (text, at) => ({ kind: 'literal', text, value: BigInt(text.replace(/[lL]$/, '')), at })],
  [
    /(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?[fFdD]?|\d+(?:[eE][+-]?\d+[fFdD]?|[fFdD])/y,
    (text, at) => ({ kind: 'literal', text, value: Number(text.replace(/[fFdD]$/, '')), at }),
  ],
  [/\d+[lL]?/y, (text, at) => ({ kind: 'literal', text, value: BigInt(text.replace(/[lL]$/, '')), at })],
  [
    /[\p{L}\p{Nl}_$][\p{L}\p{Nl}\p{Nd}_$.]*/uy,
    (text, at) => (reserved.has(text.toUpperCase()) ? { kind: 'word', text: text.toUpperCase(), at } : name(text, at)),
  ],
  [/"(?:[^"]|"")+"/y, (text, at) => name(text.slice(1, -1).replaceAll('""', '"'), at)],
  [/'(?:[^']|'')*'/y, (text, at) => ({ kind: 'text', text: text.slice(1, -1).replaceAll("''", "'"), at })],
  [/<>|<=|>=|[=<>+\-*/(),]/y, (text, at) => ({ kind: 'symbol', text, at })],
];

function name(text: string, at: number): Token {
  return { kind: 'name', text, at };
}

function dialectOf(typed: boolean): Dialect {
  return {
    name: 'selector',
    tokenForms,
    tokensMax: Number.POSITIVE_INFINITY,
    comparisons: ['=', '<>', '<', '<=', '>', '>='],
    factors: ['*', '/'],
    hasBetween: true,
    listsStrings: true,
    compare: (operator, left, right) => compare(operator, left, right, typed),
    toNumber: (value) => toNumber(value, typed),
    calculate,
    findOperand: propertyOf,
  };
}

const plainDialect = dialectOf(false);
const typedDialect = dialectOf(true);

// — comparison, arithmetic ——————————————————————————————————————————————————————————————————————————————————————————

function compare(operator: string, left: Operand, right: Operand, typed: boolean): boolean | null {
  if (left === null || right === null) return null;
  let a: Operand = left;
  let b: Operand = right;
  if (typed && typeof a !== typeof b) {
    if (typeof a === 'string') a = readAs(a, b);
    else if (typeof b === 'string') b = readAs(b, a);
    if (a === null || b === null) return operator === '<>';
  }
  if (isNumber(a) && isNumber(b)) return compareNumbers(operator, a, b);
  if (typeof a !== typeof b || typeof a === 'object') return operator === '<>' ? true : operator === '=' ? false : null;
  // text and truth know no order [JMS 2.0 §3.8.1.2]; text that is all there is may be a number nevertheless
  if (operator === '=') return a === b;
  if (operator === '<>') return a !== b;
  if (!typed || typeof a !== 'string') return null;
  const [x, y] = [toNumber(a, true), toNumber(b, true)];
  return x === null || y === null ? null : compareNumbers(operator, x, y);
}

function readAs(text: string, other: Operand): Operand {
  if (typeof other !== 'boolean') return isNumber(other) ? toNumber(text, true) : text;
  const word = text.toLowerCase();
  return word === 'true' ? true : word === 'false' ? false : null;
}

function calculate(operator: string, a: bigint | number | null, b: bigint | number | null): Operand {
  if (a === null || b === null) return null;
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    switch (operator) {
      case '+':
        return a + b;
      case '-':
        return a - b;
      case '*':
        return a * b;
      default:
        return b === 0n ? null : a / b;
    }
  }
  const [x, y] = [Number(a), Number(b)];
  switch (operator) {
    case '+':
      return x + y;
    case '-':
      return x - y;
    case '*':
      return x * y;
    default:
      return x / y;
  }
}

function toNumber(value: Operand, typed: boolean): bigint | number | null {
  if (isNumber(value)) return value;
  if (!typed || typeof value !== 'string') return null;
  const text = value.trim();
  if (/^[+-]?\d{1,40}$/.test(text)) return BigInt(text.replace('+', ''));
  return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : null;
}

// — properties ——————————————————————————————————————————————————————————————————————————————————————————————————————

/** What JMS calls its header fields [JMS 2.0 §3.4], and the plain names of those that all protocols share. */
const fields: Readonly<Record<string, (properties: Properties, message: Message) => Value | number | undefined>> = {
  JMSDeliveryMode: (_, message) => (message.durable ? 'PERSISTENT' : 'NON_PERSISTENT'),
  JMSPriority: (_, message) => (message.priority < 0 ? 4 : message.priority),
  JMSMessageID: ({ messageId }) => messageId,
  JMSTimestamp: ({ timestampMs }) => timestampMs,
  JMSCorrelationID: ({ correlationId }) => correlationId,
  JMSType: ({ type }) => type,
  JMSReplyTo: ({ replyTo }) => replyTo?.text,
  JMSExpiration: (_, message) => message.expiresAtMs,
  JMSXGroupID: ({ groupId }) => groupId,
  JMSXGroupSeq: ({ groupSequence }) => groupSequence,
  JMSXUserID: ({ userId }) => userId,
  priority: (_, message) => (message.priority < 0 ? undefined : message.priority),
  persistent: (_, message) => message.durable,
  timestamp: ({ timestampMs }) => timestampMs,
  type: ({ type }) => type,
  subject: ({ subject }) => subject,
  'content-type': ({ contentType }) => contentType,
  'content-encoding': ({ contentEncoding }) => contentEncoding,
  'correlation-id': ({ correlationId }) => correlationId,
  'message-id': ({ messageId }) => messageId,
  'reply-to': ({ replyTo }) => replyTo?.text,
  'user-id': ({ userId }) => userId,
  'app-id': ({ appId }) => appId,
  'group-id': ({ groupId }) => groupId,
  'routing-key': (_, message) => message.routingKey,
};

function propertyOf(identifier: string): Expression {
  return (message) => findField(message, identifier);
}

/** A header of the message, or what the name stands for otherwise; null when there is no such. */
export function findField(message: Message, name: string): Operand {
  const { properties } = message;
  const header = properties.headers.get(name);
  if (header !== undefined) return toOperand(header);
  if (!Object.hasOwn(fields, name)) return null;
  const value = fields[name]!(properties, message);
  return typeof value === 'number' ? BigInt(value) : value === undefined ? null : toOperand(value);
}

/** The same, for who asks for nothing else of the message: its other properties are decoded only if they must be. */
export function findNamed(message: Message, name: HeaderName): Operand {
  const header = message.findHeader(name);
  if (header !== undefined) return toOperand(header);
  if (name.text === 'routing-key') return message.routingKey;
  return Object.hasOwn(fields, name.text) ? findField(message, name.text) : null;
}

export function toOperand(value: Value): Operand {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (!isTyped(value)) return value;
  switch (value.type) {
    case 'float':
    case 'double':
      return value.value;
    case 'decimal':
      return value.value / 10 ** value.scale;
    case 'char':
    case 'symbol':
      return value.value;
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return value.value;
    default:
      return BigInt(value.value);
  }
}
