import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodeFrame, protocolHeaders } from '../../../src/protocols/amqp10/frame.ts';
import { encodePerformative } from '../../../src/protocols/amqp10/performatives.ts';
import { Amqp10Peer, data, section, toTarget } from '../../support/amqp10-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

let broker: BrokerProcess;
let port: number;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

/** The broker lives, and serves somebody else. */
async function expectWell(): Promise<void> {
  const peer = await Amqp10Peer.openSession(port, { containerId: 'well' });
  await peer.sender(0, 'hostile-well');
  expect(await peer.publish(0, data('x'))).toEqual({ is: 'accepted' });
  peer.destroy();
  expect(broker.log).not.toMatch(/a fault of ours/);
}

/** An open link, and frames that belong there: each test breaks them in its way. */
const frames = [
  encodeFrame(0, 'transfer', { handle: 0, deliveryId: 0, deliveryTag: Buffer.from('t'), settled: false }, data('x')),
  encodeFrame(0, 'flow', { incomingWindow: 5, nextOutgoingId: 0, outgoingWindow: 5, handle: 0, linkCredit: 5 }),
  encodeFrame(0, 'disposition', { role: true, first: 0, last: 5, settled: true, state: { is: 'accepted' } }),
  encodeFrame(0, 'attach', { name: 'n', handle: 1, role: true, source: { is: 'source', address: 'hostile' } }),
  encodeFrame(0, 'attach', {
    name: 'd',
    handle: 2,
    role: false,
    target: { is: 'target', dynamic: true },
    initialDeliveryCount: 0,
  }),
  encodeFrame(0, 'detach', { handle: 0, closed: true }),
  encodeFrame(0, 'end', {}),
  encodeFrame(1, 'begin', { nextOutgoingId: 0, incomingWindow: 1, outgoingWindow: 1 }),
];

async function attack(octets: Buffer): Promise<void> {
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, toTarget('hostile'));
  peer.socket.end(octets); // the broker answers, closes, and is not to hang
  await peer.end();
  peer.destroy();
}

test('[1.0 §1.6-2] frames with octets changed at random', async () => {
  const numRuns = Number(process.env['FUZZ_RUNS'] ?? 150);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom(...frames), fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
      async (changes) => {
        const broken = changes.map(([frame, at, octet]) => {
          const copy = Buffer.from(frame);
          copy[at % copy.length] = octet;
          return copy;
        });
        await attack(Buffer.concat(broken));
      },
    ),
    { numRuns },
  );
  await expectWell();
});

test('octets at random behind each stage of the handshake', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.uint8Array({ maxLength: 200 }), async (stage, random) => {
      const peer = await Amqp10Peer.connect(port);
      if (stage > 0) peer.write(protocolHeaders.sasl);
      if (stage > 1) {
        await peer.expectHeader(protocolHeaders.sasl);
        await peer.expect('saslMechanisms');
      }
      peer.socket.end(Buffer.from(random));
      await peer.end();
    }),
    { numRuns: 60 },
  );
  await expectWell();
});

test('[1.0 §2.7.3-2] a message that never ends takes the room of the largest message, and no more', async () => {
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, 'hostile-endless');
  const before = residentBytes();
  peer.transfer(0, data('x'), { more: true });
  const part = Buffer.alloc(120_000);
  for (let sent = 0; sent < 40 * 1024 * 1024; sent += part.length) {
    peer.send('transfer', { handle: 0, more: true }, 0, part);
  }
  expect((await peer.detached()).condition).toBe('amqp:link:message-size-exceeded');
  expect(residentBytes() - before).toBeLessThan(150 * 1024 * 1024);
  peer.destroy();
  await expectWell();
});

test('announced sizes take no memory', async () => {
  const before = residentBytes();
  for (const hex of ['d0ffffffffffffffff', 'f0ffffffffffffffff40', 'b0ffffffff']) {
    await attack(Buffer.concat([Buffer.from('0000001502000000005312', 'hex'), Buffer.from(hex, 'hex')]));
  }
  const map = Buffer.from('005374d1fffffff0ffffffff', 'hex');
  await attack(frame(encodePerformative('transfer', { handle: 0, deliveryId: 0 }), map));
  expect(residentBytes() - before).toBeLessThan(100 * 1024 * 1024);
  await expectWell();
});

test('application properties that are no map harm no consumer of another protocol', async () => {
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, '/topic/hostile.properties');
  const broken = Buffer.from('005374c10302a101ff', 'hex');
  peer.transfer(0, Buffer.concat([section(0x73, ['id']), broken, data('x')]), { settled: true });
  peer.destroy();
  await expectWell();
});

function frame(performative: Buffer, payload: Buffer): Buffer {
  const head = Buffer.from([0, 0, 0, 0, 2, 0, 0, 0]);
  head.writeUInt32BE(8 + performative.length + payload.length);
  return Buffer.concat([head, performative, payload]);
}

function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))?.[1]) * 1024;
}
