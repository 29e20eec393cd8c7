import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import type stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectStomp as connectStompTo } from '../suites/interop.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const connectStomp = (port: number) => connectStompTo({ host: '127.0.0.1', port, user: 'guest', password: 'guest' });

const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

/** What all of them can say of a message. */
interface Seen {
  readonly body: Buffer;
  readonly contentType: unknown;
  readonly correlationId: unknown;
  readonly header: unknown;
}

interface Peer {
  publish(topic: string): Promise<void>;
  /** Resolves once the subscription stands; `next` when the first message has come. */
  subscribe(topic: string): Promise<{ readonly next: Promise<Seen> }>;
}

const sent = { body: everyByte, contentType: 'application/x-test', correlationId: 'c-1', header: 'Grüße' };

let broker: BrokerProcess;
let amqp: ChannelModel;
let channel: Channel;
let mqttClient: MqttClient;
let stomp: stompit.Client;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  channel = await amqp.createConfirmChannel();
  mqttClient = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
  });
  stomp = await connectStomp(broker.port('stomp'));
});

afterAll(async () => {
  await mqttClient?.endAsync();
  await amqp?.close();
  stomp?.destroy();
  await broker?.remove();
});

const peers: Record<string, Peer> = {
  amqp: {
    async publish(topic) {
      channel.publish('amq.topic', topic, sent.body, {
        contentType: sent.contentType,
        correlationId: sent.correlationId,
        headers: { note: sent.header },
      });
      await (channel as amqplib.ConfirmChannel).waitForConfirms();
    },
    async subscribe(topic) {
      const { queue } = await channel.assertQueue('', { durable: true });
      await channel.bindQueue(queue, 'amq.topic', topic);
      let found: (seen: Seen) => void;
      const next = new Promise<Seen>((resolve) => {
        found = resolve;
      });
      await channel.consume(queue, (message) => {
        const { content, properties } = message as ConsumeMessage;
        channel.ack(message as ConsumeMessage);
        found({
          body: content,
          contentType: properties.contentType,
          correlationId: properties.correlationId,
          header: properties.headers?.['note'],
        });
      });
      return { next };
    },
  },
  mqtt: {
    async publish(topic) {
      await mqttClient.publishAsync(topic.replaceAll('.', '/'), sent.body, {
        qos: 1,
        properties: {
          contentType: sent.contentType,
          correlationData: Buffer.from(sent.correlationId),
          userProperties: { note: sent.header },
        },
      });
    },
    async subscribe(topic) {
      const name = topic.replaceAll('.', '/');
      await mqttClient.subscribeAsync(name, { qos: 1 });
      const next = new Promise<Seen>((resolve) => {
        mqttClient.on('message', (arrived, body, packet) => {
          if (arrived !== name) return;
          resolve({
            body,
            contentType: packet.properties?.contentType,
            correlationId: packet.properties?.correlationData?.toString(),
            header: packet.properties?.userProperties?.['note'] as string | undefined,
          });
        });
      });
      return { next };
    },
  },
  stomp: {
    publish(topic) {
      return new Promise((resolve, reject) => {
        const frame = stomp.send(
          {
            destination: `/topic/${topic}`,
            'content-type': sent.contentType,
            'correlation-id': sent.correlationId,
            'content-length': String(sent.body.length),
            note: sent.header,
          },
          { onReceipt: resolve, onError: reject },
        );
        frame.end(sent.body);
      });
    },
    async subscribe(topic) {
      const next = new Promise<Seen>((resolve, reject) => {
        stomp.subscribe({ destination: `/topic/${topic}`, ack: 'client-individual' }, (error, message) => {
          if (error) return reject(error);
          const chunks: Buffer[] = [];
          message.on('data', (chunk: Buffer) => chunks.push(chunk));
          message.on('end', () => {
            stomp.ack(message);
            const headers = message.headers as Record<string, string>;
            resolve({
              body: Buffer.concat(chunks),
              contentType: headers['content-type'],
              correlationId: headers['correlation-id'],
              header: headers['note'],
            });
          });
        });
      });
      // stompit's SUBSCRIBE has no receipt: a frame behind it that has one shows that it was taken
      await new Promise<void>((resolve, reject) => {
        stomp.send({ destination: '/topic/nobody.listens' }, { onReceipt: resolve, onError: reject }).end('');
      });
      return { next };
    },
  },
};

describe('one message crosses every ordered pair, with its properties and a binary body', () => {
  for (const from of Object.keys(peers)) {
    for (const to of Object.keys(peers)) {
      test(`${from} → ${to}`, async () => {
        const topic = `cross.${from}.${to}`;
        const { next } = await peers[to]!.subscribe(topic);
        await peers[from]!.publish(topic);
        expect(await next).toEqual(sent);
      });
    }
  }
});

test('after kill -9 every confirmed durable message is there, once and in order, whoever published it', async () => {
  const own = await BrokerProcess.start();
  const url = () => `amqp://guest:guest@127.0.0.1:${own.port('amqp')}`;
  const names = ['from-amqp', 'from-mqtt', 'from-stomp'];
  const bodies = Array.from({ length: 200 }, (_, i) => `message ${i}`);

  const publisher = await amqplib.connect(url());
  publisher.on('error', () => {});
  const confirming = await publisher.createConfirmChannel();
  confirming.on('error', () => {});
  for (const name of names) {
    await confirming.assertQueue(name, { durable: true });
    await confirming.bindQueue(name, 'amq.topic', `kept.${name}`);
  }
  const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${own.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    reconnectPeriod: 0,
  });
  device.on('error', () => {});
  const legacy = await connectStomp(own.port('stomp'));
  legacy.on('error', () => {});

  for (const body of bodies) confirming.publish('amq.topic', 'kept.from-amqp', Buffer.from(body), { persistent: true });
  await Promise.all([
    confirming.waitForConfirms(),
    ...bodies.map((body) => device.publishAsync('kept/from-mqtt', body, { qos: 1 })),
    ...bodies.map(
      (body) =>
        new Promise<void>((resolve, reject) => {
          const headers = { destination: '/topic/kept.from-stomp', persistent: 'true' };
          legacy.send(headers, { onReceipt: resolve, onError: reject }).end(body);
        }),
    ),
  ]);
  await own.kill();
  device.end(true);

  const again = await BrokerProcess.start({ dataDir: own.dataDir });
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${again.port('amqp')}`);
  const reading = await connection.createChannel();
  for (const name of names) {
    const found: string[] = [];
    for (let message = await reading.get(name); message !== false; message = await reading.get(name)) {
      found.push(message.content.toString());
    }
    expect(found, name).toEqual(bodies);
  }
  await connection.close();
  await again.stop();
  await own.remove();
});
