import fc from 'fast-check';
import mqttPacket, { type Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { Message, noDeaths } from '../../../../src/core/message.ts';
import { auth, connack, disconnect, refusal, suback, unsuback } from '../../../../src/protocols/mqtt/answers.ts';
import { readConnect, readVersion } from '../../../../src/protocols/mqtt/connect.ts';
import { head, Reader, readHead } from '../../../../src/protocols/mqtt/decode.ts';
import { Delivery, packet, writePublish, writeShortAck } from '../../../../src/protocols/mqtt/encode.ts';
import {
  readAuth,
  readDisconnect,
  readPublishedAck,
  readReleasedAck,
  readSubscribe,
  readUnsubscribe,
} from '../../../../src/protocols/mqtt/incoming.ts';
import { mqtt5Format, publishProperties } from '../../../../src/protocols/mqtt/message.ts';
import { Head, PacketType, type Version } from '../../../../src/protocols/mqtt/packet.ts';
import {
  type PropertyBlock,
  PropertyId,
  PropertyWriter,
  readProperties,
} from '../../../../src/protocols/mqtt/properties.ts';
import { IncomingPublish } from '../../../../src/protocols/mqtt/publish.ts';
import { ProtocolError, ReasonCode } from '../../../../src/protocols/mqtt/reason-code.ts';
import { exactSpelling } from '../../../../src/protocols/mqtt/topic.ts';
import type { Stream } from '../../../../src/transport/stream.ts';

/**
 * The codec beside mqtt-packet, which clients of JavaScript use: what one writes the other reads, field by field.
 * mqtt-packet is wrong, or lax, in these, and the comparison leaves them out:
 *
 * - of user properties of one name it forgets those whose value is '' once another follows;
 * - it writes nothing at all of a packet whose user properties are an empty object;
 * - it does not demand well-formed UTF-8, refuse NUL, or packet id 0;
 * - it takes any property in any packet, twice too, and a packet that is longer than its fields;
 * - it reads properties and lengths past the end of their block, and of the packet;
 * - it takes variable byte integers that are longer than they need to be, and DUP with QoS 0;
 * - it demands a user name and a password where a CONNECT of 3.1 has set their flags, and 3.1 lets them be missing;
 * - it refuses the DUP flag that MQTT 3.1 has in SUBSCRIBE, UNSUBSCRIBE and PUBREL.
 *
 * So nothing is asked of what only mqtt-packet accepts, but everything of what we accept.
 */

type Plain = Record<string, unknown>;

// — what both say of a packet, in one vocabulary ————————————————————————————————————————————————————————————————————

const names: Record<string, number> = {
  payloadFormatIndicator: PropertyId.payloadFormatIndicator,
  messageExpiryInterval: PropertyId.messageExpiryInterval,
  contentType: PropertyId.contentType,
  responseTopic: PropertyId.responseTopic,
  correlationData: PropertyId.correlationData,
  subscriptionIdentifier: PropertyId.subscriptionIdentifier,
  sessionExpiryInterval: PropertyId.sessionExpiryInterval,
  assignedClientIdentifier: PropertyId.assignedClientIdentifier,
  serverKeepAlive: PropertyId.serverKeepAlive,
  authenticationMethod: PropertyId.authenticationMethod,
  authenticationData: PropertyId.authenticationData,
  requestProblemInformation: PropertyId.requestProblemInformation,
  willDelayInterval: PropertyId.willDelayInterval,
  requestResponseInformation: PropertyId.requestResponseInformation,
  responseInformation: PropertyId.responseInformation,
  serverReference: PropertyId.serverReference,
  reasonString: PropertyId.reasonString,
  receiveMaximum: PropertyId.receiveMaximum,
  topicAliasMaximum: PropertyId.topicAliasMaximum,
  topicAlias: PropertyId.topicAlias,
  maximumQoS: PropertyId.maximumQos,
  retainAvailable: PropertyId.retainAvailable,
  maximumPacketSize: PropertyId.maximumPacketSize,
  wildcardSubscriptionAvailable: PropertyId.wildcardSubscriptionAvailable,
  subscriptionIdentifiersAvailable: PropertyId.subscriptionIdentifierAvailable,
  sharedSubscriptionAvailable: PropertyId.sharedSubscriptionAvailable,
};

function plainValue(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  return typeof value === 'boolean' ? Number(value) : value;
}

function byName(pairs: readonly (readonly [string, string])[]): unknown {
  return pairs.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
}

function ourBlock({ values, userProperties }: PropertyBlock): Plain {
  return {
    ...Object.fromEntries([...values].map(([id, value]) => [id, plainValue(value)])),
    user: byName(userProperties),
  };
}

function theirBlock(properties: Plain = {}): Plain {
  const { userProperties = {}, ...values } = properties;
  const user = Object.entries(userProperties as Record<string, string | string[]>).flatMap(([name, value]) =>
    [value].flat().map((each) => [name, each] as const),
  );
  return {
    ...Object.fromEntries(Object.entries(values).map(([name, value]) => [names[name], plainValue(value)])),
    user: byName(user),
  };
}

/** @throws ProtocolError; undefined when the octets are not a whole packet */
function readOurs(octets: Buffer, version: Version): Plain | undefined {
  readHead(octets, 0, octets.length);
  const { bytes, remaining } = head;
  if (bytes === 0 || bytes + remaining !== octets.length) return undefined;
  const first = octets[0]!;
  const reader = new Reader(octets, bytes, octets.length);
  switch (first >> 4) {
    case PacketType.connect:
      return readOurConnect(reader);
    case PacketType.publish:
      return readOurPublish(octets, first, bytes, version);
    case PacketType.puback:
    case PacketType.pubrec:
      return { ...readPublishedAck(reader, version) };
    case PacketType.pubrel:
    case PacketType.pubcomp:
      return { ...readReleasedAck(reader, version) };
    case PacketType.subscribe:
      return { ...readSubscribe(reader, version) };
    case PacketType.unsubscribe:
      return { ...readUnsubscribe(reader, version) };
    case PacketType.disconnect: {
      const { code, sessionExpirySeconds } = readDisconnect(reader, version);
      return { code, sessionExpirySeconds };
    }
    case PacketType.auth: {
      const { code, method, data } = readAuth(reader);
      return { code, method, data: data.toString('hex') };
    }
  }
  return undefined;
}

function readOurConnect(reader: Reader): Plain {
  const { will, password, properties, ...rest } = readConnect(reader, readVersion(reader).version);
  const { sessionExpirySeconds: _, ...fields } = rest;
  return {
    ...fields,
    password: plainValue(password),
    properties: ourBlock(properties),
    will: will && {
      ...will,
      payload: will.payload.toString('hex'),
      native: ourBlock(readProperties(new Reader(will.native, 0, will.native.length), publishProperties)),
    },
  };
}

function readOurPublish(octets: Buffer, first: number, body: number, version: Version): Plain {
  const publish = new IncomingPublish();
  publish.read(octets, first, body, octets.length, version);
  const { topicAt, topicBytes, nativeAt, payloadAt, expirySeconds, isText, topicAlias, topicAliasAt } = publish;
  const { qos, retain, duplicate, packetId } = publish;
  if (topicAlias !== 0) expect(octets[topicAliasAt]).toBe(PropertyId.topicAlias);
  const block = version === 5 ? octets.subarray(nativeAt, payloadAt) : Buffer.alloc(0);
  return {
    ...{ qos, retain, duplicate, packetId, expirySeconds, isText, topicAlias },
    topic: new Reader(octets, topicAt - 2, topicAt + topicBytes).text(),
    payload: octets.toString('hex', payloadAt),
    properties: ourBlock(readProperties(new Reader(block, 0, block.length), publishProperties)),
  };
}

/** @throws Error for what it does not accept */
function readTheirs(octets: Buffer, version: Version): Plain {
  const parser = mqttPacket.parser({ protocolVersion: version });
  const packets: Plain[] = [];
  let failure: unknown;
  parser.on('packet', (each) => packets.push(each as unknown as Plain));
  parser.on('error', (error) => {
    failure ??= error;
  });
  parser.parse(octets);
  if (failure !== undefined) throw failure;
  if (packets.length !== 1) throw new Error(`${packets.length} packets`);
  return packets[0]!;
}

// biome-ignore lint/suspicious/noExplicitAny: the packets of a foreign codec, compared field by field
function plainOfTheirs(theirs: any, version: Version): Plain {
  const properties: Plain = theirs.properties ?? {};
  switch (theirs.cmd) {
    case 'connect':
      return {
        version: theirs.protocolVersion,
        clientId: theirs.clientId,
        cleanStart: theirs.clean,
        keepAliveSeconds: theirs.keepalive,
        user: theirs.username,
        password: plainValue(theirs.password),
        properties: theirBlock(properties),
        will: theirs.will && plainWill(theirs.will),
      };
    case 'publish':
      return {
        qos: theirs.qos,
        retain: theirs.retain,
        duplicate: theirs.dup,
        packetId: theirs.messageId ?? 0,
        expirySeconds: properties['messageExpiryInterval'] ?? -1,
        isText: properties['payloadFormatIndicator'] ?? false,
        topicAlias: properties['topicAlias'] ?? 0,
        topic: theirs.topic,
        payload: theirs.payload.toString('hex'),
        properties: theirBlock(properties),
      };
    case 'subscribe': {
      const subscriptionId = properties['subscriptionIdentifier'] ?? 0;
      const subscriptions = theirs.subscriptions.map(({ topic, qos, nl, rap, rh }: Plain) => ({
        ...{ filter: topic, qos, noLocal: nl ?? false, retainAsPublished: rap ?? false, retainHandling: rh ?? 0 },
        subscriptionId,
      }));
      return { packetId: theirs.messageId, subscriptions };
    }
    case 'unsubscribe':
      return { packetId: theirs.messageId, filters: theirs.unsubscriptions };
    case 'disconnect':
      return { code: theirs.reasonCode ?? 0, sessionExpirySeconds: properties['sessionExpiryInterval'] };
    case 'auth': {
      const data = plainValue(properties['authenticationData']) ?? '';
      return { code: theirs.reasonCode, method: properties['authenticationMethod'], data };
    }
    default:
      return { packetId: theirs.messageId, code: version === 5 ? theirs.reasonCode : 0 };
  }
}

// biome-ignore lint/suspicious/noExplicitAny: as above
function plainWill({ topic, payload, qos, retain, properties = {} }: any): Plain {
  const { willDelayInterval = 0, ...native } = properties;
  return {
    ...{ topic, qos, retain, payload: payload.toString('hex'), delaySeconds: willDelayInterval },
    expirySeconds: native.messageExpiryInterval ?? -1,
    native: theirBlock(native),
  };
}

// — packets ————————————————————————————————————————————————————————————————————————————————————————————————————————

const text = fc.string({ unit: 'binary', maxLength: 20 }).filter((each) => !each.includes('\0'));
const filled = text.filter((each) => each !== '');
const octetsOf = (maxLength: number) => fc.uint8Array({ maxLength }).map((each) => Buffer.from(each));
const short = fc.integer({ min: 0, max: 0xffff });
const positiveShort = fc.integer({ min: 1, max: 0xffff });
const long = fc.integer({ min: 0, max: 0xffff_ffff });
const flag = fc.boolean();
const qos = fc.constantFrom(0, 1, 2);
const userProperties = fc.dictionary(
  text.filter((name) => name !== '__proto__'),
  fc.oneof(text, fc.array(filled, { minLength: 1, maxLength: 3 })),
  { minKeys: 1, maxKeys: 4, noNullPrototype: true },
);
const some = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model, { requiredKeys: [] });

const messageProperties = {
  payloadFormatIndicator: flag,
  messageExpiryInterval: long,
  contentType: text,
  responseTopic: filled.map((topic) => topic.replaceAll(/[+#]/g, '/')),
  correlationData: octetsOf(20),
  userProperties,
};
const ackProperties = some({ reasonString: text, userProperties });

const properties = {
  connect: some({
    sessionExpiryInterval: long,
    receiveMaximum: positiveShort,
    maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
    topicAliasMaximum: short,
    requestResponseInformation: flag,
    requestProblemInformation: flag,
    userProperties,
    authenticationMethod: text,
    authenticationData: octetsOf(20),
  }).map(({ authenticationData, ...rest }) =>
    rest.authenticationMethod === undefined || authenticationData === undefined
      ? rest
      : { ...rest, authenticationData },
  ),
  will: some({ willDelayInterval: long, ...messageProperties }),
  publish: some({ ...messageProperties, topicAlias: positiveShort }),
  subscribe: some({ subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }), userProperties }),
  unsubscribe: some({ userProperties }),
  disconnect: some({ sessionExpiryInterval: long, reasonString: text, userProperties }),
  auth: fc.record(
    { authenticationMethod: text, authenticationData: octetsOf(20), reasonString: text, userProperties },
    { requiredKeys: ['authenticationMethod'] },
  ),
};

const will = (version: Version) =>
  fc.record({
    topic: filled,
    payload: octetsOf(30),
    qos,
    retain: flag,
    ...(version === 5 ? { properties: properties.will } : {}),
  });

function of(version: Version, block: fc.Arbitrary<unknown>): { properties?: fc.Arbitrary<unknown> } {
  return version === 5 ? { properties: block } : {};
}

function acks(cmd: string, version: Version, codes: readonly number[]): fc.Arbitrary<Plain> {
  const code = version === 5 ? { reasonCode: fc.constantFrom(...codes) } : {};
  return fc.record({ cmd: fc.constant(cmd), messageId: positiveShort, ...code, ...of(version, ackProperties) });
}

const publishedCodes = [0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];

/** Each packet that a client sends, in a version. */
function packetsOf(version: Version): Record<string, fc.Arbitrary<Plain>> {
  const login = fc.oneof(
    fc.constant({}),
    fc.record({ username: text }),
    fc.record({ username: text, password: octetsOf(20) }),
  );
  const options = version === 5 ? { nl: flag, rap: flag, rh: qos } : {};
  const subscription = fc.record({ topic: text, qos, ...options }).filter(({ topic }) => !topic.startsWith('$share/'));
  return {
    connect: fc
      .record({
        cmd: fc.constant('connect'),
        protocolId: fc.constant(version === 3 ? 'MQIsdp' : 'MQTT'),
        protocolVersion: fc.constant(version),
        clean: flag,
        clientId: filled,
        keepalive: short,
        will: fc.option(will(version), { nil: undefined }),
        login,
        ...of(version, properties.connect),
      })
      .map(({ login, ...rest }) => ({ ...rest, ...login })),
    publish: fc
      .record({
        cmd: fc.constant('publish'),
        topic: text,
        qos,
        dup: flag,
        retain: flag,
        messageId: positiveShort,
        payload: octetsOf(300),
        ...of(version, properties.publish),
      })
      .map((each) => ({ ...each, dup: each.dup && each.qos > 0 })),
    puback: acks('puback', version, publishedCodes),
    pubrec: acks('pubrec', version, publishedCodes),
    pubrel: acks('pubrel', version, [0, 0x92]),
    pubcomp: acks('pubcomp', version, [0, 0x92]),
    subscribe: fc.record({
      cmd: fc.constant('subscribe'),
      messageId: positiveShort,
      subscriptions: fc.array(subscription, { minLength: 1, maxLength: 5 }),
      ...of(version, properties.subscribe),
    }),
    unsubscribe: fc.record({
      cmd: fc.constant('unsubscribe'),
      messageId: positiveShort,
      unsubscriptions: fc.array(text, { minLength: 1, maxLength: 5 }),
      ...of(version, properties.unsubscribe),
    }),
    disconnect:
      version === 5
        ? fc.record({
            cmd: fc.constant('disconnect'),
            reasonCode: fc.constantFrom(0, 4, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99),
            properties: properties.disconnect,
          })
        : fc.constant({ cmd: 'disconnect' }),
    ...(version === 5
      ? {
          auth: fc.record({
            cmd: fc.constant('auth'),
            reasonCode: fc.constantFrom(0x18, 0x19),
            properties: properties.auth,
          }),
        }
      : {}),
  };
}

function generate(sent: Plain, version: Version): Buffer {
  return mqttPacket.generate(sent as unknown as Packet, { protocolVersion: version });
}

const versions = [3, 4, 5] as const;
const cases = versions.flatMap((version) =>
  Object.entries(packetsOf(version)).map(([name, arbitrary]) => [name, version, arbitrary] as const),
);

function codeOfRefusal(read: () => unknown): number | null {
  try {
    read();
    return null;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return error.code;
  }
}

/** What a codec may say; the rest is for whoever knows more than the octets. */
const codecCodes = new Set<number>([
  ReasonCode.malformedPacket,
  ReasonCode.protocolError,
  ReasonCode.unsupportedProtocolVersion,
  ReasonCode.topicNameInvalid,
  ReasonCode.topicAliasInvalid,
]);

/** Refused with a code of the codec's, or read as mqtt-packet reads it. @returns whether it was read */
function check(octets: Buffer, version: Version): boolean {
  let ours: Plain | undefined;
  const code = codeOfRefusal(() => {
    ours = readOurs(octets, version);
  });
  if (code !== null) {
    expect([...codecCodes]).toContain(code);
    return false;
  }
  if (ours === undefined) return false;
  try {
    expect(ours).toEqual(plainOfTheirs(readTheirs(octets, version), version));
  } catch (error) {
    if (ours['version'] === 3 && /^Cannot parse (username|password)$/.test((error as Error).message)) return true;
    throw error;
  }
  return true;
}

describe.each(cases)('%s of version %i', (name, version, arbitrary) => {
  test('is read as mqtt-packet wrote it', () => {
    fc.assert(
      fc.property(arbitrary, (sent) => {
        const octets = generate(sent, version);
        expect(check(octets, version)).toBe(true);
        expect(readOurs(octets, version)).toEqual(plainOfTheirs(sentOf(sent), version));
      }),
    );
  });

  test('cut at any offset, is waited for', () => {
    fc.assert(
      fc.property(arbitrary, (sent) => {
        const octets = generate(sent, version);
        for (let length = 0; length < octets.length; length++) {
          readHead(octets, 0, length);
          expect(head.bytes === 0 || head.bytes + head.remaining > length).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('cut at any offset and announced as whole, is refused or a packet of its own', () => {
    fc.assert(
      fc.property(arbitrary, (sent) => {
        const octets = generate(sent, version);
        readHead(octets, 0, octets.length);
        const body = octets.subarray(head.bytes);
        for (let length = 0; length < body.length; length++) {
          const isRead = check(packet(octets[0]!, body.subarray(0, length)), version);
          // 3.1 may leave out a user name and password that its flags announce
          if (name === 'connect' && version > 3) expect(isRead).toBe(false);
        }
      }),
      { numRuns: 20 },
    );
  });

  test('changed anywhere, is refused or read as mqtt-packet reads it', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(arbitrary, changes, (sent, each) => {
        const octets = generate(sent, version);
        readHead(octets, 0, octets.length);
        const start = name === 'connect' ? head.bytes + 7 + (version === 3 ? 2 : 0) : head.bytes;
        if (start >= octets.length) return;
        for (const [at, octet] of each) octets[start + (at % (octets.length - start))] = octet;
        check(octets, version);
      }),
      { numRuns: 300 },
    );
  });
});

// of a PUBLISH it is an octet of the payload
describe.each(cases.filter(([name]) => name !== 'publish'))('%s of version %i', (_name, version, arbitrary) => {
  test('with an octet more, is refused', () => {
    fc.assert(
      fc.property(arbitrary, fc.nat(255), (sent, more) => {
        const octets = generate(sent, version);
        readHead(octets, 0, octets.length);
        const longer = packet(octets[0]!, octets.subarray(head.bytes), Buffer.from([more]));
        // the shortest forms of 5.0 grow by a reason code
        if (!check(longer, version)) return;
        expect(version).toBe(5);
        expect(head.remaining).toBeLessThan(4);
      }),
      { numRuns: 30 },
    );
  });
});

// mqtt-packet's own words for what it wrote; a packet id with QoS 0 is not written
function sentOf(sent: Plain): Plain {
  return sent['cmd'] === 'publish' && sent['qos'] === 0 ? { ...sent, messageId: 0 } : sent;
}

// — what we write ——————————————————————————————————————————————————————————————————————————————————————————————————

/** As much of a stream as the codec knows. */
class Batch {
  out = Buffer.alloc(0);
  end = 0;

  reserve(bytes: number): number {
    this.out = Buffer.concat([this.out.subarray(0, this.end), Buffer.alloc(bytes)]);
    return this.end;
  }

  advance(bytes: number): void {
    this.end += bytes;
  }
}

function written(write: (stream: Stream) => void): Buffer {
  const batch = new Batch();
  write(batch as unknown as Stream);
  return batch.out.subarray(0, batch.end);
}

function blockOf(octets: Buffer, allowed: readonly number[]): PropertyBlock {
  return readProperties(new Reader(octets, 0, octets.length), allowed);
}

type Single = readonly [id: number, kind: 'octet' | 'short' | 'long' | 'text' | 'octets', value: unknown];

function write(singles: readonly Single[], pairs: readonly (readonly [string, string])[]): PropertyWriter {
  const writer = new PropertyWriter();
  for (const [id, kind, value] of singles)
    (writer[kind] as (id: number, value: unknown) => void).call(writer, id, value);
  for (const [name, value] of pairs) writer.pair(name, value);
  return writer;
}

const anySingle = <T>(id: number, kind: Single[1], value: fc.Arbitrary<T>) =>
  value.map((each) => [id, kind, each] as const);
const bit = fc.constantFrom(0, 1);
const connackSingles = [
  anySingle(PropertyId.sessionExpiryInterval, 'long', long),
  anySingle(PropertyId.receiveMaximum, 'short', positiveShort),
  anySingle(PropertyId.maximumQos, 'octet', bit),
  anySingle(PropertyId.retainAvailable, 'octet', bit),
  anySingle(
    PropertyId.maximumPacketSize,
    'long',
    long.filter((bytes) => bytes > 0),
  ),
  anySingle(PropertyId.assignedClientIdentifier, 'text', text),
  anySingle(PropertyId.topicAliasMaximum, 'short', short),
  anySingle(PropertyId.reasonString, 'text', text),
  anySingle(PropertyId.wildcardSubscriptionAvailable, 'octet', bit),
  anySingle(PropertyId.subscriptionIdentifierAvailable, 'octet', bit),
  anySingle(PropertyId.sharedSubscriptionAvailable, 'octet', bit),
  anySingle(PropertyId.serverKeepAlive, 'short', short),
  anySingle(PropertyId.responseInformation, 'text', text),
  anySingle(PropertyId.serverReference, 'text', text),
  anySingle(PropertyId.authenticationMethod, 'text', text),
  anySingle(PropertyId.authenticationData, 'octets', octetsOf(20)),
];
const publishSingles = [
  anySingle(PropertyId.payloadFormatIndicator, 'octet', bit),
  anySingle(PropertyId.contentType, 'text', text),
  anySingle(PropertyId.responseTopic, 'text', text),
  anySingle(PropertyId.correlationData, 'octets', octetsOf(20)),
  anySingle(PropertyId.messageExpiryInterval, 'long', long),
];
const subsetOf = (singles: readonly fc.Arbitrary<Single>[]) =>
  fc.tuple(...singles.map((each) => fc.option(each, { nil: null }))).map((all) => all.filter((each) => each !== null));
const pairsOf = fc.array(
  fc.tuple(
    filled.filter((name) => name !== '__proto__'),
    filled,
  ),
  { maxLength: 5 },
);

const listener = { packetMax: Number.POSITIVE_INFINITY, problemInformation: true };

describe('mqtt-packet reads what we write', () => {
  test('CONNACK, with each property', () => {
    fc.assert(
      fc.property(flag, subsetOf(connackSingles), pairsOf, (present, singles, pairs) => {
        const theirs = readTheirs(connack(5, present, write(singles, pairs).endBlock()), 5);
        expect([theirs['sessionPresent'], theirs['reasonCode']]).toEqual([present, 0]);
        const ids = singles.map(([id]) => id);
        const block = blockOf(write(singles, pairs).end(), [...ids, PropertyId.userProperty]);
        expect(theirBlock(theirs['properties'] as Plain)).toEqual(ourBlock(block));
        const values = singles.map(([id, , value]) => [id, plainValue(value)]);
        expect(ourBlock(block)).toEqual({ ...Object.fromEntries(values), user: byName(pairs) });
      }),
    );
    for (const version of [3, 4] as const) {
      expect(readTheirs(connack(version, true, Buffer.alloc(0)), version)).toMatchObject({
        cmd: 'connack',
        sessionPresent: version === 4,
        returnCode: 0,
      });
    }
  });

  test('CONNACK that refuses, and DISCONNECT, with a reason', () => {
    fc.assert(
      fc.property(filled, (reason) => {
        const code = ReasonCode.notAuthorized;
        expect(readTheirs(refusal({ ...listener, version: 5 }, code, reason)!, 5)).toMatchObject({
          ...{ cmd: 'connack', sessionPresent: false, reasonCode: code, properties: { reasonString: reason } },
        });
        expect(readTheirs(refusal({ ...listener, version: 4 }, code, reason)!, 4)).toMatchObject({ returnCode: 5 });
        expect(readTheirs(disconnect({ ...listener, version: 5 }, code, reason)!, 5)).toMatchObject({
          ...{ cmd: 'disconnect', reasonCode: code, properties: { reasonString: reason } },
        });
        const terse = { ...listener, version: 5, problemInformation: false } as const;
        expect(readTheirs(disconnect(terse, code, reason)!, 5)['properties']).toBeUndefined();
      }),
    );
  });

  test('SUBACK and UNSUBACK', () => {
    const subscribed = fc.array(fc.constantFrom(0, 1, 2, 0x80), { minLength: 1, maxLength: 200 });
    const unsubscribed = fc.array(fc.constantFrom(0, 0x11, 0x80, 0x87, 0x8f), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        fc.constantFrom(...versions),
        positiveShort,
        subscribed,
        unsubscribed,
        (version, id, codes, others) => {
          expect(readTheirs(suback(version, id, codes), version)).toMatchObject({
            ...{ cmd: 'suback', messageId: id, granted: codes },
          });
          expect(readTheirs(unsuback(version, id, others), version)).toMatchObject({
            ...{ cmd: 'unsuback', messageId: id, ...(version === 5 ? { granted: others } : {}) },
          });
        },
      ),
    );
  });

  test('AUTH', () => {
    fc.assert(
      fc.property(filled, octetsOf(40), (method, data) => {
        const theirs = readTheirs(auth(ReasonCode.continueAuthentication, method, data), 5);
        expect(theirs).toMatchObject({ cmd: 'auth', reasonCode: 0x18 });
        const sent = data.length === 0 ? {} : { [PropertyId.authenticationData]: data.toString('hex') };
        expect(theirBlock(theirs['properties'] as Plain)).toEqual({
          ...{ [PropertyId.authenticationMethod]: method, ...sent, user: [] },
        });
      }),
    );
  });

  test('PUBACK, PUBREC, PUBREL and PUBCOMP in their short form', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...versions),
        fc.constantFrom('puback', 'pubrec', 'pubrel', 'pubcomp'),
        positiveShort,
        (version, cmd, id) => {
          const octets = written((stream) => writeShortAck(stream, Head[cmd], id));
          expect(readTheirs(octets, version)).toMatchObject({ cmd, messageId: id });
        },
      ),
    );
  });

  test('PUBLISH, to one subscriber or to several, with an alias, ids of subscriptions and what is left of its time', () => {
    const copy = fc.record({
      version: fc.constantFrom(...versions),
      qos,
      retain: flag,
      duplicate: flag,
      packetId: positiveShort,
      subscriptionIds: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
      topicAlias: fc.constantFrom(0, 0, 1, 0xffff),
      aliasKnown: flag,
    });
    const topic = text.filter((each) => each !== '' && !/[+#%]/.test(each));
    fc.assert(
      fc.property(
        ...[topic, octetsOf(300), subsetOf(publishSingles), pairsOf, fc.array(copy, { minLength: 1, maxLength: 6 })],
        (name, payload, singles, pairs, copies) => {
          const message = messageOf(name, payload, write(singles, pairs).end());
          for (const each of copies) {
            const delivery = Object.assign(new Delivery(), { ...each, nowMs: 500 });
            delivery.packetId = each.qos === 0 ? 0 : each.packetId;
            delivery.duplicate = each.duplicate && each.qos > 0;
            if (each.version < 5 || each.topicAlias === 0) delivery.topicAlias = 0;
            delivery.aliasKnown = delivery.topicAlias !== 0 && each.aliasKnown;
            const octets = written((stream) => {
              expect(writePublish(stream, message, delivery, Number.POSITIVE_INFINITY)).toBe(true);
            });
            expect(written((stream) => writePublish(stream, message, delivery, octets.length - 1)).length).toBe(0);
            const theirs = readTheirs(octets, each.version);
            expect(theirs).toMatchObject({
              ...{ cmd: 'publish', topic: delivery.aliasKnown ? '' : name, qos: each.qos, retain: each.retain },
              ...{ dup: delivery.duplicate, payload, ...(each.qos === 0 ? {} : { messageId: each.packetId }) },
            });
            if (each.version < 5) continue;
            const own = { ...ourBlock(blockOf(message.as(mqtt5Format), publishProperties)) };
            if (PropertyId.messageExpiryInterval in own) own[PropertyId.messageExpiryInterval] = 2; // 1.5 s, rounded up
            if (delivery.topicAlias !== 0) own[PropertyId.topicAlias] = delivery.topicAlias;
            const [first, ...others] = each.subscriptionIds;
            if (first !== undefined) {
              own[PropertyId.subscriptionIdentifier] = others.length === 0 ? first : each.subscriptionIds;
            }
            expect(theirBlock(theirs['properties'] as Plain)).toEqual(own);
          }
        },
      ),
    );
  });
});

// Published at 0, and to live for two seconds when it is to expire.
function messageOf(topic: string, payload: Buffer, native: Buffer): Message {
  const bytes = Buffer.concat([native, payload]);
  const expires = blockOf(native, publishProperties).values.has(PropertyId.messageExpiryInterval);
  return new Message({
    format: mqtt5Format,
    exchange: 'amq.topic',
    routingKey: exactSpelling.toRoutingKey(topic),
    durable: false,
    priority: -1,
    expiresAtMs: expires ? 2000 : 0,
    qos: 2,
    retain: false,
    publisher: null,
    deaths: noDeaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
}
