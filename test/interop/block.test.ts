import amqplib, { type ConsumeMessage } from 'amqplib';
import mqtt from 'mqtt';
import rhea from 'rhea';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** x-overflow: block, seen by publishers of every protocol: they wait, and lose nothing. */
let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});
afterAll(() => broker?.remove());

const url = (): string => `amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`;
const limit = 5;
const count = 200;

async function declare(queue: string): Promise<amqplib.ChannelModel> {
  const connection = await amqplib.connect(url());
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { arguments: { 'x-max-length': limit, 'x-overflow': 'block' } });
  await channel.close();
  return connection;
}

/** Resolves once it consumes; `all` with the bodies of so many messages, each acked. */
async function startConsumer(
  connection: amqplib.ChannelModel,
  queue: string,
  wanted: number,
): Promise<{ readonly all: Promise<string[]> }> {
  const channel = await connection.createChannel();
  await channel.prefetch(1);
  const bodies: string[] = [];
  let done: (bodies: string[]) => void;
  const consumed = new Promise<string[]>((resolve) => {
    done = resolve;
  });
  await channel.consume(queue, (message: ConsumeMessage | null) => {
    bodies.push(message!.content.toString());
    channel.ack(message!);
    if (bodies.length === wanted) done(bodies);
  });
  return { all: consumed };
}

async function consume(connection: amqplib.ChannelModel, queue: string): Promise<string[]> {
  return (await startConsumer(connection, queue, count)).all;
}

const all = Array.from({ length: count }, (_, i) => String(i));

test('AMQP 0-9-1: connection.blocked, and unblocked when there is room', async () => {
  const connection = await declare('amqp');
  const publisher = await amqplib.connect(url());
  const blocked = new Promise((resolve) => publisher.once('blocked', resolve));
  const unblocked = new Promise((resolve) => publisher.once('unblocked', resolve));
  const channel = await publisher.createConfirmChannel();
  for (const body of all) channel.sendToQueue('amqp', Buffer.from(body), { persistent: true });
  expect(await blocked).toMatch(/queue 'amqp' is full/);
  const confirmed = channel.waitForConfirms();
  expect(await consume(connection, 'amqp')).toEqual(all);
  await unblocked;
  await confirmed;
  await publisher.close();
  await connection.close();
});

test('AMQP 0-9-1: who consumes on the same connection gets on', async () => {
  const connection = await declare('both');
  const channel = await connection.createConfirmChannel();
  const consumer = await startConsumer(connection, 'both', 20);
  for (let i = 0; i < 20; i++) channel.sendToQueue('both', Buffer.from(String(i)), { persistent: true });
  const confirmed = channel.waitForConfirms();
  expect(await consumer.all).toEqual(all.slice(0, 20));
  await confirmed;
  await connection.close();
});

test('MQTT: PUBACK comes, later', async () => {
  const connection = await declare('mqtt');
  const options = { username: 'guest', password: 'guest', protocolVersion: 5 } as const;
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, options);
  const published = Promise.all(all.map((body) => client.publishAsync('$queue-of/mqtt', body, { qos: 1 })));
  expect(await consume(connection, 'mqtt')).toEqual(all);
  await published;
  await client.endAsync();
  await connection.close();
});

test('STOMP: RECEIPT comes, later', async () => {
  const connection = await declare('stomp');
  const wire = await StompWire.login(broker.port('stomp'));
  for (const body of all) {
    wire.send(`SEND\ndestination:/amq/queue/stomp\npersistent:true\nreceipt:${body}\n\n${body}\0`);
  }
  expect(await consume(connection, 'stomp')).toEqual(all);
  for (const body of all) expect((await wire.next()).headers['receipt-id']).toBe(body);
  wire.destroy();
  await connection.close();
});

test('AMQP 1.0: credit comes, later', async () => {
  const connection = await declare('amqp10');
  const client = rhea.create_container().connect({
    host: '127.0.0.1',
    port: broker.port('amqp'),
    username: 'guest',
    password: 'guest',
    reconnect: false,
  });
  const sender = client.open_sender('/queues/amqp10');
  let next = 0;
  let accepted = 0;
  const done = new Promise<void>((resolve) =>
    sender.on('accepted', () => {
      accepted += 1;
      if (accepted === count) resolve();
    }),
  );
  sender.on('sendable', () => {
    while (sender.sendable() && next < count) {
      sender.send({ durable: true, body: rhea.message.data_section(Buffer.from(String(next++))) } as never);
    }
  });
  expect(await consume(connection, 'amqp10')).toEqual(all);
  await done;
  client.close();
  await connection.close();
});
