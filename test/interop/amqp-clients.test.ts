import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import amqplib from 'amqplib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { amqpClientSuite } from '../suites/amqp-client.ts';
import { amqpToolsSuite } from '../suites/amqp-tools.ts';
import { amqplibSuite } from '../suites/amqplib.ts';
import type { Endpoint } from '../suites/interop.ts';
import { pikaSuite } from '../suites/pika.ts';
import { transcriptsSuite } from '../suites/transcripts.ts';
import { tutorialsSuite } from '../suites/tutorials.ts';
import { workersSuite } from '../suites/workers.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalBroker, startRabbitMq } from '../support/local-brokers.ts';

const hasPika = spawnSync('/usr/bin/python3', ['-c', 'import pika']).status === 0;
const hasTools = findProgram('amqp-publish') !== undefined;

function suites(endpoint: () => Endpoint): void {
  describe('amqplib', () => amqplibSuite(endpoint));
  describe('@cloudamqp/amqp-client', () => amqpClientSuite(endpoint));
  describe('transcripts', () => transcriptsSuite(endpoint));
  describe('RabbitMQ’s tutorials', () => tutorialsSuite(endpoint));
  describe('workers', () => workersSuite(endpoint));
  describe.skipIf(!hasPika)(hasPika ? 'pika' : 'pika: not run, python3-pika is not installed', () =>
    pikaSuite(endpoint),
  );
  describe.skipIf(!hasTools)(hasTools ? 'amqp-tools' : 'amqp-tools: not run, they are not installed', () =>
    amqpToolsSuite(endpoint),
  );
}

describe('RosettaMQ as a process', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });
  afterAll(() => broker?.remove());
  suites(() => ({ host: '127.0.0.1', port: broker.port('amqp'), user: 'guest', password: 'guest' }));
});

/** The same bodies against RabbitMQ: what it does not meet would be our own invention. */
const rabbitMq = findProgram('rabbitmq-server');
describe.skipIf(rabbitMq === undefined)(
  rabbitMq === undefined ? 'RabbitMQ: not run, rabbitmq-server is not installed' : 'RabbitMQ as a process',
  () => {
    let broker: LocalBroker;
    beforeAll(async () => {
      broker = await startRabbitMq(rabbitMq as string);
    });
    afterAll(() => broker?.stop());
    suites(() => broker.endpoint);
  },
);

test('connection.blocked: a publisher hears of it while the disk has too little room', async () => {
  const broker = await BrokerProcess.start({ args: ['--set', 'disk.freeMinBytes=9000000000000000'] });
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  const blocked = once(connection, 'blocked');
  const channel = await connection.createChannel();
  let waits = false;
  void blocked.then(() => {
    waits = true;
  });
  while (!waits) {
    channel.publish('amq.fanout', '', Buffer.from('x'));
    await Promise.race([blocked, channel.checkExchange('amq.fanout')]); // the alarm is looked for now and then
  }
  expect(await blocked).toEqual(['disk']);
  const { stream } = connection.connection as unknown as { stream: { destroy(): void } };
  stream.destroy();
  await broker.remove();
});
