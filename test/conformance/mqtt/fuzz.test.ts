import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { beforeEach, expect, test } from 'vitest';
import { ReasonCode } from '../../../src/protocols/mqtt/reason-code.ts';
import { MqttHouse } from '../../support/mqtt-house.ts';
import type { Received, Version } from '../../support/mqtt-peer.ts';
import { connectOctets, packet, text } from '../../support/mqtt-wire.ts';

/**
 * Whatever comes, the broker goes on: a peer gets whole packets that a foreign codec can read, and in 5.0 at most one
 * DISCONNECT, with a code that blames the peer, as the last of them; before 5.0 a closed connection says it. Everything
 * runs in this process, so that an exception is seen, and is as many times as much as FUZZ_RUNS says.
 */
const runs = Number(process.env['FUZZ_RUNS'] ?? 300);
const packetBytes = 8192;

let house: MqttHouse;
beforeEach(async () => {
  house = await MqttHouse.open({ mqtt: { packetBytes, bodyBytes: 4096, topicAliasMaximum: 4, receiveMaximum: 5 } });
});

const versions = fc.constantFrom<Version>(3, 4, 5);

/** Sends octets, in pieces, and ends the connection. @returns the answers, in order */
async function say(octets: Buffer, version: Version, pieces: readonly number[] = []): Promise<Received[]> {
  const peer = house.dial(version);
  const said: Buffer[] = [];
  peer.socket.on('data', (chunk: Buffer) => said.push(chunk));
  let at = 0;
  for (const length of pieces) {
    if (at >= octets.length) break;
    peer.raw(octets.subarray(at, at + length));
    at += length;
    await new Promise((resolve) => setImmediate(resolve));
  }
  peer.socket.end(octets.subarray(at));
  await peer.end();
  await house.durable();
  const answers = read(Buffer.concat(said), version);
  peer.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  checkAnswers(answers);
  expect(house.faults).toEqual([]);
  expect([house.door.connections.size, house.door.handshakes.size]).toEqual([0, 0]);
  return answers;
}

function read(octets: Buffer, version: Version): Received[] {
  const answers: Received[] = [];
  // who is refused for its version is answered in the nearest: a CONNACK of two octets is not of 5.0
  const isOld = version < 5 ? octets[1] === 2 || octets.length === 0 : octets[0] === 0x20 && octets[1] === 2;
  const parser = mqttPacket.parser({ protocolVersion: isOld ? 4 : 5 });
  parser.on('packet', (each) => answers.push(each));
  parser.on('error', (error) => {
    throw error;
  });
  expect(parser.parse(octets)).toBe(0);
  return answers;
}

/** What a peer can be blamed for; 0x8B, 0x80 and 0x83 would be faults of ours. */
const peersFault: readonly number[] = [
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.notAuthorized,
  ReasonCode.topicFilterInvalid,
  ReasonCode.topicNameInvalid,
  ReasonCode.receiveMaximumExceeded,
  ReasonCode.topicAliasInvalid,
  ReasonCode.packetTooLarge,
  ReasonCode.sessionTakenOver,
];

function checkAnswers(answers: readonly Received[]): void {
  const connacks = answers.filter(({ cmd }) => cmd === 'connack');
  expect(connacks.length).toBeLessThanOrEqual(1);
  if (answers.length > 0) expect(['connack', 'auth']).toContain(answers[0].cmd);
  const disconnects = answers.filter(({ cmd }) => cmd === 'disconnect');
  expect(disconnects.length).toBeLessThanOrEqual(1);
  for (const each of disconnects) {
    expect(peersFault).toContain(each.reasonCode);
    expect(answers.at(-1)).toBe(each);
  }
}

function generate(version: Version, each: object): Buffer {
  return mqttPacket.generate(each as Packet, { protocolVersion: version });
}

/** Everything a client may say, rightly. */
function sessionOf(version: Version): Buffer {
  const properties = version === 5 ? { properties: { userProperties: { a: 'b' } } } : {};
  const v5 = version === 5;
  return Buffer.concat([
    generate(version, {
      ...{ cmd: 'connect', protocolId: version === 3 ? 'MQIsdp' : 'MQTT', protocolVersion: version, clean: true },
      ...{ clientId: 'fuzz', keepalive: 60, username: 'guest', password: Buffer.from('guest') },
      will: { topic: 'w/t', payload: Buffer.from('gone'), qos: 1, retain: false, ...properties },
      ...(v5 ? { properties: { receiveMaximum: 10, topicAliasMaximum: 4, requestResponseInformation: true } } : {}),
    }),
    generate(version, {
      ...{ cmd: 'subscribe', messageId: 1, ...(v5 ? { properties: { subscriptionIdentifier: 200 } } : {}) },
      subscriptions: [
        { topic: 'a/#', qos: 2, nl: false, rap: true, rh: 0 },
        { topic: '$share/g/b/+', qos: 1, nl: false, rap: false, rh: 0 },
      ],
    }),
    generate(version, {
      cmd: 'publish',
      topic: 'a/b',
      qos: 0,
      dup: false,
      retain: true,
      payload: 'zero',
      ...properties,
    }),
    generate(version, {
      ...{ cmd: 'publish', topic: 'a/b', qos: 1, messageId: 2, dup: false, retain: false, payload: 'one' },
      ...(v5 ? { properties: { messageExpiryInterval: 9, topicAlias: 1, responseTopic: 'r', contentType: 't' } } : {}),
    }),
    generate(version, { cmd: 'puback', messageId: 1 }),
    generate(version, {
      cmd: 'publish',
      topic: 'a/c',
      qos: 2,
      messageId: 3,
      dup: false,
      retain: false,
      payload: 'two',
    }),
    generate(version, { cmd: 'pubrel', messageId: 3, reasonCode: 0 }),
    generate(version, { cmd: 'pubrec', messageId: 2, reasonCode: 0 }),
    generate(version, { cmd: 'pubcomp', messageId: 2, reasonCode: 0 }),
    generate(version, { cmd: 'pingreq' }),
    generate(version, { cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['a/#', 'nothing'] }),
    generate(version, { cmd: 'disconnect', reasonCode: 0 }),
  ]);
}

test('random octets, before and after CONNECT', async () => {
  const octets = fc.uint8Array({ maxLength: 500 }).map((each) => Buffer.from(each));
  await fc.assert(
    fc.asyncProperty(fc.boolean(), versions, octets, async (connected, version, random) => {
      await say(connected ? Buffer.concat([connectOctets(version), random]) : random, version);
    }),
    { numRuns: runs },
  );
});

test('random fields in each packet', async () => {
  const octets = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each));
  const first = fc.oneof(
    fc.constantFrom(0x10, 0x30, 0x32, 0x34, 0x3d, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xe0, 0xf0),
    fc.nat(255),
  );
  await fc.assert(
    fc.asyncProperty(fc.boolean(), versions, first, octets, async (connected, version, head, body) => {
      const each = packet(head, body);
      await say(connected ? Buffer.concat([connectOctets(version), each]) : each, version);
    }),
    { numRuns: 2 * runs },
  );
});

test('a session in which some octets were changed, doubled or left out', async () => {
  const change = fc.record({
    kind: fc.constantFrom('set', 'drop', 'double'),
    at: fc.nat(),
    octet: fc.nat(255),
    length: fc.integer({ min: 1, max: 40 }),
  });
  await fc.assert(
    fc.asyncProperty(versions, fc.array(change, { minLength: 1, maxLength: 4 }), async (version, changes) => {
      let octets = sessionOf(version);
      for (const { kind, at, octet, length } of changes) {
        const where = at % octets.length;
        const [before, run, behind] = [
          octets.subarray(0, where),
          octets.subarray(where, where + length),
          octets.subarray(where + length),
        ];
        if (kind === 'set') octets[where] = octet;
        else octets = Buffer.concat(kind === 'drop' ? [before, behind] : [before, run, run, behind]);
        if (octets.length === 0) return;
      }
      await say(octets, version);
    }),
    { numRuns: 2 * runs },
  );
});

test.each([3, 4, 5] as const)('a session of version %i that ends at any octet', async (version) => {
  const octets = sessionOf(version);
  for (let length = 0; length < octets.length; length++) await say(octets.subarray(0, length), version);
});

test.each([3, 4, 5] as const)('octet by octet, a session of version %i is answered as it is whole', async (version) => {
  const octets = sessionOf(version);
  const answered = (answers: Received[]) =>
    answers.filter(({ cmd }) => cmd !== 'publish').map(({ cmd, messageId, granted }) => [cmd, messageId, granted]);
  const whole = answered(await say(octets, version));
  expect(whole.map(([cmd]) => cmd)).toEqual(
    expect.arrayContaining(['connack', 'suback', 'pubrec', 'pubcomp', 'pingresp']),
  );
  const slow = answered(await say(octets, version, Array(octets.length).fill(1)));
  // the answers to others' acknowledgements depend on what has been delivered by then
  const own = (all: unknown[][]) => all.filter(([cmd]) => !['pubrel', 'disconnect'].includes(cmd as string));
  expect(own(slow)).toEqual(own(whole));
});

// — packets that are well formed, in any order and with any fields ——————————————————————————————————————————————————

const topics = fc.constantFrom('a', 'a/b', 'b/c', '$SYS/x', '$queue-of/q', '', 'a/+', '\u{1f480}', 'a.b%2B');
const filters = fc.constantFrom(
  'a',
  'a/#',
  '+/b',
  '#',
  '$share/g/a/#',
  '$share/g/b/+',
  '$share//a',
  '$queue-of/q',
  'a#',
  '',
);
const ids = fc.constantFrom(1, 1, 2, 3, 65_535);
const qos = fc.constantFrom(0, 1, 2);

function packetOf(version: Version): fc.Arbitrary<object> {
  const v5 = <T>(block: fc.Arbitrary<T>): object => (version === 5 ? { properties: block } : {});
  const some = { requiredKeys: [] };
  const ack = (cmd: string, ...codes: number[]) =>
    fc.record({ cmd: fc.constant(cmd), messageId: ids, reasonCode: fc.constantFrom(...codes) });
  const publish = fc
    .record({
      ...{ cmd: fc.constant('publish'), topic: topics, qos, dup: fc.boolean(), retain: fc.boolean(), messageId: ids },
      payload: fc.constantFrom('', 'x', 'y'.repeat(4096), 'z'.repeat(4097), 'z'.repeat(9000)),
      ...v5(
        fc.record(
          {
            messageExpiryInterval: fc.constantFrom(0, 1, 0xffff_ffff),
            topicAlias: fc.constantFrom(1, 2, 4, 5),
            payloadFormatIndicator: fc.boolean(),
            responseTopic: fc.constantFrom('r', 'a/b', 'a/#'),
            correlationData: fc.constant(Buffer.from([0, 255])),
          },
          some,
        ),
      ),
    })
    .map((each) => ({ ...each, dup: each.dup && each.qos > 0 }));
  const subscribe = fc.record({
    ...{ cmd: fc.constant('subscribe'), messageId: ids },
    subscriptions: fc.array(fc.record({ topic: filters, qos, nl: fc.boolean(), rap: fc.boolean(), rh: qos }), {
      minLength: 1,
      maxLength: 3,
    }),
    ...v5(fc.record({ subscriptionIdentifier: fc.constantFrom(1, 128, 268_435_455) }, some)),
  });
  const unsubscribe = fc.record({
    ...{ cmd: fc.constant('unsubscribe'), messageId: ids },
    unsubscriptions: fc.array(filters, { minLength: 1, maxLength: 3 }),
  });
  const leave = fc.record({
    ...{ cmd: fc.constant('disconnect'), reasonCode: fc.constantFrom(0, 4, 0x80) },
    ...v5(fc.record({ sessionExpiryInterval: fc.constantFrom(0, 60) }, some)),
  });
  return fc.oneof(
    { weight: 8, arbitrary: publish },
    { weight: 4, arbitrary: subscribe },
    { weight: 2, arbitrary: unsubscribe },
    { weight: 2, arbitrary: ack('puback', 0, 0x80) },
    { weight: 3, arbitrary: ack('pubrec', 0, 0x80) },
    { weight: 4, arbitrary: ack('pubrel', 0) },
    { weight: 3, arbitrary: ack('pubcomp', 0) },
    { weight: 1, arbitrary: fc.constant({ cmd: 'pingreq' }) },
    { weight: 1, arbitrary: leave },
  );
}

test('any packets in any order, over several connections of one session', async () => {
  const life = versions.chain((version) =>
    fc.record({
      version: fc.constant(version),
      clean: fc.boolean(),
      packets: fc.array(packetOf(version), { maxLength: 20 }),
      pieces: fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 20 }),
    }),
  );
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 3 }), async (lives) => {
      for (const { version, clean, packets, pieces } of lives) {
        const hello = generate(version, {
          ...{ cmd: 'connect', protocolId: version === 3 ? 'MQIsdp' : 'MQTT', protocolVersion: version, clean },
          ...{ clientId: 's', keepalive: 0, username: 'guest', password: Buffer.from('guest') },
          ...(version === 5 ? { properties: { sessionExpiryInterval: 60, receiveMaximum: 3 } } : {}),
        });
        const octets = Buffer.concat([hello, ...packets.map((each) => generate(version, each))]);
        for (const { cmd } of await say(octets, version, pieces)) seen.add(cmd);
      }
      await say(connectOctets(4, { payload: ['s', 'guest', 'guest'].map(text) }), 4); // the clean session ends what there was
      expect([...house.vhost.queues.keys()].filter((name) => name.startsWith('mqtt'))).toEqual([]);
    }),
    { numRuns: 2 * runs },
  );
  const all = [
    'connack',
    'publish',
    'puback',
    'pubrec',
    'pubrel',
    'pubcomp',
    'suback',
    'unsuback',
    'pingresp',
    'disconnect',
  ];
  expect([...seen].sort()).toEqual(all.sort());
});

test('an announced size takes no memory until it comes', async () => {
  const peers = [];
  for (let i = 0; i < 300; i++) {
    const { peer } = await house.connect();
    peer.raw(Buffer.from([0x30, 0xff, 0x3e, 0])); // 8 KiB, of which an octet comes
    peers.push(peer);
    const stranger = house.dial();
    stranger.raw(Buffer.from([0x10, 0xff, 0x3e, 0]));
    peers.push(stranger);
  }
  await new Promise((resolve) => setImmediate(resolve));
  const holders = [...house.door.connections, ...house.door.handshakes];
  expect(holders.length).toBe(600);
  for (const { stream } of holders as unknown as { stream: { rest: Buffer } }[]) {
    expect(stream.rest.length).toBeLessThan(1024);
  }
  for (const peer of peers) peer.destroy();
});
