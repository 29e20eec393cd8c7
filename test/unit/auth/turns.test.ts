import { expect, test } from 'vitest';
import { Turns } from '../../../src/auth/turns.ts';

test('so many at a time; addresses take turns, and each is served in its own order', async () => {
  const turns = new Turns(1);
  const begun: string[] = [];
  const ends: (() => void)[] = [];
  const work = (name: string) => () => {
    begun.push(name);
    return new Promise<void>((resolve) => ends.push(resolve));
  };
  const all = ['a1', 'a2', 'a3', 'b1', 'c1', 'b2'].map((name) => turns.take(name.slice(0, 1), work(name)));
  expect(begun).toEqual(['a1']);
  expect(turns.waiting).toBe(5);
  for (let i = 0; i < all.length; i++) {
    ends[i]!();
    await Promise.race(all.slice(i));
    await new Promise(setImmediate);
  }
  expect(begun).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2']);
  expect(turns.waiting).toBe(0);
});

test('a turn that fails is handed on', async () => {
  const turns = new Turns(1);
  const failing = turns.take('a', () => Promise.reject(new Error('no')));
  const next = turns.take('a', async () => 'next');
  await expect(failing).rejects.toThrow('no');
  expect(await next).toBe('next');
});
