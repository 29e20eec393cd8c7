import fc from 'fast-check';
import type { MessageFormat } from '../../src/core/format.ts';
import { Message, type MessageFacts, noDeaths } from '../../src/core/message.ts';
import type { Headers, Properties, TypedValue, Value } from '../../src/core/properties.ts';
import { amqp10Format, encodeShape } from '../../src/protocols/amqp10/message.ts';
import { AmqpArray, AmqpMap, symbol, uint } from '../../src/protocols/amqp10/types.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { mqtt5Format } from '../../src/protocols/mqtt/message.ts';
import { formats as stompFormats } from '../../src/protocols/stomp/message.ts';
import { section } from './amqp10-peer.ts';

/** Messages as fast-check makes them: what a publisher of each protocol can say, and what it had better not. */

export const formats = { '091': amqp091Format, '1.0': amqp10Format, M5: mqtt5Format, ST: stompFormats.none['1.2'] };
export type Name = keyof typeof formats;

/** A message of the format with `native` and an empty body, and nothing else said of it but `facts`. */
export function createMessage(format: MessageFormat, native: Buffer, facts: Partial<MessageFacts> = {}): Message {
  return new Message({
    format,
    exchange: 'amq.topic',
    routingKey: 'k',
    durable: false,
    priority: -1,
    expiresAtMs: 0,
    qos: -1,
    retain: false,
    publisher: null,
    deaths: noDeaths,
    bytes: native,
    start: 0,
    end: native.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: native.length,
    ...facts,
  });
}

/** The same in the midst of what is others', with a body behind it. */
export function createFlying(format: MessageFormat, native: Buffer, facts: Partial<MessageFacts> = {}): Message {
  const before = Buffer.from('\n:xx');
  const body = Buffer.from('body');
  const nativeStart = before.length;
  const nativeEnd = nativeStart + native.length;
  const bodyEnd = nativeEnd + body.length;
  return createMessage(format, native, {
    bytes: Buffer.concat([before, native, body, Buffer.from('\n:')]),
    start: nativeStart,
    end: bodyEnd,
    nativeStart,
    nativeEnd,
    bodyStart: nativeEnd,
    bodyEnd,
    ...facts,
  });
}

const text = (maxLength: number) => fc.string({ unit: 'grapheme', maxLength }).filter((each) => each.isWellFormed());
const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

const number: fc.Arbitrary<TypedValue> = fc.oneof(
  fc.record({ type: fc.constant('byte' as const), value: fc.integer({ min: -128, max: 127 }) }),
  fc.record({ type: fc.constant('ubyte' as const), value: fc.integer({ min: 0, max: 255 }) }),
  fc.record({ type: fc.constant('short' as const), value: fc.integer({ min: -32_768, max: 32_767 }) }),
  fc.record({ type: fc.constant('ushort' as const), value: fc.integer({ min: 0, max: 65_535 }) }),
  fc.record({ type: fc.constant('int' as const), value: fc.integer() }),
  fc.record({ type: fc.constant('uint' as const), value: fc.integer({ min: 0, max: 2 ** 32 - 1 }) }),
  fc.record({ type: fc.constant('long' as const), value: fc.bigInt(int64) }),
  fc.record({ type: fc.constant('float' as const), value: fc.float() }),
  fc.record({ type: fc.constant('double' as const), value: fc.double() }),
  fc.record({ type: fc.constant('decimal' as const), scale: fc.integer({ min: 0, max: 255 }), value: fc.integer() }),
  fc.record({
    type: fc.constant('timestamp' as const),
    value: fc
      .oneof(fc.bigInt({ min: 0n, max: 2n ** 40n }), fc.constant(2n ** 64n - 1n))
      .map((seconds) => seconds * 1000n),
  }),
);

const octets = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes));
/** The types that AMQP 1.0 alone has. */
const foreign: fc.Arbitrary<TypedValue> = fc.oneof(
  fc.record({ type: fc.constant('ulong' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  fc.record({ type: fc.constant('timestamp' as const), value: fc.bigInt({ min: -(2n ** 40n), max: 2n ** 40n }) }),
  fc.record({
    type: fc.constant('char' as const),
    value: fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 1 })
      .map((text) => String.fromCodePoint(text.codePointAt(0)!)),
  }),
  fc.record({ type: fc.constant('symbol' as const), value: fc.string({ unit: 'grapheme-ascii', maxLength: 20 }) }),
  fc.record({ type: fc.constant('uuid' as const), value: octets(16) }),
  fc.record({ type: fc.constant('decimal32' as const), value: octets(4) }),
  fc.record({ type: fc.constant('decimal64' as const), value: octets(8) }),
  fc.record({ type: fc.constant('decimal128' as const), value: octets(16) }),
);

const headerName = fc.oneof(
  text(12).filter((each) => !each.includes('\0')),
  fc.constantFrom(
    '',
    'priority',
    'content-type',
    'correlation-id',
    'reply-to',
    'message-id',
    'amqp-message-id',
    'destination',
    'receipt',
    'persistent',
    'expires',
    'x-rosetta-h.priority',
    'a=b,c%d',
    'a:b\r\nc\\d',
    'timestamp',
    'k'.repeat(255),
    'k'.repeat(256),
    'n\0l',
    'x-rosetta-h.x-rosetta-h.type',
    'x-rosetta-h.mine',
    'x-correlation-id',
    'x-message-id',
    'x-subject',
    'x-group-sequence',
    'x-group-id',
    'JMSXGroupID',
    'JMSXGroupSeq',
    'x-mqtt-payload-format',
    'x-mqtt-retain',
    'x-reply-to-topic',
    'CC',
    'BCC',
    'x-rosetta-h.CC',
    'x-rosetta-h.BCC',
    'x-opt-mine',
    'x-opt-app-id',
    'x-opt-mqtt-retain',
    'timestamp_in_ms',
    'correlation-data',
    'content-length',
    'subscription',
    'ack',
    'é'.repeat(127),
    'é'.repeat(128),
    '\udcff',
    '__proto__',
    'constructor',
  ),
);

const { value } = fc.letrec<{ value: Value; map: Headers }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    text(20),
    fc.constantFrom('', 'a\0b', ' padded ', 'line\nfeed\r', 'true', '5', '\udcff', 'x'.repeat(255), 'é'.repeat(128)),
    fc.uint8Array({ maxLength: 20 }).map((octets) => Buffer.from(octets)),
    number,
    fc.array(tie('value'), { maxLength: 3 }),
    tie('map'),
  ),
  map: fc.array(fc.tuple(text(8), tie('value')), { maxLength: 3 }).map((entries) => new Map(entries)),
}));

const headers = (values: fc.Arbitrary<Value>): fc.Arbitrary<Headers> =>
  fc.array(fc.tuple(headerName, values), { maxLength: 6 }).map((entries) => new Map(entries));

/** Application properties are simple values; an annotation may be anything. */
const simple: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  text(20),
  fc.constantFrom('', 'a\0b', ' padded ', 'line\nfeed\r', 'true', '5'),
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  number.filter(({ type }) => type !== 'decimal'),
  foreign,
);
const annotationName = fc.constantFrom('x-opt-a', 'x-opt-b', 'x-opt-rosetta.x-other', 'x-mqtt-client-id');
const escapedName = fc.constantFrom('x-rosetta-h.x-opt-a', 'x-rosetta-h.x-mqtt-retain', 'x-rosetta-h.mine');
const id = fc.oneof(
  text(300),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  fc.record({ type: fc.constant('ulong' as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
  fc.record({ type: fc.constant('uuid' as const), value: octets(16) }),
);

const short = text(40).filter((each) => !each.includes('\0'));
/** Octets that are not UTF-8, as 0-9-1's short strings and STOMP's lines may have them. */
const rough = fc.oneof(short, fc.constantFrom('\udcff', 'a\udc80b'));
/** Some are longer than a short string of 0-9-1. */
const long = fc.oneof(short, fc.constant('é'.repeat(128)));

/** What no other protocol has a word for: a footer, an expiry by the clock, annotations that are described or arrays. */
const residue = fc
  .record({ footer: fc.boolean(), expiry: fc.boolean(), array: fc.boolean(), delivery: fc.boolean() })
  .map(({ footer, expiry, array, delivery }) =>
    Buffer.concat([
      footer ? encodeShape('data', [], section(0x78, new AmqpMap([[symbol('x-opt-crc'), uint(7)]]))) : Buffer.alloc(0),
      delivery ? section(0x71, new AmqpMap([[symbol('x-opt-hop'), true]])) : Buffer.alloc(0),
      array ? section(0x72, new AmqpMap([[symbol('x-opt-array'), new AmqpArray(['a', 'b'])]])) : Buffer.alloc(0),
      expiry ? section(0x73, [...Array(8).fill(null), { type: 'timestamp', value: 5n }]) : Buffer.alloc(0),
    ]),
  )
  .filter((octets) => octets.length > 0)
  .map((octets) => `a${octets.toString('base64url')}`);

/** What a publisher of each protocol can say; an absent field is absent. */
export const published: Record<Name, fc.Arbitrary<Properties>> = {
  '091': fc.record(
    {
      contentType: rough,
      contentEncoding: rough,
      correlationId: rough,
      messageId: rough,
      priority: fc.integer({ min: 0, max: 255 }),
      timestampMs: fc.oneof(fc.integer({ min: 0, max: 2 ** 40 }), fc.constantFrom(2 ** 53 - 1, 2 ** 63 * 1000)),
      userId: short,
      appId: rough,
      type: rough,
      textPayload: fc.boolean(),
      subject: text(300),
      groupSequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      headers: headers(value),
    },
    { requiredKeys: ['headers'] },
  ),
  '1.0': fc.record(
    {
      contentType: long,
      contentEncoding: long,
      messageId: id,
      correlationId: id,
      priority: fc.integer({ min: 0, max: 255 }),
      timestampMs: fc.integer({ min: 0, max: 2 ** 40 }),
      userId: short,
      appId: long,
      type: long,
      subject: text(300),
      to: text(40),
      groupId: text(40),
      groupSequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      replyToGroupId: text(40),
      textPayload: fc.boolean(),
      headers: fc
        .array(
          fc.oneof(
            fc.tuple(fc.oneof(headerName, escapedName), simple),
            fc.tuple(annotationName, fc.oneof(simple, value)),
            fc.tuple(fc.constant('x-rosetta-residue'), residue),
          ),
          { maxLength: 6 },
        )
        .map((entries) => new Map(entries)),
    },
    { requiredKeys: ['headers'] },
  ),
  M5: fc.record(
    {
      contentType: long,
      textPayload: fc.boolean(),
      correlationId: fc.oneof(
        short,
        fc.uint8Array({ maxLength: 300 }).map((octets) => Buffer.concat([Buffer.from([0xff]), octets])),
      ),
      contentEncoding: long,
      messageId: id,
      priority: fc.integer({ min: 0, max: 255 }),
      timestampMs: fc.integer({ min: 0, max: 2 ** 40 }),
      appId: long,
      type: long,
      subject: text(300),
      groupId: text(40),
      groupSequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      headers: headers(fc.oneof(short, value)),
    },
    { requiredKeys: ['headers'] },
  ),
  ST: fc.record(
    {
      contentType: fc.oneof(long, rough),
      contentEncoding: fc.oneof(long, rough),
      correlationId: fc.oneof(id, rough),
      messageId: fc.oneof(id, rough),
      priority: fc.integer({ min: 0, max: 9 }),
      timestampMs: fc.integer({ min: 0, max: 2 ** 40 }),
      textPayload: fc.boolean(),
      appId: fc.oneof(long, rough),
      type: fc.oneof(long, rough),
      subject: text(300),
      groupId: text(40),
      groupSequence: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      headers: headers(fc.oneof(rough, value)),
    },
    { requiredKeys: ['headers'] },
  ),
};
