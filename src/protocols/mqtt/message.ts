import { isUtf8 } from 'node:buffer';
import { type MessageFormat, register } from '../../core/format.ts';
import type { Message } from '../../core/message.ts';
import { type Properties, type TypedValue, toOctets } from '../../core/properties.ts';
import { keepRepeats, restoreRepeats } from '../../core/repeated-lines.ts';
import { aliasTopicPrefix, type ReplyAddress, readCorrelation, spellCorrelation } from '../../core/reply.ts';
import { TextHeaders } from '../../core/text-headers.ts';
import { letterOf, readTypes, textOrBinary, typesHeader } from '../../core/typed-text.ts';
import { UnspelledFields } from '../../core/unspelled.ts';
import { Reader } from './decode.ts';
import { PropertyId, PropertyWriter, readProperties } from './properties.ts';
import { findQueueName, toRoutingKey } from './topic.ts';

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
  decode: (_native, message) => ({ headers: new Map(), durable: message.qos > 0 }),
  encode: () => Buffer.alloc(0),
});

/** MQTT 5: `native` is the property block of the PUBLISH, without its length. */
export const mqtt5Format: MessageFormat = register({
  name: 'mqtt-5',
  id: 3,
  decode: decodeBlock,
  encode: encodeBlock,
});

function decodeBlock(native: Buffer, message: Message): Properties {
  const { values, userProperties: pairs } = readProperties(new Reader(native, 0, native.length), publishProperties);
  const properties: Properties = { headers: new Map(), durable: message.qos > 0 };
  const contentType = values.get(PropertyId.contentType);
  if (typeof contentType === 'string') properties.contentType = contentType;
  const responseTopic = values.get(PropertyId.responseTopic);
  if (typeof responseTopic === 'string') properties.replyTo = readResponseTopic(responseTopic, message);
  const correlation = values.get(PropertyId.correlationData);
  if (Buffer.isBuffer(correlation)) {
    const types = readTypes(pairs.find(([name]) => name === typesHeader)?.[1] ?? '');
    properties.correlationId = readCorrelationData(correlation, types.get(correlationName));
  }
  const textPayload = values.get(PropertyId.payloadFormatIndicator);
  if (textPayload !== undefined) properties.textPayload = textPayload === 1;
  const expiry = values.get(PropertyId.messageExpiryInterval);
  if (typeof expiry === 'number') properties.ttlMs = expiry * 1000;
  userProperties.decode(pairs, properties, spells);
  keepRepeats(pairs, residuePart, properties);
  return properties;
}

function encodeBlock(properties: Properties, message: Message): Buffer {
  const writer = new PropertyWriter();
  let letter = '';
  if (properties.textPayload !== undefined) {
    writer.octet(PropertyId.payloadFormatIndicator, properties.textPayload ? 1 : 0);
  }
  if (message.expiresAtMs !== 0) writer.long(PropertyId.messageExpiryInterval, 0); // each delivery writes what remains
  const unspelled = new UnspelledFields();
  if (properties.contentType !== undefined) {
    if (isSpellable(properties.contentType)) writer.text(PropertyId.contentType, properties.contentType);
    else unspelled.add('contentType', properties.contentType);
  }
  if (properties.replyTo !== undefined)
    writer.text(PropertyId.responseTopic, toResponseTopic(properties.replyTo, message));
  if (properties.correlationId !== undefined) {
    const shown = showCorrelationData(properties.correlationId, properties.replyTo !== undefined);
    writer.octets(PropertyId.correlationData, shown[0]);
    letter = shown[1];
  }
  const lines = userProperties.encode(properties, spells, unspelled);
  for (const [name, text] of restoreRepeats(letter === '' ? lines : withType(lines, letter), residuePart)) {
    if (isSpellable(name) && isSpellable(text)) writer.pair(name, text);
  }
  return writer.end();
}

function readCorrelationData(octets: Buffer, letter: string | undefined): string | Buffer | TypedValue {
  const id = textOrBinary(octets);
  if (letter === letterOf.uuid && octets.length === 16) return { type: 'uuid', value: octets };
  if (letter === binaryLetter) return octets;
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
  if (typeof id === 'string' || (Buffer.isBuffer(id) && !isUtf8(id))) return [octets, ''];
  if (isRequest) return [Buffer.from(spellCorrelation(id), 'utf8'), ''];
  return [octets, Buffer.isBuffer(id) ? binaryLetter : letterOf[id.type]];
}

const binaryLetter = 'b64';

/** The companion header among the user properties, with one type more. */
function withType(lines: [name: string, text: string][], letter: string): [name: string, text: string][] {
  const type = `${correlationName}=${letter}`;
  const types = lines.find(([name]) => name === typesHeader);
  if (types === undefined) return [...lines, [typesHeader, type]];
  if (!readTypes(types[1]).has(correlationName)) types[1] += `,${type}`;
  return lines;
}

const protocol = 'mqtt';
const residuePart = 'm';

function readResponseTopic(topic: string, message: Message): ReplyAddress {
  if (topic.startsWith(aliasTopicPrefix)) {
    const behind = message.replies?.find(topic.slice(aliasTopicPrefix.length));
    if (behind !== undefined) return behind;
  }
  const queue = findQueueName(topic);
  if (queue !== null) return { exchange: '', key: queue, text: topic, protocol };
  return { exchange: message.exchange, key: toRoutingKey(topic), text: topic, protocol };
}

function toResponseTopic(address: ReplyAddress, message: Message): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  return aliasTopicPrefix + message.replies.tokenFor(address);
}

function spells(name: string, text: string): boolean {
  return isSpellable(name) && isSpellable(text);
}

function isSpellable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed() && Buffer.byteLength(text) <= userPropertyMax;
}
