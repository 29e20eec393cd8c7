import { BrokerError } from '../../core/errors.ts';
import type { Headers } from '../../core/properties.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Connection } from './connection.ts';
import { readCredentials } from './credentials.ts';
import { codeOf, ProtocolError, replyText } from './errors.ts';
import { type Arguments, decodeMethod, encodeMethod } from './methods.ts';
import type { Amqp091 } from './protocol.ts';
import {
  FrameType,
  findMethod,
  frameEnd,
  frameMinSize,
  frameOverhead,
  type Method,
  methods,
  protocolHeader,
  ReplyCode,
} from './spec.ts';

type State =
  | 'awaiting-header'
  | 'awaiting-start-ok'
  | 'authenticating'
  | 'awaiting-tune-ok'
  | 'awaiting-open'
  | 'closing'
  | 'closed';

/** From the protocol header to connection.open-ok; then a `Connection` takes the stream over. */
export class Handshake implements StreamHandler {
  private readonly stream: Stream;
  private readonly protocol: Amqp091;
  private state: State = 'awaiting-header';
  private readonly since: number;
  private user = '';
  private mechanism = '';
  private clientProperties: Headers = new Map();
  private channelMax: number;
  private frameMax: number;
  private heartbeatSeconds: number;
  /** The method being handled, for the error that it may cause. */
  private current: Method | null = null;

  constructor(stream: Stream, protocol: Amqp091) {
    this.stream = stream;
    this.protocol = protocol;
    this.since = stream.lastReadMs;
    this.channelMax = protocol.options.channelMax;
    this.frameMax = protocol.options.frameMax;
    this.heartbeatSeconds = protocol.options.heartbeatSeconds;
  }

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      if (this.state === 'awaiting-header') {
        if (end < protocolHeader.length && chunk.subarray(0, end).equals(protocolHeader.subarray(0, end))) return 0;
        at = this.onProtocolHeader(chunk);
      }
      while (this.stream.handler === this && this.stream.open && !this.stream.held && end - at >= 7) {
        const size = chunk.readUInt32BE(at + 3);
        if (size + frameOverhead > this.frameMax) {
          throw new ProtocolError(ReplyCode.frameError, `frame of ${size + frameOverhead} octets exceeds frame_max`);
        }
        if (end - at < size + frameOverhead) {
          this.stream.want = size + frameOverhead;
          break;
        }
        if (chunk[at + 7 + size] !== frameEnd) throw new ProtocolError(ReplyCode.frameError, 'frame end octet missing');
        this.onFrame(chunk[at]!, chunk.subarray(at + 7, at + 7 + size));
        at += size + frameOverhead;
      }
    } catch (error) {
      this.fail(error);
      return end;
    }
    return at;
  }

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (nowMs - this.since < this.protocol.options.loginTimeoutMs) return;
    this.protocol.log.info({ peer: this.stream.peer, state: this.state }, 'amqp: login took too long');
    this.stream.end();
  }

  stop(): void {
    this.stream.end();
  }

  onDrain(): void {}
  onFlush(): void {}

  onClose(): void {
    this.state = 'closed';
    this.protocol.handshakes.delete(this);
  }

  private onProtocolHeader(chunk: Buffer): number {
    if (!chunk.subarray(0, protocolHeader.length).equals(protocolHeader)) {
      // [AMQP 0-9-1 §4.2.2] a header that we do not speak is answered with ours, and the connection closed
      this.protocol.log.info({ peer: this.stream.peer }, 'amqp: not the protocol header of 0-9-1');
      this.stream.write(protocolHeader);
      this.stream.end();
      return chunk.length;
    }
    this.send(methods.connectionStart, {
      versionMinor: 9,
      serverProperties: this.protocol.serverProperties,
      mechanisms: this.mechanisms.join(' '),
      locales: 'en_US',
    });
    this.state = 'awaiting-start-ok';
    return protocolHeader.length;
  }

  /** Those that this peer can use: EXTERNAL needs a certificate that was verified. */
  private get mechanisms(): readonly string[] {
    const offered = ['PLAIN', 'AMQPLAIN'];
    if (this.stream.certificateName !== '') offered.push('EXTERNAL');
    if (this.protocol.options.anonymous) offered.push('ANONYMOUS');
    return offered;
  }

  private onFrame(type: number, payload: Buffer): void {
    this.current = null;
    if (type === FrameType.heartbeat) return;
    if (type !== FrameType.method || payload.length < 4) {
      throw new ProtocolError(ReplyCode.unexpectedFrame, 'expected a method frame');
    }
    const method = findMethod(payload.readUInt32BE(0));
    if (method === undefined) throw new ProtocolError(ReplyCode.commandInvalid, 'unknown method');
    this.current = method;
    const args = decodeMethod(method, payload);
    if (method === methods.connectionClose) {
      this.send(methods.connectionCloseOk);
      this.stream.end();
      return;
    }
    switch (this.state) {
      case 'awaiting-start-ok':
        if (method === methods.connectionStartOk) return this.onStartOk(args);
        break;
      case 'awaiting-tune-ok':
        if (method === methods.connectionTuneOk) return this.onTuneOk(args);
        break;
      case 'awaiting-open':
        if (method === methods.connectionOpen) return this.onOpen(args);
        throw new ProtocolError(ReplyCode.channelError, 'unexpected method in connection state opening');
      case 'closing':
        if (method === methods.connectionCloseOk) this.stream.end();
        return;
      case 'awaiting-header':
      case 'authenticating':
      case 'closed':
        break;
    }
    throw new ProtocolError(ReplyCode.commandInvalid, `${method.name} in state ${this.state}`);
  }

  private onStartOk(args: Arguments): void {
    this.clientProperties = args.table('clientProperties');
    const mechanism = args.text('mechanism');
    if (!this.mechanisms.includes(mechanism)) {
      throw new ProtocolError(ReplyCode.commandInvalid, `unknown authentication mechanism '${mechanism}'`);
    }
    const credentials = readCredentials(mechanism, args.octets('response'), this.stream.certificateName);
    this.mechanism = mechanism;
    this.state = 'authenticating';
    this.stream.hold();
    const peer = { address: this.stream.remoteAddress, protocol: 'amqp' };
    this.protocol.broker.authenticator.authenticate(credentials, peer).then(
      (user) => {
        if (this.state !== 'authenticating') return;
        if (user === null) this.refuse(mechanism, credentials.user);
        else this.tune(user);
        this.stream.release();
      },
      (error) => {
        this.fail(error);
        this.stream.release();
      },
    );
  }

  // A client that does not say it would understand just loses the connection [RabbitMQ: auth-notification].
  private refuse(mechanism: string, user: string): void {
    this.protocol.log.info({ peer: this.stream.peer, user, protocol: 'amqp' }, 'refused: wrong credentials');
    const capabilities = this.clientProperties.get('capabilities');
    const understands = capabilities instanceof Map && capabilities.get('authentication_failure_close') === true;
    if (!understands) {
      this.stream.end();
      return;
    }
    this.current = null;
    this.close(
      ReplyCode.accessRefused,
      `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
    );
    this.stream.end();
  }

  private tune(user: string): void {
    this.user = user;
    this.state = 'awaiting-tune-ok';
    const { channelMax, frameMax, heartbeatSeconds } = this.protocol.options;
    this.send(methods.connectionTune, { channelMax, frameMax, heartbeat: heartbeatSeconds });
  }

  private onTuneOk(args: Arguments): void {
    const { options } = this.protocol;
    const frameMax = args.number('frameMax') || options.frameMax;
    const channelMax = args.number('channelMax') || options.channelMax;
    if (frameMax > options.frameMax) {
      throw new ProtocolError(
        ReplyCode.notAllowed,
        `negotiated frame_max = ${frameMax} is higher than the maximum allowed value (${options.frameMax})`,
      );
    }
    if (frameMax < frameMinSize) {
      throw new ProtocolError(
        ReplyCode.notAllowed,
        `negotiated frame_max = ${frameMax} is lower than the minimum allowed value (${frameMinSize})`,
      );
    }
    if (channelMax > options.channelMax) {
      throw new ProtocolError(
        ReplyCode.notAllowed,
        `negotiated channel_max = ${channelMax} is higher than the maximum allowed value (${options.channelMax})`,
      );
    }
    this.frameMax = frameMax;
    this.channelMax = channelMax;
    this.heartbeatSeconds = args.number('heartbeat');
    this.state = 'awaiting-open';
  }

  private onOpen(args: Arguments): void {
    const { broker } = this.protocol;
    const vhost = broker.getVhost(args.text('virtualHost'));
    const access = broker.authenticator.findAccess(this.user, vhost.name);
    if (access === null) {
      throw new BrokerError('not-allowed', `access to vhost '${vhost.name}' refused for user '${this.user}'`);
    }
    broker.demandRoom(this.user, vhost);
    this.send(methods.connectionOpenOk);
    this.protocol.handshakes.delete(this);
    this.state = 'closed';
    this.stream.handler = new Connection(this.stream, this.protocol, {
      user: this.user,
      mechanism: this.mechanism,
      vhost,
      access,
      frameMax: this.frameMax,
      channelMax: this.channelMax,
      heartbeatSeconds: this.heartbeatSeconds,
      clientProperties: this.clientProperties,
    });
  }

  private fail(error: unknown): void {
    const [code, text] = describe(error);
    if (code === ReplyCode.internalError) {
      this.protocol.log.error({ peer: this.stream.peer, error }, 'amqp: handshake failed by a fault of ours');
    }
    if (this.state === 'awaiting-open') return this.close(code, text);
    // [AMQP 0-9-1 connection.tune-ok, upper-limit] reported, but not negotiated
    if (this.state === 'awaiting-tune-ok' && code === ReplyCode.notAllowed) this.close(code, text);
    // [AMQP 0-9-1 connection.start-ok, validity] who does not know the handshake is told nothing
    else this.protocol.log.info({ peer: this.stream.peer, code, reason: text }, 'amqp: handshake refused');
    this.stream.end();
  }

  private close(code: ReplyCode, text: string): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    this.protocol.log.info({ peer: this.stream.peer, code, reason: text }, 'amqp: handshake refused');
    this.send(methods.connectionClose, {
      replyCode: code,
      replyText: replyText(code, text),
      classId: this.current?.classId ?? 0,
      methodId: this.current?.methodId ?? 0,
    });
    this.state = 'closing';
  }

  private send(method: Method, values: Record<string, unknown> = {}): void {
    this.stream.write(encodeMethod(0, method, values));
  }
}

function describe(error: unknown): [ReplyCode, string] {
  if (error instanceof ProtocolError) return [error.code, error.message];
  if (!(error instanceof BrokerError)) return [ReplyCode.internalError, 'internal error'];
  // before the connection is open a limit is a matter of who may come in [RabbitMQ: per-vhost and per-user limits]
  return [error.condition === 'quota-exceeded' ? ReplyCode.notAllowed : codeOf[error.condition], error.message];
}
