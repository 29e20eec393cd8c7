import { expect, test } from 'vitest';
import { Rates } from '../../../src/management/rates.ts';

test('a rate is the growth between two requests, and the same for who asks at once again', () => {
  let nowMs = 10_000;
  const rates = new Rates(() => nowMs);
  const owner = {};
  expect(rates.detail(owner, { publish: 100 })).toEqual({ publish: 100, publish_details: { rate: 0 } });
  nowMs += 2000;
  expect(rates.detail(owner, { publish: 150 })).toEqual({ publish: 150, publish_details: { rate: 25 } });
  nowMs += 500;
  expect(rates.detail(owner, { publish: 990 })).toEqual({ publish: 990, publish_details: { rate: 25 } });
  expect(rates.detail({}, { publish: 150 })).toMatchObject({ publish_details: { rate: 0 } });
});

test('the first time a count is told as its average since it began, and one that begins anew is not below 0', () => {
  const rates = new Rates(() => 10_000);
  const owner = {};
  expect(rates.detail(owner, { publish: 100 }, 6000)).toEqual({ publish: 100, publish_details: { rate: 25 } });
  expect(rates.detail({}, { publish: 100 }, 10_000)).toMatchObject({ publish_details: { rate: 0 } });
  const later = new Rates(() => nowMs);
  let nowMs = 1000;
  later.detail(owner, { publish: 100, messages: 100 }, 0);
  nowMs = 2000;
  expect(later.detail(owner, { publish: 3 }, 0)).toMatchObject({ publish_details: { rate: 0 } });
  expect(later.within(owner, 1)).toBe(later.within(owner, 1));
  expect(later.within(owner, 2)).not.toBe(later.within(owner, 1));
});

test('what may go down has a rate below 0', () => {
  let nowMs = 1000;
  const rates = new Rates(() => nowMs);
  const owner = {};
  rates.detail(owner, { messages: 100 });
  nowMs = 2000;
  expect(rates.detail(owner, { messages: 40 })).toMatchObject({ messages_details: { rate: -60 } });
});
