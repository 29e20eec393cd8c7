import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { BrokerProcess } from '../../support/broker-process.ts';
import { connectOctets } from '../../support/mqtt-wire.ts';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

afterAll(() => broker?.remove());

interface Opened {
  readonly socket: WebSocket;
  until(octets: number): Promise<Buffer>;
  received(): Buffer;
  /** With what code the server closed it. */
  readonly closed: Promise<number>;
}

async function open(): Promise<Opened> {
  const socket = new WebSocket(`ws://127.0.0.1:${broker.port('mqttWs')}/ws`, ['mqtt']);
  let received = Buffer.alloc(0);
  let tell = () => {};
  socket.on('message', (data: Buffer) => {
    received = Buffer.concat([received, data]);
    tell();
  });
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const until = async (octets: number): Promise<Buffer> => {
    while (received.length < octets) {
      await new Promise<void>((resolve) => {
        tell = resolve;
      });
    }
    return received;
  };
  return { socket, until, received: () => received, closed };
}

test('[MQTT-6.0.0-2] [MQTT-6.0.0-4] [3.1.1 MQTT-6.0.0-2] [3.1.1 MQTT-6.0.0-4] the subprotocol is mqtt, and frames hold parts of packets or several', async () => {
  const { socket, until } = await open();
  expect(socket.protocol).toBe('mqtt');
  const packets = Buffer.concat([connectOctets(4), Buffer.from('c000c000', 'hex')]);
  for (const octet of packets.subarray(0, 10)) socket.send(Buffer.from([octet]));
  socket.send(packets.subarray(10));
  expect(await until(8)).toEqual(Buffer.from('20020000d000d000', 'hex'));
  socket.terminate();
});

test('[MQTT-6.0.0-1] [3.1.1 MQTT-6.0.0-1] a text frame ends the connection, whatever it holds', async () => {
  const { socket, received, closed } = await open();
  socket.send(connectOctets(4).toString('latin1'));
  expect(await closed).toBe(1003);
  expect(received()).toEqual(Buffer.alloc(0));
});

test('[MQTT-6.0.0-1] [3.1.1 MQTT-6.0.0-1] so does one in the middle of a session', async () => {
  const { socket, until, received, closed } = await open();
  socket.send(connectOctets(4));
  await until(4);
  socket.send(Buffer.from('c000', 'hex').toString('latin1'));
  expect(await closed).toBe(1003);
  expect(received()).toEqual(Buffer.from('20020000', 'hex'));
});
