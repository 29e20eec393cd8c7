import mqtt, {
  type IClientOptions,
  type IConnackPacket,
  type IDisconnectPacket,
  type IPublishPacket,
  type MqttClient,
} from 'mqtt';

/** A client of mqtt.js that keeps what has come until it is asked for. */
export class MqttJsClient {
  readonly mqtt: MqttClient;
  /** Of the first connection. */
  connack: IConnackPacket | null = null;
  private readonly arrived: IPublishPacket[] = [];
  private readonly waiting: ((packet: IPublishPacket) => void)[] = [];

  constructor(port: number, options: IClientOptions) {
    this.mqtt = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
      username: 'guest',
      password: 'guest',
      reconnectPeriod: 0,
      ...options,
    });
    this.mqtt.on('error', () => {}); // who waits for one listens for it
    this.mqtt.on('message', (topic, _body, packet) => {
      const message = { ...packet, topic };
      const wake = this.waiting.shift();
      if (wake === undefined) this.arrived.push(message);
      else wake(message);
    });
  }

  /** @throws what CONNACK refuses it with */
  async open(): Promise<this> {
    this.connack = await new Promise<IConnackPacket>((resolve, reject) => {
      this.mqtt.once('connect', resolve);
      this.mqtt.once('error', reject);
    });
    return this;
  }

  /** The oldest message that has not been asked for, when there is one. */
  next(): Promise<IPublishPacket> {
    const packet = this.arrived.shift();
    if (packet !== undefined) return Promise.resolve(packet);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** The bodies of the next ones, as text. */
  async bodies(count: number): Promise<string[]> {
    const bodies: string[] = [];
    while (bodies.length < count) bodies.push(String((await this.next()).payload));
    return bodies;
  }

  /** How many have come and have not been asked for. */
  get waitingCount(): number {
    return this.arrived.length;
  }

  /** Resolves when the connection is next lost. */
  closed(): Promise<void> {
    return new Promise((resolve) => this.mqtt.once('close', resolve));
  }

  /** The next DISCONNECT of the broker's. */
  disconnect(): Promise<IDisconnectPacket> {
    return new Promise((resolve) => this.mqtt.once('disconnect', resolve));
  }

  /** The connection is cut without a farewell. */
  async cut(): Promise<void> {
    const closed = this.closed();
    this.mqtt.stream.destroy();
    await closed;
  }
}
