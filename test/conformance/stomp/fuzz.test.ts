import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { type RigPeer, StompRig } from '../../support/stomp-rig.ts';

/**
 * Whatever comes, the broker goes on: a peer gets frames, and at most one ERROR, which is the last of them and the end
 * of its connection; nobody else notices. Everything runs in this process, so that an exception is seen.
 */
const runs = Number(process.env['FUZZ_RUNS'] ?? 300);

let rig: StompRig;

// each test its own: queues that random frames declared stay as they are
beforeEach(() => {
  rig = new StompRig({ bodyBytes: 2048, headerBytes: 256, headerCount: 20 });
});

/** After a peer has said its piece: what it got is a series of frames, and the broker serves others as before. */
async function check(peer: RigPeer): Promise<void> {
  const frames = await peer.frames();
  expect(peer.received.toString('latin1')).toMatch(/^\n*$/);
  const errors = frames.filter(({ command }) => command === 'ERROR');
  expect(errors.length).toBeLessThanOrEqual(1);
  if (errors.length === 1) {
    expect(frames.at(-1)).toBe(errors[0]);
    expect(peer.ended).toBe(true);
    expect(errors[0]?.headers['message']).not.toBe('internal_error');
  }
  for (const { command } of frames) expect(command).toMatch(/^(CONNECTED|MESSAGE|RECEIPT|ERROR)$/);
  // what is kept of a peer that says nothing whole is bounded
  const { restBytes } = peer.stream as unknown as { restBytes: number };
  expect(restBytes).toBeLessThanOrEqual(4096);
  peer.stream.destroy();
  await peer.settle();
  expect([rig.door.connections.size, rig.door.handshakes.size]).toEqual([0, 0]);
  for (const queue of rig.core.vhost.queues.values()) {
    expect([queue.counts.consumers, queue.counts.unacked]).toEqual([0, 0]);
    queue.purge();
  }
}

const text = fc.constantFrom(
  ...[
    '/queue/a',
    '/topic/a',
    '/topic/a.>',
    '/queue/>',
    '/queue/*.b',
    '/queue/a,/queue/b',
    '/temp-queue/t',
    '/temp-topic/t',
    '/exchange/amq.fanout',
  ],
  ...[
    '/amq/queue/a',
    '/reply-queue/a',
    '/exchange/amq.headers',
    'a',
    '',
    '0',
    '1',
    '-1',
    'true',
    'false',
    'auto',
    'client',
  ],
  ...[
    'client-individual',
    'session-x@@1',
    '\\n',
    '\\x',
    'a = 1',
    "b LIKE '%'",
    'a = (',
    '99999999999999999999',
    '\u00e9',
  ],
);
const name = fc.constantFrom(
  ...['destination', 'id', 'ack', 'receipt', 'transaction', 'selector', 'message-id', 'subscription', 'content-length'],
  ...['persistent', 'priority', 'expires', 'expiration', 'reply-to', 'durable', 'auto-delete', 'exclusive', 'requeue'],
  ...[
    'x-max-length',
    'x-message-ttl',
    'x-dead-letter-exchange',
    'prefetch-count',
    'activemq.prefetchSize',
    'x-priority',
  ],
  ...['activemq.subscriptionName', 'client-id', 'no-local', 'user-id', 'browser', 'x-queue-name', 'x-queue-type'],
);
const command = fc.constantFrom(
  ...[
    'SEND',
    'SUBSCRIBE',
    'UNSUBSCRIBE',
    'ACK',
    'NACK',
    'BEGIN',
    'COMMIT',
    'ABORT',
    'DISCONNECT',
    'CONNECT',
    'STOMP',
    'X',
  ],
);
const anyFrame = fc
  .record({
    command,
    headers: fc.array(fc.tuple(name, text), { maxLength: 6 }),
    body: fc.string({ maxLength: 20 }),
  })
  .map(({ command, headers, body }) => {
    return `${command}\n${headers.map(([key, value]) => `${key}:${value}\n`).join('')}\n${body}\0`;
  });

const login = (version: string): string =>
  `CONNECT\naccept-version:${version}\nhost:/\nlogin:guest\npasscode:guest\n\n\0`;
const session = [
  'SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\nreceipt:1\n\n\0',
  'BEGIN\ntransaction:t\n\n\0SEND\ndestination:/queue/a\ntransaction:t\ncontent-length:3\nk:\\c\n\n\0\n\0\0',
  'COMMIT\ntransaction:t\nreceipt:2\n\n\0\n\r\n',
  'SEND\ndestination:/topic/b\nreply-to:/temp-queue/r\npersistent:true\nreceipt:3\n\nbody\0',
  'SUBSCRIBE\nid:d\ndestination:/topic/b.#\ndurable:true\nauto-delete:false\nselector:a > 5\n\n\0',
  'UNSUBSCRIBE\nid:d\ndurable:true\n\n\0SEND\ndestination:/queue/a\n\nplain\0UNSUBSCRIBE\nid:0\n\n\0DISCONNECT\nreceipt:4\n\n\0',
].join('');

test('any octets at all', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 }),
      fc.boolean(),
      async (chunks, known) => {
        const peer = known ? await rig.login() : rig.open();
        for (const chunk of chunks) peer.send(Buffer.from(chunk));
        await check(peer);
      },
    ),
    { numRuns: runs },
  );
});

test('frames of known words in any order, in every version', async () => {
  const version = fc.constantFrom('1.0', '1.1', '1.2');
  await fc.assert(
    fc.asyncProperty(version, fc.array(anyFrame, { maxLength: 12 }), async (accept, frames) => {
      const peer = await rig.login(`accept-version:${accept}`);
      for (const frame of frames) peer.send(frame);
      await check(peer);
    }),
    { numRuns: 2 * runs },
  );
});

test('a valid session with octets changed, removed, doubled or put in', async () => {
  const octets = Buffer.from(login('1.2') + session);
  const change = fc.record({
    at: fc.nat(octets.length - 1),
    kind: fc.constantFrom('set', 'remove', 'insert', 'repeat'),
    octet: fc.oneof(fc.constantFrom(0, 0x0a, 0x0d, 0x3a, 0x5c), fc.nat(255)),
    length: fc.nat(40),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(octets.length), async (changes, cut) => {
      let mutated = octets;
      for (const { at, kind, octet, length } of changes) {
        const [before, after] = [mutated.subarray(0, at), mutated.subarray(at)];
        if (kind === 'set') mutated = Buffer.concat([before, Buffer.from([octet]), after.subarray(1)]);
        else if (kind === 'remove') mutated = Buffer.concat([before, after.subarray(length)]);
        else if (kind === 'insert') mutated = Buffer.concat([before, Buffer.from([octet]), after]);
        else mutated = Buffer.concat([before, after.subarray(0, length), after]);
      }
      const peer = rig.open();
      peer.send(mutated.subarray(0, cut));
      await peer.settle();
      peer.send(mutated.subarray(cut));
      await check(peer);
    }),
    { numRuns: runs },
  );
});

test('a session that is cut off anywhere, or comes in two pieces', async () => {
  const whole = login('1.2') + session;
  let answered = '';
  for (let cut = 1; cut <= whole.length; cut++) {
    const peer = rig.open();
    peer.send(whole.slice(0, cut));
    await peer.settle();
    if (cut % 7 === 0) {
      peer.send(whole.slice(cut));
      const frames = await peer.frames();
      const receipts = frames
        .filter(({ command }) => command === 'RECEIPT')
        .map(({ headers }) => headers['receipt-id']);
      answered ||= receipts.join();
      expect(receipts.join()).toBe(answered);
    }
    await check(peer);
  }
  expect(answered).toBe('1,2,3,4');
});

test('a stranger that announces much, or never ends a line, takes no memory and is refused', async () => {
  for (const greedy of [
    `CONNECT\ncontent-length:${2 ** 40}\n\n`,
    `CONNECT\na:${'x'.repeat(300)}`,
    `CONNECT\n${'a:b\n'.repeat(30)}`,
    `CONNECT\n\n${'x'.repeat(3000)}`,
    'C'.repeat(50),
  ]) {
    const peer = rig.open();
    peer.send(greedy);
    expect((await peer.frames()).map(({ command }) => command)).toEqual(['ERROR']);
    expect(peer.ended).toBe(true);
    await check(peer);
  }
});
