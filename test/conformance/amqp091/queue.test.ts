import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Value } from '../../../src/core/properties.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { type Method, methods } from '../../../src/protocols/amqp091/spec.ts';
import { AmqpCore } from '../../support/amqp-core.ts';
import { AmqpPeer } from '../../support/amqp-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { int } from '../../support/core.ts';

/** The class queue; titles name the specification's rules. */

let core: AmqpCore;
let peer: AmqpPeer;
beforeEach(async () => {
  core = new AmqpCore();
  peer = await core.openChannel();
});
afterEach(() => peer.destroy());

const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));

async function refused(method: Method, values: Record<string, unknown>, by: AmqpPeer = peer): Promise<string> {
  by.send(1, method, values);
  const { code, text, classId, methodId } = await by.closed();
  expect([classId, methodId]).toEqual([method.classId, method.methodId]);
  await by.openChannel();
  return `${code} ${text}`;
}

describe('queue.declare', () => {
  test('[0-9-1 queue.declare.default-binding] [0-9-1 queue.unbind.exchange.default-exchange] a new queue is reached by its name, and that binding is nobody’s to remove', async () => {
    await peer.declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    expect((await peer.get('q'))?.body.toString()).toBe('m');
    const values = { queue: 'q', exchange: '', routingKey: 'q' };
    const text = '403 ACCESS_REFUSED - operation not permitted on the default exchange';
    expect(await refused(methods.queueBind, values)).toBe(text);
    expect(await refused(methods.queueUnbind, values)).toBe(text);
  });

  test('[0-9-1 queue.declare.minimum-queues] there may be more than 256', async () => {
    for (let i = 0; i < 300; i++) await peer.declare(`q${i}`);
  });

  test('[0-9-1 queue.declare.queue.default-name] the broker makes names up, each another', async () => {
    const names = [];
    for (let i = 0; i < 20; i++) names.push(await peer.declare(''));
    expect(new Set(names).size).toBe(20);
    for (const name of names) expect(name).toMatch(/^amq\.gen-[\w-]{22}$/);
  });

  test('[0-9-1 queue.declare.queue.reserved] a name of the broker’s: 403', async () => {
    expect(await refused(methods.queueDeclare, { queue: 'amq.new' })).toBe(
      "403 ACCESS_REFUSED - queue name 'amq.new' contains reserved prefix 'amq.*'",
    );
    const generated = await peer.declare('');
    await peer.declare(generated, { passive: true });
  });

  test('names may have any characters, up to 255 octets', async () => {
    for (const name of ['a b/c?', 'é漢', 'x'.repeat(255)]) expect(await peer.declare(name)).toBe(name);
  });

  test('a name has no line ends [RabbitMQ]', async () => {
    expect(await peer.declare('a\r\nb')).toBe('ab');
    const bound = { queue: 'a\nb', exchange: 'amq.\ndirect', routingKey: 'k' };
    await peer.call(1, methods.queueBind, bound, methods.queueBindOk);
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'k' }, 'm');
    expect((await peer.get('ab'))?.body.toString()).toBe('m');
    await peer.call(1, methods.exchangeDeclare, { exchange: 'x\n', type: 'direct' }, methods.exchangeDeclareOk);
    await peer.call(1, methods.exchangeDeclare, { exchange: 'x', passive: true }, methods.exchangeDeclareOk);
  });

  test('passive: the empty name is no queue, whatever was declared before [RabbitMQ]', async () => {
    await peer.declare('q');
    expect(await refused(methods.queueDeclare, { queue: '', passive: true })).toBe(
      "404 NOT_FOUND - no queue '' in vhost '/'",
    );
  });

  test('[0-9-1 queue.declare.passive.passive] everything but the name is ignored, and the counts are told', async () => {
    await peer.declare('q');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: 'q' }, body);
    await peer.get('q', false);
    const other = await core.openChannel();
    await other.call(1, methods.basicQos, { prefetchCount: 1 }, methods.basicQosOk);
    await other.call(1, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
    await other.content();
    const values = {
      queue: 'q',
      passive: true,
      durable: true,
      exclusive: true,
      autoDelete: true,
      arguments: args({ 'x-expires': 'x' }),
    };
    const ok = await peer.call(1, methods.queueDeclare, values, methods.queueDeclareOk);
    expect([ok.text('queue'), ok.number('messageCount'), ok.number('consumerCount')]).toEqual(['q', 1, 1]);
    other.destroy();
    expect(await refused(methods.queueDeclare, { queue: 'nope', passive: true })).toBe(
      "404 NOT_FOUND - no queue 'nope' in vhost '/'",
    );
  });

  test.each<[string, Record<string, unknown>, string]>([
    ['durable', { durable: true }, "received 'true' but current is 'false'"],
    ['auto_delete', { autoDelete: true }, "received 'true' but current is 'false'"],
    [
      'x-expires',
      { arguments: args({ 'x-expires': int(1000) }) },
      "received the value '1000' of type 'signedint' but current is none",
    ],
    [
      'x-max-length',
      { arguments: args({ 'x-max-length': int(1) }) },
      "received the value '1' of type 'signedint' but current is none",
    ],
  ])(
    '[0-9-1 queue.declare.passive.equivalent] declared again with another %s: 406',
    async (name, values, difference) => {
      await peer.declare('q');
      expect(await refused(methods.queueDeclare, { queue: 'q', ...values })).toBe(
        `406 PRECONDITION_FAILED - inequivalent arg '${name}' for queue 'q' in vhost '/': ${difference}`,
      );
    },
  );

  test('[0-9-1 queue.declare.passive.equivalent] numbers of another width are the same', async () => {
    await peer.declare('q', { arguments: args({ 'x-max-length': int(5) }) });
    await peer.declare('q', { arguments: args({ 'x-max-length': { type: 'long', value: 5n } }) });
  });

  // RabbitMQ compares auto-delete, where the rule asks that it be ignored
  test('[0-9-1 queue.declare.auto-delete.pre-existence] declaring again with another auto-delete is 406', async () => {
    await peer.declare('q', { autoDelete: true });
    expect(await refused(methods.queueDeclare, { queue: 'q' })).toMatch(/^406 .*inequivalent arg 'auto_delete'/);
  });

  test('auto-delete: with the last consumer, however it leaves; never consumed, it stays', async () => {
    for (const queue of ['cancelled', 'closed', 'lost', 'never']) await peer.declare(queue, { autoDelete: true });
    const consume = (by: AmqpPeer, queue: string) =>
      by.call(1, methods.basicConsume, { queue, consumerTag: 't' }, methods.basicConsumeOk);
    const [second, third] = [await core.openChannel(), await core.openChannel()];
    await consume(peer, 'cancelled');
    await consume(second, 'closed');
    await consume(third, 'lost');
    await peer.call(1, methods.basicCancel, { consumerTag: 't' }, methods.basicCancelOk);
    await second.call(1, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
    third.send(0, methods.connectionClose, { replyCode: 200 });
    await third.expect(0, methods.connectionCloseOk);
    expect([...core.core.vhost.queues.keys()]).toEqual(['never']);
    second.destroy();
  });

  describe('[0-9-1 queue.declare.exclusive.exclusive] another connection’s queue is locked', () => {
    const uses: [string, Method, Record<string, unknown>][] = [
      ['declared', methods.queueDeclare, {}],
      ['declared exclusively', methods.queueDeclare, { exclusive: true }],
      ['declared passively', methods.queueDeclare, { passive: true }],
      ['bound', methods.queueBind, { exchange: 'amq.fanout' }],
      ['unbound', methods.queueUnbind, { exchange: 'amq.fanout' }],
      ['purged', methods.queuePurge, {}],
      ['deleted', methods.queueDelete, {}],
      ['consumed', methods.basicConsume, {}],
      ['read', methods.basicGet, {}],
    ];
    test.each(uses)('%s', async (_use, method, values) => {
      await peer.declare('mine', { exclusive: true });
      const stranger = await core.openChannel();
      expect(await refused(method, { queue: 'mine', ...values }, stranger)).toBe(
        "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
      );
      stranger.destroy();
    });

    test('publishing to it by its name is open to all', async () => {
      await peer.declare('mine', { exclusive: true });
      const stranger = await core.openChannel();
      stranger.publish(1, { routingKey: 'mine', mandatory: true }, 'm');
      await stranger.expectNothing();
      expect((await peer.get('mine'))?.body.toString()).toBe('m');
      stranger.destroy();
    });

    test('its own connection uses it on every channel, until it closes', async () => {
      await peer.declare('mine', { exclusive: true });
      await peer.openChannel(2);
      await peer.call(2, methods.queuePurge, { queue: 'mine' }, methods.queuePurgeOk);
      await peer.call(1, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
      await peer.call(2, methods.queueDeclare, { queue: 'mine', passive: true }, methods.queueDeclareOk);
      peer.send(0, methods.connectionClose, { replyCode: 200 });
      await peer.expect(0, methods.connectionCloseOk);
      expect(core.core.vhost.queues.size).toBe(0);
    });
  });
});

describe('queue.bind', () => {
  test('[0-9-1 queue.bind.duplicates] [0-9-1 queue.bind.unique] the same again is no error; a message comes once however many bindings match', async () => {
    const queue = await peer.declare('');
    for (const routingKey of ['a.*', 'a.*', '#', '*.b']) {
      await peer.call(1, methods.queueBind, { queue, exchange: 'amq.topic', routingKey }, methods.queueBindOk);
    }
    peer.publish(1, { exchange: 'amq.topic', routingKey: 'a.b' }, 'm');
    expect((await peer.get(queue))?.args.number('messageCount')).toBe(0);
    expect(core.core.vhost.queues.get(queue)?.bindings.size).toBe(3);
  });

  test('[0-9-1 queue.bind.transient-exchange] a durable queue may be bound to one', async () => {
    await peer.declare('q', { durable: true });
    await peer.call(1, methods.exchangeDeclare, { exchange: 'x', type: 'fanout' }, methods.exchangeDeclareOk);
    await peer.call(1, methods.queueBind, { queue: 'q', exchange: 'x' }, methods.queueBindOk);
  });

  test('[0-9-1 queue.bind.binding-count] to more than four exchanges', async () => {
    const queue = await peer.declare('');
    for (const exchange of ['direct', 'fanout', 'topic', 'headers', 'match']) {
      await peer.call(1, methods.queueBind, { queue, exchange: `amq.${exchange}` }, methods.queueBindOk);
    }
  });

  test.each<[string, Method, Record<string, unknown>]>([
    ['queue.bind', methods.queueBind, { exchange: 'amq.direct' }],
    ['queue.unbind', methods.queueUnbind, { exchange: 'amq.direct' }],
    ['queue.purge', methods.queuePurge, {}],
    ['queue.delete', methods.queueDelete, {}],
    ['basic.consume', methods.basicConsume, {}],
    ['basic.get', methods.basicGet, {}],
  ])(
    '[0-9-1 queue.unbind.01] [0-9-1 queue.bind.queue.queue-known] [0-9-1 queue.unbind.queue.queue-known] [0-9-1 queue.purge.queue.queue-known] [0-9-1 queue.delete.queue.queue-known] %s of the empty name, before any was declared: 404',
    async (_name, method, values) => {
      expect(await refused(method, { queue: '', ...values })).toBe('404 NOT_FOUND - no previously declared queue');
    },
  );

  test.each<[string, Method, Record<string, unknown>]>([
    ['queue.bind', methods.queueBind, { exchange: 'amq.direct' }],
    ['queue.purge', methods.queuePurge, {}],
    ['basic.consume', methods.basicConsume, {}],
    ['basic.get', methods.basicGet, {}],
  ])(
    '[0-9-1 queue.bind.queue.must-exist] [0-9-1 queue.purge.queue.must-exist] %s of a queue that is not there: 404',
    async (_name, method, values) => {
      expect(await refused(method, { queue: 'nope', ...values })).toBe("404 NOT_FOUND - no queue 'nope' in vhost '/'");
    },
  );

  test('[0-9-1 queue.bind.exchange.exchange-existence] 404, also when the queue is not there either', async () => {
    const text = "404 NOT_FOUND - no exchange 'nope' in vhost '/'";
    expect(await refused(methods.queueBind, { queue: await peer.declare(''), exchange: 'nope' })).toBe(text);
    expect(await refused(methods.queueBind, { queue: 'neither', exchange: 'nope' })).toBe(text);
  });

  test('routing-key: of an empty queue name and an empty key, both are the queue last declared on the channel', async () => {
    await peer.declare('first');
    await peer.declare('last');
    await peer.call(1, methods.queueBind, { exchange: 'amq.direct' }, methods.queueBindOk);
    await peer.call(1, methods.queueBind, { queue: 'first', exchange: 'amq.direct' }, methods.queueBindOk);
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'last' }, 'by name');
    peer.publish(1, { exchange: 'amq.direct', routingKey: '' }, 'by nothing');
    expect((await peer.get(''))?.body.toString()).toBe('by name');
    expect((await peer.get('first'))?.body.toString()).toBe('by nothing');
  });
});

describe('queue.unbind', () => {
  test('[0-9-1 queue.unbind.queue.must-exist] [0-9-1 queue.unbind.exchange.must-exist] what is not bound, or not there, is unbound already [RabbitMQ: specification]', async () => {
    const queue = await peer.declare('');
    for (const values of [
      { queue, exchange: 'amq.direct' },
      { queue, exchange: 'nope' },
      { queue: 'nope', exchange: 'amq.direct' },
    ]) {
      await peer.call(1, methods.queueUnbind, values, methods.queueUnbindOk);
    }
  });

  test('the binding of these arguments alone', async () => {
    const queue = await peer.declare('');
    const binding = { queue, exchange: 'amq.headers', routingKey: 'k' };
    for (const n of [1, 2]) {
      await peer.call(1, methods.queueBind, { ...binding, arguments: args({ n: int(n) }) }, methods.queueBindOk);
    }
    await peer.call(1, methods.queueUnbind, { ...binding, arguments: args({ n: int(1) }) }, methods.queueUnbindOk);
    expect([...(core.core.vhost.queues.get(queue)?.bindings ?? [])].map((each) => each.arguments.get('n'))).toEqual([
      int(2),
    ]);
  });
});

describe('queue.purge, queue.delete', () => {
  test('[0-9-1 queue.purge.02] what waits for its ack is not purged', async () => {
    const queue = await peer.declare('');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: queue }, body);
    await peer.get(queue, false);
    const ok = await peer.call(1, methods.queuePurge, { queue }, methods.queuePurgeOk);
    expect(ok.number('messageCount')).toBe(2);
    peer.send(1, methods.basicReject, { deliveryTag: 1, requeue: true });
    expect((await peer.get(queue))?.body.toString()).toBe('1');
  });

  test('[0-9-1 queue.delete.queue.must-exist] what is not there is deleted already, with 0 messages', async () => {
    const ok = await peer.call(1, methods.queueDelete, { queue: 'nope' }, methods.queueDeleteOk);
    expect(ok.number('messageCount')).toBe(0);
  });

  test('[0-9-1 queue.delete.if-unused.in-use] [0-9-1 queue.delete.if-empty.not-empty] 406, and the queue is as it was', async () => {
    await peer.declare('q');
    peer.publish(1, { routingKey: 'q' }, 'm');
    expect(await refused(methods.queueDelete, { queue: 'q', ifEmpty: true })).toBe(
      "406 PRECONDITION_FAILED - queue 'q' in vhost '/' not empty",
    );
    const other = await core.openChannel();
    await other.call(1, methods.basicConsume, { queue: 'q' }, methods.basicConsumeOk);
    expect(await refused(methods.queueDelete, { queue: 'q', ifUnused: true })).toBe(
      "406 PRECONDITION_FAILED - queue 'q' in vhost '/' in use",
    );
    const ok = await peer.call(1, methods.queueDeclare, { queue: 'q', passive: true }, methods.queueDeclareOk);
    expect(ok.number('consumerCount')).toBe(1);
    other.destroy();
  });
});

test('[0-9-1 queue.declare.durable.persistence] [0-9-1 queue.declare.durable.types] [0-9-1 exchange.declare.durable.support] [0-9-1 queue.bind.durable-exchange] [0-9-1 basic.01] what is durable is there after a restart, and nothing else', async () => {
  const persistent = encodeProperties({ headers: new Map(), durable: true }, null as never);
  const first = await BrokerProcess.start();
  const before = await AmqpPeer.openChannel(first.port('amqp'));
  await before.declare('durable', { durable: true });
  await before.declare('transient');
  for (const [exchange, durable] of [
    ['durable-x', true],
    ['transient-x', false],
  ] as const) {
    await before.call(1, methods.exchangeDeclare, { exchange, type: 'fanout', durable }, methods.exchangeDeclareOk);
    await before.call(1, methods.queueBind, { queue: 'durable', exchange }, methods.queueBindOk);
  }
  await before.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
  before.publish(1, { exchange: 'durable-x' }, 'kept', persistent);
  before.publish(1, { exchange: 'durable-x' }, 'lost');
  for (let confirmed = 0n; confirmed < 2n; )
    confirmed = (await before.expect(1, methods.basicAck)).bigint('deliveryTag');
  before.destroy();
  await first.kill();
  const second = await BrokerProcess.start({ dataDir: first.dataDir });
  const after = await AmqpPeer.openChannel(second.port('amqp'));
  expect((await after.get('durable'))?.body.toString()).toBe('kept');
  expect(await after.get('durable')).toBeNull();
  after.publish(1, { exchange: 'durable-x' }, 'by the binding');
  expect((await after.get('durable'))?.body.toString()).toBe('by the binding');
  expect(await refused(methods.queueDeclare, { queue: 'transient', passive: true }, after)).toMatch(/^404/);
  expect(await refused(methods.exchangeDeclare, { exchange: 'transient-x', passive: true }, after)).toMatch(/^404/);
  after.destroy();
  await second.stop();
  await first.remove();
});
