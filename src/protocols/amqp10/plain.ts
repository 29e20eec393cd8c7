import { type PlainForm, type PlainParts, PlainPlace } from '../../core/plain-message.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { SectionCode } from './sections.ts';

const Code = {
  ...{ null: 0x40, true: 0x41, false: 0x42, list0: 0x45, ubyte: 0x50, timestamp: 0x83 },
  ...{ sym8: 0xa3, str8: 0xa1, str32: 0xb1 },
} as const;
const CompoundCode = { list8: 0xc0, list32: 0xd0, map8: 0xc1, map32: 0xd1 } as const;

/** What the items of the properties section are, in their order; null for what plain messages do not say. */
const items = [
  ...[PlainPlace.messageId, null, null, null, null, PlainPlace.correlationId],
  ...[PlainPlace.contentType, PlainPlace.contentEncoding, null, PlainPlace.timestamp],
] as const;
/** Fields that are annotations. */
const annotations = [
  [PlainPlace.appId, Buffer.from('x-opt-app-id')],
  [PlainPlace.type, Buffer.from('x-opt-type')],
] as const;
/** In the upper half of a timestamp, what a number of JavaScript counts exactly. */
const timestampHighMax = 0x1f_ffff;

const out = new OctetWriter();
/** Of the list or map that was opened last. */
const compound = { at: 0, end: 0, count: 0 };

/**
 * A header with `durable` and a priority, properties with content type and encoding, ids of text and a creation time, and
 * application properties of text.
 * @param encodedBodyType the content type that says something of the body's encoding
 */
export function createPlain(isReserved: (name: string) => boolean, encodedBodyType: string): PlainForm {
  const special = Buffer.from(encodedBodyType);
  return {
    protocol: 'amqp-1.0',

    placeOf: (name) => (isReserved(name) ? PlainPlace.refused : PlainPlace.header),

    read(message, parts) {
      const { bytes, nativeEnd } = message;
      for (let at = message.nativeStart; at < nativeEnd; at = compound.end) {
        if (bytes[at] !== 0 || bytes[at + 1] !== 0x53 || !open(bytes, at + 3, nativeEnd)) return false;
        switch (bytes[at + 2]) {
          case SectionCode.header:
            if (!readHeader(parts)) return false;
            break;
          case SectionCode.properties:
            if (!readList(parts)) return false;
            break;
          case SectionCode.applicationProperties:
            if (!readMap(parts)) return false;
            break;
          default:
            return false;
        }
      }
      return true;
    },

    write(parts) {
      const { bytes, durable, priority } = parts;
      const [typeAt, typeEnd] = [parts.fieldAt[PlainPlace.contentType]!, parts.fieldEnd[PlainPlace.contentType]!];
      if (typeAt >= 0 && typeEnd - typeAt === special.length && special.equals(bytes.subarray(typeAt, typeEnd))) {
        return undefined;
      }
      if (parts.hasLongField) return undefined;
      out.begin();
      if (durable !== undefined || priority >= 0) {
        beginSection(SectionCode.header);
        beginCompound(CompoundCode.list8, CompoundCode.list32, priority < 0 ? 1 : 2, priority < 0 ? 1 : 3);
        out.u8(durable === undefined ? Code.null : durable ? Code.true : Code.false);
        if (priority >= 0) {
          out.u8(Code.ubyte);
          out.u8(priority);
        }
      }
      writeAnnotations(parts);
      writeList(parts);
      if (parts.headers > 0) writeMap(parts);
      return out.end();
    },
  };
}

// Items are read by whoever wants them; false for what is no list or map that fits.
function open(bytes: Buffer, at: number, end: number): boolean {
  switch (bytes[at]) {
    case Code.list0:
      compound.at = at + 1;
      compound.end = at + 1;
      compound.count = 0;
      return true;
    case CompoundCode.list8:
    case CompoundCode.map8:
      if (at + 3 > end) return false;
      compound.at = at + 3;
      compound.end = at + 2 + bytes[at + 1]!;
      compound.count = bytes[at + 2]!;
      break;
    case CompoundCode.list32:
    case CompoundCode.map32:
      if (at + 9 > end) return false;
      compound.at = at + 9;
      compound.end = at + 5 + bytes.readUInt32BE(at + 1);
      compound.count = bytes.readUInt32BE(at + 5);
      break;
    default:
      return false;
  }
  return compound.at <= compound.end && compound.end <= end;
}

// Durable, a priority, and nothing else.
function readHeader(parts: PlainParts): boolean {
  const { bytes } = parts;
  const { end, count } = compound;
  let { at } = compound;
  for (let i = 0; i < count; i++) {
    if (at >= end) return false;
    const code = bytes[at++];
    if (code === Code.null) continue;
    if (i === 0 && (code === Code.true || code === Code.false)) parts.durable = code === Code.true;
    else if (i === 1 && code === Code.ubyte && at < end) parts.priority = bytes[at++]!;
    else return false;
  }
  return at === end;
}

function readList(parts: PlainParts): boolean {
  const { bytes } = parts;
  const { end, count } = compound;
  let { at } = compound;
  for (let i = 0; i < count; i++) {
    if (at >= end) return false;
    const code = bytes[at++]!;
    if (code === Code.null) continue;
    const place = items[i] ?? PlainPlace.refused;
    if (place === PlainPlace.timestamp) {
      if (code !== Code.timestamp || at + 8 > end || bytes.readUInt32BE(at) > timestampHighMax) return false;
      parts.timestampMs = bytes.readUInt32BE(at) * 0x1_0000_0000 + bytes.readUInt32BE(at + 4);
      at += 8;
      continue;
    }
    if (code !== codeOf(place) || at >= end) return false;
    const textEnd = at + 1 + bytes[at]!;
    if (textEnd > end || !parts.setField(place, at + 1, textEnd)) return false;
    at = textEnd;
  }
  return at === end;
}

// Symbols are for what other specifications have a register of.
function codeOf(place: PlainPlace): number {
  return place === PlainPlace.contentType || place === PlainPlace.contentEncoding ? Code.sym8 : Code.str8;
}

function readMap(parts: PlainParts): boolean {
  const { bytes } = parts;
  const { end, count } = compound;
  let { at } = compound;
  for (let i = 0; i < count; i += 2) {
    if (at + 2 > end || bytes[at] !== Code.str8) return false;
    const nameEnd = at + 2 + bytes[at + 1]!;
    if (nameEnd + 2 > end) return false;
    let valueAt = nameEnd + 2;
    let valueEnd = valueAt + bytes[nameEnd + 1]!;
    if (bytes[nameEnd] === Code.str32) {
      if (nameEnd + 5 > end) return false;
      valueAt = nameEnd + 5;
      valueEnd = valueAt + bytes.readUInt32BE(nameEnd + 1);
    } else if (bytes[nameEnd] !== Code.str8) return false;
    if (valueEnd > end || !parts.addHeader(at + 2, nameEnd, valueAt, valueEnd)) return false;
    at = valueEnd;
  }
  return at === end && count % 2 === 0;
}

function beginSection(code: number): void {
  out.u8(0);
  out.u8(0x53);
  out.u8(code);
}

function beginCompound(short: number, long: number, count: number, itemBytes: number): void {
  if (count <= 255 && itemBytes + 1 <= 255) {
    out.u8(short);
    out.u8(itemBytes + 1);
    out.u8(count);
  } else {
    out.u8(long);
    out.u32(itemBytes + 4);
    out.u32(count);
  }
}

function writeAnnotations(parts: PlainParts): void {
  let count = 0;
  let itemBytes = 0;
  for (const [place, name] of annotations) {
    if (!parts.hasField(place)) continue;
    count += 2;
    itemBytes += 2 + name.length + 2 + parts.fieldBytes(place);
  }
  if (count === 0) return;
  beginSection(SectionCode.messageAnnotations);
  beginCompound(CompoundCode.map8, CompoundCode.map32, count, itemBytes);
  for (const [place, name] of annotations) {
    if (!parts.hasField(place)) continue;
    out.u8(Code.sym8);
    out.u8(name.length);
    out.raw(name);
    writeString(parts.bytes, parts.fieldAt[place]!, parts.fieldEnd[place]!);
  }
}

// Nulls stand in for what is not said in front of the last that is.
function writeList(parts: PlainParts): void {
  let count = 0;
  for (let i = 0; i < items.length; i++) if (isSaid(parts, items[i]!)) count = i + 1;
  if (count === 0) return;
  let itemBytes = 0;
  for (let i = 0; i < count; i++) itemBytes += itemBytesOf(parts, items[i]!);
  beginSection(SectionCode.properties);
  beginCompound(CompoundCode.list8, CompoundCode.list32, count, itemBytes);
  for (let i = 0; i < count; i++) writeItem(parts, items[i]!);
}

function isSaid(parts: PlainParts, place: PlainPlace | null): boolean {
  if (place === null) return false;
  return place === PlainPlace.timestamp ? parts.timestampMs >= 0 : parts.hasField(place);
}

function itemBytesOf(parts: PlainParts, place: PlainPlace | null): number {
  if (place === null || !isSaid(parts, place)) return 1;
  return place === PlainPlace.timestamp ? 9 : 2 + parts.fieldBytes(place);
}

function writeItem(parts: PlainParts, place: PlainPlace | null): void {
  if (place === null || !isSaid(parts, place)) out.u8(Code.null);
  else if (place === PlainPlace.timestamp) {
    out.u8(Code.timestamp);
    out.u64(parts.timestampMs);
  } else {
    out.u8(codeOf(place));
    out.u8(parts.fieldBytes(place));
    out.range(parts.bytes, parts.fieldAt[place]!, parts.fieldEnd[place]!);
  }
}

function writeMap(parts: PlainParts): void {
  const { bytes, headers } = parts;
  let itemBytes = 0;
  for (let i = 0; i < headers; i++) {
    const length = parts.valueEnd[i]! - parts.valueAt[i]!;
    itemBytes += 2 + parts.nameEnd[i]! - parts.nameAt[i]! + (length <= 255 ? 2 : 5) + length;
  }
  beginSection(SectionCode.applicationProperties);
  beginCompound(CompoundCode.map8, CompoundCode.map32, headers * 2, itemBytes);
  for (let i = 0; i < headers; i++) {
    writeString(bytes, parts.nameAt[i]!, parts.nameEnd[i]!);
    writeString(bytes, parts.valueAt[i]!, parts.valueEnd[i]!);
  }
}

function writeString(bytes: Buffer, at: number, end: number): void {
  const length = end - at;
  if (length <= 255) {
    out.u8(Code.str8);
    out.u8(length);
  } else {
    out.u8(Code.str32);
    out.u32(length);
  }
  out.range(bytes, at, end);
}
