import { connect as connectSocket, type Socket } from 'node:net';
import amqplib, { type ChannelModel } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import stompit from 'stompit';
import { expect, test } from 'vitest';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { Random } from '../support/random.ts';

/** `KILLS=100 npm run test:kill` is the long mode. */
const roundsMax = Number(process.env['KILLS'] ?? 10);
const seed = Number(process.env['SEED'] ?? 1);
const window = 50;
const queue = 'kill';

/** What the broker promised, over all of its lives. Bodies are `<publisher>:<number>`. */
class Ledger {
  readonly confirmed = new Set<string>();
  /** Acked, whether or not the broker got to know. */
  readonly acked = new Set<string>();
  /** Acked, and the broker said that it knows. */
  readonly settled = new Set<string>();
  private events = 0;
  private limit = 0;
  private reached: () => void = () => {};

  /** Resolves at the `count`th promise from now. */
  after(count: number): Promise<void> {
    this.events = 0;
    this.limit = count;
    return new Promise((resolve) => {
      this.reached = resolve;
    });
  }

  confirm(body: string): void {
    this.confirmed.add(body);
    this.count();
  }

  settle(body: string): void {
    this.settled.add(body);
    this.count();
  }

  private count(): void {
    this.events += 1;
    if (this.events === this.limit) this.reached();
  }
}

interface Driver {
  stop(): void;
}

async function publishAmqp(port: number, name: string, ledger: Ledger): Promise<Driver> {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${port}`);
  connection.on('error', () => {});
  const channel = await connection.createConfirmChannel();
  channel.on('error', () => {});
  let running = true;
  let next = 0;
  const publish = (): void => {
    const body = `${name}:${next++}`;
    channel.publish('amq.topic', 'kill.amqp', Buffer.from(body), { persistent: true }, (error) => {
      if (!running || error !== null) return;
      ledger.confirm(body);
      publish();
    });
  };
  for (let i = 0; i < window; i++) publish();
  return {
    stop() {
      running = false;
    },
  };
}

async function publishMqtt(port: number, name: string, qos: 1 | 2, ledger: Ledger): Promise<Driver> {
  const client: MqttClient = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    username: 'guest',
    password: 'guest',
    protocolVersion: 5,
    reconnectPeriod: 0,
  });
  client.on('error', () => {});
  let running = true;
  let next = 0;
  const publish = (): void => {
    const body = `${name}:${next++}`;
    client.publish('kill/mqtt', body, { qos }, (error) => {
      if (!running || error) return;
      ledger.confirm(body);
      publish();
    });
  };
  for (let i = 0; i < window; i++) publish();
  return {
    stop() {
      running = false;
      client.end(true);
    },
  };
}

async function publishStomp(port: number, name: string, ledger: Ledger): Promise<Driver> {
  const client = await new Promise<stompit.Client>((resolve, reject) =>
    stompit.connect(
      { host: '127.0.0.1', port, connectHeaders: { host: '/', login: 'guest', passcode: 'guest' } },
      (error, connected) => (error ? reject(error) : resolve(connected)),
    ),
  );
  client.on('error', () => {});
  let running = true;
  let next = 0;
  const publish = (): void => {
    const body = `${name}:${next++}`;
    const onReceipt = (): void => {
      if (!running) return;
      ledger.confirm(body);
      publish();
    };
    client.send({ destination: '/topic/kill.stomp', persistent: 'true' }, { onReceipt, onError() {} }).end(body);
  };
  for (let i = 0; i < window; i++) publish();
  return {
    stop() {
      running = false;
      client.destroy();
    },
  };
}

/** Acks every message with a receipt, in bytes: no client library tells when an ack is safe. */
async function consumeStomp(port: number, ledger: Ledger): Promise<Driver> {
  const socket: Socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => {});
  let running = true;
  let rest = '';
  socket.on('data', (chunk) => {
    if (!running) return;
    const frames = (rest + chunk.toString('latin1')).split('\0');
    rest = frames.pop()!;
    for (const frame of frames) {
      const [head, body] = frame.replace(/^\n+/, '').split('\n\n') as [string, string];
      const headers = new Map(head.split('\n').map((line) => line.split(':') as [string, string]));
      if (head.startsWith('MESSAGE')) {
        ledger.acked.add(body);
        const receipt = body.replaceAll(':', '.');
        socket.write(`ACK\nid:${headers.get('ack')}\nreceipt:${receipt}\n\n\0`);
      } else if (head.startsWith('RECEIPT')) ledger.settle(headers.get('receipt-id')!.replaceAll('.', ':'));
      else if (!head.startsWith('CONNECTED')) throw new Error(`unexpected frame ${frame}`);
    }
  });
  socket.write('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
  socket.write(`SUBSCRIBE\nid:s\ndestination:/amq/queue/${queue}\nack:client-individual\nprefetch-count:20\n\n\0`);
  return {
    stop() {
      running = false;
      socket.destroy();
    },
  };
}

/** Delivery mode 2. */
const persistent = Buffer.from([0x10, 0, 2]);
const transactionMessages = 5;

/** Runs until the broker is gone, or the driver is stopped. */
function repeat(peer: AmqpPeer, step: () => Promise<void>): Driver {
  let running = true;
  const run = async (): Promise<void> => {
    while (running) await step();
  };
  run().catch((error) => {
    if (!/the connection ended/.test((error as Error).message)) throw error;
  });
  return {
    stop() {
      running = false;
      peer.destroy();
    },
  };
}

/** Transactions of AMQP: what commit-ok answers is safe. */
async function publishTransactions(port: number, name: string, ledger: Ledger): Promise<Driver> {
  const peer = await AmqpPeer.openChannel(port);
  await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
  let next = 0;
  return repeat(peer, async () => {
    const bodies = Array.from({ length: transactionMessages }, () => `${name}:${next++}`);
    for (const body of bodies) peer.publish(1, { exchange: 'amq.topic', routingKey: 'kill.tx' }, body, persistent);
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
    for (const body of bodies) ledger.confirm(body);
  });
}

async function consumeTransactions(port: number, ledger: Ledger): Promise<Driver> {
  const peer = await AmqpPeer.openChannel(port);
  await peer.call(1, methods.txSelect, {}, methods.txSelectOk);
  let deliveryTag = 0;
  return repeat(peer, async () => {
    const bodies: string[] = [];
    for (let i = 0; i < transactionMessages; i++) {
      const content = await peer.get(queue, false);
      if (content === null) break;
      deliveryTag += 1;
      bodies.push(content.body.toString());
      ledger.acked.add(content.body.toString());
    }
    if (bodies.length > 0) peer.send(1, methods.basicAck, { deliveryTag, multiple: true });
    await peer.call(1, methods.txCommit, {}, methods.txCommitOk);
    for (const body of bodies) ledger.settle(body);
  });
}

/** Transactions of STOMP: what the RECEIPT of a COMMIT answers is safe. */
async function publishStompTransactions(port: number, name: string, ledger: Ledger): Promise<Driver> {
  const socket: Socket = connectSocket(port, '127.0.0.1');
  socket.on('error', () => {});
  let running = true;
  let next = 0;
  let rest = '';
  let bodies: string[] = [];
  const send = (): void => {
    const transaction = `t${next}`;
    bodies = Array.from({ length: transactionMessages }, () => `${name}:${next++}`);
    const sends = bodies.map(
      (body) => `SEND\ndestination:/topic/kill.tx\npersistent:true\ntransaction:${transaction}\n\n${body}\0`,
    );
    socket.write(`BEGIN\ntransaction:${transaction}\n\n\0${sends.join('')}`);
    socket.write(`COMMIT\ntransaction:${transaction}\nreceipt:${transaction}\n\n\0`);
  };
  socket.on('data', (chunk) => {
    if (!running) return;
    const frames = (rest + chunk.toString('latin1')).split('\0');
    rest = frames.pop()!;
    for (const frame of frames) {
      const head = frame.trimStart();
      if (head.startsWith('RECEIPT')) for (const body of bodies) ledger.confirm(body);
      else if (!head.startsWith('CONNECTED')) throw new Error(`unexpected frame ${frame}`);
      send();
    }
  });
  socket.write('CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0');
  return {
    stop() {
      running = false;
      socket.destroy();
    },
  };
}

/** All that rests in the queue, in order; it stays there. */
async function readQueue(port: number): Promise<{ bodies: string[]; connection: ChannelModel }> {
  const connection = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${port}`);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, 'amq.topic', 'kill.#');
  const { messageCount } = await channel.checkQueue(queue);
  const bodies: string[] = [];
  if (messageCount > 0) {
    await new Promise<void>((resolve) => {
      void channel.consume(queue, (message) => {
        bodies.push(message!.content.toString());
        if (bodies.length === messageCount) resolve();
      });
    });
  }
  return { bodies, connection };
}

// A kill leaves the system alone: what it has is there afterwards, synced or not.
test.each([
  { durability: 'sync', rounds: roundsMax },
  { durability: 'interval', rounds: Math.ceil(roundsMax / 5) },
  { durability: 'none', rounds: Math.ceil(roundsMax / 5) },
])(
  '$durability: killed $rounds times at random moments, it keeps what it confirmed, once and in order',
  {
    timeout: 20_000 + roundsMax * 6000,
  },
  async ({ durability, rounds }) => {
    const args = ['--set', `journal.durability=${durability}`];
    const random = new Random(seed);
    const ledger = new Ledger();
    let broker = await BrokerProcess.start({ args });
    const { dataDir } = broker;
    try {
      for (let round = 0; round <= rounds; round++) {
        const { bodies, connection } = await readQueue(broker.port('amqp'));
        compare(bodies, ledger, `seed ${seed}, ${durability}, after ${round} kills`);
        await connection.close();
        if (round === rounds) break;
        const drivers = await Promise.all([
          publishAmqp(broker.port('amqp'), `amqp-${round}`, ledger),
          publishMqtt(broker.port('mqtt'), `mqtt-${round}`, 1, ledger),
          publishMqtt(broker.port('mqtt'), `mqtt2-${round}`, 2, ledger),
          publishStomp(broker.port('stomp'), `stomp-${round}`, ledger),
          publishTransactions(broker.port('amqp'), `tx-${round}`, ledger),
          publishStompTransactions(broker.port('stomp'), `stomptx-${round}`, ledger),
          consumeStomp(broker.port('stomp'), ledger),
          consumeStomp(broker.port('stomp'), ledger),
          consumeTransactions(broker.port('amqp'), ledger),
        ]);
        await ledger.after(1 + random.below(3000));
        await broker.kill();
        for (const driver of drivers) driver.stop();
        broker = await BrokerProcess.start({ dataDir, args });
      }
      expect(ledger.confirmed.size).toBeGreaterThan(rounds);
      expect(ledger.settled.size).toBeGreaterThan(0);
      expect(await broker.stop()).toBe(0);
    } finally {
      await broker.remove();
    }
  },
);

function compare(bodies: readonly string[], ledger: Ledger, when: string): void {
  const found = new Set(bodies);
  expect(found.size, `${when}: doubled`).toBe(bodies.length);
  const lost = [...ledger.confirmed].filter((body) => !found.has(body) && !ledger.acked.has(body));
  const risen = bodies.filter((body) => ledger.settled.has(body));
  expect({ when, lost, risen }).toEqual({ when, lost: [], risen: [] });
  const last = new Map<string, number>();
  for (const body of bodies) {
    const [publisher, number] = body.split(':') as [string, string];
    expect(Number(number), `${when}: ${body} out of order`).toBeGreaterThan(last.get(publisher) ?? -1);
    last.set(publisher, Number(number));
  }
}
