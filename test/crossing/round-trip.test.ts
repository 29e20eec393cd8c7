import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MessageFormat } from '../../src/core/format.ts';
import { conversionLosses } from '../../src/core/losses.ts';
import { Message, noDeaths } from '../../src/core/message.ts';
import type { Headers, Properties, TypedValue, Value } from '../../src/core/properties.ts';
import { amqp10Format, encodeShape } from '../../src/protocols/amqp10/message.ts';
import { AmqpArray, AmqpMap, symbol, uint } from '../../src/protocols/amqp10/types.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { Reader } from '../../src/protocols/mqtt/decode.ts';
import { mqtt5Format, publishProperties } from '../../src/protocols/mqtt/message.ts';
import { PropertyWriter, readProperties } from '../../src/protocols/mqtt/properties.ts';
import { formats as stompFormats } from '../../src/protocols/stomp/message.ts';
import { section } from '../support/amqp10-peer.ts';

/**
 * The round trip: published in P, published again in Q exactly as a consumer there received it, the consumer in P sees
 * the original's properties and headers, with their types, and absent what was absent.
 */
const formats = { '091': amqp091Format, '1.0': amqp10Format, M5: mqtt5Format, ST: stompFormats.none['1.2'] };
type Name = keyof typeof formats;

function messageOf(format: MessageFormat, native: Buffer): Message {
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
  });
}

function cross(properties: Properties, from: MessageFormat, to: MessageFormat): Properties {
  const source = messageOf(from, Buffer.alloc(0));
  const message = messageOf(to, to.encode(properties, source));
  return message.properties;
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
    value: fc.bigInt({ min: 0n, max: 2n ** 40n }).map((seconds) => seconds * 1000n),
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
  text(12).filter((each) => each !== '' && !each.includes('\0')),
  fc.constantFrom(
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
  ),
);

const { value } = fc.letrec<{ value: Value; map: Headers }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    text(20),
    fc.constantFrom('', 'a\0b', ' padded ', 'line\nfeed\r', 'true', '5'),
    fc.uint8Array({ maxLength: 20 }).map((octets) => Buffer.concat([Buffer.from([0xff]), octets])),
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
const published: Record<Name, fc.Arbitrary<Properties>> = {
  '091': fc.record(
    {
      contentType: short,
      contentEncoding: short,
      correlationId: short,
      messageId: short,
      priority: fc.integer({ min: 0, max: 255 }),
      timestampMs: fc.integer({ min: 0, max: 2 ** 40 }),
      userId: short,
      appId: short,
      type: short,
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
      headers: headers(short),
    },
    { requiredKeys: ['headers'] },
  ),
  ST: fc.record(
    { contentType: long, correlationId: short, priority: fc.integer({ min: 0, max: 9 }), headers: headers(short) },
    { requiredKeys: ['headers'] },
  ),
};

/** Durability is not part of the law: each protocol says it in its own way. */
function comparable({ durable: _durable, ...rest }: Properties): object {
  return { ...rest, headers: new Map([...rest.headers].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

const pairs = (Object.keys(formats) as Name[]).flatMap((p) =>
  (Object.keys(formats) as Name[]).filter((q) => q !== p).map((q) => [p, q] as const),
);

describe('what a consumer elsewhere publishes again exactly as it received it comes back as it was', () => {
  test.each(pairs)(
    '%s → %s → back',
    (p, q) => {
      const numRuns = Number(process.env['ROUND_TRIPS'] ?? 500);
      fc.assert(
        fc.property(published[p], (said) => {
          // what P's own codec makes of it is what its consumers would see
          const original = cross(said, formats[q], formats[p]);
          const there = cross(original, formats[p], formats[q]);
          const back = cross(there, formats[q], formats[p]);
          expect(comparable(back)).toEqual(comparable(original));
        }),
        { numRuns },
      );
    },
    600_000,
  );
});

/** Lines of user properties or headers as they stand in the native octets. */
const repeating = fc.array(
  fc.tuple(fc.constantFrom('a', 'b', 'c', 'priority', 'x-subject', 'x-rosetta-h.a'), fc.constantFrom('1', '2', 'é')),
  { minLength: 1, maxLength: 8 },
);

function linesOf(native: Buffer, format: MessageFormat): readonly (readonly [string, string])[] {
  if (format === mqtt5Format) {
    return readProperties(new Reader(native, 0, native.length), publishProperties).userProperties;
  }
  const lines = native.toString('utf8').split('\n').slice(0, -1);
  return lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const);
}

function nativeOf(lines: readonly (readonly [string, string])[], format: MessageFormat): Buffer {
  if (format !== mqtt5Format) return Buffer.from(lines.map(([name, text]) => `${name}:${text}\n`).join(''), 'utf8');
  const writer = new PropertyWriter();
  for (const [name, text] of lines) writer.pair(name, text);
  return writer.end();
}

describe('names that repeat come back in their order', () => {
  test.each(pairs.filter(([p]) => p === 'M5' || p === 'ST'))('%s → %s → back', (p, q) => {
    fc.assert(
      fc.property(repeating, (lines) => {
        const [from, to] = [formats[p], formats[q]];
        const published = messageOf(from, nativeOf(lines, from));
        const there = messageOf(to, published.as(to));
        const back = linesOf(there.as(from), from).filter(([name]) => name !== 'persistent');
        const repeats = new Set(lines.map(([name]) => name)).size < lines.length;
        if (repeats) expect(back).toEqual(lines);
        else expect([...back].sort()).toEqual([...lines].sort());
      }),
    );
  });
});

test('what finds no room in the residue is counted, and a message that loses nothing counts nothing', () => {
  const count = () => [...conversionLosses.all()].map(({ from, to, field, count }) => [from, to, field, count]);
  const before = count();
  const fits = messageOf(
    mqtt5Format,
    nativeOf(
      [
        ['a', '1'],
        ['a', '2'],
      ],
      mqtt5Format,
    ),
  );
  fits.as(amqp091Format);
  expect(count()).toEqual(before);
  const tooMuch = messageOf(
    mqtt5Format,
    nativeOf(
      [
        ['a', '1'],
        ['a', 'x'.repeat(5000)],
      ],
      mqtt5Format,
    ),
  );
  tooMuch.as(amqp091Format);
  tooMuch.as(amqp091Format);
  expect(count()).toEqual([...before, ['mqtt-5', 'amqp-0-9-1', 'repeats', 1]]);
});
