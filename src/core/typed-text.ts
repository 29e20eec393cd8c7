import { isUtf8 } from 'node:buffer';
import { decodeText, encodeText } from '../lib/bytes.ts';
import { type Headers, isTyped, nestingMax, type TypedValue, type Value } from './properties.ts';

/**
 * Header values as text, for protocols whose headers carry nothing else, and back. One companion header says what
 * each was, e.g. `x-rosetta-types: n=l,ok=t,blob=b64,obj=json`; it is written only when something is not plain text.
 */
export const typesHeader = 'x-rosetta-types';

/** The letters of AMQP 0-9-1's field types, and of those types that only AMQP 1.0 has. */
export const letterOf = {
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
  if (typeof value === 'string') return spellText(value);
  if (value === null) return { text: '', letter: 'V' };
  if (typeof value === 'boolean') return { text: String(value), letter: 't' };
  if (Buffer.isBuffer(value)) return { text: value.toString('base64'), letter: 'b64' };
  if (!isTyped(value)) return spellJson(value);
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
      return { text: Object.is(value.value, -0) ? '-0' : String(value.value), letter };
  }
}

// NUL, and octets that are not UTF-8, have no place in a line of text.
function spellText(value: string): Spelled {
  if (!value.includes('\0') && value.isWellFormed()) return { text: value, letter: '' };
  return { text: encodeText(value).toString('base64'), letter: 'S64' };
}

/** The inverse of `spell`; text that does not fit its letter stays text. */
export function read(text: string, letter: string): Value {
  switch (letter) {
    case '':
      return text;
    case 'V':
      return text === '' ? null : text;
    case 't':
      return text === 'true' || (text === 'false' ? false : text);
    case 'b64':
      return readBase64(text) ?? text;
    case 'S64': {
      const octets = readBase64(text);
      return octets === undefined ? text : decodeText(octets, 0, octets.length);
    }
  }
  if (letter.startsWith('json')) return readJson(text, letter, nestingMax);
  const type = typeOf.get(letter);
  return (type === undefined ? undefined : readTyped(text, type)) ?? text;
}

function readBase64(text: string): Buffer | undefined {
  const octets = Buffer.from(text, 'base64');
  return octets.toString('base64') === text ? octets : undefined;
}

// Undefined for what is no value of the type: anybody may write a companion.
function readTyped(text: string, type: TypedValue['type']): TypedValue | undefined {
  switch (type) {
    case 'long':
    case 'ulong':
    case 'timestamp':
      return /^-?\d{1,23}$/.test(text) && isWithin(BigInt(text), type) ? { type, value: BigInt(text) } : undefined;
    case 'decimal': {
      const match = /^(-?\d{1,10})e-(\d{1,3})$/.exec(text);
      const [value, scale] = [Number(match?.[1]), Number(match?.[2])];
      return isWithin(value, 'int') && isWithin(scale, 'ubyte') ? { type, value, scale } : undefined;
    }
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return text.length === 2 * octetsOf[type] && /^[\da-f]+$/i.test(text)
        ? { type, value: Buffer.from(text, 'hex') }
        : undefined;
    case 'char':
      return [...text].length === 1 && text.isWellFormed() ? { type, value: text } : undefined;
    case 'symbol':
      return { type, value: text };
    case 'float':
    case 'double':
      return text === 'NaN' || (text.trim() !== '' && !Number.isNaN(Number(text)))
        ? { type, value: Number(text) }
        : undefined;
    default:
      return /^-?\d{1,10}$/.test(text) && isWithin(Number(text), type) ? { type, value: Number(text) } : undefined;
  }
}

const octetsOf = { uuid: 16, decimal32: 4, decimal64: 8, decimal128: 16 } as const;

/** Smallest and largest. A timestamp is one of AMQP 1.0, or whole seconds as 0-9-1 counts them. */
const ranges = {
  byte: [-128, 127],
  ubyte: [0, 255],
  short: [-32_768, 32_767],
  ushort: [0, 65_535],
  int: [-(2 ** 31), 2 ** 31 - 1],
  uint: [0, 2 ** 32 - 1],
  long: [-(2n ** 63n), 2n ** 63n - 1n],
  ulong: [0n, 2n ** 64n - 1n],
  timestamp: [-(2n ** 63n), (2n ** 64n - 1n) * 1000n],
} as const;

// False for what is no number at all.
function isWithin(value: number | bigint, type: keyof typeof ranges): boolean {
  const [smallest, largest] = ranges[type];
  if (type === 'timestamp' && value > ranges.long[1]) return (value as bigint) % 1000n === 0n && value <= largest;
  return value >= smallest && value <= largest;
}

/** One item of the companion header: `n=l`. Octets of a name that are no text are escaped as its separators are. */
export function spellType(name: string, letter: string): string {
  return `${name.replace(/[%=,\p{Cs}]/gu, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`)}=${letter}`;
}

/** The companion among lines of text, with the type of one line more. */
export function addType<L extends readonly [name: string, text: string]>(
  lines: readonly L[],
  name: string,
  letter: string,
): (L | [name: string, text: string])[] {
  const others = lines.filter(([line]) => line !== typesHeader);
  const types = readTypes(lines.find(([line]) => line === typesHeader)?.[1] ?? '');
  types.set(name, letter);
  return [...others, [typesHeader, [...types].map(([each, its]) => spellType(each, its)).join(',')]];
}

export function readTypes(text: string): Map<string, string> {
  const types = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    if (equals >= 0) types.set(unescapeName(part.slice(0, equals)), part.slice(equals + 1));
  }
  return types;
}

function unescapeName(name: string): string {
  return name.replace(/%(25|3D|2C|D[89A-F][\dA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/**
 * A list or map as JSON that reads naturally, and the types of its leaves in the order of the JSON text: `b.-.l` says
 * byte, whatever JSON says it is, long. A leaf that JSON cannot say exactly is written as text.
 */
function spellJson(value: Value): Spelled {
  const letters: string[] = [];
  const text = JSON.stringify(spellLeaves(toPlain(value), letters));
  return { text, letter: letters.some((letter) => letter !== '-') ? `json(${letters.join('.')})` : 'json' };
}

/** Maps as objects: their order of keys is then the one that JSON gives back. */
type Plain = null | boolean | string | Buffer | TypedValue | Plain[] | { [name: string]: Plain };

function toPlain(value: Value): Plain {
  if (Array.isArray(value)) return value.map(toPlain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, item]) => [name, toPlain(item)]));
  return value as Plain;
}

function spellLeaves(value: Plain, letters: string[]): unknown {
  if (Array.isArray(value)) return value.map((item) => spellLeaves(item, letters));
  if (value !== null && typeof value === 'object' && !Buffer.isBuffer(value) && !isTyped(value as Value)) {
    return Object.fromEntries(
      Object.entries(value as { [name: string]: Plain }).map(([name, item]) => [name, spellLeaves(item, letters)]),
    );
  }
  if (value === null || typeof value === 'boolean' || (typeof value === 'string' && value.isWellFormed())) {
    letters.push('-');
    return value;
  }
  const { text, letter } = spell(value as string | Buffer | TypedValue);
  letters.push(letter);
  const number = Number(text);
  return isNumberLetter(letter) && JSON.stringify(number) === text ? number : text;
}

function isNumberLetter(letter: string): boolean {
  const type = typeOf.get(letter);
  switch (type) {
    case 'byte':
    case 'ubyte':
    case 'short':
    case 'ushort':
    case 'int':
    case 'uint':
    case 'long':
    case 'ulong':
    case 'float':
    case 'double':
    case 'timestamp':
      return true;
    default:
      return false;
  }
}

/**
 * JSON of a peer's own making may have no letters: its numbers are longs and doubles. What is no JSON, or nested deeper
 * than `levels`, is text.
 */
function readJson(text: string, letter: string, levels: number): Value {
  const letters = letter === 'json' ? [] : letter.slice('json('.length, -1).split('.');
  try {
    return readLeaves(JSON.parse(text), letters[Symbol.iterator](), levels);
  } catch {
    return text;
  }
}

function readLeaves(json: unknown, letters: Iterator<string>, levels: number): Value {
  if (json !== null && typeof json === 'object') {
    if (levels === 0) throw new RangeError('nested too deeply');
    if (Array.isArray(json)) return json.map((item) => readLeaves(item, letters, levels - 1));
    return new Map(Object.entries(json).map(([name, item]) => [name, readLeaves(item, letters, levels - 1)]));
  }
  const letter: string = letters.next().value ?? '-';
  if (letter !== '-') return read(String(json), letter);
  if (typeof json !== 'number') return json as null | boolean | string;
  return Number.isSafeInteger(json) ? { type: 'long', value: BigInt(json) } : { type: 'double', value: json };
}

/** Headers as JSON text that keeps every type: how arguments are written to the journal. */
export function headersToJson(headers: Headers): unknown {
  const { text, letter } = spellJson(headers);
  return { json: text, types: letter };
}

export function headersFromJson(json: unknown): Headers {
  const { json: text, types } = json as { json: string; types: string };
  return readJson(text, types, Number.POSITIVE_INFINITY) as Headers;
}

/** Text of octets where they are text, else the octets. */
export function textOrBinary(octets: Buffer): string | Buffer {
  return isUtf8(octets) ? octets.toString('utf8') : octets;
}
