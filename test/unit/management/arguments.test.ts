import { expect, test } from 'vitest';
import { headersFromJson, headersToJson, toJson } from '../../../src/management/arguments.ts';
import { HttpError } from '../../../src/management/errors.ts';

test('JSON becomes longs, doubles, text, flags, lists and maps, and comes back', () => {
  const json = { long: 5, double: 1.5, text: 'x', flag: true, nothing: null, list: [1, 'y'], map: { deep: 2 } };
  const headers = headersFromJson(json);
  expect(headers.get('long')).toEqual({ type: 'long', value: 5n });
  expect(headers.get('double')).toEqual({ type: 'double', value: 1.5 });
  expect(headers.get('map')).toEqual(new Map([['deep', { type: 'long', value: 2n }]]));
  expect(headersToJson(headers)).toEqual(json);
});

test.each([
  ['a narrow number', { type: 'short', value: -3 } as const, -3],
  ['a timestamp, in seconds', { type: 'timestamp', value: 1_500_000_000_999n } as const, 1_500_000_000],
  ['a decimal', { type: 'decimal', value: 314, scale: 2 } as const, 3.14],
  ['text as octets', Buffer.from('häl'), 'häl'],
  ['octets that are no text, as base64', Buffer.from([0xff, 0]), '/wA='],
  ['a uuid', { type: 'uuid', value: Buffer.alloc(16, 1) } as const, '01'.repeat(16)],
])('%s is shown', (_what, value, shown) => {
  expect(toJson(value)).toEqual(shown);
});

test('what is nested deeper than 64 levels is refused', () => {
  const nested = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
  expect(headersToJson(headersFromJson({ deep: nested(64) }))).toEqual({ deep: nested(64) });
  for (const levels of [65, 100_000]) expect(() => headersFromJson({ deep: nested(levels) })).toThrow(HttpError);
});
