import type { Properties } from '../../src/core/properties.ts';
import { AmqpMap, type Any } from '../../src/protocols/amqp10/types.ts';
import { encodeProperties } from '../../src/protocols/amqp091/properties.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from './amqp-peer.ts';
import { Amqp10Peer, data, section, sectionsOf } from './amqp10-peer.ts';
import type { BrokerProcess } from './broker-process.ts';
import { MqttPeer, type Received } from './mqtt-peer.ts';
import { StompWire } from './stomp-wire.ts';

/** What a message says for its queue; each protocol has its own words for it. */
export interface Facts {
  readonly group?: string;
  readonly id?: string;
  readonly priority?: number;
  /** A header `k`. */
  readonly k?: string;
}

/** One protocol at the wire, with one queue: it publishes to it and consumes from it, with acknowledgements. */
export interface QueueScript {
  /** Resolves when the broker has confirmed it. */
  publish(body: string, facts?: Facts): Promise<void>;
  /** @param prefetch unacked messages at most */
  consume(prefetch: number): Promise<void>;
  /** The body of the next message. */
  next(): Promise<string>;
  /** Acks the oldest that is unacked. */
  ack(): void;
  /** Gives the oldest back, to be delivered again; where the protocol can. */
  fail?(): void;
  /** Rejects the oldest for good; where the protocol can. */
  reject?(): void;
  /** All that was sent has been taken; throws if something else comes than the answer. */
  settled(): Promise<void>;
  close(): void;
}

export type Name = '091' | '1.0' | 'M5' | 'ST';

export const openers: Readonly<Record<Name, (broker: BrokerProcess, queue: string) => Promise<QueueScript>>> = {
  '091': openAmqp091,
  '1.0': openAmqp10,
  M5: openMqtt,
  ST: openStomp,
};

async function openAmqp091(broker: BrokerProcess, queue: string): Promise<QueueScript> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  const tags: bigint[] = [];
  return {
    async publish(body, { group, id, priority, k } = {}) {
      const properties: Properties = { durable: true, headers: new Map(k === undefined ? [] : [['k', k]]) };
      if (group !== undefined) properties.groupId = group;
      if (id !== undefined) properties.messageId = id;
      if (priority !== undefined) properties.priority = priority;
      const native = encodeProperties(properties, null as never);
      peer.publish(1, { routingKey: queue }, body, native);
      await peer.expect(1, methods.basicAck);
    },
    async consume(prefetch) {
      await peer.call(1, methods.basicQos, { prefetchCount: prefetch }, methods.basicQosOk);
      await peer.call(1, methods.basicConsume, { queue }, methods.basicConsumeOk);
    },
    async next() {
      const { args, body } = await peer.content();
      tags.push(args.bigint('deliveryTag'));
      return body.toString();
    },
    ack: () => peer.send(1, methods.basicAck, { deliveryTag: tags.shift() }),
    fail: () => peer.send(1, methods.basicNack, { deliveryTag: tags.shift(), requeue: true }),
    reject: () => peer.send(1, methods.basicReject, { deliveryTag: tags.shift(), requeue: false }),
    settled: () => peer.expectNothing(),
    close: () => peer.destroy(),
  };
}

async function openAmqp10(broker: BrokerProcess, queue: string): Promise<QueueScript> {
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  const node = `/queues/${queue}`;
  const ids: number[] = [];
  let isSender = false;
  let taken = 0;
  let credit = 0;
  // each that is settled makes room for another
  const settle = (state: { readonly is: string }): void => {
    peer.settle(ids.shift()!, state as never);
    peer.credit(1, credit, { deliveryCount: taken });
  };
  return {
    async publish(body, { group, id, priority, k } = {}) {
      if (!isSender) await peer.sender(0, node);
      isSender = true;
      const application = new AmqpMap(k === undefined ? [] : [['k', k]]);
      const properties: Any[] = [id ?? null, null, null, null, null, null, null, null, null, null, group ?? null];
      const header: Any[] = [true, priority === undefined ? null : { type: 'ubyte', value: priority }];
      await peer.publish(
        0,
        Buffer.concat([
          section(0x70, header),
          section(0x73, properties),
          section(0x74, application),
          data(Buffer.from(body)),
        ]),
      );
    },
    async consume(prefetch) {
      credit = prefetch;
      await peer.receiver(1, node, prefetch);
    },
    async next() {
      const { transfer, octets } = await peer.message();
      ids.push(transfer.deliveryId!);
      taken += 1;
      return (sectionsOf(octets).get(0x75) as Buffer).toString();
    },
    ack: () => settle({ is: 'accepted' }),
    fail: () => settle({ is: 'modified', deliveryFailed: true } as never),
    reject: () => settle({ is: 'rejected' }),
    async settled() {
      peer.credit(1, credit, { deliveryCount: taken, echo: true });
      await peer.expect('flow');
    },
    close: () => peer.destroy(),
  };
}

async function openMqtt(broker: BrokerProcess, queue: string): Promise<QueueScript> {
  let { peer } = await MqttPeer.connect(broker);
  const topic = `$queue-of/${queue}`;
  const early: Received[] = [];
  const ids: number[] = [];
  return {
    async publish(body, { group, id, priority, k } = {}) {
      const said = { 'x-group-id': group, 'message-id': id, priority: priority?.toString(), k };
      const userProperties = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
      peer.publish(topic, body, {
        qos: 1,
        messageId: 7,
        ...(Object.keys(userProperties).length > 0 && { properties: { userProperties } }),
      });
      await peer.nextOf('puback');
    },
    async consume(prefetch) {
      peer.destroy();
      ({ peer } = await MqttPeer.connect(broker, { properties: { receiveMaximum: prefetch } }));
      peer.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic, qos: 1 }] } as never);
      // what waits may come before the answer
      for (let packet = await peer.next(); packet.cmd !== 'suback'; packet = await peer.next()) early.push(packet);
    },
    async next() {
      const { messageId, payload } = early.shift() ?? (await peer.nextOf('publish'));
      ids.push(messageId);
      return payload.toString();
    },
    ack: () => peer.send({ cmd: 'puback', messageId: ids.shift()! }),
    reject: () => peer.send({ cmd: 'puback', messageId: ids.shift()!, reasonCode: 0x80 }),
    settled: () => peer.nothing(),
    close: () => peer.destroy(),
  };
}

async function openStomp(broker: BrokerProcess, queue: string): Promise<QueueScript> {
  const peer = await StompWire.login(broker.port('stomp'));
  const destination = `/amq/queue/${queue}`;
  const ids: string[] = [];
  return {
    publish(body, { group, id, priority, k } = {}) {
      const said = { JMSXGroupID: group, 'amqp-message-id': id, priority, k, persistent: true };
      const lines = Object.entries(said).filter(([, value]) => value !== undefined);
      return peer.publish(destination, body, lines.map(([name, value]) => `${name}:${value}\n`).join(''));
    },
    consume: (prefetch) => peer.subscribe('s', destination, `ack:client-individual\nprefetch-count:${prefetch}\n`),
    async next() {
      const { headers, body } = await peer.next();
      ids.push(headers['ack']!);
      return body.toString();
    },
    ack: () => peer.send(`ACK\nid:${ids.shift()}\n\n\0`),
    fail: () => peer.send(`NACK\nid:${ids.shift()}\nrequeue:true\n\n\0`),
    reject: () => peer.send(`NACK\nid:${ids.shift()}\nrequeue:false\n\n\0`),
    settled: () => peer.confirm('BEGIN\ntransaction:t\n\n\0').then(() => peer.confirm('ABORT\ntransaction:t\n\n\0')),
    close: () => peer.destroy(),
  };
}
