import { isUtf8 } from 'node:buffer';
import { emptyBuffer } from '../lib/bytes.ts';
import type { MessageFormat } from './format.ts';
import type { Message } from './message.ts';

/**
 * Most messages that leave for another protocol are plain: text headers under names that mean the same in both, perhaps
 * a content type, and whether they are durable. Their octets are copied from where they lie to where they belong, with
 * no string, map or property in between. What has any other part, a type, an escape, a name that repeats, goes by way of
 * the shared vocabulary (`Properties`), which would write a plain message in the very same octets.
 */
export interface PlainForm {
  readonly protocol: string;
  /** UTF-16 units of a routing key above which it may need telling beside itself; absent: never. */
  readonly keyLengthMax?: number;
  /** False when a header of the name is written under another, or read as something else. */
  isPlainName(name: string): boolean;
  /** @returns false when there is more to the message than `parts` can say */
  read(message: Message, parts: PlainParts): boolean;
  /** @returns octets of their own; undefined when this message needs more than copying */
  write(parts: PlainParts): Buffer | undefined;
}

/** What an octet of text is; the kinds of a text are or-ed together, which costs no branch an octet. */
const Kind = { control: 1, space: 2, escape: 4, high: 8 } as const;
const kindOf = Uint8Array.from({ length: 256 }, (_, octet) => {
  if (octet > 0x7f) return Kind.high;
  if (octet === 0x3a || octet === 0x5c) return Kind.escape; // : \
  if (octet === 0x20) return Kind.space;
  return octet < 0x20 || octet === 0x7f ? Kind.control : 0;
});

const headersMax = 64;
const nameBytesMax = 64;
const textBytesMax = 1024;

/** What a plain message says: ranges of the octets that it came in. One object is used again and again. */
export class PlainParts {
  bytes: Buffer = emptyBuffer;
  /** Undefined when the publisher did not say. */
  durable: boolean | undefined = undefined;
  /** −1: none. */
  contentTypeAt = -1;
  contentTypeEnd = -1;
  headers = 0;
  readonly nameAt: number[] = new Array(headersMax).fill(0);
  readonly nameEnd: number[] = new Array(headersMax).fill(0);
  readonly valueAt: number[] = new Array(headersMax).fill(0);
  readonly valueEnd: number[] = new Array(headersMax).fill(0);
  /** Some text has a colon or a backslash in it. */
  hasEscapes = false;
  private readonly names = new KnownNames();
  private source: MessageFormat | null = null;
  private target: MessageFormat | null = null;

  begin(message: Message, target: MessageFormat): void {
    this.bytes = message.bytes;
    this.durable = undefined;
    this.contentTypeAt = -1;
    this.contentTypeEnd = -1;
    this.headers = 0;
    this.hasEscapes = false;
    this.source = message.format;
    this.target = target;
    this.names.begin();
  }

  /** @returns false when the header is not plain */
  addHeader(nameAt: number, nameEnd: number, valueAt: number, valueEnd: number): boolean {
    const { headers } = this;
    if (headers === headersMax) return false;
    const name = this.names.take(this.bytes, nameAt, nameEnd);
    if (name === null || !name.isPlain(this.source!) || !name.isPlain(this.target!)) return false;
    this.nameAt[headers] = nameAt;
    this.nameEnd[headers] = nameEnd;
    this.valueAt[headers] = valueAt;
    this.valueEnd[headers] = valueEnd;
    this.headers = headers + 1;
    return this.isPlainText(valueAt, valueEnd, Kind.control);
  }

  /** Of ASCII, as a symbol of AMQP 1.0 is. @returns false when it is not plain */
  setContentType(at: number, end: number): boolean {
    if (this.contentTypeAt >= 0) return false;
    this.contentTypeAt = at;
    this.contentTypeEnd = end;
    return this.isPlainText(at, end, Kind.control | Kind.high);
  }

  // No space in front: STOMP 1.0 takes that for part of the colon.
  private isPlainText(at: number, end: number, refused: number): boolean {
    const { bytes } = this;
    if (end - at > textBytesMax || (at < end && bytes[at] === 0x20)) return false;
    let kinds = 0;
    for (let i = at; i < end; i++) kinds |= kindOf[bytes[i]!]!;
    if ((kinds & refused) !== 0) return false;
    if ((kinds & Kind.escape) !== 0) this.hasEscapes = true;
    return (kinds & Kind.high) === 0 || isUtf8(bytes.subarray(at, end));
  }
}

/** A name that messages have, and what the formats think of it. */
class KnownName {
  readonly octets: Buffer;
  /** The message that had it last: its number. */
  seenIn = 0;
  private readonly verdicts: (boolean | undefined)[] = [];

  constructor(octets: Buffer) {
    this.octets = octets;
  }

  isPlain(format: MessageFormat): boolean {
    const verdict = this.verdicts[format.id];
    return verdict ?? this.ask(format);
  }

  private ask(format: MessageFormat): boolean {
    const verdict = format.plain?.isPlainName(this.octets.toString('latin1')) === true;
    this.verdicts[format.id] = verdict;
    return verdict;
  }
}

const slots = 1024;

/** The names that came last, found by their octets: names repeat, and each is judged once. */
class KnownNames {
  private readonly known: KnownName[] = new Array(slots).fill(new KnownName(emptyBuffer));
  private turn = 0;

  /** The next message. */
  begin(): void {
    this.turn += 1;
  }

  /** @returns null for a name that the message had before, or that not every protocol spells as it is */
  take(bytes: Buffer, start: number, end: number): KnownName | null {
    const length = end - start;
    if (length === 0 || length > nameBytesMax) return null;
    let hash = length;
    let kinds = 0;
    for (let i = start; i < end; i++) {
      const octet = bytes[i]!;
      hash = (Math.imul(hash, 31) + octet) | 0;
      kinds |= kindOf[octet]!;
    }
    if (kinds !== 0) return null;
    const slot = (hash ^ (hash >>> 10)) & (slots - 1);
    let name = this.known[slot]!;
    // Two names of one message in a slot would hide that one of them repeats; that is rare.
    if (name.seenIn === this.turn) return null;
    if (!isSame(name.octets, bytes, start, length)) {
      name = new KnownName(Buffer.from(bytes.subarray(start, end)));
      this.known[slot] = name;
    }
    name.seenIn = this.turn;
    return name;
  }
}

function isSame(octets: Buffer, bytes: Buffer, start: number, length: number): boolean {
  if (octets.length !== length) return false;
  for (let i = 0; i < length; i++) if (octets[i] !== bytes[start + i]) return false;
  return true;
}

const parts = new PlainParts();

/** @returns undefined when the message is not plain, or one of the formats knows no such thing */
export function translatePlain(message: Message, target: MessageFormat): Buffer | undefined {
  const from = message.format.plain;
  const to = target.plain;
  if (from === undefined || to === undefined || from.protocol === to.protocol) return undefined;
  if (message.expiresAtMs !== 0 || message.retain || message.deaths.length > 0) return undefined;
  if (to.keyLengthMax !== undefined && message.routingKey.length > to.keyLengthMax) return undefined;
  parts.begin(message, target);
  return from.read(message, parts) ? to.write(parts) : undefined;
}
