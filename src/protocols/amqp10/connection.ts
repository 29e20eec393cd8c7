import type { Access } from '../../core/auth.ts';
import type { ChannelView, Client, ClientView } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import type { Value } from '../../core/properties.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Timer } from '../../lib/timers.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Valve } from '../../transport/valve.ts';
import { AmqpError, ErrorCondition, toAmqpError, wireCondition } from './errors.ts';
import { encodeFrame, FrameType, frameHeadBytes, heartbeatFrame } from './frame.ts';
import { codeOf, decodePerformative, type ErrorValues, type Name, type Values } from './performatives.ts';
import type { Amqp10, Amqp10Options } from './protocol.ts';
import { Session } from './session.ts';
import { Transactions } from './transactions.ts';
import { type AmqpMap, Decoder, textOf } from './types.ts';

type State = 'open' | 'closing' | 'closed';

export interface Opened {
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly mechanism: string;
  readonly containerId: string;
  /** Octets of a frame that the peer takes. */
  readonly frameMax: number;
  readonly channelMax: number;
  /** The peer wants to hear something so often; 0 = it does not care. */
  readonly idleMs: number;
  readonly properties: AmqpMap;
}

const transferCode = codeOf('transfer');
const dispositionCode = codeOf('disposition');

/** An open connection: frames to sessions, errors to the scope that the specification gives them. */
export class Connection implements StreamHandler, Client {
  readonly protocol = 'amqp-1.0';
  readonly id: string;
  readonly peer: string;
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly connectedAtMs: number;
  readonly containerId: string;
  readonly stream: Stream;
  readonly door: Amqp10;
  readonly frameMax: number;
  readonly sessions = new Map<number, Session>();
  readonly transactions: Transactions;
  /** Why publishers are to wait; null: they are not. */
  alarm: string | null = null;
  /** Made at the first alarm. */
  private valve: Valve | null = null;

  private readonly mechanism: string;
  private readonly channelMax: number;
  private readonly idleMs: number;
  private readonly beats: Timer | null;
  private readonly properties: AmqpMap;
  private state: State = 'open';
  private closingSinceMs = 0;
  private lastSession: Session | null = null;
  private readonly toFlush: Session[] = [];

  constructor(stream: Stream, door: Amqp10, opened: Opened) {
    this.stream = stream;
    this.door = door;
    this.id = door.nextConnectionId();
    this.peer = stream.peer;
    this.user = opened.user;
    this.vhost = opened.vhost;
    this.access = opened.access;
    this.mechanism = opened.mechanism;
    this.containerId = opened.containerId;
    this.frameMax = opened.frameMax;
    this.channelMax = opened.channelMax;
    this.idleMs = opened.idleMs;
    this.properties = opened.properties;
    this.connectedAtMs = stream.lastReadMs;
    this.transactions = new Transactions(this.vhost);
    // the sweep comes too seldom for it
    const isShort = this.idleMs > 0 && this.idleMs < 2 * sweepMs;
    this.beats = isShort ? door.broker.timers.every(this.idleMs / 4, () => this.beat(this.idleMs / 2)) : null;
    door.connections.add(this);
    door.broker.addClient(this);
    door.log.info({ peer: this.peer, user: this.user, vhost: this.vhost.name, protocol: 'amqp10' }, 'connected');
  }

  get subscriber(): object {
    return this;
  }

  /** False from its close on: what its sessions give back is for others. */
  get open(): boolean {
    return this.state === 'open';
  }

  get options(): Amqp10Options {
    return this.door.options;
  }

  // — frames ——————————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    while (end - at >= frameHeadBytes) {
      const size = chunk[at]! * 0x100_0000 + ((chunk[at + 1]! << 16) | (chunk[at + 2]! << 8) | chunk[at + 3]!);
      if (size < frameHeadBytes || size > this.options.frameMax) {
        this.fail(framingError(`frame of ${size} octets where ${this.options.frameMax} are agreed`), null);
        return end;
      }
      const next = at + size;
      if (next > end) {
        this.stream.want = size;
        break;
      }
      this.onFrame(chunk, at, next);
      at = next;
      if (this.state === 'closed' || this.stream.held) break;
    }
    return this.state === 'closed' ? end : at;
  }

  private onFrame(chunk: Buffer, at: number, end: number): void {
    const bodyAt = at + chunk[at + 4]! * 4;
    const channel = (chunk[at + 6]! << 8) | chunk[at + 7]!;
    let session = this.lastSession;
    if (session === null || session.channel !== channel) session = this.sessions.get(channel) ?? null;
    try {
      if (chunk[at + 5] !== FrameType.amqp) throw framingError(`frame of type ${chunk[at + 5]}`);
      if (bodyAt < at + frameHeadBytes || bodyAt > end) throw framingError('data offset is not within the frame');
      if (bodyAt === end) return; // a sign of life
      if (session?.open && chunk[bodyAt] === 0 && chunk[bodyAt + 1] === 0x53) {
        this.lastSession = session;
        const code = chunk[bodyAt + 2];
        if (code === transferCode) return session.onTransfer(chunk, bodyAt + 3, end);
        if (code === dispositionCode) return session.onDisposition(chunk, bodyAt + 3, end);
      }
      this.onColdFrame(chunk, bodyAt, end, channel, session);
    } catch (error) {
      this.fail(error, session);
    }
  }

  private onColdFrame(chunk: Buffer, at: number, end: number, channel: number, session: Session | null): void {
    const decoder = new Decoder(chunk, at, end);
    const performative = decodePerformative(decoder);
    if (performative.is === 'close') return this.onClosePerformative();
    if (this.state !== 'open') return;
    if (performative.is === 'begin') return this.onBegin(channel, performative, session);
    if (session === null) throw framingError(`${performative.is} on channel ${channel} without a session`);
    if (!session.open) {
      // [§2.5.4] until its end is answered what comes for the session is discarded
      if (performative.is === 'end') this.removeSession(session);
      return;
    }
    switch (performative.is) {
      case 'attach':
        return session.onAttach(performative);
      case 'flow':
        return session.onFlow(performative);
      case 'detach':
        return session.onDetach(performative);
      case 'end':
        session.flush();
        session.gone();
        this.removeSession(session);
        return this.send(channel, 'end', {});
      // with a descriptor of another form than the shortest
      case 'transfer':
        return session.onTransfer(chunk, valueAt(decoder, at), end);
      case 'disposition':
        return session.onDisposition(chunk, valueAt(decoder, at), end);
      default:
        throw framingError(`${performative.is} is not expected`);
    }
  }

  private onBegin(channel: number, begin: Values<'begin'>, session: Session | null): void {
    if (session !== null) throw framingError(`begin on channel ${channel}, which has a session`);
    if (channel > this.channelMax) {
      throw framingError(`channel number (${channel}) exceeds maximum channel number (${this.channelMax})`);
    }
    this.door.broker.demandChannel(this.user);
    const opened = new Session(this, channel, begin);
    this.sessions.set(channel, opened);
    opened.start();
  }

  private removeSession(session: Session): void {
    this.sessions.delete(session.channel);
    if (this.lastSession === session) this.lastSession = null;
  }

  send<N extends Name>(channel: number, name: N, values: Values<N>, payload?: Buffer): void {
    this.stream.write(encodeFrame(channel, name, values, payload));
  }

  /**
   * Goes on when everything that a cold operation changed is durable; until then the connection's further frames are
   * held.
   * @param before the journal's position before the operation
   */
  whenDurable(before: number, then: () => void): void {
    const { journal } = this.door.broker;
    if (journal.position === before || journal.position <= journal.durable) return then();
    this.stream.hold();
    journal.whenDurable(journal.position, () => {
      if (this.state === 'open') then();
      this.stream.release();
    });
  }

  /** Goes on with the result of a cold operation; until it is there the connection's further frames are held. */
  settled<T>(result: T | Promise<T>, session: Session, then: (value: T) => void): void {
    if (!(result instanceof Promise)) return then(result);
    this.stream.hold();
    result
      .then((value) => {
        if (this.state === 'open' && session.open) then(value);
      })
      .catch((error: unknown) => this.fail(error, session))
      .finally(() => this.stream.release());
  }

  // — errors and the end ——————————————————————————————————————————————————————————————————————————————————————————

  /** Of the link's scope the session knows which one it is: here it is the session that ends. */
  fail(error: unknown, session: Session | null): void {
    if (this.state !== 'open') return;
    const { condition, message, scope } = toAmqpError(error);
    if (condition === ErrorCondition.internalError) {
      this.door.log.error({ peer: this.peer, error }, 'amqp10: a fault of ours');
    }
    const values = { condition, description: message };
    if (scope === 'connection' || session === null) return this.sendClose(values);
    this.door.log.info(
      { peer: this.peer, channel: session.channel, condition, reason: message },
      'amqp10: session ended',
    );
    session.end(values);
  }

  private sendClose(error: ErrorValues): void {
    this.door.log.info(
      { peer: this.peer, condition: error.condition, reason: error.description },
      'amqp10: connection closed',
    );
    this.flushSessions();
    this.send(0, 'close', { error });
    this.state = 'closing';
    this.endSessions();
    this.closingSinceMs = this.door.broker.nowMs;
    // where the frames begin is not known any longer: there will be no close to read
    if (error.condition === ErrorCondition.framingError) this.finish('');
  }

  private onClosePerformative(): void {
    if (this.state === 'open') {
      this.flushSessions();
      this.send(0, 'close', {});
    }
    this.finish(this.state === 'open' ? 'closed by the client' : '');
  }

  /** From the core or the server: an operator's word, or the end of the server. */
  close(why: Condition, text: string): void {
    if (this.state === 'open') this.sendClose({ condition: wireCondition(why), description: text });
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
    this.beats?.cancel();
    this.endSessions();
    this.door.connections.delete(this);
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  private endSessions(): void {
    for (const session of this.sessions.values()) if (session.open) session.gone();
    this.sessions.clear();
    this.lastSession = null;
    this.transactions.close();
  }

  // — the rest ————————————————————————————————————————————————————————————————————————————————————————————————————

  /** The session has something to say at the end of the turn. */
  flushLater(session: Session): void {
    if (!this.toFlush.includes(session)) this.toFlush.push(session);
    this.stream.markDirty();
  }

  onFlush(): void {
    if (this.toFlush.length > 0 && this.state === 'open') this.flushSessions();
  }

  private flushSessions(): void {
    for (const session of this.toFlush) if (session.open) session.flush();
    this.toFlush.length = 0;
  }

  onDrain(): void {
    for (const session of this.sessions.values()) session.onRoom();
  }

  onAlarm(why: string | null): void {
    this.alarm = why;
    this.valve ??= new Valve(this.stream);
    this.valve.alarm(why);
    if (why === null) for (const session of this.sessions.values()) session.grantCredit();
  }

  /**
   * Counts a message that was published while there is an alarm: credit from before may bring any number of octets.
   * @returns true: it is to be refused
   */
  refuses(bytes: number, refusable: boolean): boolean {
    // who does not consume loses nothing by not being read
    return this.valve?.refuses(bytes, refusable && this.consumes) === true;
  }

  private get consumes(): boolean {
    for (const session of this.sessions.values()) if (session.consumes) return true;
    return false;
  }

  /** Signs of life in both directions [AMQP 1.0 §2.4.5]; called about once a second. */
  sweep(nowMs: number): void {
    if (this.state === 'closing' && nowMs - this.closingSinceMs > closeTimeoutMs) return this.finish('');
    if (this.state !== 'open') return;
    const { stream, idleMs } = this;
    if (idleMs > 0) this.beat(idleMs / 2 - sweepMs);
    const expectedMs = this.options.heartbeatSeconds * 2000;
    if (this.valve?.shut === true) return; // it may have sent its heart-beats
    if (expectedMs === 0 || nowMs - stream.lastReadMs <= expectedMs) return;
    const text = 'no frame received from client within idle timeout threshold';
    this.sendClose({ condition: ErrorCondition.resourceLimitExceeded, description: text });
    this.finish(text);
  }

  // A sign of life, if there was none for so long.
  private beat(afterMs: number): void {
    const { stream, state } = this;
    if (state === 'open' && this.door.broker.nowMs - stream.lastWriteMs >= afterMs) stream.write(heartbeatFrame);
  }

  describe(): ClientView {
    const { stream, properties } = this;
    const shown = new Map<string, Value>([['container_id', this.containerId]]);
    for (const [key, value] of properties.pairs) {
      const [name, text] = [textOf(key), textOf(value)];
      if (name !== undefined && text !== undefined) shown.set(name, text);
    }
    return {
      protocol: 'AMQP 1-0',
      ...stream.describe(),
      mechanism: this.mechanism,
      state: this.state !== 'open' ? 'closing' : this.valve?.holds === true ? 'blocked' : 'running',
      channelMax: this.channelMax,
      frameMax: Math.min(this.frameMax, this.options.frameMax),
      heartbeatSeconds: this.options.heartbeatSeconds,
      properties: shown,
    };
  }

  describeChannels(): ChannelView[] {
    return [...this.sessions.values()].map((session) => session.describe());
  }
}

const closeTimeoutMs = 5000;
const sweepMs = 1000;

function framingError(text: string): AmqpError {
  return new AmqpError(ErrorCondition.framingError, 'connection', text);
}

// Behind the descriptor, whatever its form.
function valueAt(decoder: Decoder, at: number): number {
  const descriptor = new Decoder(decoder.bytes, at + 1, decoder.end);
  descriptor.read();
  return descriptor.at;
}
