import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { connect as connectAmqp } from 'amqplib';
import { connectAsync } from 'mqtt';
import stompit from 'stompit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

/**
 * Crowds, while well-behaved clients go on being served. Small here; `npm run test:storm` sends the whole crowds and
 * prints what the well-behaved felt of them.
 */
const isLong = process.env['STORM'] !== undefined;
const size = (long: number, short: number): number => (isLong ? long : short);

let broker: BrokerProcess;

beforeAll(async () => {
  const users = {
    good: { password: 'good' },
    crowd: { password: 'crowd' },
    victim: { password: 'not told' },
  };
  broker = await BrokerProcess.start({
    // Garbage is collected when the test says so.
    nodeArgs: ['--expose-gc', '--import', 'data:text/javascript,process.on("SIGUSR2",()=>gc())'],
    args: ['--set', `users=${JSON.stringify(users)}`, '--set', 'limits.loginTimeoutMs=3000'],
  });
});
afterAll(() => broker?.remove());

type Storm = 'half-open' | 'wrong-passwords' | 'connects';

/** Each crowd comes from an address of its own: who guesses is put off, and that is not the next crowd's doing. */
const addresses: Readonly<Record<Storm, string>> = {
  'half-open': '127.0.0.2',
  'wrong-passwords': '127.0.0.3',
  connects: '127.0.0.4',
};

/** @returns how many of the crowd came to which end */
function send(storm: Storm, count: number): Promise<Record<string, number>> {
  const ports = ['amqp', 'mqtt', 'stomp'].map((name) => String(broker.port(name)));
  const args = ['test/support/storm-load.ts', storm, String(count), addresses[storm], ...ports];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(JSON.parse(output)) : reject(new Error(`the crowd ended with ${code}`)),
    );
  });
}

/** A client that sends itself messages, one after the other. */
interface Good {
  roundTrip(): Promise<void>;
  close(): Promise<unknown>;
}

async function goodAmqp(): Promise<Good> {
  const connection = await connectAmqp(`amqp://good:good@127.0.0.1:${broker.port('amqp')}`);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  let arrived = (): void => {};
  await channel.consume(queue, () => arrived(), { noAck: true });
  return {
    roundTrip: () =>
      new Promise((resolve) => {
        arrived = resolve;
        channel.sendToQueue(queue, Buffer.from('good'));
      }),
    close: () => connection.close(),
  };
}

async function goodMqtt(): Promise<Good> {
  const options = { username: 'good', password: 'good', reconnectPeriod: 0, protocolVersion: 5 } as const;
  const client = await connectAsync(`mqtt://127.0.0.1:${broker.port('mqtt')}`, options);
  (client.stream as Socket).setNoDelay(true); // what is measured is the broker, not Nagle's algorithm
  const topic = `good/${Math.random()}`;
  await client.subscribeAsync(topic, { qos: 1 });
  let arrived = (): void => {};
  client.on('message', () => arrived());
  return {
    roundTrip: () =>
      new Promise((resolve) => {
        arrived = resolve;
        client.publish(topic, 'good', { qos: 1 });
      }),
    close: () => client.endAsync(),
  };
}

async function goodStomp(): Promise<Good> {
  const options = {
    host: '127.0.0.1',
    port: broker.port('stomp'),
    connectHeaders: { host: '/', login: 'good', passcode: 'good' },
  };
  const client = await new Promise<Parameters<Parameters<typeof stompit.connect>[1]>[1]>((resolve, reject) =>
    stompit.connect(options, (error, connected) => (error ? reject(error) : resolve(connected))),
  );
  client.getTransportSocket().setNoDelay(true);
  const destination = `/topic/good.${Math.random()}`;
  let arrived = (): void => {};
  client.subscribe({ destination, ack: 'auto' }, (_error, message) => {
    message.resume();
    message.on('end', () => arrived());
  });
  return {
    roundTrip: () =>
      new Promise((resolve) => {
        arrived = resolve;
        client.send({ destination }).end('good');
      }),
    close: () => new Promise((resolve) => client.disconnect(() => resolve(null))),
  };
}

const goods = { AMQP: goodAmqp, MQTT: goodMqtt, STOMP: goodStomp };

/** Client of each protocol, served until the storm is over: messages, and every hundredth time a connection anew. */
async function serveDuring<T>(storm: Promise<T>): Promise<{ result: T; served: Record<string, number[]> }> {
  let isOver = false;
  const over = storm.finally(() => {
    isOver = true;
  });
  const served: Record<string, number[]> = {};
  const each = Object.entries(goods).map(async ([name, connect]) => {
    const latencies: number[] = [];
    served[name] = latencies;
    let client = await connect();
    do {
      for (let i = 0; i < 100; i++) {
        const begun = performance.now();
        await client.roundTrip();
        latencies.push(performance.now() - begun);
      }
      await client.close();
      client = await connect();
    } while (!isOver);
    await client.close();
  });
  await Promise.all(each);
  return { result: await over, served };
}

function print(storm: string, served: Record<string, number[]>): void {
  for (const [name, latencies] of Object.entries(served)) {
    const sorted = [...latencies].sort((a, b) => a - b);
    const at = (part: number): string => sorted[Math.floor(part * (sorted.length - 1))]!.toFixed(1);
    console.log(
      `${storm}: ${name} ${sorted.length} round trips, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`,
    );
  }
}

/** Octets that the broker keeps alive, once its garbage is collected. */
async function keptBytes(): Promise<number> {
  process.kill(broker.pid, 'SIGUSR2');
  const response = await fetch(`http://127.0.0.1:${broker.port('management')}/metrics`);
  const text = await response.text();
  const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)![1]);
  return value('nodejs_heap_size_used_bytes') + value('nodejs_external_memory_bytes');
}

/**
 * What may be kept on purpose: batch buffers, 1,024 of 4 KiB and 256 of 64 KiB (20 MiB), and who failed to log in, in two
 * maps of 20,000 entries at most (some 6 MiB). A connection that was forgotten costs 10 KiB and more: the 5,000 of the
 * long form would be 50 MiB.
 */
const keptOnPurpose = 26 * 1024 * 1024;

describe.each([
  ['half-open', size(1000, 150), { 'closed by the broker': size(1000, 150) }],
  ['wrong-passwords', size(10_000, 300), { refused: size(10_000, 300) }],
  ['connects', size(5000, 400), { 'let in': size(5000, 400) }],
] as const)('a storm of %s', (storm, count, ends) => {
  test('leaves the well-behaved served, and memory where it was', { timeout: 180_000 }, async () => {
    await serveDuring(Promise.resolve()); // code is compiled, and buffers are there, before it is measured
    const before = await keptBytes();
    const { result, served } = await serveDuring(send(storm, count));
    print(storm, served);
    expect(result).toEqual(ends);
    for (const latencies of Object.values(served)) expect(latencies.length).toBeGreaterThanOrEqual(100);
    await expect.poll(keptBytes, { timeout: 20_000 }).toBeLessThan(before + keptOnPurpose);
  });
});
