import { expect, test } from 'vitest';
import { type AmqpArray, type AmqpMap, textOf } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { defs } from '../support/amqplib-codec.ts';
import { int } from '../support/core.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { QueueHouse } from '../support/queue-house.ts';
import { type Name, openers } from '../support/queue-scripts.ts';
import { type Heard, type Script, names as topicNames, openers as topicOpeners } from '../support/scripts.ts';

/** Every way to die, of messages of every publisher, as consumers of every protocol are told it. */

const house = QueueHouse.open();
const publishers = Object.keys(openers) as Name[];

interface Row {
  readonly queue: string;
  readonly reason: string;
  readonly count: number;
  readonly exchange: string;
  readonly keys: readonly string[];
}

/** What a consumer was told of the deaths; undefined: its protocol has no place for it. */
function rowsOf(name: string, { words }: Heard): Row[] | undefined {
  switch (name) {
    case '091': {
      const headers = words['headers'] as Record<string, Record<string, unknown>[]>;
      return headers['x-death']!.map(toRow);
    }
    case '1.0': {
      const deaths = (words['annotations'] as Record<string, unknown>)['x-opt-deaths'] as AmqpArray;
      return deaths.items.map((item) => {
        const pairs = (item as AmqpMap).pairs.map(([key, value]) => [textOf(key)!, textOf(value) ?? value] as const);
        const { 'routing-keys': keys, count, ...rest } = Object.fromEntries(pairs) as Record<string, unknown>;
        return toRow({
          ...rest,
          count: (count as { value: bigint }).value,
          'routing-keys': (keys as AmqpArray).items,
        });
      });
    }
    case 'M5':
      return JSON.parse((words['userProperties'] as Record<string, string>)['x-death']!).map(toRow);
    case 'ST':
      return JSON.parse(words['x-death'] as string).map(toRow);
    default:
      return undefined;
  }
}

/** Where the story began and ended, as the consumer is told it, in its own place for it. */
function endsOf(name: string, { words }: Heard): Record<string, string> {
  const places: Record<string, string> = { '091': 'headers', '1.0': 'annotations', M5: 'userProperties' };
  const place = places[name];
  const lines = Object.entries((place === undefined ? words : words[place]) as Record<string, unknown>);
  const own = lines.filter(([key]) => /^x-(first|last)-death-/.test(key));
  return Object.fromEntries(own.map(([key, value]) => [key, String(value)]));
}

function ends(first: Row, last: Row): Record<string, string> {
  const told = Object.entries({ first, last }).flatMap(([which, { exchange, queue, reason }]) =>
    Object.entries({ exchange, queue, reason }).map(([field, value]) => [`x-${which}-death-${field}`, value] as const),
  );
  return Object.fromEntries(told);
}

function toRow(row: Readonly<Record<string, unknown>>): Row {
  const { queue, reason, count, exchange, 'routing-keys': keys } = row;
  return { queue, reason, count: Number(count), exchange, keys } as Row;
}

/** How a message of `publisher` dies in `queue`. */
const deaths: Record<string, { args: Record<string, unknown>; die(publisher: Name, queue: string): Promise<void> }> = {
  rejected: {
    args: {},
    async die(publisher, queue) {
      await (await house.script(publisher, queue)).publish('m');
      const consumer = await house.script('091', queue);
      await consumer.consume(1);
      await consumer.next();
      consumer.reject!();
    },
  },
  expired: {
    args: { 'x-message-ttl': int(20) },
    die: async (publisher, queue) => (await house.script(publisher, queue)).publish('m'),
  },
  maxlen: {
    args: { 'x-max-length': int(0) },
    die: async (publisher, queue) => (await house.script(publisher, queue)).publish('m'),
  },
  unrepresentable: {
    args: { 'x-on-loss': 'reject' },
    async die(publisher, queue) {
      const { peer } = await MqttPeer.connect(house.broker, {
        clientId: 'small',
        properties: { maximumPacketSize: 24 },
      });
      house.keep({ close: () => peer.destroy() });
      await peer.subscribe(`$queue-of/${queue}`, { qos: 1 });
      await (await house.script(publisher, queue)).publish('m'); // with its topic it is longer
    },
  },
  delivery_limit: {
    args: { 'x-delivery-limit': int(0) },
    async die(publisher, queue) {
      await (await house.script(publisher, queue)).publish('m');
      const consumer = await house.script('091', queue);
      await consumer.consume(1);
      await consumer.next();
      consumer.fail!();
    },
  },
};

test.each(Object.keys(deaths).flatMap((reason) => publishers.map((publisher) => [reason, publisher] as const)))(
  '%s, published by %s',
  async (reason, publisher) => {
    const topic = `dead.${reason}.${publisher.replace('.', '-')}`;
    const { args, die } = deaths[reason]!;
    const queue = await house.declare({
      ...args,
      'x-dead-letter-exchange': 'amq.topic',
      'x-dead-letter-routing-key': topic,
    });
    const consumers: [string, Script][] = [];
    for (const name of topicNames) {
      const script = house.keep(await topicOpeners[name](house.broker, topic));
      consumers.push([name, script]);
    }
    await die(publisher, queue);
    const row: Row = { queue, reason, count: 1, exchange: '', keys: [queue] };
    for (const [name, script] of consumers) {
      const heard = await script.next();
      expect(heard.body.toString(), name).toBe('m');
      expect(rowsOf(name, heard), name).toEqual(name === 'M3' ? undefined : [row]);
      if (name !== 'M3') expect(endsOf(name, heard), name).toEqual(ends(row, row));
    }
  },
);

test.each([1, 2] as const)('MQTT 5, QoS %i: what is acknowledged with an error is a dead letter', async (qos) => {
  const letters = await house.declare({});
  const queue = await house.declare({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': letters });
  const { peer } = await MqttPeer.connect(house.broker, { properties: { receiveMaximum: 1 } });
  house.keep({ close: () => peer.destroy() });
  await peer.subscribe(`$queue-of/${queue}`, { qos });
  const publisher = await house.script('ST', queue);
  for (const body of ['refused', 'taken']) await publisher.publish(body);
  const { messageId } = await peer.nextOf('publish');
  peer.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId, reasonCode: 0x99 });
  const next = await peer.nextOf('publish'); // its place in the window is free, and it does not come again
  expect(next.payload.toString()).toBe('taken');
  peer.send({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId: next.messageId, reasonCode: 0x10 });
  if (qos === 2) await peer.nextOf('pubrel');
  await peer.nothing();
  const reader = await house.amqp();
  const letter = await reader.get(letters);
  expect(letter?.body.toString()).toBe('refused');
  const heard = { words: defs.decode(60, letter!.native), body: letter!.body };
  const row: Row = { queue, reason: 'rejected', count: 1, exchange: '', keys: [queue] };
  expect(rowsOf('091', heard)).toEqual([row]);
  expect(await reader.get(letters)).toBe(null);
  expect(await reader.get(queue)).toBe(null);
});

test.each(publishers)('what %s rejects is a dead letter, and says so', async (name) => {
  const letters = await house.declare({});
  const queue = await house.declare({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': letters });
  await (await house.script(name, queue)).publish('m');
  const consumer = await house.script(name, queue);
  await consumer.consume(1);
  expect(await consumer.next()).toBe('m');
  consumer.reject!();
  const reader = await house.script('091', letters);
  await reader.consume(1);
  expect(await reader.next()).toBe('m');
});

test('a retry loop counts each queue and reason in one row, the latest first, for consumers of all protocols', async () => {
  const topic = 'dead.loop';
  const work = 'loop';
  const peer = await house.amqp();
  const wait = await house.declare({
    'x-message-ttl': int(20),
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': work,
  });
  const toWait = { 'x-dead-letter-exchange': 'amq.topic', 'x-dead-letter-routing-key': topic };
  await peer.declare(work, { durable: true, arguments: new Map(Object.entries(toWait)) });
  await peer.call(1, methods.queueBind, { queue: wait, exchange: 'amq.topic', routingKey: topic }, methods.queueBindOk);
  const consumers: [string, Script][] = [];
  for (const name of topicNames) {
    const script = house.keep(await topicOpeners[name](house.broker, topic));
    consumers.push([name, script]);
  }
  await (await house.script('ST', work)).publish('m');
  const worker = await house.script('091', work);
  await worker.consume(1);
  for (let count = 1; count <= 3; count++) {
    await worker.next();
    worker.reject!();
    const rejected: Row = { queue: work, reason: 'rejected', count, exchange: '', keys: [work] };
    const expired: Row = { queue: wait, reason: 'expired', count: count - 1, exchange: 'amq.topic', keys: [topic] };
    for (const [name, script] of consumers) {
      const heard = await script.next();
      const rows = rowsOf(name, heard);
      expect(rows, name).toEqual(name === 'M3' ? undefined : count === 1 ? [rejected] : [rejected, expired]);
      if (name !== 'M3') expect(endsOf(name, heard), name).toEqual(ends(rejected, rejected));
    }
  }
});
