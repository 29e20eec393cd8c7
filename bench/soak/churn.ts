import amqplib, { type ChannelModel, type ConfirmChannel } from 'amqplib';
import mqtt, { type MqttClient } from 'mqtt';
import rhea from 'rhea';
import stompit from 'stompit';
import type { Target } from '../perf/run.ts';

/** Messages of 1 KiB that the backlog of each round holds. */
const backlogMessages = 2000;
const body = (round: number, n: number): Buffer => Buffer.from(`${round}:${n}`.padEnd(1024, '.'));

/**
 * What comes and goes beside the steady load, one round after another: connections, queues, sessions and consumers of all
 * protocols; and a backlog that is written, left unread for a while, and drained in order.
 */
export class Churn {
  rounds = 0;
  /** Confirmed and not delivered, delivered twice or out of order. */
  lost = 0;
  private readonly target: Target;
  private running = true;
  private done: Promise<void> = Promise.resolve();

  constructor(target: Target) {
    this.target = target;
  }

  start(): void {
    this.done = this.run();
  }

  /** @throws what went wrong in a round */
  async stop(): Promise<void> {
    this.running = false;
    await this.done;
  }

  private async run(): Promise<void> {
    while (this.running) {
      await Promise.all([this.churnAmqp(), this.churnMqtt(), this.churnStomp(), this.churnAmqp10()]);
      this.rounds += 1;
    }
  }

  private async churnAmqp(): Promise<void> {
    const { host, ports, user, password } = this.target;
    const connection = await amqplib.connect(`amqp://${user}:${password}@${host}:${ports.amqp}`);
    const channel = await connection.createConfirmChannel();
    await this.fillAndDrain(channel);
    await abandon(connection, channel);
  }

  private async fillAndDrain(channel: ConfirmChannel): Promise<void> {
    const queue = 'soak.backlog';
    const round = this.rounds;
    await channel.assertQueue(queue, { durable: true });
    for (let n = 0; n < backlogMessages; n++) channel.sendToQueue(queue, body(round, n), { persistent: true });
    await channel.waitForConfirms();
    await channel.prefetch(500);
    let next = 0;
    await new Promise<void>((resolve) => {
      void channel.consume(queue, (message) => {
        if (message === null) return;
        if (!message.content.equals(body(round, next))) this.lost += 1;
        next += 1;
        channel.ack(message);
        if (next === backlogMessages) resolve();
      });
    });
  }

  // A session that expires with messages in it, and one that is taken up again and gets its own.
  private async churnMqtt(): Promise<void> {
    const connect = async (clientId: string, expirySeconds: number, clean: boolean): Promise<MqttClient> => {
      const client = this.connectMqtt(clientId, expirySeconds, clean);
      await new Promise<void>((resolve, reject) => {
        client.once('connect', () => resolve());
        client.once('error', reject);
      });
      return client;
    };
    const brief = await connect(`soak-brief-${this.rounds}`, 1, true);
    await brief.subscribeAsync('soak/churn/#', { qos: 1 });
    await brief.endAsync(true);
    const resting = await connect('soak-resting', 3600, false);
    await resting.subscribeAsync('soak/churn/mine', { qos: 2 });
    await resting.endAsync();
    const publisher = await connect(`soak-publisher-${this.rounds}`, 0, true);
    const sent = Array.from({ length: 100 }, (_, n) => `${this.rounds}:${n}`);
    await Promise.all(sent.map((text) => publisher.publishAsync('soak/churn/mine', text, { qos: 2 })));
    await publisher.publishAsync(`soak/retained/${this.rounds % 100}`, body(this.rounds, 0), { qos: 1, retain: true });
    await publisher.endAsync();
    const again = await this.takeUp(sent.length);
    for (const [n, text] of sent.entries()) if (again[n] !== text) this.lost += 1;
  }

  /** The session that rested, and what had been published to it. */
  private async takeUp(count: number): Promise<string[]> {
    const client = this.connectMqtt('soak-resting', 3600, false);
    const bodies: string[] = [];
    await new Promise<void>((resolve) => {
      client.on('message', (_topic, payload) => {
        if (bodies.push(payload.toString()) === count) resolve();
      });
    });
    await client.endAsync();
    return bodies;
  }

  private connectMqtt(clientId: string, sessionExpiryInterval: number, clean: boolean): MqttClient {
    const { host, ports, user: username, password } = this.target;
    return mqtt.connect(`mqtt://${host}:${ports.mqtt}`, {
      clientId,
      username,
      password,
      protocolVersion: 5,
      reconnectPeriod: 0,
      clean,
      properties: { sessionExpiryInterval },
    });
  }

  private async churnStomp(): Promise<void> {
    const { host, ports, user: login, password: passcode } = this.target;
    const connectHeaders = { host: '/', login, passcode };
    const client = await new Promise<stompit.Client>((resolve, reject) =>
      stompit.connect({ host, port: ports.stomp, connectHeaders }, (error, connected) =>
        error ? reject(error) : resolve(connected),
      ),
    );
    client.on('error', () => {}); // it is destroyed
    const destination = `/queue/soak.stomp.${this.rounds % 20}`;
    await new Promise<void>((resolve, reject) => {
      client.subscribe({ destination, ack: 'client-individual', 'auto-delete': 'true' }, (error, message) => {
        if (error) return reject(error);
        message.on('data', () => {});
        message.on('end', () => {
          client.ack(message);
          resolve();
        });
      });
      client.send({ destination, persistent: 'true', 'auto-delete': 'true' }).end('stomp');
    });
    client.destroy();
  }

  private async churnAmqp10(): Promise<void> {
    const { host, ports, user: username, password } = this.target;
    const connection = rhea
      .create_container()
      .connect({ host, port: ports.amqp10, username, password, reconnect: false });
    await new Promise<void>((resolve, reject) => {
      connection.once('disconnected', () => reject(new Error('amqp10: disconnected')));
      connection.once('receiver_open', ({ receiver }) => {
        connection.open_sender(receiver!.source.address);
      });
      connection.once('sendable', ({ sender }) => sender!.send({ body: 'amqp10' }));
      connection.once('message', () => resolve());
      connection.open_receiver({ source: { dynamic: true } as never });
    });
    connection.removeAllListeners('disconnected');
    connection.close();
  }
}

/** A connection that goes without a word, with a queue of its own and one that is deleted full. */
async function abandon(connection: ChannelModel, channel: ConfirmChannel): Promise<void> {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  channel.sendToQueue(queue, body(0, 0), { persistent: true });
  await channel.assertQueue('soak.full', { durable: true });
  for (let n = 0; n < 100; n++) channel.sendToQueue('soak.full', body(0, n), { persistent: true });
  await channel.waitForConfirms();
  await channel.deleteQueue('soak.full');
  await connection.close();
}
