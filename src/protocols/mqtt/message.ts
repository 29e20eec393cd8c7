import { isUtf8 } from 'node:buffer';
import { type MessageFormat, register } from '../../core/format.ts';
import type { Message } from '../../core/message.ts';
import { type Headers, type Properties, type TypedValue, toOctets, type Value } from '../../core/properties.ts';
import { keepRepeats, restoreRepeats } from '../../core/repeated-lines.ts';
import {
  aliasTopicPrefix,
  type ReplyAddress,
  readCorrelation,
  replyTopicHeader,
  spellCorrelation,
} from '../../core/reply.ts';
import { retainHeader } from '../../core/retained.ts';
import { TextHeaders } from '../../core/text-headers.ts';
import { addType, letterOf, readTypes, textOrBinary, typesHeader } from '../../core/typed-text.ts';
import { UnspelledFields } from '../../core/unspelled.ts';
import { decodeText } from '../../lib/bytes.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { malformed, Reader } from './decode.ts';
import { createLookup } from './lookup.ts';
import { createPlain } from './plain.ts';
import { PropertyId } from './properties.ts';
import { findQueueName, isTopicName, type Spelling, spellingOf } from './topic.ts';

export const publishProperties = [
  PropertyId.payloadFormatIndicator,
  PropertyId.messageExpiryInterval,
  PropertyId.topicAlias,
  PropertyId.responseTopic,
  PropertyId.correlationData,
  PropertyId.userProperty,
  PropertyId.subscriptionIdentifier,
  PropertyId.contentType,
] as const;

/** What the companion header calls Correlation Data; a user property of the name is escaped. */
const correlationName = 'correlation-data';

const userProperties = new TextHeaders(
  {
    contentType: null,
    textPayload: null,
    correlationId: null,
  },
  [correlationName],
);

const userPropertyMax = 65_535;

/** MQTT 3.1 and 3.1.1: a message has a topic and a body, and no properties. */
export const mqtt3Format: MessageFormat = register({
  name: 'mqtt-3',
  id: 2,
  decode: (_native, message) => ({ headers: retainedHeaders(message), durable: message.qos > 0 }),
  encode: () => Buffer.alloc(0),
});

/** MQTT 5: `native` is the property block of the PUBLISH, without its length. */
export const mqtt5Format: MessageFormat = register({
  name: 'mqtt-5',
  id: 3,
  decode: decodeBlock,
  lookup: createLookup(userProperties),
  plain: createPlain(userProperties),
  encode: encodeBlock,
});

/**
 * The same, where the user property `user-id` names somebody else than the publisher: MQTT's subscribers get it as it
 * came, and to the other protocols it is no user id.
 */
export const strangeUserFormat: MessageFormat = register({
  name: 'mqtt-5',
  id: 12,
  decode: (native, message) => {
    const properties = decodeBlock(native, message);
    delete properties.userId;
    properties.lost = [...(properties.lost ?? []), 'userId'];
    return properties;
  },
  encode: encodeBlock,
});

/** The property block that subscribers get: the publisher's own octets if it spoke MQTT 5. */
export function nativeFor(message: Message): Buffer {
  const isOwn = message.format === strangeUserFormat && message.deaths.length === 0;
  return isOwn ? message.native : message.as(mqtt5Format);
}

/** False when `nativeFor` says less than the publisher did. */
export function isWholeFor(message: Message): boolean {
  return message.format === strangeUserFormat && message.deaths.length === 0 ? true : message.isWholeAs(mqtt5Format);
}

/** RETAIN as the other protocols say it. */
function retainedHeaders({ retain }: Message): Map<string, Value> {
  return retain ? new Map([[retainHeader, true]]) : new Map();
}

function withoutRetain(headers: Headers): Headers {
  return new Map([...headers].filter(([name]) => name !== retainHeader));
}

// The block was read when it came: its texts are known to be text.
function decodeBlock(native: Buffer, message: Message): Properties {
  const reader = new Reader(native, 0, native.length);
  const properties: Properties = { headers: retainedHeaders(message), durable: message.qos > 0 };
  const pairs: [name: string, value: string][] = [];
  let correlation: Buffer | null = null;
  while (!reader.done) {
    const id = reader.octet();
    switch (id) {
      case PropertyId.payloadFormatIndicator:
        properties.textPayload = reader.octet() === 1;
        break;
      case PropertyId.messageExpiryInterval:
        properties.ttlMs = reader.long() * 1000;
        break;
      case PropertyId.topicAlias:
        reader.short();
        break;
      case PropertyId.responseTopic:
        properties.replyTo = readResponseTopic(reader.knownText(), message);
        break;
      case PropertyId.correlationData:
        correlation = Buffer.from(reader.octets());
        break;
      case PropertyId.userProperty:
        pairs.push([reader.knownName(), reader.knownText()]);
        break;
      case PropertyId.subscriptionIdentifier:
        reader.varint();
        break;
      case PropertyId.contentType:
        properties.contentType = reader.knownText();
        break;
      default:
        throw malformed(`property 0x${id.toString(16)} has no place here`);
    }
  }
  if (correlation !== null) {
    const types = readTypes(pairs.find(([name]) => name === typesHeader)?.[1] ?? '');
    properties.correlationId = readCorrelationData(correlation, types.get(correlationName));
  }
  if (pairs.length === 0) return properties;
  if (userProperties.decode(pairs, properties, spells)) keepRepeats(pairs, residuePart, properties);
  takeReplyTopic(properties, message);
  return properties;
}

// A header of it beside the Response Topic says that there was no other reply address.
function takeReplyTopic(properties: Properties, message: Message): void {
  const { replyTo, headers } = properties;
  const topic = headers.get(replyTopicHeader);
  if (
    typeof topic === 'string' &&
    replyTo?.protocol === protocol &&
    spellingFor(message).toRoutingKey(replyTo.text) === topic
  ) {
    delete properties.replyTo;
  }
}

// Of a message with no other reply address; a routing key that is no topic is none.
function findReplyTopic({ replyTo, headers }: Properties, message: Message): string | undefined {
  const key = headers.get(replyTopicHeader);
  if (replyTo !== undefined || typeof key !== 'string') return undefined;
  const topic = spellingFor(message).toTopic(key);
  return isTopicName(topic) && isSpellable(topic) ? topic : undefined;
}

function encodeBlock(properties: Properties, message: Message): Buffer {
  out.begin();
  let letter = '';
  if (properties.textPayload !== undefined) {
    out.u8(PropertyId.payloadFormatIndicator);
    out.u8(properties.textPayload ? 1 : 0);
  }
  if (message.expiresAtMs !== 0) {
    out.u8(PropertyId.messageExpiryInterval);
    out.u32(0); // each delivery writes what remains
  }
  const unspelled = new UnspelledFields();
  if (properties.contentType !== undefined) {
    if (isSpellable(properties.contentType)) writeText(PropertyId.contentType, properties.contentType);
    else unspelled.add('contentType', properties.contentType);
  }
  const responseTopic =
    properties.replyTo === undefined
      ? findReplyTopic(properties, message)
      : toResponseTopic(properties.replyTo, message);
  if (responseTopic !== undefined) writeText(PropertyId.responseTopic, responseTopic);
  if (properties.correlationId !== undefined) {
    const shown = showCorrelationData(properties.correlationId, properties.replyTo !== undefined);
    out.u8(PropertyId.correlationData);
    out.u16(shown[0].length);
    out.raw(shown[0]);
    letter = shown[1];
  }
  // RETAIN of a delivery says it itself
  const shown = message.retain ? { ...properties, headers: withoutRetain(properties.headers) } : properties;
  const lines = userProperties.encode(shown, spells, unspelled);
  for (const [name, text] of restoreRepeats(
    letter === '' ? lines : addType(lines, correlationName, letter),
    residuePart,
    message.deaths,
  )) {
    if (!userProperties.spelledAll && !spells(name, text)) continue;
    writeText(PropertyId.userProperty, name);
    out.text16(text);
  }
  return out.end();
}

const out = new OctetWriter();

function writeText(id: number, text: string): void {
  out.u8(id);
  out.text16(text);
}

function readCorrelationData(octets: Buffer, letter: string | undefined): string | Buffer | TypedValue {
  const id = textOrBinary(octets);
  if (letter === letterOf.uuid && octets.length === 16) return { type: 'uuid', value: octets };
  if (letter === binaryLetter) return octets;
  if (letter === textLetter) return decodeText(octets, 0, octets.length);
  if (typeof id !== 'string') return id;
  if (letter === letterOf.ulong && /^\d{1,20}$/.test(id)) return { type: 'ulong', value: BigInt(id) };
  return readCorrelation(id) ?? id;
}

/**
 * Correlation Data, and the letter of its type when it is not what the octets show. Toward a responder, who copies
 * nothing else, the data says it itself.
 */
function showCorrelationData(id: string | Buffer | TypedValue, isRequest: boolean): [octets: Buffer, letter: string] {
  const octets = toOctets(id);
  if (typeof id === 'string') return [octets, id.isWellFormed() ? '' : textLetter];
  if (Buffer.isBuffer(id) && !isUtf8(id)) return [octets, ''];
  if (isRequest) return [Buffer.from(spellCorrelation(id), 'utf8'), ''];
  return [octets, Buffer.isBuffer(id) ? binaryLetter : letterOf[id.type]];
}

const binaryLetter = 'b64';
/** Octets that are text all the same. */
const textLetter = 'S64';

const protocol = 'mqtt';
const residuePart = 'm';

function spellingFor({ replies }: Message): Spelling {
  return spellingOf(replies?.topicMapping ?? 'exact');
}

function readResponseTopic(topic: string, message: Message): ReplyAddress {
  if (topic.startsWith(aliasTopicPrefix)) {
    const behind = message.replies?.find(topic.slice(aliasTopicPrefix.length));
    if (behind !== undefined) return behind;
  }
  const queue = findQueueName(topic);
  if (queue !== null) return { exchange: '', key: queue, text: topic, protocol };
  return { exchange: message.exchange, key: spellingFor(message).toRoutingKey(topic), text: topic, protocol };
}

function toResponseTopic(address: ReplyAddress, message: Message): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  return aliasTopicPrefix + message.replies.tokenFor(address, message.publisher);
}

function spells(name: string, text: string): boolean {
  return isSpellable(name) && isSpellable(text);
}

/** True for text that a user property can be. */
export function isSpellable(text: string): boolean {
  if (text.includes('\0') || !text.isWellFormed()) return false;
  return text.length * 3 <= userPropertyMax || Buffer.byteLength(text) <= userPropertyMax;
}
