import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeFrame, protocolHeaders } from '../../../src/protocols/amqp10/frame.ts';
import type { Composite, Values } from '../../../src/protocols/amqp10/performatives.ts';
import { AmqpMap, type Any, Described, encodeList, symbol, uint } from '../../../src/protocols/amqp10/types.ts';
import { Amqp10Peer, bodyOf, data, section, toSource, toTarget } from '../../support/amqp10-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

/** What a peer must not do, and what the specification has for it: no more dies of it than must. */
let broker: BrokerProcess;
let port: number;
let queues = 0;
beforeAll(async () => {
  broker = await BrokerProcess.start({ args: ['--set', 'limits.messageBytes=100000'] });
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

const accepted: Composite = { is: 'accepted' };

async function withSender(values: Partial<Values<'attach'>> = {}): Promise<{ peer: Amqp10Peer; queue: string }> {
  const queue = `violations-${++queues}`;
  const peer = await Amqp10Peer.openSession(port);
  await peer.sender(0, queue, values);
  return { peer, queue };
}

/** The link alone is gone: its session serves another. */
async function goesOn(peer: Amqp10Peer, queue: string, handle = 7): Promise<void> {
  await peer.sender(handle, queue);
  expect(await peer.publish(handle, data('well'))).toEqual(accepted);
  peer.destroy();
}

describe('mandatory fields', () => {
  test('[1.0 §1.3.4-1] an open without its container is answered by open and close', async () => {
    const peer = await Amqp10Peer.connect(port);
    await peer.login();
    peer.write(protocolHeaders.amqp);
    peer.write(rawFrame(0, 0x10, []));
    await peer.expectHeader(protocolHeaders.amqp);
    await peer.expect('open');
    expect((await peer.expect('close')).error).toMatchObject({ condition: 'amqp:invalid-field' });
    peer.destroy();
  });

  test.each<[string, number, string]>([
    ['begin', 0x11, 'begin.nextOutgoingId is mandatory'],
    ['attach', 0x12, 'attach.name is mandatory'],
    ['flow', 0x13, 'flow.incomingWindow is mandatory'],
    ['transfer', 0x14, 'transfer.handle is mandatory'],
    ['disposition', 0x15, 'disposition.role is mandatory'],
    ['detach', 0x16, 'detach.handle is mandatory'],
  ])('[1.0 §1.3.4-1] %s without any closes the connection', async (name, code, description) => {
    const peer = await Amqp10Peer.openSession(port);
    peer.write(rawFrame(name === 'begin' ? 1 : 0, code, []));
    expect((await peer.expect('close')).error).toMatchObject({
      condition: expect.stringMatching(/^amqp:(invalid-field|decode-error)$/),
      description,
    });
    peer.destroy();
  });
});

test('[1.0 §2.4.1-3] open on another channel than 0 is a framing error', async () => {
  const peer = await Amqp10Peer.connect(port);
  await peer.login();
  peer.write(protocolHeaders.amqp);
  peer.write(encodeFrame(1, 'open', { containerId: 'elsewhere' }));
  await peer.expectHeader(protocolHeaders.amqp);
  await peer.expect('open');
  expect((await peer.expect('close')).error?.condition).toBe('amqp:connection:framing-error');
  expect(await peer.end()).toHaveLength(0);
});

describe('attach', () => {
  const sender = { name: 'refused', handle: 3, role: false, initialDeliveryCount: 0 };
  const dynamic = (properties: [Any, Any][]): Composite => ({
    is: 'source',
    dynamic: true,
    dynamicNodeProperties: new AmqpMap(properties),
  });

  test.each<[string, Values<'attach'>]>([
    ['[1.0 §2.7.3-4] a sender without initial-delivery-count', { name: 'refused', handle: 3, role: false }],
    ['[1.0 §2.8.2-2] a snd-settle-mode that is none', { ...sender, sndSettleMode: 3 }],
    ['[1.0 §2.8.3-1] a rcv-settle-mode that is none', { ...sender, rcvSettleMode: 2 }],
    ['[1.0 §3.5.5-1] a durability that is none', { ...sender, target: { is: 'target', address: 'd', durable: 3 } }],
    [
      '[1.0 §3.5.6-2] an expiry-policy that is none',
      { ...sender, target: { is: 'target', address: 'd', expiryPolicy: 'tomorrow' } },
    ],
    [
      '[1.0 §3.5.9-1] a lifetime-policy that is none',
      { name: 'refused', handle: 3, role: true, source: dynamic([[symbol('lifetime-policy'), uint(1)]]) },
    ],
    [
      '[1.0 §3.5.9-1] a lifetime-policy of another kind',
      {
        name: 'refused',
        handle: 3,
        role: true,
        source: dynamic([[symbol('lifetime-policy'), new Described(0x24n, [])]]),
      },
    ],
    [
      '[1.0 §3.5.9-1] distribution modes that are none',
      { name: 'refused', handle: 3, role: true, source: dynamic([[symbol('supported-dist-modes'), uint(0)]]) },
    ],
  ])('%s is refused with invalid-field', async (_name, values) => {
    const peer = await Amqp10Peer.openSession(port);
    peer.send('attach', { target: toTarget('violations-attach'), ...values });
    const attach = await peer.expect('attach');
    expect(values.role ? attach.source : attach.target).toBeUndefined();
    expect(await peer.detached()).toMatchObject({ condition: 'amqp:invalid-field', closed: true });
    peer.send('detach', { handle: 3, closed: true });
    await goesOn(peer, 'violations-attach', 3);
  });

  test('a receiver’s initial-delivery-count is nobody’s business', async () => {
    const peer = await Amqp10Peer.openSession(port);
    await peer.receiver(0, toSource('violations-receiver'), 0, { initialDeliveryCount: 9 });
    peer.destroy();
  });
});

describe('the first transfer of a delivery', () => {
  test.each<[string, Partial<Values<'transfer'>>]>([
    ['without delivery-id', { deliveryId: undefined }],
    ['without delivery-tag', { deliveryTag: undefined }],
    ['without delivery-tag, settled', { deliveryTag: undefined, settled: true }],
    ['with a delivery-tag of 33 octets', { deliveryTag: Buffer.alloc(33) }],
  ])('[1.0 §2.7.5-5] %s detaches the link', async (_name, values) => {
    const { peer, queue } = await withSender();
    peer.transfer(0, data('x'), values);
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    await goesOn(peer, queue);
  });

  test('[1.0 §2.7.5-5] a delivery-tag has up to 32 octets, also none', async () => {
    const { peer } = await withSender();
    for (const octets of [0, 32]) {
      expect(await peer.publish(0, data('x'), { deliveryTag: Buffer.alloc(octets) })).toEqual(accepted);
    }
    peer.destroy();
  });
});

describe('settled', () => {
  const parts = [data('0123456789').subarray(0, 5), data('0123456789').subarray(5)] as const;

  test('[1.0 §2.7.5-6] false where the sender settles all detaches the link', async () => {
    const { peer, queue } = await withSender({ sndSettleMode: 1 });
    peer.transfer(0, data('x'), { settled: false });
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    await goesOn(peer, queue);
  });

  test('[1.0 §2.7.5-6] true where the sender settles none detaches the link', async () => {
    const { peer, queue } = await withSender({ sndSettleMode: 0 });
    peer.transfer(0, data('x'), { settled: true });
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    await goesOn(peer, queue);
  });

  test('[1.0 §2.7.5-6] it is enough that one transfer of a delivery says it', async () => {
    const { peer, queue } = await withSender({ sndSettleMode: 1 });
    await peer.receiver(1, queue, 5);
    peer.transfer(0, parts[0], { settled: false, more: true });
    peer.send('transfer', { handle: 0, settled: true }, 0, parts[1]);
    expect(bodyOf((await peer.message()).octets)).toBe('0123456789');
    peer.transfer(0, parts[0], { settled: true, more: true });
    peer.send('transfer', { handle: 0 }, 0, parts[1]);
    expect(bodyOf((await peer.message()).octets)).toBe('0123456789');
    peer.transfer(0, parts[0], { settled: false, more: true });
    peer.send('transfer', { handle: 0, settled: false }, 0, parts[1]);
    expect((await peer.detached()).condition).toBe('amqp:invalid-field');
    peer.destroy();
  });

  test('what does not say it is settled as the link says', async () => {
    const { peer, queue } = await withSender({ sndSettleMode: 1 });
    await peer.receiver(1, queue, 5, { sndSettleMode: 1 });
    peer.transfer(0, data('unsaid'));
    expect(bodyOf((await peer.message()).octets)).toBe('unsaid');
    peer.destroy();
  });
});

test('[1.0 §2.6.14-2] deliveries of one link that are interleaved detach it', async () => {
  const { peer, queue } = await withSender();
  peer.transfer(0, data('one').subarray(0, 3), { more: true });
  peer.transfer(0, data('two').subarray(0, 3), { more: true });
  expect((await peer.detached()).condition).toBe('amqp:invalid-field');
  await goesOn(peer, queue);
});

test('[1.0 §2.6.14-3] those of two links may be', async () => {
  const { peer, queue } = await withSender();
  await peer.sender(1, queue);
  const [one, two] = [data('one'), data('two')];
  peer.transfer(0, one.subarray(0, 3), { more: true, settled: true });
  peer.transfer(1, two.subarray(0, 3), { more: true, settled: true });
  peer.send('transfer', { handle: 1 }, 0, two.subarray(3));
  peer.send('transfer', { handle: 0 }, 0, one.subarray(3));
  await peer.receiver(2, queue, 2);
  const bodies = [bodyOf((await peer.message()).octets), bodyOf((await peer.message()).octets)];
  expect(bodies).toEqual(['two', 'one']);
  peer.destroy();
});

test('[1.0 §2.7.3-2] max-message-size is what is said: one octet more detaches the link', async () => {
  const queue = `violations-${++queues}`;
  const peer = await Amqp10Peer.openSession(port);
  const { maxMessageSize } = await peer.sender(0, queue);
  expect(maxMessageSize).toBeGreaterThanOrEqual(100_000);
  const message = section(0x75, Buffer.alloc(maxMessageSize! - 8));
  expect(message).toHaveLength(maxMessageSize!);
  const send = (handle: number, octets: Buffer): void => {
    peer.transfer(handle, octets.subarray(0, 60_000), { more: true });
    for (let at = 60_000; at < octets.length; at += 60_000) {
      const end = Math.min(at + 60_000, octets.length);
      peer.send('transfer', { handle, more: end < octets.length }, 0, octets.subarray(at, end));
    }
  };
  send(0, message);
  expect((await peer.expect('disposition')).state).toEqual(accepted);
  send(0, Buffer.concat([message, Buffer.alloc(1)]));
  expect((await peer.detached()).condition).toBe('amqp:link:message-size-exceeded');
  await goesOn(peer, queue);
});

/** A performative that leaves out what the tests' own writer demands. */
function rawFrame(channel: number, code: number, items: Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from([0, 0x53, code]), encodeList(items)]);
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, 2, 0, 0, channel]), body]);
  frame.writeUInt32BE(frame.length);
  return frame;
}
