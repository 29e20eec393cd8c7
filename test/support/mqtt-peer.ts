import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet';

export type Version = 3 | 4 | 5;

/** A broker, as a process or in this one. */
export interface Listening {
  port(listener: string): number;
}

/** What arrives, with the fields that tests look at. */
// biome-ignore lint/suspicious/noExplicitAny: the packets of a foreign codec, asserted field by field
export type Received = any;

/**
 * A peer that sends octets, or packets encoded by a foreign codec, and awaits packets one after the other. It does
 * nothing of its own accord: no acknowledgement, no ping.
 */
export class MqttPeer {
  readonly version: Version;
  readonly socket: Duplex;
  private readonly packets: Received[] = [];
  private readonly waiting: (() => void)[] = [];
  private ended = false;

  constructor(socket: Duplex, version: Version) {
    this.socket = socket;
    this.version = version;
    const parser = mqttPacket.parser({ protocolVersion: version === 5 ? 5 : 4 });
    parser.on('packet', (packet: Packet) => this.packets.push(packet));
    socket.on('data', (chunk: Buffer) => {
      parser.parse(chunk);
      this.tell();
    });
    for (const event of ['end', 'close', 'error']) {
      socket.on(event, () => {
        this.ended = true;
        this.tell();
      });
    }
  }

  static open(broker: Listening, version: Version = 5): Promise<MqttPeer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: broker.port('mqtt'), host: '127.0.0.1', noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => resolve(new MqttPeer(socket, version)));
    });
  }

  /** Connected, with its CONNACK. */
  static async connect(
    broker: Listening,
    options: Partial<IConnectPacket> = {},
    version: Version = 5,
  ): Promise<{ peer: MqttPeer; connack: Received }> {
    const peer = await MqttPeer.open(broker, version);
    peer.sendConnect(options);
    return { peer, connack: await peer.next() };
  }

  sendConnect(options: Partial<IConnectPacket> = {}): void {
    this.send({
      cmd: 'connect',
      protocolId: this.version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: this.version,
      clean: true,
      clientId: '',
      keepalive: 0,
      username: 'guest',
      password: Buffer.from('guest'),
      ...options,
    } as Packet);
  }

  send(packet: Packet): void {
    this.socket.write(mqttPacket.generate(packet, { protocolVersion: this.version }));
  }

  raw(octets: Buffer | string): void {
    this.socket.write(typeof octets === 'string' ? Buffer.from(octets.replaceAll(' ', ''), 'hex') : octets);
  }

  publish(topic: string, payload: string | Buffer, options: object = {}): void {
    this.send({ cmd: 'publish', topic, payload, qos: 0, dup: false, retain: false, ...options } as Packet);
  }

  /** @returns the SUBACK */
  async subscribe(filter: string, options: object = {}, properties: object = {}): Promise<Received> {
    const packet = {
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: filter, qos: 0, ...options }],
      properties,
    };
    this.send(packet as unknown as Packet);
    return await this.nextOf('suback');
  }

  /** The next packet; rejects when the connection ends before. */
  async next(): Promise<Received> {
    while (this.packets.length === 0) {
      if (this.ended) throw new Error('the connection ended');
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.packets.shift();
  }

  /** The next packet, which must be of this kind. */
  async nextOf(cmd: string): Promise<Received> {
    const packet = await this.next();
    if (packet.cmd !== cmd) throw new Error(`${cmd} was expected, and ${JSON.stringify(packet)} came`);
    return packet;
  }

  /** Nothing has come that was not asked for: a ping's answer is the next packet. */
  async nothing(): Promise<void> {
    this.send({ cmd: 'pingreq' });
    await this.nextOf('pingresp');
  }

  /** The packets that came until the broker closed the connection. */
  async end(): Promise<Received[]> {
    while (!this.ended) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.packets.splice(0);
  }

  /** Takes its leave, and resolves once the broker has closed. */
  async leave(properties: object = {}, reasonCode = 0): Promise<void> {
    this.send({ cmd: 'disconnect', reasonCode, properties } as Packet);
    await this.end();
  }

  /** Without a farewell. */
  destroy(): void {
    this.socket.destroy();
  }

  private tell(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
