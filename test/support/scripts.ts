import { AmqpMap, type Any, symbol, textOf } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from './amqp-peer.ts';
import { Amqp10Peer, data, section, sectionsOf } from './amqp10-peer.ts';
import { defs } from './amqplib-codec.ts';
import type { BrokerProcess } from './broker-process.ts';
import { MqttPeer, type Received } from './mqtt-peer.ts';
import { StompWire } from './stomp-wire.ts';

/** What a message says beside its body, in the words of one protocol: names as its own documents have them. */
export type Words = Readonly<Record<string, unknown>>;

export interface Heard {
  readonly words: Words;
  readonly body: Buffer;
}

/** One protocol at the wire: a connection that publishes to a topic, and one that consumes from it. */
export interface Script {
  /** @param topic with dots, whatever the protocol writes between words */
  publish(topic: string, words: Words, body: Buffer): Promise<void>;
  /** The next message. */
  next(): Promise<Heard>;
  close(): void;
}

export type Name = '091' | '1.0' | 'M5' | 'M3' | 'ST';

export const openers: Readonly<Record<Name, (broker: BrokerProcess, topic: string) => Promise<Script>>> = {
  '091': openAmqp091,
  '1.0': openAmqp10,
  M5: (broker, topic) => openMqtt(broker, topic, 5),
  M3: (broker, topic) => openMqtt(broker, topic, 4),
  ST: openStomp,
};

export const names = Object.keys(openers) as Name[];

// — AMQP 0-9-1: amqplib's codec, its names in snake case ————————————————————————————————————————————————————————————

async function openAmqp091(broker: BrokerProcess, topic: string): Promise<Script> {
  const publisher = await AmqpPeer.openChannel(broker.port('amqp'));
  const consumer = await AmqpPeer.openChannel(broker.port('amqp'));
  await publisher.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  const queue = await consumer.declare('', { exclusive: true });
  const binding = { queue, exchange: 'amq.topic', routingKey: topic };
  await consumer.call(1, methods.queueBind, binding, methods.queueBindOk);
  await consumer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
  return {
    async publish(to, words, body) {
      const fields = Object.fromEntries(Object.entries(words).map(([name, value]) => [toCamel(name), value]));
      const native = defs.encodeProperties(60, 1, 0, { headers: {}, ...fields }).subarray(19, -1);
      publisher.publish(1, { exchange: 'amq.topic', routingKey: to }, body, native);
      await publisher.expect(1, methods.basicAck);
    },
    async next() {
      const { native, body } = await consumer.content();
      const words: Record<string, unknown> = {};
      for (const [name, value] of Object.entries(defs.decode(60, native))) {
        if (value === undefined || (name === 'headers' && Object.keys(value as object).length === 0)) continue;
        words[toSnake(name)] = value;
      }
      return { words, body };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

const toCamel = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());
const toSnake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

// — AMQP 1.0 ————————————————————————————————————————————————————————————————————————————————————————————————————————

const headerFields = ['durable', 'priority', 'ttl'];
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

const mapSections = [
  ['delivery-annotations', 0x71],
  ['annotations', 0x72],
  ['application', 0x74],
  ['footer', 0x78],
] as const;

/** The body is one data section, unless `sections` in the words is the body. */
async function openAmqp10(broker: BrokerProcess, topic: string): Promise<Script> {
  const publisher = await Amqp10Peer.openSession(broker.port('amqp'));
  const consumer = await Amqp10Peer.openSession(broker.port('amqp'));
  const handles = new Map<string, number>();
  await consumer.receiver(0, `/exchanges/amq.topic/${topic}`, 10_000, { sndSettleMode: 1 });
  return {
    async publish(to, words, body) {
      const list = (names: readonly string[]): Any[] => names.map((name) => (words[name] ?? null) as Any);
      if (!handles.has(to)) {
        handles.set(to, handles.size);
        await publisher.sender(handles.get(to)!, `/exchanges/amq.topic/${to}`);
      }
      const state = await publisher.publish(
        handles.get(to)!,
        Buffer.concat([
          section(0x70, list(headerFields)),
          mapSection(0x71, words['delivery-annotations'], symbol),
          mapSection(0x72, words['annotations'], symbol),
          section(0x73, list(propertyFields)),
          mapSection(0x74, words['application'], (name) => name),
          'value' in words ? section(0x77, words['value'] as Any) : data(body),
          mapSection(0x78, words['footer'], symbol),
        ]),
      );
      if (state.is !== 'accepted') throw new Error(`not accepted: ${state.is}`);
    },
    async next() {
      const sections = sectionsOf((await consumer.message()).octets);
      const words: Record<string, unknown> = {};
      const take = (fields: readonly string[], list: Any): void => {
        for (const [i, value] of ((list ?? []) as Any[]).entries()) {
          if (value !== null && fields[i] !== undefined) words[fields[i]] = value;
        }
      };
      take(headerFields, sections.get(0x70) ?? null);
      take(propertyFields, sections.get(0x73) ?? null);
      for (const [name, code] of mapSections) {
        const map = sections.get(code);
        if (!(map instanceof AmqpMap)) continue;
        const pairs = map.pairs.map(([key, value]) => [textOf(key) ?? '', value] as const);
        const own = pairs.filter(([key]) => code !== 0x72 || !['x-exchange', 'x-routing-key'].includes(key));
        if (own.length > 0) words[name] = Object.fromEntries(own);
      }
      const body = sections.get(0x75);
      if (sections.has(0x77)) words['value'] = sections.get(0x77);
      return { words, body: Buffer.isBuffer(body) ? body : Buffer.alloc(0) };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

function mapSection(code: number, map: unknown, key: (name: string) => Any): Buffer {
  if (map === undefined) return Buffer.alloc(0);
  const pairs = Object.entries(map as Record<string, Any>).map(([name, value]) => [key(name), value] as const);
  return section(code, new AmqpMap(pairs));
}

// — MQTT: mqtt-packet's names ———————————————————————————————————————————————————————————————————————————————————————

/** QoS 1 is granted, and RETAIN shown as it was published; `qos` and `retain` are words like any other. */
async function openMqtt(broker: BrokerProcess, topic: string, version: 4 | 5): Promise<Script> {
  const { peer: publisher } = await MqttPeer.connect(broker, { clientId: `publisher-${version}` }, version);
  const { peer: consumer } = await MqttPeer.connect(broker, { clientId: `consumer-${version}` }, version);
  await consumer.subscribe(topic.replaceAll('.', '/'), { qos: 1, rap: true, rh: 2 });
  return {
    async publish(to, words, body) {
      const { qos = 0, retain = false, ...properties } = words;
      const own = version === 5 ? { properties } : {};
      publisher.publish(to.replaceAll('.', '/'), body, { qos, retain, messageId: 1, ...own });
      if (qos === 0) await publisher.nothing();
      else await publisher.nextOf('puback');
    },
    async next() {
      const packet: Received = await consumer.nextOf('publish');
      const { qos, retain, messageId, payload, properties = {} } = packet;
      if (qos > 0) consumer.send({ cmd: 'puback', messageId } as never);
      const words: Record<string, unknown> = { qos, retain };
      for (const [name, value] of Object.entries(properties)) {
        words[name] = name === 'userProperties' ? { ...(value as object) } : value;
      }
      return { words, body: Buffer.from(payload) };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

// — STOMP 1.2 ———————————————————————————————————————————————————————————————————————————————————————————————————————

const ownHeaders = ['destination', 'message-id', 'subscription', 'redelivered', 'content-length', 'ack'];

async function openStomp(broker: BrokerProcess, topic: string): Promise<Script> {
  const publisher = await StompWire.login(broker.port('stomp'));
  const consumer = await StompWire.login(broker.port('stomp'));
  await consumer.subscribe('1', `/topic/${topic}`);
  return {
    async publish(to, words, body) {
      const lines = Object.entries(words).map(([name, value]) => `${escapeText(name)}:${escapeText(String(value))}\n`);
      const head = `SEND\ndestination:/topic/${to}\nreceipt:r\ncontent-length:${body.length}\n${lines.join('')}\n`;
      publisher.send(Buffer.concat([Buffer.from(head), body, Buffer.from([0])]));
      const frame = await publisher.next();
      if (frame.command !== 'RECEIPT') throw new Error(`no RECEIPT but ${frame.command}: ${frame.body}`);
    },
    async next() {
      const { headers, body } = await consumer.next();
      const own = Object.entries(headers).filter(([name]) => !ownHeaders.includes(name));
      return { words: Object.fromEntries(own.map(([name, text]) => [unescapeText(name), unescapeText(text)])), body };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

const escapeText = (text: string): string =>
  text.replace(/[\\\n\r:]/g, (octet) => ({ '\\': '\\\\', '\n': '\\n', '\r': '\\r', ':': '\\c' })[octet]!);
const unescapeText = (text: string): string =>
  text.replace(/\\(.)/g, (_, letter: string) => ({ '\\': '\\', n: '\n', r: '\r', c: ':' })[letter]!);
