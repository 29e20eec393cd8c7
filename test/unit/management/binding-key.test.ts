import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { propertiesKey } from '../../../src/management/binding-key.ts';

const none = new Map();

test.each([
  ['', '~'],
  ['k', 'k'],
  ['a.*.b', 'a.%2A.b'],
  ['z.#', 'z.%23'],
  ['r/1', 'r%2F1'],
  ['two words', 'two+words'],
  ['~', '%7E'],
])('the key %j without arguments is %s', (key, name) => {
  expect(propertiesKey(key, none)).toBe(name);
});

test('arguments are a hash behind ~, whatever their order', () => {
  const entries: [string, Value][] = [
    ['a', 'x'],
    ['b', true],
  ];
  const one = propertiesKey('k', new Map(entries));
  const other = propertiesKey('k', new Map(entries.toReversed()));
  expect(one).toMatch(/^k~[\w-]{6}$/);
  expect(other).toBe(one);
  expect(propertiesKey('', new Map([['a', 'x']]))).toMatch(/^~[\w-]{6}$/);
});

test('two routing keys have two names', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      fc.pre(a !== b && a.isWellFormed() && b.isWellFormed());
      expect(propertiesKey(a, none)).not.toBe(propertiesKey(b, none));
    }),
  );
});
