import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { silent } from '../../../src/lib/log.ts';
import { isHandle, writeTo } from '../../../src/transport/handle.ts';
import { AddressLimit, Listener } from '../../../src/transport/listener.ts';
import { longFrom, type Stream } from '../../../src/transport/stream.ts';

/** What a test leaves open. */
const open: { destroy(): void }[] = [];

afterEach(() => {
  for (const each of open.splice(0)) each.destroy();
});

/** A listener's connection, seen from both ends. */
async function accept() {
  const closes: string[] = [];
  let drains = 0;
  const accepted: Stream[] = [];
  const listener = new Listener({
    protocol: {
      name: 'test',
      accept(stream: Stream) {
        accepted.push(stream);
        return {
          onBytes: (_chunk: Buffer, end: number) => end,
          onDrain: () => {
            drains += 1;
          },
          onFlush() {},
          onClose: (error: string) => {
            closes.push(error);
          },
        };
      },
      sweep() {},
      stop() {},
    },
    clock: { nowMs: 0, refresh() {} },
    log: silent,
    addresses: new AddressLimit(10),
    certificate: null,
    webSocket: null,
  });
  const port = await listener.listen({ host: '127.0.0.1', port: 0 });
  const peer = connect(port, '127.0.0.1');
  peer.on('error', () => {});
  open.push(peer, { destroy: () => listener.destroyConnections() }, { destroy: () => listener.close() });
  await once(peer, 'connect');
  while (accepted.length === 0) await nextTurn();
  return { stream: accepted[0]!, peer, closes, drains: () => drains };
}

test('handles of this runtime are written to past its streams', async () => {
  const server = createServer({ pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const peer = connect((server.address() as { port: number }).port, '127.0.0.1');
  const [socket] = (await once(server, 'connection')) as [Socket];
  open.push(peer, socket, { destroy: () => server.close() });
  const handle = (socket as unknown as { _handle: object })._handle;
  if (!isHandle(handle)) throw new Error('the inside of sockets has changed: src/transport/handle.ts is of no use');
  expect(writeTo(handle, Buffer.from('taken at once'), () => expect.fail('nothing was to come'))).toBe(0);
  expect(String((await once(peer, 'data'))[0])).toBe('taken at once');
});

test('what a peer does not read waits in order, holds producers back, and lets them go on', async () => {
  const { stream, peer, drains } = await accept();
  peer.pause();
  const sent: Buffer[] = [];
  for (let i = 0; sent.length < 4 || !stream.blocked; i++) {
    const bytes = Buffer.alloc(50_000 + i, i);
    sent.push(bytes);
    stream.write(bytes);
    if (i % 7 === 0) await nextTurn();
    expect(i).toBeLessThan(2000);
  }
  expect(drains()).toBe(0);
  const all = Buffer.concat(sent);
  const received: Buffer[] = [];
  let bytes = 0;
  peer.on('data', (chunk: Buffer) => {
    received.push(chunk);
    bytes += chunk.length;
  });
  peer.resume();
  while (bytes < all.length) await nextTurn();
  expect(Buffer.concat(received).equals(all)).toBe(true);
  expect(drains()).toBe(1);
  expect(stream.blocked).toBe(false);
});

test('what was written before the end arrives, and then the end', async () => {
  const { stream, peer, closes } = await accept();
  peer.pause();
  const bytes = Buffer.alloc(5_000_000, 'x');
  stream.write(bytes);
  stream.end();
  expect(closes).toEqual(['']);
  let received = 0;
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  expect(received).toBe(bytes.length);
});

test('a write that fails closes the connection, once, and never while somebody writes', async () => {
  const { stream, peer, closes } = await accept();
  peer.pause();
  peer.resetAndDestroy();
  while (closes.length === 0) {
    for (let i = 0; i < 4; i++) {
      stream.write(Buffer.alloc(60_000));
      expect(closes).toEqual([]);
    }
    await nextTurn();
  }
  await nextTurn();
  expect(closes).toHaveLength(1);
  expect(closes[0]).toMatch(/^(write EPIPE|write ECONNRESET|read ECONNRESET)$/);
  expect(stream.open).toBe(false);
});

/** What a peer has received once it is so many octets. */
async function receive(peer: Socket, bytes: number): Promise<Buffer> {
  const received: Buffer[] = [];
  let count = 0;
  peer.on('data', (chunk: Buffer) => {
    received.push(chunk);
    count += chunk.length;
  });
  peer.resume();
  while (count < bytes) await nextTurn();
  return Buffer.concat(received);
}

const tail = Buffer.from('|');

/** Writes a range of a buffer that is written over as soon as the call returns. @returns what the peer is to see of it */
function writeBorrowed(stream: Stream, bytes: number, fill: number): Buffer {
  const borrowed = Buffer.alloc(bytes + 20, fill);
  for (let at = 0; at + 4 <= borrowed.length; at += 4096) borrowed.writeUInt32BE(at, at);
  const seen = Buffer.concat([borrowed.subarray(10, 10 + bytes), tail]);
  stream.writeRange(borrowed, 10, 10 + bytes, tail);
  borrowed.fill(0xee);
  return seen;
}

test('a long range is taken from where it lies, in order with what was written before and after it', async () => {
  const { stream, peer } = await accept();
  const seen: Buffer[] = [];
  for (const bytes of [longFrom, 10, longFrom - 1, 300_000, 0, longFrom + 1]) {
    stream.write(Buffer.from('head'));
    seen.push(Buffer.from('head'), writeBorrowed(stream, bytes, bytes & 0x7f));
  }
  const all = Buffer.concat(seen);
  expect((await receive(peer, all.length)).equals(all)).toBe(true);
  expect(stream.bytesOut).toBe(all.length);
});

test('a long range is in the kernel’s hands before the call returns', async () => {
  const { stream, peer } = await accept();
  const seen = writeBorrowed(stream, longFrom, 1);
  expect(stream.bytesOut).toBe(seen.length);
  expect((await receive(peer, seen.length)).equals(seen)).toBe(true);
});

test('what the kernel has no room for of long ranges is copied, and arrives when the peer reads', async () => {
  const { stream, peer, drains } = await accept();
  peer.pause();
  const seen: Buffer[] = [];
  for (let i = 0; seen.length < 4 || !stream.blocked; i++) {
    stream.write(Buffer.from(`${i}:`));
    seen.push(Buffer.from(`${i}:`), writeBorrowed(stream, longFrom + i * 1000, i & 0x7f));
    if (i % 5 === 0) await nextTurn();
    expect(i).toBeLessThan(2000);
  }
  const all = Buffer.concat(seen);
  expect((await receive(peer, all.length)).equals(all)).toBe(true);
  expect(drains()).toBe(1);
  // and, when nothing waits any longer, from where it lies again
  const last = writeBorrowed(stream, longFrom, 0x55);
  expect(stream.bytesOut).toBe(all.length + last.length);
});

test('one buffer goes to many peers, slow ones and quick ones, and none sees what is written over it', async () => {
  const peers = await Promise.all(Array.from({ length: 6 }, () => accept()));
  peers.forEach(({ peer }, index) => {
    if (index % 2 === 0) peer.pause();
  });
  const quick = peers.filter((_each, index) => index % 2 === 1).map(({ peer }) => receive(peer, 60 * 200_001));
  const borrowed = Buffer.alloc(200_000);
  const seen: Buffer[] = [];
  for (let i = 0; i < 60; i++) {
    borrowed.fill(i + 1);
    seen.push(Buffer.from(borrowed), tail);
    for (const { stream } of peers) stream.writeRange(borrowed, 0, borrowed.length, tail);
    borrowed.fill(0xee);
    await nextTurn();
  }
  const all = Buffer.concat(seen);
  for (const each of quick) expect((await each).equals(all)).toBe(true);
  for (const { peer } of peers.filter((_each, index) => index % 2 === 0)) {
    expect((await receive(peer, all.length)).equals(all)).toBe(true);
  }
});

test('a peer that leaves in the middle of long ranges is told once, in a turn of its own', async () => {
  const { stream, peer, closes } = await accept();
  peer.pause();
  peer.resetAndDestroy();
  for (let i = 0; closes.length === 0; i++) {
    for (let j = 0; j < 4; j++) {
      writeBorrowed(stream, 60_000, i & 0x7f);
      expect(closes).toEqual([]);
    }
    await nextTurn();
  }
  await nextTurn();
  expect(closes).toHaveLength(1);
  expect(closes[0]).toMatch(/^(write EPIPE|write ECONNRESET|read ECONNRESET)$/);
  writeBorrowed(stream, 60_000, 1); // nobody is there
  await nextTurn();
  expect(closes).toHaveLength(1);
});
