import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqplib from 'amqplib';
import { expect, test } from 'vitest';
import { Amqp10Peer, data, section } from '../support/amqp10-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { MqttJsClient } from '../support/mqttjs-client.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** What the system lets the process write of one file: to the journal, a disk that is full. */
function limitFiles(broker: BrokerProcess, bytes: number | 'unlimited'): void {
  execFileSync('prlimit', ['--pid', String(broker.pid), `--fsize=${bytes}:`]);
}

function ready(broker: BrokerProcess): Promise<{ status: number; body: unknown }> {
  return fetch(`http://127.0.0.1:${broker.port('management')}/health/ready`).then(async (answer) => ({
    status: answer.status,
    body: await answer.json(),
  }));
}

// prlimit is Linux's
test.skipIf(process.platform !== 'linux')(
  'on a full disk publishers of all protocols are refused, consumers go on, health says why; with room it goes on',
  async () => {
    const broker = await BrokerProcess.start();
    try {
      const api = new ApiClient(broker.port('management'));
      const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
      connection.on('error', () => {}); // it is killed in the end
      const channel = await connection.createConfirmChannel();
      await channel.assertQueue('q', { durable: true });
      await channel.bindQueue('q', 'amq.topic', 't');
      const publish = (body: string): Promise<'confirmed' | 'refused'> =>
        new Promise((resolve) => {
          channel.sendToQueue('q', Buffer.from(body), { persistent: true }, (error) =>
            resolve(error === null ? 'confirmed' : 'refused'),
          );
        });
      const mqtt = await new MqttJsClient(broker.port('mqtt'), { protocolVersion: 5 }).open();
      const stomp = await StompWire.login(broker.port('stomp'));
      const amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
      await amqp10.sender(0, 'q');
      expect(await publish('before')).toBe('confirmed');
      expect((await ready(broker)).status).toBe(200);

      limitFiles(broker, 4096);
      const confirmed = ['before'];
      for (let i = 0; ; i++) {
        const body = `${i}`.padEnd(1000, '.');
        if ((await publish(body)) === 'refused') break;
        confirmed.push(body);
      }
      const { status, body } = await ready(broker);
      expect([status, body]).toEqual([503, { status: 'not ready', reason: expect.stringContaining('EFBIG') }]);
      for (const check of ['alarms', 'local-alarms', 'is-in-service', 'ready-to-serve-clients']) {
        const answer = await api.get(`health/checks/${check}`);
        expect([check, answer.status]).toEqual([check, 503]);
        expect(answer.body).toMatchObject({ status: 'failed', reason: expect.stringContaining('EFBIG') });
      }
      expect((await api.get('nodes')).body).toMatchObject([{ disk_free_alarm: true }]);

      expect(await publish('refused')).toBe('refused');
      const refusal = (await mqtt.mqtt.publishAsync('t', 'refused', { qos: 1 }).catch((error: unknown) => error)) as {
        code: number;
      };
      expect(refusal.code).toBe(0x97); // quota exceeded
      stomp.send('SEND\ndestination:/queue/q\npersistent:true\nreceipt:r\n\nrefused\0');
      expect((await stomp.next()).command).toBe('ERROR');
      const outcome = await amqp10.publish(0, Buffer.concat([section(0x70, [true]), data('refused')]));
      expect(outcome).toMatchObject({ is: 'rejected' });
      // what is not durable is taken, and what is there is given out
      await channel.assertQueue('fleeting', { durable: false, exclusive: true });
      channel.sendToQueue('fleeting', Buffer.from('taken'));
      await expect
        .poll(() => channel.get('fleeting', { noAck: true }))
        .toMatchObject({ content: Buffer.from('taken') });
      expect(await channel.get('q', { noAck: true })).toMatchObject({ content: Buffer.from('before') });

      limitFiles(broker, 'unlimited');
      await expect.poll(() => ready(broker), { timeout: 20_000 }).toMatchObject({ status: 200 });
      expect((await api.get('health/checks/alarms')).status).toBe(200);
      expect(await publish('after')).toBe('confirmed');
      await broker.kill();

      const again = await BrokerProcess.start({ dataDir: broker.dataDir });
      const reader = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${again.port('amqp')}`);
      const bodies: string[] = [];
      const readerChannel = await reader.createChannel();
      for (;;) {
        const message = await readerChannel.get('q', { noAck: true });
        if (message === false) break;
        bodies.push(message.content.toString());
      }
      // the publish that met the full disk had been accepted, and may arrive
      expect(bodies.filter((each) => !each.startsWith(`${confirmed.length - 1}.`))).toEqual([
        ...confirmed.slice(1),
        'after',
      ]);
      await reader.close();
      await again.stop();
    } finally {
      await broker.remove();
    }
  },
);

test.skipIf(process.platform !== 'linux')('a start without room says so, and leaves nothing behind', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-full-'));
  try {
    const args = ['--fsize=0', process.execPath, 'src/main.ts', '--data-dir', dataDir];
    const { status, stderr } = spawnSync('prlimit', args, { encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain(`dataDir: '${dataDir}' cannot be used (EFBIG)`);
    expect(await readdir(dataDir)).toEqual([]);
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
});
