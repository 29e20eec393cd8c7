import { randomUUID } from 'node:crypto';
import amqplib, { type Channel, type ChannelModel, type ConsumeMessage } from 'amqplib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Endpoint } from './interop.ts';

interface Death {
  readonly queue: string;
  readonly reason: string;
  readonly count: number;
}

/** How task queues use a broker: work shared among workers, retries after a time, and calls that are answered. */
export function workersSuite(endpoint: () => Endpoint): void {
  let connection: ChannelModel;
  beforeEach(async () => {
    const { host, port, user, password } = endpoint();
    connection = await amqplib.connect({ hostname: host, port, username: user, password });
  });
  afterEach(() => connection.close());

  const unique = (name: string) => `workers-${name}-${randomUUID()}`;

  test('work is shared: each task once, and the tasks of a worker that dies go to another', async () => {
    const { host, port, user, password } = endpoint();
    const dying = await amqplib.connect({ hostname: host, port, username: user, password });
    dying.on('error', () => {});
    const tasks = unique('tasks');
    const publisher = await connection.createConfirmChannel();
    await publisher.assertQueue(tasks, { durable: true });
    const done: string[] = [];
    let redelivered = 0;
    const works = async (channel: Channel): Promise<void> => {
      await channel.prefetch(5);
      await channel.consume(tasks, (task) => {
        if (task === null) return;
        if (task.fields.redelivered) redelivered += 1;
        done.push(task.content.toString());
        channel.ack(task);
      });
    };
    const idle = await dying.createChannel();
    await idle.prefetch(5);
    const held = new Promise<void>((resolve) => {
      let count = 0;
      void idle.consume(tasks, () => {
        count += 1;
        if (count === 5) resolve();
      });
    });
    for (let i = 0; i < 200; i++) publisher.sendToQueue(tasks, Buffer.from(`${i}`), { persistent: true });
    await publisher.waitForConfirms();
    await held;
    await works(await connection.createChannel());
    await works(await connection.createChannel());
    (dying.connection as unknown as { stream: { destroy(): void } }).stream.destroy();
    await expect.poll(() => done.length, { timeout: 20_000 }).toBe(200);
    expect(new Set(done).size).toBe(200);
    expect(redelivered).toBe(5);
    expect(await publisher.deleteQueue(tasks)).toEqual({ messageCount: 0 });
  });

  test('retries: a task that fails waits in a queue with TTL, comes back by dead letter, and is given up in the end', async () => {
    const [tasks, waiting, failed] = [unique('tasks'), unique('waiting'), unique('failed')];
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue(tasks, { durable: true, deadLetterExchange: '', deadLetterRoutingKey: waiting });
    await channel.assertQueue(waiting, {
      durable: true,
      messageTtl: 20,
      deadLetterExchange: '',
      deadLetterRoutingKey: tasks,
    });
    await channel.assertQueue(failed, { durable: true });
    const counts: number[] = [];
    const givenUp = new Promise<ConsumeMessage>((resolve) => {
      void channel.consume(failed, (message) => resolve(message as ConsumeMessage), { noAck: true });
    });
    await channel.consume(tasks, (task) => {
      if (task === null) return;
      const deaths = (task.properties.headers?.['x-death'] ?? []) as unknown as Death[];
      const tries = deaths.find(({ queue, reason }) => queue === tasks && reason === 'rejected')?.count ?? 0;
      counts.push(tries);
      if (tries < 3) return channel.nack(task, false, false);
      channel.sendToQueue(failed, task.content, {
        headers: { deaths: deaths.map(({ queue, reason, count }) => ({ queue, reason, count })) },
      });
      channel.ack(task);
    });
    channel.sendToQueue(tasks, Buffer.from('never works'), { persistent: true });
    const message = await givenUp;
    expect(counts).toEqual([0, 1, 2, 3]);
    expect(message.content.toString()).toBe('never works');
    expect(message.properties.headers?.['deaths']).toEqual([
      { queue: waiting, reason: 'expired', count: 3 },
      { queue: tasks, reason: 'rejected', count: 3 },
    ]);
    for (const queue of [tasks, waiting, failed]) await channel.deleteQueue(queue);
  });

  test('delays: each task’s own expiration, in a queue that nobody consumes', async () => {
    const [later, due] = [unique('later'), unique('due')];
    const channel = await connection.createChannel();
    await channel.assertQueue(due, { exclusive: true });
    await channel.assertQueue(later, { exclusive: true, deadLetterExchange: '', deadLetterRoutingKey: due });
    const seen: string[] = [];
    const all = new Promise<void>((resolve) => {
      void channel.consume(due, (task) => {
        seen.push(`${task?.content}`);
        if (seen.length === 3) resolve();
      });
    });
    for (const expiration of ['10', '20', '30']) channel.sendToQueue(later, Buffer.from(expiration), { expiration });
    await all;
    expect(seen).toEqual(['10', '20', '30']);
  });

  test('calls by direct reply-to: many at a time, each answered to its caller', async () => {
    const calls = unique('calls');
    const server = await connection.createChannel();
    await server.assertQueue(calls, { exclusive: true });
    await server.consume(calls, (call) => {
      if (call === null) return;
      const { replyTo, correlationId } = call.properties as { replyTo: string; correlationId: string };
      server.sendToQueue(replyTo, Buffer.from(`${Number(call.content) ** 2}`), { correlationId });
      server.ack(call);
    });
    const client = await connection.createChannel();
    const pending = new Map<string, (answer: number) => void>();
    const answered = (answer: ConsumeMessage | null) => {
      pending.get(answer?.properties.correlationId as string)?.(Number(answer?.content));
    };
    await client.consume('amq.rabbitmq.reply-to', answered, { noAck: true });
    const call = (n: number) =>
      new Promise<number>((resolve) => {
        pending.set(`${n}`, resolve);
        const options = { replyTo: 'amq.rabbitmq.reply-to', correlationId: `${n}` };
        client.sendToQueue(calls, Buffer.from(`${n}`), options);
      });
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => call(n)));
    expect(answers).toEqual(answers.map((_, n) => n * n));
  });

  test('news to all workers: a queue for each, bound to a fanout', async () => {
    const exchange = unique('news');
    const publisher = await connection.createChannel();
    await publisher.assertExchange(exchange, 'fanout', { durable: false });
    const heard = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const channel = await connection.createChannel();
        const { queue } = await channel.assertQueue('', { exclusive: true });
        await channel.bindQueue(queue, exchange, '');
        const news: string[] = [];
        await channel.consume(queue, (message) => news.push(`${message?.content}`), { noAck: true });
        return news;
      }),
    );
    publisher.publish(exchange, '', Buffer.from('shut down'));
    await expect.poll(() => heard).toEqual(heard.map(() => ['shut down']));
    await publisher.deleteExchange(exchange);
  });
}
