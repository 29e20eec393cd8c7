import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import amqplib, { type Channel, type ChannelModel, type ConsumeMessage, type GetMessage, type Options } from 'amqplib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

/** amqplib, in the breadth of AMQP 0-9-1 and RabbitMQ's extensions. */
export function amqplibSuite(endpoint: () => Endpoint): void {
  let connection: ChannelModel;
  let channel: Channel;
  const connect = (options: Partial<Options.Connect> = {}) => {
    const { host, port, user, password } = endpoint();
    return amqplib.connect({ hostname: host, port, username: user, password, ...options });
  };
  beforeEach(async () => {
    connection = await connect();
    channel = await connection.createChannel();
    channel.on('error', () => {}); // what closes it is asserted where it is caused
  });
  afterEach(() => connection.close());

  const temporary = async (options: Options.AssertQueue = {}): Promise<string> =>
    (await channel.assertQueue('', { exclusive: true, ...options })).queue;
  const bodies = async (queue: string): Promise<string[]> => {
    const all: string[] = [];
    for (let got = await channel.get(queue, { noAck: true }); got; got = await channel.get(queue, { noAck: true })) {
      all.push(got.content.toString());
    }
    return all;
  };
  /** Collects as many deliveries. */
  const collect = (queue: string, count: number, options: Options.Consume = {}): Promise<ConsumeMessage[]> => {
    const seen: ConsumeMessage[] = [];
    return new Promise((resolve, reject) => {
      channel
        .consume(
          queue,
          (message) => {
            if (message === null) return reject(new Error('cancelled'));
            seen.push(message);
            if (seen.length === count) resolve(seen);
          },
          options,
        )
        .catch(reject);
    });
  };
  const published = async (): Promise<void> => void (await channel.checkExchange('amq.direct')); // behind all that was sent

  test.each<[string, string, [key: string, headers: object][], string, object, string[]]>([
    [
      'direct',
      'a',
      [
        ['a', {}],
        ['b', {}],
        ['', {}],
      ],
      'amq.direct',
      {},
      ['a'],
    ],
    [
      'fanout',
      'any',
      [
        ['a', {}],
        ['', {}],
      ],
      'amq.fanout',
      {},
      ['a', ''],
    ],
    [
      'topic',
      'a.*.#',
      [
        ['a', {}],
        ['a.b', {}],
        ['a.b.c.d', {}],
        ['b.a.c', {}],
      ],
      'amq.topic',
      {},
      ['a.b', 'a.b.c.d'],
    ],
    [
      'headers, all',
      '',
      [
        ['1', { x: 1, y: 'z' }],
        ['2', { x: 1 }],
        ['3', { y: 'z', x: 1, more: true }],
      ],
      'amq.headers',
      { 'x-match': 'all', x: 1, y: 'z' },
      ['1', '3'],
    ],
    [
      'headers, any',
      '',
      [
        ['1', { x: 1 }],
        ['2', { x: 2, y: 'z' }],
        ['3', {}],
      ],
      'amq.match',
      { 'x-match': 'any', x: 1, y: 'z' },
      ['1', '2'],
    ],
  ])('%s exchange', async (_title, key, messages, exchange, args, expected) => {
    const queue = await temporary();
    await channel.bindQueue(queue, exchange, key, args);
    for (const [routingKey, headers] of messages)
      channel.publish(exchange, routingKey, Buffer.from(routingKey), { headers });
    await published();
    expect(await bodies(queue)).toEqual(expected);
    await channel.unbindQueue(queue, exchange, key, args);
    channel.publish(exchange, 'a', Buffer.from('gone'), { headers: { x: 1, y: 'z' } });
    await published();
    expect(await bodies(queue)).toEqual([]);
  });

  test('exchanges of one’s own: bound to one another, internal, with an alternate, deleted', async () => {
    const name = (what: string) => `amqplib-${what}-${randomUUID()}`;
    const [front, back, rest] = [name('front'), name('back'), name('rest')];
    await channel.assertExchange(rest, 'fanout', { autoDelete: true, durable: false });
    await channel.assertExchange(front, 'direct', { durable: false, alternateExchange: rest });
    await channel.assertExchange(back, 'topic', { durable: false, internal: true });
    await channel.bindExchange(back, front, 'a.b');
    const [queue, unrouted] = [await temporary(), await temporary()];
    await channel.bindQueue(queue, back, '#');
    await channel.bindQueue(unrouted, rest, '');
    channel.publish(front, 'a.b', Buffer.from('through'));
    channel.publish(front, 'c', Buffer.from('beside'));
    await published();
    expect(await bodies(queue)).toEqual(['through']);
    expect(await bodies(unrouted)).toEqual(['beside']);
    await channel.unbindExchange(back, front, 'a.b');
    await channel.deleteExchange(front, { ifUnused: true });
    await channel.deleteExchange(back);
    const other = await connection.createChannel();
    const closed = once(other, 'error');
    other.publish(front, 'a.b', Buffer.from('x'));
    expect(String((await closed)[0])).toMatch(/404.*no exchange/);
  });

  test('confirms: each callback once, also for what goes nowhere; a queue that is full says no', async () => {
    const confirming = await connection.createConfirmChannel();
    const { queue } = await confirming.assertQueue('', {
      exclusive: true,
      maxLength: 3,
      arguments: { 'x-overflow': 'reject-publish' },
    });
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, (_, i) => {
        return new Promise<string>((resolve) => {
          confirming.sendToQueue(queue, Buffer.from(String(i)), {}, (error) => resolve(error ? 'nack' : 'ack'));
        });
      }),
    );
    expect(outcomes).toEqual(['ack', 'ack', 'ack', 'nack', 'nack']);
    await new Promise<void>((resolve, reject) => {
      confirming.publish('amq.fanout', randomUUID(), Buffer.from('x'), {}, (error) =>
        error ? reject(error) : resolve(),
      );
    });
    for (let i = 0; i < 2000; i++) confirming.publish('amq.direct', 'nobody', Buffer.from('x'));
    await confirming.waitForConfirms();
    await confirming.close();
  });

  test('what is mandatory and unroutable is returned, before its confirm', async () => {
    const confirming = await connection.createConfirmChannel();
    const order: string[] = [];
    confirming.on('return', () => order.push('return'));
    const returned = once(confirming, 'return');
    const properties = { mandatory: true, contentType: 'a/b', headers: { n: 1 } };
    confirming.publish('amq.direct', 'nobody-is-bound', Buffer.from('back'), properties, () => order.push('confirm'));
    await confirming.waitForConfirms();
    const [message] = (await returned) as [ConsumeMessage];
    expect(message.fields).toMatchObject({ replyCode: 312, replyText: 'NO_ROUTE', routingKey: 'nobody-is-bound' });
    expect(message.properties).toMatchObject({ contentType: 'a/b', headers: { n: 1 } });
    expect(message.content.toString()).toBe('back');
    expect(order).toEqual(['return', 'confirm']);
    await confirming.close();
  });

  test('get, ack, nack, reject, recover', async () => {
    const queue = await temporary();
    expect(await channel.get(queue)).toBe(false);
    for (const body of ['1', '2', '3', '4']) channel.sendToQueue(queue, Buffer.from(body));
    await published();
    const got: GetMessage[] = [];
    for (let i = 0; i < 4; i++) got.push((await channel.get(queue)) as GetMessage);
    expect(got.map(({ fields }) => fields.messageCount)).toEqual([3, 2, 1, 0]);
    channel.ack(got[0]!);
    channel.nack(got[1]!, false, true);
    channel.reject(got[2]!, false);
    await channel.recover();
    expect(await bodies(queue)).toEqual(['2', '4']);
  });

  test('all up to one: ack, nack', async () => {
    const queue = await temporary();
    for (const body of ['1', '2', '3', '4', '5']) channel.sendToQueue(queue, Buffer.from(body));
    const seen = await collect(queue, 5, { consumerTag: 'all' });
    channel.ack(seen[1]!, true);
    await channel.cancel('all');
    channel.nack(seen[3]!, true, true);
    channel.ackAll();
    await published();
    expect(await bodies(queue)).toEqual(['3', '4']);
  });

  test('prefetch of a consumer, and of the channel as a whole', async () => {
    const [one, two] = [await temporary(), await temporary()];
    await channel.prefetch(2, false);
    await channel.prefetch(3, true);
    const seen: ConsumeMessage[] = [];
    for (const queue of [one, two]) await channel.consume(queue, (message) => seen.push(message as ConsumeMessage));
    for (let i = 0; i < 5; i++) for (const queue of [one, two]) channel.sendToQueue(queue, Buffer.from(`${i}`));
    await published();
    await expect.poll(() => seen.length).toBe(3);
    await published();
    expect(seen.length).toBe(3);
    for (let acked = 0; acked < 10; acked++) {
      await expect.poll(() => seen.length).toBeGreaterThan(acked);
      expect(seen.length - acked).toBeLessThanOrEqual(3);
      channel.ack(seen[acked]!);
    }
    expect(seen.length).toBe(10);
  });

  test('the consumer of highest x-priority is served while it has room', async () => {
    const queue = await temporary();
    const seen: string[] = [];
    await channel.prefetch(1);
    const consume = (name: string, priority: number) =>
      channel.consume(queue, () => seen.push(name), { priority, consumerTag: name });
    await consume('low', -1);
    await consume('high', 5);
    await consume('middle', 1);
    for (const body of ['1', '2', '3']) {
      channel.sendToQueue(queue, Buffer.from(body));
      await expect.poll(() => seen.length).toBe(Number(body));
    }
    expect(seen).toEqual(['high', 'middle', 'low']);
  });

  test('an exclusive consumer is alone', async () => {
    const queue = await temporary();
    await channel.consume(queue, () => {}, { exclusive: true });
    const other = await connection.createChannel();
    other.on('error', () => {});
    await expect(other.consume(queue, () => {})).rejects.toThrow(/403.*in exclusive use/s);
  });

  test('an exclusive queue is another connection’s to nobody', async () => {
    const queue = `amqplib-exclusive-${randomUUID()}`;
    await channel.assertQueue(queue, { exclusive: true });
    const stranger = await connect();
    const uses: ((strange: Channel) => Promise<unknown>)[] = [
      (strange) => strange.checkQueue(queue),
      (strange) => strange.assertQueue(queue, { exclusive: true }),
      (strange) => strange.bindQueue(queue, 'amq.fanout', ''),
      (strange) => strange.consume(queue, () => {}),
      (strange) => strange.get(queue),
      (strange) => strange.purgeQueue(queue),
      (strange) => strange.deleteQueue(queue),
    ];
    for (const use of uses) {
      const strange = await stranger.createChannel();
      strange.on('error', () => {});
      await expect(use(strange)).rejects.toThrow(/405.*cannot obtain exclusive access to locked queue/s);
    }
    await stranger.close();
  });

  test('a consumer is told when its queue is deleted', async () => {
    const queue = await temporary();
    const told = new Promise<unknown>((resolve) => void channel.consume(queue, resolve));
    await published();
    const other = await connection.createChannel();
    await other.deleteQueue(queue);
    expect(await told).toBeNull();
  });

  test('counts: declare, purge, delete', async () => {
    const queue = await temporary();
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    await published();
    await expect.poll(async () => (await channel.checkQueue(queue)).messageCount).toBe(3);
    expect(await channel.purgeQueue(queue)).toEqual({ messageCount: 3 });
    channel.sendToQueue(queue, Buffer.from('4'));
    await channel.consume(await temporary(), () => {});
    await expect.poll(async () => (await channel.checkQueue(queue)).messageCount).toBe(1);
    expect(await channel.deleteQueue(queue)).toEqual({ messageCount: 1 });
    expect(await channel.deleteQueue(queue)).toEqual({ messageCount: 0 });
  });

  test('headers of every type that amqplib writes come back', async () => {
    const queue = await temporary();
    const headers = {
      text: 'é漢',
      yes: true,
      no: false,
      nothing: null,
      byte: -5,
      short: 300,
      int: -70_000,
      long: 5_000_000_000,
      double: 1.5,
      binary: Buffer.from([0, 255, 1]),
      list: [1, 'two', [3], { four: 4 }],
      table: { a: { b: { c: [true, null] } } },
      when: { '!': 'timestamp', value: 1_600_000_000 },
      decimal: { '!': 'decimal', value: { digits: 12_345, places: 2 } },
      float: { '!': 'float', value: 0.5 },
      int8: { '!': 'int8', value: 7 },
      int16: { '!': 'int16', value: 7 },
      int32: { '!': 'int32', value: 7 },
      int64: { '!': 'int64', value: 7 },
    };
    channel.sendToQueue(queue, Buffer.from('x'), { headers });
    const [message] = await collect(queue, 1);
    expect(message?.properties.headers).toEqual({
      ...headers,
      decimal: { '!': 'decimal', value: { digits: 12_345, places: 2 } },
      float: 0.5,
      int8: 7,
      int16: 7,
      int32: 7,
      int64: 7,
    });
  });

  test('every property comes back, and what was not given stays away', async () => {
    const queue = await temporary();
    const properties = {
      contentType: 'application/json',
      contentEncoding: 'gzip',
      deliveryMode: 2,
      priority: 9,
      correlationId: 'c',
      replyTo: 'somewhere',
      expiration: '60000',
      messageId: 'm',
      timestamp: 1_600_000_000,
      type: 't',
      userId: endpoint().user,
      appId: 'a',
    };
    channel.sendToQueue(queue, Buffer.from('x'), properties);
    channel.sendToQueue(queue, Buffer.from('y'), {});
    const [full, bare] = await collect(queue, 2);
    expect(full?.properties).toMatchObject(properties);
    for (const name of Object.keys(properties)) {
      if (name === 'deliveryMode') continue; // amqplib writes one always
      expect(bare?.properties[name as keyof typeof properties]).toBeUndefined();
    }
  });

  test('bodies of none, and of some megabytes', async () => {
    const queue = await temporary();
    const large = Buffer.alloc(5_000_003, 'large');
    channel.sendToQueue(queue, Buffer.alloc(0));
    channel.sendToQueue(queue, large);
    const [first, second] = await collect(queue, 2);
    expect(first?.content.length).toBe(0);
    expect(second?.content.equals(large)).toBe(true);
  });

  test('a hundred channels at a time, each with its deliveries', async () => {
    const channels = await Promise.all(Array.from({ length: 100 }, () => connection.createChannel()));
    const echoes = channels.map(async (each, i) => {
      const { queue } = await each.assertQueue('', { exclusive: true });
      const echo = new Promise<string>((resolve) => {
        void each.consume(queue, (message) => resolve(String(message?.content)), { noAck: true });
      });
      each.sendToQueue(queue, Buffer.from(`channel ${i}`));
      return echo;
    });
    expect(await Promise.all(echoes)).toEqual(channels.map((_, i) => `channel ${i}`));
    await Promise.all(channels.map((each) => each.close()));
  });

  test('a channel that fails leaves the others alone', async () => {
    const queue = await temporary();
    const failing = await connection.createChannel();
    const failed = once(failing, 'error');
    failing.ack({ fields: { deliveryTag: 99 } } as ConsumeMessage);
    expect(String((await failed)[0])).toMatch(/406.*unknown delivery tag 99/);
    channel.sendToQueue(queue, Buffer.from('still here'));
    const [message] = await collect(queue, 1);
    expect(message?.content.toString()).toBe('still here');
  });

  test('heartbeats keep a silent connection', async () => {
    const silent = await connect({ heartbeat: 1 });
    const closed = once(silent, 'close').then(() => 'closed');
    const { heartbeater } = silent.connection as unknown as { heartbeater: NodeJS.EventEmitter };
    const beats = (async () => {
      for (let i = 0; i < 6; i++) await once(heartbeater, 'beat'); // twice what would be too long for either side
      return 'alive';
    })();
    expect(await Promise.race([beats, closed])).toBe('alive');
    const each = await silent.createChannel();
    await each.checkExchange('amq.direct');
    await silent.close();
  });

  test('update-secret is answered', async () => {
    await connection.updateSecret(Buffer.from(endpoint().password), 'renewed');
  });
}
