import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer, Received } from '../../support/mqtt-peer.ts';
import { ScramClient } from '../../support/scram-client.ts';

const method = 'SCRAM-SHA-256';
const continueAuthentication = 0x18;
const reAuthenticate = 0x19;

let house: MqttHouse;

beforeEach(async () => {
  house = await MqttHouse.open();
});

/** CONNECT with client-first; the server's AUTH. */
async function begin(client: ScramClient, options: object = {}): Promise<{ peer: MqttPeer; answer: Received }> {
  const { peer, connack: answer } = await house.connect({
    username: undefined,
    password: undefined,
    properties: { authenticationMethod: method, authenticationData: client.first },
    ...options,
  });
  return { peer, answer };
}

function sendAuth(peer: MqttPeer, reasonCode: number, data: Buffer, authenticationMethod = method): void {
  peer.send({ cmd: 'auth', reasonCode, properties: { authenticationMethod, authenticationData: data } } as never);
}

/** Connected by SCRAM. */
async function login(user = 'guest', password = 'guest'): Promise<{ peer: MqttPeer; connack: Received }> {
  const client = new ScramClient(user, password);
  const { peer, answer } = await begin(client);
  sendAuth(peer, continueAuthentication, client.final(answer.properties.authenticationData));
  return { peer, connack: await peer.next() };
}

describe('at CONNECT', () => {
  test('[MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5] [MQTT-3.2.0-1] SCRAM-SHA-256 lets in who knows the password, and shows that the server knows it', async () => {
    const client = new ScramClient('guest', 'guest');
    const { peer, answer } = await begin(client);
    expect(answer).toMatchObject({
      cmd: 'auth',
      reasonCode: continueAuthentication,
      properties: { authenticationMethod: method },
    });
    expect(String(answer.properties.authenticationData)).toMatch(/^r=fyko\+d2lbbFgONRv9qkxdawL.+,s=.+,i=\d+$/);
    sendAuth(peer, continueAuthentication, client.final(answer.properties.authenticationData));
    const connack = await peer.nextOf('connack');
    expect(connack).toMatchObject({ reasonCode: 0, properties: { authenticationMethod: method } });
    expect(String(connack.properties.authenticationData)).toBe(client.serverFinal);
    await peer.subscribe('a');
    peer.publish('a', 'x');
    expect(await peer.next()).toMatchObject({ cmd: 'publish', topic: 'a' });
  });

  test('without client-first the server asks for it', async () => {
    const client = new ScramClient('guest', 'guest');
    const { peer, answer } = await begin(client, { properties: { authenticationMethod: method } });
    expect(answer).toMatchObject({ cmd: 'auth', reasonCode: continueAuthentication });
    expect(answer.properties.authenticationData).toBeUndefined();
    sendAuth(peer, continueAuthentication, client.first);
    const { properties } = await peer.nextOf('auth');
    sendAuth(peer, continueAuthentication, client.final(properties.authenticationData));
    expect(await peer.next()).toMatchObject({ cmd: 'connack', reasonCode: 0 });
  });

  test('a virtual host may stand before the name', async () => {
    house.broker.addVhost('other');
    house.permissions.set('other', 'guest', { configure: '.*', write: '.*', read: '.*' });
    const { connack } = await login('other:guest');
    expect(connack).toMatchObject({ reasonCode: 0 });
    expect([...house.door.connections].map((connection) => connection.vhost.name)).toEqual(['other']);
  });

  test('[MQTT-4.12.0-4] [MQTT-3.1.4-2] a wrong password is refused with 0x87 and a close', async () => {
    const { peer, connack } = await login('guest', 'wrong');
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0x87, sessionPresent: false });
    expect(await peer.end()).toEqual([]);
  });

  test('an unknown user, and one who has only a foreign hash, are told the same in as many steps', async () => {
    const salt = Buffer.from('908dc60a', 'hex');
    const hash = Buffer.concat([salt, createHash('sha256').update(salt).update('secret').digest()]).toString('base64');
    const passwordHash = { algorithm: 'rabbit_password_hashing_sha256', hash } as const;
    await house.users.put('imported', { passwordHash, tags: [], loopbackOnly: false });
    house.permissions.set('/', 'imported', { configure: '.*', write: '.*', read: '.*' });
    const answers: unknown[] = [];
    for (const user of ['nobody', 'imported', 'guest']) {
      const client = new ScramClient(user, 'secret');
      const { peer, answer } = await begin(client);
      sendAuth(peer, continueAuthentication, client.final(answer.properties.authenticationData));
      const connack = await peer.nextOf('connack');
      answers.push([String(answer.properties.authenticationData).replace(/[A-Za-z0-9+/]{22,}=*/g, '…'), connack]);
    }
    expect(answers[0]).toEqual(answers[2]);
    expect(answers[1]).toEqual(answers[2]);
    const plain = await house.connect({ username: 'imported', password: Buffer.from('secret') });
    expect(plain.connack.reasonCode).toBe(0);
  });

  test('an unknown user has the same salt every time', async () => {
    const salts = [];
    for (let i = 0; i < 2; i++) {
      const { answer } = await begin(new ScramClient('nobody', 'x'));
      salts.push(/s=([^,]*)/.exec(String(answer.properties.authenticationData))?.[1]);
    }
    expect(salts[0]).toBe(salts[1]);
  });

  test('after some wrong proofs a right one has to wait', async () => {
    for (let i = 0; i < 6; i++) await login('guest', 'wrong');
    expect((await login()).connack.reasonCode).toBe(0x87);
    house.pass(60);
    expect((await login()).connack.reasonCode).toBe(0);
  });

  test.each(['SCRAM-SHA-1', 'SCRAM-SHA-512', 'SCRAM-SHA-256-PLUS', 'GSS-API', ''])(
    '[MQTT-4.12.0-1] method %s is refused with 0x8C',
    async (authenticationMethod) => {
      const { peer, connack } = await house.connect({ properties: { authenticationMethod } });
      expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0x8c });
      await peer.end();
    },
  );

  test.each([
    ['is none', 'user=guest'],
    ['wants channel binding', 'p=tls-unique,,n=guest,r=abc'],
    ['acts for another', 'n,a=admin,n=guest,r=abc'],
    ['has no nonce', 'n,,n=guest,r='],
    ['escapes wrongly', 'n,,n=gu=2Dest,r=abc'],
    ['has an extension that must be known', 'n,,m=x,n=guest,r=abc'],
  ])('a client-first that %s is refused with 0x87', async (_why, first) => {
    const { peer, connack } = await house.connect({
      properties: { authenticationMethod: method, authenticationData: Buffer.from(first) },
    });
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0x87 });
    await peer.end();
  });

  test.each([
    ['another nonce', (final: string) => final.replace(/r=/, 'r=x')],
    ['another channel binding', (final: string) => final.replace(/c=[^,]*/, 'c=eSws')],
    ['a proof that is cut', (final: string) => final.replace(/p=(.{8}).*/, 'p=$1')],
    ['no proof', (final: string) => final.replace(/,p=.*/, '')],
    ['nothing', () => ''],
  ])('a client-final with %s is refused with 0x87', async (_what, change) => {
    const client = new ScramClient('guest', 'guest');
    const { peer, answer } = await begin(client);
    const final = client.final(answer.properties.authenticationData).toString();
    sendAuth(peer, continueAuthentication, Buffer.from(change(final)));
    expect(await peer.next()).toMatchObject({ cmd: 'connack', reasonCode: 0x87 });
    await peer.end();
  });

  test('[MQTT-3.1.2-30] [MQTT-3.14.0-1] anything but AUTH and DISCONNECT before CONNACK is 0x82, in a CONNACK', async () => {
    const { peer } = await begin(new ScramClient('guest', 'guest'));
    peer.publish('a', 'too early');
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', reasonCode: 0x82 }]);
  });

  test('a client that leaves before CONNACK hears nothing', async () => {
    const { peer } = await begin(new ScramClient('guest', 'guest'));
    peer.send({ cmd: 'disconnect', reasonCode: 0 } as never);
    expect(await peer.end()).toEqual([]);
  });

  test.each([
    ['[MQTT-4.12.0-5] another method', 'f0 0f 18 0d 15 00 0a 47 53 53 41 50 49 2d 31 32 33'],
    ['re-authentication', 'f0 12 19 10 15 00 0d 53 43 52 41 4d 2d 53 48 41 2d 32 35 36'],
    ['[MQTT-3.15.2-1] success, which is the server’s', 'f0 12 00 10 15 00 0d 53 43 52 41 4d 2d 53 48 41 2d 32 35 36'],
    ['nothing', 'f0 00'],
    ['no method', 'f0 02 18 00'],
  ])('AUTH with %s is 0x82', async (_what, octets) => {
    const { peer } = await begin(new ScramClient('guest', 'guest'));
    peer.raw(octets);
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', reasonCode: 0x82 }]);
  });

  test('[MQTT-3.15.1-1] AUTH with flags is malformed', async () => {
    const { peer } = await login();
    peer.raw('f1 12 19 10 15 00 0d 53 43 52 41 4d 2d 53 48 41 2d 32 35 36');
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x81 }]);
  });

  test('who does not go on is closed when logging in takes too long', async () => {
    const { peer } = await begin(new ScramClient('guest', 'guest'));
    house.pass(9);
    expect(house.door.handshakes.size).toBe(1);
    house.pass(1);
    expect(await peer.end()).toEqual([]);
    expect(house.door.handshakes.size).toBe(0);
  });
});

describe('re-authentication', () => {
  test('[MQTT-4.12.1-1] succeeds with the same method, and everything else goes on meanwhile', async () => {
    const { peer } = await login();
    await peer.subscribe('a');
    const client = new ScramClient('guest', 'guest', { nonce: 'another' });
    sendAuth(peer, reAuthenticate, client.first);
    const answer = await peer.nextOf('auth');
    expect(answer).toMatchObject({ reasonCode: continueAuthentication, properties: { authenticationMethod: method } });
    peer.publish('a', 'meanwhile');
    expect(await peer.next()).toMatchObject({ cmd: 'publish', topic: 'a' });
    sendAuth(peer, continueAuthentication, client.final(answer.properties.authenticationData));
    const done = await peer.nextOf('auth');
    expect(done).toMatchObject({ reasonCode: 0, properties: { authenticationMethod: method } });
    expect(String(done.properties.authenticationData)).toBe(client.serverFinal);
    await peer.nothing();
  });

  test('may be done again, and may begin without data', async () => {
    const { peer } = await login();
    for (let i = 0; i < 2; i++) {
      const client = new ScramClient('guest', 'guest');
      peer.send({ cmd: 'auth', reasonCode: reAuthenticate, properties: { authenticationMethod: method } } as never);
      expect(await peer.nextOf('auth')).toMatchObject({ reasonCode: continueAuthentication });
      sendAuth(peer, continueAuthentication, client.first);
      const { properties } = await peer.nextOf('auth');
      sendAuth(peer, continueAuthentication, client.final(properties.authenticationData));
      expect(await peer.nextOf('auth')).toMatchObject({ reasonCode: 0 });
    }
  });

  test.each([
    ['a wrong password', 'guest', 'wrong'],
    ['another user', 'anna', 'secret'],
  ])('[MQTT-4.12.1-2] %s ends the connection with 0x87', async (_what, user, password) => {
    await house.addUser('anna', 'secret');
    const { peer } = await login();
    const client = new ScramClient(user, password);
    sendAuth(peer, reAuthenticate, client.first);
    const { properties } = await peer.nextOf('auth');
    sendAuth(peer, continueAuthentication, client.final(properties.authenticationData));
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
  });

  test('a client-first that is none ends the connection with 0x87', async () => {
    const { peer } = await login();
    sendAuth(peer, reAuthenticate, Buffer.from('nonsense'));
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
  });

  test('[MQTT-4.12.1-1] another method is 0x82', async () => {
    const { peer } = await login();
    sendAuth(peer, reAuthenticate, Buffer.from('x'), 'SCRAM-SHA-1');
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('going on with what was not begun is 0x82, and so is beginning twice', async () => {
    const client = new ScramClient('guest', 'guest');
    const first = await login();
    sendAuth(first.peer, continueAuthentication, client.first);
    expect(await first.peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
    const second = await login();
    sendAuth(second.peer, reAuthenticate, client.first);
    await second.peer.nextOf('auth');
    sendAuth(second.peer, reAuthenticate, client.first);
    expect(await second.peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('[MQTT-4.12.0-6] [MQTT-4.12.0-7] AUTH without a method in CONNECT is 0x82, and the server sends none', async () => {
    const { peer, connack } = await house.connect();
    expect(connack.properties.authenticationMethod).toBeUndefined();
    sendAuth(peer, reAuthenticate, Buffer.from('x'));
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x82 }]);
  });

  test('one that is not finished in time ends the connection with 0x87', async () => {
    const { peer } = await login();
    sendAuth(peer, reAuthenticate, new ScramClient('guest', 'guest').first);
    await peer.nextOf('auth');
    house.pass(9);
    await peer.nothing();
    house.pass(1);
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x87 }]);
  });

  test('AUTH is no packet of 3.1.1', async () => {
    const { peer } = await house.connect({}, 4);
    peer.raw('f0 00');
    expect(await peer.end()).toEqual([]);
  });
});
