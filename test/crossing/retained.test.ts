import amqplib, { type Channel, type ChannelModel, type GetMessage } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AmqpMap, symbol } from '../../src/protocols/amqp10/types.ts';
import { Amqp10Peer, bodyOf, data, section, sectionsOf, toSource } from '../support/amqp10-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** What one protocol leaves for subscribers to come, and another's ask for. */
let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let client: MqttClient;
let topics = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createChannel();
  client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
  });
});

afterAll(async () => {
  await client?.endAsync();
  await amqp?.close();
  await broker?.remove();
});

const asked = { 'x-mqtt-retain': true };

/** A topic of two words below which the message is retained. */
async function retain(...leaves: string[]): Promise<string> {
  topics += 1;
  for (const leaf of leaves) {
    const properties = { contentType: 'text/plain', userProperties: { room: leaf } };
    await client.publishAsync(`kept/${topics}/${leaf}`, leaf, { qos: 1, retain: true, properties });
  }
  return `kept.${topics}`;
}

async function bound(key: string, args: object): Promise<string> {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'amq.topic', key, args);
  return queue;
}

async function take(queue: string): Promise<GetMessage[]> {
  const all: GetMessage[] = [];
  for (let got = await channel.get(queue, { noAck: true }); got; got = await channel.get(queue, { noAck: true })) {
    all.push(got);
  }
  return all;
}

describe('AMQP 0-9-1', () => {
  test('a binding with the argument gets what it matches, marked as retained', async () => {
    const topic = await retain('hall', 'attic');
    const got = await take(await bound(`${topic}.*`, asked));
    expect(got.map(({ content }) => content.toString()).sort()).toEqual(['attic', 'hall']);
    const [message] = got;
    expect(message?.fields).toMatchObject({ exchange: 'amq.topic', routingKey: `${topic}.${message?.content}` });
    expect(message?.properties).toMatchObject({
      contentType: 'text/plain',
      deliveryMode: 2,
      headers: { room: message?.content.toString(), 'x-mqtt-retain': true },
    });
  });

  test('without it, or with another value, it gets only what comes', async () => {
    const topic = await retain('hall');
    const queues = [await bound(`${topic}.#`, {}), await bound(`${topic}.#`, { 'x-mqtt-retain': false })];
    client.publish(`${topic.replace('.', '/')}/hall`, 'live');
    for (const queue of queues) {
      await expect.poll(async () => (await take(queue)).map(({ content }) => content.toString())).toEqual(['live']);
    }
  });

  test('a # in the middle matches, and binding again gives nothing twice', async () => {
    const topic = await retain('a', 'b/c/end', 'end');
    const queue = await bound(`${topic}.#.end`, asked);
    await channel.bindQueue(queue, 'amq.topic', `${topic}.#.end`, asked);
    expect((await take(queue)).map(({ content }) => content.toString()).sort()).toEqual(['b/c/end', 'end']);
  });

  test('a binding of another exchange gets nothing', async () => {
    const topic = await retain('hall');
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'amq.direct', `${topic}.hall`, asked);
    expect(await take(queue)).toEqual([]);
  });
});

test('STOMP: SUBSCRIBE with the header x-mqtt-retain', async () => {
  const topic = await retain('hall');
  const stomp = await StompWire.login(broker.port('stomp'));
  stomp.send(`SUBSCRIBE\nid:1\ndestination:/topic/${topic}.#\nx-mqtt-retain:true\n\n\0`);
  const { headers, body } = await stomp.next();
  expect([headers['destination'], headers['x-mqtt-retain'], headers['room'], body.toString()]).toEqual([
    `/topic/${topic}.hall`,
    'true',
    'hall',
    'hall',
  ]);
  stomp.destroy();
});

test('AMQP 1.0: a source with the capability retained', async () => {
  const topic = await retain('hall');
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  await peer.receiver(1, toSource(`/exchanges/amq.topic/${topic}.hall`, { capabilities: ['retained'] }), 1);
  const { octets } = await peer.message();
  expect(bodyOf(octets)).toBe('hall');
  expect((sectionsOf(octets).get(0x72) as AmqpMap).get('x-opt-mqtt-retain')).toBe(true);
  peer.destroy();
});

test('what one protocol retains, another replaces and a third clears', async () => {
  const topic = await retain('hall');
  channel.publish('amq.topic', `${topic}.hall`, Buffer.from('from amqp'), { headers: asked });
  const bodies = async () => (await take(await bound(`${topic}.hall`, asked))).map(({ content }) => content.toString());
  await expect.poll(bodies).toEqual(['from amqp']);
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  await peer.sender(0, `/exchanges/amq.topic/${topic}.hall`);
  const mark = section(0x72, new AmqpMap([[symbol('x-opt-mqtt-retain'), true]]));
  await peer.publish(0, Buffer.concat([mark, data('from amqp 1.0')]));
  expect(await bodies()).toEqual(['from amqp 1.0']);
  const stomp = await StompWire.login(broker.port('stomp'));
  await stomp.confirm(`SEND\ndestination:/topic/${topic}.hall\nx-mqtt-retain:true\n\n\0`);
  expect(await bodies()).toEqual([]);
  peer.destroy();
  stomp.destroy();
});

test('AMQP 1.0: what is to be retained is accepted, whether a queue takes it or none', async () => {
  const peer = await Amqp10Peer.openSession(broker.port('amqp'));
  await peer.sender(0, '/exchanges/amq.topic/retained.unheard');
  const mark = section(0x72, new AmqpMap([[symbol('x-opt-mqtt-retain'), true]]));
  expect(await peer.publish(0, Buffer.concat([mark, data('kept')]))).toMatchObject({ is: 'accepted' });
  expect(await peer.publish(0, data('dropped'))).toMatchObject({ is: 'released' });
  const kept = await take(await bound('retained.unheard', asked));
  expect(kept.map(({ content }) => content.toString())).toEqual(['kept']);
  peer.destroy();
});

test('what was retained by MQTT comes to MQTT as it was, without a header for its flag', async () => {
  const topic = await retain('hall');
  const old = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 4,
  });
  const name = `${topic.replace('.', '/')}/old`;
  await old.publishAsync(name, 'old', { qos: 1, retain: true });
  await old.endAsync();
  const next = new Promise((resolve) => client.once('message', (_topic, _body, packet) => resolve(packet)));
  await client.subscribeAsync(name);
  const packet = (await next) as { retain: boolean; properties?: object };
  expect(packet.retain).toBe(true);
  expect(packet.properties ?? {}).not.toHaveProperty('userProperties');
});

describe('the HTTP API', () => {
  test('lists, shows and clears what is retained', async () => {
    const api = new ApiClient(broker.port('management'));
    const topic = await retain('attic', 'hall');
    const all = await api.read<{ routing_key: string }[]>('retained/%2F?sort=routing_key');
    expect(all.filter(({ routing_key }) => routing_key.startsWith(`${topic}.`))).toMatchObject([
      {
        vhost: '/',
        routing_key: `${topic}.attic`,
        topic: `${topic.replace('.', '/')}/attic`,
        payload_bytes: 5,
        qos: 1,
      },
      { routing_key: `${topic}.hall`, payload_bytes: 4, durable: true },
    ]);
    const path = `retained/%2F/${encodeURIComponent(`${topic}.hall`)}`;
    expect(await api.read(path)).toMatchObject({
      payload: 'hall',
      payload_encoding: 'string',
      properties: { content_type: 'text/plain', headers: { room: 'hall' } },
    });
    expect((await api.delete(path)).status).toBe(204);
    expect((await api.get(path)).status).toBe(404);
    expect((await take(await bound(`${topic}.#`, asked))).map(({ content }) => content.toString())).toEqual(['attic']);
  });
});
