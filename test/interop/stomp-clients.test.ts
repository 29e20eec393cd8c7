import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe } from 'vitest';
import { stompPySuite } from '../suites/stomp-py.ts';
import { stompitSuite } from '../suites/stompit.ts';
import { stompjsSuite } from '../suites/stompjs.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const hasStompPy = spawnSync('/usr/bin/python3', ['-c', 'import stomp']).status === 0;

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});
afterAll(() => broker?.remove());

const endpoint = () => ({ host: '127.0.0.1', port: broker.port('stomp'), user: 'guest', password: 'guest' });

describe('stompit', () => stompitSuite(endpoint));
describe('@stomp/stompjs', () =>
  stompjsSuite(() => ({ tcp: broker.port('stomp'), webSocket: broker.port('stompWs') })));
describe.skipIf(!hasStompPy)(hasStompPy ? 'stomp.py' : 'stomp.py: not run, python3-stomp is not installed', () =>
  stompPySuite(endpoint),
);
