import { connect as connectAmqp } from 'amqplib';
import { connectAsync } from 'mqtt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { StompWire } from '../support/stomp-wire.ts';

let broker: BrokerProcess;
let api: ApiClient;

beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'logLevel=debug'] });
  api = new ApiClient(broker.port('management'));
});
afterAll(() => broker.remove());

const lines = (): Record<string, unknown>[] =>
  broker.log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Passwords, bodies and hashes: no part of them may be in a log. */
const secrets = {
  password: 'pAssw0rd-of-ada',
  wrong: 'wr0ng-guess',
  body: 'b0dy-that-nobody-reads',
  header: 'header-value-0f-a-message',
};

test('a busy day leaves who came, was refused, went and changed what in the log, and no secret and no body', async () => {
  await api.put('users/ada', { password: secrets.password, tags: 'management' });
  await api.put('permissions/%2F/ada', { configure: '.*', write: '^(ok|amq)', read: '.*' });
  await api.get(`auth/hash_password/${secrets.password}`);
  const { password_hash: hash } = await api.read<{ password_hash: string }>('users/ada');
  await api.put('users/bob', { password_hash: hash, hashing_algorithm: 'scrypt', tags: '' });
  await api.post('definitions', { users: [{ name: 'eve', password: secrets.password, tags: '' }] });
  await api.put('queues/%2F/ok', { durable: true });

  const amqp = await connectAmqp(`amqp://ada:${secrets.password}@127.0.0.1:${broker.port('amqp')}`);
  const channel = await amqp.createConfirmChannel();
  channel.on('error', () => {});
  channel.publish('amq.direct', 'ok', Buffer.from(secrets.body), { headers: { h: secrets.header } });
  await channel.waitForConfirms();
  channel.publish('', 'refused', Buffer.from(secrets.body), { headers: { h: secrets.header } });
  const wrongUrl = `amqp://ada:${secrets.wrong}@127.0.0.1:${broker.port('amqp')}`;
  await expect(connectAmqp(wrongUrl)).rejects.toThrow();

  const mqttUrl = `mqtt://127.0.0.1:${broker.port('mqtt')}`;
  const will = { topic: 'wills', payload: Buffer.from(secrets.body), qos: 1 as const, retain: false };
  const mqtt = await connectAsync(mqttUrl, { username: 'ada', password: secrets.password, protocolVersion: 5, will });
  await mqtt.publishAsync('a/b', secrets.body, {
    qos: 1,
    retain: true,
    properties: { userProperties: { h: secrets.header } },
  });
  await mqtt.endAsync();
  const wrong = { username: 'ada', password: secrets.wrong, reconnectPeriod: 0 };
  await expect(connectAsync(mqttUrl, wrong, false)).rejects.toThrow();

  const stomp = await StompWire.open(broker.port('stomp'));
  stomp.send(`CONNECT\naccept-version:1.2\nhost:/\nlogin:ada\npasscode:${secrets.password}\n\n\0`);
  await stomp.next();
  stomp.send(`SEND\ndestination:/exchange/closed/k\nh:${secrets.header}\n\n${secrets.body}\0`);
  await stomp.next();
  const stompWrong = await StompWire.open(broker.port('stomp'));
  stompWrong.send(`CONNECT\naccept-version:1.2\nhost:/\nlogin:ada\npasscode:${secrets.wrong}\n\n\0`);
  await stompWrong.next();

  const http = new ApiClient(broker.port('management'), 'ada', secrets.password);
  const message = { properties: {}, routing_key: 'ok', payload: secrets.body, payload_encoding: 'string' };
  await http.post('exchanges/%2F/amq.default/publish', message);
  await http.post('exchanges/%2F/amq.direct/publish', { ...message, payload_encoding: 'nonsense' });
  await api.put('users/ada', `{"password": "${secrets.password}", broken`);
  await http.get('users');
  await new ApiClient(broker.port('management'), 'ada', secrets.wrong).get('whoami');
  await amqp.close().catch(() => {});
  await expect.poll(() => lines().filter(({ msg }) => msg === 'closed').length).toBeGreaterThanOrEqual(3);

  const { log } = broker;
  for (const secret of [...Object.values(secrets), hash]) {
    expect(log).not.toContain(secret);
    expect(log).not.toContain(Buffer.from(secret).toString('base64').replace(/=+$/, '').slice(1, -1));
    expect(log).not.toContain(Buffer.from(secret).toString('hex'));
  }
  const all = lines();
  const of = (text: string): Record<string, unknown>[] => all.filter(({ msg }) => String(msg).startsWith(text));
  expect(of('connected').map(({ protocol, user }) => `${protocol} ${user}`)).toEqual(
    expect.arrayContaining(['amqp ada', 'mqtt ada', 'stomp ada']),
  );
  expect(of('refused').map(({ protocol }) => protocol)).toEqual(
    expect.arrayContaining(['amqp', 'mqtt', 'stomp', 'http']),
  );
  for (const each of of('closed'))
    expect(each).toMatchObject({ peer: expect.any(String), user: 'ada', reason: expect.any(String) });
  expect(of('changed')).toContainEqual(
    expect.objectContaining({ user: 'guest', through: 'http', what: 'PUT /api/users/ada', peer: expect.any(String) }),
  );
});

test('the level is changed while it runs', async () => {
  expect(await api.read('log-level')).toEqual({ level: 'debug' });
  expect((await api.put('log-level', { level: 'error' })).status).toBe(204);
  const before = lines().length;
  await (await connectAmqp(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`)).close();
  await api.put('log-level', { level: 'info' }); // the answer comes after all that was logged before it
  await (await connectAmqp(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`)).close();
  await expect
    .poll(() =>
      lines()
        .slice(before)
        .some(({ msg }) => msg === 'closed'),
    )
    .toBe(true);
  const after = lines().slice(before);
  expect(after.filter(({ msg }) => msg === 'connected')).toHaveLength(1);
  expect((await api.put('log-level', { level: 'loud' })).status).toBe(400);
});
