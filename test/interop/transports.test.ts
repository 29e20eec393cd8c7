import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Client } from '@stomp/stompjs';
import { connect as connectAmqp, credentials } from 'amqplib';
import { connectAsync } from 'mqtt';
import stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { hasOpenssl, TestCa } from '../support/test-ca.ts';

let folder: string;
let ca: TestCa;
let broker: BrokerProcess;

const extra = {
  amqps: 'amqp',
  mqtts: 'mqtt',
  stomps: 'stomp',
  mqttWss: 'mqtt',
  stompWss: 'stomp',
  managementTls: 'management',
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rosettamq-tls-'));
  if (!hasOpenssl) {
    broker = await BrokerProcess.start();
    return;
  }
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
    'listeners.mutual.vhost=sensors',
    'vhosts=[/, sensors]',
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

const body = Buffer.alloc(300_000, 'ab\x00ÿ');

/** Publishes a message to itself, large enough for many frames and reads, and gives what came. */
type RoundTrip = (port: number, tls: TlsVersion | null, webSocket: boolean) => Promise<Buffer>;
type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

const spoken = (tls: TlsVersion | null) =>
  tls === null ? {} : { ...trusted(), minVersion: tls, maxVersion: tls, host: 'localhost' };

const overAmqp: RoundTrip = async (port, tls) => {
  const url = `${tls === null ? 'amqp' : 'amqps'}://guest:guest@localhost:${port}`;
  const connection = await connectAmqp(url, spoken(tls));
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  const arrived = new Promise<Buffer>((resolve) => {
    void channel.consume(queue, (message) => resolve(message!.content), { noAck: true });
  });
  channel.sendToQueue(queue, body);
  await channel.waitForConfirms();
  const came = await arrived;
  await connection.close();
  return came;
};

const overMqtt =
  (protocolVersion: 4 | 5): RoundTrip =>
  async (port, tls, webSocket) => {
    const scheme = webSocket ? (tls === null ? 'ws' : 'wss') : tls === null ? 'mqtt' : 'mqtts';
    const url = `${scheme}://localhost:${port}${webSocket ? '/ws' : ''}`;
    const client = await connectAsync(url, { ...guest, ...spoken(tls), wsOptions: spoken(tls), protocolVersion });
    await client.subscribeAsync('there/and/back', { qos: 1 });
    const arrived = new Promise<Buffer>((resolve) => client.once('message', (_topic, payload) => resolve(payload)));
    await client.publishAsync('there/and/back', body, { qos: 1 });
    const came = await arrived;
    await client.endAsync();
    return came;
  };

const overStompit: RoundTrip = async (port, tls) => {
  const login = { host: '/', login: 'guest', passcode: 'guest' };
  const options = { ssl: tls !== null, ...spoken(tls), host: 'localhost', port, connectHeaders: login };
  const client = await new Promise<Awaited<StompitClient>>((resolve, reject) =>
    stompit.connect(options, (error, connected) => (error ? reject(error) : resolve(connected))),
  );
  const arrived = new Promise<Buffer>((resolve, reject) => {
    client.subscribe({ destination: '/topic/there', ack: 'auto' }, (error, message) => {
      if (error) return reject(error);
      const chunks: Buffer[] = [];
      message.on('data', (chunk: Buffer) => chunks.push(chunk));
      message.on('end', () => resolve(Buffer.concat(chunks)));
    });
  });
  client.send({ destination: '/topic/there', 'content-length': String(body.length) }).end(body);
  const came = await arrived;
  await new Promise<void>((resolve) => client.disconnect(() => resolve()));
  return came;
};
type StompitClient = Parameters<Parameters<typeof stompit.connect>[1]>[1];

/** As in a browser: frames in text unless the body is of octets. */
const overStompjs: RoundTrip = async (port, tls) => {
  const client = new Client({
    reconnectDelay: 0,
    connectHeaders: { login: 'guest', passcode: 'guest' },
    webSocketFactory: () =>
      new WebSocket(`${tls === null ? 'ws' : 'wss'}://localhost:${port}/ws`, ['v12.stomp'], spoken(tls)) as never,
  });
  const arrived = new Promise<Buffer>((resolve, reject) => {
    client.onStompError = ({ headers }) => reject(new Error(headers['message']));
    client.onWebSocketError = reject;
    client.onConnect = () => {
      client.subscribe('/topic/there', ({ binaryBody }) => resolve(Buffer.from(binaryBody)));
      client.publish({ destination: '/topic/there', binaryBody: body });
    };
  });
  client.activate();
  const came = await arrived;
  await client.deactivate();
  return came;
};

const tcp = ['TCP', false, null] as const;
const tls12 = ['TLS 1.2', false, 'TLSv1.2'] as const;
const tls13 = ['TLS 1.3', false, 'TLSv1.3'] as const;
const ws = ['WebSocket', true, null] as const;
const wss12 = ['WebSocket over TLS 1.2', true, 'TLSv1.2'] as const;
const wss13 = ['WebSocket over TLS 1.3', true, 'TLSv1.3'] as const;

const clients = [
  ['AMQP 0-9-1 (amqplib)', 'amqp', overAmqp, [tcp, tls12, tls13]],
  ['MQTT 3.1.1 (mqtt.js)', 'mqtt', overMqtt(4), [tcp, tls12, tls13, ws, wss12, wss13]],
  ['MQTT 5 (mqtt.js)', 'mqtt', overMqtt(5), [tcp, tls12, tls13, ws, wss12, wss13]],
  ['STOMP (stompit)', 'stomp', overStompit, [tcp, tls12, tls13]],
  ['STOMP (@stomp/stompjs)', 'stomp', overStompjs, [ws, wss12, wss13]],
] as const;

for (const [client, protocol, roundTrip, transports] of clients) {
  describe(client, () => {
    for (const [transport, webSocket, tls] of transports) {
      test.skipIf(tls !== null && !hasOpenssl)(
        `over ${transport}: a message of 300,000 octets goes out and comes back`,
        async () => {
          const listener = webSocket
            ? `${protocol}${tls === null ? 'Ws' : 'Wss'}`
            : `${protocol}${tls === null ? '' : 's'}`;
          const came = await roundTrip(broker.port(listener), tls, webSocket);
          expect(came.equals(body)).toBe(true);
        },
      );
    }
  });
}

describe.each([
  ['ws', 'stompWs'],
  ['wss', 'stompWss'],
])('STOMP over %s', (scheme, listener) => {
  test.skipIf(scheme === 'wss' && !hasOpenssl)(
    'frames in text, cut anywhere, pings answered, the subprotocol chosen',
    async () => {
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
    },
  );
});

test.each([
  ['a path that is not there', '/other', ['mqtt'], /404/],
  ['a subprotocol that is not spoken', '/ws', ['chat'], /400/],
])('WebSocket: %s is refused', async (_what, path, protocols, message) => {
  const socket = new WebSocket(`ws://127.0.0.1:${broker.port('mqttWs')}${path}`, protocols);
  const error = await new Promise<Error>((resolve) => socket.once('error', resolve));
  expect(error.message).toMatch(message);
});

test.skipIf(!hasOpenssl)('AMQP EXTERNAL: the common name of a verified certificate is the user', async () => {
  const url = `amqps://127.0.0.1:${broker.port('external')}`;
  const shown = (name: string) => {
    const { cert, key } = ca.issue(name);
    return { ...trusted(), cert: readFileSync(cert), key: readFileSync(key), credentials: credentials.external() };
  };
  const connection = await connectAmqp(url, shown('guest'));
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.checkQueue(queue);
  const [listed] = await new ApiClient(broker.port('management')).read<object[]>('connections');
  expect(listed).toMatchObject({
    ssl: true,
    ssl_protocol: expect.stringMatching(/^tlsv1\.[23]$/),
    ssl_key_exchange: expect.stringMatching(/^[a-z0-9_]+$/),
    ssl_cipher: expect.stringMatching(/^[a-z0-9_]+$/),
    ssl_hash: expect.stringMatching(/^(aead|sha\d*)$/),
    peer_cert_subject: expect.stringContaining('CN=guest'),
    peer_cert_issuer: expect.stringContaining('CN='),
    peer_cert_validity: expect.stringMatching(/^[\d-]+T[\d:]+Z - [\d-]+T[\d:]+Z$/),
  });
  await connection.close();
  await expect(connectAmqp(url, shown('stranger'))).rejects.toThrow(/403.*using authentication mechanism EXTERNAL/);
  await expect(connectAmqp(url, { ...trusted(), credentials: credentials.external() })).rejects.toThrow();
});

test.skipIf(!hasOpenssl)('a listener that requires a certificate takes one of its authority and no other', async () => {
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

test.skipIf(!hasOpenssl)('a certificate of its authority that has ended lets nobody in', async () => {
  const [holds, ended] = [ca.issue('guest'), ca.issue('ended', -1)];
  const shown = (each: { cert: string; key: string }) => ({
    ...trusted(),
    cert: readFileSync(each.cert),
    key: readFileSync(each.key),
  });
  const required = `mqtts://127.0.0.1:${broker.port('mutual')}`;
  await (await connectAsync(required, { ...guest, ...shown(holds) })).endAsync();
  await expect(connectAsync(required, { ...guest, ...shown(ended) }, false)).rejects.toThrow();
  // where none is required, one that does not hold is not as good as none
  const optional = `amqps://127.0.0.1:${broker.port('external')}`;
  await (await connectAmqp(optional, trusted())).close();
  await (await connectAmqp(optional, { ...shown(holds), credentials: credentials.external() })).close();
  for (const login of [{ credentials: credentials.external() }, {}]) {
    await expect(connectAmqp(optional, { ...shown(ended), ...login })).rejects.toThrow();
  }
});

test.skipIf(!hasOpenssl)('the HTTP API over TLS', async () => {
  const { status, body } = await new Promise<{ status: number; body: string }>((resolve, reject) => {
    const options = { port: broker.port('managementTls'), path: '/api/whoami', auth: 'guest:guest', ...trusted() };
    const request = get({ host: '127.0.0.1', ...options }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
    });
    request.once('error', reject);
  });
  expect([status, JSON.parse(body)]).toEqual([200, expect.objectContaining({ name: 'guest' })]);
});

test.skipIf(!hasOpenssl)('TLS 1.1 is not spoken, 1.2 and 1.3 are', async () => {
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

test.skipIf(!hasOpenssl)('a new certificate in the place of the old one is shown without a restart', async () => {
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

test.skipIf(!hasOpenssl)('certificates that end soon are told by the health check, by listener', async () => {
  const api = new ApiClient(broker.port('management'));
  expect(await api.read('health/checks/certificate-expiration/1/days')).toEqual({ status: 'ok' });
  const { status, body } = await api.get('health/checks/certificate-expiration/1/weeks');
  expect(status).toBe(503);
  const { reason, expired } = body as { reason: string; expired: Record<string, unknown>[] };
  expect(reason).toBe('Certificates expiring');
  expect(expired.map(({ name }) => name).sort()).toEqual([...Object.keys(extra), 'external', 'mutual'].sort());
  const end = Date.parse(expired[0]!['certfile_expires_on'] as string);
  expect(end - Date.now()).toBeLessThan(2 * 24 * 60 * 60 * 1000);
});

test.skipIf(!hasOpenssl)('MQTT without user name: the certificate says who it is, and the listener where', async () => {
  const url = `mqtts://127.0.0.1:${broker.port('mutual')}`;
  const shown = (name: string) => {
    const { cert, key } = ca.issue(name);
    return { ...trusted(), cert: readFileSync(cert), key: readFileSync(key) };
  };
  const client = await connectAsync(url, { ...shown('guest'), clientId: 'by-certificate' });
  const named = await connectAsync(url, {
    ...shown('guest'),
    username: '/:guest',
    password: 'guest',
    clientId: 'named',
  });
  const connections = await new ApiClient(broker.port('management')).read<{ user: string; vhost: string }[]>(
    'connections',
  );
  expect(connections.map(({ user, vhost }) => [user, vhost]).sort()).toEqual([
    ['guest', '/'],
    ['guest', 'sensors'],
  ]);
  await Promise.all([client.endAsync(), named.endAsync()]);
  await expect(connectAsync(url, shown('stranger'), false)).rejects.toThrow(/Bad username or password|Not authorized/i);
});
