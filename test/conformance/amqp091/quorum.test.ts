import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { type AmqpPeer, noProperties } from '../../support/amqp-peer.ts';
import { int } from '../../support/core.ts';

/** What a client sees of a quorum queue beside what its arguments say. */

let core: AmqpCore;
let peer: AmqpPeer;
beforeEach(async () => {
  core = new AmqpCore();
  peer = await core.openChannel();
});
afterEach(() => peer.destroy());

const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const long = (value: number): Value => ({ type: 'long', value: BigInt(value) });
const headersOf = (native: Buffer) => decodeTable(native, 2);

async function declare(queue: string, declared: Record<string, Value> = { 'x-queue-type': 'quorum' }): Promise<void> {
  await peer.declare(queue, { durable: true, arguments: args(declared) });
}

describe('[RabbitMQ: quorum queues, poison message handling] x-delivery-count', () => {
  test('a first delivery is as it was published', async () => {
    await declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    expect((await peer.get('q', false))?.native).toEqual(noProperties);
  });

  test('get: the header counts the times that the message came back', async () => {
    await declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    for (let count = 0; count <= 3; count++) {
      const got = (await peer.get('q', false))!;
      expect(got.args.bit('redelivered')).toBe(count > 0);
      if (count > 0) expect(headersOf(got.native)).toEqual(args({ 'x-delivery-count': long(count) }));
      peer.send(1, methods.basicReject, { deliveryTag: got.args.bigint('deliveryTag'), requeue: true });
    }
  });

  test('deliver: all else of the message is as it was published, and a header of that name is replaced', async () => {
    await declare('q');
    const own = args({ a: 'b', 'x-delivery-count': int(99) });
    const published = encodeProperties({ contentType: 'text/plain', headers: own, messageId: 'id' }, null as never);
    peer.publish(1, { routingKey: 'q' }, 'm', published);
    await peer.call(1, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
    const first = await peer.content();
    expect(first.native).toEqual(published);
    peer.send(1, methods.basicNack, { deliveryTag: first.args.bigint('deliveryTag'), requeue: true });
    const again = await peer.content();
    const shown = args({ a: 'b', 'x-delivery-count': long(1) });
    expect(again.native).toEqual(
      encodeProperties({ contentType: 'text/plain', headers: shown, messageId: 'id' }, null as never),
    );
    expect(again.body.toString()).toBe('m');
  });

  test('what a connection that went had counts too', async () => {
    await declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    await peer.get('q', false);
    peer.destroy();
    peer = await core.openChannel();
    const got = await peer.get('q', false);
    expect(headersOf(got!.native)).toEqual(args({ 'x-delivery-count': long(1) }));
  });

  test('a classic queue does not show it', async () => {
    await declare('c', {});
    peer.publish(1, { routingKey: 'c' }, 'm');
    await peer.get('c', false);
    peer.send(1, methods.basicNack, { deliveryTag: 1n, requeue: true });
    const got = await peer.get('c', false);
    expect(got?.args.bit('redelivered')).toBe(true);
    expect(got?.native).toEqual(noProperties);
  });
});

test('[RabbitMQ: quorum queues, global QoS] a prefetch of the whole channel is refused with 540', async () => {
  await declare('q');
  await peer.call(1, methods.basicQos, { prefetchCount: 5, global: true }, methods.basicQosOk);
  peer.send(1, methods.basicConsume, { queue: 'q' });
  const { code, text } = await peer.connectionClosed();
  expect(`${code} ${text}`).toBe("540 NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos");
});
