import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { connect as connectAmqp, credentials } from 'amqplib';
import { connectAsync } from 'mqtt';
import stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { BrokerProcess } from '../support/broker-process.ts';
import { TestCa } from '../support/test-ca.ts';

let folder: string;
let ca: TestCa;
let broker: BrokerProcess;

const extra = {
  amqps: 'amqp',
  mqtts: 'mqtt',
  stomps: 'stomp',
  mqttWss: 'mqtt',
  stompWss: 'stomp',
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-tls-'));
  ca = new TestCa(join(folder, 'ca'));
  const server = ca.issue('server');
  const listeners = Object.entries(extra).flatMap(([name, protocol]) => [
    `listeners.${name}.protocol=${protocol}`,
    `listeners.${name}.port=0`,
    `listeners.${name}.tls=true`,
    ...(name.endsWith('Wss') ? [`listeners.${name}.transport=websocket`] : []),
  ]);
  const mutual = [
    'listeners.mutual.protocol=mqtt',
    'listeners.mutual.port=0',
    `listeners.mutual.tls={cert: ${server.cert}, key: ${server.key}, ca: ${ca.cert}, verify: required}`,
  ];
  const external = [
    'listeners.external.protocol=amqp',
    'listeners.external.port=0',
    `listeners.external.tls={cert: ${server.cert}, key: ${server.key}, ca: ${ca.cert}, verify: optional}`,
  ];
  const sets = [`tls.cert=${server.cert}`, `tls.key=${server.key}`, ...listeners, ...mutual, ...external];
  broker = await BrokerProcess.start({ args: sets.flatMap((each) => ['--set', each]) });
});

afterAll(async () => {
  await broker.remove();
  rmSync(folder, { recursive: true, force: true });
});

const trusted = () => ({ ca: readFileSync(ca.cert), servername: 'localhost' });
const guest = { username: 'guest', password: 'guest', reconnectPeriod: 0 };

describe.each([
  ['MQTT over TCP', 'mqtt', 'mqtt', ''],
  ['MQTT over TLS', 'mqtts', 'mqtts', ''],
  ['MQTT over WebSocket', 'ws', 'mqttWs', '/ws'],
  ['MQTT over WebSocket and TLS', 'wss', 'mqttWss', '/ws'],
])('%s', (_name, scheme, listener, path) => {
  test('a large message goes out and comes back', async () => {
    const url = `${scheme}://127.0.0.1:${broker.port(listener)}${path}`;
    const client = await connectAsync(url, { ...guest, ...trusted(), protocolVersion: 5 });
    await client.subscribeAsync('there/and/back', { qos: 1 });
    const body = Buffer.alloc(300_000, 'ab\x00ÿ');
    const arrived = new Promise<Buffer>((resolve) => client.once('message', (_topic, payload) => resolve(payload)));
    await client.publishAsync('there/and/back', body, { qos: 1 });
    expect((await arrived).equals(body)).toBe(true);
    await client.endAsync();
  });
});

test('AMQP over TLS', async () => {
  const url = `amqps://guest:guest@localhost:${broker.port('amqps')}`;
  const connection = await connectAmqp(url, trusted());
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await new Promise<void>((resolve, reject) =>
    channel.sendToQueue(queue, Buffer.from('over TLS'), {}, (error) => (error ? reject(error) : resolve())),
  );
  const message = await channel.get(queue, { noAck: true });
  expect(message ? message.content.toString() : null).toBe('over TLS');
  await connection.close();
});

test('AMQP EXTERNAL: the common name of a verified certificate is the user', async () => {
  const url = `amqps://127.0.0.1:${broker.port('external')}`;
  const shown = (name: string) => {
    const { cert, key } = ca.issue(name);
    return { ...trusted(), cert: readFileSync(cert), key: readFileSync(key), credentials: credentials.external() };
  };
  const connection = await connectAmqp(url, shown('guest'));
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.checkQueue(queue);
  await connection.close();
  await expect(connectAmqp(url, shown('stranger'))).rejects.toThrow(/403.*using authentication mechanism EXTERNAL/);
  await expect(connectAmqp(url, { ...trusted(), credentials: credentials.external() })).rejects.toThrow();
});

test('STOMP over TLS', async () => {
  const client = await new Promise<{ destroy(): void }>((resolve, reject) =>
    stompit.connect(
      {
        host: 'localhost',
        port: broker.port('stomps'),
        ssl: true,
        ...trusted(),
        connectHeaders: { host: '/', login: 'guest', passcode: 'guest' },
      } as never,
      (error, connected) => (error ? reject(error) : resolve(connected)),
    ),
  );
  client.destroy();
});

describe.each([
  ['ws', 'stompWs'],
  ['wss', 'stompWss'],
])('STOMP over %s', (scheme, listener) => {
  test('frames in text, cut anywhere, pings answered, the subprotocol chosen', async () => {
    const socket = new WebSocket(`${scheme}://127.0.0.1:${broker.port(listener)}/ws`, ['v11.stomp', 'v12.stomp'], {
      ...trusted(),
    });
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    expect(socket.protocol).toBe('v12.stomp');
    const reply = new Promise<{ text: string; binary: boolean }>((resolve) =>
      socket.once('message', (data, binary) => resolve({ text: data.toString(), binary })),
    );
    const pong = new Promise((resolve) => socket.once('pong', resolve));
    socket.send('CONNECT\naccept-ver', { fin: false });
    socket.send('sion:1.2\nhost:/\nlogin:guest\n', { fin: true });
    socket.ping();
    socket.send(Buffer.from('passcode:guest\n\n\0'), { binary: true });
    const { text, binary } = await reply;
    expect(text).toMatch(/^CONNECTED\nversion:1\.2\n/);
    expect(binary).toBe(false);
    await pong;
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.send('DISCONNECT\n\n\0');
    await closed;
  });
});

test.each([
  ['a path that is not there', '/other', ['mqtt'], /404/],
  ['a subprotocol that is not spoken', '/ws', ['chat'], /400/],
])('WebSocket: %s is refused', async (_what, path, protocols, message) => {
  const socket = new WebSocket(`ws://127.0.0.1:${broker.port('mqttWs')}${path}`, protocols);
  const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
  expect(error.message).toMatch(message);
});

test('a listener that requires a certificate takes one of its authority and no other', async () => {
  const url = `mqtts://127.0.0.1:${broker.port('mutual')}`;
  const { cert, key } = ca.issue('client');
  const stranger = new TestCa(join(folder, 'stranger')).issue('client');
  const shown = (each: { cert: string; key: string }) => ({
    cert: readFileSync(each.cert),
    key: readFileSync(each.key),
  });
  const client = await connectAsync(url, { ...guest, ...trusted(), ...shown({ cert, key }) });
  await client.endAsync();
  await expect(connectAsync(url, { ...guest, ...trusted() }, false)).rejects.toThrow();
  await expect(connectAsync(url, { ...guest, ...trusted(), ...shown(stranger) }, false)).rejects.toThrow();
});

test('TLS 1.1 is not spoken, 1.2 and 1.3 are', async () => {
  const speak = (version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
    new Promise<string | null>((resolve, reject) => {
      const socket = connectTls({
        port: broker.port('mqtts'),
        host: '127.0.0.1',
        ...trusted(),
        minVersion: version,
        maxVersion: version,
        ciphers: 'DEFAULT@SECLEVEL=0',
      });
      socket.once('secureConnect', () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.once('error', reject);
    });
  await expect(speak('TLSv1.1')).rejects.toThrow();
  expect(await speak('TLSv1.2')).toBe('TLSv1.2');
  expect(await speak('TLSv1.3')).toBe('TLSv1.3');
});

test('a new certificate in the place of the old one is shown without a restart', async () => {
  const shownSerial = () =>
    new Promise<string>((resolve, reject) => {
      const socket = connectTls({ port: broker.port('mqtts'), host: '127.0.0.1', ...trusted() });
      socket.once('secureConnect', () => {
        resolve(socket.getPeerCertificate().serialNumber);
        socket.destroy();
      });
      socket.once('error', reject);
    });
  const before = await shownSerial();
  ca.issue('server');
  await expect.poll(shownSerial, { timeout: 10_000 }).not.toBe(before);
});
