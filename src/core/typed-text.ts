import { isUtf8 } from 'node:buffer';
import { type Headers, isTyped, type TypedValue, type Value } from './properties.ts';

/**
 * Header values as text, for protocols whose headers carry nothing else, and back. One companion header says what
 * each was, e.g. `x-rosetta-types: n=l,ok=t,blob=b64,obj=json`; it is written only when something is not plain text.
 */
export const typesHeader = 'x-rosetta-types';

/** The letters of AMQP 0-9-1's field types, and of those types that only AMQP 1.0 has. */
const letterOf = {
  byte: 'b',
  ubyte: 'B',
  short: 's',
  ushort: 'u',
  int: 'I',
  uint: 'i',
  long: 'l',
  ulong: 'L',
  float: 'f',
  double: 'd',
  decimal: 'D',
  timestamp: 'T',
  char: 'c',
  symbol: 'y',
  uuid: 'U',
  decimal32: 'd32',
  decimal64: 'd64',
  decimal128: 'd128',
} as const satisfies Record<TypedValue['type'], string>;

const typeOf = new Map<string, TypedValue['type']>(
  Object.entries(letterOf).map(([type, letter]) => [letter, type as TypedValue['type']]),
);

interface Spelled {
  readonly text: string;
  /** Empty when the text is the value. */
  readonly letter: string;
}

export function spell(value: Value): Spelled {
  if (typeof value === 'string') return { text: value, letter: '' };
  if (value === null) return { text: '', letter: 'V' };
  if (typeof value === 'boolean') return { text: String(value), letter: 't' };
  if (Buffer.isBuffer(value)) return { text: value.toString('base64'), letter: 'b64' };
  if (!isTyped(value)) return { text: JSON.stringify(toJson(value)), letter: 'json' };
  const letter = letterOf[value.type];
  switch (value.type) {
    case 'decimal':
      return { text: `${value.value}e-${value.scale}`, letter };
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return { text: value.value.toString('hex'), letter };
    default:
      return { text: String(value.value), letter };
  }
}

/** The inverse of `spell`; text that does not fit its letter stays text. */
export function read(text: string, letter: string): Value {
  switch (letter) {
    case '':
      return text;
    case 'V':
      return null;
    case 't':
      return text === 'true';
    case 'b64':
      return Buffer.from(text, 'base64');
    case 'json':
      return fromJsonText(text);
  }
  const type = typeOf.get(letter);
  switch (type) {
    case undefined:
      return text;
    case 'long':
    case 'ulong':
    case 'timestamp':
      return /^-?\d{1,20}$/.test(text) ? { type, value: BigInt(text) } : text;
    case 'decimal': {
      const match = /^(-?\d+)e-(\d+)$/.exec(text);
      return match ? { type, value: Number(match[1]), scale: Number(match[2]) } : text;
    }
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return { type, value: Buffer.from(text, 'hex') };
    case 'char':
    case 'symbol':
      return { type, value: text };
    default:
      return text.trim() === '' ? text : { type, value: Number(text) };
  }
}

/** One item of the companion header: `n=l`. */
export function spellType(name: string, letter: string): string {
  return `${name.replace(/[%=,]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)}=${letter}`;
}

export function readTypes(text: string): Map<string, string> {
  const types = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    if (equals > 0) types.set(unescapeName(part.slice(0, equals)), part.slice(equals + 1));
  }
  return types;
}

function unescapeName(name: string): string {
  return name.replace(/%(25|3D|2C)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

// Inside JSON a value that JSON cannot say is an object with one key, its letter: {"l":"5"}; a map is wrapped only
// where it would look like one of these.
function toJson(value: Value): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Map) {
    const object = Object.fromEntries([...value].map(([name, item]) => [name, toJson(item)]));
    return value.size === 1 && isLetter([...value.keys()][0]!) ? { F: object } : object;
  }
  const { text, letter } = spell(value as Buffer | TypedValue);
  return { [letter]: text };
}

function fromJsonText(text: string): Value {
  try {
    return fromJson(JSON.parse(text));
  } catch {
    return text;
  }
}

function fromJson(json: unknown): Value {
  if (json === null || typeof json === 'boolean' || typeof json === 'string') return json;
  if (typeof json === 'number') {
    return Number.isSafeInteger(json) ? { type: 'long', value: BigInt(json) } : { type: 'double', value: json };
  }
  if (Array.isArray(json)) return json.map(fromJson);
  const entries = Object.entries(json as object);
  const [first] = entries;
  if (entries.length === 1 && first !== undefined && isLetter(first[0])) {
    if (first[0] === 'F')
      return new Map(Object.entries(first[1] as object).map(([name, item]) => [name, fromJson(item)]));
    if (typeof first[1] === 'string') return read(first[1], first[0]);
  }
  return new Map(entries.map(([name, item]) => [name, fromJson(item)]));
}

function isLetter(name: string): boolean {
  return typeOf.has(name) || name === 'b64' || name === 'F';
}

/** Headers as JSON text that keeps every type: how arguments are written to the journal. */
export function headersToJson(headers: Headers): unknown {
  return Object.fromEntries([...headers].map(([name, value]) => [name, toJson(value)]));
}

export function headersFromJson(json: unknown): Headers {
  return new Map(Object.entries(json as object).map(([name, value]) => [name, fromJson(value)]));
}

/** Text of octets where they are text, else the octets. */
export function textOrBinary(octets: Buffer): string | Buffer {
  return isUtf8(octets) ? octets.toString('utf8') : octets;
}
