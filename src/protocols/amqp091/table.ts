import { type Headers, isTyped, nestingMax, type TypedValue, type Value } from '../../core/properties.ts';
import { decodeText, encodeText, internText, isText } from '../../lib/bytes.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { ProtocolError } from './errors.ts';
import { ReplyCode } from './spec.ts';

/**
 * Field tables, with the types of RabbitMQ's errata: the letters that the implementations use, which differ from the
 * specification's in `s` (int16), `l` (int64) and `L` (int64 too, when read).
 *
 *     table │ length u32 │ ( name shortstr │ letter │ value )*
 */

/** @throws ProtocolError 502 when the table is cut or of an unknown type */
export function decodeTable(bytes: Buffer, at: number, depth = 0): Headers {
  const end = at + 4 + bytes.readUInt32BE(at);
  if (end > bytes.length) throw new ProtocolError(ReplyCode.syntaxError, 'table is longer than its frame');
  const table = new Map<string, Value>();
  const cursor = { at: at + 4 };
  while (cursor.at < end) {
    const nameEnd = cursor.at + 1 + bytes.readUInt8(cursor.at);
    const name = internText(bytes, cursor.at + 1, nameEnd);
    cursor.at = nameEnd;
    table.set(name, decodeValue(bytes, cursor, end, depth));
  }
  if (cursor.at !== end) throw new ProtocolError(ReplyCode.syntaxError, 'a field reaches beyond its table');
  return table;
}

export function decodeValue(bytes: Buffer, cursor: { at: number }, end: number, depth: number): Value {
  if (depth > nestingMax) throw new ProtocolError(ReplyCode.syntaxError, 'field tables are nested too deeply');
  const letter = bytes.readUInt8(cursor.at);
  const at = cursor.at + 1;
  switch (letter) {
    case 0x74: // t
      cursor.at = at + 1;
      return bytes.readUInt8(at) !== 0;
    case 0x62: // b
      cursor.at = at + 1;
      return { type: 'byte', value: bytes.readInt8(at) };
    case 0x42: // B
      cursor.at = at + 1;
      return { type: 'ubyte', value: bytes.readUInt8(at) };
    case 0x73: // s
    case 0x55: // U
      cursor.at = at + 2;
      return { type: 'short', value: bytes.readInt16BE(at) };
    case 0x75: // u
      cursor.at = at + 2;
      return { type: 'ushort', value: bytes.readUInt16BE(at) };
    case 0x49: // I
      cursor.at = at + 4;
      return { type: 'int', value: bytes.readInt32BE(at) };
    case 0x69: // i
      cursor.at = at + 4;
      return { type: 'uint', value: bytes.readUInt32BE(at) };
    case 0x6c: // l
    case 0x4c: // L
      cursor.at = at + 8;
      return { type: 'long', value: bytes.readBigInt64BE(at) };
    case 0x66: // f
      cursor.at = at + 4;
      return { type: 'float', value: bytes.readFloatBE(at) };
    case 0x64: // d
      cursor.at = at + 8;
      return { type: 'double', value: bytes.readDoubleBE(at) };
    case 0x44: // D
      cursor.at = at + 5;
      return { type: 'decimal', scale: bytes.readUInt8(at), value: bytes.readInt32BE(at + 1) };
    case 0x54: // T, in seconds
      cursor.at = at + 8;
      return { type: 'timestamp', value: bytes.readBigUInt64BE(at) * 1000n };
    case 0x56: // V
      cursor.at = at;
      return null;
    case 0x53: // S
    case 0x78: {
      const textEnd = at + 4 + bytes.readUInt32BE(at);
      if (textEnd > end) throw new ProtocolError(ReplyCode.syntaxError, 'a field reaches beyond its table');
      cursor.at = textEnd;
      const isBinary = letter === 0x78 || !isText(bytes, at + 4, textEnd);
      return isBinary ? Buffer.from(bytes.subarray(at + 4, textEnd)) : decodeText(bytes, at + 4, textEnd);
    }
    case 0x46: {
      // F
      cursor.at = at + 4 + bytes.readUInt32BE(at);
      if (cursor.at > end) throw new ProtocolError(ReplyCode.syntaxError, 'a table reaches beyond its table');
      return decodeTable(bytes, at, depth + 1);
    }
    case 0x41: {
      // A
      const arrayEnd = at + 4 + bytes.readUInt32BE(at);
      if (arrayEnd > end) throw new ProtocolError(ReplyCode.syntaxError, 'an array reaches beyond its table');
      const items: Value[] = [];
      cursor.at = at + 4;
      while (cursor.at < arrayEnd) items.push(decodeValue(bytes, cursor, arrayEnd, depth + 1));
      if (cursor.at !== arrayEnd) throw new ProtocolError(ReplyCode.syntaxError, 'an item reaches beyond its array');
      return items;
    }
    default:
      throw new ProtocolError(ReplyCode.syntaxError, `unknown field type ${letter}`);
  }
}

/**
 * Walks the fields between `at` and `end` without decoding any: whoever decodes them later will find them whole.
 * @returns true if one of them is named CC or BCC
 * @throws ProtocolError 502 when a field is cut, or of an unknown type
 */
export function scanFields(bytes: Buffer, at: number, end: number, depth = 0): boolean {
  let copies = false;
  while (at < end) {
    const length = bytes[at]!;
    const last = at + length;
    // C is 0x43, B 0x42: both names end in CC
    if (length <= 3 && length >= 2 && bytes[last] === 0x43 && bytes[last - 1] === 0x43) {
      if (length === 2 || bytes[at + 1] === 0x42) copies = true;
    }
    at = skipValue(bytes, last + 1, end, depth);
  }
  if (at !== end) throw new ProtocolError(ReplyCode.syntaxError, 'a field reaches beyond its table');
  return copies;
}

/** The offset behind the value at `at`; it may lie beyond `end`. */
export function skipValue(bytes: Buffer, at: number, end: number, depth: number): number {
  if (at >= end) throw new ProtocolError(ReplyCode.syntaxError, 'a field reaches beyond its table');
  switch (bytes[at]) {
    case 0x56: // V
      return at + 1;
    case 0x74: // t
    case 0x62: // b
    case 0x42: // B
      return at + 2;
    case 0x73: // s
    case 0x55: // U
    case 0x75: // u
      return at + 3;
    case 0x49: // I
    case 0x69: // i
    case 0x66: // f
      return at + 5;
    case 0x44: // D
      return at + 6;
    case 0x6c: // l
    case 0x4c: // L
    case 0x64: // d
    case 0x54: // T
      return at + 9;
    case 0x53: // S
    case 0x78: // x
      return endOf(bytes, at, end);
    case 0x46: {
      // F
      const last = endOf(bytes, at, end);
      if (depth >= nestingMax) throw new ProtocolError(ReplyCode.syntaxError, 'field tables are nested too deeply');
      scanFields(bytes, at + 5, last, depth + 1);
      return last;
    }
    case 0x41: {
      // A
      const last = endOf(bytes, at, end);
      if (depth >= nestingMax) throw new ProtocolError(ReplyCode.syntaxError, 'field tables are nested too deeply');
      let item = at + 5;
      while (item < last) item = skipValue(bytes, item, last, depth + 1);
      if (item !== last) throw new ProtocolError(ReplyCode.syntaxError, 'an item reaches beyond its array');
      return last;
    }
    default:
      throw new ProtocolError(ReplyCode.syntaxError, `unknown field type ${bytes[at]}`);
  }
}

// Of a value with its length behind its letter.
function endOf(bytes: Buffer, at: number, end: number): number {
  const last = at + 5 <= end ? at + 5 + bytes.readUInt32BE(at + 1) : Number.POSITIVE_INFINITY;
  if (last > end) throw new ProtocolError(ReplyCode.syntaxError, 'a field reaches beyond its table');
  return last;
}

/** The fields of the table at `at` as they are, without those that `drop` names. @returns no length before them */
export function withoutFields(bytes: Buffer, at: number, drop: (name: string) => boolean): Buffer {
  const end = at + 4 + bytes.readUInt32BE(at);
  const cursor = { at: at + 4 };
  const kept: Buffer[] = [];
  while (cursor.at < end) {
    const start = cursor.at;
    cursor.at += 1 + bytes.readUInt8(start);
    const name = decodeText(bytes, start + 1, cursor.at);
    decodeValue(bytes, cursor, end, 0);
    if (!drop(name)) kept.push(bytes.subarray(start, cursor.at));
  }
  return Buffer.concat(kept);
}

export function encodeTable(table: Headers): Buffer {
  writer.begin();
  writeTable(writer, table);
  return writer.end();
}

const writer = new OctetWriter();

/** The table behind its length. */
export function writeTable(out: OctetWriter, table: Headers): void {
  const lengthAt = out.skip(4);
  for (const [name, value] of table) {
    const nameAt = out.skip(1);
    out.text(name);
    const length = out.at - nameAt - 1;
    // A name over 255 octets has no spelling here; the caller has counted it.
    if (length > 255) out.at = nameAt;
    else {
      out.bytes[nameAt] = length;
      writeValue(out, value);
    }
  }
  out.bytes.writeUInt32BE(out.at - lengthAt - 4, lengthAt);
}

function writeValue(out: OctetWriter, value: Value): void {
  if (typeof value === 'string') {
    out.u8(0x53); // S
    out.text32(value);
  } else if (value === null)
    out.u8(0x56); // V
  else if (typeof value === 'boolean') {
    out.u8(0x74); // t
    out.u8(value ? 1 : 0);
  } else if (Buffer.isBuffer(value)) {
    out.u8(0x78); // x
    out.u32(value.length);
    out.raw(value);
  } else if (isTyped(value)) out.raw(encodeTyped(value));
  else if (value instanceof Map) {
    out.u8(0x46); // F
    writeTable(out, value);
  } else {
    out.u8(0x41); // A
    const lengthAt = out.skip(4);
    for (const item of value as readonly Value[]) writeValue(out, item);
    out.bytes.writeUInt32BE(out.at - lengthAt - 4, lengthAt);
  }
}

function encodeTyped(value: TypedValue): Buffer {
  const out = Buffer.alloc(9);
  switch (value.type) {
    case 'byte':
      out.writeInt8(value.value, 1);
      return lettered(out, 'b', 2);
    case 'ubyte':
      out.writeUInt8(value.value, 1);
      return lettered(out, 'B', 2);
    case 'short':
      out.writeInt16BE(value.value, 1);
      return lettered(out, 's', 3);
    case 'ushort':
      out.writeUInt16BE(value.value, 1);
      return lettered(out, 'u', 3);
    case 'int':
      out.writeInt32BE(value.value, 1);
      return lettered(out, 'I', 5);
    case 'uint':
      out.writeUInt32BE(value.value, 1);
      return lettered(out, 'i', 5);
    case 'long':
      out.writeBigInt64BE(value.value, 1);
      return lettered(out, 'l', 9);
    case 'ulong':
      out.writeBigInt64BE(BigInt.asIntN(64, value.value), 1);
      return lettered(out, 'l', 9);
    case 'float':
      out.writeFloatBE(value.value, 1);
      return lettered(out, 'f', 5);
    case 'double':
      out.writeDoubleBE(value.value, 1);
      return lettered(out, 'd', 9);
    case 'decimal':
      out.writeUInt8(value.scale, 1);
      out.writeInt32BE(value.value, 2);
      return lettered(out, 'D', 6);
    case 'timestamp':
      out.writeBigUInt64BE(BigInt.asUintN(64, value.value / 1000n), 1);
      return lettered(out, 'T', 9);
    case 'char':
    case 'symbol':
      return withLetter('S', withLength(encodeText(value.value)));
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return withLetter('x', withLength(value.value));
  }
}

function lettered(out: Buffer, letter: string, length: number): Buffer {
  out[0] = letter.charCodeAt(0);
  return out.subarray(0, length);
}

function withLetter(letter: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from(letter, 'latin1'), value]);
}

function withLength(value: Buffer): Buffer {
  const out = Buffer.allocUnsafe(4 + value.length);
  out.writeUInt32BE(value.length);
  value.copy(out, 4);
  return out;
}
