import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Retained } from '../../../src/core/retained.ts';
import { anyWord, anyWords, matches, type Pattern, parsePattern, wordsOf } from '../../../src/core/topic.ts';
import { createMessage } from '../../support/core.ts';

function retaining(keys: Iterable<string>): Retained {
  const retained = new Retained('/', null, { countMax: 1000, bodyBytesMax: 1000 });
  for (const key of keys) retained.set(createMessage('x', { key }));
  return retained;
}

const keysOf = (messages: readonly { readonly routingKey: string }[]) => messages.map((each) => each.routingKey).sort();

const word = fc.constantFrom('a', 'b', '');
const key = fc
  .array(word, { minLength: 1, maxLength: 5 })
  .map((words) => words.join('.'))
  .filter((text) => text !== '');
const token = fc.oneof(word, fc.constant(anyWord), fc.constant(anyWords));

test('agrees with matching one pattern at a time, after any keeping and clearing', () => {
  const pattern = fc.array(token, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(fc.uniqueArray(key), fc.nat(5), pattern, (keys, cleared, tokens) => {
      const retained = retaining(keys);
      for (const each of keys.slice(0, cleared)) retained.clear(each);
      const expected = keys.slice(cleared).filter((each) => matches(tokens, wordsOf(each)));
      expect(keysOf(retained.matchBinding(tokens, 0))).toEqual(expected.sort());
      expect(retained.count).toBe(Math.max(0, keys.length - cleared));
    }),
    { numRuns: 500 },
  );
});

test('[MQTT-4.7.2-1] wildcards of filters do not see a leading $, those of bindings do', () => {
  const retained = retaining(['$SYS.a', 'b.a']);
  const patterns: Pattern[] = [[anyWords], [anyWord, 'a'], [anyWord, anyWords]];
  for (const pattern of patterns) {
    expect(keysOf(retained.match(pattern, 0))).toEqual(['b.a']);
    expect(keysOf(retained.matchBinding(pattern, 0))).toEqual(['$SYS.a', 'b.a']);
  }
  expect(keysOf(retained.match(['$SYS', anyWords], 0))).toEqual(['$SYS.a']);
});

test('a topic of 65,536 words is no deep recursion', () => {
  const deep = new Array<string>(65_536).fill('a').join('.');
  const retained = retaining([deep]);
  for (const pattern of ['#', `${deep}.#`, new Array<string>(65_536).fill('*').join('.')]) {
    expect(keysOf(retained.matchBinding(parsePattern(pattern), 0))).toEqual([deep]);
  }
  retained.clearAll();
  expect(retained.count).toBe(0);
});

test('many # in one pattern do not take words to their number of steps', () => {
  const retained = retaining([new Array<string>(200).fill('a').join('.')]);
  const pattern = new Array<string>(20).fill('#.a').join('.');
  expect(retained.matchBinding(parsePattern(pattern), 0)).toHaveLength(1);
  expect(retained.matchBinding(parsePattern(`${pattern}.b`), 0)).toEqual([]);
});
