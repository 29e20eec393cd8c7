import { copyBytes, encodeText } from './bytes.ts';

/** Longer text is written by one call of the runtime: it beats a loop from here on. */
const loopMax = 48;

/** Writes values one behind the other into memory that is used again and again: saves a buffer for each of them. */
export class OctetWriter {
  /** What was written lies in `[0, at)`. */
  bytes: Buffer = Buffer.allocUnsafeSlow(4096);
  at = 0;

  /** Forgets what was written. */
  begin(): void {
    this.at = 0;
  }

  u8(value: number): void {
    this.need(1);
    this.bytes[this.at++] = value;
  }

  u16(value: number): void {
    this.need(2);
    this.at = this.bytes.writeUInt16BE(value, this.at);
  }

  u32(value: number): void {
    this.need(4);
    this.at = this.bytes.writeUInt32BE(value, this.at);
  }

  /** An integer from 0 to 2⁵³ − 1. */
  u64(value: number): void {
    this.u32(Math.floor(value / 0x1_0000_0000));
    this.u32(value >>> 0);
  }

  /** The same as decimal digits. */
  decimal(value: number): void {
    let digits = 1;
    for (let bound = 10; bound <= value; bound *= 10) digits += 1;
    this.need(digits);
    let rest = value;
    for (let i = this.at + digits - 1; i >= this.at; i--) {
      const tens = Math.floor(rest / 10);
      this.bytes[i] = 0x30 + (rest - tens * 10); // the sum of all three may be no integer of JavaScript's
      rest = tens;
    }
    this.at += digits;
  }

  raw(octets: Buffer): void {
    this.need(octets.length);
    this.at += octets.copy(this.bytes, this.at);
  }

  range(octets: Buffer, start: number, end: number): void {
    this.need(end - start);
    copyBytes(octets, start, end, this.bytes, this.at);
    this.at += end - start;
  }

  /** As `encodeText` has it. */
  text(text: string): void {
    const { length } = text;
    if (length > loopMax) return this.raw(encodeText(text));
    this.need(length);
    const { bytes } = this;
    let { at } = this;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 127) return this.raw(encodeText(text)); // over what the loop has written
      bytes[at++] = code;
    }
    this.at = at;
  }

  /** Text behind its length in two octets; at most 65,535 octets. */
  text16(text: string): void {
    const lengthAt = this.skip(2);
    this.text(text);
    this.bytes.writeUInt16BE(this.at - lengthAt - 2, lengthAt);
  }

  /** Text behind its length in four octets. */
  text32(text: string): void {
    const lengthAt = this.skip(4);
    this.text(text);
    this.bytes.writeUInt32BE(this.at - lengthAt - 4, lengthAt);
  }

  /** Leaves room for what is not known yet. @returns where it is */
  skip(octets: number): number {
    this.need(octets);
    this.at += octets;
    return this.at - octets;
  }

  /** A copy of what was written. */
  end(): Buffer {
    const out = Buffer.allocUnsafe(this.at);
    this.bytes.copy(out, 0, 0, this.at);
    return out;
  }

  private need(octets: number): void {
    const length = this.at + octets;
    if (length <= this.bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.bytes.length));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }
}
