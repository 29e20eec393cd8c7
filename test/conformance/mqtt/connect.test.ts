import { beforeEach, describe, expect, test } from 'vitest';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer } from '../../support/mqtt-peer.ts';
import {
  ConnectFlag,
  type ConnectOctets,
  connectOctets,
  octets,
  packet,
  short,
  text,
} from '../../support/mqtt-wire.ts';

let house: MqttHouse;

beforeEach(async () => {
  house = await MqttHouse.open();
});

const { clean, will, willRetain, user, password } = ConnectFlag;
const login = [text('guest'), text('guest')] as const;

function dial(version: 3 | 4 | 5, options: ConnectOctets = {}): MqttPeer {
  const peer = house.dial(version);
  peer.raw(connectOctets(version, options));
  return peer;
}

/** Nothing was said before 5.0; 5.0 hears the code in a CONNACK. Either way the connection ends. */
async function expectRefused(peer: MqttPeer, code: number): Promise<void> {
  const said = await peer.end();
  expect(said).toMatchObject(peer.version === 5 ? [{ cmd: 'connack', reasonCode: code, sessionPresent: false }] : []);
  expect(house.broker.clients.size).toBe(0);
}

describe.each([4, 5] as const)('version %i', (version) => {
  test('[MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-1] [3.1.1 MQTT-3.1.4-4] [3.1.1 MQTT-3.2.0-1] a CONNECT that passes is answered with CONNACK 0, before anything else', async () => {
    const peer = dial(version);
    peer.raw('c0 00');
    expect(await peer.next()).toMatchObject({ cmd: 'connack', sessionPresent: false });
    expect(await peer.next()).toMatchObject({ cmd: 'pingresp' });
  });

  test('[MQTT-3.2.0-2] [MQTT-3.1.0-2] [3.1.1 MQTT-3.1.0-2] [3.1.1 MQTT-4.8.0-1] a second CONNECT ends the connection without a second CONNACK', async () => {
    const peer = dial(version);
    await peer.nextOf('connack');
    peer.raw(connectOctets(version));
    expect(await peer.end()).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x82 }] : []);
  });

  test('[MQTT-3.1.0-1] [3.1.1 MQTT-3.1.0-1] a first packet that is another ends the connection, and nothing is said', async () => {
    const peer = house.dial(version);
    peer.raw('c0 00');
    expect(await peer.end()).toEqual([]);
  });

  test('[MQTT-3.1.4-6] [3.1.1 MQTT-3.1.4-5] what comes behind a CONNECT that is rejected is not processed', async () => {
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('#');
    const peer = house.dial(version);
    const publish = packet(0x30, text('sneaked'), ...(version === 5 ? [Buffer.from([0])] : []), Buffer.from('x'));
    peer.raw(Buffer.concat([connectOctets(version, { payload: [text('id'), text('guest'), text('wrong')] }), publish]));
    expect(await peer.end()).toMatchObject([{ cmd: 'connack' }]);
    await watcher.nothing();
  });

  test('[MQTT-3.1.2-1] [3.1.1 MQTT-3.1.2-1] [3.1.1 MQTT-3.2.2-6] another protocol name is not served, and nothing is said', async () => {
    const peer = dial(version, { name: 'MQTTX' });
    expect(await peer.end()).toEqual([]);
  });

  test.each([0, 1, 2, 6, 255])('[MQTT-3.1.2-2] [3.1.1 MQTT-3.1.2-2] protocol level %i is refused', async (level) => {
    const peer = house.dial(level < 5 ? 4 : 5);
    peer.raw(connectOctets(level < 5 ? 4 : 5, { level }));
    expect(await peer.end()).toMatchObject([
      level < 5 ? { cmd: 'connack', returnCode: 1 } : { cmd: 'connack', reasonCode: 0x84 },
    ]);
  });

  test('[MQTT-3.1.2-3] [3.1.1 MQTT-3.1.2-3] [3.1.1 MQTT-3.1.4-1] the reserved flag ends the connection', async () => {
    await expectRefused(dial(version, { flags: clean | user | password | 1 }), 0x81);
  });

  test.each([
    ['[MQTT-3.1.2-11] [3.1.1 MQTT-3.1.2-13] QoS 1 without the will flag', 0x08],
    ['[MQTT-3.1.2-11] [3.1.1 MQTT-3.1.2-11] QoS 2 without the will flag', 0x10],
    ['[MQTT-3.1.2-13] [3.1.1 MQTT-3.1.2-15] retain without the will flag', willRetain],
    ['[MQTT-3.1.2-12] [3.1.1 MQTT-3.1.2-14] a will of QoS 3', will | 0x18],
  ])('%s is malformed', async (_what, flags) => {
    await expectRefused(dial(version, { flags: clean | user | password | flags }), 0x81);
  });

  test.each([
    [
      '[MQTT-3.1.2-9] [3.1.1 MQTT-3.1.2-9] the will flag without a will',
      clean | user | password | will,
      [text('id'), ...login],
    ],
    ['[MQTT-3.1.2-11] [3.1.1 MQTT-3.1.2-11] a will without its flag', clean, [text('id'), text('topic'), text('body')]],
    ['[MQTT-3.1.2-16] [3.1.1 MQTT-3.1.2-18] a user name without its flag', clean, [text('id'), text('guest')]],
    ['[MQTT-3.1.2-17] [3.1.1 MQTT-3.1.2-19] the flag without a user name', clean | user, [text('id')]],
    ['[MQTT-3.1.2-18] [3.1.1 MQTT-3.1.2-20] a password without its flag', clean | user, [text('id'), ...login]],
    [
      '[MQTT-3.1.2-19] [3.1.1 MQTT-3.1.2-21] the flag without a password',
      clean | user | password,
      [text('id'), text('guest')],
    ],
    ['[MQTT-3.1.3-3] [3.1.1 MQTT-3.1.3-3] no client id', clean, []],
  ] as const)('%s is malformed', async (_what, flags, payload) => {
    await expectRefused(dial(version, { flags, payload }), 0x81);
  });

  test('[MQTT-3.1.3-1] [3.1.1 MQTT-3.1.3-1] the payload is client id, will, user name, password', async () => {
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('#');
    const willFields = [...(version === 5 ? [Buffer.from([0])] : []), text('the/will'), text('gone')];
    const peer = dial(version, {
      flags: clean | user | password | will,
      payload: [text('me'), ...willFields, ...login],
    });
    await peer.nextOf('connack');
    expect([...house.door.connections].map(({ clientId }) => clientId)).toContain('me');
    peer.destroy();
    expect(await watcher.next()).toMatchObject({ topic: 'the/will', payload: Buffer.from('gone') });
  });

  test.each([
    ['[MQTT-3.1.3-4] [3.1.1 MQTT-3.1.3-4] client id', (bad: Buffer) => ({ payload: [text(bad), ...login] })],
    [
      '[MQTT-3.1.3-12] [3.1.1 MQTT-3.1.3-11] user name',
      (bad: Buffer) => ({ payload: [text('id'), text(bad), text('guest')] }),
    ],
    [
      '[MQTT-3.1.3-11] [3.1.1 MQTT-3.1.3-10] will topic',
      (bad: Buffer) => ({
        flags: clean | user | password | will,
        payload: [text('id'), ...(version === 5 ? [Buffer.from([0])] : []), text(bad), text('x'), ...login],
      }),
    ],
  ])(
    '[MQTT-1.5.4-1] [MQTT-1.5.4-2] [3.1.1 MQTT-1.5.3-1] [3.1.1 MQTT-1.5.3-2] a %s with NUL, a surrogate or cut UTF-8 is malformed',
    async (_what, options) => {
      for (const bad of [octets('61 00'), octets('ed a0 80'), octets('c3'), octets('c0 af'), octets('f4 90 80 80')]) {
        await expectRefused(dial(version, options(bad)), 0x81);
      }
    },
  );

  test('[MQTT-1.5.4-3] [3.1.1 MQTT-1.5.3-3] a byte order mark is part of the client id', async () => {
    await dial(version, { payload: [text('\ufeffid'), ...login] }).nextOf('connack');
    expect([...house.door.connections].map(({ clientId }) => clientId)).toEqual(['\ufeffid']);
  });

  test('octets behind the last field are malformed', async () => {
    await expectRefused(dial(version, { payload: [text('id'), ...login, Buffer.from([0])] }), 0x81);
  });

  test('[MQTT-3.1.3-5] [3.1.1 MQTT-3.1.3-5] client ids of 1 to 23 letters and digits, and longer ones, are served', async () => {
    for (const id of [
      'a',
      'Z',
      '0123456789abcdefghijklm',
      'nopqrstuvwxyzABCDEFGHIJ',
      'KLMNOPQRSTUVWXYZ',
      'ä/+#$ .'.repeat(40),
    ]) {
      expect((await house.connect({ clientId: id }, version)).connack).toMatchObject({ cmd: 'connack' });
      expect([...house.door.connections].some(({ clientId }) => clientId === id)).toBe(true);
    }
  });

  test('[MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16] [3.1.1 MQTT-3.1.3-6] empty client ids are given one each', async () => {
    const first = await house.connect({ clientId: '' }, version);
    const second = await house.connect({ clientId: '' }, version);
    const ids = [...house.door.connections].map(({ clientId }) => clientId);
    expect(new Set(ids).size).toBe(2);
    expect(ids).not.toContain('');
    const told = [first, second].map(({ connack }) => connack.properties?.assignedClientIdentifier);
    expect(told).toEqual(version === 5 ? ids : [undefined, undefined]);
  });

  test('[MQTT-3.1.2-6] [MQTT-3.1.3-2] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [3.1.1 MQTT-3.1.3-2] [3.1.1 MQTT-3.2.2-1] [3.1.1 MQTT-3.2.2-2] [3.1.1 MQTT-3.2.2-3] session present says whether there was a session of the client id', async () => {
    const lasting = { clean: false, properties: { sessionExpiryInterval: 100 } };
    const present = async (options: object) => {
      const { peer, connack } = await house.connect(options, version);
      await peer.leave();
      return connack.sessionPresent;
    };
    expect(await present({ clientId: 'a', ...lasting })).toBe(false);
    expect(await present({ clientId: 'a', ...lasting })).toBe(true);
    expect(await present({ clientId: 'b', ...lasting })).toBe(false);
    expect(await present({ clientId: 'a', ...lasting, clean: true })).toBe(false);
  });

  test('[MQTT-3.1.4-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-4.13.2-1] [3.1.1 MQTT-3.2.2-4] [3.1.1 MQTT-3.2.2-5] a refusal has session present 0, and ends the connection', async () => {
    const lasting = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };
    await (await house.connect(lasting, version)).peer.leave();
    const { peer, connack } = await house.connect({ ...lasting, password: Buffer.from('wrong') }, version);
    expect(connack).toMatchObject({
      sessionPresent: false,
      ...(version === 5 ? { reasonCode: 0x86 } : { returnCode: 4 }),
    });
    await peer.end();
  });

  test('no user name is refused as not authorized', async () => {
    const { peer, connack } = await house.connect({ username: undefined, password: undefined }, version);
    expect(connack).toMatchObject(version === 5 ? { reasonCode: 0x87 } : { returnCode: 5 });
    await peer.end();
  });

  test('an unknown virtual host, and one without permission, are refused as not authorized', async () => {
    house.broker.addVhost('closed');
    for (const name of ['nowhere:guest', 'closed:guest']) {
      const { connack } = await house.connect({ username: name }, version);
      expect(connack).toMatchObject(version === 5 ? { reasonCode: 0x87 } : { returnCode: 5 });
    }
  });

  test('vhost:user opens the virtual host', async () => {
    house.broker.addVhost('a:b');
    house.permissions.set('a:b', 'guest', { configure: '.*', write: '.*', read: '.*' });
    await house.connect({ username: 'a:b:guest' }, version);
    expect([...house.door.connections].map(({ vhost }) => vhost.name)).toEqual(['a:b']);
  });

  test('the connection limit is 0x97, and return code 3', async () => {
    const small = await MqttHouse.open({ limits: { connections: 1, connectionsPerUser: 10, queuesPerVhost: 10 } });
    await small.connect({}, version);
    const { peer, connack } = await small.connect({}, version);
    expect(connack).toMatchObject(version === 5 ? { reasonCode: 0x97 } : { returnCode: 3 });
    await peer.end();
  });

  test('[MQTT-3.1.4-3] [3.1.1 MQTT-3.1.4-2] [MQTT-3.14.2-1] [MQTT-3.14.4-2] a client id that comes again takes the session over', async () => {
    const first = await house.connect({ clientId: 'a' }, version);
    await house.connect({ clientId: 'a' }, version);
    expect(await first.peer.end()).toMatchObject(version === 5 ? [{ cmd: 'disconnect', reasonCode: 0x8e }] : []);
    expect(house.broker.clients.size).toBe(1);
  });

  test('[MQTT-3.1.2-4] [MQTT-3.1.4-4] [3.1.1 MQTT-3.1.2-6] [3.1.1 MQTT-3.1.4-3] a clean start discards subscriptions and what waits', async () => {
    const lasting = { clientId: 'a', clean: false, properties: { sessionExpiryInterval: 100 } };
    const first = await house.connect(lasting, version);
    await first.peer.subscribe('t', { qos: 1 });
    await first.peer.leave();
    const { peer: sender } = await house.connect();
    sender.publish('t', 'kept', { qos: 1, messageId: 1 });
    await sender.nextOf('puback');
    const { peer } = await house.connect({ clientId: 'a', clean: true }, version);
    sender.publish('t', 'nobody', { qos: 1, messageId: 2 });
    await sender.nextOf('puback');
    await peer.nothing();
    await peer.leave();
    const third = await house.connect(lasting, version);
    expect(third.connack.sessionPresent).toBe(false);
  });

  test('a packet cut at each octet is completed by what follows', async () => {
    const whole = connectOctets(version);
    for (let cut = 1; cut < whole.length; cut++) {
      const peer = house.dial(version);
      peer.raw(whole.subarray(0, cut));
      peer.raw(whole.subarray(cut));
      await peer.nextOf('connack');
      peer.destroy();
    }
  });

  test('a log-in that does not come is closed in time', async () => {
    const peer = house.dial(version);
    peer.raw('10');
    house.pass(10);
    expect(await peer.end()).toEqual([]);
  });

  test('a CONNECT above the packet limit is refused before it is there', async () => {
    const peer = house.dial(version);
    peer.raw('10 ff ff ff 7f');
    expect(await peer.end()).toEqual([]);
  });
});

describe('MQTT 3.1', () => {
  test('is spoken, with its own protocol name', async () => {
    const { peer, connack } = await house.connect({ clientId: 'old' }, 3);
    expect(connack).toMatchObject({ returnCode: 0 });
    await peer.subscribe('a', { qos: 2 });
    peer.publish('a', 'x', { qos: 1, messageId: 1 });
    expect([(await peer.next()).cmd, (await peer.next()).cmd].sort()).toEqual(['puback', 'publish']);
  });

  test.each(['', 'a'.repeat(24)])('client id %j is refused with return code 2', async (clientId) => {
    const peer = dial(3, { payload: [text(clientId), ...login] });
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', returnCode: 2 }]);
  });

  test('the first octet of CONNACK is reserved: nothing is said of a session that is there', async () => {
    const first = await house.connect({ clientId: 'kept', clean: false }, 3);
    await first.peer.subscribe('a', { qos: 1 });
    const second = await house.connect({ clientId: 'kept', clean: false }, 3);
    expect(second.connack).toMatchObject({ returnCode: 0, sessionPresent: false });
    second.peer.publish('a', 'x', { qos: 1, messageId: 1 });
    expect([(await second.peer.next()).cmd, (await second.peer.next()).cmd].sort()).toEqual(['puback', 'publish']);
  });

  test('client ids of 23 characters are served', async () => {
    const { connack } = await house.connect({ clientId: 'ä'.repeat(23) }, 3);
    expect(connack).toMatchObject({ returnCode: 0 });
  });

  test('the user name may be missing though its flag is set', async () => {
    const open = await MqttHouse.open({ mqtt: { anonymous: true } });
    const peer = open.dial(3);
    peer.raw(connectOctets(3, { payload: [text('id')] }));
    expect(await peer.nextOf('connack')).toMatchObject({ cmd: 'connack' });
  });

  test('SUBSCRIBE, UNSUBSCRIBE and PUBREL may say DUP', async () => {
    const { peer } = await house.connect({ clientId: 'old' }, 3);
    peer.raw(packet(0x8a, short(5), text('a'), Buffer.from([1])));
    expect(await peer.nextOf('suback')).toMatchObject({ messageId: 5 });
    peer.raw(packet(0xaa, short(6), text('a')));
    expect(await peer.nextOf('unsuback')).toMatchObject({ messageId: 6 });
    peer.raw('6a 02 00 07');
    expect(await peer.nextOf('pubcomp')).toMatchObject({ messageId: 7 });
  });
});

describe('MQTT 3.1.1', () => {
  test('[3.1.1 MQTT-3.1.2-22] a password without a user name ends the connection', async () => {
    await expectRefused(dial(4, { flags: clean | password, payload: [text('id'), text('guest')] }), 0);
  });

  test('[3.1.1 MQTT-3.1.3-7] [3.1.1 MQTT-3.1.3-8] [3.1.1 MQTT-3.1.3-9] an empty client id without clean session is return code 2', async () => {
    const peer = dial(4, { flags: user | password, payload: [text(''), ...login] });
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', returnCode: 2 }]);
  });

  test('[3.1.1 MQTT-3.2.2-6] a will topic that is none ends the connection without CONNACK', async () => {
    const peer = dial(4, {
      flags: clean | user | password | will,
      payload: [text('id'), text('a/#'), text('x'), ...login],
    });
    expect(await peer.end()).toEqual([]);
  });
});

describe('MQTT 5', () => {
  test('[MQTT-1.5.5-1] a length in more octets than it needs is malformed', async () => {
    const whole = connectOctets(5);
    const padded = Buffer.concat([whole.subarray(0, 1), Buffer.from([whole[1]! | 128, 0]), whole.subarray(2)]);
    const peer = house.dial();
    peer.raw(padded);
    await expectRefused(peer, 0x81);
    const body = Buffer.concat([text('MQTT'), octets('05 c2 00 00 80 00'), text('id'), ...login]);
    const properties = house.dial();
    properties.raw(packet(0x10, body));
    await expectRefused(properties, 0x81);
  });

  test.each([['[MQTT-2.2.2-1] properties without their length', 'MQTT', Buffer.alloc(0)]])(
    '%s are malformed',
    async (_what, name, properties) => {
      const peer = house.dial();
      peer.raw(packet(0x10, text(name), octets('05 02 00 00'), properties));
      await expectRefused(peer, 0x81);
    },
  );

  test.each([
    ['an unknown property', '7f 00', 0x81],
    ['a property of another packet', '23 00 01', 0x81],
    ['receive maximum twice', '21 00 05 21 00 05', 0x82],
    ['receive maximum 0', '21 00 00', 0x82],
    ['maximum packet size 0', '27 00 00 00 00', 0x82],
    ['request problem information 2', '17 02', 0x82],
    ['request response information 2', '19 02', 0x82],
    ['authentication data without a method', '16 00 01 61', 0x82],
    ['a property that is cut', '11 00 00', 0x81],
    ['[MQTT-1.5.7-1] a user property whose name is not UTF-8', '26 00 01 c3 00 01 61', 0x81],
    ['[MQTT-1.5.7-1] a user property whose value has NUL', '26 00 01 61 00 01 00', 0x81],
  ])('[MQTT-3.1.4-1] [MQTT-3.2.2-8] [MQTT-4.13.1-1] %s is refused', async (_what, hex, code) => {
    await expectRefused(dial(5, { properties: octets(hex) }), code);
  });

  test('a password without a user name is a log-in that fails, not a malformed packet', async () => {
    const peer = dial(5, { flags: clean | password, payload: [text('id'), text('guest')] });
    expect(await peer.end()).toMatchObject([{ cmd: 'connack', reasonCode: 0x87 }]);
  });

  test('[MQTT-3.1.3-8] a will topic with wildcards is 0x90', async () => {
    const { peer, connack } = await house.connect({ will: { topic: 'a/+', payload: Buffer.from('x') } });
    expect(connack).toMatchObject({ reasonCode: 0x90 });
    await peer.end();
  });

  test('a will with a response topic that has wildcards is 0x90', async () => {
    const properties = octets('08 00 03 61 2f 23');
    const peer = dial(5, {
      flags: clean | user | password | will,
      payload: [text('id'), Buffer.from([properties.length]), properties, text('t'), text('x'), ...login],
    });
    await expectRefused(peer, 0x90);
  });

  test('CONNACK tells the caps of the server', async () => {
    const capped = await MqttHouse.open({
      mqtt: {
        receiveMaximum: 7,
        sessionExpiryMaxSeconds: 60,
        topicAliasMaximum: 5,
        keepAliveMaxSeconds: 30,
        packetBytes: 4096,
      },
    });
    const { connack } = await capped.connect({
      clientId: 'a',
      keepalive: 100,
      properties: { sessionExpiryInterval: 100 },
    });
    expect(connack.properties).toEqual({
      sessionExpiryInterval: 60,
      receiveMaximum: 7,
      maximumPacketSize: 4096,
      topicAliasMaximum: 5,
      serverKeepAlive: 30,
    });
  });

  test('what is within the caps is not told', async () => {
    const capped = await MqttHouse.open({
      mqtt: { sessionExpiryMaxSeconds: 60, keepAliveMaxSeconds: 30, topicAliasMaximum: 0 },
    });
    const { connack } = await capped.connect({
      clientId: 'a',
      keepalive: 30,
      properties: { sessionExpiryInterval: 60 },
    });
    expect(connack.properties).toEqual({ maximumPacketSize: 1024 * 1024 });
  });

  test('[MQTT-3.1.2-21] [MQTT-3.2.2-21] a server keep alive holds, and 0 is above any', async () => {
    const capped = await MqttHouse.open({ mqtt: { keepAliveMaxSeconds: 10 } });
    const { peer, connack } = await capped.connect({ keepalive: 0 });
    expect(connack.properties.serverKeepAlive).toBe(10);
    capped.pass(15);
    await peer.nothing();
    capped.pass(16);
    expect(await peer.end()).toMatchObject([{ cmd: 'disconnect', reasonCode: 0x8d }]);
  });

  test('[MQTT-3.1.2-28] response information comes to who asks', async () => {
    const asked = await house.connect({ clientId: 'a', properties: { requestResponseInformation: true } });
    expect(asked.connack.properties.responseInformation).toBe('responses/a');
    for (const properties of [{}, { requestResponseInformation: false }]) {
      const { connack } = await house.connect({ properties });
      expect(connack.properties.responseInformation).toBeUndefined();
    }
  });

  test('[MQTT-3.1.2-29] [MQTT-3.2.2-19] [MQTT-3.14.2-3] reasons come to who has asked and has room for them', async () => {
    const wrong = { password: Buffer.from('wrong') };
    const told = await house.connect(wrong);
    expect(told.connack.properties.reasonString).toContain('guest');
    for (const properties of [{ requestProblemInformation: false }, { maximumPacketSize: 20 }]) {
      const { connack } = await house.connect({ ...wrong, properties });
      expect(connack.reasonCode).toBe(0x86);
      expect(connack.properties?.reasonString).toBeUndefined();
      const open = await house.connect({ clientId: 'x', properties });
      open.peer.raw('c1 00');
      const [last] = await open.peer.end();
      expect(last).toMatchObject({ cmd: 'disconnect', reasonCode: 0x81 });
      expect(last.properties?.reasonString).toBeUndefined();
    }
  });

  test('[MQTT-3.1.2-24] a client with no room for CONNACK is told so, and closed', async () => {
    const { connack } = await house.connect({ clientId: '', properties: { maximumPacketSize: 20 } });
    expect(connack).toMatchObject({ cmd: 'connack', reasonCode: 0x95 });
    const peer = house.dial();
    peer.raw(connectOctets(5, { properties: octets('27 00 00 00 01') }));
    expect(await peer.end()).toEqual([]);
    expect(house.broker.clients.size).toBe(0);
  });
});

test('a level with the bridge bit gets RETAIN as published, and nothing back', async () => {
  const peer = house.dial(4);
  peer.raw(connectOctets(4, { level: 0x84 }));
  expect(await peer.nextOf('connack')).toMatchObject({ returnCode: 0 });
  await peer.subscribe('a');
  peer.publish('a', 'own');
  await peer.nothing();
  const { peer: other } = await house.connect();
  other.publish('a', 'other', { retain: true });
  expect(await peer.nextOf('publish')).toMatchObject({ payload: Buffer.from('other'), retain: true });
});
