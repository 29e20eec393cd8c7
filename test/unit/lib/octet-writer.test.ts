import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeText, encodeText, internText } from '../../../src/lib/bytes.ts';
import { OctetWriter } from '../../../src/lib/octet-writer.ts';

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 100 }).filter((each) => each.isWellFormed()),
  fc.constantFrom('', 'a\udcffb', 'é'.repeat(60), 'x'.repeat(48), 'x'.repeat(49), 'x'.repeat(5000)),
);

test('what is written is what the runtime would write, however often the memory is used', () => {
  const out = new OctetWriter();
  fc.assert(
    fc.property(fc.array(text, { maxLength: 5 }), (texts) => {
      out.begin();
      const parts: Buffer[] = [];
      for (const each of texts) {
        const octets = encodeText(each);
        const [short, long] = [Buffer.alloc(2), Buffer.alloc(4)];
        short.writeUInt16BE(octets.length);
        long.writeUInt32BE(octets.length);
        parts.push(octets, short, octets, long, octets, Buffer.from([7]));
        out.text(each);
        out.text16(each);
        out.text32(each);
        out.u8(7);
      }
      expect(out.end()).toEqual(Buffer.concat(parts));
    }),
  );
});

test('an integer is written as its digits, and as eight octets', () => {
  const out = new OctetWriter();
  const edges = [0, 9, 10, 99, 100, 2 ** 32 - 1, 2 ** 32, 10 ** 15 - 1, 10 ** 15, Number.MAX_SAFE_INTEGER];
  const integer = fc.oneof(fc.constantFrom(...edges), fc.maxSafeNat());
  fc.assert(
    fc.property(integer, (value) => {
      const octets = Buffer.alloc(8);
      octets.writeBigUInt64BE(BigInt(value));
      out.begin();
      out.decimal(value);
      out.u64(value);
      expect(out.end()).toEqual(Buffer.concat([Buffer.from(String(value)), octets]));
    }),
    { numRuns: 1000 },
  );
});

test('what was returned is not written to again', () => {
  const out = new OctetWriter();
  out.begin();
  out.text('first');
  const first = out.end();
  out.begin();
  out.text('other');
  expect([first.toString(), out.end().toString()]).toEqual(['first', 'other']);
});

test('a name that comes again is the same text as decoded, also beside others of its hash', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 }), (names) => {
      for (const name of [...names, ...names]) {
        const octets = Buffer.from(name);
        expect(internText(octets, 0, octets.length)).toBe(decodeText(octets, 0, octets.length));
      }
    }),
  );
});
