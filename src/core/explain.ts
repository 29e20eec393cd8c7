import { emptyBuffer } from '../lib/bytes.ts';
import type { Broker } from './broker.ts';
import type { Client } from './client.ts';
import type { Match } from './exchange/binding.ts';
import { spendDelay } from './exchange/delay.ts';
import { computeRoute, type RouteStep } from './exchange/route.ts';
import type { MessageFormat } from './format.ts';
import { conversionLosses } from './losses.ts';
import { Message, type MessageFacts, noDeaths } from './message.ts';
import { isTyped, type Properties, type Value } from './properties.ts';
import type { Queue } from './queue/queue.ts';
import { ReplyAliases, replyDefaults } from './reply.ts';
import { escapePrefix } from './text-headers.ts';
import type { Timing } from './timing.ts';
import { spell } from './typed-text.ts';
import type { Vhost } from './vhost.ts';

/** A message as somebody describes it, instead of publishing it. */
export interface Description {
  /** In the words of its protocol; of AMQP 0-9-1 the routing key. */
  readonly destination: string;
  /** Of AMQP 0-9-1 alone: the others' destinations say it. */
  readonly exchange: string;
  readonly properties: Properties;
  readonly body: Buffer;
  /** Of MQTT alone. */
  readonly qos: number;
  readonly retain: boolean;
}

/** Where a destination leads. */
export interface Address {
  readonly exchange: string;
  readonly routingKey: string;
  /** The queue that a publisher's protocol declares if it is not there; null: none. */
  readonly declares: string | null;
  /** When the destination wants it routed; absent: at once. */
  readonly timing?: Timing;
}

/** What a publisher of the protocol would have sent. */
export interface Composed {
  readonly format: MessageFormat;
  readonly native: Buffer;
  /** Further routing keys: CC and BCC. */
  readonly copies: readonly string[];
  /** When the message wants to be routed; null or absent: at once. */
  readonly timing?: Timing | null;
  /** What the publisher's listener makes of the message; absent: nothing. */
  readonly ruled?: { readonly body: Buffer; readonly priority: number; readonly expiresAtMs: number };
}

/**
 * One thing that a consumer gets beside the body. `delivery`: about the delivery, such as where it was published;
 * `field`: a place that the protocol has for it; `header`: among the applications' own.
 */
export interface Shown {
  readonly place: 'delivery' | 'field' | 'header';
  readonly name: string;
  readonly value: Value;
}

/** A protocol that can show messages: how they are written in it, and what its consumers get. */
export interface Script {
  readonly name: string;
  readonly title: string;
  /** 0 or more for protocols whose messages have a QoS, −1 for the others. */
  readonly qosMax: number;
  /** @throws BrokerError for what is no destination of the protocol */
  findAddress(description: Description, broker: Broker, vhost: Vhost): Address;
  /** @param described holds the properties; `as` writes them */
  compose(described: Message, nowMs: number): Composed;
  /** @returns what a consumer gets, and the octets beside the body for the format to read again */
  show(message: Message, nowMs: number): { format: MessageFormat; native: Buffer; shown: readonly Shown[] };
}

/** What a consumer of one protocol gets. */
export interface Received {
  readonly script: Script;
  readonly shown: readonly Shown[];
  /** Names of headers that the publisher did not write: what has no place of its own travels in them. */
  readonly companions: ReadonlySet<string>;
  /** Fields and headers that do not come back from what the consumer gets. */
  readonly lost: readonly string[];
}

export interface Explanation {
  readonly message: Message;
  /** The queue that publishing it would declare; null: none. */
  readonly declares: string | null;
  readonly routingKeys: readonly string[];
  readonly steps: readonly RouteStep[];
  readonly targets: readonly { readonly queue: Queue; readonly match: Match | null }[];
  readonly retained: boolean;
  /** It would be held until then, and routed by the bindings of then; null: it would be routed at once. */
  readonly timing: Timing | null;
  readonly received: readonly Received[];
}

/**
 * What would become of a message, by the functions that publish and deliver; nothing is published, and nothing changes.
 * @throws BrokerError that its publisher would meet
 */
export function explain(
  broker: Broker,
  client: Client,
  source: Script,
  description: Description,
  scripts: readonly Script[],
): Explanation {
  const { vhost } = client;
  const address = source.findAddress(description, broker, vhost);
  const declares = address.declares === null || vhost.queues.has(address.declares) ? null : address.declares;
  if (declares !== null) vhost.demand(client, 'configure', 'queue', declares);
  const route = vhost.routeFrom(client, address.exchange, address.routingKey);
  const { exchange } = route;
  const { message: published, copies } = conversionLosses.aside(() =>
    compose(broker, client, source, description, address),
  );
  if (exchange.spec.type === 'topic') {
    for (const key of copies) vhost.demandTopic(client, key, exchange.name);
  }
  const timing = vhost.findTiming(route, published);
  const message =
    timing === null || published.timing !== null ? published : spend(published, timing.dueMs - broker.nowMs);
  const routingKeys = [address.routingKey, ...copies];
  const steps: RouteStep[] = [];
  const { targets } = computeRoute(vhost, exchange, routingKeys, message, steps);
  return {
    message,
    declares,
    routingKeys,
    steps,
    targets,
    retained: vhost.isRetained(message),
    timing,
    received: conversionLosses.aside(() => scripts.map((script) => receive(message, script, broker.nowMs))),
  };
}

function compose(
  broker: Broker,
  client: Client,
  source: Script,
  { properties, body, qos, retain }: Description,
  { exchange, routingKey, timing: timingOfAddress }: Address,
): { message: Message; copies: readonly string[] } {
  const hasQos = source.qosMax >= 0;
  // aliases of its own: those of the virtual host would remember what nobody published
  const house = {
    topicMapping: client.vhost.topicMapping,
    mayLend: () => true,
    outlivesRestart: () => false,
    remember: () => {},
    forget: () => {},
  };
  const replies = new ReplyAliases({ ...replyDefaults, clock: broker.clock, createToken: () => '…', house });
  const facts = {
    exchange,
    routingKey,
    durable: hasQos ? qos > 0 : properties.durable === true,
    priority: properties.priority ?? -1,
    expiresAtMs: properties.ttlMs === undefined ? 0 : broker.nowMs + properties.ttlMs,
    qos: hasQos ? Math.min(qos, source.qosMax) : -1,
    retain: hasQos && retain,
    publisher: client,
    deaths: noDeaths,
  };
  const described = makeMessage({ ...facts, format: descriptionFormat(properties) }, emptyBuffer, body);
  const { format, native, copies, timing, ruled = { ...facts, body } } = source.compose(described, broker.nowMs);
  const { priority, expiresAtMs } = ruled;
  const message = makeMessage({ ...facts, format, priority, expiresAtMs }, native, ruled.body);
  message.timing = timingOfAddress ?? timing ?? null;
  message.replies = replies;
  return { message, copies };
}

// As an exchange that delays keeps it.
function spend(message: Message, delayMs: number): Message {
  const spent = spendDelay(message, delayMs);
  spent.replies = message.replies;
  return spent;
}

// Of no wire: its properties are what was described.
function descriptionFormat(properties: Properties): MessageFormat {
  return { name: 'description', id: -1, decode: () => properties, encode: () => emptyBuffer };
}

type Place = 'bytes' | 'start' | 'end' | 'nativeStart' | 'nativeEnd' | 'bodyStart' | 'bodyEnd';

function makeMessage(facts: Omit<MessageFacts, Place>, native: Buffer, body: Buffer): Message {
  const bytes = Buffer.concat([native, body]);
  const end = bytes.length;
  const middle = native.length;
  const place = { start: 0, end, nativeStart: 0, nativeEnd: middle, bodyStart: middle, bodyEnd: end };
  return new Message({ ...facts, ...place, bytes });
}

function receive(message: Message, script: Script, nowMs: number): Received {
  const { format, native, shown } = script.show(message, nowMs);
  const { headers } = message.properties;
  const names = new Set(shown.map(({ name }) => name));
  const isOwn = (name: string): boolean => headers.has(name) && !names.has(escapePrefix + name);
  const companions = shown.filter(({ place, name }) => place === 'header' && !isOwn(name));
  return {
    script,
    shown,
    companions: new Set(companions.map(({ name }) => name)),
    lost: format === message.format ? [] : findLost(message, format, native),
  };
}

/** What the format does not read again out of what it has written; durability is the delivery's, and not asked for. */
function findLost(message: Message, format: MessageFormat, native: Buffer): string[] {
  const copy = makeMessage({ ...message, format }, native, message.body);
  copy.replies = message.replies;
  const [before, after] = [message.properties, copy.properties];
  const lost: string[] = [...(before.lost ?? [])];
  for (const field of Object.keys(before) as (keyof Properties)[]) {
    if (
      field === 'headers' ||
      field === 'lost' ||
      field === 'durable' ||
      field === 'copies' ||
      field === 'blindCopies' ||
      before[field] === undefined
    )
      continue;
    // an address has another name for everybody, and time passes
    const isThere = after[field] !== undefined;
    const same = field === 'replyTo' || field === 'ttlMs' ? isThere : isThere && isSame(before[field], after[field]);
    if (!same) lost.push(field);
  }
  for (const [name, value] of before.headers) {
    const found = after.headers.get(name);
    if (found === undefined || !isSame(value, found)) lost.push(`header '${name}'`);
  }
  return lost;
}

function isSame(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' || typeof a === 'boolean') return a === b;
  const [left, right] = [spell(a as Value), spell(b as Value)];
  return left.text === right.text && left.letter === right.letter;
}

/** The name of a value's type, for people. */
export function typeOf(value: Value): string {
  if (value === null) return 'null';
  if (typeof value === 'boolean') return 'boolean';
  if (typeof value === 'string') return 'text';
  if (Buffer.isBuffer(value)) return 'binary';
  if (Array.isArray(value)) return 'list';
  return isTyped(value) ? value.type : 'table';
}
