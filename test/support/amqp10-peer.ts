import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { encodeFrame, encodeSaslFrame, protocolHeaders } from '../../src/protocols/amqp10/frame.ts';
import {
  type Composite,
  decodePerformative,
  type Name,
  type Values,
} from '../../src/protocols/amqp10/performatives.ts';
import { AmqpMap, type Any, Decoder, Described, encodeValue } from '../../src/protocols/amqp10/types.ts';

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly performative: Composite;
  readonly payload: Buffer;
}

type Of<N extends Name> = Extract<Composite, { is: N }>;

export interface OpenOptions {
  readonly user?: string;
  readonly password?: string;
  readonly containerId?: string;
  readonly hostname?: string;
  readonly maxFrameSize?: number;
  readonly channelMax?: number;
  readonly idleTimeout?: number;
  readonly desiredCapabilities?: readonly string[];
}

/** Speaks AMQP 1.0 frame by frame: what is sent is up to the test, right or wrong. */
export class Amqp10Peer {
  readonly socket: Duplex;
  private received: Buffer = Buffer.alloc(0);
  private ended = false;
  private waiting: (() => void)[] = [];
  private deliveries = 0;
  private managementHandle = 900;

  constructor(socket: Duplex) {
    this.socket = socket;
    const tell = (): void => {
      for (const resolve of this.waiting.splice(0)) resolve();
    };
    const end = (): void => {
      this.ended = true;
      tell();
    };
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      tell();
    });
    socket.on('end', end);
    socket.on('error', end);
    socket.on('close', end);
  }

  static async connect(port: number): Promise<Amqp10Peer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Amqp10Peer(socket);
  }

  /** An open connection. */
  static async open(port: number, options: OpenOptions = {}): Promise<Amqp10Peer> {
    const peer = await Amqp10Peer.connect(port);
    await peer.login(options);
    await peer.sendOpen(options);
    return peer;
  }

  /** An open connection with a session on channel 0. */
  static async openSession(port: number, options: OpenOptions = {}): Promise<Amqp10Peer> {
    const peer = await Amqp10Peer.open(port, options);
    await peer.begin();
    return peer;
  }

  async login({ user = 'guest', password = 'guest' }: OpenOptions = {}): Promise<void> {
    this.write(protocolHeaders.sasl);
    await this.expectHeader(protocolHeaders.sasl);
    await this.expect('saslMechanisms');
    const initialResponse = Buffer.from(`\0${user}\0${password}`);
    this.write(encodeSaslFrame('saslInit', { mechanism: 'PLAIN', initialResponse }));
    await this.expect('saslOutcome');
  }

  async sendOpen(options: OpenOptions = {}): Promise<Of<'open'>> {
    this.write(protocolHeaders.amqp);
    const { user: _user, password: _password, containerId = 'test', ...open } = options;
    this.send('open', { containerId, ...open });
    await this.expectHeader(protocolHeaders.amqp);
    return this.expect('open');
  }

  begin(channel = 0, values: Partial<Values<'begin'>> = {}): Promise<Of<'begin'>> {
    this.send('begin', { nextOutgoingId: 0, incomingWindow: 5000, outgoingWindow: 5000, ...values }, channel);
    return this.expect('begin');
  }

  write(octets: Buffer): void {
    this.socket.write(octets);
  }

  send<N extends Name>(name: N, values: Values<N>, channel = 0, payload?: Buffer): void {
    this.write(encodeFrame(channel, name, values, payload));
  }

  /** A sender with credit. @returns the broker's attach */
  async sender(
    handle: number,
    target: Composite | string | null,
    values: Partial<Values<'attach'>> = {},
  ): Promise<Of<'attach'>> {
    const node = typeof target === 'string' ? toTarget(target) : (target ?? { is: 'target' as const });
    const name = `sender-${handle}`;
    this.send('attach', { name, handle, role: false, target: node, initialDeliveryCount: 0, ...values });
    const attach = await this.expect('attach');
    await this.expect('flow');
    return attach;
  }

  /** A receiver; without credit unless some is given. @returns the broker's attach */
  async receiver(
    handle: number,
    source: Composite | string,
    credit = 0,
    values: Partial<Values<'attach'>> = {},
  ): Promise<Of<'attach'>> {
    const node = typeof source === 'string' ? toSource(source) : source;
    this.send('attach', { name: `receiver-${handle}`, handle, role: true, source: node, ...values });
    const attach = await this.expect('attach');
    if (credit > 0) this.credit(handle, credit);
    return attach;
  }

  credit(handle: number, linkCredit: number, values: Partial<Values<'flow'>> = {}): void {
    this.send('flow', {
      nextIncomingId: 0,
      incomingWindow: 100_000,
      nextOutgoingId: this.deliveries,
      outgoingWindow: 5000,
      handle,
      deliveryCount: 0,
      linkCredit,
      ...values,
    });
  }

  /** @returns the id of the delivery */
  transfer(handle: number, message: Buffer, values: Partial<Values<'transfer'>> = {}): number {
    const deliveryId = this.deliveries++;
    const deliveryTag = Buffer.from(`tag-${deliveryId}`);
    this.send('transfer', { handle, deliveryId, deliveryTag, messageFormat: 0, ...values }, 0, message);
    return deliveryId;
  }

  /** Publishes and waits for the outcome. */
  async publish(handle: number, message: Buffer, values: Partial<Values<'transfer'>> = {}): Promise<Composite> {
    this.transfer(handle, message, values);
    for (;;) {
      const { performative } = await this.next();
      if (performative.is === 'flow') continue;
      if (performative.is !== 'disposition') throw new Error(`expected disposition, got ${show(performative)}`);
      return performative.state as Composite;
    }
  }

  settle(first: number, state: Composite, values: Partial<Values<'disposition'>> = {}): void {
    this.send('disposition', { role: true, first, settled: true, state, ...values });
  }

  async next(): Promise<Frame> {
    for (;;) {
      const size = this.received.length >= 4 ? this.received.readUInt32BE(0) : Number.POSITIVE_INFINITY;
      if (this.received.length >= size) {
        const frame = this.received.subarray(0, size);
        this.received = this.received.subarray(size);
        const bodyAt = frame[4]! * 4;
        if (bodyAt === size) continue; // a sign of life
        const decoder = new Decoder(frame, bodyAt, size);
        const performative = decodePerformative(decoder);
        return { type: frame[5]!, channel: frame.readUInt16BE(6), performative, payload: frame.subarray(decoder.at) };
      }
      if (this.ended) throw new Error(`the connection ended after '${this.received.toString('latin1')}'`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  async expectHeader(header: Buffer): Promise<void> {
    while (this.received.length < 8) {
      if (this.ended) throw new Error('the connection ended before a protocol header');
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    const got = this.received.subarray(0, 8);
    if (!got.equals(header)) throw new Error(`expected ${header.toString('hex')}, got ${got.toString('hex')}`);
    this.received = this.received.subarray(8);
  }

  async expect<N extends Name>(name: N): Promise<Of<N>> {
    const { performative } = await this.next();
    if (performative.is === name) return performative as Of<N>;
    throw new Error(`expected ${name}, got ${show(performative)}`);
  }

  /** The next message, of one frame or several. */
  async message(): Promise<{ readonly transfer: Of<'transfer'>; readonly octets: Buffer }> {
    const parts: Buffer[] = [];
    let first: Of<'transfer'> | null = null;
    for (;;) {
      const { performative, payload } = await this.next();
      if (performative.is === 'flow' || performative.is === 'disposition') continue;
      if (performative.is !== 'transfer') throw new Error(`expected transfer, got ${show(performative)}`);
      first ??= performative as Of<'transfer'>;
      parts.push(payload);
      if (performative.more !== true) return { transfer: first, octets: Buffer.concat(parts) };
    }
  }

  /** A request to the management node, over a pair of links of its own. @returns status and body of the answer */
  async manage(
    method: string,
    path: string,
    body: Any = null,
  ): Promise<{ readonly status: string; readonly body: Any }> {
    const handle = this.managementHandle;
    this.managementHandle += 2;
    const name = `management-${handle}`;
    await this.sender(handle, '/management', { name });
    await this.receiver(handle + 1, '/management', 1, { name });
    const properties = section(0x73, ['request', null, path, method, '$me']);
    this.transfer(handle, Buffer.concat([properties, section(0x77, body)]), { settled: true });
    const answer = sectionsOf((await this.message()).octets);
    const [, , , status, , correlation] = answer.get(0x73) as Any[];
    if (correlation !== 'request') throw new Error('the answer is not that of the request');
    for (const each of [handle, handle + 1]) {
      this.send('detach', { handle: each, closed: true });
      await this.expect('detach');
    }
    return { status: status as string, body: answer.get(0x77) ?? null };
  }

  /** The error that the link is detached with. */
  async detached(): Promise<{ condition: string; description: string | undefined; closed: boolean | undefined }> {
    const { error, closed } = await this.expect('detach');
    return { condition: error?.condition ?? '', description: error?.description, closed };
  }

  /** Resolves when the broker has hung up, with what it sent last. */
  async end(): Promise<Buffer> {
    while (!this.ended) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.received;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export function toTarget(address: string): Composite {
  return { is: 'target', address };
}

export function toSource(address: string, values: Partial<Values<'source'>> = {}): Composite {
  return { is: 'source', address, ...values };
}

function show(performative: Composite): string {
  return JSON.stringify(performative, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}

/** One section: its code, and the value. */
export function section(code: number, value: Any): Buffer {
  return encodeValue(new Described(BigInt(code), value));
}

export function data(text: string | Buffer): Buffer {
  return section(0x75, Buffer.from(text));
}

/** The sections of a message by their codes; of several of one code the last. */
export function sectionsOf(octets: Buffer): Map<number, Any> {
  const found = new Map<number, Any>();
  const decoder = new Decoder(octets);
  while (decoder.at < octets.length) {
    const each = decoder.read() as Described;
    found.set(Number(each.descriptor), each.value);
  }
  return found;
}

/** What lies behind header and annotations: it must not change. */
export function bareOf(octets: Buffer): Buffer {
  const decoder = new Decoder(octets);
  let at = 0;
  while (decoder.at < octets.length) {
    at = decoder.at;
    const { descriptor } = decoder.read() as Described;
    if (Number(descriptor) >= 0x73) return octets.subarray(at);
  }
  return octets.subarray(octets.length);
}

export function bodyOf(octets: Buffer): string {
  return String(sectionsOf(octets).get(0x75));
}

/** A map with keys of text, as requests to the management node have it. */
export function mapOf(entries: Record<string, Any>): AmqpMap {
  return new AmqpMap(Object.entries(entries));
}
