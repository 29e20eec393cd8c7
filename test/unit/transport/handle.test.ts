import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import { silent } from '../../../src/lib/log.ts';
import { isHandle, writeTo } from '../../../src/transport/handle.ts';
import { AddressLimit, Listener } from '../../../src/transport/listener.ts';
import type { Stream } from '../../../src/transport/stream.ts';

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
