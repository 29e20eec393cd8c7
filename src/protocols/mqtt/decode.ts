import { isUtf8 } from 'node:buffer';
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

  /** UTF-8, without NUL [MQTT-1.5.4-1, MQTT-1.5.4-2]. */
  text(): string {
    const octets = this.octets();
    if (!isUtf8(octets) || octets.includes(0)) throw malformed('a string is not well-formed UTF-8');
    return octets.toString('utf8');
  }

  rest(): Buffer {
    const rest = this.bytes.subarray(this.at, this.end);
    this.at = this.end;
    return rest;
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

export function malformed(text: string): ProtocolError {
  return new ProtocolError(ReasonCode.malformedPacket, text);
}
