import { describe, expect, test } from 'vitest';
import { HttpError } from '../../../src/management/errors.ts';
import { type ListQuery, list } from '../../../src/management/listing.ts';

interface Thing {
  readonly name: string;
  readonly size?: number;
  readonly deep?: { readonly value: number };
}

const things: Thing[] = [
  { name: 'c', size: 1, deep: { value: 9 } },
  { name: 'a', size: 10 },
  { name: 'B', size: 2 },
];

function names(query: ListQuery): string[] {
  const found = list(
    things,
    ({ name }) => name,
    (thing) => ({ ...thing }),
    query,
  );
  return ('items' in found ? found.items : found).map(({ name }) => String(name));
}

describe('order', () => {
  test('is by name', () => expect(names({})).toEqual(['B', 'a', 'c']));
  test('or by a field, numbers as numbers', () => expect(names({ sort: 'size' })).toEqual(['c', 'B', 'a']));
  test('or by a field inside, what lacks it first', () => expect(names({ sort: 'deep.value' }).at(-1)).toBe('c'));
  test('or backward', () => expect(names({ sort: 'size', sort_reverse: 'true' })).toEqual(['a', 'B', 'c']));
});

describe('names', () => {
  test('are filtered by a part of them, in any case', () => expect(names({ name: 'b' })).toEqual(['B']));
  test('or by a pattern', () => expect(names({ name: '^[ac]$', use_regex: 'true' })).toEqual(['a', 'c']));
  test('a pattern that is none is refused', () => {
    expect(() => names({ name: '(', use_regex: 'true' })).toThrow(HttpError);
  });
  test('so is one that goes back and forth over a name for ever', () => {
    const longNamed = [{ name: `${'a'.repeat(60)}!` }];
    const query = { name: '^(a+)+$', use_regex: 'true' };
    const show = (thing: { name: string }) => thing;
    expect(() => list(longNamed, ({ name }) => name, show, query)).toThrow(HttpError);
  });
});

describe('pages', () => {
  test('say how many there are in all, filtered and shown', () => {
    const show = ({ name }: Thing): { name: string } => ({ name });
    expect(list(things, ({ name }) => name, show, { page: '2', page_size: '2' })).toEqual({
      filtered_count: 3,
      item_count: 1,
      items: [{ name: 'c' }],
      page: 2,
      page_count: 2,
      page_size: 2,
      total_count: 3,
    });
  });

  test('only what is on the page is made', () => {
    const shown: string[] = [];
    const show = ({ name }: Thing): { name: string } => {
      shown.push(name);
      return { name };
    };
    list(things, ({ name }) => name, show, { page: '1', page_size: '1' });
    expect(shown).toEqual(['B']);
  });

  test('nothing is one empty page', () => {
    expect(list([], null, () => ({}), { page: '1' })).toMatchObject({ items: [], page_count: 1 });
  });

  test.each([
    ['0', '1'],
    ['1', '0'],
    ['1', '501'],
    ['4', '1'],
    ['x', '1'],
    ['1.5', '1'],
  ])('page %s of %s is refused', (page, page_size) => {
    expect(() => names({ page, page_size })).toThrow(HttpError);
  });
});

test.each(['__proto__.toString', 'constructor.name', 'toString'])('the column %s is none of the item', (columns) => {
  expect(list(things.slice(0, 1), null, (thing) => ({ ...thing }), { columns })).toEqual([{}]);
});

test('columns pick fields, inside too', () => {
  const show = (thing: Thing): Record<string, unknown> => ({ ...thing, 'odd.name': 1 });
  expect(list(things.slice(0, 1), null, show, { columns: 'size,deep.value,odd.name,none' })).toEqual([
    { size: 1, deep: { value: 9 }, odd: { name: 1 } },
  ]);
});
