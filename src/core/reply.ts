import type { Clock } from '../lib/clock.ts';
import type { Client } from './client.ts';
import { type TypedValue, toOctets, type Value } from './properties.ts';
import type { TopicMapping } from './topic.ts';

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
  /** The requester lends its permission to publish there; without it the responder's own counts. */
  readonly lent?: boolean;
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
  readonly house: ReplyHouse;
}

/** What aliases ask of their virtual host. */
export interface ReplyHouse {
  /** How reply addresses of MQTT are spelled as routing keys. */
  readonly topicMapping: TopicMapping;
  /** Could the client publish there itself, or is it its own queue? */
  mayLend(client: Client, address: ReplyAddress): boolean;
  /** Is somebody there, after a restart too, whom a reply would reach? */
  outlivesRestart(address: ReplyAddress): boolean;
  /** Keeps the alias beyond a restart, which gives it back to `restore`. */
  remember(token: string, address: ReplyAddress): void;
  forget(token: string): void;
}

/** Bounds of the table; an alias that is not used is forgotten. */
export const replyDefaults = { aliasMax: 100_000, expiryMs: 600_000 } as const;

/** The aliases of one virtual host: one token for each address, and whether it is lent, in a bounded table. */
export class ReplyAliases {
  private readonly options: ReplyOptions;
  private readonly byToken = new Map<string, Alias>();
  private readonly byAddress = new Map<string, Alias>();
  private readonly remembered = new Set<string>();

  constructor(options: ReplyOptions) {
    this.options = options;
  }

  get topicMapping(): TopicMapping {
    return this.options.house.topicMapping;
  }

  /** @param requester who asked to be answered there; null when it is not known any longer */
  tokenFor(address: ReplyAddress, requester: Client | null): string {
    const { clock, house } = this.options;
    const lent = address.lent === true || (requester !== null && house.mayLend(requester, address));
    const id = idOf(address, lent);
    let alias = this.byAddress.get(id);
    if (alias === undefined) {
      alias = { token: this.options.createToken(), address: { ...address, lent }, usedMs: 0 };
      this.byToken.set(alias.token, alias);
      if (house.outlivesRestart(address)) {
        this.remembered.add(alias.token);
        house.remember(alias.token, alias.address);
      }
    } else this.byAddress.delete(id); // the map keeps the order of last use, oldest first
    this.byAddress.set(id, alias);
    alias.usedMs = clock.nowMs;
    this.tidy();
    return alias.token;
  }

  /** The queue that a responder of another protocol is shown. */
  aliasQueueFor(address: ReplyAddress, requester: Client | null): string {
    return aliasQueuePrefix + this.tokenFor(address, requester);
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

  /** What was remembered, at the start; its time begins anew. */
  restore(token: string, address: ReplyAddress): void {
    const alias = { token, address, usedMs: this.options.clock.nowMs };
    this.byToken.set(token, alias);
    this.byAddress.set(idOf(address, address.lent === true), alias);
    this.remembered.add(token);
  }

  clear(): void {
    for (const [id, alias] of this.byAddress) this.remove(id, alias);
  }

  // What was used by a responder stands where it was last asked for: it goes a little late.
  private tidy(): void {
    const { clock, aliasMax, expiryMs } = this.options;
    for (const [id, alias] of this.byAddress) {
      if (this.byAddress.size <= aliasMax && clock.nowMs - alias.usedMs <= expiryMs) return;
      this.remove(id, alias);
    }
  }

  private remove(id: string, { token }: Alias): void {
    this.byAddress.delete(id);
    this.byToken.delete(token);
    if (this.remembered.delete(token)) this.options.house.forget(token);
  }
}

function idOf({ protocol, text, exchange, key }: ReplyAddress, lent: boolean): string {
  return `${lent}\0${protocol}\0${text}\0${exchange}\0${key}`;
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

/** Of a correlation of octets, spelled as text. */
export const correlationPrefix = 'rosetta.c.';
/** Behind the octets of an id that is no binary. */
const typeMarks = { uuid: '.U', ulong: '.L' } as const;

/** A correlation that is no short text, as one: plain responders copy the native field and nothing else. */
export function spellCorrelation(id: Buffer | TypedValue): string {
  if (Buffer.isBuffer(id)) return correlationPrefix + id.toString('base64url');
  const mark = id.type === 'uuid' || id.type === 'ulong' ? typeMarks[id.type] : '';
  return correlationPrefix + toOctets(id).toString('base64url') + mark;
}

/** What `spellCorrelation` spelled; undefined for any other text, for it comes back from elsewhere as it was. */
export function readCorrelation(text: string): Buffer | TypedValue | undefined {
  if (!text.startsWith(correlationPrefix)) return undefined;
  const [encoded = '', mark = ''] = text.slice(correlationPrefix.length).split('.');
  const octets = Buffer.from(encoded, 'base64url');
  let id: Buffer | TypedValue = octets;
  if (mark === 'U' && octets.length === 16) id = { type: 'uuid', value: octets };
  else if (mark === 'L' && /^\d{1,20}$/.test(octets.toString()))
    id = { type: 'ulong', value: BigInt(octets.toString()) };
  return spellCorrelation(id) === text ? id : undefined;
}
