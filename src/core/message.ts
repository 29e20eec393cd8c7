import { emptyBuffer, Slab } from '../lib/bytes.ts';
import type { Client } from './client.ts';
import { deathHeaders, isDeathHeader } from './deaths.ts';
import type { MessageFormat } from './format.ts';
import { type HeaderName, type LookupField, undecided } from './lookup.ts';
import { conversionLosses, takeLosses } from './losses.ts';
import { translatePlain } from './plain-message.ts';
import type { Properties, Value } from './properties.ts';
import type { ReplyAliases } from './reply.ts';
import type { Timing } from './timing.ts';
import { TranslationMemo } from './translation-memo.ts';

/** One row of `x-death`: what the broker knows of how a message died, never written into `native`. */
export interface Death {
  readonly queue: string;
  readonly reason: DeathReason;
  readonly count: number;
  readonly exchange: string;
  readonly routingKeys: readonly string[];
  readonly timeMs: number;
  /** Expiration as published, when the message died of it. */
  readonly originalTtlMs?: number;
  /** It was the message's first. */
  readonly first?: boolean;
  /** The queue gave it another routing key: its own, CC among them, count no longer. */
  readonly rerouted?: boolean;
}

export type DeathReason = 'rejected' | 'expired' | 'maxlen' | 'delivery_limit' | 'unrepresentable';

export const noDeaths: readonly Death[] = [];

const slab = new Slab();
const memo = new TranslationMemo();

/**
 * A message is the publisher's own bytes and the few facts that routing needs. It is immutable, and one object
 * however many queues it reaches.
 *
 *     bytes:  ···[ start ··· native ··· body ··· end ]···
 *
 * A view while it flies: `bytes` is the chunk that the socket read, valid only in the turn that read it. A copy when
 * it rests: whoever keeps the message beyond its turn calls `rest()` first.
 */
export class Message {
  readonly format: MessageFormat;
  readonly exchange: string;
  readonly routingKey: string;
  readonly durable: boolean;
  /** 0–255, or −1 when the publisher gave none. */
  readonly priority: number;
  /** Milliseconds since the epoch, 0 = never. */
  readonly expiresAtMs: number;
  /** 0–2 as published by MQTT, −1 from elsewhere. */
  readonly qos: number;
  readonly retain: boolean;
  /** Who published it, for no-local; null after a restart. */
  readonly publisher: Client | null;
  readonly deaths: readonly Death[];

  bytes: Buffer;
  /** The range of `bytes` that is kept when the message rests; it encloses native and body. */
  start: number;
  end: number;
  nativeStart: number;
  nativeEnd: number;
  bodyStart: number;
  bodyEnd: number;

  /** Place in the order of all messages of the broker; given when it is routed. */
  sequence = 0;
  /** Of its virtual host, for formats that show a reply address to another protocol; given when it is routed. */
  replies: ReplyAliases | null = null;
  /** When it is to be routed, as its publisher said; null: as it comes. */
  timing: Timing | null = null;
  resting = false;
  private decoded: Properties | null = null;
  /** The first translation asked for: most messages need one at most. */
  private translatedTo: MessageFormat | null = null;
  private translation: Buffer = emptyBuffer;
  private translations: Map<MessageFormat, Buffer> | null = null;
  /** The formats that say less than the publisher did. */
  private lossy: MessageFormat[] | null = null;

  constructor(facts: MessageFacts) {
    this.format = facts.format;
    this.exchange = facts.exchange;
    this.routingKey = facts.routingKey;
    this.durable = facts.durable;
    this.priority = facts.priority;
    this.expiresAtMs = facts.expiresAtMs;
    this.qos = facts.qos;
    this.retain = facts.retain;
    this.publisher = facts.publisher;
    this.deaths = facts.deaths;
    this.bytes = facts.bytes;
    this.start = facts.start;
    this.end = facts.end;
    this.nativeStart = facts.nativeStart;
    this.nativeEnd = facts.nativeEnd;
    this.bodyStart = facts.bodyStart;
    this.bodyEnd = facts.bodyEnd;
  }

  get bodyBytes(): number {
    return this.bodyEnd - this.bodyStart;
  }

  /** The publisher's encoding of everything but the body: a view, valid while the message is. */
  get native(): Buffer {
    return this.nativeStart === this.nativeEnd ? emptyBuffer : this.bytes.subarray(this.nativeStart, this.nativeEnd);
  }

  get body(): Buffer {
    return this.bytes.subarray(this.bodyStart, this.bodyEnd);
  }

  /** Decoded on first use and kept; the values may be views, so that a flying message's are not kept beyond its turn. */
  get properties(): Properties {
    if (this.decoded === null) {
      this.decoded = this.format.decode(this.native, this);
      if (this.deaths.length > 0) showDeaths(this.decoded, this.deaths);
    }
    return this.decoded;
  }

  /**
   * What was decoded is decoded anew when it is asked for again. A message that is done with lies among the old, and the new
   * objects that it points to would be taken for old as well, until the whole heap is collected.
   */
  forgetProperties(): void {
    this.decoded = null;
  }

  /** A header as `properties` has it, which are decoded only if they must be; undefined when there is none. */
  findHeader(name: HeaderName): Value | undefined {
    const { lookup } = this.format;
    if (this.decoded === null && this.deaths.length === 0 && lookup !== undefined) {
      const found = lookup.findHeader(this.native, name);
      if (found !== undecided) return found;
    }
    return this.properties.headers.get(name.text);
  }

  /** The same of a field; what is a number in `properties` may be one with its type. */
  findField(field: LookupField): Value | number | undefined {
    const { lookup } = this.format;
    if (this.decoded === null && this.deaths.length === 0 && lookup !== undefined) {
      const found = lookup.findField(this.native, field);
      if (found !== undecided) return found;
    }
    return this.properties[field];
  }

  /** Those, and the hidden ones: where it goes when it dies. */
  get deathKeys(): readonly string[] {
    const { blindCopies } = this.properties;
    if (blindCopies === undefined || this.deaths.some((death) => death.rerouted)) return this.routingKeys;
    return [...this.routingKeys, ...blindCopies];
  }

  /** All keys that it was routed by: its own, and its visible copies' while no queue gave it another. */
  get routingKeys(): readonly string[] {
    const { copies } = this.properties;
    if (copies === undefined || this.deaths.some((death) => death.rerouted)) return [this.routingKey];
    return [this.routingKey, ...copies];
  }

  /**
   * `native` in the words of `format`: the publisher's own octets if it is the same and the message has not died,
   * else written once and kept.
   */
  as(format: MessageFormat): Buffer {
    if (format === this.format && this.deaths.length === 0) return this.native;
    if (format === this.translatedTo) return this.translation;
    return this.translations?.get(format) ?? this.translate(format);
  }

  /** False when `format` says less than the publisher did: what is missing has been counted. */
  isWholeAs(format: MessageFormat): boolean {
    this.as(format);
    return this.lossy === null || !this.lossy.includes(format);
  }

  private translate(format: MessageFormat): Buffer {
    let translation = memo.find(this, format);
    if (translation === undefined) {
      translation = translatePlain(this, format);
      if (translation === undefined) translation = this.translateProperties(format);
      else memo.keep(this, format, translation);
    }
    if (this.translatedTo === null) {
      this.translatedTo = format;
      this.translation = translation;
    } else {
      this.translations ??= new Map();
      this.translations.set(format, translation);
    }
    return translation;
  }

  private translateProperties(format: MessageFormat): Buffer {
    const translation =
      format === this.format && format.encodeDead !== undefined
        ? format.encodeDead(this.native, this.deaths)
        : format.encode(this.properties, this);
    const isWhole = this.countLosses(format);
    if (!isWhole) this.lossy = [...(this.lossy ?? []), format];
    // an alias of a reply address belongs to one virtual host, and lives by being asked for
    if (isWhole && this.properties.replyTo === undefined) memo.keep(this, format, translation);
    return translation;
  }

  /** False when the translation says less than the publisher did: such a one is not memoised, so that each counts. */
  private countLosses(format: MessageFormat): boolean {
    const { lost } = this.properties;
    const unsaid = takeLosses();
    if (lost === undefined && unsaid.length === 0) return true;
    conversionLosses.count(this.format.name, format.name, [...(lost ?? []), ...unsaid]);
    return false;
  }

  /** Copies the message out of the chunk that it was read from; called before it is kept beyond its turn. */
  rest(): void {
    if (this.resting) return;
    const length = this.end - this.start;
    const at = slab.take(length);
    this.bytes.copy(slab.buffer, at, this.start, this.end);
    const shift = at - this.start;
    this.bytes = slab.buffer;
    this.start = at;
    this.end += shift;
    this.nativeStart += shift;
    this.nativeEnd += shift;
    this.bodyStart += shift;
    this.bodyEnd += shift;
    this.resting = true;
    this.decoded = null;
  }
}

/** The same message anew, its octets shared: its place in the order is still to be given. It is at rest. */
export function repeatMessage(message: Message): Message {
  message.rest();
  const again = new Message(message);
  again.resting = true;
  again.replies = message.replies;
  return again;
}

/** The same message, its octets shared, with other facts; it is at rest. Its place in the order is still to be given. */
export function copyMessage(message: Message, facts: Partial<MessageFacts>): Message {
  message.rest();
  const copy = new Message({
    format: message.format,
    exchange: message.exchange,
    routingKey: message.routingKey,
    durable: message.durable,
    priority: message.priority,
    expiresAtMs: message.expiresAtMs,
    qos: message.qos,
    retain: message.retain,
    publisher: message.publisher,
    deaths: message.deaths,
    bytes: message.bytes,
    start: message.start,
    end: message.end,
    nativeStart: message.nativeStart,
    nativeEnd: message.nativeEnd,
    bodyStart: message.bodyStart,
    bodyEnd: message.bodyEnd,
    ...facts,
  });
  copy.resting = true; // its octets are at rest already
  copy.replies = message.replies;
  return copy;
}

// What a publisher wrote under these names was not the broker's; the expiry is spent.
function showDeaths(properties: Properties, deaths: readonly Death[]): void {
  const own = [...properties.headers].filter(([name]) => !isDeathHeader(name));
  properties.headers = new Map([...own, ...deathHeaders(deaths)]);
  delete properties.ttlMs;
}

export interface MessageFacts {
  readonly format: MessageFormat;
  readonly exchange: string;
  readonly routingKey: string;
  readonly durable: boolean;
  readonly priority: number;
  readonly expiresAtMs: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly publisher: Client | null;
  readonly deaths: readonly Death[];
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly nativeStart: number;
  readonly nativeEnd: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
}
