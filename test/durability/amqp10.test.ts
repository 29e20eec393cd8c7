import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Composite } from '../../src/protocols/amqp10/performatives.ts';
import { AmqpMap, Described, symbol, uint } from '../../src/protocols/amqp10/types.ts';
import { Amqp10Peer, bareOf, data, section, toSource } from '../support/amqp10-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const durable = section(0x70, [true]);
const accepted: Composite = { is: 'accepted' };

test('what was accepted is there after kill -9, octet for octet; what was settled or rolled back is not', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-'));
  let broker = await BrokerProcess.start({ dataDir });
  const bodies = [
    Buffer.concat([section(0x73, ['id']), data('plain')]),
    section(0x77, 'a value'),
    Buffer.concat([data('two'), data('parts'), section(0x78, new AmqpMap([[symbol('x-opt-crc'), uint(1)]]))]),
  ];
  try {
    const peer = await Amqp10Peer.openSession(broker.port('amqp'), { containerId: 'survivor' });
    await peer.sender(0, 'survivors');
    await peer.receiver(1, toSource('/topic/survivors', { durable: 2, expiryPolicy: 'never' }), 0, { name: 'sub' });
    for (const body of bodies) expect(await peer.publish(0, Buffer.concat([durable, body]))).toEqual(accepted);
    await peer.sender(2, '/topic/survivors');
    expect(await peer.publish(2, Buffer.concat([durable, data('subscribed')]))).toEqual(accepted);

    await peer.sender(3, { is: 'coordinator' });
    const declare = async (): Promise<Buffer> => {
      const state = await peer.publish(3, section(0x77, new Described(0x31n, [null])));
      return (state as Composite & { is: 'declared' }).txnId;
    };
    const [committed, open] = [await declare(), await declare()];
    for (const [txnId, text] of [
      [committed, 'committed'],
      [open, 'open'],
    ] as const) {
      await peer.publish(0, Buffer.concat([durable, data(text)]), { state: { is: 'transactionalState', txnId } });
    }
    expect(await peer.publish(3, section(0x77, new Described(0x32n, [committed, false])))).toEqual(accepted);
    await broker.kill();
    peer.destroy();

    broker = await BrokerProcess.start({ dataDir });
    const again = await Amqp10Peer.openSession(broker.port('amqp'), { containerId: 'survivor' });
    await again.receiver(0, 'survivors');
    for (const [deliveryCount, body] of [...bodies, data('committed')].entries()) {
      again.credit(0, 1, { deliveryCount });
      const { transfer, octets } = await again.message();
      expect(bareOf(octets).toString('hex')).toBe(body.toString('hex'));
      // the receiver settles second: the broker's answer says that it is on disk
      again.settle(transfer.deliveryId!, accepted, { settled: false });
      expect((await again.expect('disposition')).settled).toBe(true);
    }
    await again.receiver(1, toSource('/topic/survivors', { durable: 2, expiryPolicy: 'never' }), 1, { name: 'sub' });
    expect(bareOf((await again.message()).octets).equals(data('subscribed'))).toBe(true);
    await broker.kill();
    again.destroy();

    broker = await BrokerProcess.start({ dataDir });
    const last = await Amqp10Peer.openSession(broker.port('amqp'));
    await last.receiver(0, 'survivors');
    last.credit(0, 5, { drain: true });
    expect(await last.expect('flow')).toMatchObject({ handle: 0, linkCredit: 0, available: 0 });
    last.destroy();
  } finally {
    await broker.remove();
    await rm(dataDir, { recursive: true, force: true });
  }
});
