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
