import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { type AmqpPeer, contentFrames } from '../../support/amqp-peer.ts';
import { everything, int, openDoor } from '../../support/core.ts';

/** The classes basic, confirm and tx; titles name the specification's rules. */

let core: AmqpCore;
let peer: AmqpPeer;
beforeEach(async () => {
  core = new AmqpCore({ consumerTimeoutMs: 60_000, messageBytes: 1000 });
  peer = await core.openChannel();
});
afterEach(() => peer.destroy());

const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const properties = (own: Partial<Properties>) => encodeProperties({ headers: new Map(), ...own }, null as never);
const queueWith = (entries: Record<string, Value> = {}) => peer.declare('', { arguments: args(entries) });

async function consume(queue: string, values: Record<string, unknown> = {}, channel = 1): Promise<string> {
  const ok = await peer.call(channel, methods.basicConsume, { queue, ...values }, methods.basicConsumeOk);
  return ok.text('consumerTag');
}

function publish(queue: string, ...bodies: string[]): void {
  for (const body of bodies) peer.publish(1, { routingKey: queue }, body);
}

const qos = (prefetchCount: number, global = false, channel = 1) =>
  peer.call(channel, methods.basicQos, { prefetchCount, global }, methods.basicQosOk);

async function bodies(count: number): Promise<string[]> {
  const all: string[] = [];
  for (let i = 0; i < count; i++) all.push((await peer.content()).body.toString());
  return all;
}

describe('the class', () => {
  test('[0-9-1 basic.06] [0-9-1 basic.07] with x-max-priority the higher is served first, those of one priority in their order', async () => {
    const queue = await queueWith({ 'x-max-priority': int(9) });
    for (const priority of [0, 9, 5, 0, 9, 4]) {
      peer.publish(1, { routingKey: queue }, `${priority}`, properties({ priority }));
    }
    await consume(queue, { noAck: true });
    expect(await bodies(6)).toEqual(['9', '9', '5', '4', '0', '0']);
  });

  test('[0-9-1 basic.08] [0-9-1 §4.7-1] messages of one priority keep their order, persistent or not', async () => {
    const queue = await peer.declare('', { durable: true });
    for (let i = 0; i < 6; i++) peer.publish(1, { routingKey: queue }, `${i}`, properties({ durable: i % 2 === 0 }));
    await consume(queue, { noAck: true });
    expect(await bodies(6)).toEqual(['0', '1', '2', '3', '4', '5']);
  });

  test('[0-9-1 basic.09] with no-ack what is delivered is settled', async () => {
    const queue = await queueWith();
    await consume(queue, { noAck: true });
    publish(queue, '1', '2');
    await bodies(2);
    expect(core.core.vhost.queues.get(queue)?.counts).toMatchObject({ ready: 0, unacked: 0 });
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    expect((await peer.closed()).text).toBe('PRECONDITION_FAILED - unknown delivery tag 1');
  });

  test('[0-9-1 basic.10] [0-9-1 redelivered.implementation] what was not acked when its connection went is delivered again, redelivered', async () => {
    const queue = await queueWith();
    const first = await core.openChannel();
    await first.call(1, methods.basicConsume, { queue }, methods.basicConsumeOk);
    publish(queue, '1', '2', '3', '4');
    for (let i = 0; i < 4; i++) await first.content();
    first.send(1, methods.basicAck, { deliveryTag: 2, multiple: true });
    first.send(0, methods.connectionClose, { replyCode: 200 });
    await first.expect(0, methods.connectionCloseOk);
    await consume(queue);
    for (const body of ['3', '4']) {
      const content = await peer.content();
      expect([content.body.toString(), content.args.bit('redelivered')]).toEqual([body, true]);
    }
  });
});

describe('basic.qos', () => {
  test('[0-9-1 basic.qos.prefetch-count.01] never more than it says, for each consumer that comes after it', async () => {
    const queue = await queueWith();
    await qos(2);
    const one = await consume(queue);
    await qos(1);
    const two = await consume(queue);
    publish(queue, ...'123456');
    const seen = [await peer.content(), await peer.content(), await peer.content()];
    expect(seen.map(({ args: each }) => each.text('consumerTag')).sort()).toEqual([one, one, two].sort());
    await peer.expectNothing();
    peer.send(1, methods.basicAck, { deliveryTag: 0, multiple: true });
    expect(await bodies(3)).toEqual(['4', '5', '6']);
  });

  test('global: one window for the channel, beside those of its consumers, and at once [RabbitMQ: consumer prefetch]', async () => {
    const [one, two] = [await queueWith(), await queueWith()];
    await qos(2);
    await consume(one);
    await consume(two);
    await qos(3, true);
    publish(one, '1', '2', '3');
    publish(two, '4', '5');
    const seen = await bodies(3);
    expect(seen.sort()).toEqual(['1', '2', '4']);
    await peer.expectNothing();
    await qos(0, true);
    expect(await bodies(1)).toEqual(['5']);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    expect(await bodies(1)).toEqual(['3']);
  });

  test('global does not count what was fetched, and is another channel’s affair on another channel [RabbitMQ]', async () => {
    const queue = await queueWith();
    publish(queue, '1', '2', '3', '4');
    await qos(1, true);
    await peer.get(queue, false);
    await consume(queue);
    expect(await bodies(1)).toEqual(['2']);
    await peer.expectNothing();
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    await peer.expectNothing();
    peer.send(1, methods.basicAck, { deliveryTag: 2 });
    expect(await bodies(1)).toEqual(['3']);
    await peer.openChannel(2);
    await consume(queue, {}, 2);
    expect((await peer.content()).channel).toBe(2);
  });

  test('global: what a transaction settles of the fetched opens no window', async () => {
    const queue = await queueWith();
    publish(queue, '1', '2', '3');
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    await qos(1, true);
    await peer.get(queue, false);
    await consume(queue);
    expect(await bodies(1)).toEqual(['2']);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
    await peer.expectNothing();
    peer.send(1, methods.basicAck, { deliveryTag: 2 });
    peer.send(1, methods.txCommit);
    expect(await bodies(1)).toEqual(['3']);
    await peer.expect(1, methods.txCommitOk);
  });

  test('no-ack consumers have no window', async () => {
    const queue = await queueWith();
    await qos(1);
    await qos(1, true);
    await consume(queue, { noAck: true });
    publish(queue, '1', '2', '3');
    expect(await bodies(3)).toEqual(['1', '2', '3']);
  });
});

test('basic.recover: recover-ok, then what was unacked once more, redelivered [RabbitMQ]', async () => {
  const queue = await queueWith();
  publish(queue, '1', '2');
  await consume(queue);
  await bodies(2);
  await peer.call(1, methods.basicRecover, { requeue: true }, methods.basicRecoverOk);
  const again = [await peer.content(), await peer.content()];
  expect(again.map(({ args: each, body }) => [body.toString(), each.bit('redelivered')])).toEqual([
    ['1', true],
    ['2', true],
  ]);
});

describe('basic.consume', () => {
  test('[0-9-1 basic.consume.01] sixteen consumers and more take turns', async () => {
    const queue = await queueWith();
    const tags = new Set<string>();
    for (let i = 0; i < 40; i++) tags.add(await consume(queue));
    expect(tags.size).toBe(40);
    for (const tag of tags) expect(tag).toMatch(/^amq\.ctag-[\w-]{22}$/);
    for (let i = 0; i < 40; i++) publish(queue, `${i}`);
    const served = new Set<string>();
    for (let i = 0; i < 40; i++) served.add((await peer.content()).args.text('consumerTag'));
    expect(served).toEqual(tags);
  });

  test('[0-9-1 basic.consume.consumer-tag.02] a tag is its channel’s own', async () => {
    const queue = await queueWith();
    await peer.openChannel(2);
    await consume(queue, { consumerTag: 't' });
    await consume(queue, { consumerTag: 't' }, 2);
    await peer.call(2, methods.basicCancel, { consumerTag: 't' }, methods.basicCancelOk);
    publish(queue, '1', '2');
    for (let i = 0; i < 2; i++) expect((await peer.content()).channel).toBe(1);
  });

  test('no-local is of no effect [RabbitMQ: specification]', async () => {
    const queue = await queueWith();
    await consume(queue, { noLocal: true, noAck: true });
    publish(queue, 'own');
    expect(await bodies(1)).toEqual(['own']);
  });

  test('[0-9-1 basic.consume.exclusive.01] 403 beside others, and others beside it; free again after its cancel', async () => {
    const queue = await queueWith();
    const text = `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`;
    await peer.openChannel(2);
    await consume(queue, { consumerTag: 'shared' }, 2);
    peer.send(1, methods.basicConsume, { queue, exclusive: true });
    expect(await peer.closed()).toEqual({ code: 403, text, classId: 60, methodId: 20 });
    await peer.call(2, methods.basicCancel, { consumerTag: 'shared' }, methods.basicCancelOk);
    await peer.openChannel();
    await consume(queue, { consumerTag: 'alone', exclusive: true }, 2);
    peer.send(1, methods.basicConsume, { queue });
    expect(await peer.closed()).toEqual({ code: 403, text, classId: 60, methodId: 20 });
  });

  test('x-priority: the highest that has room, equals in turn [RabbitMQ: consumer priorities]', async () => {
    const queue = await queueWith();
    await qos(1);
    const rank = (value: number) => ({ arguments: args({ 'x-priority': int(value) }) });
    await consume(queue, { consumerTag: 'none' });
    await consume(queue, { consumerTag: 'low', ...rank(-3) });
    await consume(queue, { consumerTag: 'high a', ...rank(7) });
    await consume(queue, { consumerTag: 'high b', arguments: args({ 'x-priority': { type: 'long', value: 7n } }) });
    publish(queue, '1', '2', '3', '4');
    const order: string[] = [];
    for (let i = 0; i < 4; i++) order.push((await peer.content()).args.text('consumerTag'));
    expect(order.slice(0, 2).sort()).toEqual(['high a', 'high b']);
    expect(order.slice(2)).toEqual(['none', 'low']);
  });

  test('deliveries follow consume-ok, never the other way round', async () => {
    const queue = await queueWith();
    publish(queue, '1');
    peer.send(1, methods.basicConsume, { queue });
    await peer.expect(1, methods.basicConsumeOk);
    expect(await bodies(1)).toEqual(['1']);
  });
});

describe('basic.cancel', () => {
  test('[0-9-1 basic.cancel.01] a tag whose queue is gone, and one that never was, are answered', async () => {
    const queue = await queueWith();
    const consumerTag = await consume(queue);
    await peer.openChannel(2);
    peer.send(2, methods.queueDelete, { queue });
    await peer.expect(1, methods.basicCancel);
    await peer.expect(2, methods.queueDeleteOk);
    for (const tag of [consumerTag, 'never']) {
      const ok = await peer.call(1, methods.basicCancel, { consumerTag: tag }, methods.basicCancelOk);
      expect(ok.text('consumerTag')).toBe(tag);
    }
  });

  test('a client that does not know the notification gets none', async () => {
    const plain = await core.openChannel({ capabilities: [] });
    const queue = await plain.declare('');
    await plain.call(1, methods.basicConsume, { queue }, methods.basicConsumeOk);
    await plain.call(1, methods.queueDelete, { queue }, methods.queueDeleteOk);
    await plain.expectNothing();
    plain.destroy();
  });

  test('prefetch counts what was delivered before the cancel no longer', async () => {
    const queue = await queueWith();
    await qos(1);
    const consumerTag = await consume(queue);
    publish(queue, '1', '2');
    await bodies(1);
    await peer.call(1, methods.basicCancel, { consumerTag }, methods.basicCancelOk);
    await consume(queue);
    expect(await bodies(1)).toEqual(['2']);
  });
});

describe('basic.publish', () => {
  test('a body above the limit: 406, and the channel alone', async () => {
    await peer.openChannel(2);
    peer.publish(1, { routingKey: 'x' }, Buffer.alloc(1001));
    expect(await peer.closed()).toEqual({
      code: 406,
      text: 'PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000',
      classId: 60,
      methodId: 40,
    });
    await peer.expectNothing(2);
  });

  test('[0-9-1 basic.publish.mandatory.01] returned with 312, its header and body as they were; without it dropped', async () => {
    const native = properties({ contentType: 'a/b', headers: args({ n: { type: 'short', value: 1 } }) });
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'k' }, 'dropped', native);
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'k', mandatory: true }, 'back', native);
    const returned = await peer.content(methods.basicReturn);
    expect([returned.args.number('replyCode'), returned.args.text('replyText')]).toEqual([312, 'NO_ROUTE']);
    expect([returned.args.text('exchange'), returned.args.text('routingKey')]).toEqual(['amq.direct', 'k']);
    expect(returned.native.equals(native)).toBe(true);
    expect(returned.body.toString()).toBe('back');
    await peer.expectNothing();
  });

  test.each([0, 1, 4000, 4080])(
    '[0-9-1 §2.3.5.2-1] [0-9-1 §4.2.6.2-1] a body of %i octets comes back, however its frames are cut',
    async (bytes) => {
      const large = new AmqpCore();
      const other = await large.openChannel({ frameMax: 4096 });
      const queue = await other.declare('');
      const body = Buffer.alloc(bytes, 'b');
      const octets = contentFrames(1, { routingKey: queue }, body);
      for (let cut = 1; cut < octets.length; cut += Math.max(1, Math.floor(octets.length / 97))) {
        other.write(octets.subarray(0, cut));
        await new Promise((resolve) => setImmediate(resolve));
        other.write(octets.subarray(cut));
        expect((await other.get(queue))?.body.equals(body)).toBe(true);
      }
      other.destroy();
    },
  );

  test('CC and BCC dead-lettered: both lead on, and BCC is still not shown [RabbitMQ: sender-selected distribution]', async () => {
    const [blind, copy] = [await queueWith(), await queueWith()];
    const source = await queueWith({ 'x-dead-letter-exchange': 'amq.direct' });
    for (const [queue, routingKey] of [
      [blind, 'blind'],
      [copy, 'copy'],
    ]) {
      await peer.call(1, methods.queueBind, { queue, exchange: 'amq.direct', routingKey }, methods.queueBindOk);
    }
    peer.publish(
      1,
      { routingKey: source },
      'm',
      properties({ headers: args({ BCC: ['blind'], CC: ['copy'] }), appId: 'a' }),
    );
    const got = await peer.get(source, false);
    expect(got?.native.includes('BCC')).toBe(false);
    peer.send(1, methods.basicReject, { deliveryTag: got?.args.bigint('deliveryTag') });
    for (const queue of [blind, copy]) {
      const dead = await peer.get(queue);
      expect(dead?.body.toString()).toBe('m');
      expect(dead?.native.includes('BCC')).toBe(false);
      expect(dead?.native.includes('blind')).toBe(false);
      expect(dead?.native.includes('copy')).toBe(true);
    }
  });
});

describe('basic.get', () => {
  test('get-ok with what is left, get-empty in the end', async () => {
    const queue = await queueWith();
    publish(queue, '1', '2');
    for (const left of [1, 0]) {
      const got = await peer.get(queue, false);
      expect(got?.args.number('messageCount')).toBe(left);
      expect(got?.args.bit('redelivered')).toBe(false);
    }
    expect(await peer.get(queue)).toBeNull();
    peer.send(1, methods.basicNack, { deliveryTag: 2, multiple: true, requeue: true });
    expect((await peer.get(queue))?.args.bit('redelivered')).toBe(true);
  });
});

describe('settling', () => {
  test('[0-9-1 delivery-tag.non-zero] tags begin with 1 on each channel and go up by one', async () => {
    const queue = await queueWith();
    await peer.openChannel(2);
    publish(queue, '1', '2', '3', '4');
    const tags: (readonly [number, bigint])[] = [];
    for (const channel of [1, 2, 1, 2]) {
      peer.send(channel, methods.basicGet, { queue });
      const { args: got } = await peer.content(methods.basicGetOk);
      tags.push([channel, got.bigint('deliveryTag')]);
    }
    expect(tags).toEqual([
      [1, 1n],
      [2, 1n],
      [1, 2n],
      [2, 2n],
    ]);
  });

  test('[0-9-1 delivery-tag.channel-local] another channel’s delivery is unknown', async () => {
    const queue = await queueWith();
    await peer.openChannel(2);
    publish(queue, '1');
    await peer.get(queue, false);
    peer.send(2, methods.basicAck, { deliveryTag: 1 });
    expect(await peer.closed(2)).toEqual({
      code: 406,
      text: 'PRECONDITION_FAILED - unknown delivery tag 1',
      classId: 60,
      methodId: 80,
    });
  });

  test.each([
    ['ack', methods.basicAck, { deliveryTag: 1 }],
    ['ack, multiple', methods.basicAck, { deliveryTag: 1, multiple: true }],
    ['ack of 0', methods.basicAck, { deliveryTag: 0 }],
    ['ack of what was never given', methods.basicAck, { deliveryTag: 9 }],
    ['nack', methods.basicNack, { deliveryTag: 1 }],
    ['reject', methods.basicReject, { deliveryTag: 1 }],
  ] as const)(
    '[0-9-1 basic.ack.multiple.exists] %s of what was settled before: 406',
    async (_title, method, values) => {
      const queue = await queueWith();
      publish(queue, '1', '2');
      for (let i = 0; i < 2; i++) await peer.get(queue, false);
      peer.send(1, methods.basicAck, { deliveryTag: 1 });
      peer.send(1, method, values);
      expect(await peer.closed()).toEqual({
        code: 406,
        text: `PRECONDITION_FAILED - unknown delivery tag ${values.deliveryTag}`,
        classId: 60,
        methodId: method.methodId,
      });
      expect(core.core.vhost.queues.get(queue)?.counts).toMatchObject({ ready: 1, unacked: 0 });
    },
  );

  test('[0-9-1 basic.ack.multiple.exists] on a transacted channel at once, not at the commit', async () => {
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    expect((await peer.closed()).text).toBe('PRECONDITION_FAILED - unknown delivery tag 1');
  });

  test('0 with multiple is all there are, also none', async () => {
    for (const method of [methods.basicAck, methods.basicNack])
      peer.send(1, method, { deliveryTag: 0, multiple: true });
    await peer.expectNothing();
  });

  test.each([methods.basicRecover, methods.basicRecoverAsync])(
    '[0-9-1 basic.recover.01] [0-9-1 basic.recover-async.01] $name: all unacked come again, in their order, with redelivered',
    async (method) => {
      const queue = await queueWith();
      await qos(3);
      await consume(queue);
      publish(queue, '1', '2', '3');
      await bodies(3);
      peer.send(1, method, { requeue: true });
      const seen: [string, boolean][] = [];
      let isAnswered = false;
      while (seen.length < 3) {
        const frame = await peer.next();
        if (frame.type === 1 && frame.payload.readUInt32BE(0) === methods.basicRecoverOk.id) isAnswered = true;
        if (frame.type === 1 && frame.payload.readUInt32BE(0) === methods.basicDeliver.id) {
          await peer.next();
          seen.push([(await peer.next()).payload.toString(), true]);
        }
      }
      expect(seen.map(([body]) => body)).toEqual(['1', '2', '3']);
      if (method === methods.basicRecover && !isAnswered) await peer.expect(1, methods.basicRecoverOk);
      await peer.expectNothing();
    },
  );

  test('a delivery that waits too long for its ack closes its channel, and comes back [RabbitMQ: acknowledgement timeout]', async () => {
    const queue = await queueWith();
    await peer.openChannel(2);
    await consume(queue);
    publish(queue, 'm');
    await bodies(1);
    core.pass(60);
    await peer.expectNothing();
    core.pass(8);
    expect(await peer.closed()).toEqual({
      code: 406,
      text: 'PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms. This timeout value can be configured, see consumers doc guide to learn more',
      classId: 0,
      methodId: 0,
    });
    peer.send(2, methods.basicGet, { queue, noAck: true });
    expect((await peer.content(methods.basicGetOk)).args.bit('redelivered')).toBe(true);
  });

  test('deliveries that are acked in time go on for ever', async () => {
    const queue = await queueWith();
    await consume(queue);
    for (let deliveryTag = 1; deliveryTag < 10; deliveryTag++) {
      publish(queue, 'm');
      await bodies(1);
      core.pass(30);
      peer.send(1, methods.basicAck, { deliveryTag });
    }
    await peer.expectNothing();
  });
});

describe('confirm [RabbitMQ: publisher confirms]', () => {
  test('publishes of one turn are confirmed by one ack with multiple', async () => {
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    peer.write(
      Buffer.concat(Array.from({ length: 50 }, () => contentFrames(1, { routingKey: 'nobody' }, Buffer.from('m')))),
    );
    const ack = await peer.expect(1, methods.basicAck);
    expect([ack.bigint('deliveryTag'), ack.bit('multiple')]).toEqual([50n, true]);
    peer.publish(1, { routingKey: 'nobody' }, 'm');
    const single = await peer.expect(1, methods.basicAck);
    expect([single.bigint('deliveryTag'), single.bit('multiple')]).toEqual([51n, false]);
  });

  test('a refused one among others: nack for it alone, and in order', async () => {
    const queue = await queueWith({ 'x-max-length': int(1), 'x-overflow': 'reject-publish' });
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    const keys = ['nobody', queue, queue, 'nobody', 'nobody'];
    peer.write(Buffer.concat(keys.map((routingKey) => contentFrames(1, { routingKey }, Buffer.from('m')))));
    const first = await peer.expect(1, methods.basicAck);
    expect([first.bigint('deliveryTag'), first.bit('multiple')]).toEqual([2n, true]);
    const nack = await peer.expect(1, methods.basicNack);
    expect([nack.bigint('deliveryTag'), nack.bit('multiple')]).toEqual([3n, false]);
    const last = await peer.expect(1, methods.basicAck);
    expect([last.bigint('deliveryTag'), last.bit('multiple')]).toEqual([5n, true]);
  });

  test('a publish that fails is not confirmed; those before it are, before the channel closes', async () => {
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    peer.write(
      Buffer.concat([
        contentFrames(1, { routingKey: 'nobody' }, Buffer.from('m')),
        contentFrames(1, { exchange: 'nope' }, Buffer.from('m')),
      ]),
    );
    expect((await peer.expect(1, methods.basicAck)).bigint('deliveryTag')).toBe(1n);
    expect((await peer.closed()).code).toBe(404);
  });

  test('selecting twice is no error; tx on the same channel is', async () => {
    for (let i = 0; i < 2; i++) await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    peer.send(1, methods.txSelect);
    expect(await peer.closed()).toEqual({
      code: 406,
      text: 'PRECONDITION_FAILED - cannot switch from confirm to tx mode',
      classId: 90,
      methodId: 10,
    });
  });
});

describe('tx', () => {
  const commit = () => peer.call(1, methods.txCommit, {}, methods.txCommitOk);
  const rollback = () => peer.call(1, methods.txRollback, {}, methods.txRollbackOk);

  test('commit: publishes and acks happen then, and a new transaction begins', async () => {
    const [from, to] = [await queueWith(), await queueWith()];
    publish(from, 'task');
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    await peer.get(from, false);
    publish(to, 'done');
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    const ready = () => core.core.vhost.queues.get(to)?.counts.ready;
    const unacked = () => core.core.vhost.queues.get(from)?.counts.unacked;
    await peer.expectNothing();
    expect([ready(), unacked()]).toEqual([0, 1]);
    await commit();
    expect([ready(), unacked()]).toEqual([1, 0]);
    publish(to, 'again');
    await rollback();
    expect(ready()).toBe(1);
    await commit();
  });

  test.each([
    ['nack', methods.basicNack, { requeue: true, multiple: true }, [2, 0]],
    ['reject', methods.basicReject, { requeue: false }, [0, 1]],
  ] as const)('%s too waits for the commit', async (_title, method, values, counts) => {
    const queue = await queueWith();
    publish(queue, '1', '2');
    for (let i = 0; i < 2; i++) await peer.get(queue, false);
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    peer.send(1, method, { deliveryTag: 2, ...values });
    await peer.expectNothing();
    expect(core.core.vhost.queues.get(queue)?.counts).toMatchObject({ ready: 0, unacked: 2 });
    await commit();
    expect(core.core.vhost.queues.get(queue)?.counts).toMatchObject({ ready: counts[0], unacked: counts[1] });
  });

  test('closing the channel is a rollback', async () => {
    const queue = await queueWith();
    publish(queue, '1');
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    await peer.get(queue, false);
    peer.send(1, methods.basicAck, { deliveryTag: 1 });
    publish(queue, 'never');
    await peer.call(1, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
    await peer.openChannel();
    expect((await peer.get(queue))?.body.toString()).toBe('1');
    expect(await peer.get(queue)).toBeNull();
  });

  test.each([methods.txCommit, methods.txRollback])(
    '[0-9-1 tx.commit.transacted] [0-9-1 tx.rollback.transacted] $name: 406 without tx.select',
    async (method) => {
      peer.send(1, method);
      expect(await peer.closed()).toEqual({
        code: 406,
        text: 'PRECONDITION_FAILED - channel is not transactional',
        classId: 90,
        methodId: method.methodId,
      });
    },
  );
});

describe('permissions', () => {
  const uses: [string, Parameters<typeof peer.send>[1], Record<string, unknown>, string][] = [
    [
      'exchange.declare',
      methods.exchangeDeclare,
      { exchange: 'x', type: 'direct' },
      "configure access to exchange 'x'",
    ],
    ['exchange.delete', methods.exchangeDelete, { exchange: 'x' }, "configure access to exchange 'x'"],
    ['queue.declare', methods.queueDeclare, { queue: 'q' }, "configure access to queue 'q'"],
    ['queue.delete', methods.queueDelete, { queue: 'q' }, "configure access to queue 'q'"],
    ['queue.purge', methods.queuePurge, { queue: 'there' }, "read access to queue 'there'"],
    ['basic.get', methods.basicGet, { queue: 'there' }, "read access to queue 'there'"],
    ['basic.consume', methods.basicConsume, { queue: 'there' }, "read access to queue 'there'"],
    ['queue.bind', methods.queueBind, { queue: 'there', exchange: 'amq.fanout' }, "write access to queue 'there'"],
  ];
  test.each(uses)('%s without them: 403', async (_name, method, values, what) => {
    const findAccess = () => ({ allows: () => false });
    const strict = new AmqpCore({ broker: { authenticator: { ...openDoor, findAccess } } });
    strict.core.declare('there');
    const user = await strict.openChannel();
    user.send(1, method, values);
    expect(await user.closed()).toEqual({
      code: 403,
      text: `ACCESS_REFUSED - ${what} in vhost '/' refused for user 'guest'`,
      classId: method.classId,
      methodId: method.methodId,
    });
    user.destroy();
  });

  test('publishing: to the exchange, and with the key to a topic exchange', async () => {
    const denied = { operation: '', resource: '' };
    const findAccess = () => ({
      allows: (operation: string, resource: string) => operation !== denied.operation || resource !== denied.resource,
    });
    const strict = new AmqpCore({ broker: { authenticator: { ...openDoor, findAccess } } });
    for (const [resource, what] of [
      ['exchange', "exchange 'amq.topic'"],
      ['topic', "topic 'a.b' in exchange 'amq.topic'"],
    ] as const) {
      Object.assign(denied, { operation: 'write', resource });
      const user = await strict.openChannel();
      user.publish(1, { exchange: 'amq.topic', routingKey: 'a.b' }, 'm');
      expect((await user.closed()).text).toBe(
        `ACCESS_REFUSED - write access to ${what} in vhost '/' refused for user 'guest'`,
      );
      user.destroy();
    }
  });
});

describe('a fault of ours', () => {
  test('541, and the connection with it', async () => {
    const allows = () => {
      throw new TypeError('a fault');
    };
    const findAccess = () => ({ ...everything, allows });
    const faulty = new AmqpCore({ broker: { authenticator: { ...openDoor, findAccess } } });
    const user = await faulty.openChannel();
    user.write(encodeMethod(1, methods.queueDeclare, { queue: 'q' }));
    expect(await user.connectionClosed()).toEqual({
      code: 541,
      text: 'INTERNAL_ERROR - internal error',
      classId: 50,
      methodId: 10,
    });
  });
});
