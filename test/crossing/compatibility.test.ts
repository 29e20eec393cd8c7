import { readFileSync } from 'node:fs';
import type { IConnectPacket } from 'mqtt-packet';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { uint } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, data } from '../support/amqp10-peer.ts';
import { defs } from '../support/amqplib-codec.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { type Heard, type Name, openers, type Script } from '../support/scripts.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** What docs/protocol-mapping.md says to those who come from another broker: with the defaults, and with each switch thrown. */
let plain: BrokerProcess;
let switched: BrokerProcess;
const open: { destroy(): void }[] = [];

beforeAll(async () => {
  const set = (key: string): string[] => ['--set', key];
  [plain, switched] = await Promise.all([
    BrokerProcess.start({ args: set('listeners.stomp.dialect=rabbitmq') }),
    BrokerProcess.start({
      args: [
        ...set('listeners.stomp.dialect=activemq'),
        ...set('mqtt.topicMapping=rabbitmq'),
        ...set('mqtt.qosFromPersistence=true'),
        ...set('mqtt.exchange=devices'),
      ],
    }),
  ]);
});

afterAll(async () => {
  for (const peer of open) peer.destroy();
  await plain?.remove();
  await switched?.remove();
});

async function stompOf(broker: BrokerProcess): Promise<StompWire> {
  const wire = await StompWire.login(broker.port('stomp'));
  open.push(wire);
  return wire;
}

async function mqttOf(broker: BrokerProcess, version: 4 | 5 = 5): Promise<MqttPeer> {
  const { peer } = await MqttPeer.connect(broker, {}, version);
  open.push(peer);
  return peer;
}

async function amqpOf(broker: BrokerProcess): Promise<AmqpPeer> {
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  open.push(peer);
  return peer;
}

async function amqp10Of(broker: BrokerProcess): Promise<Amqp10Peer> {
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  open.push(peer);
  return peer;
}

/** What `to` hears of what `from` publishes, on a topic that no other pair has. */
async function cross(from: Name, words: Heard['words'], to: Name, broker = plain): Promise<Heard> {
  const topic = `compat.${from.replace('.', '')}.${to.replace('.', '')}`;
  const script: Script = await openers[to](broker, topic);
  const publisher = await openers[from](broker, 'compat.nobody');
  await publisher.publish(topic, words, Buffer.from('x'));
  const heard = await script.next();
  script.close();
  publisher.close();
  return heard;
}

/** An AMQP 0-9-1 queue that hears a key of an exchange. */
async function listen(broker: BrokerProcess, exchange: string, routingKey: string): Promise<() => Promise<string>> {
  const peer = await amqpOf(broker);
  const queue = await peer.declare('', { exclusive: true });
  await peer.call(1, methods.queueBind, { queue, exchange, routingKey }, methods.queueBindOk);
  await peer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
  return async () => (await peer.content()).args.text('routingKey');
}

async function publishMqtt(broker: BrokerProcess, topic: string): Promise<void> {
  const peer = await mqttOf(broker);
  peer.publish(topic, 'x', { qos: 1, messageId: 1 });
  await peer.nextOf('puback');
}

/** What is sent to the address of 1.0 arrives at the destination of STOMP. */
async function expectLeads(address: string, destination: string): Promise<void> {
  const wire = await stompOf(plain);
  await wire.subscribe('0', destination);
  const peer = await amqp10Of(plain);
  await peer.sender(0, address);
  expect(await peer.publish(0, data('x'))).toMatchObject({ is: 'accepted' });
  expect(await wire.bodies(1)).toEqual(['x']);
  wire.destroy();
}

/** 1.0 gets them as they came, and so it does when a consumer of another protocol publishes the message again. */
function testAnnotations(annotations: object): void {
  test('as they came', async () => {
    expect((await cross('1.0', { annotations }, '1.0')).words).toMatchObject({ annotations });
  });

  test.each(['091', 'M5', 'ST'] as const)('back from %s', async (name) => {
    const { words, body } = await cross('1.0', { annotations }, name);
    const { qos: _, retain: __, ...said } = words;
    const back = await openers['1.0'](plain, 'compat.back');
    const publisher = await openers[name](plain, 'compat.nobody');
    await publisher.publish('compat.back', said, body);
    expect((await back.next()).words).toMatchObject({ annotations });
    back.close();
    publisher.close();
  });
}

const rows: Readonly<Record<string, () => void>> = {
  "RabbitMQ's NACK of STOMP requeues, ActiveMQ's gives the message up": () => {
    async function nackOnce(broker: BrokerProcess): Promise<StompWire> {
      const wire = await stompOf(broker);
      const publisher = await stompOf(broker);
      await wire.subscribe('0', '/queue/nacked', 'ack:client-individual\n');
      await publisher.publish('/queue/nacked', 'first');
      wire.send(`NACK\nid:${(await wire.next()).headers['ack']}\n\n\0`);
      await publisher.publish('/queue/nacked', 'second');
      return wire;
    }

    test('rabbitmq', async () => {
      const wire = await nackOnce(plain);
      expect((await wire.bodies(2)).sort()).toEqual(['first', 'second']);
    });

    test('activemq', async () => {
      const wire = await nackOnce(switched);
      expect(await wire.bodies(1)).toEqual(['second']);
    });
  },

  "RabbitMQ's STOMP destinations are `/queue/n`, `/amq/queue/n`, `/topic/k`, `/exchange/x/k` and `/temp-queue/n`, their names percent-encoded":
    () => {
      /** Where AMQP 0-9-1 finds what is sent there. */
      async function arrival(broker: BrokerProcess, destination: string, queue: string): Promise<string> {
        const wire = await stompOf(broker);
        await wire.publish(destination, 'x');
        const peer = await amqpOf(broker);
        const { args } = (await peer.get(queue))!;
        return `${args.text('exchange')}:${args.text('routingKey')}`;
      }

      async function bound(broker: BrokerProcess, exchange: string, routingKey: string): Promise<string> {
        const peer = await amqpOf(broker);
        const queue = await peer.declare('');
        await peer.call(1, methods.queueBind, { queue, exchange, routingKey }, methods.queueBindOk);
        return queue;
      }

      test.each([
        ['rabbitmq', () => plain, 'a/b'],
        ['activemq', () => switched, 'a%2Fb'],
      ] as const)('%s', async (_, at, name) => {
        const broker = at();
        expect(await arrival(broker, '/queue/a%2Fb', name)).toBe(`:${name}`);
        expect(await arrival(broker, '/amq/queue/a%2Fb', name)).toBe(`:${name}`);
        expect(await arrival(broker, '/topic/a%2Fb', await bound(broker, 'amq.topic', name))).toBe(`amq.topic:${name}`);
        const queue = await bound(broker, 'amq.direct', name);
        expect(await arrival(broker, '/exchange/amq.direct/a%2Fb', queue)).toBe(`amq.direct:${name}`);
      });

      test.each([
        ['rabbitmq', () => plain],
        ['activemq', () => switched],
      ] as const)('%s: /temp-queue/ in reply-to', async (_, at) => {
        const [wire, peer] = [await stompOf(at()), await amqpOf(at())];
        await wire.publish('/queue/asked', 'ask', 'reply-to:/temp-queue/mine\n');
        const { native } = (await peer.get('asked'))!;
        const { replyTo } = defs.decode(60, native) as { replyTo: string };
        peer.publish(1, { routingKey: replyTo }, 'answer');
        const { headers, body } = await wire.next();
        expect([headers['subscription'], body.toString()]).toEqual(['/temp-queue/mine', 'answer']);
      });
    },

  "ActiveMQ's `persistent` and `type` are JMS' delivery mode and type": () => {
    test('of a publisher', async () => {
      const said = { persistent: 'true', type: 'order' };
      expect((await cross('ST', said, '091')).words).toMatchObject({ delivery_mode: 2, type: 'order' });
      const annotations = { 'x-opt-type': 'order' };
      expect((await cross('ST', said, '1.0')).words).toMatchObject({ durable: true, annotations });
    });

    test('to a consumer', async () => {
      const { words } = await cross('091', { delivery_mode: 2, type: 'order' }, 'ST');
      expect(words).toMatchObject({ persistent: 'true', type: 'order' });
    });

    test('without them', async () => {
      const { words } = await cross('ST', {}, '091');
      expect(words).not.toHaveProperty('delivery_mode');
      expect(words).not.toHaveProperty('type');
      expect((await cross('ST', {}, '1.0')).words).toMatchObject({ durable: false });
    });
  },

  'ActiveMQ tells text from bytes by whether `content-length` was sent': () => {
    async function indicator(broker: BrokerProcess, length: string): Promise<boolean | undefined> {
      const peer = await mqttOf(broker);
      await peer.subscribe('kinds');
      const wire = await stompOf(broker);
      const exchange = broker === plain ? 'amq.topic' : 'devices';
      await wire.publish(`/exchange/${exchange}/kinds`, 'text', length);
      return (await peer.nextOf('publish')).properties?.payloadFormatIndicator;
    }

    test.each([
      ['rabbitmq', () => plain, [undefined, undefined]],
      ['activemq', () => switched, [true, false]],
    ] as const)('%s', async (_, broker, [text, bytes]) => {
      expect(await indicator(broker(), '')).toBe(text);
      expect(await indicator(broker(), 'content-length:4\n')).toBe(bytes);
    });
  },

  "ActiveMQ's groups are `JMSXGroupID` and `JMSXGroupSeq`": () => {
    test('of a publisher', async () => {
      const { words } = await cross('ST', { JMSXGroupID: 'g', JMSXGroupSeq: '3' }, '1.0');
      expect(words).toMatchObject({ 'group-id': 'g', 'group-sequence': uint(3) });
    });

    test('to a consumer', async () => {
      const { words } = await cross('1.0', { 'group-id': 'g', 'group-sequence': uint(3) }, 'ST');
      expect(words).toMatchObject({ JMSXGroupID: 'g', JMSXGroupSeq: '3' });
    });
  },

  'ActiveMQ holds what has `AMQ_SCHEDULED_DELAY`': () => {
    test.each([
      ['rabbitmq', () => plain],
      ['activemq', () => switched],
    ] as const)('%s', async (_, broker) => {
      const wire = await stompOf(broker());
      const publisher = await stompOf(broker());
      await wire.subscribe('0', '/queue/held');
      await publisher.publish('/queue/held', 'first', 'AMQ_SCHEDULED_DELAY:300\n');
      await publisher.publish('/queue/held', 'second');
      expect(await wire.bodies(2)).toEqual(['second', 'first']);
    });
  },

  "ActiveMQ's `expires` of a SEND is a moment, in milliseconds": () => {
    async function left(broker: BrokerProcess): Promise<string[]> {
      const publisher = await stompOf(broker);
      await publisher.publish('/queue/expiring', 'past', `expires:${Date.now() - 1000}\n`);
      await publisher.publish('/queue/expiring', 'to come', `expires:${Date.now() + 60_000}\n`);
      await publisher.publish('/queue/expiring', 'last');
      const wire = await stompOf(broker);
      await wire.subscribe('0', '/queue/expiring');
      const bodies: string[] = [];
      while (bodies.at(-1) !== 'last') bodies.push(...(await wire.bodies(1)));
      return bodies;
    }

    test.each([
      ['rabbitmq', () => plain],
      ['activemq', () => switched],
    ] as const)('%s', async (_, broker) => {
      expect(await left(broker())).toEqual(['to come', 'last']);
    });
  },

  "ActiveMQ's virtual topics: `Consumer.A.VirtualTopic.T`": () => {
    test('activemq', async () => {
      const [wire, publisher] = [await stompOf(switched), await stompOf(switched)];
      await wire.subscribe('0', '/queue/Consumer.A.VirtualTopic.T');
      await publisher.publish('/topic/VirtualTopic.T', 'x');
      expect(await wire.bodies(1)).toEqual(['x']);
    });

    test('rabbitmq', async () => {
      const [wire, publisher] = [await stompOf(plain), await stompOf(plain)];
      await wire.subscribe('0', '/queue/Consumer.A.VirtualTopic.T');
      await publisher.publish('/topic/VirtualTopic.T', 'not for the queue');
      await publisher.publish('/queue/Consumer.A.VirtualTopic.T', 'for it');
      expect(await wire.bodies(1)).toEqual(['for it']);
    });
  },

  "ActiveMQ's and Artemis' 1.0 addresses are `queue://q`, `topic://t`": () => {
    test.each([
      ['queue://prefixed', '/queue/prefixed'],
      ['topic://prefixed.t', '/topic/prefixed.t'],
    ])('%s', expectLeads);
  },

  "Artemis and Classic turn MQTT's `a/b` into `a.b`": () => {
    test('and a dot is not lost', async () => {
      const key = await listen(plain, 'amq.topic', 'turned.#');
      await publishMqtt(plain, 'turned/b/c.d');
      expect(await key()).toBe('turned.b.c/d');
    });
  },

  'JMS over 1.0 says its kinds of message in `x-opt-jms-msg-type`': () => {
    testAnnotations({ 'x-opt-jms-msg-type': { type: 'byte', value: 5 } });
  },

  'JMS over 1.0 says in `x-opt-jms-dest` and `x-opt-jms-reply-to` whether an address is a queue or a topic': () => {
    const [queue, topic] = [0, 1].map((value) => ({ type: 'byte', value }));
    testAnnotations({ 'x-opt-jms-dest': queue, 'x-opt-jms-reply-to': topic });

    test('to the others', async () => {
      const annotations = { 'x-opt-jms-dest': topic };
      expect((await cross('1.0', { annotations }, '091')).words).toMatchObject({ headers: { 'x-opt-jms-dest': 1 } });
      expect((await cross('1.0', { annotations }, 'ST')).words).toMatchObject({ 'x-opt-jms-dest': '1' });
    });

    test('of the others there is none', async () => {
      expect((await cross('091', {}, '1.0')).words).not.toHaveProperty('annotations');
    });
  },

  "Artemis' `_AMQ_…` properties order groups, delays and last values": () => {
    test('headers', async () => {
      const { words } = await cross('1.0', { application: { _AMQ_GROUP_ID: 'g' } }, '091');
      expect(words).toMatchObject({ headers: { _AMQ_GROUP_ID: 'g' } });
    });
  },

  'RabbitMQ spells a `.` in a topic and a `/` in a routing key as separators': () => {
    test('exact', async () => {
      const key = await listen(plain, 'amq.topic', 'hall.#');
      await publishMqtt(plain, 'hall/1.2/temp');
      expect(await key()).toBe('hall.1/2.temp');
    });

    test('rabbitmq', async () => {
      const key = await listen(switched, 'devices', 'hall.#');
      await publishMqtt(switched, 'hall/1.2/temp');
      expect(await key()).toBe('hall.1.2.temp');
    });
  },

  'RabbitMQ delivers to MQTT at QoS 1 what is persistent and at QoS 0 what is not': () => {
    async function qosOf(broker: BrokerProcess, exchange: string, deliveryMode: number): Promise<number> {
      const mqtt = await mqttOf(broker);
      await mqtt.subscribe('graded', { qos: 1 });
      const peer = await amqpOf(broker);
      peer.publish(1, { exchange, routingKey: 'graded' }, Buffer.from('x'), Buffer.from([0x10, 0, deliveryMode]));
      return (await mqtt.nextOf('publish')).qos;
    }

    test.each([1, 2])('false, delivery mode %i', async (mode) => {
      expect(await qosOf(plain, 'amq.topic', mode)).toBe(1);
    });

    test.each([
      [1, 0],
      [2, 1],
    ])('true, delivery mode %i', async (mode, qos) => {
      expect(await qosOf(switched, 'devices', mode)).toBe(qos);
    });
  },

  "Mosquitto's bridges say by a bit of the protocol level that they are some": () => {
    test('RETAIN as published, nothing back', async () => {
      const bridge = await MqttPeer.open(plain, 4);
      open.push(bridge);
      bridge.sendConnect({ clientId: 'bridge', bridgeMode: true } as Partial<IConnectPacket>);
      expect(await bridge.nextOf('connack')).toMatchObject({ returnCode: 0 });
      await bridge.subscribe('bridged');
      bridge.publish('bridged', 'its own');
      const other = await mqttOf(plain);
      other.publish('bridged', 'another one', { retain: true });
      expect(await bridge.nextOf('publish')).toMatchObject({ payload: Buffer.from('another one'), retain: true });
    });
  },

  "MQTT topics go to `amq.topic`, as with RabbitMQ's plugin": () => {
    test.each([
      ['amq.topic', () => plain],
      ['devices', () => switched],
    ] as const)('%s', async (exchange, broker) => {
      const key = await listen(broker(), exchange, 'to.exchange');
      await publishMqtt(broker(), 'to/exchange');
      expect(await key()).toBe('to.exchange');
    });
  },

  'RabbitMQ drops tables, booleans and doubles on the way to STOMP': () => {
    test('they are text with their types beside it', async () => {
      const headers = { table: { a: 1 }, yes: true, ratio: { '!': 'double', value: 0.5 } };
      const { words } = await cross('091', { headers }, 'ST');
      expect(words).toMatchObject({ table: '{"a":1}', yes: 'true', ratio: '0.5' });
      expect(String(words['x-rosetta-types'])).toMatch(/\bratio=d\b/);
    });
  },

  "RabbitMQ shows MQTT's Response Topic to AMQP as a header only": () => {
    test('an alias, and the header', async () => {
      const { words } = await cross('M5', { responseTopic: 'dev/7/resp' }, '091');
      expect(words).toMatchObject({
        reply_to: expect.stringMatching(/^rosetta\.reply\./),
        headers: { 'x-reply-to-topic': 'dev.7.resp' },
      });
    });
  },

  "RabbitMQ's correlation of octets goes to 0-9-1 as a header": () => {
    const correlationData = Buffer.from([0, 255, 128]);

    test('without a reply address', async () => {
      const { words } = await cross('M5', { correlationData }, '091');
      expect(words).toMatchObject({ headers: { 'x-correlation-id': correlationData } });
    });

    test('toward a responder', async () => {
      const { words } = await cross('M5', { correlationData, responseTopic: 'r' }, '091');
      expect(words).toMatchObject({ correlation_id: `rosetta.c.${correlationData.toString('base64url')}` });
    });
  },

  'RabbitMQ 3 reads 1.0 addresses as `/queue/q`, `/exchange/x/k`, `/topic/k`, RabbitMQ 4 as `/queues/q`, `/exchanges/x/k`':
    () => {
      test.each([
        ['/queue/versions', '/queue/versions'],
        ['/queues/versions', '/queue/versions'],
        ['/exchange/amq.topic/versions', '/topic/versions'],
        ['/exchanges/amq.topic/versions', '/topic/versions'],
        ['/topic/versions', '/topic/versions'],
      ])('%s', expectLeads);
    },
};

function rowsOfTable(): string[] {
  const page = readFileSync(new URL('../../docs/protocol-mapping.md', import.meta.url), 'utf8');
  const table = page.split('## Compatibility')[1]!.split('\n\n')[2]!;
  return table
    .trim()
    .split('\n')
    .slice(2)
    .map((line) => line.split(' | ')[0]!.slice(2));
}

test('every row of the table is tested, and every test has its row', () => {
  expect(rowsOfTable()).toEqual(Object.keys(rows));
});

describe.each(Object.entries(rows))('%s', (_, tests) => tests());
