import { isUtf8 } from 'node:buffer';
import type { Message } from '../../core/message.ts';
import { readTypes, spellType, typesHeader } from '../../core/typed-text.ts';
import { Reader } from './decode.ts';
import { isSpellable, nativeFor, publishProperties } from './message.ts';
import { PropertyId, PropertyWriter, readProperties } from './properties.ts';
import { isTopicName } from './topic.ts';

/**
 * Properties for MQTT 3.1 and 3.1.1, which have none, as JSON around the body:
 *
 *     {"h": {"content-type": "text/plain", "reply-to": "dev/7/resp", "retries": 3}, "p": "the body"}
 *
 * `h` has what MQTT 5 would: `content-type`, `reply-to` (a topic), `correlation-id` (text) or `correlation-data` (base64),
 * `expiration` (milliseconds), and user properties. `p` is the value that a body of JSON is, else text; with
 * `"e": "base64"` it is octets.
 */
export interface Unwrapped {
  /** A property block of MQTT 5, without its length. */
  readonly native: Buffer;
  readonly body: Buffer;
}

export type Fields = Readonly<Record<string, unknown>>;

/** Numbers by their name: they need no type beside them. */
const numbers: ReadonlySet<string> = new Set(['priority', 'timestamp', 'x-group-sequence']);
const numberLetters: ReadonlySet<string> = new Set(['b', 'B', 's', 'u', 'I', 'i', 'l', 'L', 'f', 'd', 'T']);
const jsonType = 'application/json';
const expiryMaxSeconds = 0xffff_ffff;

/**
 * @param defaults fields that hold where `h` does not say otherwise
 * @returns null when it is no envelope, or one of what MQTT 5 could not say
 */
export function unwrap(payload: Buffer, defaults: Fields): Unwrapped | null {
  const json = parseObject(payload);
  if (json === null || !Object.hasOwn(json, 'p')) return null;
  if (Object.keys(json).some((name) => name !== 'h' && name !== 'p' && name !== 'e')) return null;
  const { h = {}, p, e } = json;
  if (!isObject(h)) return null;
  const fields: Record<string, unknown> = { ...defaults, ...h };
  const body = bodyOf(p, e, fields);
  const native = blockOf(fields);
  return body === null || native === null ? null : { native, body };
}

/** Text or a JSON value; the fields get the type of what is neither told nor text. */
function bodyOf(p: unknown, e: unknown, fields: Record<string, unknown>): Buffer | null {
  if (e !== undefined) return e === 'base64' && typeof p === 'string' ? Buffer.from(p, 'base64') : null;
  const type = fields['content-type'];
  if (!isJsonType(type)) {
    if (typeof p === 'string') return Buffer.from(p, 'utf8');
    if (type === undefined) fields['content-type'] = jsonType;
  }
  return Buffer.from(JSON.stringify(p), 'utf8');
}

/** @returns null for fields that MQTT 5 cannot say */
export function blockOf(fields: Fields): Buffer | null {
  const writer = new PropertyWriter();
  const types = readTypes(typeof fields[typesHeader] === 'string' ? fields[typesHeader] : '');
  const lines: [string, string][] = [];
  for (const [name, value] of Object.entries(fields)) {
    switch (name) {
      case 'content-type':
        if (typeof value !== 'string' || !isSpellable(value)) return null;
        writer.text(PropertyId.contentType, value);
        break;
      case 'reply-to':
        if (typeof value !== 'string' || !isTopicName(value) || !isSpellable(value)) return null;
        writer.text(PropertyId.responseTopic, value);
        break;
      case 'correlation-id':
      case 'correlation-data': {
        if (typeof value !== 'string') return null;
        const octets = Buffer.from(value, name === 'correlation-id' ? 'utf8' : 'base64');
        if (octets.length > 0xffff || (name === 'correlation-data' && Object.hasOwn(fields, 'correlation-id')))
          return null;
        writer.octets(PropertyId.correlationData, octets);
        break;
      }
      case 'expiration': {
        const seconds = Math.ceil(Number(value) / 1000);
        if (!(seconds >= 0) || seconds > expiryMaxSeconds) return null;
        writer.long(PropertyId.messageExpiryInterval, seconds);
        break;
      }
      case typesHeader:
        break;
      default: {
        const [text, letter] = spell(value);
        lines.push([name, text]);
        if (letter !== '' && !numbers.has(name) && !types.has(name)) types.set(name, letter);
      }
    }
  }
  if (types.size > 0) lines.push([typesHeader, [...types].map(([name, letter]) => spellType(name, letter)).join(',')]);
  for (const [name, text] of lines) {
    if (!isSpellable(name) || !isSpellable(text)) return null;
    writer.pair(name, text);
  }
  return writer.end();
}

function spell(value: unknown): [text: string, letter: string] {
  switch (typeof value) {
    case 'string':
      return [value, ''];
    case 'boolean':
      return [String(value), 't'];
    case 'number':
      return [String(value), Number.isSafeInteger(value) ? 'l' : 'd'];
    default:
      return value === null ? ['', 'V'] : [JSON.stringify(value), 'json'];
  }
}

/** The message as an envelope, with what remains of its time. */
export function wrap(message: Message, nowMs: number): Buffer {
  const native = nativeFor(message);
  const { values, userProperties } = readProperties(new Reader(native, 0, native.length), publishProperties);
  const fields = new Map<string, unknown>();
  const contentType = values.get(PropertyId.contentType);
  if (contentType !== undefined) fields.set('content-type', contentType);
  const responseTopic = values.get(PropertyId.responseTopic);
  if (responseTopic !== undefined) fields.set('reply-to', responseTopic);
  const correlation = values.get(PropertyId.correlationData);
  if (Buffer.isBuffer(correlation)) {
    if (isUtf8(correlation)) fields.set('correlation-id', correlation.toString('utf8'));
    else fields.set('correlation-data', correlation.toString('base64'));
  }
  if (message.expiresAtMs !== 0) fields.set('expiration', Math.max(0, message.expiresAtMs - nowMs));
  const types = readTypes(userProperties.find(([name]) => name === typesHeader)?.[1] ?? '');
  for (const [name, text] of userProperties) {
    const value = read(name, text, types.get(name) ?? '');
    const before = fields.get(name);
    if (before === undefined) fields.set(name, value);
    else fields.set(name, Array.isArray(before) ? [...before, value] : [before, value]); // a line that repeats
  }
  const head = JSON.stringify(Object.fromEntries(fields));
  const { body } = message;
  // a body of JSON is written as it is: its octets are the value
  if (isJsonType(contentType) && isJson(body)) {
    return Buffer.concat([Buffer.from(`{"h":${head},"p":`, 'utf8'), body, Buffer.from('}', 'utf8')]);
  }
  const [p, e] =
    !isJsonType(contentType) && isUtf8(body) ? [body.toString('utf8'), ''] : [body.toString('base64'), ',"e":"base64"'];
  return Buffer.from(`{"h":${head},"p":${JSON.stringify(p)}${e}}`, 'utf8');
}

function read(name: string, text: string, letter: string): unknown {
  if (letter === 't') return text === 'true';
  if (numbers.has(name) || numberLetters.has(letter)) {
    const number = Number(text);
    return String(number) === text ? number : text;
  }
  if (!letter.startsWith('json')) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function isJsonType(type: unknown): boolean {
  return typeof type === 'string' && /^application\/(?:[^;]+\+)?json\s*(?:;|$)/i.test(type);
}

function isJson(body: Buffer): boolean {
  if (!isUtf8(body)) return false;
  try {
    JSON.parse(body.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

function parseObject(payload: Buffer): Record<string, unknown> | null {
  if (payload[0] !== 0x7b || !isUtf8(payload)) return null; // most payloads are told by their first octet
  try {
    const json: unknown = JSON.parse(payload.toString('utf8'));
    return isObject(json) ? json : null;
  } catch {
    return null;
  }
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}
