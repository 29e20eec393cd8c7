import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import amqplib from 'amqplib';
import { expect, test } from 'vitest';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';

const count = 3000;

test('messages that cannot be read back hold up their queue alone, health names it, and all of them come in order', async () => {
  const broker = await BrokerProcess.start({ args: ['--set', 'memory.queueBytes=1000'] });
  try {
    const api = new ApiClient(broker.port('management'));
    const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
    const channel = await connection.createConfirmChannel();
    for (const queue of ['q', 'other']) await channel.assertQueue(queue, { durable: true });
    for (let i = 0; i < count; i++) {
      channel.sendToQueue('q', Buffer.from(String(i).padEnd(1000, '.')), { persistent: true });
    }
    await channel.waitForConfirms();
    const alarmsUntil = async (status: number): Promise<unknown> => {
      for (;;) {
        const answer = await api.get('health/checks/alarms');
        if (answer.status === status) return answer.body;
      }
    };
    await alarmsUntil(200);

    // Nothing is written meanwhile: it would go to the end that is not there.
    const path = join(broker.dataDir, '0000000001.segment');
    const log = await readFile(path);
    await truncate(path, log.length / 2);
    const found: number[] = [];
    let done: () => void = () => {};
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    await channel.consume('q', (message) => {
      found.push(Number.parseInt(message!.content.toString(), 10));
      if (found.length === count) done();
    });
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

    const file = await open(path, 'r+');
    await file.write(log, 0, log.length, 0);
    await file.close();
    await all;
    expect(found).toEqual(Array.from({ length: count }, (_, i) => i));
    await alarmsUntil(200);
    channel.ackAll();
    await connection.close();
  } finally {
    await broker.remove();
  }
});
