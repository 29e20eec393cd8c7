import { isDeathHeader } from '../../core/deaths.ts';
import { type MessageFormat, register } from '../../core/format.ts';
import type { Death, Message } from '../../core/message.ts';
import {
  type Headers,
  isTyped as isTypedValue,
  noHeaders,
  type Properties,
  type TypedValue,
  type Value,
} from '../../core/properties.ts';
import type { ReplyAddress } from '../../core/reply.ts';
import { addResidue, residueHeader, takeResidue } from '../../core/residue.ts';
import { read, readTypes, spell, spellType, typesHeader } from '../../core/typed-text.ts';
import { keepHeaders, restoreHeaders, UnspelledFields } from '../../core/unspelled.ts';
import { decodeText, emptyBuffer, encodeText } from '../../lib/bytes.ts';
import { parseAddress, queueAddress } from './address.ts';
import { copiesAnnotation } from './copies.ts';
import { createLookup } from './lookup.ts';
import { createPlain } from './plain.ts';
import { SectionCode, Sections, type Segment } from './sections.ts';
import {
  AmqpArray,
  AmqpMap,
  type Any,
  Decoder,
  Described,
  encodeList,
  encodeMap,
  encodeValue,
  isTyped,
  symbol,
  textOf,
  uint,
  ulong,
} from './types.ts';

/** What says to other protocols that a body is AMQP's encoding of a value or a sequence. */
const encodedBodyType = 'message/vnd.rosettamq.amqp-value';

/**
 * `native` is the sections before the body as they were sent; the body is the octets of the data section, whose prefix
 * each delivery writes anew. What has another shape (several data sections, an amqp-value, a footer) is marked by a
 * section of our own in front, which no peer can send:
 *
 *     00 53 f0 │ binary: kind u8 │ segments u16 │ (prefix u8 + octets, bytes u32) each │ footer
 *
 * With kind `encoded` the body is the body's sections with their descriptors.
 */
export const amqp10Format: MessageFormat = register({
  name: 'amqp-1.0',
  id: 7,
  decode: decodeProperties,
  lookup: createLookup(isReservedHeader, (native) => readShape(native)?.bytes ?? 0),
  plain: createPlain(isReservedHeader, encodedBodyType),
  encode: encodeProperties,
  encodeDead,
});

const shapeCode = 0xf0;
const segmentsMax = 0xffff;

export interface Shape {
  readonly kind: 'data' | 'encoded';
  readonly segments: readonly Segment[];
  readonly footer: Buffer;
  /** Octets of the mark in front of the sections. */
  readonly bytes: number;
}

export function encodeShape(kind: Shape['kind'], segments: readonly Segment[], footer: Buffer): Buffer {
  const head = Buffer.alloc(3);
  head[0] = kind === 'data' ? 0 : 1;
  head.writeUInt16BE(segments.length, 1);
  const parts = segments.map(({ prefix, bytes }) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(bytes);
    return Buffer.concat([Buffer.from([prefix.length]), prefix, size]);
  });
  const mark = encodeValue(Buffer.concat([head, ...parts, footer]));
  return Buffer.concat([Buffer.from([0, 0x53, shapeCode]), mark]);
}

export function hasShape(bytes: Buffer, at: number, end: number): boolean {
  return end - at > 3 && bytes[at + 2] === shapeCode && bytes[at + 1] === 0x53 && bytes[at] === 0;
}

/** @returns null when the body is one data section with the shortest prefix, and nothing lies behind it */
export function readShape(native: Buffer): Shape | null {
  if (!hasShape(native, 0, native.length)) return null;
  const decoder = new Decoder(native, 3);
  const mark = decoder.read() as Buffer;
  const segments: Segment[] = [];
  let at = 3;
  for (let left = mark.readUInt16BE(1); left > 0; left--) {
    const prefixEnd = at + 1 + mark[at]!;
    segments.push({ prefix: mark.subarray(at + 1, prefixEnd), bytes: mark.readUInt32BE(prefixEnd) });
    at = prefixEnd + 4;
  }
  return { kind: mark[0] === 0 ? 'data' : 'encoded', segments, footer: mark.subarray(at), bytes: decoder.at };
}

/** A message whose body is not one plain data section, as native and body; `sections` are those of `bytes`. */
export function reshape(bytes: Buffer, start: number, sections: Sections): { native: Buffer; body: Buffer } {
  const footer = bytes.subarray(sections.bodyEnd, sections.end);
  const head = bytes.subarray(start, sections.bodyAt);
  const isData = sections.bodyCode === SectionCode.data && sections.bodySections <= segmentsMax;
  if (!isData) {
    return {
      native: Buffer.concat([encodeShape('encoded', [], footer), head]),
      body: bytes.subarray(sections.bodyAt, sections.bodyEnd),
    };
  }
  const segments = sections.segments(bytes);
  const parts: Buffer[] = [];
  let at = sections.bodyAt;
  for (const { prefix, bytes: size } of segments) {
    parts.push(bytes.subarray(at + prefix.length, at + prefix.length + size));
    at += prefix.length + size;
  }
  return { native: Buffer.concat([encodeShape('data', segments, footer), head]), body: Buffer.concat(parts) };
}

// — annotations and headers —————————————————————————————————————————————————————————————————————————————————————————

/**
 * Message annotations are headers to the others: `x-opt-…` as it is, another name behind a prefix. A header that would
 * come back as an annotation, though it was none, is escaped.
 */
const annotationPrefix = 'x-opt-';
const otherAnnotationPrefix = 'x-opt-rosetta.';
const escapePrefix = 'x-rosetta-h.';
/** Of the properties section: it is checked when it is published, which a residue is not. */
const userIdField = 1;
const replyToField = 4;
const contentTypeField = 6;
const residuePart = 'a';

const appIdAnnotation = 'x-opt-app-id';
const typeAnnotation = 'x-opt-type';
const textPayloadAnnotation = 'x-opt-mqtt-payload-format';
/** Headers with a meaning elsewhere that are annotations here. */
const annotationOfHeader = new Map([
  ['x-mqtt-retain', 'x-opt-mqtt-retain'],
  ['x-mqtt-client-id', 'x-opt-mqtt-client-id'],
]);
/** A list of routing keys alone is the annotation; what is no such list is an application property. */
const copiesHeader = 'CC';
const headerOfAnnotation = new Map([...annotationOfHeader].map(([header, annotation]) => [annotation, header]));

function isCopies(value: Value): boolean {
  return Array.isArray(value) && value.every((key) => typeof key === 'string' && key.isWellFormed());
}

/** Written by the broker with each delivery: a publisher's are not its own. */
export const exchangeAnnotation = 'x-exchange';
export const routingKeyAnnotation = 'x-routing-key';

const deathsAnnotation = 'x-opt-deaths';

export function isBrokerAnnotation(name: string | undefined): boolean {
  return name === exchangeAnnotation || name === routingKeyAnnotation;
}

function isReservedHeader(name: string): boolean {
  return (
    name.startsWith(annotationPrefix) ||
    name.startsWith(escapePrefix) ||
    isCompanion(name) ||
    annotationOfHeader.has(name)
  );
}

function isReserved(name: string, value: Value): boolean {
  return isReservedHeader(name) || (name === copiesHeader && isCopies(value));
}

// Companions are never somebody's own: a header of such a name, or escaped already, is escaped once more here.
function isCompanion(name: string): boolean {
  return name === typesHeader || name === residueHeader;
}

function toHeaderName(property: string, value: Value): string {
  if (property.startsWith(escapePrefix)) {
    const inner = property.slice(escapePrefix.length);
    if (inner.startsWith(escapePrefix) || isCompanion(inner)) return inner;
  }
  return isReserved(property, value) ? escapePrefix + property : property;
}

// The inverse; a header keeps its prefix where another one has the property of the name behind it.
function toPropertyName(header: string, value: Value, headers: Headers): string {
  if (isCompanion(header)) return escapePrefix + header;
  if (!header.startsWith(escapePrefix)) return header;
  const inner = header.slice(escapePrefix.length);
  const isFree = !headers.has(inner) || annotationOf(inner, headers.get(inner)!) !== undefined;
  return isFree && isReserved(inner, value) && !isCompanion(inner) ? inner : escapePrefix + header;
}

// — to the shared vocabulary ————————————————————————————————————————————————————————————————————————————————————————

/** What is malformed within a section is as if it were absent: its publisher's fault is not its consumers'. */
function decodeProperties(native: Buffer, message: Message): Properties {
  const headers = new Map<string, Value>();
  const properties: Properties = { headers };
  const residue = new Residue();
  const shape = readShape(native);
  const sections = new Sections();
  sections.read(native, shape?.bytes ?? 0, native.length);
  const section = (at: number): Any => {
    try {
      return at < 0 ? null : new Decoder(native, at).read();
    } catch {
      return null;
    }
  };
  decodeHeader(section(sections.header), properties);
  decodeList(section(sections.properties), properties, message, residue);
  decodeAnnotations(section(sections.messageAnnotations), properties, headers, residue);
  decodeApplicationProperties(section(sections.applicationProperties), headers, residue);
  if (headers.has(residueHeader)) {
    UnspelledFields.restore(headers, properties, isSymbol);
    restoreHeaders(headers, (name) => name.isWellFormed() && annotationOf(name, null) === undefined);
  }
  if (sections.deliveryAt >= 0) residue.delivery = native.subarray(sections.deliveryAt, sections.deliveryEnd);
  if (shape !== null) {
    residue.shape = native.subarray(0, shape.bytes);
    if (shape.kind === 'encoded' && message.bodyBytes > 0) {
      if (properties.contentType !== undefined) residue.list.set(contentTypeField, symbol(properties.contentType));
      properties.contentType = encodedBodyType;
      if (shape.footer.length === 0) residue.shape = emptyBuffer; // the content type says it all
    }
  }
  if (!residue.write(headers)) properties.lost = ['residue'];
  return properties;
}

function decodeHeader(list: Any, properties: Properties): void {
  if (!Array.isArray(list)) return;
  const [durable, priority, ttl] = list as Any[];
  if (typeof durable === 'boolean') properties.durable = durable;
  if (isTyped(priority) && priority.type === 'ubyte') properties.priority = priority.value;
  if (isTyped(ttl) && ttl.type === 'uint') properties.ttlMs = ttl.value;
}

function decodeList(list: Any, properties: Properties, message: Message, residue: Residue): void {
  if (!Array.isArray(list)) return;
  for (const [i, item] of (list as Any[]).entries()) {
    if (i === replyToField && typeof item === 'string') properties.replyTo = readReplyTo(item, message);
    else if (item !== null && !decodeField(i, item, properties)) residue.list.set(i, item);
  }
}

// False when the shared vocabulary has no place for it.
function decodeField(index: number, item: Any, properties: Properties): boolean {
  const text = typeof item === 'string' ? item : undefined;
  switch (index) {
    case 0:
      return isId(item) && setId(properties, 'messageId', item);
    case userIdField:
      if (!Buffer.isBuffer(item)) return false;
      properties.userId = decodeText(item, 0, item.length);
      return true;
    case 2:
      return text !== undefined && setText(properties, 'to', text);
    case 3:
      return text !== undefined && setText(properties, 'subject', text);
    case 5:
      return isId(item) && setId(properties, 'correlationId', item);
    case contentTypeField:
      return setText(properties, 'contentType', textOf(item));
    case 7:
      return setText(properties, 'contentEncoding', textOf(item));
    case 9:
      if (!isTyped(item) || item.type !== 'timestamp' || item.value < 0n) return false;
      if (item.value > BigInt(Number.MAX_SAFE_INTEGER)) return false;
      properties.timestampMs = Number(item.value);
      return true;
    case 10:
      return text !== undefined && setText(properties, 'groupId', text);
    case 11:
      if (!isTyped(item) || item.type !== 'uint') return false;
      properties.groupSequence = item.value;
      return true;
    case 12:
      return text !== undefined && setText(properties, 'replyToGroupId', text);
    default:
      return false;
  }
}

type TextField = 'to' | 'subject' | 'contentType' | 'contentEncoding' | 'groupId' | 'replyToGroupId';

function setText(properties: Properties, field: TextField, text: string | undefined): boolean {
  if (text === undefined) return false;
  properties[field] = text;
  return true;
}

type Id = string | Buffer | TypedValue;

function isId(item: Any): item is Id {
  return typeof item === 'string' || Buffer.isBuffer(item) || (isTyped(item) && /^(uuid|ulong)$/.test(item.type));
}

function setId(properties: Properties, field: 'messageId' | 'correlationId', id: Id): true {
  properties[field] = id;
  return true;
}

function decodeAnnotations(map: Any, properties: Properties, headers: Map<string, Value>, residue: Residue): void {
  if (!(map instanceof AmqpMap)) return;
  for (const [key, item] of map.pairs) {
    const name = isTyped(key) && key.type === 'symbol' ? key.value : undefined;
    if (isBrokerAnnotation(name)) continue;
    if (name === copiesAnnotation && Array.isArray(item)) {
      properties.copies = (item as Any[]).filter((key) => typeof key === 'string');
    }
    if (name === appIdAnnotation && typeof item === 'string') properties.appId = item;
    else if (name === typeAnnotation && typeof item === 'string') properties.type = item;
    else if (name === textPayloadAnnotation && typeof item === 'boolean') properties.textPayload = item;
    else {
      const value = toValue(item);
      if (name === undefined || value === undefined) residue.annotations.push([key, item]);
      else headers.set(headerNameOf(name, value), value);
    }
  }
}

function headerNameOf(annotation: string, value: Value): string {
  if (annotation === copiesAnnotation && isCopies(value)) return copiesHeader;
  const header = headerOfAnnotation.get(annotation);
  if (header !== undefined) return header;
  const isOwn = annotation.startsWith(annotationPrefix) && !annotation.startsWith(otherAnnotationPrefix);
  return isOwn ? annotation : otherAnnotationPrefix + annotation;
}

function decodeApplicationProperties(map: Any, headers: Map<string, Value>, residue: Residue): void {
  if (!(map instanceof AmqpMap)) return;
  const types = readTypes(textOf(map.get(typesHeader)) ?? '');
  for (const [key, item] of map.pairs) {
    if (typeof key !== 'string') {
      residue.applicationProperties.push([key, item]);
      continue;
    }
    if (key === typesHeader) continue;
    if (key === residueHeader) {
      if (typeof item === 'string') headers.set(key, item); // other protocols' parts
      continue;
    }
    const said = toValue(item);
    if (said === undefined) {
      residue.applicationProperties.push([key, item]);
      continue;
    }
    const value = typeof said === 'string' && types.has(key) ? read(said, types.get(key)!) : said;
    headers.set(toHeaderName(key, value), value);
  }
}

/** In the shared vocabulary; undefined for what it has no words for: described values, arrays, keys that are no text. */
export function toValue(item: Any): Value | undefined {
  if (item instanceof Described || item instanceof AmqpArray) return undefined;
  if (item instanceof AmqpMap) {
    const map = new Map<string, Value>();
    for (const [key, inner] of item.pairs) {
      const value = toValue(inner);
      if (typeof key !== 'string' || value === undefined) return undefined;
      map.set(key, value);
    }
    return map;
  }
  if (Array.isArray(item)) {
    const list = item.map(toValue);
    return list.includes(undefined) ? undefined : (list as Value[]);
  }
  return item as Value;
}

export function fromValue(value: Value): Any {
  if (value instanceof Map) return new AmqpMap([...value].map(([key, item]) => [key, fromValue(item)]));
  if (Array.isArray(value)) return value.map(fromValue);
  return value as Any;
}

const protocol = 'amqp-1.0';

function readReplyTo(text: string, message: Message): ReplyAddress {
  const address = { ...findReplyAddress(text), text, protocol };
  return message.replies?.resolve(address) ?? address;
}

function findReplyAddress(text: string): { exchange: string; key: string } {
  try {
    const address = parseAddress(text);
    if (address.kind === 'queue') return { exchange: '', key: address.name };
    if (address.kind === 'exchange') return { exchange: address.exchange, key: address.key ?? '' };
  } catch {
    // an address of somebody else's: shown as it is, and led to a queue of that name
  }
  return { exchange: '', key: text };
}

// — from the shared vocabulary ——————————————————————————————————————————————————————————————————————————————————————

function encodeProperties(properties: Properties, message: Message): Buffer {
  const headers = new Map(properties.headers);
  const residue = Residue.take(headers);
  const annotations: [Any, Any][] = [];
  const application: [Any, Any][] = [];
  const types: string[] = [];
  const said = keepUnspelled(properties, headers);
  if (said.appId !== undefined) annotations.push([symbol(appIdAnnotation), said.appId]);
  if (said.type !== undefined) annotations.push([symbol(typeAnnotation), said.type]);
  if (properties.textPayload !== undefined) annotations.push([symbol(textPayloadAnnotation), properties.textPayload]);
  const isDead = message.deaths.length > 0;
  for (const [name, value] of headers) {
    if (isDead && isDeathHeader(name)) continue;
    if (name === residueHeader) {
      if (typeof value === 'string') application.push([name, value]);
      continue;
    }
    const annotation = annotationOf(name, value);
    if (annotation !== undefined && isDead && isDeathHeader(annotation)) continue; // there once [§1.6.23]
    if (annotation !== undefined) annotations.push([symbol(annotation), fromValue(value)]);
    else addApplicationProperty(application, types, toPropertyName(name, value, headers), value);
  }
  if (types.length > 0) application.push([typesHeader, types.join(',')]);
  if (isDead) annotations.push(...deathAnnotations(message.deaths));
  annotations.push(...residue.annotations);
  application.push(...residue.applicationProperties);
  const isEncoded = properties.contentType === encodedBodyType;
  const shape =
    residue.shape.length > 0 ? residue.shape : isEncoded ? encodeShape('encoded', [], emptyBuffer) : emptyBuffer;
  return Buffer.concat([
    shape,
    section(SectionCode.header, encodeHeader(properties), 0x45),
    residue.delivery,
    mapSection(SectionCode.messageAnnotations, annotations),
    section(SectionCode.properties, encodeListOf(said, message, residue, isEncoded), 0x45),
    mapSection(SectionCode.applicationProperties, application),
  ]);
}

/** Symbols are ASCII, and strings UTF-8 [§1.6.20] [§1.6.21]. */
const isSymbol = (text: string): boolean => !/[^\0-\x7f]/.test(text);
const isString = (text: string): boolean => text.isWellFormed();
const spellsField = {
  contentType: isSymbol,
  contentEncoding: isSymbol,
  type: isString,
  appId: isString,
  subject: isString,
  to: isString,
  groupId: isString,
  replyToGroupId: isString,
  messageId: isString,
  correlationId: isString,
} as const satisfies Partial<Record<keyof Properties, (text: string) => boolean>>;

/**
 * What has no spelling goes into the residue: fields, headers with octets in their names, and those that would be
 * annotations of another meaning or with values that AMQP 1.0 has no type for.
 * @returns the fields that have one; `headers` keeps those that do
 */
function keepUnspelled(properties: Properties, headers: Map<string, Value>): Properties {
  const said = { ...properties };
  const fields = new UnspelledFields();
  for (const [field, spells] of Object.entries(spellsField) as [keyof typeof spellsField, typeof isString][]) {
    const text = properties[field];
    if (typeof text !== 'string' || spells(text)) continue;
    fields.add(field, text);
    delete said[field];
  }
  const unspelled = new Map<string, Value>();
  for (const [name, value] of headers) {
    if (name === residueHeader) continue;
    const annotation = annotationOf(name, value);
    const isLost = annotation === undefined ? !name.isWellFormed() : isTakenAnnotation(name, value) || !isNative(value);
    if (isLost) unspelled.set(name, value);
  }
  for (const name of unspelled.keys()) headers.delete(name);
  fields.keep(headers);
  keepHeaders(headers, unspelled);
  return said;
}

function isTakenAnnotation(header: string, value: Value): boolean {
  if (header === otherAnnotationPrefix + copiesAnnotation) return isCopies(value);
  return takenAnnotations.has(header) || headerOfAnnotation.has(header);
}

const takenAnnotations: ReadonlySet<string> = new Set([
  ...[appIdAnnotation, typeAnnotation, textPayloadAnnotation, deathsAnnotation],
  ...[exchangeAnnotation, routingKeyAnnotation].map((name) => otherAnnotationPrefix + name),
]);

/** True for what AMQP 1.0 has a type for, all through. */
function isNative(value: Value): boolean {
  if (typeof value === 'string') return value.isWellFormed();
  if (Array.isArray(value)) return value.every(isNative);
  if (value instanceof Map) return [...value].every(([name, item]) => name.isWellFormed() && isNative(item));
  if (value === null || typeof value === 'boolean' || Buffer.isBuffer(value) || !isTypedValue(value as Value))
    return true;
  const typed = value as TypedValue;
  if (typed.type === 'symbol') return isSymbol(typed.value);
  return typed.type !== 'decimal' && (typed.type !== 'timestamp' || typed.value < 2n ** 63n);
}

function annotationOf(header: string, value: Value): string | undefined {
  if (header === copiesHeader) return isCopies(value) ? copiesAnnotation : undefined;
  const mapped = annotationOfHeader.get(header);
  if (mapped !== undefined) return mapped;
  if (header.startsWith(otherAnnotationPrefix)) return header.slice(otherAnnotationPrefix.length);
  return header.startsWith(annotationPrefix) ? header : undefined;
}

// Application properties are simple values [§3.2.5]: a table or list travels as JSON.
function addApplicationProperty(pairs: [Any, Any][], types: string[], name: string, value: Value): void {
  const isSimple = !(value instanceof Map) && !Array.isArray(value) && isNative(value);
  if (isSimple) pairs.push([name, value as Any]);
  else {
    const { text, letter } = spell(value);
    pairs.push([name, text]);
    types.push(spellType(name, letter));
  }
}

function encodeHeader({ durable, priority, ttlMs }: Properties): Buffer {
  return listOf([
    durable ?? null,
    priority === undefined ? null : { type: 'ubyte', value: priority },
    ttlMs === undefined ? null : uint(Math.min(Math.max(Math.floor(ttlMs), 0), 0xffff_ffff)),
  ]);
}

function encodeListOf(properties: Properties, message: Message, residue: Residue, isEncoded: boolean): Buffer {
  const { userId, replyTo, contentType, timestampMs, groupSequence } = properties;
  const fields: Any[] = [
    idOf(properties.messageId),
    userId === undefined ? null : encodeText(userId),
    properties.to ?? null,
    properties.subject ?? null,
    replyTo === undefined ? null : showReplyTo(replyTo, message),
    idOf(properties.correlationId),
    contentType === undefined || isEncoded ? null : symbol(contentType),
    properties.contentEncoding === undefined ? null : symbol(properties.contentEncoding),
    null, // absolute-expiry-time is the publisher's own: only its residue has it
    timestampMs === undefined ? null : { type: 'timestamp', value: BigInt(Math.floor(timestampMs)) },
    properties.groupId ?? null,
    groupSequence === undefined ? null : uint(groupSequence >>> 0),
    properties.replyToGroupId ?? null,
  ];
  for (const [index, item] of residue.list) if (index < fields.length) fields[index] ??= item;
  return listOf(fields);
}

function idOf(id: Id | undefined): Any {
  if (id === undefined || typeof id === 'string' || Buffer.isBuffer(id)) return id ?? null;
  if (id.type === 'uuid' || id.type === 'ulong') return id;
  return Buffer.isBuffer(id.value) ? id.value : String(id.value);
}

function showReplyTo(address: ReplyAddress, message: Message): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  return queueAddress(message.replies.aliasQueueFor(address, message.publisher));
}

function listOf(fields: readonly Any[]): Buffer {
  const items = [...fields];
  while (items.length > 0 && items.at(-1) === null) items.pop();
  return encodeList(items.map(encodeValue));
}

// An empty one is left out.
function section(code: number, value: Buffer, empty: number): Buffer {
  if (value.length === 1 && value[0] === empty) return emptyBuffer;
  return Buffer.concat([Buffer.from([0, 0x53, code]), value]);
}

function mapSection(code: number, pairs: readonly (readonly [Any, Any])[]): Buffer {
  if (pairs.length === 0) return emptyBuffer;
  const encoded = pairs.map(([key, value]) => [encodeValue(key), encodeValue(value)] as const);
  return Buffer.concat([Buffer.from([0, 0x53, code]), encodeMap(encoded)]);
}

// — deaths ——————————————————————————————————————————————————————————————————————————————————————————————————————————

/** As RabbitMQ shows them: `x-opt-deaths`, an array of maps, the latest first, and the first and last in short. */
function deathAnnotations(deaths: readonly Death[]): [Any, Any][] {
  const last = deaths[0]!;
  const first = deaths.find((death) => death.first) ?? last;
  const inShort = (which: string, death: Death): [Any, Any][] => [
    [symbol(`x-${which}-death-queue`), death.queue],
    [symbol(`x-${which}-death-reason`), death.reason],
    [symbol(`x-${which}-death-exchange`), death.exchange],
  ];
  return [
    [symbol(deathsAnnotation), new AmqpArray(deaths.map(deathMap))],
    ...inShort('first', first),
    ...inShort('last', last),
  ];
}

function deathMap(death: Death): AmqpMap {
  const time: Any = { type: 'timestamp', value: BigInt(Math.floor(death.timeMs)) };
  const ttl: [Any, Any][] =
    death.originalTtlMs === undefined ? [] : [[symbol('ttl'), uint(Math.min(death.originalTtlMs, 0xffff_ffff))]];
  return new AmqpMap([
    [symbol('queue'), death.queue],
    [symbol('reason'), symbol(death.reason)],
    [symbol('count'), ulong(death.count)],
    [symbol('first-time'), time],
    [symbol('last-time'), time],
    [symbol('exchange'), death.exchange],
    [symbol('routing-keys'), new AmqpArray([...death.routingKeys])],
    ...ttl,
  ]);
}

/** The bare message stays as it is: deaths are annotations, and the time to live is spent. */
function encodeDead(native: Buffer, deaths: readonly Death[]): Buffer {
  const names = new Set(deathAnnotations(deaths).map(([key]) => textOf(key)));
  return withAnnotations(native, deathAnnotations(deaths), (name) => names.has(name), true);
}

/**
 * `native` with annotations added to its own.
 * @param drop the names of its own that are left out
 */
export function withAnnotations(
  native: Buffer,
  added: readonly (readonly [Any, Any])[],
  drop: (name: string | undefined) => boolean,
  isDead = false,
): Buffer {
  const shape = readShape(native)?.bytes ?? 0;
  const sections = new Sections();
  sections.read(native, shape, native.length);
  const own = readMap(native, sections.messageAnnotations);
  const kept = own.filter(([key]) => !drop(textOf(key)));
  const header = sections.header < 0 ? [] : (new Decoder(native, sections.header).read() as readonly Any[]);
  const [durable = null, priority = null, ttl = null] = header;
  return Buffer.concat([
    native.subarray(0, shape),
    section(SectionCode.header, listOf([durable, priority, isDead ? null : ttl]), 0x45),
    sections.deliveryAt < 0 ? emptyBuffer : native.subarray(sections.deliveryAt, sections.deliveryEnd),
    mapSection(SectionCode.messageAnnotations, [...kept, ...added]),
    native.subarray(sections.bareAt),
  ]);
}

/** Pairs of the map at `at`; none when it is absent or malformed. */
export function readMap(bytes: Buffer, at: number): readonly (readonly [Any, Any])[] {
  if (at < 0) return [];
  try {
    const map = new Decoder(bytes, at).read();
    return map instanceof AmqpMap ? map.pairs : [];
  } catch {
    return [];
  }
}

// — what has no place elsewhere ————————————————————————————————————————————————————————————————————————————————————

/**
 * What the other protocols have no words for, as one header of text: sections of a message in AMQP's own encoding, that
 * hold only what is missing, with the body's shape in front.
 */
class Residue {
  shape: Buffer = emptyBuffer;
  delivery: Buffer = emptyBuffer;
  annotations: [Any, Any][] = [];
  /** Items of the properties section by their places. */
  list = new Map<number, Any>();
  applicationProperties: [Any, Any][] = [];

  /** @returns false when there is no room for it */
  write(headers: Map<string, Value>): boolean {
    const places = [...this.list.keys()];
    const fields = Array.from({ length: Math.max(0, ...places.map((place) => place + 1)) }, (_, i) => this.list.get(i));
    const octets = Buffer.concat([
      this.shape,
      this.delivery,
      mapSection(SectionCode.messageAnnotations, this.annotations),
      section(SectionCode.properties, listOf(fields.map((field) => field ?? null)), 0x45),
      mapSection(SectionCode.applicationProperties, this.applicationProperties),
    ]);
    return octets.length === 0 || addResidue(headers, residuePart, octets);
  }

  /** What is no residue of ours is nothing, and so is what its sender could have said in clear. */
  static take(headers: Map<string, Value>): Residue {
    const residue = new Residue();
    const octets = takeResidue(headers, residuePart);
    if (octets === undefined) return residue;
    try {
      const shape = readShape(octets);
      const sections = new Sections();
      sections.read(octets, shape?.bytes ?? 0, octets.length);
      if (sections.header >= 0 || sections.bodySections > 0) return residue;
      const found = new Residue();
      if (shape !== null && isSound(shape)) found.shape = octets.subarray(0, shape.bytes);
      if (sections.deliveryAt >= 0) found.delivery = octets.subarray(sections.deliveryAt, sections.deliveryEnd);
      for (const [key, item] of readMap(octets, sections.messageAnnotations)) {
        const isOthers = isBrokerAnnotation(textOf(key)) || textOf(key) === deathsAnnotation;
        if (!isOthers && isUnshared(isSymbolKey(key), item)) found.annotations.push([key, item]);
      }
      for (const [key, item] of readMap(octets, sections.applicationProperties)) {
        if (isUnshared(typeof key === 'string', item)) found.applicationProperties.push([key, item]);
      }
      const list = sections.properties < 0 ? [] : (new Decoder(octets, sections.properties).read() as readonly Any[]);
      for (const [i, item] of list.entries()) if (item !== null && isUnsharedField(i, item)) found.list.set(i, item);
      return found;
    } catch {
      return residue;
    }
  }
}

function isUnshared(isNamed: boolean, item: Any): boolean {
  return !isNamed || toValue(item) === undefined;
}

function isSymbolKey(key: Any): boolean {
  return isTyped(key) && key.type === 'symbol';
}

// The content type is there beside a body that is encoded.
function isUnsharedField(index: number, item: Any): boolean {
  if (index === userIdField) return false;
  if (index === replyToField) return typeof item !== 'string';
  return index === contentTypeField || !decodeField(index, item, { headers: noHeaders });
}

// A footer is a footer, and segments are data sections; whether they fit the body is seen when it is written.
function isSound(shape: Shape): boolean {
  const sections = new Sections();
  sections.read(shape.footer, 0, shape.footer.length);
  if (shape.footer.length > 0 && (sections.footer < 0 || sections.bodySections > 0 || sections.bareAt > 0))
    return false;
  return shape.segments.every(({ prefix, bytes }) => isDataPrefix(prefix, bytes));
}

function isDataPrefix(prefix: Buffer, bytes: number): boolean {
  if (prefix.length < 5 || prefix[0] !== 0 || prefix[1] !== 0x53 || prefix[2] !== SectionCode.data) return false;
  if (prefix[3] === 0xa0) return prefix.length === 5 && prefix[4] === bytes;
  return prefix[3] === 0xb0 && prefix.length === 8 && prefix.readUInt32BE(4) === bytes;
}
