import { decodeText, emptyBuffer, startsWith } from '../../lib/bytes.ts';
import { unescapeText, type Version } from './versions.ts';

/**
 * Frames as octets [STOMP 1.2 §Augmented BNF]:
 *
 *     frame-stream = 1*frame
 *     frame        = command EOL *( header EOL ) EOL *OCTET NULL *( EOL )
 *     EOL          = [CR] LF                       (CR since 1.2; taken from everybody)
 *     header       = header-name ":" *any octet but CR, LF
 *
 * With `content-length` the body is counted and may hold NUL; without, it ends at the first. Every bound is checked
 * before memory is taken, and a frame that comes in pieces is read on from where the last piece ended: no octet is
 * looked at twice, however small the pieces.
 */
export interface FrameLimits {
  /** Octets of the body of a SEND; other frames have none to speak of. */
  readonly bodyBytes: number;
  readonly headerCount: number;
  /** Octets of one header line; all lines of a frame together may have four times as many. */
  readonly headerBytes: number;
}

/** What is wrong with a frame, or with what it asks for: an ERROR, which ends the connection. */
export class ProtocolError extends Error {
  /** What the ERROR frame says in its body. */
  readonly detail: string;

  constructor(message: string, detail = message) {
    super(message);
    this.detail = detail;
  }
}

const LF = 0x0a;
const CR = 0x0d;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const NUL = 0;
/** No command of the three versions is longer. */
const commandMax = 16;
/** Frames of which one at least is compared with the one before. */
const unaskedMax = 127;

type Phase = 'command' | 'headers' | 'body';

/** One frame as offsets into the chunk; one object is used for all frames in turn. */
export class FrameReader {
  command = '';
  chunk: Buffer = emptyBuffer;
  count = 0;
  /** Per header: offset of the name, of the colon, and of the line's end without its EOL. */
  nameAt = new Int32Array(64);
  colonAt = new Int32Array(64);
  lineEnd = new Int32Array(64);
  /** True if a line ends with CR LF. */
  hasCr = false;
  /** True if a header has an escape sequence. */
  hasEscapes = false;
  bodyStart = 0;
  bodyEnd = 0;
  /** Behind the NUL. */
  next = 0;
  /** Octets that the frame needs at least, when it is cut and that is known; else 0. */
  want = 0;
  /** −1 when the frame has none. */
  contentLength = -1;
  /** Command and headers are those of the frame before, octet for octet: whatever was found in them holds. */
  repeats = false;

  private readonly limits: FrameLimits;
  private phase: Phase = 'command';
  /** True while a frame is read in pieces; the places below are then those in the last chunk. */
  private cut = false;
  private frameAt = 0;
  /** Octets up to the body; 0 where they are not to be compared with. */
  private headBytes = 0;
  /** Frames whose head is not compared with that of the frame before. */
  private unasked = 0;
  private differing = 0;
  private lineStart = 0;
  private colon = -1;
  /** Up to where the chunk was looked at. */
  private scanned = 0;

  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  /**
   * Reads the frame at `at`, which is not an EOL. After false the same frame is expected again, followed by more.
   * @returns false if the chunk ends first
   * @throws ProtocolError
   */
  read(chunk: Buffer, at: number, end: number): boolean {
    this.repeats = !this.cut && this.isRepeated(chunk, at, end);
    this.chunk = chunk;
    this.want = 0;
    if (this.cut) this.shift(at - this.frameAt);
    else if (this.repeats) this.repeat(at - this.frameAt);
    else this.begin(at);
    this.frameAt = at;
    this.cut = true;
    if (this.phase === 'command' && !this.readCommand(end)) return false;
    if (this.phase === 'headers' && !this.readHeaders(end)) return false;
    if (!this.readBody(end)) return false;
    this.cut = false;
    return true;
  }

  /** @returns index of the first header of the name, or −1 */
  find(name: Buffer): number {
    for (let i = 0; i < this.count; i++) if (this.isName(i, name)) return i;
    return -1;
  }

  isName(index: number, name: Buffer): boolean {
    const start = this.nameAt[index]!;
    return this.colonAt[index]! - start === name.length && startsWith(this.chunk, start, name, name.length);
  }

  nameBytes(index: number): number {
    return this.colonAt[index]! - this.nameAt[index]!;
  }

  /** 1.0's headers are written with a space behind the colon in its own examples: it is no part of the value. */
  valueAt(index: number, version: Version): number {
    let start = this.colonAt[index]! + 1;
    if (version === '1.0') while (start < this.lineEnd[index]! && this.chunk[start] === SPACE) start += 1;
    return start;
  }

  /** @throws ProtocolError for an undefined escape */
  value(index: number, version: Version): string {
    return this.text(this.valueAt(index, version), this.lineEnd[index]!, version);
  }

  /** The octets of a value as they came, one character an octet. */
  raw(index: number, version: Version): string {
    return this.chunk.toString('latin1', this.valueAt(index, version), this.lineEnd[index]!);
  }

  /** A whole number without sign, of 15 digits at most; −1 when the value is none. */
  integer(index: number, version: Version): number {
    const start = this.valueAt(index, version);
    const end = this.lineEnd[index]!;
    if (end === start || end - start > 15) return -1;
    let number = 0;
    for (let i = start; i < end; i++) {
      const digit = this.chunk[i]! - 0x30;
      if (digit < 0 || digit > 9) return -1;
      number = number * 10 + digit;
    }
    return number;
  }

  /** `true`, or `True` as Python writes it. */
  isTrue(index: number, version: Version): boolean {
    const start = this.valueAt(index, version);
    const first = this.chunk[start];
    return (
      this.lineEnd[index]! - start === 4 &&
      (first === 0x74 || first === 0x54) &&
      startsWith(this.chunk, start + 1, rue, 3)
    );
  }

  name(index: number, version: Version): string {
    return this.text(this.nameAt[index]!, this.colonAt[index]!, version);
  }

  /** The headers of a cold frame; of a name that repeats the first counts [STOMP 1.2 §Repeated Header Entries]. */
  headers(version: Version): Map<string, string> {
    const headers = new Map<string, string>();
    for (let i = 0; i < this.count; i++) {
      const name = this.name(i, version);
      if (!headers.has(name)) headers.set(name, this.value(i, version));
    }
    return headers;
  }

  /** @throws ProtocolError for an escape that the version does not know, in whatever header */
  checkEscapes(version: Version): void {
    if (!this.hasEscapes || version === '1.0') return;
    for (let i = 0; i < this.count; i++) this.text(this.nameAt[i]!, this.lineEnd[i]!, version);
  }

  private text(start: number, end: number, version: Version): string {
    try {
      return unescapeText(decodeText(this.chunk, start, end), version);
    } catch (error) {
      throw new ProtocolError('Malformed frame', (error as Error).message);
    }
  }

  // Many publishers say the same with every message. The frame before lies in the same chunk when it lies in front of this
  // one: else there are but EOLs. From the end on, for what differs is mostly a number there.
  private isRepeated(chunk: Buffer, at: number, end: number): boolean {
    const { headBytes } = this;
    if (headBytes === 0 || at < this.next || end - at < headBytes) return false;
    if (this.unasked > 0) {
      this.unasked -= 1;
      return false;
    }
    const before = this.frameAt;
    let i = headBytes - 1;
    while (i >= 0 && chunk[before + i] === chunk[at + i]) i -= 1;
    // where heads differ, asking each time would cost as much as is saved elsewhere
    this.differing = i < 0 ? 0 : Math.min(2 * this.differing + 1, unaskedMax);
    this.unasked = this.differing >> 1;
    return i < 0;
  }

  private repeat(by: number): void {
    this.shift(by);
    this.scanned = this.bodyStart;
  }

  private begin(at: number): void {
    this.headBytes = 0;
    this.phase = 'command';
    this.command = '';
    this.count = 0;
    this.hasCr = false;
    this.hasEscapes = false;
    this.contentLength = -1;
    this.lineStart = at;
    this.scanned = at;
    this.colon = -1;
  }

  // The frame lies elsewhere in the chunk that brings its next piece.
  private shift(by: number): void {
    this.lineStart += by;
    this.scanned += by;
    if (this.colon >= 0) this.colon += by;
    this.bodyStart += by;
    if (by === 0) return;
    for (let i = 0; i < this.count; i++) {
      this.nameAt[i]! += by;
      this.colonAt[i]! += by;
      this.lineEnd[i]! += by;
    }
  }

  private readCommand(end: number): boolean {
    const { chunk } = this;
    const start = this.lineStart;
    let i = this.scanned;
    for (; i < end; i++) {
      const octet = chunk[i]!;
      if (octet === LF) break;
      const isLetter = octet >= 0x41 && octet <= 0x5a && (i === start || chunk[i - 1] !== CR);
      if (i - start < commandMax && (isLetter || (octet === CR && i > start))) continue;
      throw new ProtocolError('Malformed frame', 'this is not a STOMP command');
    }
    this.scanned = i;
    if (i === end) return false;
    const textEnd = chunk[i - 1] === CR ? i - 1 : i;
    this.command = spellCommand(chunk, start, textEnd);
    this.lineStart = i + 1;
    this.scanned = i + 1;
    this.phase = 'headers';
    return true;
  }

  private readHeaders(end: number): boolean {
    const { chunk, limits } = this;
    let i = this.scanned;
    let lineStart = this.lineStart;
    let colon = this.colon;
    for (;;) {
      for (; i < end; i++) {
        const octet = chunk[i]!;
        if (octet > BACKSLASH) continue;
        if (octet === LF) break;
        if (octet === COLON) {
          if (colon < 0) colon = i;
        } else if (octet === BACKSLASH) this.hasEscapes = true;
        else if (octet === NUL) {
          if (i > lineStart || this.contentLength > 0) {
            throw new ProtocolError('Malformed frame', 'NUL among the headers');
          }
          // a frame without body that lacks its empty line too, as in the examples of STOMP 1.2 §DISCONNECT
          this.bodyStart = i;
          this.scanned = i;
          this.phase = 'body';
          return true;
        }
      }
      if (i - lineStart > limits.headerBytes + 1) {
        throw new ProtocolError('Malformed frame', `header line of more than ${limits.headerBytes} octets`);
      }
      if (i - this.frameAt > 4 * limits.headerBytes) {
        throw new ProtocolError('Malformed frame', `headers of more than ${4 * limits.headerBytes} octets`);
      }
      if (i === end) {
        this.scanned = i;
        this.lineStart = lineStart;
        this.colon = colon;
        return false;
      }
      let textEnd = i;
      if (i > lineStart && chunk[i - 1] === CR) {
        textEnd -= 1;
        this.hasCr = true;
      }
      if (textEnd === lineStart) break;
      this.addHeader(lineStart, colon, textEnd);
      i += 1;
      lineStart = i;
      colon = -1;
    }
    this.bodyStart = i + 1;
    this.scanned = i + 1;
    this.headBytes = i + 1 - this.frameAt;
    this.phase = 'body';
    return true;
  }

  private addHeader(start: number, colon: number, end: number): void {
    if (colon < 0 || colon === start) {
      throw new ProtocolError('Malformed frame', colon < 0 ? 'a header line without colon' : 'a header without name');
    }
    const index = this.count;
    if (index >= this.limits.headerCount) {
      throw new ProtocolError('Malformed frame', `more than ${this.limits.headerCount} headers`);
    }
    if (index === this.nameAt.length) this.grow();
    this.nameAt[index] = start;
    this.colonAt[index] = colon;
    this.lineEnd[index] = end;
    this.count = index + 1;
    if (colon - start === 14 && this.contentLength < 0 && this.isName(index, contentLengthName)) {
      this.contentLength = this.readLength(colon + 1, end);
    }
  }

  private readLength(start: number, end: number): number {
    let length = 0;
    let at = start;
    while (at < end && this.chunk[at] === SPACE) at += 1;
    let last = end;
    while (last > at && this.chunk[last - 1] === SPACE) last -= 1;
    for (let i = at; i < last; i++) {
      const digit = this.chunk[i]! - 0x30;
      if (digit < 0 || digit > 9 || last - at > 15) last = at;
      length = length * 10 + digit;
    }
    if (last === at) {
      throw new ProtocolError('Malformed frame', `content-length '${this.chunk.toString('latin1', start, end)}'`);
    }
    this.checkBody(length);
    return length;
  }

  private readBody(end: number): boolean {
    const { chunk } = this;
    if (this.contentLength >= 0) {
      this.bodyEnd = this.bodyStart + this.contentLength;
      this.next = this.bodyEnd + 1;
      if (this.next > end) {
        this.want = this.next - this.frameAt;
        return false;
      }
      if (chunk[this.bodyEnd] !== NUL) {
        throw new ProtocolError('Malformed frame', 'no NUL behind the octets that content-length counts');
      }
      return true;
    }
    // the NUL mostly lies near: a call of `indexOf` on a 64 KiB chunk costs more than looking at a short body
    let i = this.scanned;
    const near = Math.min(end, i + 128);
    while (i < near && chunk[i] !== NUL) i += 1;
    if (i === near && i < end) {
      const found = chunk.indexOf(NUL, i);
      i = found < 0 || found > end ? end : found;
    }
    this.checkBody(i - this.bodyStart);
    this.scanned = i;
    if (i === end) return false;
    this.bodyEnd = i;
    this.next = i + 1;
    return true;
  }

  private checkBody(bytes: number): void {
    const max = this.command === 'SEND' ? this.limits.bodyBytes : this.limits.headerBytes;
    if (bytes > max) throw new ProtocolError('Message too large', `body of ${bytes} octets, ${max} are allowed`);
  }

  private grow(): void {
    const larger = (old: Int32Array): Int32Array<ArrayBuffer> => {
      const array = new Int32Array(old.length * 4);
      array.set(old);
      return array;
    };
    this.nameAt = larger(this.nameAt);
    this.colonAt = larger(this.colonAt);
    this.lineEnd = larger(this.lineEnd);
  }
}

const contentLengthName = Buffer.from('content-length', 'latin1');
const rue = Buffer.from('rue', 'latin1');

// The two that come by the million without a string of their own.
function spellCommand(chunk: Buffer, start: number, end: number): string {
  if (end - start === 4 && chunk[start] === 0x53 && chunk[start + 1] === 0x45 && chunk[start + 2] === 0x4e) {
    if (chunk[start + 3] === 0x44) return 'SEND';
  } else if (end - start === 3 && chunk[start] === 0x41 && chunk[start + 1] === 0x43 && chunk[start + 2] === 0x4b) {
    return 'ACK';
  }
  return chunk.toString('latin1', start, end);
}

/** A frame of lines that are already escaped, with an optional body. */
export function encodeFrame(command: string, lines: readonly string[], body = ''): Buffer {
  return Buffer.from(`${command}\n${lines.map((line) => `${line}\n`).join('')}\n${body}\0`, 'utf8');
}
