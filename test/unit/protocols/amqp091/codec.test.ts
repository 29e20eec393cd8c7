import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Headers, isTyped, type Value } from '../../../../src/core/properties.ts';
import { ProtocolError } from '../../../../src/protocols/amqp091/errors.ts';
import { decodeMethod, encodeMethod } from '../../../../src/protocols/amqp091/methods.ts';
import { decodeProperties, RoutingFacts } from '../../../../src/protocols/amqp091/properties.ts';
import { type FieldType, type Method, methods } from '../../../../src/protocols/amqp091/spec.ts';
import { decodeTable, encodeTable, scanFields, withoutFields } from '../../../../src/protocols/amqp091/table.ts';
import { codec, defs, type MethodInfo } from '../../../support/amqplib-codec.ts';
import { createMessage } from '../../../support/core.ts';

/** amqplib, which was written from the specification's XML by others, is the second opinion. */

const shortText = fc.string({ unit: 'binary', maxLength: 40 }).filter((text) => Buffer.byteLength(text) <= 255);
const name = shortText.filter((text) => text !== '' && text !== '__proto__' && text !== '!');

const leaf: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.string({ unit: 'binary' }),
  fc.integer({ min: -128, max: 127 }).map((value) => ({ type: 'byte', value }) as const),
  fc.integer({ min: 0, max: 255 }).map((value) => ({ type: 'ubyte', value }) as const),
  fc.integer({ min: -32768, max: 32767 }).map((value) => ({ type: 'short', value }) as const),
  fc.integer({ min: 0, max: 65535 }).map((value) => ({ type: 'ushort', value }) as const),
  fc.integer().map((value) => ({ type: 'int', value }) as const),
  fc.integer({ min: 0, max: 0xffff_ffff }).map((value) => ({ type: 'uint', value }) as const),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value) => ({ type: 'long', value }) as const),
  fc.float({ noNaN: true }).map((value) => ({ type: 'float', value }) as const),
  fc.double({ noNaN: true }).map((value) => ({ type: 'double', value }) as const),
  fc
    .record({ scale: fc.integer({ min: 0, max: 255 }), value: fc.integer() })
    .map((decimal) => ({ type: 'decimal', ...decimal }) as const),
  fc.bigInt({ min: 0n, max: 2n ** 50n }).map((seconds) => ({ type: 'timestamp', value: seconds * 1000n }) as const),
  fc.uint8Array({ maxLength: 20 }).map((octets) => Buffer.from(octets)),
);

const { table } = fc.letrec<{ table: Headers; value: Value }>((tie) => ({
  table: fc.array(fc.tuple(name, tie('value')), { maxLength: 6 }).map((entries) => new Map(entries)),
  value: fc.oneof({ depthSize: 'small' }, leaf, tie('table'), fc.array(tie('value'), { maxLength: 4 })),
}));

/** What amqplib makes of a value: its vocabulary is smaller, so that both are brought down to it. */
function plain(value: Value): unknown {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]));
  if (!isTyped(value)) return (value as readonly Value[]).map(plain);
  if (value.type === 'timestamp') return Number(value.value / 1000n);
  if (value.type === 'decimal') return { digits: value.value >>> 0, places: value.scale };
  return Number(value.value);
}

function plainOfTheirs(value: unknown): unknown {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(plainOfTheirs);
  if (typeof value !== 'object' || value === null) return value;
  if ('!' in value) {
    const marked = value as { '!': string; value: unknown };
    return plainOfTheirs(marked.value);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainOfTheirs(item)]));
}

function succeeds(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (!isRangeOrProtocolError(error)) throw error;
    return false;
  }
}

function isRangeOrProtocolError(error: unknown): boolean {
  return error instanceof ProtocolError || error instanceof RangeError;
}

describe('field tables', () => {
  test('[0-9-1 §4.2.5.5-1] every type comes back as it was', () => {
    fc.assert(
      fc.property(table, (sent) => {
        expect(decodeTable(encodeTable(sent), 0)).toEqual(sent);
      }),
    );
  });

  test('[0-9-1 §4.2.5.5-1] amqplib reads what we write', () => {
    // a decimal below 0 and an int64 beyond a double are read by it as other numbers: not its strong side
    fc.assert(
      fc.property(table, (sent) => {
        const octets = encodeTable(sent);
        expect(plainOfTheirs(codec.decodeFields(octets.subarray(4)))).toEqual(plain(sent));
      }),
    );
  });

  test('[0-9-1 §4.2.5.5-1] we read what amqplib writes', () => {
    const simple = fc.dictionary(
      name,
      fc.oneof(
        fc.string(),
        fc.boolean(),
        fc.constant(null),
        fc.integer(),
        // −0 is written by amqplib as the integer 0
        fc.double({ noNaN: true, min: -1e15, max: 1e15 }).filter((number) => !Object.is(number, -0)),
        fc.array(fc.integer()),
      ),
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(simple, (sent) => {
        const octets = Buffer.alloc(64 * 1024);
        const length = codec.encodeTable(octets, sent, 0);
        const ours = plain(decodeTable(octets.subarray(0, length), 0));
        expect(ours).toEqual(sent);
      }),
    );
  });

  test('a cut table is an error at every offset, never a crash', () => {
    fc.assert(
      fc.property(table, (sent) => {
        const octets = encodeTable(sent);
        for (let length = 0; length < octets.length; length++) {
          try {
            decodeTable(octets.subarray(0, length), 0);
            expect.unreachable(`${length} of ${octets.length} octets were enough`);
          } catch (error) {
            if (!isRangeOrProtocolError(error)) throw error;
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  test('whatever octets come, they are a table or an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (random) => {
        const octets = Buffer.alloc(4 + random.length);
        octets.writeUInt32BE(random.length);
        octets.set(random, 4);
        const decodes = succeeds(() => decodeTable(octets, 0));
        // what the scan lets pass can be decoded by whoever needs it later, and nothing else can
        expect(succeeds(() => scanFields(octets, 4, octets.length))).toBe(decodes);
      }),
      { numRuns: 2000 },
    );
  });

  test('CC and BCC are found among any fields, and only they', () => {
    const named = fc.tuple(table, fc.constantFrom('CC', 'BCC', 'XC', 'CCC', 'ACC', 'C'), fc.array(fc.string()));
    fc.assert(
      fc.property(named, ([own, extra, keys]) => {
        const sent = new Map([...own, [extra, keys] as const]);
        const octets = encodeTable(sent);
        expect(scanFields(octets, 4, octets.length)).toBe(sent.has('CC') || sent.has('BCC'));
      }),
    );
  });

  test('fields are left out without touching the others', () => {
    fc.assert(
      fc.property(table, (sent) => {
        const octets = encodeTable(new Map([...sent, ['dropped', 'x'] as const]));
        const kept = withoutFields(octets, 0, (field) => field === 'dropped');
        const { dropped: _, ...rest } = Object.fromEntries(sent);
        expect(kept.equals(encodeTable(new Map(Object.entries(rest))).subarray(4)) || hasIntegerNames(sent)).toBe(true);
      }),
    );
  });
});

// JavaScript's objects put names that look like integers first.
function hasIntegerNames(sent: Headers): boolean {
  return [...sent.keys()].some((key) => /^\d+$/.test(key));
}

function generate(type: FieldType): fc.Arbitrary<unknown> {
  switch (type) {
    case 'bit':
      return fc.boolean();
    case 'octet':
      return fc.integer({ min: 0, max: 255 });
    case 'short':
      return fc.integer({ min: 0, max: 65535 });
    case 'long':
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case 'longlong':
    case 'timestamp':
      return fc.bigInt({ min: 0n, max: 2n ** 50n });
    case 'shortstr':
      return shortText;
    case 'longstr':
      return fc.uint8Array({ maxLength: 50 }).map((octets) => Buffer.from(octets));
    case 'table':
      return table;
  }
}

function valuesOf(method: Method): fc.Arbitrary<Record<string, unknown>> {
  return fc.record(Object.fromEntries(method.fields.map(([field, type]) => [field, generate(type)])));
}

/** What amqplib knows under the same class and method id; it lacks some extensions. */
function findTheirs(method: Method): MethodInfo | undefined {
  try {
    return defs.info(method.id);
  } catch {
    return undefined;
  }
}

const all = Object.values(methods);
const known = all.filter((method) => findTheirs(method) !== undefined);

describe('methods', () => {
  test.each(all.map((method) => [method.name, method] as const))('%s comes back as it was', (_name, method) => {
    fc.assert(
      fc.property(valuesOf(method), (sent) => {
        const frame = encodeMethod(3, method, sent);
        const args = decodeMethod(method, frame.subarray(7, -1));
        for (const [field, type] of method.fields) {
          const got = type === 'table' ? args.table(field) : args.octets(field);
          expect(got).toEqual(sent[field]);
        }
      }),
      { numRuns: 30 },
    );
  });

  test('amqplib knows nearly all of them', () => {
    expect(all.length - known.length).toBeLessThan(4);
  });

  test.each(known.map((method) => [method.name, method] as const))(
    'amqplib reads %s as we write it',
    (_name, method) => {
      const theirs = findTheirs(method) as MethodInfo;
      fc.assert(
        fc.property(valuesOf(method), (sent) => {
          const read = defs.decode(method.id, encodeMethod(3, method, sent).subarray(11, -1));
          const values = theirs.args.map(({ name: field }) => read[field]);
          expect(values.length).toBe(method.fields.length);
          for (const [i, [field, type]] of method.fields.entries()) {
            if (type === 'table') expect(plainOfTheirs(values[i])).toEqual(plain(sent[field] as Headers));
            else if (type === 'longlong') expect(BigInt(values[i] as number)).toBe(sent[field]);
            else expect(values[i]).toEqual(sent[field]);
          }
        }),
        { numRuns: 20 },
      );
    },
  );

  test.each(all.map((method) => [method.name, method] as const))('%s cut at any offset is 501', (_name, method) => {
    const values = Object.fromEntries(method.fields.map(([field, type]) => [field, fc.sample(generate(type), 1)[0]]));
    const payload = encodeMethod(1, method, values).subarray(7, -1);
    for (let length = 4; length < payload.length; length++) {
      let code = 0;
      try {
        decodeMethod(method, payload.subarray(0, length));
      } catch (error) {
        code = (error as ProtocolError).code;
      }
      expect(code).toBe(501);
    }
  });

  test.each(all.map((method) => [method.name, method] as const))('%s with an octet more is 501', (_name, method) => {
    const payload = encodeMethod(1, method).subarray(7, -1);
    expect(() => decodeMethod(method, Buffer.concat([payload, Buffer.from([0])]))).toThrow(
      `cannot decode ${method.name}`,
    );
  });
});

describe('properties', () => {
  const fields = fc.record(
    {
      contentType: shortText,
      contentEncoding: shortText,
      headers: fc.dictionary(name, fc.string(), { noNullPrototype: true }),
      deliveryMode: fc.constantFrom(1, 2),
      priority: fc.integer({ min: 0, max: 255 }),
      correlationId: shortText,
      replyTo: shortText,
      expiration: fc.integer({ min: 0, max: 1_000_000 }).map(String),
      messageId: shortText,
      timestamp: fc.integer({ min: 0, max: 2 ** 40 }),
      type: shortText,
      userId: shortText,
      appId: shortText,
    },
    { requiredKeys: [] },
  );

  test('what amqplib writes is read, by offset and whole', () => {
    fc.assert(
      fc.property(fields, (sent) => {
        const frame = defs.encodeProperties(60, 1, 0, sent);
        const native = Buffer.from(frame.subarray(7 + 12, -1));
        const facts = new RoutingFacts();
        facts.read(native, 0, native.length);
        expect(facts.durable).toBe(sent.deliveryMode === 2);
        expect(facts.priority).toBe(sent.priority ?? -1);
        expect(facts.ttlMs).toBe(sent.expiration === undefined ? -1 : Number(sent.expiration));
        expect(facts.userIdAt >= 0).toBe(sent.userId !== undefined);
        expect(facts.replyToAt >= 0).toBe(sent.replyTo !== undefined);
        const read = decodeProperties(native, createMessage(''));
        expect(read.contentType).toBe(sent.contentType);
        expect(read.messageId).toBe(sent.messageId);
        expect(read.timestampMs).toBe(sent.timestamp === undefined ? undefined : sent.timestamp * 1000);
        expect(read.appId).toBe(sent.appId);
      }),
    );
  });

  test('a list that is cut anywhere is an error', () => {
    const whole = {
      contentType: 'a',
      headers: { a: 'b' },
      deliveryMode: 2,
      correlationId: 'c',
      expiration: '5',
      appId: 'x',
    };
    const frame = defs.encodeProperties(60, 1, 0, whole);
    const native = Buffer.from(frame.subarray(7 + 12, -1));
    const facts = new RoutingFacts();
    for (let length = 0; length < native.length; length++) {
      expect(() => facts.read(native, 0, length)).toThrow(ProtocolError);
      expect(() => facts.read(Buffer.from(native.subarray(0, length)), 0, length)).toThrow(ProtocolError);
    }
  });
});
