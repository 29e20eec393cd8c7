import type { Broker } from '../../core/broker.ts';
import { BrokerError } from '../../core/errors.ts';
import type { Address, Description, Script, Shown } from '../../core/explain.ts';
import type { Message } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import { emptyBuffer } from '../../lib/bytes.ts';
import { Reader } from './decode.ts';
import { patchExpiry } from './encode.ts';
import { mqtt3Format, mqtt5Format, nativeFor, publishProperties } from './message.ts';
import { PropertyId, readProperties } from './properties.ts';
import { findDelayedTopic, isPublishable, isTopicName, spellingOf } from './topic.ts';

const fieldNames = new Map<number, string>([
  [PropertyId.payloadFormatIndicator, 'payload-format-indicator'],
  [PropertyId.messageExpiryInterval, 'message-expiry-interval'],
  [PropertyId.contentType, 'content-type'],
  [PropertyId.responseTopic, 'response-topic'],
  [PropertyId.correlationData, 'correlation-data'],
]);

/** Messages of MQTT 5, for `explain`. */
export const mqtt5Script: Script = {
  name: 'mqtt-5',
  title: 'MQTT 5',
  qosMax: 2,
  findAddress,
  compose: (described, nowMs) => ({ format: mqtt5Format, native: blockOf(described, nowMs), copies: [] }),
  show(message, nowMs) {
    const native = blockOf(message, nowMs);
    const { values, userProperties } = readProperties(new Reader(native, 0, native.length), publishProperties);
    const shown: Shown[] = [topicOf(message)];
    for (const [id, value] of values) {
      const name = fieldNames.get(id) as string; // consumers get no others in a block that a format wrote
      shown.push({ place: 'field', name, value: typeof value === 'number' ? String(value) : value });
    }
    for (const [name, value] of userProperties) shown.push({ place: 'header', name, value });
    return { format: mqtt5Format, native, shown };
  },
};

/** Messages of MQTT 3.1 and 3.1.1: a topic and a body. */
export const mqtt3Script: Script = {
  name: 'mqtt-3.1.1',
  title: 'MQTT 3.1.1',
  qosMax: 2,
  findAddress,
  compose: (described) => ({ format: mqtt3Format, native: described.as(mqtt3Format), copies: [] }),
  show: (message) => ({ format: mqtt3Format, native: emptyBuffer, shown: [topicOf(message)] }),
};

function findAddress({ destination }: Description, broker: Broker, vhost: Vhost): Address {
  const delayed = isTopicName(destination) ? findDelayedTopic(destination, broker.nowMs) : undefined;
  const topic = delayed === undefined ? destination : delayed?.topic;
  if (topic === undefined || !isPublishable(topic)) {
    throw new BrokerError('invalid-field', `'${destination}' is no topic to publish to`);
  }
  const [exchange, routingKey] = spellingOf(vhost.topicMapping).addressOf(topic, broker.retainedExchange);
  const address = { exchange, routingKey, declares: null };
  return delayed ? { ...address, timing: { dueMs: delayed.dueMs, repeat: null } } : address;
}

function topicOf({ exchange, routingKey, replies }: Message): Shown {
  const topic = spellingOf(replies?.topicMapping ?? 'exact').topicBytes(exchange, routingKey);
  return { place: 'delivery', name: 'topic', value: topic.toString('utf8') };
}

/** The property block with what remains of the expiry, as each delivery writes it. */
function blockOf(message: Message, nowMs: number): Buffer {
  const native = Buffer.from(nativeFor(message));
  if (message.expiresAtMs !== 0) patchExpiry(native, 0, native.length, message.expiresAtMs - nowMs);
  return native;
}
