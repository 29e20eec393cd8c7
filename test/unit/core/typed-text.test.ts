import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Headers, TypedValue, Value } from '../../../src/core/properties.ts';
import { headersFromJson, headersToJson, read, spell } from '../../../src/core/typed-text.ts';

const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n };

const typed: fc.Arbitrary<TypedValue> = fc.oneof(
  fc.record({ type: fc.constant('byte' as const), value: fc.integer({ min: -128, max: 127 }) }),
  fc.record({ type: fc.constant('ushort' as const), value: fc.integer({ min: 0, max: 65_535 }) }),
  fc.record({ type: fc.constant('int' as const), value: fc.integer() }),
  fc.record({ type: fc.constant('long' as const), value: fc.bigInt(int64) }),
  fc.record({ type: fc.constant('timestamp' as const), value: fc.bigInt(int64) }),
  fc.record({ type: fc.constant('float' as const), value: fc.float() }),
  fc.record({ type: fc.constant('double' as const), value: fc.double() }),
  fc.record({
    type: fc.constant('decimal' as const),
    scale: fc.integer({ min: 0, max: 255 }),
    value: fc.integer(),
  }),
  fc.record({
    type: fc.constant('uuid' as const),
    value: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((octets) => Buffer.from(octets)),
  }),
  fc.record({ type: fc.constant('symbol' as const), value: fc.string() }),
);

const name = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constantFrom('1', '0', '__proto__', 'l', 'json', ''));

const { value } = fc.letrec<{ value: Value; map: Headers }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array().map((octets) => Buffer.from(octets)),
    typed,
    fc.array(tie('value'), { maxLength: 4 }),
    tie('map'),
  ),
  map: fc.array(fc.tuple(name, tie('value')), { maxLength: 4 }).map((entries) => new Map(entries)),
}));

describe('values as text', () => {
  test('every value comes back from its text and letter, with its type', () => {
    fc.assert(
      fc.property(value, (original) => {
        const { text, letter } = spell(original);
        expect(read(text, letter)).toEqual(original);
      }),
      { numRuns: 2000 },
    );
  });

  test('the letters do not meet what separates them in the companion header', () => {
    fc.assert(fc.property(value, (original) => !/[,=%]/.test(spell(original).letter)));
  });

  test('a table reads as the JSON that one would write', () => {
    const table = new Map<string, Value>([
      ['n', { type: 'byte', value: 5 }],
      ['big', { type: 'long', value: 2n ** 60n + 1n }],
      ['list', ['two', { type: 'double', value: 0.5 }]],
      ['blob', Buffer.from('x')],
    ]);
    expect(spell(table)).toEqual({
      text: '{"n":5,"big":"1152921504606846977","list":["two",0.5],"blob":"eA=="}',
      letter: 'json(b.l.-.d.b64)',
    });
    expect(spell(['a', true, null])).toEqual({ text: '["a",true,null]', letter: 'json' });
  });

  test('JSON of somebody else has longs and doubles; what is no JSON stays text', () => {
    expect(read('{"a":1,"b":0.5}', 'json')).toEqual(
      new Map<string, Value>([
        ['a', { type: 'long', value: 1n }],
        ['b', { type: 'double', value: 0.5 }],
      ]),
    );
    expect(read('{broken', 'json')).toBe('{broken');
  });

  test.each([
    ['***', 'b64'],
    ['YQ=', 'b64'],
    ['yes', 't'],
    ['something', 'V'],
    ['%', 'S64'],
  ])('%j, said to be %s, stays text', (text, letter) => expect(read(text, letter)).toBe(text));

  test('so does JSON nested deeper than the tables of AMQP may be: its clients read them by calls within calls', () => {
    const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
    expect(read(nested(64), 'json')).toEqual(JSON.parse(nested(64)));
    for (const levels of [65, 1000, 30_000]) expect(read(nested(levels), 'json')).toBe(nested(levels));
  });

  test('arguments keep their types in the journal', () => {
    const args: Headers = new Map<string, Value>([
      ['x-max-length', { type: 'long', value: 10n }],
      ['x-overflow', 'drop-head'],
    ]);
    expect(headersFromJson(JSON.parse(JSON.stringify(headersToJson(args))))).toEqual(args);
  });
});
