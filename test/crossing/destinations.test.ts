import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AmqpMap, symbol } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../src/protocols/amqp091/table.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { Amqp10Peer, bodyOf, data, section } from '../support/amqp10-peer.ts';
import { defs } from '../support/amqplib-codec.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttPeer, type Received } from '../support/mqtt-peer.ts';
import { openers } from '../support/scripts.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** Where names lead that one protocol has and the others can see. */
let broker: BrokerProcess;
let amqp: AmqpPeer;
let mqtt: MqttPeer;
let stomp: StompWire;
let amqp10: Amqp10Peer;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  amqp = await AmqpPeer.openChannel(broker.port('amqp'));
  mqtt = (await MqttPeer.connect(broker)).peer;
  stomp = await StompWire.login(broker.port('stomp'));
  amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
});

afterAll(async () => {
  for (const peer of [amqp, mqtt, stomp, amqp10]) peer?.destroy();
  await broker?.remove();
});

/** The next PUBLISH, acknowledged. */
async function nextPublish(peer: MqttPeer): Promise<Received> {
  const packet = await peer.nextOf('publish');
  if (packet.qos > 0) peer.send({ cmd: 'puback', messageId: packet.messageId } as never);
  return packet;
}

describe('$share/<group>/<filter> is the queue mqtt-shared.<group>.<filter>', () => {
  test('AMQP and STOMP consumers join in, and each message is for one of them', async () => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('$share/crew/jobs/+', { qos: 1 });
    const queue = 'mqtt-shared.crew.jobs/+';
    const consumer = await AmqpPeer.openChannel(broker.port('amqp'));
    await consumer.call(1, methods.basicConsume, { queue, noAck: true }, methods.basicConsumeOk);
    const wire = await StompWire.login(broker.port('stomp'));
    await wire.subscribe('1', `/amq/queue/${encodeURIComponent(queue)}`);
    for (const body of ['a', 'b', 'c']) {
      mqtt.publish(`jobs/${body}`, body, { qos: 1, messageId: 1 });
      await mqtt.nextOf('puback');
    }
    const got = await Promise.all([
      nextPublish(peer).then(({ payload }) => payload.toString()),
      consumer.content().then(({ body }) => body.toString()),
      wire.next().then(({ body }) => body.toString()),
    ]);
    expect(got.sort()).toEqual(['a', 'b', 'c']);
    for (const each of [peer, consumer, wire]) each.destroy();
  });
});

describe('a routing key with what no line of STOMP can hold', () => {
  test.each(['1.0', '1.1', '1.2'])('is shown to STOMP %s as a destination that leads back to it', async (version) => {
    const wire = await StompWire.login(broker.port('stomp'), version);
    await wire.subscribe('1', '/topic/odd.#');
    for (const key of ['odd.a\0b', 'odd.a\nuser-id:admin', 'odd.\r', 'odd.\udcff']) {
      amqp.publish(1, { exchange: 'amq.topic', routingKey: key }, 'there');
      const { headers, lines } = await wire.next();
      expect(lines.some((line) => line.startsWith('user-id'))).toBe(false);
      expect(headers['destination']).not.toMatch(/[\0\r]/);
      if (key.endsWith('\udcff')) continue; // what is read here is text
      await stomp.publish(headers['destination']!, 'back');
      expect((await wire.next()).headers['destination']).toBe(headers['destination']);
    }
    wire.destroy();
  });
});

describe('$queue-of/<name> is the queue itself', () => {
  test('what MQTT publishes to it AMQP, AMQP 1.0 and STOMP get from it', async () => {
    await amqp.declare('work');
    mqtt.publish('$queue-of/work', 'from mqtt', { qos: 1, messageId: 1 });
    await mqtt.nextOf('puback');
    expect((await amqp.get('work'))!.body.toString()).toBe('from mqtt');
    await amqp10.receiver(0, '/queues/work', 1);
    mqtt.publish('$queue-of/work', 'more', { qos: 1, messageId: 1 });
    await mqtt.nextOf('puback');
    expect(bodyOf((await amqp10.message()).octets)).toBe('more');
    amqp10.send('detach', { handle: 0, closed: true });
    await amqp10.expect('detach');
  });

  test('an MQTT subscriber competes with its other consumers, and sees the name it subscribed to', async () => {
    await amqp.declare('shared work');
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('$queue-of/shared work', { qos: 1 });
    await stomp.publish('/amq/queue/shared work', 'from stomp');
    const packet = await nextPublish(peer);
    expect([packet.topic, packet.payload.toString()]).toEqual(['$queue-of/shared work', 'from stomp']);
    expect(await amqp.get('shared work')).toBe(null);
    peer.destroy();
  });

  test('a queue that is not there is refused', async () => {
    const suback = await mqtt.subscribe('$queue-of/nowhere');
    expect(suback.granted[0]).toBeGreaterThanOrEqual(0x80);
  });
});

describe('what is to be retained', () => {
  const later = async (topic: string): Promise<Received> => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe(topic);
    const packet = await peer.nextOf('publish');
    peer.destroy();
    return packet;
  };

  test('AMQP 0-9-1 says with a header', async () => {
    await amqp.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    const native = defs.encodeProperties(60, 1, 0, { headers: { 'x-mqtt-retain': true } }).subarray(19, -1);
    amqp.publish(1, { exchange: 'amq.topic', routingKey: 'state.amqp' }, 'on', native);
    await amqp.expect(1, methods.basicAck);
    expect(await later('state/amqp')).toMatchObject({ retain: true, payload: Buffer.from('on') });
  });

  test('STOMP says with a header', async () => {
    await stomp.publish('/topic/state.stomp', 'on', 'x-mqtt-retain:true\n');
    expect(await later('state/stomp')).toMatchObject({ retain: true, payload: Buffer.from('on') });
  });

  test('AMQP 1.0 says with an annotation', async () => {
    await amqp10.sender(10, '/exchanges/amq.topic/state.amqp10');
    const mark = section(0x72, new AmqpMap([[symbol('x-opt-mqtt-retain'), true]]));
    await amqp10.publish(10, Buffer.concat([mark, data('on')]));
    expect(await later('state/amqp10')).toMatchObject({ retain: true, payload: Buffer.from('on') });
  });

  test('an empty one clears the topic, whoever says so', async () => {
    await stomp.publish('/topic/state.cleared', 'on', 'x-mqtt-retain:true\n');
    await stomp.publish('/topic/state.cleared', '', 'x-mqtt-retain:true\n');
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('state/cleared');
    await peer.nothing();
    peer.destroy();
  });

  test('to another exchange it is nothing', async () => {
    await stomp.publish('/exchange/amq.direct/state.direct', 'on', 'x-mqtt-retain:true\n');
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('state/direct');
    await peer.nothing();
    peer.destroy();
  });
});

test.each([
  ['/queues/addressed', '', 'addressed'],
  ['/exchanges/amq.direct/addressed', 'amq.direct', 'addressed'],
  ['/queue/addressed', '', 'addressed'],
  ['/amq/queue/addressed', '', 'addressed'],
  ['/exchange/amq.direct/addressed', 'amq.direct', 'addressed'],
  ['/topic/addressed', 'amq.topic', 'addressed'],
  ['addressed', '', 'addressed'],
])('AMQP 1.0 publishes to %s', async (address, exchange, routingKey) => {
  await amqp.declare('addressed', { durable: true });
  for (const each of ['amq.direct', 'amq.topic']) {
    const binding = { queue: 'addressed', exchange: each, routingKey: 'addressed' };
    await amqp.call(1, methods.queueBind, binding, methods.queueBindOk);
  }
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  await peer.sender(0, address);
  expect((await peer.publish(0, data(address))).is).toBe('accepted');
  const { args, body } = (await amqp.get('addressed'))!;
  expect([args.text('exchange'), args.text('routingKey'), body.toString()]).toEqual([exchange, routingKey, address]);
  peer.destroy();
});

test.each([
  ['/queue/said', '', 'said'],
  ['/amq/queue/said', '', 'said'],
  ['/exchange/amq.direct/said', 'amq.direct', 'said'],
  ['/topic/said', 'amq.topic', 'said'],
  ['/reply-queue/said', '', 'said'],
])('STOMP publishes to %s', async (destination, exchange, routingKey) => {
  await amqp.declare('said', { durable: true });
  for (const each of ['amq.direct', 'amq.topic']) {
    const binding = { queue: 'said', exchange: each, routingKey: 'said' };
    await amqp.call(1, methods.queueBind, binding, methods.queueBindOk);
  }
  await stomp.publish(destination, destination);
  const { args, body } = (await amqp.get('said'))!;
  expect([args.text('exchange'), args.text('routingKey'), body.toString()]).toEqual([
    exchange,
    routingKey,
    destination,
  ]);
});

describe('what a message shows of QoS', () => {
  test.each([
    [0, 0, 0],
    [2, 1, 1],
    [1, 2, 1],
    [2, 2, 2],
  ])('between MQTT clients the smaller of %i and %i', async (published, granted, seen) => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe('qos/a', { qos: granted });
    mqtt.publish('qos/a', 'x', { qos: published, messageId: 9 });
    if (published === 1) await mqtt.nextOf('puback');
    if (published === 2) {
      await mqtt.nextOf('pubrec');
      mqtt.send({ cmd: 'pubrel', messageId: 9 } as never);
      await mqtt.nextOf('pubcomp');
    }
    expect((await peer.nextOf('publish')).qos).toBe(seen);
    peer.destroy();
  });

  test.each([0, 1, 2])("from AMQP and STOMP the subscription's %i, durable or not", async (granted) => {
    const { peer } = await MqttPeer.connect(broker);
    await peer.subscribe(`qos/b${granted}`, { qos: granted });
    await stomp.publish(`/topic/qos.b${granted}`, 'x');
    expect((await peer.nextOf('publish')).qos).toBe(granted);
    peer.destroy();
  });
});

test('the example of the document: one message in four scripts', async () => {
  const page = readFileSync(new URL('../../docs/protocol-mapping.md', import.meta.url), 'utf8');
  const example = page.split('## One message in four scripts')[1]!.split('\n## ')[0]!;
  const topic = 'orders.new';
  expect(example).toContain('`amq.topic` with the key `orders.new`');
  const [from, ...others] = await Promise.all(
    (['091', '1.0', 'M5', 'ST'] as const).map((name) => openers[name](broker, topic)),
  );
  const words = {
    content_type: 'application/json',
    correlation_id: 'c-1',
    message_id: 'm-1',
    expiration: '60000',
    headers: { retries: { '!': 'int32', value: 3 }, urgent: true },
  };
  await from!.publish(topic, words, Buffer.from('{}'));
  await from!.next();
  const [in10, inM5, inST] = await Promise.all(others.map(async (script) => (await script.next()).words));
  expect(in10).toMatchObject({
    'content-type': symbol('application/json'),
    'correlation-id': 'c-1',
    'message-id': 'm-1',
    application: { retries: { type: 'int', value: 3 }, urgent: true },
  });
  expect(inM5).toMatchObject({
    contentType: 'application/json',
    correlationData: Buffer.from('c-1'),
    userProperties: { 'message-id': 'm-1', retries: '3', urgent: 'true', 'x-rosetta-types': 'retries=I,urgent=t' },
  });
  expect(inST).toEqual({
    'content-type': 'application/json',
    'correlation-id': 'c-1',
    'amqp-message-id': 'm-1',
    expiration: '60000',
    retries: '3',
    urgent: 'true',
    'x-rosetta-types': 'retries=I,urgent=t',
  });
  // each header line of STOMP stands in the table as it is
  for (const [name, text] of Object.entries(inST!)) expect(example).toContain(`${name}:${text}`);
  for (const script of [from!, ...others]) script.close();
});

describe('a topic that is longer than a routing key of 0-9-1 may be', () => {
  test.each([
    ['plain', {}],
    ['with more than headers', { correlationData: Buffer.from([0xff]) }],
  ])('comes with its key cut, and whole in the header x-topic: %s', async (_what, properties) => {
    const queue = await amqp.declare('', { exclusive: true });
    const bind = { queue, exchange: 'amq.topic', routingKey: 'long.#' };
    await amqp.call(1, methods.queueBind, bind, methods.queueBindOk);
    const cases = [
      [`long/${'ä/'.repeat(125)}end`, `long.${'ä.'.repeat(83)}`.slice(0, -1)],
      [`long/${'x'.repeat(250)}/y`, `long.${'x'.repeat(250)}`],
      [`long/${'x'.repeat(60_000)}`, 'long'],
    ] as const;
    for (const [topic, shown] of cases) {
      mqtt.publish(topic, 'm', { qos: 1, messageId: 1, properties });
      await mqtt.nextOf('puback');
      const got = (await amqp.get(queue))!;
      const key = topic.replaceAll('/', '.');
      expect(got.args.text('routingKey')).toBe(shown);
      expect(decodeTable(got.native, 2).get('x-topic')).toBe(key);
    }
    mqtt.publish(`long/${'x'.repeat(250)}`, 'm', { qos: 1, messageId: 1, properties });
    await mqtt.nextOf('puback');
    const fits = (await amqp.get(queue))!;
    expect(fits.args.text('routingKey')).toBe(`long.${'x'.repeat(250)}`);
    expect(decodeTable(fits.native, 2).has('x-topic')).toBe(false);
  });
});
