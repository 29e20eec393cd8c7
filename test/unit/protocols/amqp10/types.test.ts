import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TypedValue } from '../../../../src/core/properties.ts';
import { AmqpError } from '../../../../src/protocols/amqp10/errors.ts';
import {
  AmqpArray,
  AmqpMap,
  type Any,
  Decoder,
  Described,
  encodeValue,
  skipValue,
  symbol,
  uint,
} from '../../../../src/protocols/amqp10/types.ts';
import { types as rhea } from '../../../support/rhea-codec.ts';

const octets = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => Buffer.from(bytes));
const text = fc.string({ unit: 'grapheme', maxLength: 300 }).filter((each) => each.isWellFormed());
const ascii = fc.string({ unit: 'grapheme-ascii', maxLength: 300 });

const scalar: fc.Arbitrary<Any> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  text,
  ascii.map(symbol),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc.integer({ min: 0, max: 255 }).map((value): TypedValue => ({ type: 'ubyte', value })),
  fc.integer({ min: -128, max: 127 }).map((value): TypedValue => ({ type: 'byte', value })),
  fc.integer({ min: 0, max: 65_535 }).map((value): TypedValue => ({ type: 'ushort', value })),
  fc.integer({ min: -32_768, max: 32_767 }).map((value): TypedValue => ({ type: 'short', value })),
  fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 32 - 1 })).map(uint),
  fc.oneof(fc.integer({ min: -200, max: 200 }), fc.integer()).map((value): TypedValue => ({ type: 'int', value })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value): TypedValue => ({ type: 'ulong', value })),
  fc.bigInt({ min: 0n, max: 300n }).map((value): TypedValue => ({ type: 'ulong', value })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value): TypedValue => ({ type: 'long', value })),
  fc.bigInt({ min: -200n, max: 200n }).map((value): TypedValue => ({ type: 'long', value })),
  fc.float({ noNaN: true }).map((value): TypedValue => ({ type: 'float', value })),
  fc.double({ noNaN: true }).map((value): TypedValue => ({ type: 'double', value })),
  fc.bigInt({ min: -(2n ** 50n), max: 2n ** 50n }).map((value): TypedValue => ({ type: 'timestamp', value })),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).map((value): TypedValue => ({ type: 'char', value })),
  octets(16).map((value): TypedValue => ({ type: 'uuid', value })),
  octets(4).map((value): TypedValue => ({ type: 'decimal32', value })),
  octets(8).map((value): TypedValue => ({ type: 'decimal64', value })),
  octets(16).map((value): TypedValue => ({ type: 'decimal128', value })),
);

// rhea forgets a descriptor that is the empty symbol, and one directly within another
const plain = (each: Any) => (each instanceof Described ? [each] : each);
const valuesWith = (array: (item: fc.Arbitrary<Any>) => fc.Arbitrary<AmqpArray>) =>
  fc.letrec<{ value: Any }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.array(fc.tuple(scalar, tie('value')), { maxLength: 3 }).map((pairs) => new AmqpMap(pairs)),
      fc
        .tuple(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), tie('value'))
        .map(([code, each]) => new Described(code, plain(each))),
      fc
        .tuple(
          ascii.filter((each) => each !== ''),
          tie('value'),
        )
        .map(([name, each]) => new Described(name, plain(each))),
      fc.array(text, { minLength: 1, maxLength: 4 }).map((items) => new AmqpArray(items)),
      fc.array(ascii.map(symbol), { minLength: 1, maxLength: 4 }).map((items) => new AmqpArray(items)),
      fc
        .array(fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(uint), { minLength: 1, maxLength: 4 })
        .map((items) => new AmqpArray(items)),
      array(tie('value')),
    ),
  })).value;

const arrayOfLists = (item: fc.Arbitrary<Any>) =>
  fc.array(fc.array(item, { maxLength: 3 }), { minLength: 1, maxLength: 3 }).map((items) => new AmqpArray(items));
const value = valuesWith(arrayOfLists);
/** rhea cannot write an array of lists again. */
const rheaValue = valuesWith(() => fc.array(text, { minLength: 1 }).map((items) => new AmqpArray(items)));

const numRuns = Number(process.env['CODEC_RUNS'] ?? 1000);

describe('the codec', () => {
  test('[1.0 §1.6-1] reads what it writes', () => {
    fc.assert(
      fc.property(value, (said) => {
        const bytes = encodeValue(said);
        expect(new Decoder(bytes).read()).toEqual(said);
        expect(skipValue(bytes, 0, bytes.length)).toBe(bytes.length);
      }),
      { numRuns },
    );
  });

  test('[1.0 §1.2-1] [1.0 §1.2-2] writes what rhea reads, and reads what rhea writes', () => {
    fc.assert(
      fc.property(rheaValue, (said) => {
        const bytes = encodeValue(said);
        const reader = new rhea.Reader(bytes);
        const theirs = reader.read();
        expect(reader.remaining()).toBe(0);
        const writer = new rhea.Writer();
        writer.write(theirs);
        expect(new Decoder(writer.toBuffer()).read()).toEqual(said);
      }),
      { numRuns },
    );
  });

  test('[1.0 §1.6-2] cut at any octet a value is a decode-error, and nothing else', () => {
    fc.assert(
      fc.property(value, (said) => {
        const bytes = encodeValue(said);
        for (let end = 0; end < bytes.length; end++) {
          expect(() => new Decoder(bytes, 0, end).read()).toThrow(AmqpError);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('octets at random are a value or a decode-error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (random) => {
        try {
          new Decoder(Buffer.from(random)).read();
        } catch (error) {
          expect(error).toBeInstanceOf(AmqpError);
        }
      }),
      { numRuns: 10 * numRuns },
    );
  });

  test('one octet changed at random is a value or a decode-error', () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 0, max: 255 }), (said, at, octet) => {
        const bytes = encodeValue(said);
        bytes[at % bytes.length] = octet;
        try {
          new Decoder(bytes).read();
        } catch (error) {
          expect(error).toBeInstanceOf(AmqpError);
        }
      }),
      { numRuns },
    );
  });
});

describe('announced sizes take no memory', () => {
  test.each([
    ['a list of 2^32 items', 'd0ffffffffffffffff'],
    ['a list of 2^32 items in eight octets', 'd000000008ffffffff40404040'],
    ['a binary of 4 GiB', 'b0ffffffff00'],
    ['an array of 2^32 nulls', 'f000000005ffffffff40'],
    ['an array of 2^32 empty lists', 'f000000005ffffffff45'],
    ['a map with a key and no value', 'c1020140'],
    ['a described value without a value', '0053'],
    ['a described descriptor', '000053014040'],
    ['an array of an unknown type', 'e0020130'],
    ['a boolean of octet 2', '5602'],
  ])('%s', (_name, hex) => {
    expect(() => new Decoder(Buffer.from(hex, 'hex')).read()).toThrow(AmqpError);
  });

  test('values nested a million times', () => {
    expect(() => new Decoder(Buffer.alloc(1_000_000)).read()).toThrow(AmqpError);
    const described = Buffer.alloc(1_000_000);
    for (let i = 0; i < described.length; i += 2) described[i + 1] = 0x44;
    expect(() => new Decoder(described).read()).toThrow(AmqpError);
    let nested = encodeValue(null);
    for (let i = 0; i < 100; i++)
      nested = Buffer.concat([Buffer.from([0xd0, 0, 0, 0, nested.length + 4, 0, 0, 0, 1]), nested]);
    expect(() => new Decoder(nested).read()).toThrow(AmqpError);
  });
});

describe('the specification’s own examples', () => {
  test.each<[string, Any, string]>([
    ['null', null, '40'],
    ['true, the short form', true, '41'],
    ['uint 0', uint(0), '43'],
    ['uint 255', uint(255), '52ff'],
    ['uint 256', uint(256), '7000000100'],
    ['the empty list', [], '45'],
    ['a string', 'Glorious Messaging', `a112${Buffer.from('Glorious Messaging').toString('hex')}`],
    ['int −1', { type: 'int', value: -1 }, '54ff'],
    ['a described list', new Described(0x24n, []), '00532445'],
    ['a described value within another', new Described(1n, new Described(2n, null)), '00530100530240'],
  ])('%s', (_name, said, hex) => {
    expect(encodeValue(said).toString('hex')).toBe(hex);
    expect(new Decoder(Buffer.from(hex, 'hex')).read()).toEqual(said);
  });
});
