import { decodeText, encodeText } from '../lib/bytes.ts';
import { OctetSearch } from '../lib/octet-search.ts';
import type { Client } from './client.ts';
import { nameKey } from './definitions.ts';
import { findFormat } from './format.ts';
import type { Journal, Position } from './journal.ts';
import { HeaderName } from './lookup.ts';
import { Message, noDeaths } from './message.ts';
import type { Headers, Value } from './properties.ts';
import { anyWord, anyWords, type Pattern, type Token, wordsOf } from './topic.ts';
import { dropValue, findNode, makeNode, TopicNode } from './topic-tree.ts';

/** The kind of retained messages among the journal's states; the key is virtual host and routing key. */
export const retainedKind = 'retained';

/**
 * The header by which publishers of other protocols than MQTT say that their message is to be retained, and by which
 * their consumers see that it is; as an argument of a binding it asks for what is retained already.
 */
export const retainHeader = 'x-mqtt-retain';
/** In the names that the formats have for it: AMQP 1.0's annotation is `x-opt-mqtt-retain`. */
const retainMark = new OctetSearch('mqtt-retain');
const retainName = new HeaderName(retainHeader);

export interface RetainedLimits {
  /** Messages of a virtual host. */
  readonly countMax: number;
  /** Octets of a body. */
  readonly bodyBytesMax: number;
}

interface Kept {
  readonly message: Message;
  /** Who published it, of those that have client ids; '' = nobody knows. */
  readonly publisher: string;
}

type Node = TopicNode<Kept>;

/**
 * The last retained message of each topic of a virtual host, in a tree over the topic's words so that filters with
 * wildcards visit only what they match. Each message is a copy of its own: it may stay for years and must not keep
 * what it came with.
 */
export class Retained {
  count = 0;
  /** Of all bodies. */
  bodyBytes = 0;
  /** Messages that a limit had no room for. */
  refused = 0;
  private readonly vhost: string;
  /** null: what is retained goes with the process. */
  private readonly journal: Journal | null;
  private readonly limits: RetainedLimits;
  private readonly root: Node = new TopicNode([], null);
  private readonly expiring = new Set<Node>();

  constructor(vhost: string, journal: Journal | null, limits: RetainedLimits) {
    this.vhost = vhost;
    this.journal = journal;
    this.limits = limits;
  }

  /**
   * Takes the place of the topic's last one; an empty body only clears it [MQTT-3.3.1-6] [MQTT-3.3.1-7]. The message
   * is copied.
   * @returns the position to wait for, 0 when nothing was written, −1 when a limit refuses it
   */
  set(message: Message): Position {
    if (message.bodyBytes === 0) return this.clear(message.routingKey);
    const found = this.find(message.routingKey);
    if (message.bodyBytes > this.limits.bodyBytesMax || (found === null && this.count >= this.limits.countMax)) {
      this.refused += 1;
      return -1;
    }
    const value = encode(message);
    this.keep(value, message.routingKey);
    return this.journal?.put(retainedKind, nameKey(this.vhost, message.routingKey), value) ?? 0;
  }

  /** @returns as `set` */
  clear(routingKey: string): Position {
    const node = this.findNode(routingKey);
    return node === undefined || node.value === null ? 0 : this.drop(node, node.value);
  }

  clearAll(): void {
    const all: Message[] = [];
    collectAll(this.root, 0, all, false);
    for (const { routingKey } of all) this.clear(routingKey);
  }

  /** null when nothing is retained, or what was is expired. */
  get(routingKey: string, nowMs: number): Message | null {
    const message = this.find(routingKey);
    return message === null || isExpired(message, nowMs) ? null : message;
  }

  /** All whose routing key the filter matches; a leading wildcard does not match a leading `$` [MQTT-4.7.2-1]. */
  match(filter: Pattern, nowMs: number): Message[] {
    return collect(this.root, filter, nowMs, true);
  }

  /** All whose routing key the pattern of a binding matches: to its wildcards `$` is a character as others. */
  matchBinding(pattern: Pattern, nowMs: number): Message[] {
    return collect(this.root, pattern, nowMs, false);
  }

  /** Did the client publish what is retained? It may have come with an earlier connection, or before a restart. */
  isFrom(client: Client, { routingKey }: Message): boolean {
    const publisher = this.findNode(routingKey)?.value?.publisher ?? '';
    return publisher !== '' && publisher === nameOf(client);
  }

  /** Forgets what is expired; to be called now and then. */
  sweep(nowMs: number): void {
    for (const node of this.expiring) if (isExpired(node.value!.message, nowMs)) this.drop(node, node.value!);
  }

  /** Puts back what the journal remembers. */
  restore(routingKey: string, value: Buffer): void {
    this.keep(value, routingKey);
  }

  private keep(value: Buffer, routingKey: string): void {
    const message = decode(value, routingKey);
    const node = makeNode(this.root, wordsOf(message.routingKey));
    if (node.value === null) this.count += 1;
    else this.bodyBytes -= node.value.message.bodyBytes;
    this.bodyBytes += message.bodyBytes;
    node.value = { message, publisher: publisherIn(value) };
    if (message.expiresAtMs > 0) this.expiring.add(node);
    else this.expiring.delete(node);
  }

  private drop(node: Node, { message: { routingKey, bodyBytes } }: Kept): Position {
    this.bodyBytes -= bodyBytes;
    this.count -= 1;
    this.expiring.delete(node);
    dropValue(node);
    return this.journal?.delete(retainedKind, nameKey(this.vhost, routingKey)) ?? 0;
  }

  private find(routingKey: string): Message | null {
    return this.findNode(routingKey)?.value?.message ?? null;
  }

  private findNode(routingKey: string): Node | undefined {
    return findNode(this.root, wordsOf(routingKey));
  }
}

function isExpired(message: Message, nowMs: number): boolean {
  return message.expiresAtMs > 0 && message.expiresAtMs <= nowMs;
}

/**
 * What a pattern matches below `root`. Each node is visited once, with all the places of the pattern that may go on
 * there, from a list and not by calls within calls: topics may have 65,536 words, and bindings many `#`.
 *
 * @param hides at the root, wildcards do not see words that begin with `$`
 */
function collect(root: Node, pattern: Pattern, nowMs: number, hides: boolean): Message[] {
  const found: Message[] = [];
  const visits = [{ node: root, places: [0] }];
  for (const { node, places } of visits) {
    let reached = pastHashes(pattern, places);
    for (let i = 1; i < node.path.length && !endsInHash(pattern, reached); i++) {
      reached = pastHashes(pattern, placesBehind(pattern, reached, node.path[i]!));
    }
    if (endsInHash(pattern, reached)) {
      collectAll(node, nowMs, found, hides && node === root);
      continue;
    }
    if (reached.includes(pattern.length)) take(node, nowMs, found);
    for (const next of nextNodes(node, pattern, reached)) {
      if (hides && node === root && pattern[0] === anyWord && isHidden(next)) continue;
      visits.push({ node: next, places: placesBehind(pattern, reached, next.path[0]!) });
    }
  }
  return found;
}

/** With the places behind each `#`, which may stand for no word at all. */
function pastHashes(pattern: Pattern, places: readonly number[]): number[] {
  const reached = new Set<number>();
  for (let place of places) {
    reached.add(place);
    while (pattern[place] === anyWords) reached.add(++place);
  }
  return [...reached];
}

function endsInHash(pattern: Pattern, places: readonly number[]): boolean {
  return pattern[pattern.length - 1] === anyWords && places.includes(pattern.length - 1);
}

function nextNodes(node: Node, pattern: Pattern, places: readonly number[]): Iterable<Node> {
  const { words } = node;
  if (words === null) return [];
  const tokens = places.filter((place) => place < pattern.length).map((place) => pattern[place]!);
  if (tokens.includes(anyWord) || tokens.includes(anyWords)) return words.values();
  return [...new Set(tokens)].flatMap((token) => (typeof token === 'string' ? (words.get(token) ?? []) : []));
}

function placesBehind(pattern: Pattern, places: readonly number[], word: Token): number[] {
  const behind: number[] = [];
  for (const place of places) {
    const token = pattern[place];
    if (token === anyWords) behind.push(place);
    else if (token === anyWord || token === word) behind.push(place + 1);
  }
  return behind;
}

function collectAll(root: Node, nowMs: number, found: Message[], hides: boolean): void {
  const nodes = [root];
  for (const node of nodes) {
    take(node, nowMs, found);
    if (node.words === null) continue;
    for (const next of node.words.values()) if (!(hides && node === root && isHidden(next))) nodes.push(next);
  }
}

function take({ value }: Node, nowMs: number, found: Message[]): void {
  if (value !== null && !isExpired(value.message, nowMs)) found.push(value.message);
}

function isHidden(node: Node): boolean {
  return (node.path[0] as string).charCodeAt(0) === 0x24;
}

/*
 *  format u8 │ qos i8 │ priority i16 │ flags u8 │ expiresAtMs f64 │ exchange (u16 + text)
 *  │ publisher (u16 + text), with its flag │ native (u32 +) │ body
 */
const fixedBytes = 13;
const durableFlag = 1;
const publisherFlag = 2;

function nameOf({ protocol, clientId }: Client): string {
  return clientId === undefined ? '' : `${protocol} ${clientId}`;
}

function encode(message: Message): Buffer {
  const exchange = encodeText(message.exchange);
  const native = message.as(message.format);
  const publisher = encodeText(message.publisher === null ? '' : nameOf(message.publisher));
  const hasPublisher = publisher.length > 0 && publisher.length <= 0xffff;
  const publisherBytes = hasPublisher ? 2 + publisher.length : 0;
  const headBytes = fixedBytes + 2 + exchange.length + publisherBytes + 4;
  const out = Buffer.allocUnsafeSlow(headBytes + native.length + message.bodyBytes);
  out[0] = message.format.id;
  out.writeInt8(message.qos, 1);
  out.writeInt16BE(message.priority, 2);
  out[4] = (message.durable ? durableFlag : 0) | (hasPublisher ? publisherFlag : 0);
  out.writeDoubleBE(message.expiresAtMs, 5);
  let at = out.writeUInt16BE(exchange.length, fixedBytes);
  at += exchange.copy(out, at);
  if (hasPublisher) {
    at = out.writeUInt16BE(publisher.length, at);
    at += publisher.copy(out, at);
  }
  at = out.writeUInt32BE(native.length, at);
  at += native.copy(out, at);
  message.bytes.copy(out, at, message.bodyStart, message.bodyEnd);
  return out;
}

/** A message that is a view into `value`, which is the caller's no longer. */
function decode(value: Buffer, routingKey: string): Message {
  const exchangeEnd = fixedBytes + 2 + value.readUInt16BE(fixedBytes);
  const publisherEnd = exchangeEnd + publisherBytesIn(value, exchangeEnd);
  const nativeStart = publisherEnd + 4;
  const bodyStart = nativeStart + value.readUInt32BE(publisherEnd);
  const format = findFormat(value[0]!);
  if (format === undefined) throw new RangeError(`unknown message format ${value[0]}`);
  const message = new Message({
    format,
    exchange: decodeText(value, fixedBytes + 2, exchangeEnd),
    routingKey,
    durable: (value[4]! & durableFlag) !== 0,
    priority: value.readInt16BE(2),
    expiresAtMs: value.readDoubleBE(5),
    qos: value.readInt8(1),
    retain: true,
    publisher: null,
    deaths: noDeaths,
    bytes: value,
    start: nativeStart,
    end: value.length,
    nativeStart,
    nativeEnd: bodyStart,
    bodyStart,
    bodyEnd: value.length,
  });
  message.resting = true;
  return message;
}

function publisherBytesIn(value: Buffer, at: number): number {
  return (value[4]! & publisherFlag) === 0 ? 0 : 2 + value.readUInt16BE(at);
}

function publisherIn(value: Buffer): string {
  const at = fixedBytes + 2 + value.readUInt16BE(fixedBytes);
  const bytes = publisherBytesIn(value, at);
  return bytes === 0 ? '' : decodeText(value, at + 2, at + bytes);
}

/** The same message for one more queue: it gets its own place in the order of all messages. */
export function copyOf(message: Message): Message {
  const copy = new Message(message);
  copy.resting = message.resting;
  return copy;
}

/** True if the publisher of another protocol asked for it; its headers are decoded only when they name the header. */
export function asksToBeRetained(message: Message): boolean {
  if (!retainMark.isIn(message.bytes, message.nativeStart, message.nativeEnd)) return false;
  return isYes(message.findHeader(retainName));
}

/** True for the arguments of a binding whose queue is to get what is retained already. */
export function asksForRetained(args: Headers): boolean {
  return args.size > 0 && isYes(args.get(retainHeader));
}

function isYes(value: Value | undefined): boolean {
  return value === true || value === 'true';
}
