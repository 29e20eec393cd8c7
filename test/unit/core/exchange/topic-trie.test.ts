import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TopicTrie } from '../../../../src/core/exchange/topic-trie.ts';
import { anyWord, anyWords, matches, parsePattern, showPattern, wordsOf } from '../../../../src/core/topic.ts';

function matching(patterns: readonly string[], key: string): string[] {
  const trie = new TopicTrie<string>();
  for (const pattern of patterns) trie.add(parsePattern(pattern), pattern);
  const found: string[] = [];
  trie.match(key, found);
  return found.sort();
}

describe('a topic trie', () => {
  test.each([
    ['a.b', ['a.b'], true],
    ['a.b', ['a.*'], true],
    ['a', ['a.*'], false],
    ['a', ['a.#'], true],
    ['a.b.c', ['a.#'], true],
    ['a.b.c', ['#.c'], true],
    ['', ['#'], true],
    ['', ['*'], false],
    ['a..b', ['a.*.b'], true],
    ['.', ['*.*'], true],
    ['a.b.a.b', ['#.a.#.b'], true],
    ['*', ['*'], true],
  ])('key %j and %j: %s', (key, patterns, expected) => {
    expect(matching(patterns, key)).toEqual(expected ? patterns : []);
  });

  test('a value is found once, however many ways lead to it', () => {
    expect(matching(['#.a.#', '#', '#.#', '#.*.#'], 'a.a.a')).toEqual(['#', '#.#', '#.*.#', '#.a.#']);
  });

  test('a literal * is a word, and listed as %2A', () => {
    const trie = new TopicTrie<string>();
    const pattern = ['a', '*', anyWord] as const;
    trie.add(pattern, 'found');
    const found: string[] = [];
    trie.match('a.x.y', found);
    expect(found).toEqual([]);
    trie.match('a.*.y', found);
    expect(found).toEqual(['found']);
    expect(showPattern(pattern)).toBe('a.%2A.*');
  });

  test('many # in one pattern do not take words to their number of steps', () => {
    const pattern = Array.from({ length: 20 }, () => '#.a').join('.');
    const key = Array.from({ length: 200 }, () => 'a').join('.');
    expect(matching([pattern], `${key}.b`)).toEqual([]);
    expect(matching([pattern], key)).toEqual([pattern]);
  });

  test('a key of 65,536 words against patterns as long is no deep recursion', () => {
    const patterns = ['*', 'a'].map((word) => new Array<string>(65_536).fill(word).join('.'));
    expect(matching(patterns, new Array<string>(65_536).fill('a').join('.'))).toEqual(patterns);
  });

  const word = fc.constantFrom('a', 'b', '');
  const token = fc.oneof(word, fc.constant(anyWord), fc.constant(anyWords));

  test('agrees with matching one pattern at a time, after any adding and removing', () => {
    const patterns = fc.uniqueArray(fc.array(token, { minLength: 1, maxLength: 5 }), {
      selector: (pattern) => JSON.stringify(pattern),
      maxLength: 12,
    });
    const keys = fc.array(fc.array(word, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(patterns, fc.nat(12), keys, (all, removed, each) => {
        const trie = new TopicTrie<number>();
        for (const [i, pattern] of all.entries()) trie.add(pattern, i);
        for (const [i, pattern] of all.slice(0, removed).entries()) trie.remove(pattern, i);
        for (const words of each) {
          const key = words.join('.');
          const found: number[] = [];
          trie.match(key, found);
          const expected = all.flatMap((pattern, i) => (i >= removed && matches(pattern, wordsOf(key)) ? [i] : []));
          expect(found.sort((a, b) => a - b)).toEqual(expected);
        }
      }),
      { numRuns: 500 },
    );
  });
});
