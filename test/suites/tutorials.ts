import amqplib, { type ConsumeMessage } from 'amqplib';
import { afterEach, expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

/** RabbitMQ's seven tutorials for JavaScript, each pair of programs as one test. */
export function tutorialsSuite(endpoint: () => Endpoint): void {
  const open: amqplib.ChannelModel[] = [];
  const connect = async () => {
    const { host, port, user, password } = endpoint();
    const connection = await amqplib.connect({ hostname: host, port, username: user, password });
    open.push(connection);
    return connection;
  };
  afterEach(async () => {
    for (const connection of open.splice(0)) await connection.close();
  });

  /** Resolves with the first `count` messages that come. */
  function collect(count: number): { readonly all: Promise<string[]>; add(message: ConsumeMessage | null): void } {
    const seen: string[] = [];
    let resolve: (seen: string[]) => void;
    const all = new Promise<string[]>((done) => {
      resolve = done;
    });
    const add = (message: ConsumeMessage | null): void => {
      seen.push(String(message?.content));
      if (seen.length === count) resolve(seen);
    };
    return { all, add };
  }

  test('1, hello world: send and receive', async () => {
    const send = await (await connect()).createChannel();
    await send.assertQueue('hello', { durable: true });
    send.sendToQueue('hello', Buffer.from('Hello World!'));
    const receive = await (await connect()).createChannel();
    await receive.assertQueue('hello', { durable: true });
    const { all, add } = collect(1);
    await receive.consume('hello', add, { noAck: true });
    expect(await all).toEqual(['Hello World!']);
    await receive.deleteQueue('hello');
  });

  test('2, work queues: durable tasks, shared among workers that take one at a time', async () => {
    const sender = await (await connect()).createChannel();
    await sender.assertQueue('task_queue', { durable: true });
    for (const task of ['1.', '2..', '3...', '4....']) {
      sender.sendToQueue('task_queue', Buffer.from(task), { persistent: true });
    }
    const workers: string[][] = [[], []];
    const { all, add } = collect(4);
    for (const done of workers) {
      const channel = await (await connect()).createChannel();
      await channel.assertQueue('task_queue', { durable: true });
      await channel.prefetch(1);
      await channel.consume('task_queue', (message) => {
        if (message === null) return; // the queue is gone
        done.push(String(message.content));
        add(message);
        // the first takes its time: it keeps what it has until all is done elsewhere
        if (done !== workers[0]) channel.ack(message);
        else void all.then(() => channel.ack(message));
      });
    }
    expect((await all).sort()).toEqual(['1.', '2..', '3...', '4....']);
    expect(workers.map((done) => done.length)).toEqual([1, 3]);
    await sender.deleteQueue('task_queue');
  });

  test('3, publish and subscribe: every log reaches every temporary queue', async () => {
    const emitter = await (await connect()).createChannel();
    await emitter.assertExchange('tutorial-logs', 'fanout', { durable: false });
    const lines: Promise<string[]>[] = [];
    for (let i = 0; i < 2; i++) {
      const channel = await (await connect()).createChannel();
      await channel.assertExchange('tutorial-logs', 'fanout', { durable: false });
      const { queue } = await channel.assertQueue('', { exclusive: true });
      await channel.bindQueue(queue, 'tutorial-logs', '');
      const { all, add } = collect(2);
      lines.push(all);
      await channel.consume(queue, add, { noAck: true });
    }
    for (const line of ['info', 'warning']) emitter.publish('tutorial-logs', '', Buffer.from(line));
    for (const all of lines) expect(await all).toEqual(['info', 'warning']);
    await emitter.deleteExchange('tutorial-logs');
  });

  test('4, routing: by severity, several bindings a queue', async () => {
    const channel = await (await connect()).createChannel();
    await channel.assertExchange('tutorial-direct', 'direct', { durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const severity of ['warning', 'error']) await channel.bindQueue(queue, 'tutorial-direct', severity);
    const { all, add } = collect(2);
    await channel.consume(queue, add, { noAck: true });
    for (const severity of ['info', 'error', 'debug', 'warning']) {
      channel.publish('tutorial-direct', severity, Buffer.from(severity));
    }
    expect(await all).toEqual(['error', 'warning']);
    await channel.deleteExchange('tutorial-direct');
  });

  test.each([
    ['#', ['kern.critical', 'anonymous.info', 'a.b.c']],
    ['kern.*', ['kern.critical']],
    ['*.critical', ['kern.critical']],
    ['*.info', ['anonymous.info']],
  ])('5, topics: %s', async (pattern, expected) => {
    const channel = await (await connect()).createChannel();
    await channel.assertExchange('tutorial-topic', 'topic', { durable: false });
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await channel.bindQueue(queue, 'tutorial-topic', pattern);
    const { all, add } = collect(expected.length);
    await channel.consume(queue, add, { noAck: true });
    for (const key of ['kern.critical', 'anonymous.info', 'a.b.c']) {
      channel.publish('tutorial-topic', key, Buffer.from(key));
    }
    expect(await all).toEqual(expected);
    await channel.deleteExchange('tutorial-topic');
  });

  test('6, RPC: a callback queue and correlation ids', async () => {
    const fibonacci = (n: number): number => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));
    const server = await (await connect()).createChannel();
    await server.assertQueue('rpc_queue', { durable: false });
    await server.prefetch(1);
    await server.consume('rpc_queue', (message) => {
      if (message === null) return; // the queue is gone
      const { content, properties } = message;
      const { correlationId } = properties;
      server.sendToQueue(properties.replyTo, Buffer.from(String(fibonacci(Number(content)))), { correlationId });
      server.ack(message);
    });
    const client = await (await connect()).createChannel();
    const { queue } = await client.assertQueue('', { exclusive: true });
    const answers = new Map<string, string>();
    const { all, add } = collect(3);
    await client.consume(
      queue,
      (message) => {
        answers.set(message?.properties.correlationId, String(message?.content));
        add(message);
      },
      { noAck: true },
    );
    for (const n of ['4', '10', '20']) {
      client.sendToQueue('rpc_queue', Buffer.from(n), { correlationId: `id-${n}`, replyTo: queue });
    }
    await all;
    expect([...answers].sort()).toEqual([
      ['id-10', '55'],
      ['id-20', '6765'],
      ['id-4', '3'],
    ]);
    await server.deleteQueue('rpc_queue');
  });

  test('7, publisher confirms: one by one, in batches, and as they come', async () => {
    const channel = await (await connect()).createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    const body = Buffer.from('confirmed');
    for (let i = 0; i < 10; i++) {
      channel.sendToQueue(queue, body);
      await channel.waitForConfirms();
    }
    for (let batch = 0; batch < 5; batch++) {
      for (let i = 0; i < 100; i++) channel.sendToQueue(queue, body);
      await channel.waitForConfirms();
    }
    const confirmed: Promise<void>[] = [];
    for (let i = 0; i < 500; i++) {
      confirmed.push(
        new Promise((resolve, reject) =>
          channel.sendToQueue(queue, body, {}, (err) => (err ? reject(err) : resolve())),
        ),
      );
    }
    await Promise.all(confirmed);
    expect(await channel.checkQueue(queue)).toMatchObject({ messageCount: 1010 });
  });
}
