import { decodeText } from '../../lib/bytes.ts';
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
 * before memory is taken.
 */
export interface FrameLimits {
  /** Octets of the body. */
  readonly bodyBytes: number;
  readonly headerCount: number;
  /** Octets of one header line, and of the command. */
  readonly headerBytes: number;
}

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
const NUL = 0;
/** No command of the three versions is longer. */
const commandMax = 16;

/** One frame as offsets into the chunk; one object is used for all frames in turn. */
export class FrameReader {
  command = '';
  chunk: Buffer = Buffer.alloc(0);
  count = 0;
  /** Per header: offset of the name, of the colon, and of the line's end without its EOL. */
  nameAt = new Int32Array(64);
  colonAt = new Int32Array(64);
  lineEnd = new Int32Array(64);
  /** Of the header lines as a whole; `headersEnd` is behind the last one's EOL. */
  headersStart = 0;
  headersEnd = 0;
  /** True if a line ends with CR LF. */
  hasCr = false;
  bodyStart = 0;
  bodyEnd = 0;
  /** Behind the NUL. */
  next = 0;
  /** Octets that the frame needs at least, when it is cut and that is known; else 0. */
  want = 0;
  hasContentLength = false;

  private readonly limits: FrameLimits;

  constructor(limits: FrameLimits) {
    this.limits = limits;
  }

  /**
   * Reads the frame at `at`, which is not an EOL.
   * @returns false if the chunk ends first
   * @throws ProtocolError
   */
  read(chunk: Buffer, at: number, end: number): boolean {
    this.chunk = chunk;
    this.want = 0;
    this.count = 0;
    this.hasCr = false;
    let position = this.readCommand(chunk, at, end);
    if (position === 0) return false;
    this.headersStart = position;
    let contentLength = -1;
    for (;;) {
      const lineEnd = this.findLineEnd(chunk, position, end);
      if (lineEnd < 0) return false;
      const next = lineEnd + 1;
      const textEnd = lineEnd > position && chunk[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
      if (textEnd !== lineEnd) this.hasCr = true;
      if (textEnd === position) {
        this.headersEnd = position;
        this.bodyStart = next;
        break;
      }
      const colon = this.addHeader(chunk, position, textEnd);
      if (contentLength < 0 && colon - position === 14 && this.isName(this.count - 1, contentLengthName)) {
        contentLength = this.readLength(chunk, colon + 1, textEnd);
      }
      position = next;
    }
    this.hasContentLength = contentLength >= 0;
    return this.readBody(chunk, end, contentLength, at);
  }

  /** Index of the first header of the name, or −1 [STOMP 1.2 §Repeated Header Entries]. */
  find(name: Buffer): number {
    for (let i = 0; i < this.count; i++) if (this.isName(i, name)) return i;
    return -1;
  }

  isName(index: number, name: Buffer): boolean {
    const start = this.nameAt[index]!;
    if (this.colonAt[index]! - start !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (this.chunk[start + i] !== name[i]) return false;
    return true;
  }

  /** @throws ProtocolError for an undefined escape */
  value(index: number, version: Version): string {
    return this.text(this.colonAt[index]! + 1, this.lineEnd[index]!, version);
  }

  name(index: number, version: Version): string {
    return this.text(this.nameAt[index]!, this.colonAt[index]!, version);
  }

  /** The headers of a cold frame; of a name that repeats the first counts. */
  headers(version: Version): Map<string, string> {
    const headers = new Map<string, string>();
    for (let i = 0; i < this.count; i++) {
      const name = this.name(i, version);
      if (!headers.has(name)) headers.set(name, this.value(i, version));
    }
    return headers;
  }

  private text(start: number, end: number, version: Version): string {
    try {
      return unescapeText(decodeText(this.chunk, start, end), version);
    } catch (error) {
      throw new ProtocolError('Malformed frame', (error as Error).message);
    }
  }

  private readCommand(chunk: Buffer, at: number, end: number): number {
    const limit = Math.min(end, at + commandMax + 2);
    for (let i = at; i < limit; i++) {
      if (chunk[i] !== LF) continue;
      const textEnd = i > at && chunk[i - 1] === CR ? i - 1 : i;
      this.command = chunk.toString('latin1', at, textEnd);
      return i + 1;
    }
    if (end - at > commandMax + 1) throw new ProtocolError('Malformed frame', 'this is not a STOMP command');
    return 0;
  }

  private findLineEnd(chunk: Buffer, at: number, end: number): number {
    const limit = Math.min(end, at + this.limits.headerBytes + 2);
    for (let i = at; i < limit; i++) if (chunk[i] === LF) return i;
    if (end - at > this.limits.headerBytes + 1) {
      throw new ProtocolError('Malformed frame', `header line of more than ${this.limits.headerBytes} octets`);
    }
    return -1;
  }

  private addHeader(chunk: Buffer, start: number, end: number): number {
    let colon = start;
    while (colon < end && chunk[colon] !== COLON) colon += 1;
    if (colon === end) throw new ProtocolError('Malformed frame', 'a header line without colon');
    if (this.count >= this.limits.headerCount) {
      throw new ProtocolError('Malformed frame', `more than ${this.limits.headerCount} headers`);
    }
    if (this.count === this.nameAt.length) this.grow();
    this.nameAt[this.count] = start;
    this.colonAt[this.count] = colon;
    this.lineEnd[this.count] = end;
    this.count += 1;
    return colon;
  }

  private readLength(chunk: Buffer, start: number, end: number): number {
    const text = chunk.toString('latin1', start, end).trim();
    if (!/^\d{1,15}$/.test(text)) throw new ProtocolError('Malformed frame', `content-length '${text}'`);
    this.checkBody(Number(text));
    return Number(text);
  }

  private readBody(chunk: Buffer, end: number, contentLength: number, at: number): boolean {
    if (contentLength >= 0) {
      this.bodyEnd = this.bodyStart + contentLength;
      this.next = this.bodyEnd + 1;
      this.want = this.next - at;
      if (this.next > end) return false;
      if (chunk[this.bodyEnd] !== NUL)
        throw new ProtocolError('Malformed frame', 'no NUL behind content-length octets');
      return true;
    }
    const nul = chunk.indexOf(NUL, this.bodyStart);
    if (nul < 0 || nul >= end) {
      this.checkBody(end - this.bodyStart);
      return false;
    }
    this.checkBody(nul - this.bodyStart);
    this.bodyEnd = nul;
    this.next = nul + 1;
    return true;
  }

  private checkBody(bytes: number): void {
    if (bytes > this.limits.bodyBytes) {
      throw new ProtocolError('Message too large', `body of ${bytes} octets, ${this.limits.bodyBytes} are allowed`);
    }
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

/** A frame of lines that are already escaped, with an optional body. */
export function encodeFrame(command: string, lines: readonly string[], body = ''): Buffer {
  return Buffer.from(`${command}\n${lines.map((line) => `${line}\n`).join('')}\n${body}\0`, 'utf8');
}
