import type { Broker } from '../../core/broker.ts';
import { BrokerError } from '../../core/errors.ts';
import type { Address, Description, Script, Shown } from '../../core/explain.ts';
import type { Message } from '../../core/message.ts';
import type { Vhost } from '../../core/vhost.ts';
import { emptyBuffer } from '../../lib/bytes.ts';
import { Reader } from './decode.ts';
import type { DeviceRules } from './device-rules.ts';
import { patchExpiry } from './encode.ts';
import { mqtt3Format, mqtt5Format, nativeFor, publishProperties } from './message.ts';
import { PropertyId, readProperties } from './properties.ts';
import { IncomingPublish } from './publish.ts';
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

/**
 * Messages of MQTT 3.1 and 3.1.1: a topic and a body, and what a listener says for its devices.
 * @param rulesOf those of a listener; null: it has none
 */
export function createMqtt3Script(rulesOf: (vhost: Vhost) => DeviceRules | null): Script {
  const rulesFor = ({ publisher }: Message): DeviceRules | null =>
    publisher === null ? null : rulesOf(publisher.vhost);
  return {
    name: 'mqtt-3.1.1',
    title: 'MQTT 3.1.1',
    qosMax: 2,
    findAddress,
    compose(described, nowMs) {
      const unwrapped =
        rulesFor(described)?.incoming(described.exchange, described.routingKey, described.body, null) ?? null;
      if (unwrapped === null) return { format: mqtt3Format, native: described.as(mqtt3Format), copies: [] };
      const { native, body } = unwrapped;
      publish.readNative(native);
      const { priority, expirySeconds } = publish;
      const expiresAtMs = expirySeconds < 0 ? 0 : nowMs + expirySeconds * 1000;
      return { format: mqtt5Format, native, copies: [], ruled: { body, priority, expiresAtMs } };
    },
    show(message, nowMs) {
      const shown = [topicOf(message)];
      const wrapped = rulesFor(message)?.outgoing(message, nowMs) ?? message;
      if (wrapped === message) return { format: mqtt3Format, native: emptyBuffer, shown };
      shown.push({ place: 'delivery', name: 'payload', value: wrapped.body.toString('utf8') });
      // what is in the envelope is not lost: a device of the listener says it again
      return { format: message.format, native: message.native, shown };
    },
  };
}

/** Of a listener without rules. */
export const mqtt3Script = createMqtt3Script(() => null);

const publish = new IncomingPublish();

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
