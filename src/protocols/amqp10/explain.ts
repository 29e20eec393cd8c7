import { BrokerError } from '../../core/errors.ts';
import type { Composed, Script, Shown } from '../../core/explain.ts';
import type { Message } from '../../core/message.ts';
import type { Value } from '../../core/properties.ts';
import { type Address, parseAddress } from './address.ts';
import { AmqpError } from './errors.ts';
import { amqp10Format, isBrokerAnnotation, readMap, toValue } from './message.ts';
import { AddressAnnotations, Payload } from './payload.ts';
import { Sections } from './sections.ts';
import { findTiming } from './timing.ts';
import { type Any, Decoder, encodeValue, textOf } from './types.ts';

const headerFields = ['durable', 'priority', 'ttl', 'first-acquirer', 'delivery-count'];
const propertyFields = [
  'message-id',
  'user-id',
  'to',
  'subject',
  'reply-to',
  'correlation-id',
  'content-type',
  'content-encoding',
  'absolute-expiry-time',
  'creation-time',
  'group-id',
  'group-sequence',
  'reply-to-group-id',
];

/** Messages of AMQP 1.0, for `explain`. */
export const amqp10Script: Script = {
  name: 'amqp-1.0',
  title: 'AMQP 1.0',
  qosMax: -1,
  findAddress({ destination, properties }) {
    const address = parse(destination);
    switch (address.kind) {
      case 'queue':
        return { exchange: '', routingKey: address.name, declares: address.declared ? address.name : null };
      case 'exchange':
        return {
          exchange: address.exchange,
          routingKey: address.key ?? properties.subject ?? '',
          declares: null,
        };
      case 'management':
        throw new BrokerError('invalid-field', `'${destination}' leads to the broker itself`);
    }
  },
  compose,
  show(message, nowMs) {
    const address = new AddressAnnotations();
    address.set(message.exchange, message.routingKey);
    const payload = new Payload();
    const octets = Buffer.alloc(payload.prepare(message, { redelivered: false, deliveryCount: 0 }, address, nowMs));
    payload.write(octets, 0);
    const sections = new Sections();
    sections.read(octets, 0, octets.length);
    const shown: Shown[] = [];
    for (const [key, value] of readMap(octets, sections.messageAnnotations)) {
      const name = textOf(key) ?? 'annotation';
      shown.push({ place: isBrokerAnnotation(name) ? 'delivery' : 'header', name, value: readable(value) });
    }
    shown.push(...fieldsOf(octets, sections.header, headerFields));
    shown.push(...fieldsOf(octets, sections.properties, propertyFields));
    for (const [key, value] of readMap(octets, sections.applicationProperties)) {
      shown.push({ place: 'header', name: textOf(key) ?? 'property', value: readable(value) });
    }
    return { format: amqp10Format, native: message.as(amqp10Format), shown };
  },
};

function compose(described: Message, nowMs: number): Composed {
  const native = described.as(amqp10Format);
  const sections = new Sections();
  sections.read(native, 0, native.length);
  const at = sections.messageAnnotations;
  return {
    format: amqp10Format,
    native,
    copies: [],
    timing: at < 0 ? null : findTiming(native, at, native.length, nowMs),
  };
}

function fieldsOf(octets: Buffer, at: number, names: readonly string[]): Shown[] {
  const list = at < 0 ? [] : (new Decoder(octets, at).read() as readonly Any[]);
  return names.flatMap((name, i): Shown[] => {
    const item = list[i] ?? null;
    return item === null ? [] : [{ place: 'field', name, value: readable(item) }];
  });
}

// What no other protocol has a word for is shown in its own octets.
function readable(item: Any): Value {
  return toValue(item) ?? encodeValue(item);
}

function parse(destination: string): Address {
  try {
    return parseAddress(destination);
  } catch (error) {
    if (error instanceof AmqpError) throw new BrokerError('invalid-field', error.message);
    throw error;
  }
}
