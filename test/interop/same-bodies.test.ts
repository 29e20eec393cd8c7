import { afterAll, beforeAll, describe } from 'vitest';
import { amqpSuite, mqttSuite, stompSuite } from '../suites/interop.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalBroker, startMosquitto, startRabbitMq } from '../support/local-brokers.ts';

describe('RosettaMQ as a process', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });
  afterAll(() => broker?.remove());

  const endpoint = (listener: string) => () => ({
    host: '127.0.0.1',
    port: broker.port(listener),
    user: 'guest',
    password: 'guest',
  });
  amqpSuite(endpoint('amqp'));
  mqttSuite(endpoint('mqtt'));
  stompSuite(endpoint('stomp'));
});

/** The same bodies against brokers of this machine: what they do not meet would be our own invention. */
function describeLocal(
  name: string,
  program: string,
  start: (path: string) => Promise<LocalBroker>,
  suite: typeof amqpSuite,
): void {
  const path = findProgram(program);
  const title = path === undefined ? `${name}: not run, ${program} is not installed` : name;
  describe.skipIf(path === undefined)(title, () => {
    let broker: LocalBroker;
    beforeAll(async () => {
      broker = await start(path as string);
    });
    afterAll(() => broker?.stop());
    suite(() => broker.endpoint);
  });
}

describeLocal('RabbitMQ as a process', 'rabbitmq-server', startRabbitMq, amqpSuite);
describeLocal('Mosquitto as a process', 'mosquitto', startMosquitto, mqttSuite);
