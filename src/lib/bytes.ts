import { isUtf8 } from 'node:buffer';

export const emptyBuffer: Buffer = Buffer.alloc(0);

/** Copies `source[start, end)` to `target` at `at`; short ranges by a loop: a call of `copy` alone costs 40 ns. */
export function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): void {
  if (end - start <= 24) {
    while (start < end) target[at++] = source[start++]!;
  } else {
    source.copy(target, at, start, end);
  }
}

/** True if `a[aStart, aStart + length)` holds the bytes of `b` from its beginning. */
export function startsWith(a: Buffer, aStart: number, b: Buffer, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aStart + i] !== b[i]) return false;
  return true;
}

/**
 * Text of `buffer[start, end)`. Octets that are not UTF-8 become lone surrogates U+DC80–U+DCFF, so that
 * `encodeText` gives back the same octets: names and keys are kept, whatever a peer sends.
 */
export function decodeText(buffer: Buffer, start: number, end: number): string {
  let i = start;
  while (i < end && buffer[i]! < 0x80) i += 1;
  if (i === end) return buffer.toString('latin1', start, end);
  const range = buffer.subarray(start, end);
  return isUtf8(range) ? range.toString('utf8') : decodeWithEscapes(range);
}

const internedMax = 32;
const interned: string[] = new Array(512).fill('');

/**
 * The same, for names that come with every message: comparing the octets with the last such name is cheaper than
 * decoding them, and maps know the string's hash already.
 */
export function internText(buffer: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 0 || length > internedMax) return decodeText(buffer, start, end);
  const mixed = length * 31 + buffer[start]! * 7 + buffer[end - 1]! * 13 + buffer[(start + end) >> 1]! * 5;
  const known = interned[mixed & 511]!;
  if (known.length === length) {
    let i = 0;
    while (i < length && known.charCodeAt(i) === buffer[start + i]) i += 1;
    if (i === length) return known;
  }
  const text = decodeText(buffer, start, end);
  if (text.length === length) interned[mixed & 511] = text; // ASCII has as many characters as octets
  return text;
}

/** True if the range is well-formed UTF-8. */
export function isText(buffer: Buffer, start: number, end: number): boolean {
  let i = start;
  while (i < end && buffer[i]! < 0x80) i += 1;
  return i === end || isUtf8(buffer.subarray(start, end));
}

function decodeWithEscapes(range: Buffer): string {
  let text = '';
  let at = 0;
  while (at < range.length) {
    let length = 1;
    const lead = range[at]!;
    if (lead >= 0xf0) length = 4;
    else if (lead >= 0xe0) length = 3;
    else if (lead >= 0xc0) length = 2;
    const part = range.subarray(at, at + length);
    if (part.length === length && isUtf8(part)) {
      text += part.toString('utf8');
      at += length;
    } else {
      text += String.fromCharCode(0xdc00 + lead);
      at += 1;
    }
  }
  return text;
}

/** The inverse of `decodeText`. */
export function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  return text.isWellFormed() ? bytes : encodeWithEscapes(text);
}

function encodeWithEscapes(text: string): Buffer {
  const parts: Buffer[] = [];
  for (const character of text) {
    const code = character.codePointAt(0)!;
    parts.push(code >= 0xdc80 && code <= 0xdcff ? Buffer.from([code - 0xdc00]) : Buffer.from(character, 'utf8'));
  }
  return Buffer.concat(parts);
}

let rested = 0;

/** Octets that slabs have taken since the start: grows for ever. */
export function restedBytes(): number {
  return rested;
}

/**
 * Memory for small things that come to rest: one allocation of 64 KiB serves hundreds of messages.
 * What was taken is pinned with its slab; a large thing gets memory of its own.
 */
export class Slab {
  private static readonly bytes = 64 * 1024;
  private static readonly ownFrom = 4 * 1024;
  /** What the last `take` took from. */
  buffer: Buffer = emptyBuffer;
  private slab: Buffer = emptyBuffer;
  private used = 0;

  /** @returns the offset in `buffer` (read it after the call) at which `length` bytes may be written. */
  take(length: number): number {
    if (length >= Slab.ownFrom) {
      this.buffer = Buffer.allocUnsafeSlow(length);
      rested += length;
      return 0;
    }
    if (this.used + length > this.slab.length) {
      this.slab = Buffer.allocUnsafeSlow(Slab.bytes);
      rested += Slab.bytes;
      this.used = 0;
    }
    this.buffer = this.slab;
    const at = this.used;
    this.used += length;
    return at;
  }
}
