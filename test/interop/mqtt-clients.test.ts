import { afterAll, beforeAll, describe } from 'vitest';
import { mqttjsSuite } from '../suites/mqttjs.ts';
import { MortalBroker } from '../support/mortal-broker.ts';

let broker: MortalBroker;
beforeAll(async () => {
  broker = await MortalBroker.start();
});
afterAll(() => broker?.remove());

describe('mqtt.js', () => mqttjsSuite(() => broker));
