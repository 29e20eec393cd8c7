import { afterAll, beforeAll, expect, test } from 'vitest';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, data } from '../support/amqp10-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { int } from '../support/core.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** What a publisher sees of a queue that has room for one message: the table of docs/concepts/length-limits.md. */

let broker: BrokerProcess;
let admin: AmqpPeer;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  admin = await AmqpPeer.openChannel(broker.port('amqp'));
});
afterAll(() => {
  admin?.destroy();
  return broker?.remove();
});

let queues = 0;

/** Publishes two messages, and says what it saw of each; null: nothing. */
type Publisher = (queue: string) => Promise<[unknown, unknown]>;

const quiet: Publisher = async () => [null, null];

const publishers: Record<string, { publish: Publisher; taken: unknown; refused: unknown }> = {
  'AMQP 0-9-1': {
    async publish(queue) {
      const peer = await AmqpPeer.openChannel(broker.port('amqp'));
      await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
      const seen: string[] = [];
      for (const body of ['1', '2']) {
        peer.publish(1, { routingKey: queue }, body);
        const { method } = await peer.nextMethod();
        seen.push(method === methods.basicAck ? 'ack' : method === methods.basicNack ? 'nack' : 'other');
      }
      peer.destroy();
      return seen as [string, string];
    },
    taken: 'ack',
    refused: 'nack',
  },
  'AMQP 0-9-1 without confirms': {
    async publish(queue) {
      const peer = await AmqpPeer.openChannel(broker.port('amqp'));
      for (const body of ['1', '2']) peer.publish(1, { routingKey: queue }, body);
      await peer.expectNothing();
      peer.destroy();
      return quiet(queue);
    },
    taken: null,
    refused: null,
  },
  'AMQP 1.0': {
    async publish(queue) {
      const peer = await Amqp10Peer.openSession(broker.port('amqp'));
      await peer.sender(0, `/queues/${queue}`);
      const states = [await peer.publish(0, data('1')), await peer.publish(0, data('2'))];
      peer.destroy();
      return states as [unknown, unknown];
    },
    taken: { is: 'accepted' },
    refused: { is: 'rejected', error: { condition: 'amqp:resource-limit-exceeded' } },
  },
  ...Object.fromEntries(
    ([1, 2] as const).map((qos) => [
      `MQTT 5, QoS ${qos}`,
      {
        async publish(queue: string): Promise<[unknown, unknown]> {
          const { peer } = await MqttPeer.connect(broker);
          const seen: number[] = [];
          for (const messageId of [1, 2]) {
            peer.publish(`$queue-of/${queue}`, String(messageId), { qos, messageId });
            const { reasonCode } = await peer.nextOf(qos === 1 ? 'puback' : 'pubrec');
            seen.push(reasonCode);
          }
          await peer.nothing();
          peer.destroy();
          return seen as [number, number];
        },
        taken: 0,
        refused: 0x97,
      },
    ]),
  ),
  'MQTT 5, QoS 0': {
    async publish(queue) {
      const { peer } = await MqttPeer.connect(broker);
      for (const body of ['1', '2']) peer.publish(`$queue-of/${queue}`, body);
      await peer.nothing();
      peer.destroy();
      return quiet(queue);
    },
    taken: null,
    refused: null,
  },
  ...Object.fromEntries(
    ([1, 2] as const).map((qos) => [
      `MQTT 3.1.1, QoS ${qos}`,
      {
        async publish(queue: string): Promise<[unknown, unknown]> {
          const { peer } = await MqttPeer.connect(broker, {}, 4);
          const seen: string[] = [];
          for (const messageId of [1, 2]) {
            peer.publish(`$queue-of/${queue}`, String(messageId), { qos, messageId });
            seen.push(
              await peer.next().then(
                ({ cmd }) => (cmd === 'puback' || cmd === 'pubrec' ? 'taken' : cmd),
                () => 'ended',
              ),
            );
          }
          peer.destroy();
          return seen as [string, string];
        },
        taken: 'taken',
        refused: 'ended',
      },
    ]),
  ),
  STOMP: {
    async publish(queue) {
      const wire = await StompWire.login(broker.port('stomp'));
      const seen: string[] = [];
      for (const body of ['1', '2']) {
        wire.send(`SEND\ndestination:/amq/queue/${queue}\nreceipt:${body}\n\n${body}\0`);
        const { command } = await wire.next();
        seen.push(command);
        if (command === 'ERROR') await wire.closed();
      }
      wire.destroy();
      return seen as [string, string];
    },
    taken: 'RECEIPT',
    refused: 'ERROR',
  },
};

/** Bodies of what waits in the queue. */
async function bodies(queue: string): Promise<string[]> {
  const found: string[] = [];
  for (let got = await admin.get(queue); got !== null; got = await admin.get(queue)) found.push(got.body.toString());
  return found;
}

const modes = ['drop-head', 'reject-publish', 'reject-publish-dlx'] as const;
const rows = Object.keys(publishers).flatMap((name) => modes.map((mode) => [name, mode] as const));

test.each(rows)('%s: %s', async (name, mode) => {
  const queue = `full-${++queues}`;
  const letters = `${queue}-dead`;
  await admin.declare(letters, {});
  const args = { 'x-overflow': mode, 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': letters };
  await admin.declare(queue, { arguments: new Map(Object.entries({ ...args, 'x-max-length': int(1) })) });
  const { publish, taken, refused } = publishers[name]!;
  const [first, second] = await publish(queue);
  const expected = mode === 'drop-head' ? taken : refused;
  expect(first).toEqual(taken);
  if (typeof expected === 'object' && expected !== null) expect(second).toMatchObject(expected);
  else expect(second).toEqual(expected);
  expect(await bodies(queue)).toEqual([mode === 'drop-head' ? '2' : '1']);
  const dead = { 'drop-head': ['1'], 'reject-publish': [], 'reject-publish-dlx': ['2'] }[mode];
  expect(await bodies(letters)).toEqual(dead);
});
