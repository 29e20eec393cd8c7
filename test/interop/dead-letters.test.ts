import { afterAll, beforeAll, describe } from 'vitest';
import { deadLettersSuite } from '../suites/dead-letters.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalRabbitMq, startRabbitMq } from '../support/local-brokers.ts';

describe('RosettaMQ as a process', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });
  afterAll(() => broker?.remove());
  const login = { host: '127.0.0.1', user: 'guest', password: 'guest' };
  const endpoint = () => ({ ...login, port: broker.port('amqp'), managementPort: broker.port('management') });
  deadLettersSuite(endpoint, { showsLast: true });
});

/** The same against RabbitMQ: what it does not meet would be our own invention. */
const rabbitMq = findProgram('rabbitmq-server');
describe.skipIf(rabbitMq === undefined)(
  rabbitMq === undefined ? 'RabbitMQ: not run, rabbitmq-server is not installed' : 'RabbitMQ as a process',
  () => {
    let broker: LocalRabbitMq;
    beforeAll(async () => {
      broker = await startRabbitMq(rabbitMq as string, { management: true });
    });
    afterAll(() => broker?.stop());
    deadLettersSuite(() => ({ ...broker.endpoint, managementPort: broker.managementPort }), { showsLast: false });
  },
);
