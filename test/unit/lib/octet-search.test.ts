import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OctetSearch } from '../../../src/lib/octet-search.ts';

const octets = fc.stringMatching(/^[ab]{0,24}$/);

test('a text is found where the runtime finds it', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[ab]{1,5}$/), octets, octets, octets, (text, before, within, after) => {
      const bytes = Buffer.from(before + within + after);
      const end = before.length + within.length;
      expect(new OctetSearch(text).isIn(bytes, before.length, end)).toBe(within.includes(text));
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['at the beginning', 'x-mqtt-retain:true\n', true],
  ['at the end', 'a:b\nx-mqtt-retain', true],
  ['cut by the end', 'a:b\nx-mqtt-retai', false],
  ['behind its own beginning', 'x-mqtx-mqtt-retain', true],
  ['in other octets', '\xff\x00x-mqtt-retain\xff', true],
  ['in nothing', '', false],
])('a name %s', (_, text, found) => {
  const bytes = Buffer.from(text, 'latin1');
  expect(new OctetSearch('x-mqtt-retain').isIn(bytes, 0, bytes.length)).toBe(found);
});
