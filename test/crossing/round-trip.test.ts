import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MessageFormat } from '../../src/core/format.ts';
import { conversionLosses } from '../../src/core/losses.ts';
import type { Properties, Value } from '../../src/core/properties.ts';
import { amqp091Format } from '../../src/protocols/amqp091/message.ts';
import { Reader } from '../../src/protocols/mqtt/decode.ts';
import { mqtt5Format, publishProperties } from '../../src/protocols/mqtt/message.ts';
import { PropertyWriter, readProperties } from '../../src/protocols/mqtt/properties.ts';
import { createMessage, formats, type Name, published } from '../support/messages.ts';

/**
 * The round trip: published in P, published again in Q exactly as a consumer there received it, the consumer in P sees
 * the original's properties and headers, with their types, and absent what was absent.
 */

function cross(properties: Properties, from: MessageFormat, to: MessageFormat): Properties {
  const source = createMessage(from, Buffer.alloc(0));
  const message = createMessage(to, to.encode(properties, source));
  return message.properties;
}

/** Durability is not part of the law: each protocol says it in its own way. */
function comparable({ durable: _durable, ...rest }: Properties): object {
  return { ...rest, headers: new Map([...rest.headers].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

const pairs = (Object.keys(formats) as Name[]).flatMap((p) =>
  (Object.keys(formats) as Name[]).filter((q) => q !== p).map((q) => [p, q] as const),
);

describe('what a consumer elsewhere publishes again exactly as it received it comes back as it was', () => {
  test.each(pairs)(
    '%s → %s → back',
    (p, q) => {
      const numRuns = Number(process.env['ROUND_TRIPS'] ?? 500);
      fc.assert(
        fc.property(published[p], (said) => expectBack(said, p, q)),
        { numRuns },
      );
    },
    600_000,
  );

  test.each<[Name, Name, string, Properties]>([
    ['091', '1.0', 'CC with octets that are no text', { headers: new Map([['CC', ['\udcff']]]) }],
    [
      'ST',
      '1.0',
      'a list under the escaped name of CC, and text under CC',
      {
        headers: new Map<string, Value>([
          ['x-rosetta-h.CC', []],
          ['CC', '5'],
        ]),
      },
    ],
  ])('%s → %s → back: %s', (p, q, _, said) => expectBack(said, p, q));
});

function expectBack(said: Properties, p: Name, q: Name): void {
  // what P's own codec makes of it is what its consumers would see
  const original = cross(said, formats[q], formats[p]);
  const there = cross(original, formats[p], formats[q]);
  const back = cross(there, formats[q], formats[p]);
  expect(comparable(back)).toEqual(comparable(original));
}

/** Lines of user properties or headers as they stand in the native octets. */
const repeating = fc.array(
  fc.oneof(
    fc.tuple(fc.constantFrom('a', 'b', 'c', 'x-subject', 'x-rosetta-h.a'), fc.constantFrom('1', '2', 'é')),
    fc.tuple(fc.constant('priority'), fc.constantFrom('1', '2')), // a SEND with another one is refused
  ),
  { minLength: 1, maxLength: 8 },
);

function linesOf(native: Buffer, format: MessageFormat): readonly (readonly [string, string])[] {
  if (format === mqtt5Format) {
    return readProperties(new Reader(native, 0, native.length), publishProperties).userProperties;
  }
  const lines = native.toString('utf8').split('\n').slice(0, -1);
  return lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const);
}

function nativeOf(lines: readonly (readonly [string, string])[], format: MessageFormat): Buffer {
  if (format !== mqtt5Format) return Buffer.from(lines.map(([name, text]) => `${name}:${text}\n`).join(''), 'utf8');
  const writer = new PropertyWriter();
  for (const [name, text] of lines) writer.pair(name, text);
  return writer.end();
}

describe('names that repeat come back in their order', () => {
  test.each(pairs.filter(([p]) => p === 'M5' || p === 'ST'))('%s → %s → back', (p, q) => {
    fc.assert(
      fc.property(repeating, (lines) => {
        // the first of a name counts, and a SEND with such a priority is refused
        fc.pre(p !== 'ST' || lines.find(([name]) => name === 'priority')?.[1] !== 'é');
        const [from, to] = [formats[p], formats[q]];
        const published = createMessage(from, nativeOf(lines, from));
        const there = createMessage(to, published.as(to));
        const back = linesOf(there.as(from), from).filter(([name]) => name !== 'persistent');
        const repeats = new Set(lines.map(([name]) => name)).size < lines.length;
        if (repeats) expect(back).toEqual(lines);
        else expect([...back].sort()).toEqual([...lines].sort());
      }),
    );
  });
});

test('what finds no room in the residue is counted, and a message that loses nothing counts nothing', () => {
  const count = () => [...conversionLosses.all()].map(({ from, to, field, count }) => [from, to, field, count]);
  const before = count();
  const fits = createMessage(
    mqtt5Format,
    nativeOf(
      [
        ['a', '1'],
        ['a', '2'],
      ],
      mqtt5Format,
    ),
  );
  fits.as(amqp091Format);
  expect(count()).toEqual(before);
  const tooMuch = createMessage(
    mqtt5Format,
    nativeOf(
      [
        ['a', '1'],
        ['a', 'x'.repeat(5000)],
      ],
      mqtt5Format,
    ),
  );
  tooMuch.as(amqp091Format);
  tooMuch.as(amqp091Format);
  expect(count()).toEqual([...before, ['mqtt-5', 'amqp-0-9-1', 'repeats', 1]]);
});
