import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Properties, Value } from '../../../src/core/properties.ts';
import { encodeMethod } from '../../../src/protocols/amqp091/methods.ts';
import { encodeProperties } from '../../../src/protocols/amqp091/properties.ts';
import { methods } from '../../../src/protocols/amqp091/spec.ts';
import { decodeTable } from '../../../src/protocols/amqp091/table.ts';
import { AmqpPeer, contentFrames, frame, headerFrame, noProperties } from '../../support/amqp-peer.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

let broker: BrokerProcess;
let port: number;
beforeAll(async () => {
  broker = await BrokerProcess.start();
  port = broker.port('amqp');
});
afterAll(() => broker?.remove());

const args = (entries: Record<string, Value>) => new Map(Object.entries(entries));
const properties = (own: Partial<Properties>) => encodeProperties({ headers: new Map(), ...own }, null as never);
/** Headers of a property list that has nothing else before them. */
const headersOf = (native: Buffer) => decodeTable(native, 2);

async function withQueue(name: string, declared: Record<string, Value> = {}): Promise<AmqpPeer> {
  const peer = await AmqpPeer.openChannel(port);
  await peer.declare(name, { exclusive: true, arguments: args(declared) });
  return peer;
}

async function consume(peer: AmqpPeer, queue: string, values: Record<string, unknown> = {}): Promise<string> {
  const ok = await peer.call(1, methods.basicConsume, { queue, ...values }, methods.basicConsumeOk);
  return ok.text('consumerTag');
}

describe('pipelining', () => {
  test('[0-9-1 §4.6-1] a session in one write is answered in its order', async () => {
    const peer = await AmqpPeer.open(port);
    peer.write(
      Buffer.concat([
        encodeMethod(1, methods.channelOpen),
        encodeMethod(1, methods.queueDeclare, { queue: 'pipelined', exclusive: true }),
        encodeMethod(1, methods.confirmSelect),
        contentFrames(1, { routingKey: 'pipelined' }, Buffer.from('m')),
        encodeMethod(1, methods.basicGet, { queue: 'pipelined', noAck: true }),
      ]),
    );
    for (const method of [methods.channelOpenOk, methods.queueDeclareOk, methods.confirmSelectOk]) {
      await peer.expect(1, method);
    }
    expect((await peer.content(methods.basicGetOk)).body.toString()).toBe('m');
    await peer.expect(1, methods.basicAck);
    peer.destroy();
  });
});

describe('channels', () => {
  test('[0-9-1 channel.flow.initial-state] a channel is active, and may say so', async () => {
    const peer = await AmqpPeer.openChannel(port);
    const ok = await peer.call(1, methods.channelFlow, { active: true }, methods.channelFlowOk);
    expect(ok.bit('active')).toBe(true);
    peer.destroy();
  });

  test('[0-9-1 channel.close.stability] [0-9-1 §2.3.7-1] closes, and the number can be opened again', async () => {
    const peer = await AmqpPeer.openChannel(port);
    await peer.call(1, methods.channelClose, { replyCode: 200 }, methods.channelCloseOk);
    await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    peer.destroy();
  });

  test('[0-9-1 channel.close.stability] after channel.close what follows is discarded until close-ok', async () => {
    const peer = await withQueue('discarding');
    peer.send(1, methods.queueDeclare, { queue: 'nope', passive: true });
    peer.publish(1, { routingKey: 'discarding' }, 'never seen');
    peer.send(1, methods.queueDelete, { queue: 'discarding' });
    await peer.closed();
    await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    const values = { queue: 'discarding', passive: true };
    const ok = await peer.call(1, methods.queueDeclare, values, methods.queueDeclareOk);
    expect(ok.number('messageCount')).toBe(0);
    peer.destroy();
  });

  test('[0-9-1 §4.2.6-2] content of several channels may be interleaved', async () => {
    const peer = await withQueue('interleaved');
    await peer.call(2, methods.channelOpen, {}, methods.channelOpenOk);
    const publish = { routingKey: 'interleaved' };
    peer.write(
      Buffer.concat([
        encodeMethod(1, methods.basicPublish, publish),
        encodeMethod(2, methods.basicPublish, publish),
        headerFrame(2, 4),
        headerFrame(1, 4),
        frame(3, 1, Buffer.from('on')),
        frame(3, 2, Buffer.from('tw')),
        frame(3, 2, Buffer.from('o!')),
        frame(3, 1, Buffer.from('e!')),
      ]),
    );
    expect((await peer.get('interleaved'))?.body.toString()).toBe('two!');
    expect((await peer.get('interleaved'))?.body.toString()).toBe('one!');
    peer.destroy();
  });

  test('[0-9-1 §4.2.6.2-1] a body that spans frames is cut anew at the consumer’s frame_max', async () => {
    const peer = await withQueue('spanning');
    const small = await AmqpPeer.open(port, { frameMax: 4096 });
    await small.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    const body = Buffer.alloc(20_000, 'x');
    peer.publish(1, { routingKey: 'spanning' }, body);
    const got = await peer.get('spanning');
    expect(got?.body.equals(body)).toBe(true);
    const queue = await small.declare('');
    peer.publish(1, { routingKey: queue }, body);
    await consume(small, queue, { noAck: true });
    await small.nextMethod();
    await small.next();
    const sizes: number[] = [];
    for (let rest = body.length; rest > 0; rest -= sizes.at(-1) as number)
      sizes.push((await small.next()).payload.length);
    expect(sizes).toEqual([4088, 4088, 4088, 4088, 3648]);
    small.send(1, methods.queueDelete, { queue, noWait: true });
    small.send(0, methods.connectionClose, { replyCode: 200 });
    await small.end();
    peer.destroy();
  });
});

describe('publishing', () => {
  test('[0-9-1 basic.publish.mandatory.01] what reaches no queue is returned, before it is confirmed', async () => {
    const peer = await AmqpPeer.openChannel(port);
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    peer.publish(1, { exchange: 'amq.topic', routingKey: 'nobody.cares', mandatory: true }, 'back');
    const returned = await peer.content(methods.basicReturn);
    expect(returned.args.number('replyCode')).toBe(312);
    expect(returned.args.text('replyText')).toBe('NO_ROUTE');
    expect(returned.args.text('exchange')).toBe('amq.topic');
    expect(returned.body.toString()).toBe('back');
    await peer.expect(1, methods.basicAck);
    peer.destroy();
  });

  test('a queue that refuses: nack, with requeue as RabbitMQ sends it', async () => {
    const peer = await withQueue('refusing', {
      'x-max-length': { type: 'int', value: 1 },
      'x-overflow': 'reject-publish',
    });
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    peer.publish(1, { routingKey: 'refusing' }, 'one');
    await peer.expect(1, methods.basicAck);
    peer.publish(1, { routingKey: 'refusing' }, 'two');
    const nack = await peer.expect(1, methods.basicNack);
    expect([nack.bigint('deliveryTag'), nack.bit('multiple'), nack.bit('requeue')]).toEqual([2n, false, true]);
    peer.destroy();
  });

  test('[0-9-1 §3.1.1-1] the publisher’s content header reaches the consumer octet for octet', async () => {
    const peer = await withQueue('faithful');
    const headers = args({ CCC: 'x', n: { type: 'short', value: -5 }, t: { type: 'timestamp', value: 1_000_000n } });
    const native = properties({ contentType: 'a/b', headers, priority: 7, durable: true, type: 't', appId: 'app' });
    peer.publish(1, { routingKey: 'faithful' }, 'm', native);
    expect((await peer.get('faithful'))?.native.equals(native)).toBe(true);
    peer.destroy();
  });

  test('CC and BCC route, each queue once, and BCC is not shown', async () => {
    const peer = await withQueue('cc1');
    for (const queue of ['cc2', 'cc3']) await peer.declare(queue, { exclusive: true });
    const native = properties({ headers: args({ CC: ['cc2', 'cc1'], BCC: ['cc3'], own: 'x' }) });
    peer.publish(1, { routingKey: 'cc1' }, 'm', native);
    for (const queue of ['cc1', 'cc2', 'cc3']) {
      const got = await peer.get(queue);
      expect([...headersOf(got?.native as Buffer).keys()]).toEqual(['CC', 'own']);
      expect(got?.args.text('routingKey')).toBe('cc1');
      expect(await peer.get(queue)).toBeNull();
    }
    peer.destroy();
  });

  test('alternate-exchange gets what the exchange cannot route', async () => {
    const peer = await withQueue('alternate');
    const fanout = { exchange: 'ae', type: 'fanout', autoDelete: true };
    await peer.call(1, methods.exchangeDeclare, fanout, methods.exchangeDeclareOk);
    await peer.call(1, methods.queueBind, { queue: 'alternate', exchange: 'ae' }, methods.queueBindOk);
    const main = { exchange: 'with-ae', type: 'direct', arguments: args({ 'alternate-exchange': 'ae' }) };
    await peer.call(1, methods.exchangeDeclare, main, methods.exchangeDeclareOk);
    peer.publish(1, { exchange: 'with-ae', routingKey: 'nowhere', mandatory: true }, 'm');
    expect((await peer.get('alternate'))?.args.text('exchange')).toBe('with-ae');
    await peer.call(1, methods.exchangeDelete, { exchange: 'with-ae' }, methods.exchangeDeleteOk);
    peer.destroy();
  });

  test('exchange-to-exchange bindings lead on', async () => {
    const peer = await withQueue('e2e');
    const inner = { exchange: 'inner', type: 'topic', internal: true };
    await peer.call(1, methods.exchangeDeclare, inner, methods.exchangeDeclareOk);
    const e2e = { destination: 'inner', source: 'amq.direct', routingKey: 'a.b' };
    await peer.call(1, methods.exchangeBind, e2e, methods.exchangeBindOk);
    const bind = { queue: 'e2e', exchange: 'inner', routingKey: 'a.*' };
    await peer.call(1, methods.queueBind, bind, methods.queueBindOk);
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'a.b' }, 'm');
    expect((await peer.get('e2e'))?.body.toString()).toBe('m');
    await peer.call(1, methods.exchangeUnbind, e2e, methods.exchangeUnbindOk);
    peer.publish(1, { exchange: 'amq.direct', routingKey: 'a.b' }, 'm');
    expect(await peer.get('e2e')).toBeNull();
    await peer.call(1, methods.exchangeDelete, { exchange: 'inner' }, methods.exchangeDeleteOk);
    peer.destroy();
  });
});

describe('deliveries', () => {
  test('[0-9-1 basic.qos.prefetch-count.01] prefetch holds deliveries back until acks come', async () => {
    const peer = await withQueue('prefetch');
    await peer.call(1, methods.basicQos, { prefetchCount: 2 }, methods.basicQosOk);
    await consume(peer, 'prefetch');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: 'prefetch' }, body);
    expect((await peer.content()).body.toString()).toBe('1');
    const second = await peer.content();
    const passive = await peer.call(
      1,
      methods.queueDeclare,
      { queue: 'prefetch', passive: true },
      methods.queueDeclareOk,
    );
    expect(passive.number('messageCount')).toBe(1);
    peer.send(1, methods.basicAck, { deliveryTag: second.args.bigint('deliveryTag') });
    expect((await peer.content()).body.toString()).toBe('3');
    peer.destroy();
  });

  test('[0-9-1 basic.ack.multiple.exists] tag 0 with multiple is all of them', async () => {
    const peer = await withQueue('all');
    await consume(peer, 'all');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: 'all' }, body);
    for (let i = 0; i < 3; i++) await peer.content();
    peer.send(1, methods.basicAck, { deliveryTag: 0, multiple: true });
    peer.send(1, methods.basicAck, { deliveryTag: 0, multiple: true });
    peer.send(1, methods.basicRecover, { requeue: true });
    await peer.expect(1, methods.basicRecoverOk);
    peer.destroy();
  });

  test('[0-9-1 redelivered.implementation] [0-9-1 basic.reject.02] nack with multiple and requeue brings them back in order, redelivered', async () => {
    const peer = await withQueue('again');
    await peer.call(1, methods.basicQos, { prefetchCount: 3 }, methods.basicQosOk);
    await consume(peer, 'again');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: 'again' }, body);
    for (let i = 0; i < 3; i++) expect((await peer.content()).args.bit('redelivered')).toBe(false);
    peer.send(1, methods.basicNack, { deliveryTag: 3, multiple: true, requeue: true });
    for (const body of ['1', '2', '3']) {
      const content = await peer.content();
      expect(content.body.toString()).toBe(body);
      expect(content.args.bit('redelivered')).toBe(true);
    }
    peer.destroy();
  });

  test('basic.get says how many are left', async () => {
    const peer = await withQueue('counted');
    for (const body of ['1', '2', '3']) peer.publish(1, { routingKey: 'counted' }, body);
    expect((await peer.get('counted'))?.args.number('messageCount')).toBe(2);
    peer.destroy();
  });

  test('consumer cancel notification: a deleted queue', async () => {
    const peer = await withQueue('vanishing');
    const tag = await consume(peer, 'vanishing');
    peer.send(1, methods.queueDelete, { queue: 'vanishing' });
    const seen = [await peer.nextMethod(), await peer.nextMethod()];
    const cancel = seen.find(({ method }) => method === methods.basicCancel);
    expect(cancel?.args.text('consumerTag')).toBe(tag);
    expect(cancel?.args.bit('noWait')).toBe(true);
    peer.destroy();
  });

  test('[0-9-1 basic.cancel.01] no delivery follows cancel-ok, and what was delivered can be acked', async () => {
    const peer = await withQueue('cancelled');
    const consumerTag = await consume(peer, 'cancelled');
    peer.publish(1, { routingKey: 'cancelled' }, '1');
    const first = await peer.content();
    await peer.call(1, methods.basicCancel, { consumerTag }, methods.basicCancelOk);
    peer.publish(1, { routingKey: 'cancelled' }, '2');
    peer.send(1, methods.basicAck, { deliveryTag: first.args.bigint('deliveryTag') });
    expect((await peer.get('cancelled'))?.body.toString()).toBe('2');
    peer.destroy();
  });

  test('[0-9-1 queue.declare.exclusive.types] exclusive queues go with their connection, and lock others out', async () => {
    const owner = await withQueue('mine');
    const other = await AmqpPeer.openChannel(port);
    other.send(1, methods.basicGet, { queue: 'mine' });
    expect((await other.closed()).code).toBe(405);
    owner.send(0, methods.connectionClose, { replyCode: 200 });
    await owner.end();
    await other.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    other.send(1, methods.queueDeclare, { queue: 'mine', passive: true });
    expect((await other.closed()).code).toBe(404);
    other.destroy();
  });

  test('an auto-delete queue goes with its last consumer', async () => {
    const peer = await AmqpPeer.openChannel(port);
    await peer.declare('leaving', { autoDelete: true });
    const consumerTag = await consume(peer, 'leaving');
    await peer.call(1, methods.basicCancel, { consumerTag }, methods.basicCancelOk);
    peer.send(1, methods.queueDeclare, { queue: 'leaving', passive: true });
    expect((await peer.closed()).code).toBe(404);
    peer.destroy();
  });

  test('no-wait is answered by nothing', async () => {
    const peer = await AmqpPeer.openChannel(port);
    peer.send(1, methods.queueDeclare, { queue: 'silent', exclusive: true, noWait: true });
    peer.send(1, methods.queueBind, { queue: 'silent', exchange: 'amq.fanout', noWait: true });
    peer.send(1, methods.basicConsume, { queue: 'silent', consumerTag: 't', noWait: true });
    peer.send(1, methods.basicCancel, { consumerTag: 't', noWait: true });
    peer.send(1, methods.queuePurge, { queue: 'silent', noWait: true });
    await peer.call(1, methods.queueDelete, { queue: 'silent' }, methods.queueDeleteOk);
    peer.destroy();
  });
});

describe('transactions', () => {
  test('[0-9-1 tx.commit.transacted] publishes and acks happen at the commit', async () => {
    const peer = await withQueue('tx');
    const other = await withQueue('tx-other');
    peer.publish(1, { routingKey: 'tx' }, 'first');
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    const got = await peer.get('tx', false);
    peer.send(1, methods.basicAck, { deliveryTag: got?.args.bigint('deliveryTag') });
    peer.publish(1, { routingKey: 'tx-other' }, 'in the transaction');
    await peer.call(1, methods.basicQos, {}, methods.basicQosOk);
    expect(await other.get('tx-other')).toBeNull();
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
    expect((await other.get('tx-other'))?.body.toString()).toBe('in the transaction');
    peer.destroy();
    other.destroy();
  });

  test('[0-9-1 tx.rollback.transacted] forgets the publishes, and the acks are still to be given', async () => {
    const peer = await withQueue('tx-back');
    peer.publish(1, { routingKey: 'tx-back' }, 'first');
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    const deliveryTag = (await peer.get('tx-back', false))?.args.bigint('deliveryTag');
    peer.send(1, methods.basicAck, { deliveryTag });
    peer.publish(1, { routingKey: 'tx-back' }, 'never');
    await peer.call(1, methods.txRollback, {}, methods.txRollbackOk);
    peer.send(1, methods.basicReject, { deliveryTag, requeue: true });
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
    expect((await peer.get('tx-back'))?.body.toString()).toBe('first');
    expect(await peer.get('tx-back')).toBeNull();
    peer.destroy();
  });

  test('mandatory messages are returned at the commit', async () => {
    const peer = await AmqpPeer.openChannel(port);
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    peer.publish(1, { routingKey: 'nowhere', mandatory: true }, 'm');
    peer.send(1, methods.txCommit);
    expect((await peer.content(methods.basicReturn)).body.toString()).toBe('m');
    await peer.expect(1, methods.txCommitOk);
    peer.destroy();
  });

  test('a queue that refuses a part makes the whole commit fail', async () => {
    const peer = await withQueue('tx-full', {
      'x-max-length': { type: 'int', value: 1 },
      'x-overflow': 'reject-publish',
    });
    await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
    for (const body of ['1', '2']) peer.publish(1, { routingKey: 'tx-full' }, body);
    peer.send(1, methods.txCommit);
    expect((await peer.closed()).text).toBe('PRECONDITION_FAILED - partial tx completion');
    await peer.call(1, methods.channelOpen, {}, methods.channelOpenOk);
    expect(await peer.get('tx-full')).toBeNull();
    peer.destroy();
  });
});

describe('direct reply-to', () => {
  test('a request is answered without a queue of the requester’s own', async () => {
    const client = await AmqpPeer.openChannel(port);
    const server = await withQueue('rpc');
    await consume(client, 'amq.rabbitmq.reply-to', { noAck: true });
    const to = { exchange: '', key: '', text: 'amq.rabbitmq.reply-to', protocol: 'amqp-0-9-1' };
    client.publish(1, { routingKey: 'rpc' }, 'question', properties({ replyTo: to, correlationId: 'c' }));
    await consume(server, 'rpc', { noAck: true });
    const request = await server.content();
    const replyTo = /amq\.rabbitmq\.reply-to\.[\w-]+/.exec(request.native.toString('latin1'))?.[0] as string;
    expect(replyTo).toBeDefined();
    const asked = await server.call(1, methods.queueDeclare, { queue: replyTo, passive: true }, methods.queueDeclareOk);
    expect(asked.number('consumerCount')).toBe(1);
    server.publish(1, { routingKey: replyTo, mandatory: true }, 'answer', noProperties);
    expect((await client.content()).body.toString()).toBe('answer');
    client.send(1, methods.channelClose, { replyCode: 200 });
    await client.expect(1, methods.channelCloseOk);
    server.publish(1, { routingKey: replyTo, mandatory: true }, 'too late', noProperties);
    expect((await server.content(methods.basicReturn)).args.number('replyCode')).toBe(312);
    client.destroy();
    server.destroy();
  });
});

describe('dead letters', () => {
  test('x-death and its companions have RabbitMQ’s fields, order and types, and expiration is gone', async () => {
    const peer = await withQueue('died', {
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    });
    await peer.declare('dead', { exclusive: true });
    const headers = args({ own: { type: 'short', value: 1 }, 'x-death': 'made up' });
    peer.publish(1, { routingKey: 'died' }, 'm', properties({ headers, ttlMs: 100_000 }));
    const got = await peer.get('died', false);
    peer.send(1, methods.basicReject, { deliveryTag: got?.args.bigint('deliveryTag') });
    const dead = await peer.get('dead');
    expect(dead?.native.readUInt16BE(0)).toBe(1 << 13);
    const shown = headersOf(dead?.native as Buffer);
    expect([...shown.keys()]).toEqual([
      'own',
      'x-death',
      'x-first-death-exchange',
      'x-first-death-queue',
      'x-first-death-reason',
      'x-last-death-exchange',
      'x-last-death-queue',
      'x-last-death-reason',
    ]);
    const [row] = shown.get('x-death') as Map<string, Value>[];
    expect([...(row as Map<string, Value>)].filter(([name]) => name !== 'time')).toEqual([
      ['count', { type: 'long', value: 1n }],
      ['reason', 'rejected'],
      ['queue', 'died'],
      ['exchange', ''],
      ['routing-keys', ['died']],
      ['original-expiration', '100000'],
    ]);
    expect(row?.get('time')).toMatchObject({ type: 'timestamp' });
    peer.destroy();
  });
});

describe('consistent hashing', () => {
  test('a key goes to one queue, always the same; a binding key that is no weight is refused', async () => {
    const peer = await withQueue('h1');
    await peer.declare('h2', { exclusive: true });
    const exchange = { exchange: 'hashed', type: 'x-consistent-hash', autoDelete: true };
    await peer.call(1, methods.exchangeDeclare, exchange, methods.exchangeDeclareOk);
    for (const queue of ['h1', 'h2']) {
      await peer.call(1, methods.queueBind, { queue, exchange: 'hashed', routingKey: '1' }, methods.queueBindOk);
    }
    for (let i = 0; i < 200; i++) peer.publish(1, { exchange: 'hashed', routingKey: `key-${i % 100}` }, `${i % 100}`);
    const bodies: string[][] = [[], []];
    for (const [i, queue] of ['h1', 'h2'].entries()) {
      for (let got = await peer.get(queue); got !== null; got = await peer.get(queue))
        bodies[i]?.push(got.body.toString());
    }
    const [first, second] = bodies.map((all) => new Set(all));
    expect([bodies[0]?.length, bodies[1]?.length].reduce((a, b) => (a as number) + (b as number), 0)).toBe(200);
    expect([...(first as Set<string>)].filter((key) => second?.has(key))).toEqual([]);
    expect(Math.min(first?.size as number, second?.size as number)).toBeGreaterThan(25);
    peer.send(1, methods.queueBind, { queue: 'h1', exchange: 'hashed', routingKey: 'x' });
    expect((await peer.closed()).text).toBe('PRECONDITION_FAILED - The binding key must be an integer: <<"x">>');
    peer.destroy();
  });
});
