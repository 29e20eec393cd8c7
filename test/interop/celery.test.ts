import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe } from 'vitest';
import { celerySuite } from '../suites/celery.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalBroker, startRabbitMq } from '../support/local-brokers.ts';

const hasCelery = spawnSync('/usr/bin/python3', ['-c', 'import celery']).status === 0;

describe.skipIf(!hasCelery)(hasCelery ? 'Celery' : 'Celery: not run, python3-celery is not installed', () => {
  describe('on RosettaMQ as a process', () => {
    let broker: BrokerProcess;
    beforeAll(async () => {
      broker = await BrokerProcess.start();
    });
    afterAll(() => broker?.remove());
    celerySuite(() => ({ host: '127.0.0.1', port: broker.port('amqp'), user: 'guest', password: 'guest' }));
  });

  const rabbitMq = findProgram('rabbitmq-server');
  describe.skipIf(rabbitMq === undefined)(
    rabbitMq === undefined ? 'RabbitMQ: not run, rabbitmq-server is not installed' : 'on RabbitMQ as a process',
    () => {
      let broker: LocalBroker;
      beforeAll(async () => {
        broker = await startRabbitMq(rabbitMq as string);
      });
      afterAll(() => broker?.stop());
      celerySuite(() => broker.endpoint);
    },
  );
});
