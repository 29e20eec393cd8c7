import { BrokerError } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { Value } from '../../core/properties.ts';
import { toOperand } from '../../core/selector.ts';
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
} from '../../core/sql.ts';

/** Milliseconds since 1970. */
export type Now = () => number;

/**
 * SQL filter expressions [Filter Expressions §6, as far as RabbitMQ 4.2 has them]: the fields of the properties section
 * (`properties.subject`, `p.subject`), `header.priority`, and application properties, which need no section; a name that
 * is none is put in brackets. Words are upper case. Whole numbers are bigints and others doubles; division is exact.
 *
 * @throws BrokerError invalid-field
 */
export function compileSqlFilter(text: string, now: Now): Predicate {
  if (text.length <= charactersMax) return compile(text, dialectAt(now));
  throw new BrokerError('invalid-field', `SQL filter of more than ${charactersMax} characters`);
}

/** [Filter Expressions §7.1] */
const charactersMax = 4096;
const tokensMax = 200;

const reserved = new Set(['NULL', 'TRUE', 'FALSE', 'NOT', 'AND', 'OR', 'LIKE', 'IN', 'IS', 'ESCAPE']);

const tokenForms: readonly TokenForm[] = [
  [/0x(?:[0-9a-fA-F]{2})+/y, (text, at) => literal(Buffer.from(text.slice(2), 'hex'), text, at)],
  [/(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+/y, (text, at) => literal(Number(text), text, at)],
  [/\d+/y, (text, at) => literal(BigInt(text), text, at)],
  [/UTC\s*\(\s*\)/y, (_, at) => ({ kind: 'name', text: 'UTC()', at })],
  [
    /(?:[a-z_]+\.)?(?:\[[^\]]+\]|[\p{L}_$][\p{L}\p{Nd}_$]*)/uy,
    (text, at) => ({ kind: reserved.has(text) ? 'word' : 'name', text, at }),
  ],
  [/'(?:[^']|'')*'/y, (text, at) => ({ kind: 'text', text: text.slice(1, -1).replaceAll("''", "'"), at })],
  [/"(?:[^"]|"")*"/y, (text, at) => ({ kind: 'text', text: text.slice(1, -1).replaceAll('""', '"'), at })],
  [/<>|!=|<=|>=|[=<>+\-*/%(),]/y, (text, at) => ({ kind: 'symbol', text, at })],
];

function literal(value: Operand, text: string, at: number): Token {
  return { kind: 'literal', text, value, at };
}

function dialectAt(now: Now): Dialect {
  return {
    name: 'SQL filter',
    tokenForms,
    tokensMax,
    comparisons: ['=', '<>', '!=', '<', '<=', '>', '>='],
    factors: ['*', '/', '%'],
    hasBetween: false,
    listsStrings: false,
    compare,
    toNumber: (value) => (isNumber(value) ? value : null),
    calculate,
    findOperand: (name) => (name === 'UTC()' ? () => BigInt(now()) : findField(name)),
  };
}

// Only like is compared with like; text and binary are both octets.
function compare(operator: string, left: Operand, right: Operand): boolean | null {
  if (left === null || right === null) return null;
  const sign = operator === '!=' ? '<>' : operator;
  if (isNumber(left) && isNumber(right)) return compareNumbers(sign, left, right);
  const [a, b] = [octetsOf(left), octetsOf(right)];
  if (a !== null && b !== null) return compareNumbers(sign, Buffer.compare(a, b), 0);
  const isSame = typeof left === 'boolean' && left === right;
  return sign === '=' ? isSame : sign === '<>' ? !isSame : false;
}

function octetsOf(value: Operand): Buffer | null {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  return Buffer.isBuffer(value) ? value : null;
}

function calculate(operator: string, a: bigint | number | null, b: bigint | number | null): Operand {
  if (a === null || b === null) return null;
  const areWhole = typeof a === 'bigint' && typeof b === 'bigint';
  switch (operator) {
    case '+':
      return areWhole ? a + b : Number(a) + Number(b);
    case '-':
      return areWhole ? a - b : Number(a) - Number(b);
    case '*':
      return areWhole ? a * b : Number(a) * Number(b);
    case '/':
      return Number(b) === 0 ? null : Number(a) / Number(b);
    default:
      return areWhole && b !== 0n ? a % b : null;
  }
}

// — fields ——————————————————————————————————————————————————————————————————————————————————————————————————————————

/** Where RabbitMQ takes none, a message that says no priority has that of the specification. */
const priorityDefault = 4;

type Read = (message: Message) => Value | number | undefined;

const propertyFields: Readonly<Record<string, Read>> = {
  message_id: ({ properties }) => properties.messageId,
  user_id: ({ properties }) => properties.userId,
  to: ({ properties }) => properties.to,
  subject: ({ properties }) => properties.subject,
  reply_to: ({ properties }) => properties.replyTo?.text,
  correlation_id: ({ properties }) => properties.correlationId,
  content_type: ({ properties }) => properties.contentType,
  content_encoding: ({ properties }) => properties.contentEncoding,
  absolute_expiry_time: ({ expiresAtMs }) => (expiresAtMs === 0 ? undefined : expiresAtMs),
  creation_time: ({ properties }) => properties.timestampMs,
  group_id: ({ properties }) => properties.groupId,
  group_sequence: ({ properties }) => properties.groupSequence,
  reply_to_group_id: ({ properties }) => properties.replyToGroupId,
};

function findField(name: string): Expression | null {
  const [, section = 'a', bracketed, plain] = /^(?:([a-z_]+)\.)?(?:\[(.+)\]|(.+))$/su.exec(name) ?? [];
  const field = bracketed ?? plain ?? '';
  switch (section) {
    case 'h':
    case 'header':
      if (field !== 'priority') return null;
      return ({ priority }) => BigInt(priority < 0 ? priorityDefault : priority);
    case 'p':
    case 'properties':
      return Object.hasOwn(propertyFields, field) ? readsField(propertyFields[field]!) : null;
    case 'a':
    case 'application_properties':
      return readsField(({ properties }) => properties.headers.get(field));
    default:
      return null;
  }
}

function readsField(read: Read): Expression {
  return (message) => {
    const value = read(message);
    if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : value;
    return value === undefined ? null : toOperand(value);
  };
}
