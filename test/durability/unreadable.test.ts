import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import amqplib from 'amqplib';
import { expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const count = 3000;
const bodies = Array.from({ length: count }, (_, i) => String(i).padEnd(1000, '.'));
const segment = '0000000001.segment';

interface Backlog {
  readonly broker: BrokerProcess;
  readonly connection: amqplib.ChannelModel;
  readonly channel: amqplib.ConfirmChannel;
  /** Resolves when the check for alarms answers so. */
  alarmsUntil(status: number): Promise<unknown>;
}

/** The messages wait in 'q', and hardly any of them in memory; 'other' is empty. */
async function openBacklog(): Promise<Backlog> {
  const broker = await BrokerProcess.start({ args: ['--set', 'memory.queueBytes=1000'] });
  const api = new ApiClient(broker.port('management'));
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  const channel = await connection.createConfirmChannel();
  for (const queue of ['q', 'other']) await channel.assertQueue(queue, { durable: true });
  for (const body of bodies) channel.sendToQueue('q', Buffer.from(body), { persistent: true });
  await channel.waitForConfirms();
  const alarmsUntil = async (status: number): Promise<unknown> => {
    for (;;) {
      const answer = await api.get('health/checks/alarms');
      if (answer.status === status) return answer.body;
    }
  };
  await alarmsUntil(200);
  const isCold = (paged: number): boolean => paged > count - 500;
  while (!isCold(((await api.get('queues/%2F/q')).body as { messages_paged_out: number }).messages_paged_out));
  return { broker, connection, channel, alarmsUntil };
}

/** Consumes 'q'. @returns what came, which grows, and a promise of all of it */
async function consumeAll(channel: amqplib.Channel): Promise<{ found: string[]; all: Promise<void> }> {
  const found: string[] = [];
  let done: () => void = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  await channel.consume('q', (message) => {
    found.push(message!.content.toString());
    if (found.length === count) done();
  });
  return { found, all };
}

async function overwrite(path: string, content: Buffer): Promise<void> {
  const file = await open(path, 'r+');
  await file.write(content, 0, content.length, 0);
  await file.close();
}

/** Changes an octet of the body of message `i`, where the log has it. @returns the log as it was */
async function damage(path: string, i: number): Promise<Buffer> {
  const log = await readFile(path);
  const harmed = Buffer.from(log);
  harmed[harmed.indexOf(bodies[i]!) + 500]! ^= 1;
  await overwrite(path, harmed);
  return log;
}

test('messages that cannot be read back hold up their queue alone, health names it, and all of them come in order', async () => {
  const { broker, connection, channel, alarmsUntil } = await openBacklog();
  try {
    // Nothing is written meanwhile: it would go to the end that is not there.
    const path = join(broker.dataDir, segment);
    const log = await readFile(path);
    await truncate(path, log.length / 2);
    const { found, all } = await consumeAll(channel);
    expect(await alarmsUntil(503)).toMatchObject({
      reason: expect.stringMatching(
        /messages of queue 'q' cannot be read back \(0000000001\.segment ends before offset \d+\)/,
      ),
      alarms: [{ resource: 'disk' }],
    });
    expect(found.length).toBeLessThan(count);
    channel.sendToQueue('other', Buffer.from('served'));
    let answer: amqplib.GetMessage | false = false;
    while (answer === false) answer = await channel.get('other', { noAck: true });
    expect(answer.content.toString()).toBe('served');

    await overwrite(path, log);
    await all;
    expect(found).toEqual(bodies);
    await alarmsUntil(200);
    channel.ackAll();
    await connection.close();
  } finally {
    await broker.remove();
  }
});

test('a message whose octets changed on the disk is never delivered: its queue waits, and the log says where', async () => {
  const { broker, connection, channel, alarmsUntil } = await openBacklog();
  try {
    const path = join(broker.dataDir, segment);
    const log = await damage(path, 2000);
    const { found, all } = await consumeAll(channel);
    const { reason } = (await alarmsUntil(503)) as { reason: string };
    const where = /\((0000000001\.segment at offset (\d+): a batch fails its checksum)\)/.exec(reason);
    expect(where).not.toBeNull();
    expect(broker.log).toContain(where![1]);
    const at = log.indexOf(bodies[2000]!);
    const batch = Number(where![2]);
    expect([batch <= at, batch + 32 + log.readUInt32BE(batch) > at]).toEqual([true, true]);
    expect(found.length).toBeLessThanOrEqual(2000);
    expect(found).toEqual(bodies.slice(0, found.length));

    await overwrite(path, log); // as a disk does that gives the right octets after all
    await all;
    expect(found).toEqual(bodies);
    await alarmsUntil(200);
    await connection.close();
  } finally {
    await broker.remove();
  }
});

test('a queue that waits for a damaged message can be purged, and goes on', async () => {
  const { broker, connection, channel, alarmsUntil } = await openBacklog();
  try {
    await damage(join(broker.dataDir, segment), 2000);
    const { consumerTag } = await channel.consume('q', () => {});
    await alarmsUntil(503);
    await channel.cancel(consumerTag);
    await channel.purgeQueue('q');
    await alarmsUntil(200);
    channel.sendToQueue('q', Buffer.from('new'));
    const { found } = await new Promise<{ found: string }>((resolve) => {
      void channel.consume('q', (message) => resolve({ found: message!.content.toString() }));
    });
    expect(found).toBe('new');
    await connection.close();
  } finally {
    await broker.remove();
  }
});
