import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Arguments, decodeMethod, encodeMethod } from '../../src/protocols/amqp091/methods.ts';
import {
  FrameType,
  findMethod,
  frameEnd,
  type Method,
  methods,
  protocolHeader,
} from '../../src/protocols/amqp091/spec.ts';

export interface Frame {
  readonly type: number;
  readonly channel: number;
  readonly payload: Buffer;
}

/** A message as its three kinds of frames carried it. */
export interface Content {
  readonly method: Method;
  readonly args: Arguments;
  readonly channel: number;
  /** The property list, flags first. */
  readonly native: Buffer;
  readonly body: Buffer;
}

export interface HandshakeOptions {
  readonly user?: string;
  readonly password?: string;
  readonly vhost?: string;
  readonly capabilities?: readonly string[];
  readonly frameMax?: number;
  readonly channelMax?: number;
  readonly heartbeat?: number;
  readonly mechanism?: string;
  readonly response?: string | Buffer;
}

/** Speaks AMQP 0-9-1 frame by frame: what is sent is up to the test, right or wrong. */
export class AmqpPeer {
  readonly socket: Duplex;
  /** Heart-beats that came. */
  heartbeats = 0;
  private received: Buffer = Buffer.alloc(0);
  private ended = false;
  private waiting: (() => void)[] = [];

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

  static async connect(port: number): Promise<AmqpPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new AmqpPeer(socket);
  }

  /** An open connection. */
  static async open(port: number, options: HandshakeOptions = {}): Promise<AmqpPeer> {
    const peer = await AmqpPeer.connect(port);
    await peer.handshake(options);
    return peer;
  }

  /** An open connection with channel 1. */
  static async openChannel(port: number, options: HandshakeOptions = {}): Promise<AmqpPeer> {
    const peer = await AmqpPeer.open(port, options);
    await peer.openChannel();
    return peer;
  }

  async openChannel(channel = 1): Promise<void> {
    await this.call(channel, methods.channelOpen, {}, methods.channelOpenOk);
  }

  async handshake(options: HandshakeOptions): Promise<void> {
    this.write(protocolHeader);
    await this.expect(0, methods.connectionStart);
    const capabilities = new Map((options.capabilities ?? ['consumer_cancel_notify']).map((name) => [name, true]));
    this.send(0, methods.connectionStartOk, {
      clientProperties: new Map([['capabilities', capabilities]]),
      mechanism: options.mechanism ?? 'PLAIN',
      response: options.response ?? `\0${options.user ?? 'guest'}\0${options.password ?? 'guest'}`,
      locale: 'en_US',
    });
    const tune = await this.expect(0, methods.connectionTune);
    this.send(0, methods.connectionTuneOk, {
      channelMax: options.channelMax ?? tune.number('channelMax'),
      frameMax: options.frameMax ?? tune.number('frameMax'),
      heartbeat: options.heartbeat ?? 0,
    });
    this.send(0, methods.connectionOpen, { virtualHost: options.vhost ?? '/' });
    await this.expect(0, methods.connectionOpenOk);
  }

  write(octets: Buffer): void {
    this.socket.write(octets);
  }

  send(channel: number, method: Method, values: Record<string, unknown> = {}): void {
    this.write(encodeMethod(channel, method, values));
  }

  async call(channel: number, method: Method, values: Record<string, unknown>, reply: Method): Promise<Arguments> {
    this.send(channel, method, values);
    return this.expect(channel, reply);
  }

  publish(
    channel: number,
    values: Record<string, unknown>,
    body: string | Buffer,
    native: Buffer = noProperties,
  ): void {
    this.write(contentFrames(channel, values, Buffer.from(body), native));
  }

  /** The next frame that is not a heart-beat. @throws when the connection ends before it */
  async next(): Promise<Frame> {
    for (;;) {
      const size = this.received.length >= 7 ? this.received.readUInt32BE(3) + 8 : Number.POSITIVE_INFINITY;
      if (this.received.length >= size) {
        const octets = this.received.subarray(0, size);
        this.received = this.received.subarray(size);
        if (octets[size - 1] !== frameEnd) throw new Error(`frame without its end: ${octets.toString('hex')}`);
        if (octets[0] === FrameType.heartbeat) {
          this.heartbeats += 1;
          continue;
        }
        return { type: octets[0]!, channel: octets.readUInt16BE(1), payload: octets.subarray(7, size - 1) };
      }
      if (this.ended) throw new Error(`the connection ended after '${this.received.toString('latin1')}'`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** The next method on any channel. */
  async nextMethod(): Promise<{ channel: number; method: Method; args: Arguments }> {
    const frame = await this.next();
    const method = frame.type === FrameType.method ? findMethod(frame.payload.readUInt32BE(0)) : undefined;
    if (method === undefined) throw new Error(`no method: frame of type ${frame.type}`);
    return { channel: frame.channel, method, args: decodeMethod(method, frame.payload) };
  }

  async expect(channel: number, method: Method): Promise<Arguments> {
    const next = await this.nextMethod();
    if (next.method === method && next.channel === channel) return next.args;
    const text = next.method.name.endsWith('.close') ? `: ${next.args.text('replyText')}` : '';
    throw new Error(`expected ${method.name} on ${channel}, got ${next.method.name} on ${next.channel}${text}`);
  }

  /** The next message: deliver, get-ok or return, with header and body. */
  async content(method: Method = methods.basicDeliver): Promise<Content> {
    const head = await this.nextMethod();
    if (head.method !== method) throw new Error(`expected ${method.name}, got ${head.method.name}`);
    const header = await this.next();
    const bytes = Number(header.payload.readBigUInt64BE(4));
    const parts: Buffer[] = [];
    for (let rest = bytes; rest > 0; rest -= parts.at(-1)!.length) parts.push((await this.next()).payload);
    return { ...head, native: header.payload.subarray(12), body: Buffer.concat(parts) };
  }

  /** Resolves when nothing was sent before the answer to a method that is sent now. */
  async expectNothing(channel = 1): Promise<void> {
    await this.call(channel, methods.basicQos, {}, methods.basicQosOk);
  }

  /** What closes the channel, in RabbitMQ's words; answered with close-ok. */
  async closed(channel = 1): Promise<ClosedWith> {
    const args = await this.expect(channel, methods.channelClose);
    this.send(channel, methods.channelCloseOk);
    return closedWith(args);
  }

  /** What closes the connection; answered with close-ok, after which the broker must hang up. */
  async connectionClosed(): Promise<ClosedWith> {
    const args = await this.expect(0, methods.connectionClose);
    this.send(0, methods.connectionCloseOk);
    await this.end();
    return closedWith(args);
  }

  /** Resolves when the broker has hung up, with what it sent last. */
  async end(): Promise<Buffer> {
    while (!this.ended) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.received;
  }

  async declare(name: string, values: Record<string, unknown> = {}): Promise<string> {
    const ok = await this.call(1, methods.queueDeclare, { queue: name, ...values }, methods.queueDeclareOk);
    return ok.text('queue');
  }

  async get(queue: string, noAck = true): Promise<Content | null> {
    this.send(1, methods.basicGet, { queue, noAck });
    const frame = await this.next();
    const method = findMethod(frame.payload.readUInt32BE(0));
    if (method === methods.basicGetEmpty) return null;
    if (method !== methods.basicGetOk) throw new Error(`expected basic.get-ok, got ${method?.name}`);
    const args = decodeMethod(method, frame.payload);
    const header = await this.next();
    const parts: Buffer[] = [];
    for (let rest = Number(header.payload.readBigUInt64BE(4)); rest > 0; rest -= parts.at(-1)!.length) {
      parts.push((await this.next()).payload);
    }
    return { method, args, channel: frame.channel, native: header.payload.subarray(12), body: Buffer.concat(parts) };
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export interface ClosedWith {
  readonly code: number;
  readonly text: string;
  readonly classId: number;
  readonly methodId: number;
}

function closedWith(args: Arguments): ClosedWith {
  return {
    code: args.number('replyCode'),
    text: args.text('replyText'),
    classId: args.number('classId'),
    methodId: args.number('methodId'),
  };
}

export const noProperties = Buffer.from([0, 0]);

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(7);
  head[0] = type;
  head.writeUInt16BE(channel, 1);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.from([frameEnd])]);
}

export function headerFrame(channel: number, bodyBytes: number, native: Buffer = noProperties, classId = 60): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt16BE(classId, 0);
  head.writeBigUInt64BE(BigInt(bodyBytes), 4);
  return frame(FrameType.header, channel, Buffer.concat([head, native]));
}

export function contentFrames(
  channel: number,
  values: Record<string, unknown>,
  body: Buffer,
  native: Buffer = noProperties,
): Buffer {
  const parts = [encodeMethod(channel, methods.basicPublish, values), headerFrame(channel, body.length, native)];
  if (body.length > 0) parts.push(frame(FrameType.body, channel, body));
  return Buffer.concat(parts);
}
