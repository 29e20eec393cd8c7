import { isUtf8 } from 'node:buffer';
import { decodeText, internText } from '../../lib/bytes.ts';
import { ProtocolError, ReasonCode } from './reason-code.ts';

/** Reads a packet's fields one after the other; every bound is checked. */
export class Reader {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  octet(): number {
    this.need(1);
    return this.bytes[this.at++]!;
  }

  short(): number {
    this.need(2);
    this.at += 2;
    return this.bytes.readUInt16BE(this.at - 2);
  }

  long(): number {
    this.need(4);
    this.at += 4;
    return this.bytes.readUInt32BE(this.at - 4);
  }

  /** Variable byte integer [MQTT 5.0 §1.5.5]; at most four octets, and no more than it needs [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const octet = this.octet();
      value |= (octet & 127) << shift;
      if (octet < 128) {
        if (octet === 0 && shift > 0) throw malformed('variable byte integer is longer than it needs to be');
        return value;
      }
    }
    throw malformed('variable byte integer of more than four octets');
  }

  /** A view of length-prefixed octets. */
  octets(): Buffer {
    const length = this.short();
    this.need(length);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** UTF-8, without NUL [MQTT-1.5.4-1] [MQTT-1.5.4-2]; a byte order mark is a character like others [MQTT-1.5.4-3]. */
  text(): string {
    const octets = this.octets();
    demandText(octets);
    return octets.toString('utf8');
  }

  /** The same, for who does not need it: short ASCII, as most names and values are, costs no call. */
  skipText(): void {
    const length = this.short();
    this.need(length);
    const { bytes, at } = this;
    this.at += length;
    if (length > shortTextMax) return demandText(bytes.subarray(at, this.at));
    for (let i = at; i < this.at; i++) {
      const octet = bytes[i]!;
      if (octet === 0 || octet > 127) return demandText(bytes.subarray(at, this.at));
    }
  }

  /** Of a packet that was read before. */
  knownText(): string {
    const length = this.short();
    this.need(length);
    this.at += length;
    return decodeText(this.bytes, this.at - length, this.at);
  }

  /** The same, of a user property's name. */
  knownName(): string {
    const length = this.short();
    this.need(length);
    this.at += length;
    return internText(this.bytes, this.at - length, this.at);
  }

  /** A reader of the next `length` octets, which this one skips. */
  part(length: number): Reader {
    this.need(length);
    this.at += length;
    return new Reader(this.bytes, this.at - length, this.at);
  }

  private need(octets: number): void {
    if (this.at + octets > this.end) throw malformed('packet is cut');
  }
}

const shortTextMax = 64;

function demandText(octets: Buffer): void {
  if (!isUtf8(octets) || octets.includes(0)) throw malformed('a string is not well-formed UTF-8');
}

export function malformed(text: string): ProtocolError {
  return new ProtocolError(ReasonCode.malformedPacket, text);
}

/** The fixed header that `readHead` has read last: an object that is used again and again. */
export const head = {
  /** Octets of the fixed header, 0 when it is cut. */
  bytes: 0,
  /** Octets behind it. */
  remaining: 0,
};

/**
 * Reads the fixed header at `at` into `head`: the packet's first octet, and its remaining length in one to four.
 * @throws ProtocolError 0x81 for a length of more octets
 */
export function readHead(chunk: Buffer, at: number, end: number): void {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + 1 + i >= end) {
      head.bytes = 0;
      return;
    }
    const octet = chunk[at + 1 + i]!;
    value |= (octet & 127) << (7 * i);
    if (octet < 128) {
      head.bytes = 2 + i;
      head.remaining = value;
      return;
    }
  }
  throw malformed('remaining length of more than four octets');
}

/** Is the remaining length that `readHead` has read in more octets than it needs? [MQTT-1.5.5-1] */
export function isPadded(): boolean {
  return head.bytes > 2 && head.remaining < 1 << (7 * (head.bytes - 2));
}
