import { connect, type Socket } from 'node:net';
import { typesHeader } from '../../src/core/typed-text.ts';
import { type AmqpMap, type Any, textOf } from '../../src/protocols/amqp10/types.ts';
import { readPropertyList } from '../../src/protocols/amqp091/properties.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { Reader } from '../../src/protocols/mqtt/decode.ts';
import { publishProperties } from '../../src/protocols/mqtt/message.ts';
import { readProperties } from '../../src/protocols/mqtt/properties.ts';
import { readLines } from '../../src/protocols/stomp/message.ts';
import { AmqpPeer } from './amqp-peer.ts';
import { Amqp10Peer, data, sectionsOf } from './amqp10-peer.ts';
import type { BrokerProcess } from './broker-process.ts';
import type { Name } from './messages.ts';
import { connectOctets, packet, short, text, varint } from './mqtt-wire.ts';

/** What a consumer got, in the octets that it can publish again. */
export interface Octets {
  readonly native: Buffer;
  readonly body: Buffer;
}

/** A client that publishes again what it gets, octet for octet. */
export interface OctetPeer {
  publish(topic: string, octets: Octets): Promise<void>;
  /** Gets what is published to the topic from now on. */
  listen(topic: string): Promise<void>;
  next(): Promise<Octets>;
  /** Fields and headers, by their names, of what was got; what each delivery has of its own is left out. */
  read(native: Buffer): object;
  close(): void;
}

export const octetPeers: Readonly<Record<Name, (broker: BrokerProcess) => Promise<OctetPeer>>> = {
  '091': openAmqp091,
  '1.0': openAmqp10,
  M5: openMqtt,
  ST: openStomp,
};

/** By name; the companion's order is that of the headers, and no part of what is said. */
function sorted(entries: Iterable<readonly [string, unknown]>): Map<string, unknown> {
  const map = new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
  const types = map.get(typesHeader);
  return typeof types === 'string' ? map.set(typesHeader, types.split(',').sort()) : map;
}

async function openAmqp091(broker: BrokerProcess): Promise<OctetPeer> {
  const publisher = await AmqpPeer.openChannel(broker.port('amqp'));
  const consumer = await AmqpPeer.openChannel(broker.port('amqp'));
  await publisher.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  return {
    async publish(topic, { native, body }) {
      publisher.publish(1, { exchange: 'amq.topic', routingKey: topic }, body, native);
      await publisher.expect(1, methods.basicAck);
    },
    async listen(topic) {
      const queue = await consumer.declare('', { exclusive: true });
      const binding = { queue, exchange: 'amq.topic', routingKey: topic };
      await consumer.call(1, methods.queueBind, binding, methods.queueBindOk);
      await consumer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
    },
    next: () => consumer.content(),
    read(native) {
      const { deliveryMode: _, headers, ...fields } = readPropertyList(native);
      return { ...fields, headers: sorted(headers) };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

async function openAmqp10(broker: BrokerProcess): Promise<OctetPeer> {
  const publisher = await Amqp10Peer.openSession(broker.port('amqp'));
  const consumer = await Amqp10Peer.openSession(broker.port('amqp'));
  const handles = new Map<string, number>();
  let receivers = 0;
  return {
    async publish(topic, { native, body }) {
      if (!handles.has(topic)) {
        handles.set(topic, handles.size);
        await publisher.sender(handles.get(topic)!, `/exchanges/amq.topic/${topic}`);
      }
      const state = await publisher.publish(handles.get(topic)!, Buffer.concat([native, data(body)]));
      if (state.is !== 'accepted') throw new Error(`not accepted: ${state.is}`);
    },
    async listen(topic) {
      receivers += 1;
      await consumer.receiver(receivers, `/exchanges/amq.topic/${topic}`, 1_000_000, { sndSettleMode: 1 });
    },
    async next() {
      const { octets } = await consumer.message();
      const body = sectionsOf(octets).get(0x75) as Buffer;
      return { native: octets.subarray(0, octets.length - data(body).length), body };
    },
    read(native) {
      const sections = sectionsOf(native);
      const pairs = (code: number) => ((sections.get(code) as AmqpMap | undefined)?.pairs ?? []) as [Any, Any][];
      const named = (code: number) => sorted(pairs(code).map(([key, value]) => [textOf(key) ?? '', value] as const));
      const annotations = named(0x72);
      annotations.delete('x-exchange');
      annotations.delete('x-routing-key');
      const [, priority = null] = (sections.get(0x70) ?? []) as Any[];
      return { priority, annotations, properties: sections.get(0x73) ?? [], application: named(0x74) };
    },
    close() {
      publisher.destroy();
      consumer.destroy();
    },
  };
}

/** A socket whose octets are cut into frames. */
class Cutter {
  readonly socket: Socket;
  private received: Buffer = Buffer.alloc(0);
  private wake: () => void = () => {};
  private readonly cut: (octets: Buffer) => number;

  /** @param cut octets of the first frame, 0 when it is not whole */
  constructor(port: number, cut: (octets: Buffer) => number) {
    this.cut = cut;
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.wake();
    });
  }

  async next(): Promise<Buffer> {
    for (;;) {
      const length = this.cut(this.received);
      if (length > 0) {
        const frame = this.received.subarray(0, length);
        this.received = this.received.subarray(length);
        return frame;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}

async function openMqtt(broker: BrokerProcess): Promise<OctetPeer> {
  const open = async (): Promise<Cutter> => {
    const cutter = new Cutter(broker.port('mqtt'), (octets) => {
      let length = 0;
      for (let i = 1; i < Math.min(octets.length, 5); i++) {
        length |= (octets[i]! & 127) << (7 * (i - 1));
        if (octets[i]! < 128) return octets.length >= i + 1 + length ? i + 1 + length : 0;
      }
      return 0;
    });
    cutter.socket.write(connectOctets(5, { payload: [text(''), text('guest'), text('guest')] }));
    await cutter.next();
    return cutter;
  };
  const publisher = await open();
  const consumer = await open();
  return {
    async publish(topic, { native, body }) {
      const head = [text(topic.replaceAll('.', '/')), short(1), varint(native.length), native];
      publisher.socket.write(packet(0x32, ...head, body));
      await publisher.next();
    },
    async listen(topic) {
      consumer.socket.write(packet(0x82, short(1), varint(0), text(topic.replaceAll('.', '/')), Buffer.from([0])));
      await consumer.next();
    },
    async next() {
      const frame = await consumer.next();
      let at = 1;
      while (frame[at]! >= 128) at += 1;
      const reader = new Reader(frame, at + 1, frame.length);
      reader.octets();
      const length = reader.varint();
      return { native: frame.subarray(reader.at, reader.at + length), body: frame.subarray(reader.at + length) };
    },
    read(native) {
      const block = readProperties(new Reader(native, 0, native.length), publishProperties);
      return { values: block.values, userProperties: sorted(block.userProperties) };
    },
    close() {
      publisher.socket.destroy();
      consumer.socket.destroy();
    },
  };
}

const ownLine = /^(destination|message-id|subscription|redelivered|content-length|ack):/;

async function openStomp(broker: BrokerProcess): Promise<OctetPeer> {
  const open = async (): Promise<Cutter> => {
    const cutter = new Cutter(broker.port('stomp'), (octets) => {
      const head = octets.indexOf(
        '\n\n',
        octets.findIndex((octet) => octet !== 0x0a),
      );
      if (head < 0) return 0;
      const length = /\ncontent-length:(\d+)/.exec(octets.toString('latin1', 0, head));
      const end = length === null ? octets.indexOf(0, head) : head + 2 + Number(length[1]);
      return end >= 0 && octets.length > end ? end + 1 : 0;
    });
    cutter.socket.write('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
    await cutter.next();
    return cutter;
  };
  const publisher = await open();
  const consumer = await open();
  let subscriptions = 0;
  return {
    async publish(topic, { native, body }) {
      const head = Buffer.from(`SEND\ndestination:/topic/${topic}\nreceipt:1\ncontent-length:${body.length}\n`);
      publisher.socket.write(Buffer.concat([head, native, Buffer.from('\n'), body, Buffer.from([0])]));
      const answer = (await publisher.next()).toString('latin1');
      if (!answer.includes('RECEIPT')) throw new Error(answer);
    },
    async listen(topic) {
      subscriptions += 1;
      consumer.socket.write(`SUBSCRIBE\nid:${subscriptions}\ndestination:/topic/${topic}\nreceipt:1\n\n\0`);
      await consumer.next();
    },
    async next() {
      const frame = (await consumer.next()).toString('latin1').replace(/^\n+/, '');
      const head = frame.indexOf('\n\n');
      const [, ...lines] = frame.slice(0, head).split('\n');
      const own = lines.filter((line) => !ownLine.test(line)).map((line) => `${line}\n`);
      return { native: Buffer.from(own.join(''), 'latin1'), body: Buffer.from(frame.slice(head + 2, -1), 'latin1') };
    },
    read(native) {
      const lines = readLines(native, '1.2').filter(([name]) => name !== 'persistent');
      return { lines: sorted(lines) };
    },
    close() {
      publisher.socket.destroy();
      consumer.socket.destroy();
    },
  };
}
