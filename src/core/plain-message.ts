import { isUtf8 } from 'node:buffer';
import { emptyBuffer } from '../lib/bytes.ts';
import type { MessageFormat } from './format.ts';
import type { Message } from './message.ts';
import { correlationPrefix } from './reply.ts';

/**
 * Most messages that leave for another protocol are plain: text headers under names that mean the same in both, the
 * fields below, and whether they are durable. Their octets are copied from where they lie to where they belong, with
 * no string, map or property in between. What has any other part, a type, an escape, a name that repeats, goes by way of
 * the shared vocabulary (`Properties`), which would write a plain message in the very same octets.
 */
export interface PlainForm {
  readonly protocol: string;
  /** UTF-16 units of a routing key above which it may need telling beside itself; absent: never. */
  readonly keyLengthMax?: number;
  /**
   * What a header of the name is: `refused` when it is written under another name or more is to be known of it, a field
   * where the protocol has it among the headers.
   */
  placeOf(name: string): PlainPlace;
  /** @returns false when there is more to the message than `parts` can say */
  read(message: Message, parts: PlainParts): boolean;
  /** @returns octets of their own; undefined when this message needs more than copying */
  write(parts: PlainParts): Buffer | undefined;
}

/** Where text belongs: among the headers, or in a field of the message. */
export const PlainPlace = {
  refused: 0,
  header: 1,
  contentType: 2,
  contentEncoding: 3,
  correlationId: 4,
  messageId: 5,
  appId: 6,
  type: 7,
  priority: 8,
  timestamp: 9,
} as const;
export type PlainPlace = (typeof PlainPlace)[keyof typeof PlainPlace];

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
  /** 0–255; −1: none. */
  priority = -1;
  /** −1: none. */
  timestampMs = -1;
  /** Of the fields of text, by their places; −1: none. */
  readonly fieldAt: number[] = new Array(PlainPlace.priority).fill(-1);
  readonly fieldEnd: number[] = new Array(PlainPlace.priority).fill(-1);
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
    this.priority = -1;
    this.timestampMs = -1;
    for (let i = 0; i < PlainPlace.priority; i++) this.fieldAt[i] = -1;
    this.headers = 0;
    this.hasEscapes = false;
    this.source = message.format;
    this.target = target;
    this.names.begin();
  }

  /** A header, or a field that the publisher's protocol has among them. @returns false when it is not plain */
  addHeader(nameAt: number, nameEnd: number, valueAt: number, valueEnd: number): boolean {
    const { headers } = this;
    if (headers === headersMax) return false;
    const name = this.names.take(this.bytes, nameAt, nameEnd);
    if (name === null) return false;
    const place = name.placeIn(this.source!);
    if (place !== PlainPlace.header) return this.setField(place, valueAt, valueEnd);
    if (name.placeIn(this.target!) !== PlainPlace.header) return false;
    this.nameAt[headers] = nameAt;
    this.nameEnd[headers] = nameEnd;
    this.valueAt[headers] = valueAt;
    this.valueEnd[headers] = valueEnd;
    this.headers = headers + 1;
    return this.isPlainText(valueAt, valueEnd, Kind.control);
  }

  /** @returns false when it is not plain */
  setField(place: PlainPlace, at: number, end: number): boolean {
    switch (place) {
      case PlainPlace.refused:
      case PlainPlace.header:
        return false;
      case PlainPlace.priority:
        this.priority = this.readNumber(at, end, 3);
        return this.priority >= 0 && this.priority <= 255;
      case PlainPlace.timestamp:
        this.timestampMs = this.readNumber(at, end, 15);
        return this.timestampMs >= 0;
    }
    if (this.fieldAt[place]! >= 0) return false;
    this.fieldAt[place] = at;
    this.fieldEnd[place] = end;
    // of ASCII, as a symbol of AMQP 1.0 is
    const isSymbol = place === PlainPlace.contentType || place === PlainPlace.contentEncoding;
    if (isSymbol) return this.isPlainText(at, end, Kind.control | Kind.high);
    return !(place === PlainPlace.correlationId && this.isSpelled(at, end)) && this.isPlainText(at, end, Kind.control);
  }

  hasField(place: PlainPlace): boolean {
    return this.fieldAt[place]! >= 0;
  }

  fieldBytes(place: PlainPlace): number {
    return this.fieldEnd[place]! - this.fieldAt[place]!;
  }

  /** A field of text is longer than 255 octets. */
  get hasLongField(): boolean {
    for (let i = PlainPlace.contentType as number; i < PlainPlace.priority; i++) {
      if (this.fieldAt[i]! >= 0 && this.fieldEnd[i]! - this.fieldAt[i]! > 255) return true;
    }
    return false;
  }

  // Decimal digits; −1 for anything else.
  private readNumber(at: number, end: number, digitsMax: number): number {
    if (at === end || end - at > digitsMax) return -1;
    let number = 0;
    for (let i = at; i < end; i++) {
      const digit = this.bytes[i]! - 0x30;
      if (digit < 0 || digit > 9) return -1;
      number = number * 10 + digit;
    }
    return number;
  }

  // What may be a correlation of octets, spelled for a responder.
  private isSpelled(at: number, end: number): boolean {
    const { length } = correlationPrefix;
    if (end - at < length) return false;
    for (let i = 0; i < length; i++) if (this.bytes[at + i] !== correlationPrefix.charCodeAt(i)) return false;
    return true;
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
  private readonly places: (PlainPlace | undefined)[] = [];

  constructor(octets: Buffer) {
    this.octets = octets;
  }

  placeIn(format: MessageFormat): PlainPlace {
    return this.places[format.id] ?? this.ask(format);
  }

  private ask(format: MessageFormat): PlainPlace {
    const place = format.plain?.placeOf(this.octets.toString('latin1')) ?? PlainPlace.refused;
    this.places[format.id] = place;
    return place;
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
