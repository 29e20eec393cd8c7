import type { Clock } from '../lib/clock.ts';
import { type TypedValue, toOctets, type Value } from './properties.ts';

/**
 * Reply addresses that cross protocols. A responder knows nothing of the requester's protocol: it is shown an alias
 * that it can publish to with its own habits, and what it sends there goes to the address behind it.
 */
export interface ReplyAddress {
  readonly exchange: string;
  readonly key: string;
  /** As the requester wrote it, and in which protocol: there it comes back as it was. */
  readonly text: string;
  readonly protocol: string;
}

/** An alias is a queue's name to AMQP and STOMP, and a topic's first level to MQTT. */
export const aliasQueuePrefix = 'rosetta.reply.';
export const aliasTopicPrefix = '$reply/';

interface Alias {
  readonly token: string;
  readonly address: ReplyAddress;
  usedMs: number;
}

export interface ReplyOptions {
  readonly clock: Clock;
  /** A token that nobody guesses. */
  createToken(): string;
  readonly aliasMax: number;
  /** Milliseconds without use after which an alias is forgotten. */
  readonly expiryMs: number;
}

/** Bounds of the table; an alias that is not used is forgotten. */
export const replyDefaults = { aliasMax: 100_000, expiryMs: 600_000 } as const;

/** The aliases of one virtual host: one token for each address, in a bounded table. */
export class ReplyAliases {
  private readonly options: ReplyOptions;
  private readonly byToken = new Map<string, Alias>();
  private readonly byAddress = new Map<string, Alias>();

  constructor(options: ReplyOptions) {
    this.options = options;
  }

  tokenFor(address: ReplyAddress): string {
    const { nowMs } = this.options.clock;
    const id = `${address.protocol}\0${address.text}\0${address.exchange}\0${address.key}`;
    let alias = this.byAddress.get(id);
    if (alias === undefined) {
      alias = { token: this.options.createToken(), address, usedMs: nowMs };
      this.byAddress.set(id, alias);
    } else {
      // the maps keep the order of last use, oldest first
      this.byAddress.delete(id);
      this.byAddress.set(id, alias);
    }
    alias.usedMs = nowMs;
    this.byToken.set(alias.token, alias);
    this.forget(nowMs);
    return alias.token;
  }

  /** The queue that a responder of another protocol is shown. */
  aliasQueueFor(address: ReplyAddress): string {
    return aliasQueuePrefix + this.tokenFor(address);
  }

  /** The address behind a name that a requester gave, if it is an alias of ours; the name itself otherwise. */
  resolve(address: ReplyAddress): ReplyAddress {
    if (address.exchange !== '' || !address.key.startsWith(aliasQueuePrefix)) return address;
    return this.find(address.key.slice(aliasQueuePrefix.length)) ?? address;
  }

  /** The address behind a token, whose time begins anew; undefined when there is none, or it has expired. */
  find(token: string): ReplyAddress | undefined {
    const { nowMs } = this.options.clock;
    const alias = this.byToken.get(token);
    if (alias === undefined || nowMs - alias.usedMs > this.options.expiryMs) return undefined;
    alias.usedMs = nowMs;
    return alias.address;
  }

  private forget(nowMs: number): void {
    for (const [id, alias] of this.byAddress) {
      const isFull = this.byAddress.size > this.options.aliasMax;
      if (!isFull && nowMs - alias.usedMs <= this.options.expiryMs) return;
      this.byAddress.delete(id);
      this.byToken.delete(alias.token);
    }
  }
}

/**
 * A Response Topic as a routing key, for responders written for RabbitMQ's MQTT plugin: beside the alias, and read where
 * there is no other reply address.
 */
export const replyTopicHeader = 'x-reply-to-topic';

/** Of an address of MQTT, unless the publisher has a header of the name. */
export function showReplyTopic(address: ReplyAddress, headers: Map<string, Value>): void {
  if (address.protocol === 'mqtt' && !headers.has(replyTopicHeader)) headers.set(replyTopicHeader, address.key);
}

/** The inverse: beside the address that it is of it is nobody's header. */
export function hideReplyTopic(address: ReplyAddress | undefined, headers: Map<string, Value>): void {
  if (address?.protocol === 'mqtt' && headers.get(replyTopicHeader) === address.key) headers.delete(replyTopicHeader);
}

const correlationPrefix = 'rosetta.c.';
/** Behind the octets of an id that is no binary. */
const typeMarks = { uuid: '.U', ulong: '.L' } as const;

/** A correlation that is no short text, as one: plain responders copy the native field and nothing else. */
export function spellCorrelation(id: Buffer | TypedValue): string {
  if (Buffer.isBuffer(id)) return correlationPrefix + id.toString('base64url');
  const mark = id.type === 'uuid' || id.type === 'ulong' ? typeMarks[id.type] : '';
  return correlationPrefix + toOctets(id).toString('base64url') + mark;
}

/** What `spellCorrelation` spelled; undefined for any other text. */
export function readCorrelation(text: string): Buffer | TypedValue | undefined {
  if (!text.startsWith(correlationPrefix)) return undefined;
  const [encoded = '', mark = ''] = text.slice(correlationPrefix.length).split('.');
  const octets = Buffer.from(encoded, 'base64url');
  if (mark === 'U' && octets.length === 16) return { type: 'uuid', value: octets };
  if (mark === 'L' && /^\d{1,20}$/.test(octets.toString())) return { type: 'ulong', value: BigInt(octets.toString()) };
  return octets;
}
