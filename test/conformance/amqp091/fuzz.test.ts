import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { silent } from '../../../src/lib/log.ts';
import { decodeMethod, encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import {
  type FieldType,
  FrameType,
  findMethod,
  frameEnd,
  type Method,
  methods,
  protocolHeader,
  ReplyCode,
} from '../../../src/protocols/amqp091/spec.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { type AmqpPeer, contentFrames, frame, headerFrame } from '../../support/amqp-peer.ts';

/**
 * Whatever comes, the broker goes on: a peer gets whole frames, and at most one connection.close, with a code of the
 * specification that blames the peer, as the last of them. Everything runs in this process, so that an exception is
 * seen, and is as many times as much as FUZZ_RUNS says.
 */
const runs = Number(process.env['FUZZ_RUNS'] ?? 400);

let core: AmqpCore;
let faults: unknown[];
beforeEach(() => {
  faults = [];
  const log = { ...silent, error: (fields: object) => faults.push(fields) };
  core = new AmqpCore({ broker: { log }, frameMax: 4096, messageBytes: 20_000, channelMax: 20 });
  core.core.broker.addVhost('other');
});

interface Answer {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
}

function cut(octets: Buffer): Answer[] {
  const frames: Answer[] = [];
  for (let at = 0; at < octets.length; ) {
    const size = octets.readUInt32BE(at + 3);
    const end = at + 8 + size;
    expect(octets[end - 1]).toBe(frameEnd);
    expect(size + 8).toBeLessThanOrEqual(4096);
    frames.push({ type: octets[at]!, channel: octets.readUInt16BE(at + 1), payload: octets.subarray(at + 7, end - 1) });
    at = end;
  }
  return frames;
}

const peersFault = new Set<number>(Object.values(ReplyCode));
peersFault.delete(ReplyCode.internalError);
peersFault.delete(ReplyCode.connectionForced);

/** Sends octets behind a whole login or none, in pieces, and half-closes. @returns the answers */
async function say(
  octets: Buffer,
  options: { loggedIn?: boolean; pieces?: readonly number[] } = {},
): Promise<Answer[]> {
  const isLoggedIn = options.loggedIn ?? true;
  const peer = isLoggedIn ? await core.open() : core.connect();
  let at = 0;
  for (const length of options.pieces ?? []) {
    peer.write(octets.subarray(at, at + length));
    at = Math.min(octets.length, at + length);
    await new Promise((resolve) => setImmediate(resolve));
  }
  peer.socket.end(octets.subarray(at));
  const said = await peer.end();
  // what was no protocol header at all is answered with ours
  const frames = said.subarray(0, 8).equals(protocolHeader) ? [] : cut(said);
  const closes = frames.filter(
    ({ type, payload }) => type === 1 && payload.readUInt32BE(0) === methods.connectionClose.id,
  );
  expect(closes.length).toBeLessThanOrEqual(1);
  for (const { payload } of closes) {
    const code = decodeMethod(methods.connectionClose, payload).number('replyCode');
    expect([...peersFault]).toContain(code);
    const behind = frames.slice(frames.findIndex((each) => each.payload === payload) + 1);
    for (const each of behind) expect(findMethod(each.payload.readUInt32BE(0))).toBe(methods.connectionCloseOk);
  }
  peer.destroy();
  await new Promise((resolve) => setImmediate(resolve));
  expect(faults).toEqual([]);
  expect([core.door.connections.size, core.door.handshakes.size]).toEqual([0, 0]);
  for (const queue of core.core.vhost.queues.values()) {
    expect([queue.counts.consumers, queue.counts.unacked]).toEqual([0, 0]);
    queue.purge();
  }
  return frames;
}

const session = Buffer.concat([
  encodeMethod(1, methods.channelOpen),
  encodeMethod(1, methods.queueDeclare, { queue: 'q', exclusive: true }),
  encodeMethod(1, methods.confirmSelect),
  encodeMethod(1, methods.basicConsume, { queue: 'q', consumerTag: 't' }),
  contentFrames(
    1,
    { routingKey: 'q', mandatory: true },
    Buffer.from('body'),
    encodeProperties(
      {
        headers: new Map<string, Value>([
          ['CC', ['q']],
          ['n', [null, true]],
        ]),
        ttlMs: 5,
        userId: 'guest',
      },
      null as never,
    ),
  ),
  encodeMethod(1, methods.basicAck, { deliveryTag: 1 }),
  encodeMethod(2, methods.channelOpen),
  encodeMethod(2, methods.txSelect),
  contentFrames(2, { exchange: 'amq.topic', routingKey: 'a.b' }, Buffer.alloc(3000)),
  encodeMethod(2, methods.txCommit),
  encodeMethod(2, methods.channelClose, { replyCode: 200 }),
  encodeMethod(1, methods.queueDelete, { queue: 'q' }),
  encodeMethod(0, methods.connectionClose, { replyCode: 200 }),
]);

test('random octets, before and after the login', async () => {
  const octets = fc.uint8Array({ maxLength: 600 }).map((each) => Buffer.from(each));
  await fc.assert(
    fc.asyncProperty(fc.boolean(), octets, async (loggedIn, random) => {
      await say(loggedIn ? random : Buffer.concat([protocolHeader, random]), { loggedIn });
    }),
    { numRuns: runs },
  );
});

test('a session in which some octets were changed, doubled or left out', async () => {
  const at = fc.nat(session.length - 1);
  const change = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), at, octet: fc.integer({ min: 0, max: 255 }) }),
    fc.record({
      kind: fc.constantFrom('drop' as const, 'double' as const),
      at,
      octet: fc.integer({ min: 1, max: 40 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
      let octets = Buffer.from(session);
      for (const { kind, at: where, octet } of changes) {
        const [before, run, behind] = [
          octets.subarray(0, where),
          octets.subarray(where, where + octet),
          octets.subarray(where + octet),
        ];
        if (kind === 'set') octets[where % octets.length] = octet;
        else octets = Buffer.concat(kind === 'drop' ? [before, behind] : [before, run, run, behind]);
      }
      await say(octets);
    }),
    { numRuns: runs },
  );
});

test('a session that ends at any octet', async () => {
  for (let length = 0; length < session.length; length += length > 400 && length < session.length - 200 ? 97 : 1) {
    await say(session.subarray(0, length));
  }
});

test('however a session is cut, the answers are the same', async () => {
  const describeAll = (answers: Answer[]) =>
    answers
      .filter(({ type, payload }) => type !== 1 || payload.readUInt32BE(0) !== methods.basicAck.id) // in bulk, by the turn
      .map(({ type, channel, payload }) => `${type} ${channel} ${payload.toString('hex')}`);
  const whole = describeAll(await say(session));
  expect(whole.length).toBeGreaterThan(10);
  const pieces = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(pieces, async (each) => {
      expect(describeAll(await say(session, { pieces: each }))).toEqual(whole);
    }),
    { numRuns: runs / 4 },
  );
});

// — methods that are well formed, in any order and with any arguments ——————————————————————————————————————————————

const names = fc.constantFrom(
  '',
  'q',
  'q',
  'q',
  'r',
  'r',
  'amq.direct',
  'amq.topic',
  'amq.headers',
  'amq.rabbitmq.reply-to',
  'x',
  'é',
  'a.b',
  '#',
);
const exchanges = fc.constantFrom('', '', '', '', 'amq.direct', 'amq.topic', 'amq.headers', 'amq.fanout', 'x');
const queues = fc.constantFrom('', 'q', 'q', 'q', 'r', 'amq.rabbitmq.reply-to', 'y');
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom<Value>(null, true, 'all', 'q', 'amq.direct', 'reject-publish', 'quorum', 'classic', ['q', 'r']),
  fc.integer({ min: -2, max: 20 }).map((each) => ({ type: 'int', value: each }) as const),
);
const argumentNames = fc.constantFrom(
  ...[
    'x-max-length',
    'x-message-ttl',
    'x-expires',
    'x-overflow',
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
  ],
  ...[
    'x-max-priority',
    'x-single-active-consumer',
    'x-queue-type',
    'alternate-exchange',
    'x-match',
    'x-priority',
    'CC',
    'BCC',
    'n',
  ],
);
const table = fc.array(fc.tuple(argumentNames, value), { maxLength: 3 }).map((entries) => new Map(entries));

function field(name: string, type: FieldType): fc.Arbitrary<unknown> {
  switch (type) {
    case 'bit':
      return fc.boolean();
    case 'octet':
      return fc.nat(255);
    case 'short':
      return fc.constantFrom(0, 1, 2, 65_535);
    case 'long':
      return fc.constantFrom(0, 0, 0, 1, 0xffff_ffff);
    case 'longlong':
    case 'timestamp':
      return fc.constantFrom(0n, 1n, 2n, 3n, 2n ** 64n - 1n);
    case 'shortstr':
      if (name === 'type')
        return fc.constantFrom('direct', 'topic', 'fanout', 'headers', 'x-consistent-hash', 'direct', 'y');
      if (name === 'exchange' || name === 'source' || name === 'destination') return exchanges;
      if (name === 'queue') return queues;
      return name === 'consumerTag' ? fc.constantFrom('', 't', 'u') : names;
    case 'longstr':
      return fc.constantFrom('', '\0guest\0guest');
    case 'table':
      return table;
  }
}

const channels = fc.constantFrom(1, 1, 1, 2, 0, 3);
// those that end the connection by themselves come seldom, so that the others are reached
const usual = Object.values(methods).filter(
  ({ classId, name }) => classId >= 40 && !/-ok$|deliver|return|empty|basic.publish/.test(name),
);
const method = fc.oneof(
  { weight: 30, arbitrary: fc.constantFrom<Method>(...usual) },
  { weight: 2, arbitrary: fc.constantFrom<Method>(methods.channelClose, methods.channelCloseOk, methods.channelOpen) },
  { weight: 1, arbitrary: fc.constantFrom<Method>(...Object.values(methods)) },
);
const call = fc
  .tuple(channels, method)
  .chain(([channel, each]) =>
    fc
      .record(Object.fromEntries(each.fields.map(([name, type]) => [name, field(name, type)])))
      .map((values) => encodeMethod(channel, each, values)),
  );
const publish = fc
  .record({
    channel: channels,
    exchange: exchanges,
    routingKey: names,
    mandatory: fc.boolean(),
    bytes: fc.constantFrom(0, 1, 100, 4088, 4089, 9000),
    headers: table,
    replyTo: fc.constantFrom(undefined, 'amq.rabbitmq.reply-to', 'q'),
    ttlMs: fc.constantFrom(undefined, 0, 1000),
  })
  .map(({ channel, bytes, headers, replyTo, ttlMs, ...values }) => {
    const to =
      replyTo === undefined ? {} : { replyTo: { exchange: '', key: replyTo, text: replyTo, protocol: 'amqp-0-9-1' } };
    const native = encodeProperties({ headers, ...to, ...(ttlMs === undefined ? {} : { ttlMs }) }, null as never);
    const parts = [encodeMethod(channel, methods.basicPublish, values), headerFrame(channel, bytes, native)];
    for (let rest = bytes; rest > 0; rest -= 4088)
      parts.push(frame(FrameType.body, channel, Buffer.alloc(Math.min(rest, 4088))));
    return Buffer.concat(parts);
  });

test('any methods with any arguments, and publishes of any shape', async () => {
  const step = fc.oneof({ weight: 3, arbitrary: call }, { weight: 2, arbitrary: publish });
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
      const opened = [1, 2].flatMap((channel) => [
        encodeMethod(channel, methods.channelOpen),
        encodeMethod(channel, methods.queueDeclare, { queue: channel === 1 ? 'q' : 'r' }),
      ]);
      for (const { type, payload } of await say(Buffer.concat([...opened, ...steps]))) {
        if (type === FrameType.method) seen.add(findMethod(payload.readUInt32BE(0))?.name ?? 'unknown');
      }
      for (const queue of [...core.core.vhost.queues.values()]) core.core.vhost.removeQueue(queue);
    }),
    { numRuns: 4 * runs },
  );
  expect(seen.size).toBeGreaterThan(20); // it went far enough to mean something
});

// — memory ——————————————————————————————————————————————————————————————————————————————————————————————————————————

function arrayBufferBytes(): number {
  return process.memoryUsage().arrayBuffers;
}

test('an announced size takes no memory until it comes: bodies, frames and tables', async () => {
  const large = new AmqpCore({ channelMax: 2000, messageBytes: 100_000_000 });
  const peer = await large.open();
  const before = arrayBufferBytes();
  for (let channel = 1; channel <= 1000; channel++) {
    peer.write(
      Buffer.concat([
        encodeMethod(channel, methods.channelOpen),
        encodeMethod(channel, methods.basicPublish, { routingKey: 'q' }),
        headerFrame(channel, 100_000_000),
        frame(FrameType.body, channel, Buffer.from('x')),
      ]),
    );
  }
  for (let channel = 1; channel <= 1000; channel++) await peer.expect(channel, methods.channelOpenOk);
  const silent: AmqpPeer[] = [];
  for (let i = 0; i < 100; i++) {
    const each = await large.open();
    each.write(Buffer.from([FrameType.body, 0, 1, 0, 1, 0xff, 0xf8, 0x01]));
    silent.push(each);
  }
  await new Promise((resolve) => setImmediate(resolve));
  expect(arrayBufferBytes() - before).toBeLessThan(30_000_000); // 100 GB were announced
  for (const each of [peer, ...silent]) each.destroy();
});
