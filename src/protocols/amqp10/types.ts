import { nestingMax, type TypedValue } from '../../core/properties.ts';
import { decodeText, encodeText } from '../../lib/bytes.ts';
import { decodeError } from './errors.ts';

/**
 * The type system [AMQP 1.0 part 1]: a constructor octet says how what follows is encoded, and its upper half how long
 * that is, so that a value of any type can be skipped.
 *
 *     0x4_ nothing   0x5_ 1   0x6_ 2   0x7_ 4   0x8_ 8   0x9_ 16 octets
 *     0xa_ size u8   0xb_ size u32      0xc_ 0xe_ size u8, count   0xd_ 0xf_ size u32, count
 *     0x00 a descriptor and a value, each with a constructor of its own
 */
export type Any = null | boolean | string | Buffer | TypedValue | readonly Any[] | AmqpMap | AmqpArray | Described;

/** A value whose meaning its descriptor gives: a code, or a symbol. */
export class Described {
  readonly descriptor: bigint | string;
  readonly value: Any;

  constructor(descriptor: bigint | string, value: Any) {
    this.descriptor = descriptor;
    this.value = value;
  }
}

/** Keys may be of any type; pairs in their order. */
export class AmqpMap {
  readonly pairs: readonly (readonly [key: Any, value: Any])[];

  constructor(pairs: readonly (readonly [key: Any, value: Any])[]) {
    this.pairs = pairs;
  }

  /** The value under a text, string or symbol. */
  get(name: string): Any | undefined {
    for (const [key, value] of this.pairs) if (textOf(key) === name) return value;
    return undefined;
  }
}

/** Items of one type: their constructor is written once. */
export class AmqpArray {
  readonly items: readonly Any[];

  constructor(items: readonly Any[]) {
    this.items = items;
  }
}

export function symbol(value: string): TypedValue {
  return { type: 'symbol', value };
}

export function uint(value: number): TypedValue {
  return { type: 'uint', value };
}

export function ulong(value: number): TypedValue {
  return { type: 'ulong', value: BigInt(value) };
}

/** Text of a string or symbol; undefined for anything else. */
export function textOf(value: Any | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return isTyped(value) && value.type === 'symbol' ? value.value : undefined;
}

/** An integer of any width, as a number; undefined for anything else. */
export function integerOf(value: Any | undefined): number | undefined {
  if (!isTyped(value)) return undefined;
  switch (value.type) {
    case 'byte':
    case 'ubyte':
    case 'short':
    case 'ushort':
    case 'int':
    case 'uint':
      return value.value;
    case 'long':
    case 'ulong':
      return Number(value.value);
    default:
      return undefined;
  }
}

export function isTyped(value: Any | undefined): value is TypedValue {
  return typeof value === 'object' && value !== null && 'type' in value;
}

// — decoding ————————————————————————————————————————————————————————————————————————————————————————————————————————

/** Items of arrays that take no octets, in one value: they could be announced without end. */
const emptyItemsMax = 65_536;

/**
 * The offset behind the value at `at`.
 * @throws AmqpError decode-error when it reaches beyond `end`
 */
export function skipValue(bytes: Buffer, at: number, end: number): number {
  for (let depth = 0; bytes[at] === 0 && at < end; depth++) {
    if (depth > nestingMax) throw decodeError('values are described too deeply');
    at = at + 1 < end ? skipPlain(bytes, at + 1, end) : end; // a descriptor is not described itself
  }
  const next = at < end ? skipPlain(bytes, at, end) : end + 1;
  if (next > end) throw decodeError('a value is cut');
  return next;
}

/** The same, of a value without a descriptor; an offset beyond `end` when it is cut. */
export function skipPlain(bytes: Buffer, at: number, end: number): number {
  const code = bytes[at]!;
  switch (code >> 4) {
    case 0x4:
      return at + 1;
    case 0x5:
      return at + 2;
    case 0x6:
      return at + 3;
    case 0x7:
      return at + 5;
    case 0x8:
      return at + 9;
    case 0x9:
      return at + 17;
    case 0xa:
    case 0xc:
    case 0xe:
      return at + 2 <= end ? at + 2 + bytes[at + 1]! : end + 1;
    case 0xb:
    case 0xd:
    case 0xf:
      return at + 5 <= end ? at + 5 + bytes.readUInt32BE(at + 1) : end + 1;
    default:
      throw decodeError(`unknown form 0x${code.toString(16).padStart(2, '0')}`);
  }
}

/** Reads values one behind the other; binaries are copies. */
export class Decoder {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;
  private depth = 0;
  private emptyItems = 0;

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** @throws AmqpError decode-error */
  read(): Any {
    const next = skipValue(this.bytes, this.at, this.end); // from here on nothing is cut
    const value = this.readAny();
    if (this.at !== next) throw decodeError('a value is not of its size');
    return value;
  }

  private readAny(): Any {
    const code = this.take();
    if (code !== 0) return this.readPlain(code);
    this.enter();
    const descriptor = descriptorOf(this.readAny());
    const value = this.readAny();
    this.depth -= 1;
    return new Described(descriptor, value);
  }

  private take(): number {
    if (this.at >= this.end) throw decodeError('a value is cut');
    return this.bytes[this.at++]!;
  }

  private enter(): void {
    this.depth += 1;
    if (this.depth > nestingMax) throw decodeError('values are nested too deeply');
  }

  private advance(bytes: number): number {
    const { at } = this;
    if (at + bytes > this.end) throw decodeError('a value is cut');
    this.at += bytes;
    return at;
  }

  private readPlain(code: number): Any {
    const { bytes } = this;
    switch (code) {
      case 0x40:
        return null;
      case 0x41:
        return true;
      case 0x42:
        return false;
      case 0x43:
        return { type: 'uint', value: 0 };
      case 0x44:
        return { type: 'ulong', value: 0n };
      case 0x45:
        return [];
      case 0x50:
        return { type: 'ubyte', value: bytes.readUInt8(this.advance(1)) };
      case 0x51:
        return { type: 'byte', value: bytes.readInt8(this.advance(1)) };
      case 0x52:
        return { type: 'uint', value: bytes.readUInt8(this.advance(1)) };
      case 0x53:
        return { type: 'ulong', value: BigInt(bytes.readUInt8(this.advance(1))) };
      case 0x54:
        return { type: 'int', value: bytes.readInt8(this.advance(1)) };
      case 0x55:
        return { type: 'long', value: BigInt(bytes.readInt8(this.advance(1))) };
      case 0x56: {
        const octet = bytes.readUInt8(this.advance(1));
        if (octet > 1) throw decodeError(`boolean of octet ${octet}`);
        return octet === 1;
      }
      case 0x60:
        return { type: 'ushort', value: bytes.readUInt16BE(this.advance(2)) };
      case 0x61:
        return { type: 'short', value: bytes.readInt16BE(this.advance(2)) };
      case 0x70:
        return { type: 'uint', value: bytes.readUInt32BE(this.advance(4)) };
      case 0x71:
        return { type: 'int', value: bytes.readInt32BE(this.advance(4)) };
      case 0x72:
        return { type: 'float', value: bytes.readFloatBE(this.advance(4)) };
      case 0x73:
        return { type: 'char', value: readChar(bytes.readUInt32BE(this.advance(4))) };
      case 0x74:
        return { type: 'decimal32', value: this.copy(4) };
      case 0x80:
        return { type: 'ulong', value: bytes.readBigUInt64BE(this.advance(8)) };
      case 0x81:
        return { type: 'long', value: bytes.readBigInt64BE(this.advance(8)) };
      case 0x82:
        return { type: 'double', value: bytes.readDoubleBE(this.advance(8)) };
      case 0x83:
        return { type: 'timestamp', value: bytes.readBigInt64BE(this.advance(8)) };
      case 0x84:
        return { type: 'decimal64', value: this.copy(8) };
      case 0x94:
        return { type: 'decimal128', value: this.copy(16) };
      case 0x98:
        return { type: 'uuid', value: this.copy(16) };
      case 0xa0:
        return this.copy(bytes.readUInt8(this.advance(1)));
      case 0xb0:
        return this.copy(bytes.readUInt32BE(this.advance(4)));
      case 0xa1:
        return this.text(bytes.readUInt8(this.advance(1)));
      case 0xb1:
        return this.text(bytes.readUInt32BE(this.advance(4)));
      case 0xa3:
        return symbol(this.text(bytes.readUInt8(this.advance(1))));
      case 0xb3:
        return symbol(this.text(bytes.readUInt32BE(this.advance(4))));
      case 0xc0:
        return this.readItems(bytes.readUInt8(this.advance(1)), bytes.readUInt8(this.advance(1)), 1);
      case 0xd0:
        return this.readItems(bytes.readUInt32BE(this.advance(4)), bytes.readUInt32BE(this.advance(4)), 4);
      case 0xc1:
        return this.readMap(bytes.readUInt8(this.advance(1)), bytes.readUInt8(this.advance(1)), 1);
      case 0xd1:
        return this.readMap(bytes.readUInt32BE(this.advance(4)), bytes.readUInt32BE(this.advance(4)), 4);
      case 0xe0:
        return this.readArray(bytes.readUInt8(this.advance(1)), bytes.readUInt8(this.advance(1)), 1);
      case 0xf0:
        return this.readArray(bytes.readUInt32BE(this.advance(4)), bytes.readUInt32BE(this.advance(4)), 4);
      default:
        throw decodeError(`unknown form 0x${code.toString(16).padStart(2, '0')}`);
    }
  }

  private copy(length: number): Buffer {
    const at = this.advance(length);
    return Buffer.from(this.bytes.subarray(at, at + length));
  }

  private text(length: number): string {
    const at = this.advance(length);
    return decodeText(this.bytes, at, at + length);
  }

  // Size counts the octets behind itself: the count, whose width is given, and the items.
  private readItems(size: number, count: number, countBytes: number): Any[] {
    const end = this.endOf(size, countBytes);
    if (count > end - this.at) throw decodeError(`${count} items in ${size} octets`);
    this.enter();
    const items: Any[] = [];
    for (let i = 0; i < count; i++) items.push(this.readAny());
    this.leave(end);
    return items;
  }

  private readMap(size: number, count: number, countBytes: number): AmqpMap {
    if (count % 2 !== 0) throw decodeError('a map with a key without value');
    const items = this.readItems(size, count, countBytes);
    const pairs: [Any, Any][] = [];
    for (let i = 0; i < items.length; i += 2) pairs.push([items[i]!, items[i + 1]!]);
    return new AmqpMap(pairs);
  }

  private readArray(size: number, count: number, countBytes: number): AmqpArray {
    const end = this.endOf(size, countBytes);
    this.enter();
    let descriptor: bigint | string | null = null;
    let code = this.take();
    if (code === 0) {
      descriptor = descriptorOf(this.readAny());
      code = this.take();
      if (code === 0) throw decodeError('items of an array are described twice');
    }
    if (code >> 4 === 4) this.emptyItems += count;
    else if (count > end - this.at) throw decodeError(`${count} items in ${size} octets`);
    if (this.emptyItems > emptyItemsMax) throw decodeError(`more than ${emptyItemsMax} items that take no octets`);
    const items: Any[] = [];
    for (let i = 0; i < count; i++) {
      const item = this.readPlain(code);
      items.push(descriptor === null ? item : new Described(descriptor, item));
    }
    this.leave(end);
    return new AmqpArray(items);
  }

  private endOf(size: number, countBytes: number): number {
    const end = this.at - countBytes + size;
    if (size < countBytes || end > this.end) throw decodeError('a compound value is cut');
    return end;
  }

  private leave(end: number): void {
    if (this.at !== end) throw decodeError('a compound value is not of its size');
    this.depth -= 1;
  }
}

function descriptorOf(value: Any): bigint | string {
  if (isTyped(value) && (value.type === 'ulong' || value.type === 'symbol')) return value.value;
  throw decodeError('a descriptor that is neither code nor symbol');
}

function readChar(point: number): string {
  if (point > 0x10_ffff) throw decodeError(`no character ${point}`);
  return String.fromCodePoint(point);
}

// — encoding ————————————————————————————————————————————————————————————————————————————————————————————————————————

/** The shortest encoding. @returns octets of their own */
export function encodeValue(value: Any): Buffer {
  if (value === null) return Buffer.from([0x40]);
  if (typeof value === 'boolean') return Buffer.from([value ? 0x41 : 0x42]);
  if (typeof value === 'string') return sized(0xa1, 0xb1, encodeText(value));
  if (Buffer.isBuffer(value)) return sized(0xa0, 0xb0, value);
  if (value instanceof Described) {
    const descriptor = typeof value.descriptor === 'string' ? symbol(value.descriptor) : value.descriptor;
    const encoded = typeof descriptor === 'bigint' ? encodeUlong(descriptor) : encodeValue(descriptor);
    return Buffer.concat([Buffer.from([0]), encoded, encodeValue(value.value)]);
  }
  if (value instanceof AmqpMap)
    return encodeMap(value.pairs.map(([key, item]) => [encodeValue(key), encodeValue(item)]));
  if (value instanceof AmqpArray) return encodeArray(value.items);
  if (isTyped(value)) return encodeTyped(value);
  return encodeList((value as readonly Any[]).map(encodeValue));
}

/** A list of items that are encoded already. */
export function encodeList(items: readonly Buffer[]): Buffer {
  return items.length === 0 ? Buffer.from([0x45]) : compound(0xc0, 0xd0, items.length, Buffer.concat(items));
}

export function encodeMap(pairs: readonly (readonly [key: Buffer, value: Buffer])[]): Buffer {
  return compound(0xc1, 0xd1, pairs.length * 2, Buffer.concat(pairs.flat()));
}

function compound(short: number, long: number, count: number, items: Buffer): Buffer {
  const isShort = count <= 255 && items.length + 1 <= 255;
  const head = Buffer.alloc(isShort ? 3 : 9);
  if (isShort) {
    head[0] = short;
    head[1] = items.length + 1;
    head[2] = count;
  } else {
    head[0] = long;
    head.writeUInt32BE(items.length + 4, 1);
    head.writeUInt32BE(count, 5);
  }
  return Buffer.concat([head, items]);
}

function sized(short: number, long: number, octets: Buffer): Buffer {
  const isShort = octets.length <= 255;
  const head = Buffer.alloc(isShort ? 2 : 5);
  if (isShort) {
    head[0] = short;
    head[1] = octets.length;
  } else {
    head[0] = long;
    head.writeUInt32BE(octets.length, 1);
  }
  return Buffer.concat([head, octets]);
}

// Items of an array share one constructor: the widest of their type.
function encodeArray(items: readonly Any[]): Buffer {
  const first = items[0];
  let form: Buffer = Buffer.from([0x40]);
  let bodies: Buffer[] = [];
  if (first instanceof Described) {
    const described = items as readonly Described[];
    const descriptor = encodeValue(new Described(first.descriptor, null)).subarray(0, -1);
    const [code, ...rest] = wide(described.map(({ value }) => value));
    form = Buffer.concat([descriptor, code as Buffer]);
    bodies = rest;
  } else if (first !== undefined) {
    const [code, ...rest] = wide(items);
    form = code as Buffer;
    bodies = rest;
  }
  return compound(0xe0, 0xf0, items.length, Buffer.concat([form, ...bodies]));
}

// The constructor, then the octets of each item.
function wide(items: readonly Any[]): Buffer[] {
  const encoded = items.map(encodeWide);
  const code = encoded[0]![0]!;
  if (encoded.some((item) => item[0] !== code)) throw new Error('items of an array are of one type');
  return [Buffer.from([code]), ...encoded.map((item) => item.subarray(1))];
}

function encodeWide(value: Any): Buffer {
  if (typeof value === 'boolean') return Buffer.from([0x56, value ? 1 : 0]);
  if (typeof value === 'string') return withLength(0xb1, encodeText(value));
  if (Buffer.isBuffer(value)) return withLength(0xb0, value);
  if (value instanceof AmqpMap) return widened(encodeValue(value), 0xd1);
  if (value instanceof AmqpArray) return widened(encodeValue(value), 0xf0);
  if (Array.isArray(value)) return widened(encodeValue(value), 0xd0);
  if (!isTyped(value)) return encodeValue(value);
  if (value.type === 'symbol') return withLength(0xb3, encodeText(value.value));
  const out = Buffer.alloc(9);
  switch (value.type) {
    case 'uint':
      out.writeUInt32BE(value.value, 1);
      return coded(out, 0x70, 5);
    case 'int':
      out.writeInt32BE(value.value, 1);
      return coded(out, 0x71, 5);
    case 'ulong':
      out.writeBigUInt64BE(BigInt.asUintN(64, value.value), 1);
      return coded(out, 0x80, 9);
    case 'long':
      out.writeBigInt64BE(BigInt.asIntN(64, value.value), 1);
      return coded(out, 0x81, 9);
    default:
      return encodeTyped(value);
  }
}

function widened(encoded: Buffer, code: number): Buffer {
  if (encoded[0] === code) return encoded;
  if (encoded[0] === 0x45) return Buffer.from([code, 0, 0, 0, 4, 0, 0, 0, 0]);
  const out = Buffer.alloc(encoded.length + 6);
  out[0] = code;
  out.writeUInt32BE(encoded[1]! + 3, 1);
  out.writeUInt32BE(encoded[2]!, 5);
  encoded.copy(out, 9, 3);
  return out;
}

function withLength(code: number, octets: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head[0] = code;
  head.writeUInt32BE(octets.length, 1);
  return Buffer.concat([head, octets]);
}

function encodeUlong(value: bigint): Buffer {
  if (value === 0n) return Buffer.from([0x44]);
  if (value <= 255n) return Buffer.from([0x53, Number(value)]);
  const out = Buffer.alloc(9);
  out[0] = 0x80;
  out.writeBigUInt64BE(BigInt.asUintN(64, value), 1);
  return out;
}

function encodeTyped(value: TypedValue): Buffer {
  const out = Buffer.alloc(9);
  switch (value.type) {
    case 'ubyte':
      out.writeUInt8(value.value, 1);
      return coded(out, 0x50, 2);
    case 'byte':
      out.writeInt8(value.value, 1);
      return coded(out, 0x51, 2);
    case 'ushort':
      out.writeUInt16BE(value.value, 1);
      return coded(out, 0x60, 3);
    case 'short':
      out.writeInt16BE(value.value, 1);
      return coded(out, 0x61, 3);
    case 'uint':
      if (value.value === 0) return Buffer.from([0x43]);
      if (value.value <= 255) return Buffer.from([0x52, value.value]);
      out.writeUInt32BE(value.value, 1);
      return coded(out, 0x70, 5);
    case 'int':
      if (value.value >= -128 && value.value <= 127) return Buffer.from([0x54, value.value & 0xff]);
      out.writeInt32BE(value.value, 1);
      return coded(out, 0x71, 5);
    case 'ulong':
      return encodeUlong(value.value);
    case 'long':
      if (value.value >= -128n && value.value <= 127n) return Buffer.from([0x55, Number(value.value) & 0xff]);
      out.writeBigInt64BE(BigInt.asIntN(64, value.value), 1);
      return coded(out, 0x81, 9);
    case 'float':
      out.writeFloatBE(value.value, 1);
      return coded(out, 0x72, 5);
    case 'double':
      out.writeDoubleBE(value.value, 1);
      return coded(out, 0x82, 9);
    case 'char':
      out.writeUInt32BE(value.value.codePointAt(0) ?? 0, 1);
      return coded(out, 0x73, 5);
    case 'timestamp':
      out.writeBigInt64BE(BigInt.asIntN(64, value.value), 1);
      return coded(out, 0x83, 9);
    case 'symbol':
      return sized(0xa3, 0xb3, encodeText(value.value));
    case 'uuid':
      return fixed(0x98, value.value, 16);
    case 'decimal32':
      return fixed(0x74, value.value, 4);
    case 'decimal64':
      return fixed(0x84, value.value, 8);
    case 'decimal128':
      return fixed(0x94, value.value, 16);
    case 'decimal': // of 0-9-1: it has no encoding here, its text has
      return encodeValue(`${value.value}e-${value.scale}`);
  }
}

function coded(out: Buffer, code: number, length: number): Buffer {
  out[0] = code;
  return out.subarray(0, length);
}

// Octets of another length than the type's are a peer's text gone wrong on its way: cut, or filled with zeros.
function fixed(code: number, octets: Buffer, length: number): Buffer {
  const out = Buffer.alloc(length + 1);
  out[0] = code;
  octets.copy(out, 1, 0, length);
  return out;
}
