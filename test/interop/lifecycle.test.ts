import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import amqplib from 'amqplib';
import mqtt from 'mqtt';
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';
import { RawPeer } from '../support/raw-peer.ts';

test('asked to stop, the broker tells every client in its protocol and exits with 0', async () => {
  const broker = await BrokerProcess.start();
  const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  // an operator's close is no error to amqplib
  const amqpClose = new Promise<Error>((resolve) => amqp.once('close', resolve));
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  const disconnect = new Promise<{ reasonCode?: number }>((resolve) => client.once('disconnect', resolve));
  const stomp = await RawPeer.connect(broker.port('stomp'));
  stomp.write('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
  await stomp.untilText('\n\n\0');

  expect(await broker.stop()).toBe(0);
  expect((await amqpClose).message).toContain('CONNECTION_FORCED');
  expect((await disconnect).reasonCode).toBe(0x8b);
  expect((await stomp.untilEnd()).toString()).toContain('ERROR\nmessage:connection_forced\n');
  await client.endAsync(true);
  await broker.remove();
});

/** The broker as `npm start` runs it. */
async function npmStart(dataDir: string): Promise<{ npm: ReturnType<typeof spawn>; brokerPid: number }> {
  const ports = ['amqp', 'mqtt', 'stomp', 'management'].flatMap((name) => ['--set', `listeners.${name}.port=0`]);
  const npm = spawn('npm', ['start', '--', '--data-dir', dataDir, ...ports], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, ROSETTAMQ_LOG_LEVEL: 'silent' },
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    npm.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
      if (/^ready in \d+ ms$/m.test(output)) resolve();
    });
    npm.once('exit', () => reject(new Error(`npm start ended: ${output}`)));
  });
  const pgrep = spawn('pgrep', ['-f', `src/main.ts --data-dir ${dataDir}`], { stdio: ['ignore', 'pipe', 'ignore'] });
  let pids = '';
  pgrep.stdout.on('data', (chunk: Buffer) => (pids += chunk.toString()));
  await new Promise((resolve) => pgrep.once('close', resolve));
  const brokerPid = Number(pids.trim().split('\n').at(-1));
  return { npm, brokerPid };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function untilGone(pid: number): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (isAlive(pid) && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
}

test.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
  '`npm start` ended by %s leaves no process behind',
  async (signal) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'rosettamq-'));
    const { npm, brokerPid } = await npmStart(dataDir);
    expect(isAlive(brokerPid)).toBe(true);
    npm.kill(signal);
    await untilGone(brokerPid);
    expect(isAlive(brokerPid)).toBe(false);
    await rm(dataDir, { recursive: true, force: true });
  },
);
