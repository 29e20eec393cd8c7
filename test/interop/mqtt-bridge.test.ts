import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { findProgram, type LocalBroker, startMosquitto } from '../support/local-brokers.ts';

const program = findProgram('mosquitto');

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});
afterAll(() => broker?.remove());

describe.skipIf(program === undefined).each(['mqttv31', 'mqttv311', 'mqttv50'])(
  `a Mosquitto that bridges to us in %s${program === undefined ? ': not run, it is not installed' : ''}`,
  (version) => {
    let mosquitto: LocalBroker;
    let there: MqttClient;
    let here: MqttClient;
    const topics = `bridged/${version}`;

    beforeAll(async () => {
      mosquitto = await startMosquitto(program as string, [
        `connection ${version}`,
        `address 127.0.0.1:${broker.port('mqtt')}`,
        `bridge_protocol_version ${version}`,
        `topic ${topics}/# both 1`,
        `remote_clientid bridge-${version}`,
        'remote_username guest',
        'remote_password guest',
        'notifications_local_only true',
      ]);
      there = await connectAsync(`mqtt://127.0.0.1:${mosquitto.endpoint.port}`);
      here = await connectAsync(`mqtt://guest:guest@127.0.0.1:${broker.port('mqtt')}`, { protocolVersion: 5 });
      // the bridge is there once something has come over it
      const came = new Promise<void>((resolve) => here.once('message', () => resolve()));
      await here.subscribeAsync(`${topics}/ready`, { qos: 1 });
      await there.publishAsync(`${topics}/ready`, 'yes', { qos: 1, retain: true });
      await came;
      await here.unsubscribeAsync(`${topics}/ready`);
    });

    afterAll(async () => {
      await Promise.all([there?.endAsync(true), here?.endAsync(true)]);
      await mosquitto?.stop();
    });

    test('messages go both ways, once', async () => {
      const got: string[] = [];
      for (const [name, client] of Object.entries({ here, there })) {
        client.on('message', (topic, body, { retain }) =>
          got.push(`${name} ${topic.split('/').at(-1)} ${body} ${retain}`),
        );
        await client.subscribeAsync(`${topics}/+`, { qos: 1, rh: 2 });
      }
      await here.publishAsync(`${topics}/down`, '1', { qos: 1 });
      await there.publishAsync(`${topics}/up`, '2', { qos: 1 });
      await here.publishAsync(`${topics}/down`, 'last', { qos: 1 });
      await there.publishAsync(`${topics}/up`, 'last', { qos: 1 });
      await expect.poll(() => got.filter((each) => each.includes('last')).length).toBe(4);
      const fresh = got.filter((each) => !each.includes(' ready '));
      expect(fresh.sort()).toEqual(
        [
          'here down 1',
          'here down last',
          'here up 2',
          'here up last',
          'there down 1',
          'there down last',
          'there up 2',
          'there up last',
        ].map((each) => `${each} false`),
      );
    });

    test('what is retained here is retained there', async () => {
      await here.publishAsync(`${topics}/kept`, 'kept', { qos: 1, retain: true });
      const retained = async (): Promise<boolean> => {
        const late = await connectAsync(`mqtt://127.0.0.1:${mosquitto.endpoint.port}`);
        const next = new Promise<boolean>((resolve) =>
          late.once('message', (_topic, _body, { retain }) => resolve(retain)),
        );
        await late.subscribeAsync(`${topics}/kept`);
        const isRetained = await next;
        await late.endAsync();
        return isRetained;
      };
      await expect.poll(retained).toBe(true);
    });
  },
);
