import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { MessageFormat } from '../../../src/core/format.ts';
import type { MessageFacts } from '../../../src/core/message.ts';
import { translatePlain } from '../../../src/core/plain-message.ts';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { encodeShape } from '../../../src/protocols/amqp10/message.ts';
import { strangeUserFormat } from '../../../src/protocols/mqtt/message.ts';
import { formats as stomp } from '../../../src/protocols/stomp/message.ts';
import { createFlying, formats, published } from '../../support/messages.ts';

/** The shared vocabulary is the rule: what is copied must be what decoding and encoding give, octet for octet. */

const all: Record<string, MessageFormat> = {
  ...formats,
  'ST 1.1': stomp.none['1.1'],
  'ST 1.0': stomp.none['1.0'],
  'ST text': stomp.text['1.2'],
};
const names = Object.keys(all);
const protocolOf = (name: string): string => name.slice(0, 2);
const pairs = names.flatMap((from) =>
  names.filter((to) => protocolOf(from) !== protocolOf(to) && to !== 'ST text').map((to) => [from, to] as const),
);

// A format that the message does not come from itself: STOMP copies the lines of its own.
const encode = (name: string, properties: Properties): Buffer =>
  all[name]!.encode(properties, createFlying(name === 'M5' ? all['091']! : all['M5']!, Buffer.alloc(0)));

const translations = (from: string, to: string, native: Buffer, facts: Partial<MessageFacts> = {}) => {
  const format = all[from]!;
  const message = createFlying(format, native, facts);
  return {
    copied: translatePlain(message, all[to]!)?.toString('latin1'),
    encoded: all[to]!.encode(message.properties, message).toString('latin1'),
  };
};

const agrees = (from: string, to: string, native: Buffer, facts: Partial<MessageFacts> = {}): void => {
  const { copied, encoded } = translations(from, to, native, facts);
  if (copied !== undefined) expect(copied).toBe(encoded);
};

const name = fc.oneof(
  fc.string({ unit: 'grapheme-ascii', maxLength: 12 }),
  fc.constantFrom(
    ...['a', 'b', 'k', 'x-header', 'priority', 'content-type', 'persistent', 'timestamp', 'reply-to', 'message-id'],
    ...['x-mqtt-retain', 'x-mqtt-client-id', 'x-opt-a', 'x-rosetta-h.a', 'x-rosetta-types', 'x-rosetta-residue', 'CC'],
    ...['x-reply-to-topic', 'x-subject', 'JMSXGroupID', 'x-message-id', 'x-death', 'x-first-death-queue', 'x-delay'],
    ...['correlation-data', 'timestamp_in_ms', 'expires', 'n'.repeat(64), 'n'.repeat(65), 'é', 'a b', '__proto__'],
  ),
);
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.string({ unit: 'grapheme-ascii', maxLength: 40 }),
  fc.constantFrom('', ' a', 'a ', 'http://a:1/b?c', 'a\\b', '\t', 'a\r', 'é', '\u0080', '\ufeffa', '\udcff', '\x7f'),
  fc.constantFrom('x'.repeat(24), 'x'.repeat(25), 'x'.repeat(255), 'x'.repeat(256), 'é'.repeat(600), '5', 'true'),
);
const id = fc.oneof(
  fc.constantFrom('m-1', 'rosetta.c.AAAA', 'rosetta.c', 'rosetta.d.x', '9b0c1a7e-5b1e-4a51-8f5e-0d9a4d2f3c11'),
  text.filter((each) => each.isWellFormed()),
);
const nearlyPlain: fc.Arbitrary<Properties> = fc
  .record(
    {
      headers: fc.array(fc.tuple(name, text), { maxLength: 8 }).map((entries) => new Map<string, Value>(entries)),
      contentType: fc.oneof(
        fc.constantFrom('text/plain', '', 'a:b', 'é', ' a', 'x'.repeat(241), 'x'.repeat(300)),
        fc.constant('message/vnd.rosettamq.amqp-value'),
      ),
      contentEncoding: fc.constantFrom(
        'gzip',
        '',
        'é',
        'x'.repeat(85),
        'x'.repeat(86),
        'x'.repeat(255),
        'x'.repeat(256),
      ),
      correlationId: id,
      messageId: id,
      appId: id,
      type: id,
      priority: fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 9, 10, 99, 100, 255)),
      timestampMs: fc.oneof(
        fc.integer({ min: 0, max: 2 ** 35 }).map((seconds) => seconds * 1000),
        fc.constantFrom(0, 1, 999, 1000, 1_700_000_000_123, 2 ** 32 * 1000, 2 ** 53 - 1, 8_796_093_022_207_000),
      ),
      durable: fc.boolean(),
    },
    { requiredKeys: ['headers'] },
  )
  .map((properties) => properties as Properties);

describe.each(pairs)('%s → %s', (from, to) => {
  test('what is nearly plain', () => {
    fc.assert(
      fc.property(nearlyPlain, fc.nat(2), fc.boolean(), (said, qos, retain) => {
        agrees(from, to, encode(from, said), { qos, retain });
      }),
      { numRuns: 1000 },
    );
  });

  test('whatever a publisher elsewhere says', () => {
    const said = published[from in published ? (from as keyof typeof published) : 'ST'] as fc.Arbitrary<Properties>;
    fc.assert(
      fc.property(said, (properties) => agrees(from, to, encode(from, properties))),
      { numRuns: 300 },
    );
  });

  test('plain messages are copied', () => {
    const headers = new Map<string, Value>([
      ['x-header-0', 'of text'],
      ['x-header-1', 'of text, and longer than what is copied in a loop'],
      ['naïve'.slice(0, 2), 'naïve'],
      ['when', 'at 12:30'],
    ]);
    if (from.startsWith('ST')) headers.delete('when'); // escaped, except by 1.0
    const native = encode(from, { headers, contentType: 'text/plain', durable: true });
    const { copied, encoded } = translations(from, to, native, { qos: 1 });
    expect(copied).toBe(from === 'ST text' ? undefined : encoded);
  });

  test('so are those with the fields that client libraries set', () => {
    const ids = { correlationId: 'c-1', messageId: 'm-1', ...(from === '1.0' ? {} : { appId: 'shop', type: 'order' }) };
    const more = {
      contentType: 'application/json',
      contentEncoding: 'UTF-8',
      priority: 4,
      timestampMs: 1_700_000_000_000,
    };
    const headers = new Map<string, Value>([['__TypeId__', 'com.example.Order']]);
    const native = encode(from, { headers, durable: true, ...ids, ...more });
    const { copied, encoded } = translations(from, to, native, { qos: 1 });
    expect(copied).toBe(from === 'ST text' ? undefined : encoded);
  });
});

/** A user property. */
const pair = (name: string, text: string): Buffer => {
  const part = (value: string): Buffer => Buffer.concat([Buffer.from([0, value.length]), Buffer.from(value)]);
  return Buffer.concat([Buffer.from([0x26]), part(name), part(text)]);
};

describe.each(['091', '1.0', 'ST'])('MQTT 5 → %s', (to) => {
  test('a name that repeats is not plain, and neither is one that shares its place among the known', () => {
    agrees('M5', to, Buffer.concat([pair('a', '1'), pair('b', '2'), pair('a', '3')]));
    expect(translations('M5', to, Buffer.concat([pair('a', '1'), pair('a', '1')])).copied).toBeUndefined();
    for (let i = 0; i < 3000; i++) {
      agrees('M5', to, Buffer.concat([pair('a', '1'), pair(`n${i}`, '2'), pair(`m${i}`, '2'), pair('a', '3')]));
    }
  });

  test('what dies, expires or is retained says more', () => {
    const native = pair('a', '1');
    expect(translations('M5', to, native).copied).toBeDefined();
    expect(translations('M5', to, native, { expiresAtMs: 5 }).copied).toBeUndefined();
    expect(translations('M5', to, native, { retain: true }).copied).toBeUndefined();
    const death = { queue: 'q', reason: 'rejected', count: 1, exchange: '', routingKeys: [], timeMs: 0 } as const;
    const dead = createFlying(formats.M5, native, { deaths: [death] });
    expect(translatePlain(dead, all[to]!)).toBeUndefined();
    expect(translatePlain(createFlying(strangeUserFormat, native), all[to]!)).toBeUndefined();
  });
});

test('any lines of STOMP', () => {
  const line = fc.tuple(
    fc.oneof(
      name,
      fc.constantFrom('persistent', 'content-type', 'amqp-message-id', 'correlation-id', 'app-id', 'type'),
    ),
    fc.oneof(
      text,
      fc.constantFrom('0', '05', '255', '256', '1700000000000', '999999999999999', '9999999999999999', '-1'),
      fc.constantFrom('true', 'True', 'false', 'tru', 'true '),
    ),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.constantFrom('1.0', '1.1', '1.2'), (lines, version) => {
      const native = Buffer.from(lines.map(([each, value]) => `${each}:${value}\n`.replaceAll('\\', '\\\\')).join(''));
      for (const to of ['091', '1.0', 'M5']) agrees(version === '1.2' ? 'ST' : `ST ${version}`, to, native);
    }),
    { numRuns: 3000 },
  );
});

test('any octets in place of sections of AMQP 1.0', () => {
  const item = fc.constantFrom(
    ...[
      '830000018bcfe56800',
      '83001fffffffffffff',
      '830020000000000000',
      '83ffffffffffffffff',
      '50ff',
      '5000',
      'a30131',
    ],
    ...['a1016b', 'a10131', 'b10000000131', '5601', '41', '42', '40', 'c00101', '45', 'a3016b', 'a1ff', 'a000'],
  );
  const list = fc
    .tuple(fc.constantFrom(0xc0, 0xc1), fc.array(item, { maxLength: 8 }), fc.integer({ min: -1, max: 1 }))
    .map(([code, items, off]) => {
      const octets = Buffer.from(items.join(''), 'hex');
      return Buffer.concat([Buffer.from([code, octets.length + 1, Math.max(0, items.length + off)]), octets]);
    });
  const section = fc
    .tuple(fc.constantFrom(0x70, 0x73, 0x74, 0x72), list)
    .map(([code, octets]) => Buffer.concat([Buffer.from([0, 0x53, code]), octets]));
  const isSound = (native: Buffer): boolean => {
    try {
      createFlying(formats['1.0'], native).properties;
      return true;
    } catch {
      return false; // is refused when it is published
    }
  };
  fc.assert(
    fc.property(fc.array(section, { maxLength: 3 }), (sections) => {
      const native = Buffer.concat(sections);
      if (isSound(native)) for (const to of ['091', 'M5', 'ST']) agrees('1.0', to, native);
    }),
    { numRuns: 5000 },
  );
  const shaped = Buffer.concat([encodeShape('encoded', [], Buffer.alloc(0)), Buffer.from('005374c10100', 'hex')]);
  expect(translations('1.0', '091', shaped).copied).toBeUndefined();
});
