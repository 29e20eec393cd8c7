import { randomUUID } from 'node:crypto';
import { AMQPClient, type AMQPMessage } from '@cloudamqp/amqp-client';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

type Connection = Awaited<ReturnType<AMQPClient['connect']>>;
type Channel = Awaited<ReturnType<Connection['channel']>>;

/** @cloudamqp/amqp-client, a codec of its own and another idea of how a client works. */
export function amqpClientSuite(endpoint: () => Endpoint): void {
  let connection: Connection;
  let channel: Channel;
  const url = (query = '') => {
    const { host, port, user, password } = endpoint();
    return `amqp://${user}:${password}@${host}:${port}/%2f?name=interop${query}`;
  };
  beforeEach(async () => {
    connection = await new AMQPClient(url(), undefined, null).connect();
    channel = await connection.channel();
  });
  afterEach(() => connection.close());

  const declare = async (args = {}) =>
    (await channel.queueDeclare('', { exclusive: true, durable: false, autoDelete: false }, args)).name;
  const drain = async (queue: string): Promise<(string | null)[]> => {
    const all: (string | null)[] = [];
    for (let got = await channel.basicGet(queue); got !== null; got = await channel.basicGet(queue))
      all.push(got.bodyString());
    return all;
  };

  test('publishing with confirms, and consuming with acks', async () => {
    const queue = await declare();
    await channel.confirmSelect();
    const tags = await Promise.all(
      Array.from({ length: 500 }, (_, i) => channel.basicPublish('', queue, `${i}`, { deliveryMode: 2 })),
    );
    expect(tags.at(-1)).toBe(500);
    await channel.basicQos(50);
    const seen: (string | null)[] = [];
    await new Promise<void>((resolve, reject) => {
      channel
        .basicConsume(queue, { noAck: false }, async (message) => {
          seen.push(message.bodyString());
          if (message.deliveryTag % 50 === 0) await message.ack(true);
          if (seen.length === 500) resolve();
        })
        .catch(reject);
    });
    expect(seen).toEqual(tags.map((_, i) => `${i}`));
    expect(await channel.queuePurge(queue)).toEqual({ messageCount: 0 });
  });

  test('transactions: commit and rollback, of publishes and acks', async () => {
    const queue = await declare();
    await channel.txSelect();
    await channel.basicPublish('', queue, 'kept');
    await channel.txCommit();
    await channel.basicPublish('', queue, 'forgotten');
    await channel.txRollback();
    const got = await channel.basicGet(queue, { noAck: false });
    expect(got?.bodyString()).toBe('kept');
    await got?.ack();
    await channel.txRollback();
    await channel.basicRecover(true);
    await channel.txCommit();
    const other = await connection.channel();
    const again = await other.basicGet(queue);
    expect([again?.bodyString(), again?.redelivered]).toEqual(['kept', true]);
    expect(await other.basicGet(queue)).toBeNull();
  });

  test('every type of a header comes back', async () => {
    const queue = await declare();
    const headers = {
      text: 'é',
      yes: true,
      nothing: null,
      int: 5,
      negative: -5,
      long: 5_000_000_000,
      double: 1.25,
      when: new Date(1_600_000_000_000),
      list: ['a', 1, false],
      table: { b: 'c', d: { e: 1 } },
    };
    await channel.basicPublish('', queue, 'x', { headers, priority: 3, timestamp: new Date(1_600_000_000_000) });
    const got = (await channel.basicGet(queue)) as AMQPMessage;
    expect(got.properties.headers).toEqual(headers);
    expect(got.properties.priority).toBe(3);
    expect(got.properties.timestamp).toEqual(new Date(1_600_000_000_000));
  });

  test('what is mandatory and unroutable comes back', async () => {
    const returned = new Promise<AMQPMessage>((resolve) => {
      channel.onReturn = resolve;
    });
    await channel.basicPublish('amq.direct', 'nobody-is-bound', 'back', {}, true);
    const message = await returned;
    expect([message.replyCode, message.replyText, message.bodyString()]).toEqual([312, 'NO_ROUTE', 'back']);
  });

  test('immediate is not implemented, and costs the connection', async () => {
    const other = await new AMQPClient(url(), undefined, null).connect();
    const lost = new Promise<string>((resolve) => {
      other.onerror = (error) => resolve(error.message);
    });
    const its = await other.channel();
    await its.basicPublish('amq.direct', 'k', 'x', {}, false, true).catch(() => {});
    expect(await lost).toMatch(/540|NOT_IMPLEMENTED/);
  });

  test('exchanges of each type, bound to each other', async () => {
    const names = ['direct', 'fanout', 'topic', 'headers'].map((type) => [`${type}-${randomUUID()}`, type] as const);
    for (const [name, type] of names) await channel.exchangeDeclare(name, type, { autoDelete: false, durable: false });
    const queue = await declare();
    const [[direct], [fanout], [topic], [headers]] = names as [
      readonly [string, string],
      readonly [string, string],
      readonly [string, string],
      readonly [string, string],
    ];
    await channel.exchangeBind(fanout, direct, 'k');
    await channel.exchangeBind(topic, fanout);
    await channel.exchangeBind(headers, topic, '#');
    await channel.queueBind(queue, headers, '', { 'x-match': 'all', n: 1 });
    await channel.basicPublish(direct, 'k', 'met', { headers: { n: 1 } });
    await channel.basicPublish(direct, 'k', 'not met', { headers: { n: 2 } });
    await channel.basicPublish(direct, 'other', 'not routed', { headers: { n: 1 } });
    await channel.queueDeclare(queue, { passive: true });
    await expect.poll(() => drain(queue)).toEqual(['met']);
    await channel.exchangeUnbind(fanout, direct, 'k');
    for (const [name] of names) await channel.exchangeDelete(name);
  });

  test('large bodies, in frames of either size', async () => {
    for (const frameMax of [8192, 131_072]) {
      const other = await new AMQPClient(url(`&frameMax=${frameMax}`), undefined, null).connect();
      const its = await other.channel();
      const { name } = await its.queueDeclare('', { exclusive: true, durable: false });
      const body = Buffer.alloc(1_000_001, `${frameMax}`);
      await its.basicPublish('', name, body);
      const got = await its.basicGet(name);
      expect(Buffer.from(got?.body as Uint8Array).equals(body)).toBe(true);
      await other.close();
    }
  });

  test('channels by the dozen, and one that fails', async () => {
    const channels = await Promise.all(Array.from({ length: 40 }, () => connection.channel()));
    await expect(channels[3]?.queueDeclare('no-such-queue-here', { passive: true })).rejects.toThrow(/404|NOT_FOUND/);
    for (const each of channels.slice(4)) await each.exchangeDeclare('amq.direct', 'direct', { passive: true });
  });

  test('update-secret', async () => {
    await connection.updateSecret(endpoint().password, 'renewed');
    await channel.exchangeDeclare('amq.direct', 'direct', { passive: true });
  });

  test('a consumer’s cancel, and the queue going away under another', async () => {
    const queue = await declare();
    const consumer = await channel.basicConsume(queue, {}, () => {});
    await consumer.cancel();
    const second = await channel.basicConsume(queue, { noAck: false }, () => {});
    const gone = second.wait().then(
      () => 'ended',
      (error: Error) => error.message,
    );
    const other = await connection.channel();
    await other.queueDelete(queue);
    expect(await gone).toMatch(/cancel|closed/i);
  });
}
