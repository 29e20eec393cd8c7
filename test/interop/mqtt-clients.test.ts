import { afterAll, beforeAll, describe } from 'vitest';
import { mosquittoSuite } from '../suites/mosquitto.ts';
import { mqttjsSuite } from '../suites/mqttjs.ts';
import { findProgram } from '../support/local-brokers.ts';
import { MortalBroker } from '../support/mortal-broker.ts';

const hasMosquitto = ['mosquitto_pub', 'mosquitto_sub'].every((program) => findProgram(program) !== undefined);

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
