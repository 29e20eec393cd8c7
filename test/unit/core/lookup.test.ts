import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeaderName, type LookupField, undecided } from '../../../src/core/lookup.ts';
import type { Message } from '../../../src/core/message.ts';
import { isTyped, type Properties, type Value } from '../../../src/core/properties.ts';
import { formats as stomp } from '../../../src/protocols/stomp/message.ts';
import { createMessage, formats, type Name, published } from '../../support/messages.ts';

const names: Name[] = ['091', '1.0', 'M5', 'ST'];
const fields: LookupField[] = ['messageId', 'groupId', 'groupSequence'];
const asked = ['x-deduplication-id', 'JMSXGroupID', 'JMSXGroupSeq', 'x-group-id', 'x-group-sequence', 'k', 'priority'];

const messageOf = (name: Name, native: Buffer): Message => createMessage(formats[name], native);

// STOMP writes the lines of a message of its own as they are: these are another's.
const encode = (name: Name, properties: Properties): Buffer =>
  formats[name].encode(properties, messageOf(name === 'ST' ? 'M5' : name, Buffer.alloc(0)));

/** Both ways agree. */
const agrees = (message: () => Message, headers: Iterable<string>): void => {
  const known = message().properties;
  for (const field of fields) expect(plain(message().findField(field))).toEqual(plain(known[field]));
  for (const header of new Set([...headers, ...known.headers.keys(), ...asked])) {
    expect(message().findHeader(new HeaderName(header))).toEqual(known.headers.get(header));
  }
};

/** Lines as a client may write them: with repeats, both names of a group, and what is escaped. */
const lines = fc.array(
  fc.tuple(
    fc.constantFrom(...asked, 'x-rosetta-h.k', 'x-rosetta-types', 'reply-to', 'amqp-message-id', 'message-id', 'é', ''),
    fc.constantFrom('', 'v', ' v', '5', '-1', 'k=l', 'é', 'a:b', '/queue/a'),
  ),
  { maxLength: 6 },
);

const plain = (value: Value | number | undefined): unknown =>
  value !== undefined && typeof value === 'object' && value !== null && isTyped(value) && value.type === 'uint'
    ? value.value
    : value;

/** Headers that are asked for, among others. */
const wanted = fc.dictionary(fc.constantFrom(...asked), fc.oneof(fc.string({ maxLength: 5 }), fc.constant(true)), {
  maxKeys: 3,
});

describe.each(names)('%s', (name) => {
  test('a header or a field is found as it is decoded', () => {
    fc.assert(
      fc.property(published[name], wanted, (properties, more) => {
        const headers = new Map<string, Value>([...properties.headers, ...Object.entries(more)]);
        const native = encode(name, { ...properties, headers });
        agrees(() => messageOf(name, native), headers.keys());
      }),
      { numRuns: 500 },
    );
  });

  test('what is usual is found by its place', () => {
    const native = encode(name, {
      messageId: 'm',
      groupId: 'g',
      headers: new Map([
        ['k', 'é'],
        ['a', 'b'],
      ]),
    });
    const { lookup } = formats[name];
    expect(lookup?.findHeader(native, new HeaderName('k'))).toBe('é');
    expect(lookup?.findHeader(native, new HeaderName('b'))).toBeUndefined();
    expect(lookup?.findHeader(native, new HeaderName('x-group-sequence'))).toBeUndefined();
    expect(lookup?.findField(native, 'messageId')).toBe('m');
    expect(lookup?.findField(native, 'groupId')).toBe('g');
    expect(lookup?.findField(native, 'groupSequence')).toBeUndefined();
    expect(lookup?.findHeader(native, new HeaderName('x-rosetta-types'))).toBe(undecided);
  });
});

test.each(['1.0', '1.1', '1.2'] as const)('any lines of STOMP %s are found as they are decoded', (version) => {
  const write = (text: string): string => (version === '1.0' ? text : text.replaceAll(':', '\\c'));
  fc.assert(
    fc.property(lines, (pairs) => {
      const native = Buffer.from(pairs.map(([name, text]) => `${name}:${write(text)}\n`).join(''));
      agrees(() => createMessage(stomp.none[version], native), []);
    }),
    { numRuns: 1000 },
  );
});

test('any user properties of MQTT 5 are found as they are decoded', () => {
  const text = (value: string): Buffer => {
    const octets = Buffer.from(value);
    return Buffer.concat([Buffer.from([0, octets.length]), octets]);
  };
  fc.assert(
    fc.property(lines, (pairs) => {
      const native = Buffer.concat(
        pairs.map(([name, value]) => Buffer.concat([Buffer.from([0x26]), text(name), text(value)])),
      );
      agrees(() => messageOf('M5', native), []);
    }),
    { numRuns: 1000 },
  );
});

test('[AMQP 1.0 §3.2.5] any octets in place of application properties are found as they are decoded', () => {
  const inner = fc.oneof(
    fc.uint8Array({ maxLength: 30 }).map((octets) => Buffer.from(octets)),
    fc
      .array(
        fc.constantFrom('a1016b', 'a10131', '5601', '5602', '40', 'c00101', '45', 'a3016b', '73ffffffff', 'a1ff'),
        {
          maxLength: 6,
        },
      )
      .map((parts) => Buffer.from(parts.join(''), 'hex')),
  );
  fc.assert(
    fc.property(inner, fc.nat(6), (octets, count) => {
      const native = Buffer.concat([Buffer.from([0, 0x53, 0x74, 0xc1, octets.length + 1, count]), octets]);
      const known = messageOf('1.0', native).properties.headers.get('k');
      expect(messageOf('1.0', native).findHeader(new HeaderName('k'))).toEqual(known);
    }),
    { numRuns: 2000 },
  );
});
