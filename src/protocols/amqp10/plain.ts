import type { PlainForm, PlainParts } from '../../core/plain-message.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { SectionCode } from './sections.ts';

const Code = { null: 0x40, true: 0x41, false: 0x42, list0: 0x45, sym8: 0xa3, str8: 0xa1, str32: 0xb1 } as const;
const CompoundCode = { list8: 0xc0, list32: 0xd0, map8: 0xc1, map32: 0xd1 } as const;

/** Place of the content type in the properties section. */
const contentTypePlace = 6;

const out = new OctetWriter();
/** Of the list or map that was opened last. */
const compound = { at: 0, end: 0, count: 0 };

/**
 * A header with `durable`, properties with a content type, and application properties of text.
 * @param encodedBodyType the content type that says something of the body's encoding
 */
export function createPlain(isReserved: (name: string) => boolean, encodedBodyType: string): PlainForm {
  const special = Buffer.from(encodedBodyType);
  return {
    protocol: 'amqp-1.0',

    isPlainName: (name) => !isReserved(name),

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
      const { bytes, contentTypeAt, contentTypeEnd } = parts;
      const typeBytes = contentTypeEnd - contentTypeAt;
      if (typeBytes > 240) return undefined;
      if (typeBytes === special.length && special.equals(bytes.subarray(contentTypeAt, contentTypeEnd))) {
        return undefined;
      }
      out.begin();
      if (parts.durable !== undefined) {
        beginSection(SectionCode.header);
        beginCompound(CompoundCode.list8, CompoundCode.list32, 1, 1);
        out.u8(parts.durable ? Code.true : Code.false);
      }
      if (contentTypeAt >= 0) {
        beginSection(SectionCode.properties);
        beginCompound(CompoundCode.list8, CompoundCode.list32, contentTypePlace + 1, contentTypePlace + 2 + typeBytes);
        for (let i = 0; i < contentTypePlace; i++) out.u8(Code.null);
        out.u8(Code.sym8);
        out.u8(typeBytes);
        out.range(bytes, contentTypeAt, contentTypeEnd);
      }
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

// Durable, and nothing else.
function readHeader(parts: PlainParts): boolean {
  const { at, end, count } = compound;
  if (end - at !== count) return false;
  for (let i = 0; i < count; i++) {
    const code = parts.bytes[at + i];
    if (code === Code.null) continue;
    if (i > 0 || (code !== Code.true && code !== Code.false)) return false;
    parts.durable = code === Code.true;
  }
  return true;
}

// The content type, and nothing else.
function readList(parts: PlainParts): boolean {
  const { bytes } = parts;
  const { end, count } = compound;
  let { at } = compound;
  for (let i = 0; i < count; i++) {
    if (at >= end) return false;
    if (bytes[at] === Code.null) at += 1;
    else if (i !== contentTypePlace || bytes[at] !== Code.sym8 || at + 2 > end) return false;
    else {
      const typeEnd = at + 2 + bytes[at + 1]!;
      if (typeEnd > end || !parts.setContentType(at + 2, typeEnd)) return false;
      at = typeEnd;
    }
  }
  return at === end;
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
