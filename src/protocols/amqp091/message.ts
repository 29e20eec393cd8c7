import { type MessageFormat, register } from '../../core/format.ts';
import type { Message } from '../../core/message.ts';
import type { Properties } from '../../core/properties.ts';
import { amqp091Lookup } from './lookup.ts';
import { amqp091Plain } from './plain.ts';
import { decodeProperties, encodeDead, encodeProperties, RoutingFacts, withoutBlindCopies } from './properties.ts';

/** `native` is the property list of the content header, flags first. */
export const amqp091Format: MessageFormat = register({
  name: 'amqp-0-9-1',
  id: 1,
  decode: decodeProperties,
  lookup: amqp091Lookup,
  plain: amqp091Plain,
  encode: (properties, message) =>
    message.format === blindCopyFormat
      ? showToConsumers(message)
      : encodeProperties(withTopic(properties, message), message, isForeign(message)),
  encodeDead,
});

/**
 * The same with a BCC header, which no consumer may see but dead letters still follow: it is cut out for each 0-9-1
 * consumer, and to the other protocols it is no header at all.
 */
export const blindCopyFormat: MessageFormat = register({
  name: 'amqp-0-9-1 with blind copies',
  id: 11,
  decode: (native, message) => {
    const properties = decodeProperties(native, message);
    const blindCopies = properties.headers.get('BCC');
    properties.headers = new Map([...properties.headers].filter(([name]) => name !== 'BCC'));
    if (Array.isArray(blindCopies)) properties.blindCopies = blindCopies.filter((key) => typeof key === 'string');
    return properties;
  },
  encode: encodeProperties,
});

// What is described to be explained, or published by HTTP, is in 0-9-1's own words.
function isForeign({ format }: Message): boolean {
  return format !== amqp091Format && format.id >= 0;
}

/** The routing key, where it is longer than the short string that shows its beginning: topics of MQTT may be. */
const topicHeader = 'x-topic';

function withTopic(properties: Properties, { routingKey }: Message): Properties {
  if (Buffer.byteLength(routingKey) <= 255) return properties;
  return { ...properties, headers: new Map([...properties.headers, [topicHeader, routingKey]]) };
}

const facts = new RoutingFacts();

function showToConsumers(message: Message): Buffer {
  const { native, deaths } = message;
  facts.read(native, 0, native.length);
  const shown = withoutBlindCopies(native, facts.copiesAt);
  return deaths.length === 0 ? shown : encodeDead(shown, deaths);
}
