import { deathHeaders, isDeathHeader } from '../../core/deaths.ts';
import { noteLoss } from '../../core/losses.ts';
import type { Death, Message } from '../../core/message.ts';
import { type Headers, isId, type Properties, type TypedValue, toOctets, type Value } from '../../core/properties.ts';
import { expiryMaxMs, typeName } from '../../core/queue/arguments.ts';
import {
  hideReplyTopic,
  type ReplyAddress,
  readCorrelation,
  replyTopicHeader,
  showReplyTopic,
  spellCorrelation,
} from '../../core/reply.ts';
import { addJson, residueHeader, takeJson } from '../../core/residue.ts';
import { escapePrefix } from '../../core/text-headers.ts';
import { letterOf, read, readTypes, spell, spellType, typesHeader } from '../../core/typed-text.ts';
import { keepHeaders, restoreHeaders, UnspelledFields } from '../../core/unspelled.ts';
import { decodeText, emptyBuffer, encodeText } from '../../lib/bytes.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { ProtocolError } from './errors.ts';
import { ReplyCode } from './spec.ts';
import { decodeTable, encodeTable, scanFields, withoutFields, writeTable } from './table.ts';

/**
 * The property list of a content header [AMQP 0-9-1 §4.2.6.1]: flags, then the values of those present.
 *
 *     bit 15 content-type │ 14 content-encoding │ 13 headers │ 12 delivery-mode │ 11 priority │ 10 correlation-id
 *          9 reply-to │ 8 expiration │ 7 message-id │ 6 timestamp │ 5 type │ 4 user-id │ 3 app-id │ 2 cluster-id
 */
export const Flag = {
  contentType: 1 << 15,
  contentEncoding: 1 << 14,
  headers: 1 << 13,
  deliveryMode: 1 << 12,
  priority: 1 << 11,
  correlationId: 1 << 10,
  replyTo: 1 << 9,
  expiration: 1 << 8,
  messageId: 1 << 7,
  timestamp: 1 << 6,
  type: 1 << 5,
  userId: 1 << 4,
  appId: 1 << 3,
  clusterId: 1 << 2,
  more: 1,
} as const;

/** What routing needs of the properties; read by offset, without decoding anything else. */
export class RoutingFacts {
  durable = false;
  priority = -1;
  /** Milliseconds, −1 = none. */
  ttlMs = -1;
  /** Offset of the reply-to's length; −1 = none. */
  replyToAt = -1;
  /** Offset of the user-id's length; −1 = none. */
  userIdAt = -1;
  /** Offset of a headers table with CC or BCC; −1 = none. */
  copiesAt = -1;

  /** @throws ProtocolError 502 when the list is cut; 406 when the expiration is no number, in RabbitMQ's words */
  read(bytes: Buffer, start: number, end: number): void {
    this.durable = false;
    this.priority = -1;
    this.ttlMs = -1;
    this.replyToAt = -1;
    this.userIdAt = -1;
    this.copiesAt = -1;
    if (end - start < 2) throw cut();
    const flags = (bytes[start]! << 8) | bytes[start + 1]!;
    let at = start + 2;
    if ((flags & Flag.more) !== 0) throw new ProtocolError(ReplyCode.syntaxError, 'unknown properties');
    if ((flags & Flag.contentType) !== 0) at += 1 + bytes[at]!;
    if ((flags & Flag.contentEncoding) !== 0) at += 1 + bytes[at]!;
    if ((flags & Flag.headers) !== 0) {
      if (!(at + 4 <= end)) throw cut(); // NaN, when an octet was read beyond the buffer, is not either
      const table = at;
      at += 4 + bytes.readUInt32BE(at);
      if (at > end) throw cut();
      if (scanFields(bytes, table + 4, at)) this.copiesAt = table;
    }
    if ((flags & Flag.deliveryMode) !== 0) this.durable = bytes[at++] === 2;
    if ((flags & Flag.priority) !== 0) this.priority = bytes[at++]!;
    if ((flags & (Flag.correlationId | Flag.replyTo)) !== 0) {
      if ((flags & Flag.correlationId) !== 0) at += 1 + bytes[at]!;
      if ((flags & Flag.replyTo) !== 0) {
        this.replyToAt = at;
        at += 1 + bytes[at]!;
      }
    }
    if ((flags & Flag.expiration) !== 0) {
      if (!(at + 1 + bytes[at]! <= end)) throw cut();
      this.ttlMs = readExpiration(bytes, at);
      at += 1 + bytes[at]!;
    }
    if ((flags & Flag.messageId) !== 0) at += 1 + bytes[at]!;
    if ((flags & Flag.timestamp) !== 0) at += 8;
    if ((flags & Flag.type) !== 0) at += 1 + bytes[at]!;
    if ((flags & Flag.userId) !== 0) {
      this.userIdAt = at;
      at += 1 + bytes[at]!;
    }
    if ((flags & Flag.appId) !== 0) at += 1 + bytes[at]!;
    if ((flags & Flag.clusterId) !== 0) at += 1 + bytes[at]!;
    if (at !== end) throw cut();
  }
}

function readExpiration(bytes: Buffer, at: number): number {
  const text = bytes.toString('latin1', at + 1, at + 1 + bytes[at]!);
  const match = /^([-+]?\d+)(.*)$/s.exec(text);
  const ms = Number(match?.[1]);
  if (match !== null && match[2] === '' && ms >= 0 && ms <= expiryMaxMs) return ms;
  let why = 'no_integer';
  if (match !== null && match[2] !== '') why = `{leftover_string,${JSON.stringify(match[2])}}`;
  else if (match !== null) why = `{${ms < 0 ? 'value_negative' : 'value_too_big'},${BigInt(match[1]!)}}`;
  throw new ProtocolError(ReplyCode.preconditionFailed, `invalid expiration '${text}': ${why}`);
}

/** The list with another reply-to. */
export function replaceReplyTo(native: Buffer, replyToAt: number, replyTo: string): Buffer {
  const text = encodeText(replyTo);
  return Buffer.concat([
    native.subarray(0, replyToAt),
    Buffer.from([text.length]),
    text,
    native.subarray(replyToAt + 1 + native[replyToAt]!),
  ]);
}

/** Further routing keys, and whether some of them are hidden from consumers. */
export interface Copies {
  readonly keys: readonly string[];
  readonly blind: boolean;
}

/**
 * CC and BCC [RabbitMQ: sender-selected distribution].
 * @throws ProtocolError 406 when one of them is no array
 */
export function readCopies(native: Buffer, tableAt: number): Copies {
  const table = decodeTable(native, tableAt);
  const keys: string[] = [];
  for (const name of ['CC', 'BCC']) {
    const value = table.get(name);
    if (value === undefined) continue;
    if (!Array.isArray(value)) {
      throw new ProtocolError(
        ReplyCode.preconditionFailed,
        `invalid message: {unacceptable_type_in_header,"${name}",${typeName(value)}}`,
      );
    }
    keys.push(...value.filter((key) => typeof key === 'string'));
  }
  return { keys, blind: table.has('BCC') };
}

/** The list with another headers table: all but BCC. */
export function withoutBlindCopies(native: Buffer, tableAt: number): Buffer {
  const shown = withoutFields(native, tableAt, (name) => name === 'BCC');
  const length = Buffer.alloc(4);
  length.writeUInt32BE(shown.length);
  const behind = native.subarray(tableAt + 4 + native.readUInt32BE(tableAt));
  return Buffer.concat([native.subarray(0, tableAt), length, shown, behind]);
}

/** The list with an empty headers table: at most 2.5 KB, which every peer's frames have room for. */
export function withoutHeaders(native: Buffer): Buffer {
  const flags = native.readUInt16BE(0);
  let at = 2;
  if ((flags & Flag.contentType) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.contentEncoding) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.headers) === 0) return native;
  return Buffer.concat([native.subarray(0, at), Buffer.alloc(4), native.subarray(at + 4 + native.readUInt32BE(at))]);
}

function cut(): ProtocolError {
  return new ProtocolError(ReplyCode.syntaxError, 'property list is cut');
}

const namesOf = {
  subject: 'x-subject',
  to: 'x-to',
  groupId: 'x-group-id',
  replyToGroupId: 'x-reply-to-group-id',
} as const;
const groupSequenceHeader = 'x-group-sequence';
const correlationHeader = 'x-correlation-id';
const messageIdHeader = 'x-message-id';
const textPayloadHeader = 'x-mqtt-payload-format';
const timestampMsHeader = 'timestamp_in_ms';

/** The fields of a property list as they were sent; absent is undefined. */
export interface PropertyFields {
  readonly contentType: string | undefined;
  readonly contentEncoding: string | undefined;
  readonly headers: Headers;
  readonly deliveryMode: number | undefined;
  readonly priority: number | undefined;
  readonly correlationId: string | undefined;
  readonly replyTo: string | undefined;
  readonly expiration: string | undefined;
  readonly messageId: string | undefined;
  /** The timestamp. */
  readonly seconds: bigint | undefined;
  readonly type: string | undefined;
  readonly userId: string | undefined;
  readonly appId: string | undefined;
  readonly clusterId: string | undefined;
}

/** @param native a property list that `RoutingFacts` has read without complaint */
export function readPropertyList(native: Buffer): PropertyFields {
  const cursor = { at: 2 };
  const flags = native.readUInt16BE(0);
  const text = (flag: number): string | undefined =>
    (flags & flag) === 0 ? undefined : readShortString(native, cursor);
  const contentType = text(Flag.contentType);
  const contentEncoding = text(Flag.contentEncoding);
  let headers: Headers = new Map();
  if ((flags & Flag.headers) !== 0) {
    headers = decodeTable(native, cursor.at);
    cursor.at += 4 + native.readUInt32BE(cursor.at);
  }
  const deliveryMode = (flags & Flag.deliveryMode) === 0 ? undefined : native.readUInt8(cursor.at++);
  const priority = (flags & Flag.priority) === 0 ? undefined : native.readUInt8(cursor.at++);
  const correlationId = text(Flag.correlationId);
  const replyTo = text(Flag.replyTo);
  const expiration = text(Flag.expiration);
  const messageId = text(Flag.messageId);
  let seconds: bigint | undefined;
  if ((flags & Flag.timestamp) !== 0) {
    seconds = native.readBigUInt64BE(cursor.at);
    cursor.at += 8;
  }
  return {
    contentType,
    contentEncoding,
    headers,
    deliveryMode,
    priority,
    correlationId,
    replyTo,
    expiration,
    messageId,
    seconds,
    type: text(Flag.type),
    userId: text(Flag.userId),
    appId: text(Flag.appId),
    clusterId: text(Flag.clusterId),
  };
}

/** To the shared vocabulary: what 0-9-1 has no field for is found in the companion headers. */
export function decodeProperties(native: Buffer, message: Message): Properties {
  const list = readPropertyList(native);
  const { contentType, contentEncoding, headers, deliveryMode, priority, correlationId, replyTo } = list;
  const { expiration, messageId, seconds, type, userId, appId, clusterId } = list;
  const timestampMs = seconds === undefined || seconds > secondsMax ? undefined : Number(seconds) * 1000;
  const isPlain = !hasOwnNames(headers);
  const own = isPlain ? (headers as Map<string, Value>) : restoreTypes(headers);
  const properties: Properties = { headers: own };
  if (contentType !== undefined) properties.contentType = contentType;
  if (contentEncoding !== undefined) properties.contentEncoding = contentEncoding;
  if (deliveryMode !== undefined) properties.durable = deliveryMode === 2;
  if (priority !== undefined) properties.priority = priority;
  if (correlationId !== undefined) properties.correlationId = readCorrelation(correlationId) ?? correlationId;
  else takeId(own, correlationHeader, (id) => (properties.correlationId = id));
  if (replyTo !== undefined) properties.replyTo = readReplyTo(replyTo, message);
  hideReplyTopic(properties.replyTo, own);
  if (expiration !== undefined) properties.ttlMs = Number(expiration);
  if (messageId !== undefined) properties.messageId = messageId;
  else takeId(own, messageIdHeader, (id) => (properties.messageId = id));
  if (timestampMs !== undefined) properties.timestampMs = takeMs(own, timestampMs);
  if (type !== undefined) properties.type = type;
  if (userId !== undefined) properties.userId = userId;
  if (appId !== undefined) properties.appId = appId;
  if (isPlain && clusterId === undefined && (seconds === undefined || timestampMs !== undefined)) return properties;
  const copies = headers.get('CC'); // as it was published: one that was escaped was no order
  if (Array.isArray(copies)) properties.copies = copies.filter((key) => typeof key === 'string');
  for (const [field, name] of Object.entries(namesOf) as [keyof typeof namesOf, string][]) {
    const value = own.get(name);
    if (typeof value === 'string' && own.delete(name)) properties[field] = value;
  }
  const sequence = own.get(groupSequenceHeader);
  if (sequence !== undefined && isUint(sequence) && own.delete(groupSequenceHeader)) {
    properties.groupSequence = sequence.value;
  }
  const textPayload = own.get(textPayloadHeader);
  if (typeof textPayload === 'boolean' && own.delete(textPayloadHeader)) properties.textPayload = textPayload;
  if (own.has(residueHeader)) {
    UnspelledFields.restore(own, properties, isShort);
    restoreHeaders(own, isShort);
  }
  const escaped = [...own].filter(([name]) => name.startsWith(escapePrefix));
  for (const [name, value] of escaped.sort(byLength)) unescapeHeader(own, name, value, properties);
  const isOdd = timestampMs === undefined && seconds !== undefined;
  const unshared = {
    ...(isOdd ? { seconds: String(seconds) } : {}),
    ...(clusterId === undefined ? {} : { clusterId }),
  };
  if ((isOdd || clusterId !== undefined) && !addJson(own, residuePart, unshared)) properties.lost = ['residue'];
  return properties;
}

/** Longer ago, or longer to come, than the shared vocabulary counts: those are residue, with the cluster id. */
const secondsMax = BigInt(Number.MAX_SAFE_INTEGER) / 1000n;
const residuePart = 'p';

// A header whose name, behind its prefixes, would be taken for a companion loses one of them.
function unescapeHeader(headers: Map<string, Value>, name: string, value: Value, properties: Properties): void {
  const inner = name.slice(escapePrefix.length);
  if (headers.has(inner) || !isEscaped(inner, value, properties)) return;
  headers.delete(name);
  headers.set(inner, value);
}

// The inverse: before the companions themselves are there.
function escapeHeaders(headers: Map<string, Value>, properties: Properties, isForeign: boolean): void {
  const own = [...headers].filter(([name]) => companionNames.has(plainName(name)));
  for (const [name, value] of own.sort(byLength).reverse()) {
    if (!isEscaped(name, value, properties) || (!isForeign && orders.has(plainName(name)))) continue;
    headers.delete(name);
    headers.set(escapePrefix + name, value);
  }
}

// A name makes room for the one that is to take it: the shortest loses its prefix first, and gets one last.
function byLength([a]: readonly [string, Value], [b]: readonly [string, Value]): number {
  return a.length - b.length;
}

function isEscaped(name: string, value: Value, properties: Properties): boolean {
  const plain = plainName(name);
  return (plain !== name && orders.has(plain)) || isTaken(plain, value, properties);
}

function plainName(name: string): string {
  return name.startsWith(escapePrefix) ? plainName(name.slice(escapePrefix.length)) : name;
}

/** A publish with a CC that is no list is refused, and one with BCC sends on what its publisher only saw. */
const orders: ReadonlySet<string> = new Set(['CC', 'BCC']);

const companionNames: ReadonlySet<string> = new Set([
  ...Object.values(namesOf),
  ...[groupSequenceHeader, correlationHeader, messageIdHeader, textPayloadHeader, timestampMsHeader, typesHeader],
  ...orders,
]);

/** True if a header of the name and value would be read as a companion, or stands in the place of one. */
function isTaken(name: string, value: Value, properties: Properties): boolean {
  const { correlationId, messageId, timestampMs } = properties;
  switch (name) {
    case typesHeader:
    case 'BCC': // no consumer sees one that was an order
      return true;
    case 'CC':
      return !Array.isArray(value) || !isTable(value); // as text of JSON it would be no list
    case groupSequenceHeader:
      return properties.groupSequence !== undefined || isUint(value);
    case textPayloadHeader:
      return properties.textPayload !== undefined || typeof value === 'boolean';
    case correlationHeader:
      return correlationId === undefined ? isId(value) : !isNativeCorrelation(properties);
    case messageIdHeader:
      return messageId === undefined ? isId(value) : !isShortText(messageId);
    case timestampMsHeader:
      if (timestampMs === undefined) return false;
      return timestampMs % 1000 !== 0 || findMs(value, timestampMs) !== undefined;
    default: {
      const field = (Object.keys(namesOf) as (keyof typeof namesOf)[]).find((each) => namesOf[each] === name);
      return field !== undefined && (properties[field] !== undefined || typeof value === 'string');
    }
  }
}

// Whether a header may be a companion of ours, or have a prefix of ours.
function hasOwnNames(headers: Headers): boolean {
  for (const name of headers.keys()) if (isOwnName(name)) return true;
  return false;
}

// A companion header restores an id that the native field cannot hold.
function takeId(headers: Map<string, Value>, name: string, take: (id: string | Buffer | TypedValue) => void): void {
  const value = headers.get(name);
  if (isId(value) && headers.delete(name)) take(value);
}

/** The types of AMQP 1.0 that no field has: how each is written instead, and the letter that says what it was. */
function noteTypes(headers: Map<string, Value>): void {
  const types: string[] = [];
  for (const [name, value] of headers) {
    if (typeof value === 'string') {
      if (!value.isWellFormed()) types.push(spellType(name, octetsLetter));
      continue;
    }
    if (typeof value === 'object' && !isTable(value)) {
      const { text, letter } = spell(value);
      headers.set(name, text);
      types.push(spellType(name, letter));
      continue;
    }
    const letter = foreignLetterOf(value);
    if (letter === undefined) continue;
    if (letter === 'T') headers.set(name, { type: 'long', value: (value as { value: bigint }).value });
    types.push(spellType(name, letter));
  }
  if (types.length > 0) headers.set(typesHeader, types.join(','));
}

/** Of text that is not UTF-8: a field of text that is none is read as octets. */
const octetsLetter = 'S64';

function foreignLetterOf(value: Value): string | undefined {
  if (!isTypedId(value)) return undefined;
  switch (value.type) {
    case 'ulong':
    case 'char':
    case 'symbol':
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return letterOf[value.type];
    case 'timestamp': // a field counts seconds, and no time before 1970
      return value.value < 0n || value.value % 1000n !== 0n ? letterOf.timestamp : undefined;
    default:
      return undefined;
  }
}

function restoreTypes(headers: Headers): Map<string, Value> {
  const own = new Map<string, Value>(headers);
  const types = own.get(typesHeader);
  if (typeof types !== 'string') return own;
  own.delete(typesHeader);
  for (const [name, letter] of readTypes(types)) {
    const value = own.get(name);
    const restored = value === undefined ? undefined : restore(value, letter);
    if (restored !== undefined) own.set(name, restored);
  }
  return own;
}

// Undefined when what is there is not what the letter's type is written as.
function restore(value: Value, letter: string): Value | undefined {
  const isLong = isTypedId(value) && value.type === 'long';
  switch (letter) {
    case letterOf.ulong:
      return isLong ? { type: 'ulong', value: BigInt.asUintN(64, (value as { value: bigint }).value) } : undefined;
    case letterOf.timestamp:
      return isLong ? { type: 'timestamp', value: (value as { value: bigint }).value } : undefined;
    case letterOf.char:
    case letterOf.symbol:
      return typeof value === 'string' ? { type: letter === letterOf.char ? 'char' : 'symbol', value } : undefined;
    case letterOf.uuid:
      return octetsOf(value, 16, 'uuid');
    case letterOf.decimal32:
      return octetsOf(value, 4, 'decimal32');
    case letterOf.decimal64:
      return octetsOf(value, 8, 'decimal64');
    case letterOf.decimal128:
      return octetsOf(value, 16, 'decimal128');
    case octetsLetter:
      if (Buffer.isBuffer(value)) return decodeText(value, 0, value.length);
      return typeof value === 'string' ? read(value, letter) : undefined;
    default:
      return typeof value === 'string' ? read(value, letter) : undefined; // JSON and octets, from protocols of text
  }
}

function octetsOf(
  value: Value,
  length: number,
  type: 'uuid' | 'decimal32' | 'decimal64' | 'decimal128',
): Value | undefined {
  return Buffer.isBuffer(value) && value.length === length ? { type, value } : undefined;
}

function isTypedId(value: Value | undefined): value is TypedValue {
  return typeof value === 'object' && value !== null && 'type' in value;
}

function isUint(value: Value): value is TypedValue & { type: 'uint' } {
  return isTypedId(value) && value.type === 'uint';
}

function takeMs(headers: Map<string, Value>, timestampMs: number): number {
  const ms = findMs(headers.get(timestampMsHeader), timestampMs);
  if (ms === undefined) return timestampMs;
  headers.delete(timestampMsHeader);
  return ms;
}

// Undefined for what does not say more of the same second.
function findMs(exact: Value | undefined, timestampMs: number): number | undefined {
  if (!isTypedId(exact) || exact.type !== 'long') return undefined;
  const ms = Number(exact.value);
  return Math.floor(ms / 1000) * 1000 === timestampMs && ms !== timestampMs ? ms : undefined;
}

function readShortString(bytes: Buffer, cursor: { at: number }): string {
  const start = cursor.at + 1;
  cursor.at = start + bytes.readUInt8(cursor.at);
  return decodeText(bytes, start, cursor.at);
}

/** Characters, of three octets at most. */
const surelyShort = 85;

/** Names, and most fields, are short strings. */
function isShort(text: string): boolean {
  return text.length <= surelyShort || (text.length <= 255 && encodeText(text).length <= 255);
}

/**
 * From the shared vocabulary: a property list with its flags.
 * @param isForeign true when the publisher spoke another protocol: what it named CC or BCC were no orders
 */
export function encodeProperties(properties: Properties, message: Message, isForeign = false): Buffer {
  if (isForeign && properties.ttlMs !== undefined && properties.ttlMs > expiryMaxMs) {
    // a longer one is refused of whoever publishes it again
    return encodeProperties({ ...properties, ttlMs: expiryMaxMs }, message, isForeign);
  }
  if (isPlain(properties)) return writeList(properties, properties.headers, properties, undefined);
  const headers = new Map<string, Value>(properties.headers);
  const { seconds, clusterId } = takeUnshared(headers);
  escapeHeaders(headers, properties, isForeign);
  const texts: ListTexts = {
    correlationId: showCorrelation(properties, headers),
    replyTo: properties.replyTo === undefined ? undefined : showReplyTo(properties.replyTo, message, headers),
    messageId: shortOrHeader(properties.messageId, messageIdHeader, headers),
    userId: properties.userId,
    clusterId,
  };
  for (const [field, name] of Object.entries(namesOf) as [keyof typeof namesOf, string][]) {
    const value = properties[field];
    if (value !== undefined) headers.set(name, value);
  }
  if (properties.groupSequence !== undefined) {
    headers.set(groupSequenceHeader, { type: 'uint', value: properties.groupSequence });
  }
  if (properties.textPayload !== undefined) headers.set(textPayloadHeader, properties.textPayload);
  const { timestampMs } = properties;
  if (timestampMs !== undefined && timestampMs % 1000 !== 0) {
    headers.set(timestampMsHeader, { type: 'long', value: BigInt(Math.floor(timestampMs)) });
  }
  const fields = new UnspelledFields();
  for (const field of ['contentType', 'contentEncoding', 'type', 'appId'] as const) {
    const text = properties[field];
    if (text === undefined || isShort(text)) texts[field] = text;
    else fields.add(field, text);
  }
  fields.keep(headers);
  keepHeaders(headers, takeLongNames(headers));
  noteTypes(headers);
  if (texts.userId !== undefined && !isShort(texts.userId)) {
    noteLoss('userId');
    texts.userId = undefined;
  }
  return writeList(properties, headers, texts, seconds);
}

/** What a list has short strings for, in them. */
interface ListTexts {
  contentType?: string | undefined;
  contentEncoding?: string | undefined;
  correlationId?: string | undefined;
  replyTo?: string | undefined;
  messageId?: string | undefined;
  type?: string | undefined;
  userId?: string | undefined;
  appId?: string | undefined;
  clusterId?: string | undefined;
}

type PlainProperties = Properties & { correlationId?: string; messageId?: string; replyTo?: never };

// Most messages: nothing in it needs a companion, an escape or a residue, and all of it is as it is to be written.
function isPlain(properties: Properties): properties is PlainProperties {
  const { replyTo, textPayload, groupSequence, subject, to, groupId, replyToGroupId, timestampMs } = properties;
  if (replyTo !== undefined || textPayload !== undefined || groupSequence !== undefined) return false;
  if (subject !== undefined || to !== undefined || groupId !== undefined || replyToGroupId !== undefined) return false;
  if (timestampMs !== undefined && timestampMs % 1000 !== 0) return false;
  const { contentType, contentEncoding, correlationId, messageId, type, userId, appId } = properties;
  if (!isPlainText(contentType) || !isPlainText(contentEncoding) || !isPlainText(correlationId)) return false;
  if (!isPlainText(messageId) || !isPlainText(type) || !isPlainText(userId) || !isPlainText(appId)) return false;
  for (const [name, value] of properties.headers) {
    if (name.length > surelyShort || isOwnName(name) || !isItem(value)) return false;
  }
  return true;
}

function isPlainText(id: string | Buffer | TypedValue | undefined): boolean {
  return id === undefined || (typeof id === 'string' && id.length <= surelyShort);
}

export function isOwnName(name: string): boolean {
  return companionNames.has(name) || name.startsWith('x-rosetta-') || name === replyTopicHeader;
}

const out = new OctetWriter();

// Even an empty headers table is written: clients of RabbitMQ are used to one.
function writeList(properties: Properties, headers: Headers, texts: ListTexts, seconds: bigint | undefined): Buffer {
  const { durable, priority, ttlMs, timestampMs } = properties;
  out.begin();
  out.u16(0);
  let flags: number = Flag.headers;
  flags |= writeShort(texts.contentType, Flag.contentType);
  flags |= writeShort(texts.contentEncoding, Flag.contentEncoding);
  writeTable(out, headers);
  if (durable !== undefined) {
    flags |= Flag.deliveryMode;
    out.u8(durable ? 2 : 1);
  }
  if (priority !== undefined) {
    flags |= Flag.priority;
    out.u8(priority);
  }
  flags |= writeShort(texts.correlationId, Flag.correlationId);
  flags |= writeShort(texts.replyTo, Flag.replyTo);
  if (ttlMs !== undefined) flags |= writeShort(String(ttlMs), Flag.expiration);
  flags |= writeShort(texts.messageId, Flag.messageId);
  if (timestampMs !== undefined || seconds !== undefined) {
    flags |= Flag.timestamp;
    out.raw(toUint64(seconds ?? BigInt(Math.floor(timestampMs! / 1000))));
  }
  flags |= writeShort(texts.type, Flag.type);
  flags |= writeShort(texts.userId, Flag.userId);
  flags |= writeShort(texts.appId, Flag.appId);
  flags |= writeShort(texts.clusterId, Flag.clusterId);
  out.bytes.writeUInt16BE(flags, 0);
  return out.end();
}

// Its flag, or 0 when there is none. Text over 255 octets has no spelling here: the caller has seen to it.
function writeShort(text: string | undefined, flag: number): number {
  if (text === undefined) return 0;
  const lengthAt = out.skip(1);
  out.text(text);
  const length = out.at - lengthAt - 1;
  if (length > 255) {
    out.at = lengthAt;
    return 0;
  }
  out.bytes[lengthAt] = length;
  return flag;
}

// What the shared vocabulary has no words for, as far as it has none.
function takeUnshared(headers: Map<string, Value>): { seconds?: bigint; clusterId?: string } {
  const json = headers.has(residueHeader) ? takeJson(headers, residuePart) : undefined;
  if (typeof json !== 'object' || json === null) return {};
  const { seconds, clusterId } = json as Record<string, unknown>;
  const isOdd = typeof seconds === 'string' && /^\d{1,20}$/.test(seconds) && BigInt(seconds) > secondsMax;
  return {
    ...(isOdd ? { seconds: BigInt.asUintN(64, BigInt(seconds)) } : {}),
    ...(typeof clusterId === 'string' && isShort(clusterId) ? { clusterId } : {}),
  };
}

function toUint64(value: bigint): Buffer {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(value);
  return octets;
}

// They travel in the residue.
function takeLongNames(headers: Map<string, Value>): Headers {
  const taken = new Map<string, Value>();
  for (const [name, value] of headers) if (!isShort(name)) taken.set(name, value);
  for (const name of taken.keys()) headers.delete(name);
  return taken;
}

// False for a table or array with something inside that would not come back from one: it travels as JSON instead.
function isTable(value: Value): boolean {
  if (Array.isArray(value)) return value.every(isItem);
  if (!(value instanceof Map)) return true;
  return [...value].every(([name, item]) => isShort(name) && isItem(item));
}

function isItem(value: Value): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  return isTable(value) && foreignLetterOf(value) === undefined;
}

/**
 * A property list with the headers of its message's deaths behind the publisher's own, and without expiration; all
 * else is the publisher's, octet for octet.
 */
export function encodeDead(native: Buffer, deaths: readonly Death[]): Buffer {
  const flags = native.readUInt16BE(0);
  let at = 2;
  if ((flags & Flag.contentType) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.contentEncoding) !== 0) at += 1 + native[at]!;
  const tableAt = at;
  let own = emptyBuffer;
  if ((flags & Flag.headers) !== 0) {
    own = withoutFields(native, tableAt, isDeathHeader);
    at += 4 + native.readUInt32BE(tableAt);
  }
  const tableEnd = at;
  if ((flags & Flag.deliveryMode) !== 0) at += 1;
  if ((flags & Flag.priority) !== 0) at += 1;
  if ((flags & Flag.correlationId) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.replyTo) !== 0) at += 1 + native[at]!;
  const expirationAt = at;
  if ((flags & Flag.expiration) !== 0) at += 1 + native[at]!;
  const head = Buffer.alloc(6);
  const shown = encodeTable(new Map(deathHeaders(deaths))).subarray(4);
  head.writeUInt16BE((flags | Flag.headers) & ~Flag.expiration);
  head.writeUInt32BE(own.length + shown.length, 2);
  return Buffer.concat([
    head.subarray(0, 2),
    native.subarray(2, tableAt),
    head.subarray(2),
    own,
    shown,
    native.subarray(tableEnd, expirationAt),
    native.subarray(at),
  ]);
}

/** The list with one header more, or with another value for it. */
export function withLongHeader(native: Buffer, name: string, value: number): Buffer {
  const flags = native.readUInt16BE(0);
  let at = 2;
  if ((flags & Flag.contentType) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.contentEncoding) !== 0) at += 1 + native[at]!;
  const hasHeaders = (flags & Flag.headers) !== 0;
  const own = hasHeaders ? withoutFields(native, at, (other) => other === name) : emptyBuffer;
  const added = encodeTable(new Map([[name, { type: 'long', value: BigInt(value) }]])).subarray(4);
  const head = Buffer.alloc(6);
  head.writeUInt16BE(flags | Flag.headers);
  head.writeUInt32BE(own.length + added.length, 2);
  const behind = native.subarray(hasHeaders ? at + 4 + native.readUInt32BE(at) : at);
  return Buffer.concat([head.subarray(0, 2), native.subarray(2, at), head.subarray(2), own, added, behind]);
}

// A requester's correlation must come back from responders that copy the native field alone.
function showCorrelation(properties: Properties, headers: Map<string, Value>): string | undefined {
  const { correlationId } = properties;
  if (correlationId === undefined || typeof correlationId === 'string' || !isNativeCorrelation(properties)) {
    return shortOrHeader(correlationId, correlationHeader, headers);
  }
  return spellCorrelation(correlationId);
}

// In the field of its own, as it is or spelled.
function isNativeCorrelation({ correlationId, replyTo }: Properties): boolean {
  if (correlationId === undefined || typeof correlationId === 'string') return isShortText(correlationId);
  return replyTo !== undefined && toOctets(correlationId).length <= spelledMax;
}

function isShortText(id: string | Buffer | TypedValue | undefined): id is string {
  return typeof id === 'string' && isShort(id);
}

/** Octets whose spelling as text still fits into a short string. */
const spelledMax = 180;

const protocol = 'amqp-0-9-1';

function readReplyTo(text: string, message: Message): ReplyAddress {
  const address = { exchange: '', key: text, text, protocol };
  return message.replies?.resolve(address) ?? address;
}

function showReplyTo(address: ReplyAddress, message: Message, headers: Map<string, Value>): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  showReplyTopic(address, headers);
  return message.replies.aliasQueueFor(address, message.publisher);
}

function shortOrHeader(
  id: string | Buffer | TypedValue | undefined,
  header: string,
  headers: Map<string, Value>,
): string | undefined {
  if (isShortText(id)) return id;
  if (id !== undefined) headers.set(header, id);
  return undefined;
}
