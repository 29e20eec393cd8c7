import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe } from 'vitest';
import { mosquittoSuite } from '../suites/mosquitto.ts';
import { mqttjsSuite } from '../suites/mqttjs.ts';
import { pahoSuite } from '../suites/paho.ts';
import { findProgram } from '../support/local-brokers.ts';
import { MortalBroker } from '../support/mortal-broker.ts';

const hasMosquitto = ['mosquitto_pub', 'mosquitto_sub'].every((program) => findProgram(program) !== undefined);

const hasPaho = spawnSync('/usr/bin/python3', ['-c', 'import paho.mqtt.client']).status === 0;

let broker: MortalBroker;
beforeAll(async () => {
  broker = await MortalBroker.start();
});
afterAll(() => broker?.remove());

describe('mqtt.js', () => mqttjsSuite(() => broker));
describe.skipIf(!hasMosquitto)(
  hasMosquitto ? 'mosquitto-clients' : 'mosquitto-clients: not run, they are not installed',
  () => mosquittoSuite(() => broker),
);
describe.skipIf(!hasPaho)(hasPaho ? 'paho-mqtt' : 'paho-mqtt: not run, it is not installed', () =>
  pahoSuite(() => broker),
);
