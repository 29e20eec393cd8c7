import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { MqttPeer, Received, Version } from '../../support/mqtt-peer.ts';
import { octets, packet, short, text, varint } from '../../support/mqtt-wire.ts';

let house: MqttHouse;
beforeEach(async () => {
  house = await MqttHouse.open();
});
afterEach(() => expect(house.faults).toEqual([]));

const lasting = { clientId: 'one', clean: false, properties: { sessionExpiryInterval: 600 } };
const commands = (packets: Received[]): string => packets.map(({ cmd }) => cmd).join(' ');

describe('[MQTT-3.14.0-1] no DISCONNECT comes before CONNACK', () => {
  test('when the session is taken over while CONNACK waits for the disk', async () => {
    const first = house.dial();
    const second = house.dial();
    first.sendConnect(lasting);
    second.sendConnect(lasting);
    expect(await second.nextOf('connack')).toMatchObject({ reasonCode: 0 });
    const told = await first.end();
    expect(commands(told)).toBe('connack disconnect');
    expect(told[1].reasonCode).toBe(0x8e);
  });

  test('of 3.1.1 there is none', async () => {
    const first = house.dial(4);
    const second = house.dial(4);
    for (const peer of [first, second]) peer.sendConnect({ clientId: 'one', clean: false });
    await second.nextOf('connack');
    expect(['', 'connack']).toContain(commands(await first.end()));
  });
});

test('[MQTT-3.1.2-24] AUTH above the client’s maximum is not sent: CONNACK says 0x95', async () => {
  const peer = house.dial();
  peer.sendConnect({
    properties: {
      maximumPacketSize: 40,
      authenticationMethod: 'SCRAM-SHA-256',
      authenticationData: Buffer.from('n,,n=guest,r=abcdefghijkl'),
    },
  });
  expect(await peer.nextOf('connack')).toMatchObject({ reasonCode: 0x95 });
  expect(await peer.end()).toEqual([]);
});

test('[MQTT-3.1.2-24] a refusal above the client’s maximum is a close alone', async () => {
  const peer = house.dial();
  peer.sendConnect({ password: Buffer.from('wrong'), properties: { maximumPacketSize: 4 } });
  expect(await peer.end()).toEqual([]);
});

test('a subscription that replaces one without saying its identifier has none', async () => {
  const { peer } = await house.connect();
  await peer.subscribe('a', {}, { subscriptionIdentifier: 7 });
  await peer.subscribe('a');
  peer.publish('a', 'x');
  expect((await peer.nextOf('publish')).properties?.subscriptionIdentifier).toBeUndefined();
});

test.each([
  { willDelayInterval: 0, clean: false, published: true },
  { willDelayInterval: 0, clean: true, published: true },
  { willDelayInterval: 60, clean: false, published: false },
  { willDelayInterval: 60, clean: true, published: true },
])(
  'a take-over: will delay $willDelayInterval, clean start $clean: published $published',
  async ({ willDelayInterval, clean, published }) => {
    const { peer: watcher } = await house.connect();
    await watcher.subscribe('w');
    const will = { topic: 'w', payload: Buffer.from('x'), qos: 0, retain: false, properties: { willDelayInterval } };
    await house.connect({ ...lasting, will });
    await house.connect({ ...lasting, clean });
    if (published) await watcher.nextOf('publish');
    await watcher.nothing();
  },
);

describe('[MQTT-3.8.3-3] no local, and what is retained', () => {
  const mine = { clientId: 'me', clean: false, properties: { sessionExpiryInterval: 600 } };

  test('the client’s own does not come, also by a wildcard, a later connection and after a crash; others’ does', async () => {
    const { peer } = await house.connect(mine);
    const { peer: other } = await house.connect({ clientId: 'other' });
    peer.publish('r/mine', 'x', { qos: 1, messageId: 1, retain: true });
    await peer.nextOf('puback');
    other.publish('r/other', 'x', { qos: 1, messageId: 1, retain: true, properties: { contentType: 'text/plain' } });
    await other.nextOf('puback');
    const check = async (subscriber: MqttPeer): Promise<void> => {
      await subscriber.subscribe('r/+', { nl: true });
      expect(await subscriber.nextOf('publish')).toMatchObject({
        topic: 'r/other',
        properties: { contentType: 'text/plain' },
      });
      await subscriber.nothing();
    };
    await check(peer);
    await peer.leave();
    await check((await house.connect({ clientId: 'me' })).peer);
    await house.durable();
    house = await house.crash();
    const { peer: again } = await house.connect({ clientId: 'me' });
    await check(again);
    await again.subscribe('r/mine');
    expect(await again.nextOf('publish')).toMatchObject({ topic: 'r/mine', payload: Buffer.from('x') });
  });

  test('what another has published since is another’s', async () => {
    const { peer } = await house.connect(mine);
    const { peer: other } = await house.connect({ clientId: 'other' });
    for (const client of [peer, other]) {
      client.publish('r', 'x', { qos: 1, messageId: 1, retain: true });
      await client.nextOf('puback');
    }
    await peer.subscribe('r', { nl: true });
    await peer.nextOf('publish');
  });
});

/** Every property there is, one that is none, and 0. */
const everyProperty = new Map(
  [
    ...['01 01', '02 00000009', '03 000161', '08 000161', '09 000161', '0b 01', '11 00000009', '12 000161', '13 0009'],
    ...['15 000161', '16 000161', '17 01', '18 00000001', '19 01', '1a 000161', '1c 000161', '1f 000161', '21 0001'],
    ...[
      '22 0001',
      '23 0001',
      '24 01',
      '25 01',
      '26 000161000161',
      '27 00010000',
      '28 01',
      '29 01',
      '2a 01',
      '7f 01',
      '00 01',
    ],
  ].map((hex) => [Number.parseInt(hex.slice(0, 2), 16), octets(hex)] as const),
);

interface Carrier {
  readonly name: string;
  readonly own: readonly number[];
  readonly build: (properties: Buffer) => Buffer;
}

const behind = (properties: Buffer): Buffer => Buffer.concat([varint(properties.length), properties]);
const acknowledgement = (name: string, head: number): Carrier => ({
  name,
  own: [0x1f, 0x26],
  build: (properties) => packet(head, short(9), octets('00'), behind(properties)),
});

const carriers: readonly Carrier[] = [
  { name: 'PUBLISH', own: [1, 2, 3, 8, 9, 0x23, 0x26], build: (block) => packet(0x30, text('a'), behind(block)) },
  acknowledgement('PUBACK', 0x40),
  acknowledgement('PUBREC', 0x50),
  acknowledgement('PUBREL', 0x62),
  acknowledgement('PUBCOMP', 0x70),
  {
    name: 'SUBSCRIBE',
    own: [0x0b, 0x26],
    build: (block) => packet(0x82, short(9), behind(block), text('a'), octets('00')),
  },
  { name: 'UNSUBSCRIBE', own: [0x26], build: (block) => packet(0xa2, short(9), behind(block), text('a')) },
  { name: 'DISCONNECT', own: [0x11, 0x1f, 0x26], build: (block) => packet(0xe0, octets('00'), behind(block)) },
];

/** The reason code of the DISCONNECT that a packet meets; undefined: it is served, or ends the connection rightly. */
async function codeFor(peer: MqttPeer, octets: Buffer): Promise<number | undefined> {
  peer.raw(octets);
  peer.send({ cmd: 'pingreq' });
  for (;;) {
    const told = await peer.next().catch(() => undefined);
    if (told === undefined || told.cmd === 'pingresp') return undefined;
    if (told.cmd === 'disconnect') return told.reasonCode;
  }
}

test.each(carriers)('$name takes its own properties, once; others are malformed', async ({ name, own, build }) => {
  const strange: string[] = [];
  for (const [id, property] of everyProperty) {
    for (const times of [1, 2]) {
      const { peer } = await house.connect({ properties: { sessionExpiryInterval: 5 } });
      const code = await codeFor(peer, build(Buffer.concat(new Array<Buffer>(times).fill(property))));
      peer.destroy();
      const isRepeated = times === 2 && id !== 0x26;
      // [MQTT-3.3.4-6] is a protocol error
      const wrong = name === 'PUBLISH' && id === 0x0b ? 0x82 : 0x81;
      const expected = own.includes(id) ? (isRepeated ? 0x82 : undefined) : wrong;
      if (code !== expected) strange.push(`0x${id.toString(16)} × ${times}: ${code} instead of ${expected}`);
    }
  }
  expect(strange).toEqual([]);
});

describe('a packet that is cut at any field', () => {
  const whole: readonly [name: string, packet: Buffer][] = [
    ['PUBLISH', packet(0x32, text('a'), short(1), octets('00'))],
    ['PUBACK', packet(0x40, short(1))],
    ['PUBREL', packet(0x62, short(1))],
    ['SUBSCRIBE', packet(0x82, short(1), octets('00'), text('a'), octets('00'))],
    ['UNSUBSCRIBE', packet(0xa2, short(1), octets('00'), text('a'))],
  ];
  test.each(whole)('%s', async (name, { 0: head, ...rest }) => {
    const body = Buffer.from(Object.values(rest as unknown as Record<string, number>)).subarray(1);
    for (let cut = 0; cut < body.length; cut++) {
      const { peer } = await house.connect();
      const code = await codeFor(peer, packet(head!, body.subarray(0, cut)));
      peer.destroy();
      // SUBSCRIBE and UNSUBSCRIBE without a filter are whole, and a protocol error
      expect([name, cut, code]).toEqual([name, cut, name.endsWith('SCRIBE') && cut === 3 ? 0x82 : 0x81]);
    }
  });
});

test.each([4, 5] as Version[])('levels may be empty, and each counts, in version %i', async (version) => {
  const { peer } = await house.connect({}, version);
  const topics = ['/', '/a', 'a/', 'a//b', '//', 'a'];
  const matching: Record<string, string[]> = {
    '+': ['a'],
    '+/+': ['/', '/a', 'a/'],
    '/+': ['/', '/a'],
    '+/': ['/', 'a/'],
    'a/+/b': ['a//b'],
    'a/#': ['a/', 'a//b', 'a'],
    '+//#': ['/', 'a/', 'a//b', '//'],
  };
  for (const [filter, expected] of Object.entries(matching)) {
    await peer.subscribe(filter);
    for (const topic of topics) peer.publish(topic, 'x');
    for (const topic of expected) expect([filter, (await peer.nextOf('publish')).topic]).toEqual([filter, topic]);
    await peer.nothing();
    peer.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [filter] });
    await peer.nextOf('unsuback');
  }
});
