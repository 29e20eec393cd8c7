import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { silent } from '../../src/lib/log.ts';
import { AddressLimit, Listener } from '../../src/transport/listener.ts';
import type { Stream } from '../../src/transport/stream.ts';
import type { Core } from '../support/core.ts';
import { StompRig } from '../support/stomp-rig.ts';

/**
 * Peers that end in order and have much to read by then. The sockets and the kernel's buffers are real; the time for
 * which the broker waits for progress is the test's.
 */
const body = Buffer.alloc(16 * 1024 * 1024, 'x');

let core: Core;
let listener: Listener;
let stream: Stream;
let peer: Socket;
let received: Buffer[];
let ended: boolean;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const rig = new StompRig({ bodyBytes: 32 * 1024 * 1024 });
  core = rig.core;
  listener = new Listener({
    protocol: {
      name: 'stomp',
      accept(accepted: Stream) {
        stream = accepted;
        return rig.door.accept(accepted);
      },
      sweep() {},
      stop() {},
    },
    clock: core.clock,
    log: silent,
    addresses: new AddressLimit(10),
    certificate: null,
    webSocket: null,
  });
  peer = connect(await listener.listen({ host: '127.0.0.1', port: 0 }), '127.0.0.1');
  received = [];
  ended = false;
  peer.on('data', (chunk: Buffer) => received.push(chunk));
  peer.on('error', () => {});
  peer.on('close', () => {
    ended = true;
  });
  await once(peer, 'connect');
  core.declare('q');
  peer.write('CONNECT\nhost:/\nlogin:guest\npasscode:guest\naccept-version:1.2\n\n\0');
  await until(() => text().includes('CONNECTED'));
  peer.write('SUBSCRIBE\nid:0\ndestination:/queue/q\nreceipt:r\n\n\0');
  await until(() => text().includes('RECEIPT'));
  peer.pause();
  received.length = 0;
  core.publish('', 'q', body.toString('latin1'));
  await until(() => inside().queuedBytes > body.length / 4);
});

afterEach(() => {
  vi.useRealTimers();
  peer.destroy();
  listener.destroyConnections();
  listener.close();
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await nextTurn();
}

function text(): string {
  return Buffer.concat(received).toString('latin1');
}

/** The broker's end: what the kernel has not taken of it, and how far its end is. */
function inside(): { readonly queuedBytes: number; readonly state: string } {
  return stream as unknown as { queuedBytes: number; state: string };
}

/** Reads until the broker can write more, and then nothing for as long as it would wait. @returns how often it could */
async function readSlowly(): Promise<number> {
  let times = 0;
  for (; inside().queuedBytes > 0 && !ended; times++) {
    const before = inside().queuedBytes;
    peer.resume();
    await until(() => inside().queuedBytes < before);
    peer.pause();
    vi.advanceTimersByTime(2000);
  }
  peer.resume();
  await until(() => ended);
  return times;
}

test('one that leaves by DISCONNECT and reads slowly gets its message and the RECEIPT, however long it takes', async () => {
  peer.write('DISCONNECT\nreceipt:bye\n\n\0');
  await until(() => inside().state === 'ending');
  expect(await readSlowly()).toBeGreaterThan(2);
  const all = text();
  expect(all.startsWith('MESSAGE\n')).toBe(true);
  expect(all.length).toBeGreaterThan(body.length);
  expect(all.slice(body.length)).toMatch(/\0\n*RECEIPT\nreceipt-id:bye\n\n\0\n*$/);
});

test('one that makes a mistake and reads slowly gets its message and the ERROR', async () => {
  peer.write('NONSENSE\n\n\0');
  await until(() => inside().state === 'ending');
  expect(await readSlowly()).toBeGreaterThan(2);
  expect(text().slice(body.length)).toMatch(/\0\n*ERROR\n/);
});

test('one that leaves and reads nothing is broken off after two seconds', async () => {
  peer.write('DISCONNECT\nreceipt:bye\n\n\0');
  await until(() => inside().state === 'ending');
  vi.advanceTimersByTime(1999);
  expect(inside().state).toBe('ending');
  vi.advanceTimersByTime(1);
  expect(inside().state).toBe('closed');
  peer.resume();
  await until(() => ended);
  expect(text()).not.toContain('RECEIPT');
});
