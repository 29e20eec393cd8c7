import { randomBytes } from 'node:crypto';
import type { Access } from '../../core/auth.ts';
import type { ChannelView, Client, ClientView } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Headers } from '../../core/properties.ts';
import type { Vhost } from '../../core/vhost.ts';
import { Ring } from '../../lib/ring.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Valve } from '../../transport/valve.ts';
import { Channel } from './channel.ts';
import { closesChannel, codeOf, ProtocolError, replyText } from './errors.ts';
import { decodeMethod, encodeMethod } from './methods.ts';
import type { Amqp091, Limits } from './protocol.ts';
import { FrameType, findMethod, frameEnd, frameOverhead, type Method, methods, ReplyCode } from './spec.ts';

type State = 'open' | 'closing' | 'closed';

export interface Opened {
  readonly user: string;
  readonly mechanism: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly frameMax: number;
  readonly channelMax: number;
  readonly heartbeatSeconds: number;
  readonly clientProperties: Headers;
}

const publishId = methods.basicPublish.id;
const ackId = methods.basicAck.id;
const nackId = methods.basicNack.id;
const rejectId = methods.basicReject.id;

/** An open connection: frames to channels, errors to the scope that the specification gives them. */
export class Connection implements StreamHandler, Client {
  readonly protocol = 'amqp-0-9-1';
  readonly id: string;
  readonly peer: string;
  readonly user: string;
  readonly mechanism: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  readonly frameMax: number;
  readonly clientProperties: Headers;
  readonly capabilities: { readonly consumerCancelNotify: boolean; readonly blocked: boolean };
  readonly channels = new Map<number, Channel>();

  private readonly door: Amqp091;
  private readonly channelMax: number;
  private readonly heartbeatSeconds: number;
  private state: State = 'open';
  private closingSinceMs = 0;
  private lastChannel: Channel | null = null;
  private readonly toFlush: Channel[] = [];
  /** Replies that promise a durable fact, in order; while there are some, only methods that change topology go on. */
  private readonly replies = new Ring<Buffer>();
  private heldForReplies = false;
  /** Why publishers are to wait; null: they are not. */
  private alarm: string | null = null;
  /** It has published since then: it is held back. */
  private blocked = false;
  /** Made at the first alarm. */
  private valve: Valve | null = null;
  /** The method being handled, for the error that it may cause. */
  private current: Method | null = null;

  constructor(stream: Stream, door: Amqp091, opened: Opened) {
    this.stream = stream;
    this.door = door;
    this.id = door.nextConnectionId();
    this.peer = stream.peer;
    this.user = opened.user;
    this.mechanism = opened.mechanism;
    this.vhost = opened.vhost;
    this.access = opened.access;
    this.frameMax = opened.frameMax;
    this.channelMax = opened.channelMax;
    this.heartbeatSeconds = opened.heartbeatSeconds;
    this.clientProperties = opened.clientProperties;
    this.connectedAtMs = stream.lastReadMs;
    const capabilities = opened.clientProperties.get('capabilities');
    const has = (name: string): boolean => capabilities instanceof Map && capabilities.get(name) === true;
    this.capabilities = { consumerCancelNotify: has('consumer_cancel_notify'), blocked: has('connection.blocked') };
    door.connections.add(this);
    door.broker.addClient(this);
    door.log.info({ peer: this.peer, user: this.user, vhost: this.vhost.name, protocol: 'amqp' }, 'connected');
  }

  get subscriber(): object {
    return this;
  }

  get limits(): Limits {
    return this.door.options;
  }

  describe(): ClientView {
    const { stream } = this;
    return {
      protocol: 'AMQP 0-9-1',
      ...stream.describe(),
      mechanism: this.mechanism,
      state: this.state !== 'open' ? 'closing' : this.blocked ? 'blocked' : 'running',
      channelMax: this.channelMax,
      frameMax: this.frameMax,
      heartbeatSeconds: this.heartbeatSeconds,
      properties: this.clientProperties,
    };
  }

  describeChannels(): ChannelView[] {
    return [...this.channels.values()].map((channel) => channel.describe());
  }

  // — frames ——————————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    while (end - at >= 7) {
      const size = chunk[at + 3]! * 0x100_0000 + ((chunk[at + 4]! << 16) | (chunk[at + 5]! << 8) | chunk[at + 6]!);
      const next = at + size + frameOverhead;
      if (size + frameOverhead > this.frameMax) {
        this.failFraming(`frame of ${size + frameOverhead} octets exceeds frame_max ${this.frameMax}`);
        return end;
      }
      if (next > end) {
        this.stream.want = next - at;
        break;
      }
      if (chunk[next - 1] !== frameEnd) {
        this.failFraming('frame end octet missing');
        return end;
      }
      const done = this.onFrame(chunk, at, next, end);
      if (done === at) break; // held, or the rest of a publish is not there yet
      at = done;
      if (this.state === 'closed' || this.stream.held) break;
    }
    return this.state === 'closed' ? end : at;
  }

  /** @returns where the next frame begins; `at` itself when this one is to come again with more behind it. */
  private onFrame(chunk: Buffer, at: number, next: number, end: number): number {
    const type = chunk[at]!;
    const id = (chunk[at + 1]! << 8) | chunk[at + 2]!;
    if (type === FrameType.heartbeat && id === 0 && next - at === frameOverhead) return next;
    if (this.state === 'closing') {
      this.onFrameWhileClosing(chunk, at, type);
      return next;
    }
    let channel = this.lastChannel;
    if (channel === null || channel.id !== id) channel = this.channels.get(id) ?? null;
    try {
      if (channel === null || channel.state !== 'open') {
        if (this.mustWait(chunk, at, type)) return at;
        this.onOtherFrame(chunk, at, next, type, id, channel);
        return next;
      }
      this.lastChannel = channel;
      if (type === FrameType.method) return this.onMethodFrame(chunk, at, next, end, channel);
      this.current = channel.assembling ? methods.basicPublish : null;
      if (type === FrameType.header) channel.onHeader(chunk.subarray(at + 7, next - 1));
      else if (type === FrameType.body) channel.onBody(chunk.subarray(at + 7, next - 1));
      else this.refuseFrame(type, id);
    } catch (error) {
      this.fail(error, id);
    }
    return next;
  }

  private onMethodFrame(chunk: Buffer, at: number, next: number, end: number, channel: Channel): number {
    if (next - at < frameOverhead + 4) {
      this.current = null;
      throw new ProtocolError(ReplyCode.frameError, 'method frame is cut');
    }
    const methodId = (chunk[at + 8]! << 16) | (chunk[at + 9]! << 8) | chunk[at + 10]!;
    if (channel.assembling) {
      this.current = methods.basicPublish;
      channel.interrupted();
    }
    if (this.mustWait(chunk, at, FrameType.method)) return at;
    switch (methodId) {
      case publishId:
        this.current = methods.basicPublish;
        if (this.alarm !== null) this.holdBack(this.alarm);
        return this.onPublish(chunk, at, next, end, channel);
      case ackId:
        if (next - at !== 21) break;
        this.current = methods.basicAck;
        channel.onAck(readTag(chunk, at + 11), chunk[at + 19] !== 0);
        return next;
      case nackId: {
        if (next - at !== 21) break;
        this.current = methods.basicNack;
        const bits = chunk[at + 19]!;
        channel.onNack(readTag(chunk, at + 11), (bits & 1) !== 0, (bits & 2) !== 0);
        return next;
      }
      case rejectId:
        if (next - at !== 21) break;
        this.current = methods.basicReject;
        channel.onNack(readTag(chunk, at + 11), false, chunk[at + 19] !== 0);
        return next;
    }
    this.onColdMethod(chunk, at, next, channel);
    return next;
  }

  /**
   * basic.publish: with header frame and the one body frame behind it in the same chunk it is published as it lies
   * there; cut short by the chunk's end it waits for the rest; in other shapes the channel puts it together.
   */
  private onPublish(chunk: Buffer, at: number, next: number, end: number, channel: Channel): number {
    const address = at + 13;
    const keyAt = address + 1 + chunk[address]!;
    const flagsAt = keyAt + 1 + (chunk[keyAt] ?? 0);
    if (flagsAt !== next - 2) throw new ProtocolError(ReplyCode.frameError, 'cannot decode basic.publish');
    // Never more is waited for than the shortest frame that may come: it might be another than is due.
    if (end - next < frameOverhead) {
      if (isContent(chunk, next, end, FrameType.header, channel.id)) return this.waitFor(next + frameOverhead - at, at);
      return this.assemble(chunk, at, next, channel);
    }
    const headerSize = chunk.readUInt32BE(next + 3);
    if (end - next < 7 + 14) {
      const isCut = isContent(chunk, next, end, FrameType.header, channel.id) && headerSize >= 14;
      return isCut ? this.waitFor(next + 7 + 14 + 1 - at, at) : this.assemble(chunk, at, next, channel);
    }
    const headerEnd = next + headerSize + frameOverhead;
    const bodyBytes = chunk.readUInt32BE(next + 15);
    const isHeader =
      isContent(chunk, next, end, FrameType.header, channel.id) &&
      headerSize >= 14 &&
      headerSize + frameOverhead <= this.frameMax &&
      chunk.readUInt32BE(next + 7) === classAndWeight &&
      chunk.readUInt32BE(next + 11) === 0 &&
      bodyBytes + frameOverhead <= this.frameMax &&
      bodyBytes <= this.limits.messageBytes;
    if (!isHeader) return this.assemble(chunk, at, next, channel);
    const bodyEnd = bodyBytes === 0 ? headerEnd : headerEnd + bodyBytes + frameOverhead;
    if (bodyEnd > end) {
      if (headerEnd > end) return this.waitFor(headerEnd - at, at);
      if (headerEnd + 7 > end) {
        const isCut = isContent(chunk, headerEnd, end, FrameType.body, channel.id);
        return isCut ? this.waitFor(headerEnd + frameOverhead - at, at) : this.assemble(chunk, at, next, channel);
      }
      const isCut = isWholeBody(chunk, headerEnd, end, channel.id, bodyBytes);
      return isCut ? this.waitFor(bodyEnd - at, at) : this.assemble(chunk, at, next, channel);
    }
    if (chunk[headerEnd - 1] !== frameEnd) return this.assemble(chunk, at, next, channel);
    if (
      bodyBytes > 0 &&
      (!isWholeBody(chunk, headerEnd, end, channel.id, bodyBytes) || chunk[bodyEnd - 1] !== frameEnd)
    ) {
      return this.assemble(chunk, at, next, channel);
    }
    try {
      channel.publishWhole(chunk, address, next, headerEnd, bodyBytes);
    } catch (error) {
      this.fail(error, channel.id); // here, for what was consumed is the whole publish
    }
    return bodyEnd;
  }

  private waitFor(bytes: number, at: number): number {
    this.stream.want = bytes;
    return at;
  }

  private assemble(chunk: Buffer, at: number, next: number, channel: Channel): number {
    channel.beginPublish(decodeMethod(methods.basicPublish, chunk.subarray(at + 7, next - 1)));
    return next;
  }

  private onColdMethod(chunk: Buffer, at: number, next: number, channel: Channel): void {
    const payload = chunk.subarray(at + 7, next - 1);
    const method = findMethod(payload.readUInt32BE(0));
    this.current = method ?? null;
    if (method === undefined) throw new ProtocolError(ReplyCode.commandInvalid, 'unknown class or method');
    if (method.classId === methods.connectionStart.classId) {
      throw new ProtocolError(ReplyCode.commandInvalid, 'unimplemented method');
    }
    const args = decodeMethod(method, payload);
    if (method === methods.channelClose) {
      this.removeChannel(channel);
      this.reply(encodeMethod(channel.id, methods.channelCloseOk));
      return;
    }
    if (method === methods.channelOpen) {
      throw new ProtocolError(ReplyCode.channelError, "second 'channel.open' seen");
    }
    channel.onMethod(method, args);
  }

  // Frames of the connection itself, of channels that are not open, and of those that wait for close-ok.
  private onOtherFrame(
    chunk: Buffer,
    at: number,
    next: number,
    type: number,
    id: number,
    channel: Channel | null,
  ): void {
    const method = type === FrameType.method && next - at >= 12 ? findMethod(chunk.readUInt32BE(at + 7)) : undefined;
    this.current = method ?? null;
    if (channel !== null) {
      // [AMQP 0-9-1 §1.5.2.5] until close-ok everything but close and close-ok is discarded
      if (method === methods.channelCloseOk) this.removeChannel(channel);
      else if (method === methods.channelClose) this.send(encodeMethod(id, methods.channelCloseOk));
      return;
    }
    if (method === undefined) {
      if (type === FrameType.method) throw new ProtocolError(ReplyCode.commandInvalid, 'unknown class or method');
      if (type !== FrameType.header && type !== FrameType.body) this.refuseFrame(type, id);
      throw new ProtocolError(
        ReplyCode.unexpectedFrame,
        id === 0 ? `frame of type ${type} on channel 0` : 'expected method frame, got non method frame instead',
      );
    }
    decodeMethod(method, chunk.subarray(at + 7, next - 1)); // for its errors
    if (id === 0) {
      switch (method) {
        case methods.connectionClose:
          this.send(encodeMethod(0, methods.connectionCloseOk));
          this.finish('closed by the client');
          return;
        case methods.connectionUpdateSecret:
          // The credentials were those of the login; a secret that expires is the authenticator's affair.
          this.send(encodeMethod(0, methods.connectionUpdateSecretOk));
          return;
        default:
          throw new ProtocolError(ReplyCode.channelError, 'unexpected method in connection state running');
      }
    }
    if (method !== methods.channelOpen) {
      throw new ProtocolError(ReplyCode.channelError, "expected 'channel.open'");
    }
    if (this.channels.size >= this.channelMax) {
      this.current = null;
      throw new ProtocolError(
        ReplyCode.notAllowed,
        `number of channels opened (${this.channels.size}) has reached the negotiated channel_max (${this.channelMax})`,
      );
    }
    this.door.broker.demandChannel(this.user);
    this.channels.set(id, new Channel(this, id));
    this.reply(encodeMethod(id, methods.channelOpenOk));
  }

  private onFrameWhileClosing(chunk: Buffer, at: number, type: number): void {
    if (type !== FrameType.method) return;
    const id = chunk.readUInt32BE(at + 7);
    if (id === methods.connectionCloseOk.id) this.finish('');
    else if (id === methods.connectionClose.id) this.send(encodeMethod(0, methods.connectionCloseOk));
  }

  // — replies that promise a durable fact ——————————————————————————————————————————————————————————————————————————

  /** Sends the reply when everything that its method changed is durable, behind the replies before it. */
  reply(frame: Buffer): void {
    const { journal } = this.door.broker;
    const position = journal.position;
    if (this.replies.length === 0 && (position === this.positionBefore || position <= journal.durable)) {
      this.send(frame);
      return;
    }
    this.replies.push(frame);
    journal.whenDurable(position, () => {
      this.send(this.replies.shift()!);
      if (this.replies.length > 0 || !this.heldForReplies) return;
      this.heldForReplies = false;
      this.stream.release();
    });
  }

  /** What the journal had before the method being handled. */
  private positionBefore = 0;

  // Methods that only change topology go on and share a sync; anything else waits for the replies before it.
  private mustWait(chunk: Buffer, at: number, type: number): boolean {
    this.positionBefore = this.door.broker.journal.position;
    if (this.replies.length === 0) return false;
    if (type === FrameType.method && mayOvertake(chunk.readUInt32BE(at + 7))) return false;
    if (!this.heldForReplies) {
      this.heldForReplies = true;
      this.stream.hold();
    }
    return true;
  }

  /** Goes on with the result of a cold operation; until it is there the connection's further frames are held. */
  settled<T>(result: T | Promise<T>, then: (value: T) => void): void {
    if (!(result instanceof Promise)) return then(result);
    const channel = this.lastChannel?.id ?? 0;
    this.stream.hold();
    result
      .then(then)
      .catch((error: unknown) => this.fail(error, channel))
      .finally(() => this.stream.release());
  }

  // — errors and the end ——————————————————————————————————————————————————————————————————————————————————————————

  private fail(error: unknown, channelId: number): void {
    if (this.state !== 'open') return;
    const [code, text] = describe(error);
    if (code === ReplyCode.internalError) this.door.log.error({ peer: this.peer, error }, 'amqp: a fault of ours');
    const values = {
      replyCode: code,
      replyText: replyText(code, text),
      classId: this.current?.classId ?? 0,
      methodId: this.current?.methodId ?? 0,
    };
    const channel = this.channels.get(channelId);
    if (closesChannel(code) && channel !== undefined) {
      this.door.log.info({ peer: this.peer, channel: channelId, code, reason: text }, 'amqp: channel closed');
      channel.flush();
      channel.state = 'closing';
      channel.close();
      this.reply(encodeMethod(channelId, methods.channelClose, values));
      return;
    }
    this.sendClose(values, (frame) => this.reply(frame));
  }

  /** @param write how the method leaves: behind the replies that are due, or at once */
  private sendClose(values: { replyCode: ReplyCode; replyText: string }, write: (frame: Buffer) => void): void {
    this.door.log.info(
      { peer: this.peer, code: values.replyCode, reason: values.replyText },
      'amqp: connection closed',
    );
    this.flushConfirms();
    write(encodeMethod(0, methods.connectionClose, values));
    this.state = 'closing';
    this.closingSinceMs = this.door.broker.nowMs;
    this.closeChannels();
    this.unblock();
  }

  // Where the next frame begins is not known any longer: there will be no close-ok to read.
  private failFraming(text: string): void {
    this.current = null;
    const values = { replyCode: ReplyCode.frameError, replyText: replyText(ReplyCode.frameError, text) };
    if (this.state === 'open') this.sendClose(values, (frame) => this.send(frame));
    this.finish('');
  }

  // [AMQP 0-9-1 §4.2.3, §4.2.7] of an unknown type, or a heart-beat that is not on channel 0 or not empty
  private refuseFrame(type: number, channel: number): never {
    this.current = null;
    if (type !== FrameType.heartbeat) throw new ProtocolError(ReplyCode.frameError, `unknown frame type ${type}`);
    throw new ProtocolError(
      ReplyCode.frameError,
      channel === 0 ? 'heartbeat with a payload' : `heartbeat on channel ${channel}`,
    );
  }

  /** From the core or the server: an operator's word, or the end of the server. */
  close(why: Condition, text: string): void {
    if (this.state !== 'open') return;
    const code = codeOf[why];
    this.current = null;
    this.sendClose({ replyCode: code, replyText: replyText(code, text) }, (frame) => this.send(frame));
  }

  private finish(reason: string): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.gone(reason);
    this.stream.end();
  }

  onClose(error: string): void {
    if (this.state === 'closed') return;
    const reason = this.state === 'closing' ? '' : error || 'client unexpectedly closed TCP connection';
    this.state = 'closed';
    this.gone(reason);
  }

  private gone(reason: string): void {
    this.closeChannels();
    this.door.connections.delete(this);
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  private closeChannels(): void {
    for (const channel of this.channels.values()) channel.detachConsumers();
    for (const channel of this.channels.values()) channel.close();
    this.channels.clear();
    this.lastChannel = null;
  }

  private removeChannel(channel: Channel): void {
    channel.close();
    this.channels.delete(channel.id);
    if (this.lastChannel === channel) this.lastChannel = null;
  }

  // — the rest ————————————————————————————————————————————————————————————————————————————————————————————————————

  send(frame: Buffer): void {
    this.stream.write(frame);
  }

  /** The channel has confirms to send at the end of the turn. */
  flushLater(channel: Channel): void {
    if (!this.toFlush.includes(channel)) this.toFlush.push(channel);
    this.stream.markDirty();
  }

  onFlush(): void {
    if (this.toFlush.length > 0 && this.state === 'open') this.flushConfirms();
  }

  private flushConfirms(): void {
    for (const channel of this.toFlush) if (channel.state === 'open') channel.flush();
    this.toFlush.length = 0;
  }

  onDrain(): void {
    for (const channel of this.channels.values()) channel.wakeConsumers();
  }

  // — alarms ——————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Who publishes is held back while there is an alarm; who only consumes goes on [RabbitMQ: blocked connections]. */
  onAlarm(why: string | null): void {
    this.alarm = why;
    this.valve ??= new Valve(this.stream);
    this.valve.alarm(why);
    if (why === null) this.unblock();
  }

  private holdBack(why: string): void {
    this.valve?.hold();
    if (this.blocked) return;
    this.blocked = true;
    if (this.capabilities.blocked) this.send(encodeMethod(0, methods.connectionBlocked, { reason: why }));
  }

  /** Counts a message that was published while there is an alarm. @returns true: it is to be refused */
  refuses(bytes: number, refusable: boolean): boolean {
    return this.valve?.refuses(bytes, refusable) === true;
  }

  private unblock(): void {
    if (!this.blocked) return;
    this.blocked = false;
    if (this.capabilities.blocked && this.state === 'open') this.send(encodeMethod(0, methods.connectionUnblocked));
  }

  private get consumes(): boolean {
    for (const channel of this.channels.values()) if (channel.consumers.size > 0) return true;
    return false;
  }

  /** Heart-beats in both directions [AMQP 0-9-1 §4.2.7]; called about once a second. */
  sweep(nowMs: number): void {
    if (this.state === 'closing' && nowMs - this.closingSinceMs > closeTimeoutMs) return this.finish('');
    if (this.state !== 'open') return;
    if (this.blocked) this.valve?.sweep(this.consumes);
    this.demandAcks(nowMs);
    if (this.heartbeatSeconds === 0) return;
    if (nowMs - this.stream.lastWriteMs >= this.heartbeatSeconds * 500) this.stream.write(heartbeatFrame);
    if (!this.isSilent(nowMs)) return;
    this.door.log.info({ peer: this.peer }, 'amqp: missed heartbeats from client');
    this.state = 'closed';
    this.gone('missed heartbeats');
    this.stream.destroy();
  }

  /** It missed its heart-beats: the next sweep ends it. */
  isSilent(nowMs: number): boolean {
    if (this.state !== 'open' || this.heartbeatSeconds === 0 || this.blocked) return false;
    return nowMs - this.stream.lastReadMs > this.heartbeatSeconds * 2000;
  }

  private demandAcks(nowMs: number): void {
    for (const channel of this.channels.values()) {
      if (channel.state !== 'open') continue;
      try {
        channel.demandAcks(nowMs);
      } catch (error) {
        this.current = null;
        this.fail(error, channel.id);
      }
    }
  }

  generateName(prefix: string): string {
    return prefix + randomBytes(16).toString('base64url');
  }
}

/** Of a content header: the weight is 0. */
const classAndWeight = methods.basicPublish.classId << 16;
const closeTimeoutMs = 5000;
const heartbeatFrame = Buffer.from([FrameType.heartbeat, 0, 0, 0, 0, 0, 0, frameEnd]);

const overtaking = new Set(
  [
    methods.channelOpen,
    methods.exchangeDeclare,
    methods.exchangeDelete,
    methods.exchangeBind,
    methods.exchangeUnbind,
    methods.queueDeclare,
    methods.queueBind,
    methods.queueUnbind,
    methods.queuePurge,
    methods.queueDelete,
    methods.basicQos,
    methods.confirmSelect,
  ].map((method) => method.id),
);

function mayOvertake(methodId: number): boolean {
  return overtaking.has(methodId);
}

function describe(error: unknown): [ReplyCode, string] {
  if (error instanceof ProtocolError) return [error.code, error.message];
  if (error instanceof BrokerError) return [codeOf[error.condition], error.message];
  return [ReplyCode.internalError, 'internal error'];
}

function readTag(chunk: Buffer, at: number): number {
  const high = chunk.readUInt32BE(at);
  if (high > 0x1f_ffff) {
    // more than was ever given, and than a number says exactly
    throw new ProtocolError(ReplyCode.preconditionFailed, `unknown delivery tag ${chunk.readBigUInt64BE(at)}`);
  }
  return high * 0x1_0000_0000 + chunk.readUInt32BE(at + 4);
}

/** True if the octets from `at`, as far as they are there, begin a frame of the type on the channel. */
function isContent(chunk: Buffer, at: number, end: number, type: number, channel: number): boolean {
  return (
    (at >= end || chunk[at] === type) &&
    (at + 1 >= end || chunk[at + 1] === channel >> 8) &&
    (at + 2 >= end || chunk[at + 2] === (channel & 0xff))
  );
}

function isWholeBody(chunk: Buffer, at: number, end: number, channel: number, bodyBytes: number): boolean {
  return (
    isContent(chunk, at, end, FrameType.body, channel) && at + 7 <= end && chunk.readUInt32BE(at + 3) === bodyBytes
  );
}
