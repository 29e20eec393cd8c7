import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AmqpError } from '../../../../src/protocols/amqp10/errors.ts';
import { encodeFrame } from '../../../../src/protocols/amqp10/frame.ts';
import {
  type Composite,
  codeOf,
  decodePerformative,
  encodePerformative,
  type Name,
} from '../../../../src/protocols/amqp10/performatives.ts';
import { Disposition, Transfer } from '../../../../src/protocols/amqp10/transfer.ts';
import { AmqpMap, Decoder, Described, encodeValue, symbol } from '../../../../src/protocols/amqp10/types.ts';
import { frames } from '../../../support/rhea-codec.ts';

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const u16 = fc.integer({ min: 0, max: 65_535 });
const name = fc.string({ unit: 'grapheme-ascii', maxLength: 20 });
const symbols = fc.array(name, { minLength: 1, maxLength: 4 });
const map = fc.array(fc.tuple(name.map(symbol), name), { maxLength: 3 }).map((pairs) => new AmqpMap(pairs));
const binary = fc.uint8Array({ maxLength: 32 }).map((bytes) => Buffer.from(bytes));
const error = fc.record({ is: fc.constant('error' as const), condition: name, description: name });
const state: fc.Arbitrary<Composite> = fc.oneof(
  fc.constant({ is: 'accepted' as const }),
  fc.constant({ is: 'released' as const }),
  fc.record({ is: fc.constant('rejected' as const), error }),
  fc.record({ is: fc.constant('modified' as const), deliveryFailed: fc.boolean(), undeliverableHere: fc.boolean() }),
  fc.record({ is: fc.constant('received' as const), sectionNumber: u32, sectionOffset: u32 }),
);

/** What may be said of each: absent or present. */
const said: { [N in Name]?: fc.Arbitrary<object> } = {
  open: fc.record(
    {
      containerId: name,
      hostname: name,
      maxFrameSize: u32,
      channelMax: u16,
      idleTimeout: u32,
      offeredCapabilities: symbols,
      desiredCapabilities: symbols,
      properties: map,
    },
    { requiredKeys: ['containerId'] },
  ),
  begin: fc.record(
    { remoteChannel: u16, nextOutgoingId: u32, incomingWindow: u32, outgoingWindow: u32, handleMax: u32 },
    { requiredKeys: ['nextOutgoingId', 'incomingWindow', 'outgoingWindow'] },
  ),
  attach: fc.record(
    {
      name,
      handle: u32,
      role: fc.boolean(),
      sndSettleMode: fc.integer({ min: 0, max: 2 }),
      rcvSettleMode: fc.integer({ min: 0, max: 1 }),
      source: fc.record(
        {
          is: fc.constant('source' as const),
          address: name,
          durable: u32,
          expiryPolicy: name,
          timeout: u32,
          dynamic: fc.boolean(),
          distributionMode: name,
          filter: map,
          outcomes: symbols,
          capabilities: symbols,
        },
        { requiredKeys: ['is'] },
      ),
      target: fc.record({ is: fc.constant('target' as const), address: name, capabilities: symbols }),
      initialDeliveryCount: u32,
      maxMessageSize: u32,
      properties: map,
    },
    { requiredKeys: ['name', 'handle', 'role'] },
  ),
  flow: fc.record(
    {
      nextIncomingId: u32,
      incomingWindow: u32,
      nextOutgoingId: u32,
      outgoingWindow: u32,
      handle: u32,
      deliveryCount: u32,
      linkCredit: u32,
      available: u32,
      drain: fc.boolean(),
      echo: fc.boolean(),
    },
    { requiredKeys: ['incomingWindow', 'nextOutgoingId', 'outgoingWindow'] },
  ),
  transfer: fc.record(
    {
      handle: u32,
      deliveryId: u32,
      deliveryTag: binary,
      messageFormat: u32,
      settled: fc.boolean(),
      more: fc.boolean(),
      rcvSettleMode: fc.integer({ min: 0, max: 1 }),
      state,
      resume: fc.boolean(),
      aborted: fc.boolean(),
      batchable: fc.boolean(),
    },
    { requiredKeys: ['handle'] },
  ),
  disposition: fc.record(
    { role: fc.boolean(), first: u32, last: u32, settled: fc.boolean(), state, batchable: fc.boolean() },
    { requiredKeys: ['role', 'first'] },
  ),
  detach: fc.record({ handle: u32, closed: fc.boolean(), error }, { requiredKeys: ['handle'] }),
  end: fc.record({ error }, { requiredKeys: [] }),
  close: fc.record({ error }, { requiredKeys: [] }),
};

const rows = Object.entries(said) as [Name, fc.Arbitrary<object>][];
const numRuns = Number(process.env['CODEC_RUNS'] ?? 300);

const read = (bytes: Buffer): Composite => decodePerformative(new Decoder(bytes));

describe.each(rows)('%s', (which, values) => {
  test('comes back as it was written', () => {
    fc.assert(
      fc.property(values, (fields) => {
        expect(read(encodePerformative(which, fields as never))).toEqual({ is: which, ...fields });
      }),
      { numRuns },
    );
  });

  test('is the same to rhea', () => {
    fc.assert(
      fc.property(values, (fields) => {
        const { channel, performative } = frames.read_frame(encodeFrame(7, which, fields as never));
        expect(channel).toBe(7);
        const again = frames.write_frame(frames.amqp_frame(7, performative));
        expect(read(again.subarray(8))).toEqual({ is: which, ...fields });
      }),
      { numRuns },
    );
  });

  test('cut anywhere it is an AmqpError', () => {
    fc.assert(
      fc.property(values, (fields) => {
        const bytes = encodePerformative(which, fields as never);
        for (let end = 0; end < bytes.length; end++) expect(() => read(bytes.subarray(0, end))).toThrow(AmqpError);
      }),
      { numRuns: 20 },
    );
  });

  test('a field of another type is named', () => {
    const bytes = Buffer.concat([Buffer.from([0, 0x53, codeOf(which), 0xc0, 2, 1, 0x45])]);
    expect(() => read(bytes)).toThrow(AmqpError);
  });
});

describe('by offset', () => {
  test('a transfer is read as the table reads it', () => {
    const transfer = new Transfer();
    fc.assert(
      fc.property(said.transfer as fc.Arbitrary<Record<string, unknown>>, binary, (fields, payload) => {
        const bytes = encodePerformative('transfer', fields as never);
        const chunk = Buffer.concat([bytes, payload]);
        expect(transfer.read(chunk, 3, chunk.length)).toBe(bytes.length);
        expect({
          handle: transfer.handle,
          deliveryId: transfer.deliveryId < 0 ? undefined : transfer.deliveryId,
          deliveryTag: transfer.tag ?? undefined,
          messageFormat: transfer.messageFormat < 0 ? undefined : transfer.messageFormat,
          settled: transfer.settled ?? undefined,
          more: transfer.more,
          state: transfer.state ?? undefined,
          resume: transfer.resume,
          aborted: transfer.aborted,
        }).toEqual({
          handle: fields['handle'],
          deliveryId: fields['deliveryId'],
          deliveryTag: fields['deliveryTag'],
          messageFormat: fields['messageFormat'],
          settled: fields['settled'],
          more: fields['more'] ?? false,
          state: fields['state'],
          resume: fields['resume'] ?? false,
          aborted: fields['aborted'] ?? false,
        });
      }),
      { numRuns },
    );
  });

  test('a disposition is read as the table reads it', () => {
    const disposition = new Disposition();
    fc.assert(
      fc.property(said.disposition as fc.Arbitrary<Record<string, unknown>>, (fields) => {
        const bytes = encodePerformative('disposition', fields as never);
        disposition.read(bytes, 3, bytes.length);
        expect({
          role: disposition.isReceiver,
          first: disposition.first,
          last: disposition.last,
          settled: disposition.settled,
          state: disposition.state ?? undefined,
        }).toEqual({
          role: fields['role'],
          first: fields['first'],
          last: fields['last'] ?? fields['first'],
          settled: fields['settled'] ?? false,
          state: fields['state'],
        });
      }),
      { numRuns },
    );
  });

  test('octets at random are an AmqpError, or read', () => {
    const transfer = new Transfer();
    const disposition = new Disposition();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (random) => {
        const bytes = Buffer.concat([Buffer.from([0xc0, random.length]), random]);
        for (const reader of [transfer, disposition]) {
          try {
            reader.read(bytes, 0, bytes.length);
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(AmqpError);
          }
        }
      }),
      { numRuns: 5000 },
    );
  });
});

test('[1.0 §1.2-2] a descriptor may be the symbol or eight octets of the code', () => {
  const list = encodeValue([{ type: 'uint', value: 5 }, true]);
  const bySymbol = encodeValue(new Described('amqp:detach:list', [{ type: 'uint', value: 5 }, true]));
  const byCode = Buffer.concat([Buffer.from('00800000000000000016', 'hex'), list]);
  for (const bytes of [bySymbol, byCode]) expect(read(bytes)).toEqual({ is: 'detach', handle: 5, closed: true });
});

test('of fields that are too many the last are nobody’s', () => {
  const bytes = encodeValue(new Described(0x17n, [null, 'more', 'and more']));
  expect(read(bytes)).toEqual({ is: 'end' });
});

test('a mandatory field that is missing is named', () => {
  expect(() => read(Buffer.from('00531045', 'hex'))).toThrow('open.containerId is mandatory');
});
