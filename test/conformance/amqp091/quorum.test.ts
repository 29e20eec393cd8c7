import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { AmqpPeer, noProperties } from '../../support/amqp-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
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

  describe('what a connection with many consumers had goes to none of its own other channels, and counts once', () => {
    test.each<[string, () => unknown]>([
      ['lost', () => peer.destroy()],
      ['closed by the client', () => peer.call(0, methods.connectionClose, {}, methods.connectionCloseOk)],
      [
        'closed by the broker',
        () => {
          peer.send(3, methods.channelOpen);
          return peer.connectionClosed(); // after which the broker has hung up, and has sent nothing more
        },
      ],
    ])('%s', async (_how, leave) => {
      const limit = { 'x-queue-type': 'quorum', 'x-delivery-limit': int(2) };
      await declare('q', limit);
      for (let channel = 1; channel <= 5; channel++) {
        if (channel > 1) await peer.openChannel(channel);
        await peer.call(channel, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
      }
      peer.publish(1, { routingKey: 'q' }, 'm');
      expect((await peer.content()).body.toString()).toBe('m');
      await leave();
      peer = await core.openChannel();
      expect(headersOf((await peer.get('q', false))!.native)).toEqual(args({ 'x-delivery-count': long(1) }));
    });
  });

  test('nor does what the first of many had whose heart-beats are missed at once, as of a machine that is gone', async () => {
    await declare('q', { 'x-queue-type': 'quorum', 'x-delivery-limit': int(2) });
    const gone: AmqpPeer[] = [];
    for (let i = 0; i < 5; i++) {
      const each = await core.openChannel({ heartbeat: 2 });
      await each.call(1, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
      gone.push(each);
    }
    peer.publish(1, { routingKey: 'q' }, 'm');
    await gone[0]!.content();
    core.pass(5);
    expect(core.door.connections.size).toBe(1);
    expect(headersOf((await peer.get('q', false))!.native)).toEqual(args({ 'x-delivery-count': long(1) }));
    for (const each of gone) each.destroy();
  });

  test('[0-9-1 basic.deliver.01] what came back more often than x-delivery-limit allows is dead-lettered', async () => {
    await peer.declare('dead');
    await declare('q', {
      'x-queue-type': 'quorum',
      'x-delivery-limit': int(2),
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    });
    peer.publish(1, { routingKey: 'q' }, 'm');
    for (let i = 0; i < 3; i++) {
      const got = (await peer.get('q', false))!;
      peer.send(1, methods.basicReject, { deliveryTag: got.args.bigint('deliveryTag'), requeue: true });
    }
    expect(await peer.get('q')).toBeNull();
    expect((await peer.get('dead'))?.body.toString()).toBe('m');
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

test.each([
  ['if-unused', { ifUnused: true }],
  ['if-empty', { ifEmpty: true }],
])('queue.delete with %s: 540, and the queue stays [RabbitMQ: rabbit_quorum_queue]', async (flag, values) => {
  await declare('q');
  peer.send(1, methods.queueDelete, { queue: 'q', ...values });
  const { code, text } = await peer.connectionClosed();
  expect(`${code} ${text}`).toBe(
    `540 NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations with ${flag} flag set are not supported by quorum queues`,
  );
  peer = await core.openChannel();
  await peer.call(1, methods.queueDeclare, { queue: 'q', passive: true }, methods.queueDeclareOk);
});

describe('[RabbitMQ: quorum queues, priorities] two levels, above 4 and not', () => {
  async function order(...published: readonly [body: string, priority?: number][]): Promise<string> {
    await declare('q');
    for (const [body, priority] of published) {
      const own = priority === undefined ? {} : { priority };
      peer.publish(1, { routingKey: 'q' }, body, encodeProperties({ headers: new Map(), ...own }, null as never));
    }
    const got: string[] = [];
    for (let next = await peer.get('q'); next !== null; next = await peer.get('q')) got.push(next.body.toString());
    return got.join(' ');
  }

  test('two high ones for each normal one', async () => {
    const normal: [string, number?][] = [['n1'], ['n2', 0], ['n3', 4], ['n4', 1]];
    const high: [string, number][] = [
      ['h1', 5],
      ['h2', 9],
      ['h3', 255],
      ['h4', 5],
      ['h5', 6],
    ];
    expect(await order(...normal, ...high)).toBe('h1 h2 n1 h3 h4 n2 h5 n3 n4');
  });

  test('within a level the order of publishing holds, whatever the priorities', async () => {
    expect(await order(['a', 0], ['b', 4], ['c', 2], ['d'])).toBe('a b c d');
  });

  test('a high one that is older than the normal one goes first in any turn', async () => {
    expect(await order(['h1', 5], ['h2', 5], ['h3', 5], ['h4', 5], ['n1'])).toBe('h1 h2 h3 h4 n1');
  });
});

test('[RabbitMQ: quorum queues, per message persistence] a message is kept whatever its delivery mode', async () => {
  const first = await BrokerProcess.start();
  const before = await AmqpPeer.openChannel(first.port('amqp'));
  const declared = { queue: 'q', durable: true, arguments: args({ 'x-queue-type': 'quorum' }) };
  await before.call(1, methods.queueDeclare, declared, methods.queueDeclareOk);
  await before.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  const transient = encodeProperties({ headers: args({ a: 'b' }), durable: false }, null as never);
  before.publish(1, { routingKey: 'q' }, 'm', transient);
  await before.expect(1, methods.basicAck);
  const fetched = (await before.get('q', false))!;
  before.send(1, methods.basicReject, { deliveryTag: fetched.args.bigint('deliveryTag'), requeue: true });
  await before.call(1, methods.queueDeclare, declared, methods.queueDeclareOk);
  before.destroy();
  await first.kill();
  const second = await BrokerProcess.start({ dataDir: first.dataDir });
  const after = await AmqpPeer.openChannel(second.port('amqp'));
  const got = await after.get('q');
  expect(got?.body.toString()).toBe('m');
  expect(headersOf(got!.native.subarray(0, -1)).get('a')).toBe('b');
  expect(await after.get('q')).toBeNull();
  after.destroy();
  await second.stop();
  await first.remove();
});
