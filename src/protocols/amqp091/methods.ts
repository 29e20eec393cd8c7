import type { Headers } from '../../core/properties.ts';
import { decodeText, encodeText } from '../../lib/bytes.ts';
import { ProtocolError } from './errors.ts';
import { FrameType, frameEnd, type Method, ReplyCode } from './spec.ts';
import { decodeTable, encodeTable } from './table.ts';

/** Arguments of a method by the names of its table. */
export class Arguments {
  private readonly values: Map<string, unknown>;
  private readonly method: Method;

  constructor(method: Method, values: Map<string, unknown>) {
    this.method = method;
    this.values = values;
  }

  bit(name: string): boolean {
    return this.get(name) as boolean;
  }

  number(name: string): number {
    return this.get(name) as number;
  }

  /** Of a longlong. */
  bigint(name: string): bigint {
    return this.get(name) as bigint;
  }

  text(name: string): string {
    return this.get(name) as string;
  }

  octets(name: string): Buffer {
    return this.get(name) as Buffer;
  }

  table(name: string): Headers {
    return this.get(name) as Headers;
  }

  private get(name: string): unknown {
    const value = this.values.get(name);
    if (value === undefined) throw new TypeError(`${this.method.name} has no field ${name}`);
    return value;
  }
}

/**
 * Decodes the arguments of a cold method from `payload`, which begins with class and method id.
 * @throws ProtocolError 501 frame-error when they end elsewhere than the frame does [AMQP 0-9-1 §1.1, frame-error]
 */
export function decodeMethod(method: Method, payload: Buffer): Arguments {
  const values = new Map<string, unknown>();
  let at = 4;
  let bits = 0; // consecutive bits share an octet, from the least significant up
  let bit = 0;
  try {
    for (const [name, type] of method.fields) {
      if (type === 'bit') {
        if (bit === 0) bits = payload.readUInt8(at++);
        values.set(name, (bits & (1 << bit)) !== 0);
        bit = bit === 7 ? 0 : bit + 1;
        continue;
      }
      bit = 0;
      switch (type) {
        case 'octet':
          values.set(name, payload.readUInt8(at));
          at += 1;
          break;
        case 'short':
          values.set(name, payload.readUInt16BE(at));
          at += 2;
          break;
        case 'long':
          values.set(name, payload.readUInt32BE(at));
          at += 4;
          break;
        case 'longlong':
        case 'timestamp':
          values.set(name, payload.readBigUInt64BE(at));
          at += 8;
          break;
        case 'shortstr': {
          const end = at + 1 + payload.readUInt8(at);
          if (end > payload.length) throw new RangeError('short string is cut');
          values.set(name, decodeText(payload, at + 1, end));
          at = end;
          break;
        }
        case 'longstr': {
          const end = at + 4 + payload.readUInt32BE(at);
          if (end > payload.length) throw new RangeError('long string is cut');
          values.set(name, Buffer.from(payload.subarray(at + 4, end)));
          at = end;
          break;
        }
        case 'table':
          values.set(name, decodeTable(payload, at));
          at += 4 + payload.readUInt32BE(at);
          break;
      }
    }
  } catch (error) {
    if (error instanceof RangeError || error instanceof ProtocolError) throw undecodable(method);
    throw error;
  }
  if (at !== payload.length) throw undecodable(method);
  return new Arguments(method, values);
}

function undecodable(method: Method): ProtocolError {
  return new ProtocolError(ReplyCode.frameError, `cannot decode ${method.name}`);
}

/** A whole method frame; fields that `values` leaves out are empty or zero. */
export function encodeMethod(channel: number, method: Method, values: Record<string, unknown> = {}): Buffer {
  const parts: Buffer[] = [Buffer.alloc(11)];
  let bits: Buffer | null = null;
  let bit = 0;
  for (const [name, type] of method.fields) {
    const value = values[name];
    if (type === 'bit') {
      if (bits === null || bit === 8) {
        bits = Buffer.alloc(1);
        bit = 0;
        parts.push(bits);
      }
      if (value === true) bits[0] = bits[0]! | (1 << bit);
      bit += 1;
      continue;
    }
    bits = null;
    parts.push(encodeField(type, value));
  }
  parts.push(Buffer.from([frameEnd]));
  const frame = Buffer.concat(parts);
  frame[0] = FrameType.method;
  frame.writeUInt16BE(channel, 1);
  frame.writeUInt32BE(frame.length - 8, 3);
  frame.writeUInt16BE(method.classId, 7);
  frame.writeUInt16BE(method.methodId, 9);
  return frame;
}

function encodeField(type: Method['fields'][number][1], value: unknown): Buffer {
  switch (type) {
    case 'octet':
      return Buffer.from([Number(value ?? 0)]);
    case 'short': {
      const out = Buffer.alloc(2);
      out.writeUInt16BE(Number(value ?? 0));
      return out;
    }
    case 'long': {
      const out = Buffer.alloc(4);
      out.writeUInt32BE(Number(value ?? 0));
      return out;
    }
    case 'longlong':
    case 'timestamp': {
      const out = Buffer.alloc(8);
      out.writeBigUInt64BE(BigInt((value ?? 0) as number | bigint));
      return out;
    }
    case 'shortstr': {
      const text = cutText(encodeText(String(value ?? '')), 255);
      return Buffer.concat([Buffer.from([text.length]), text]);
    }
    case 'longstr': {
      const octets = Buffer.isBuffer(value) ? value : encodeText(String(value ?? ''));
      const length = Buffer.alloc(4);
      length.writeUInt32BE(octets.length);
      return Buffer.concat([length, octets]);
    }
    case 'table':
      return encodeTable((value ?? new Map()) as Headers);
    case 'bit':
      throw new TypeError('bits are packed by the caller');
  }
}

/** The longest beginning of `text` of at most `max` octets that does not cut a character. */
export function cutText(text: Buffer, max: number): Buffer {
  if (text.length <= max) return text;
  let end = max;
  while (end > 0 && (text[end]! & 0xc0) === 0x80) end -= 1;
  return text.subarray(0, end);
}
