import { BrokerError } from '../../core/errors.ts';
import { ScramExchange, scramMechanism } from '../../core/scram.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Connection } from './connection.ts';
import { AmqpError, ErrorCondition, toAmqpError } from './errors.ts';
import { encodeFrame, encodeSaslFrame, FrameType, frameHeadBytes, frameMinBytes, protocolHeaders } from './frame.ts';
import { nodeName } from './management-api.ts';
import { type Composite, decodePerformative, type Values } from './performatives.ts';
import type { Amqp10 } from './protocol.ts';
import { mechanismsFor, readCredentials, SaslCode } from './sasl.ts';
import { AmqpMap, type Any, Decoder, symbol } from './types.ts';

type State =
  | 'awaiting-header'
  | 'awaiting-init'
  | 'awaiting-response'
  | 'authenticating'
  | 'awaiting-amqp-header'
  | 'awaiting-open'
  | 'closing'
  | 'closed';

const vhostPrefix = 'vhost:';
/** Signs of life are sent about once a second [§2.4.5: who cannot do what the peer wants says so]. */
const idleMinMs = 1000;

/** From the protocol header through SASL to open; then a `Connection` takes the stream over [AMQP 1.0 §2.2, §5.3]. */
export class Handshake implements StreamHandler {
  private readonly stream: Stream;
  private readonly protocol: Amqp10;
  private readonly since: number;
  private state: State = 'awaiting-header';
  private user: string | null = null;
  private mechanism = '';
  private scram: ScramExchange | null = null;
  private hostname = '';

  constructor(stream: Stream, protocol: Amqp10) {
    this.stream = stream;
    this.protocol = protocol;
    this.since = stream.lastReadMs;
  }

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      while (this.stream.handler === this && this.stream.open && !this.stream.held) {
        if (this.state === 'awaiting-header' || this.state === 'awaiting-amqp-header') {
          if (end - at < frameHeadBytes) break;
          this.onProtocolHeader(chunk.subarray(at, at + frameHeadBytes));
          at += frameHeadBytes;
          continue;
        }
        if (end - at < 4) break;
        const size = chunk.readUInt32BE(at);
        // before open is answered nobody may send more than what everybody must take [§2.4.1, §5.3.2]
        if (size < frameHeadBytes || size > Math.max(frameMinBytes, this.protocol.options.frameMax)) {
          throw framingError(`frame of ${size} octets`);
        }
        if (end - at < size) {
          this.stream.want = size;
          break;
        }
        this.onFrame(chunk, at, at + size);
        at += size;
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
    this.protocol.log.info({ peer: this.stream.peer, state: this.state }, 'amqp10: login took too long');
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

  private onProtocolHeader(header: Buffer): void {
    const { anonymous } = this.protocol.options;
    if (this.state === 'awaiting-header' && header.equals(protocolHeaders.sasl)) {
      this.stream.write(protocolHeaders.sasl);
      const mechanisms = mechanismsFor(anonymous, this.stream.certificateName);
      this.stream.write(encodeSaslFrame('saslMechanisms', { mechanisms }));
      this.state = 'awaiting-init';
      return;
    }
    if (header.equals(protocolHeaders.amqp) && (this.user !== null || anonymous)) {
      this.stream.write(protocolHeaders.amqp);
      this.state = 'awaiting-open';
      return;
    }
    // [§2.2] what we do not speak is answered with what we do, and the connection closed
    this.protocol.log.info({ peer: this.stream.peer }, 'amqp10: not a protocol header that is spoken here');
    this.stream.write(this.user === null ? protocolHeaders.sasl : protocolHeaders.amqp);
    this.stream.end();
  }

  private onFrame(chunk: Buffer, at: number, end: number): void {
    const bodyAt = at + chunk[at + 4]! * 4;
    if (bodyAt < at + frameHeadBytes || bodyAt > end) throw framingError('data offset is not within the frame');
    const type = chunk[at + 5]!;
    if (bodyAt === end) return; // a sign of life
    const decoder = new Decoder(chunk, bodyAt, end);
    const performative = decodePerformative(decoder);
    const expected = this.state === 'awaiting-open' || this.state === 'closing' ? FrameType.amqp : FrameType.sasl;
    if (type !== expected) throw framingError(`frame of type ${type} in state ${this.state}`);
    switch (this.state) {
      case 'awaiting-init':
        if (performative.is === 'saslInit') return this.onInit(performative);
        break;
      case 'awaiting-response':
        if (performative.is === 'saslResponse') return this.onResponse(performative.response);
        break;
      case 'awaiting-open':
        if (performative.is !== 'open') break;
        // [§2.4.1]
        if (chunk.readUInt16BE(at + 6) !== 0) throw framingError('open on another channel than 0');
        return this.onOpen(performative);
      case 'closing':
        if (performative.is === 'close') this.stream.end();
        return;
      case 'awaiting-header':
      case 'authenticating':
      case 'awaiting-amqp-header':
      case 'closed':
        break;
    }
    throw framingError(`${performative.is} in state ${this.state}`);
  }

  private onInit(init: Composite & { is: 'saslInit' }): void {
    const { options, broker, log } = this.protocol;
    this.mechanism = init.mechanism;
    this.hostname = init.hostname ?? '';
    const response = init.initialResponse ?? Buffer.alloc(0);
    const peer = { address: this.stream.remoteAddress, protocol: 'amqp' };
    if (init.mechanism === scramMechanism) {
      this.scram = new ScramExchange(broker.authenticator, peer);
      const challenge = this.scram.first(response);
      return challenge === null ? this.outcome(null) : this.challenge(challenge);
    }
    const isOffered = init.mechanism !== 'ANONYMOUS' || options.anonymous;
    const credentials = isOffered ? readCredentials(init.mechanism, response, this.stream.certificateName) : null;
    if (credentials === null) {
      log.info({ peer: this.stream.peer, mechanism: init.mechanism }, 'amqp10: refused: mechanism or response');
      return this.outcome(null);
    }
    this.state = 'authenticating';
    this.stream.hold();
    broker.authenticator.authenticate(credentials, peer).then(
      (user) => {
        if (this.state !== 'authenticating') return;
        if (user === null) {
          log.info(
            { peer: this.stream.peer, user: credentials.user, protocol: 'amqp10' },
            'refused: wrong credentials',
          );
        }
        this.outcome(user);
        this.stream.release();
      },
      (error) => {
        log.error({ peer: this.stream.peer, error }, 'amqp10: authentication failed by a fault of ours');
        this.stream.write(encodeSaslFrame('saslOutcome', { code: SaslCode.sys }));
        this.stream.end();
      },
    );
  }

  private challenge(challenge: Buffer): void {
    this.stream.write(encodeSaslFrame('saslChallenge', { challenge }));
    this.state = 'awaiting-response';
  }

  private onResponse(response: Buffer): void {
    const success = this.scram?.final(response) ?? null;
    this.outcome(success?.user ?? null, success?.serverFinal);
  }

  private outcome(user: string | null, additionalData?: Buffer): void {
    const code = user === null ? SaslCode.auth : SaslCode.ok;
    this.stream.write(encodeSaslFrame('saslOutcome', { code, additionalData }));
    this.user = user;
    this.state = 'awaiting-amqp-header';
    if (user === null) this.stream.end();
  }

  private onOpen(open: Composite & { is: 'open' }): void {
    if (this.user !== null) return this.enter(open, this.user);
    // without SASL: whoever comes is anonymous [§5.3: a server may do without]
    this.mechanism = 'ANONYMOUS';
    this.state = 'authenticating';
    this.stream.hold();
    const peer = { address: this.stream.remoteAddress, protocol: 'amqp' };
    const credentials = { mechanism: 'ANONYMOUS', user: '', password: '' } as const;
    this.protocol.broker.authenticator
      .authenticate(credentials, peer)
      .then((user) => {
        if (this.state !== 'authenticating') return;
        this.state = 'awaiting-open';
        if (user === null) throw new AmqpError(ErrorCondition.unauthorizedAccess, 'connection', 'SASL is required');
        this.enter(open, user);
      })
      .catch((error) => this.fail(error))
      .finally(() => this.stream.release());
  }

  private enter(open: Composite & { is: 'open' }, user: string): void {
    const { broker, options } = this.protocol;
    const vhost = broker.vhosts.get(this.vhostOf(open));
    if (vhost === undefined) {
      throw new AmqpError(ErrorCondition.notFound, 'connection', `vhost '${this.vhostOf(open)}' not found`);
    }
    const access = broker.authenticator.findAccess(user, vhost.name);
    if (access === null) {
      throw new AmqpError(
        ErrorCondition.unauthorizedAccess,
        'connection',
        `access to vhost '${vhost.name}' refused for user '${user}'`,
      );
    }
    broker.demandRoom(user, vhost);
    const frameMax = open.maxFrameSize ?? 0xffff_ffff;
    if (frameMax < frameMinBytes) {
      throw new AmqpError(
        ErrorCondition.frameSizeTooSmall,
        'connection',
        `max-frame-size (${frameMax}) < minimum maximum frame size (${frameMinBytes})`,
      );
    }
    const idleMs = open.idleTimeout ?? 0;
    if (idleMs > 0 && idleMs < idleMinMs) {
      throw new AmqpError(
        ErrorCondition.notAllowed,
        'connection',
        `idle-time-out (${idleMs} ms) < minimum idle-time-out (${idleMinMs} ms)`,
      );
    }
    const isSole = open.desiredCapabilities?.includes(soleConnection) ?? false;
    if (isSole) this.demandSole(open.containerId, user, vhost.name);
    this.stream.write(encodeFrame(0, 'open', this.ownOpen()));
    this.protocol.handshakes.delete(this);
    this.state = 'closed';
    this.stream.handler = new Connection(this.stream, this.protocol, {
      user,
      vhost,
      access,
      mechanism: this.mechanism,
      containerId: open.containerId,
      frameMax,
      channelMax: Math.min(open.channelMax ?? 0xffff, options.sessionsMax - 1),
      idleMs,
      properties: open.properties ?? new AmqpMap([]),
    });
  }

  private vhostOf(open: Composite & { is: 'open' }): string {
    for (const name of [open.hostname ?? '', this.hostname]) {
      if (name.startsWith(vhostPrefix)) return name.slice(vhostPrefix.length);
    }
    return this.protocol.options.vhost;
  }

  // As JMS clients ask for it, so that a client id is one connection's.
  private demandSole(container: string, user: string, vhost: string): void {
    for (const other of this.protocol.connections) {
      if (other.containerId !== container || other.user !== user || other.vhost.name !== vhost) continue;
      throw new SoleConnectionError(`container '${container}' has a connection already`);
    }
  }

  private ownOpen(): Values<'open'> {
    const { options } = this.protocol;
    return {
      containerId: 'rosettamq',
      maxFrameSize: options.frameMax,
      channelMax: options.sessionsMax - 1,
      ...(options.heartbeatSeconds > 0 ? { idleTimeout: options.heartbeatSeconds * 1000 } : {}),
      offeredCapabilities,
      properties: new AmqpMap([
        [symbol('product'), options.product],
        [symbol('version'), rabbitMqVersion],
        [symbol('product_version'), options.version],
        [symbol('platform'), 'Node.js'],
        [symbol('node'), nodeName],
      ]),
    };
  }

  private fail(error: unknown): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    const { condition, message } = toAmqpError(error);
    if (condition === ErrorCondition.internalError && !(error instanceof BrokerError)) {
      this.protocol.log.error({ peer: this.stream.peer, error }, 'amqp10: handshake failed by a fault of ours');
    } else this.protocol.log.info({ peer: this.stream.peer, condition, reason: message }, 'amqp10: handshake refused');
    const isOpen = this.state === 'awaiting-open' || (this.state === 'authenticating' && this.user !== null);
    this.state = 'closing';
    if (!isOpen) return this.stream.end();
    const info: [Any, Any][] =
      error instanceof SoleConnectionError ? [[symbol('invalid-field'), symbol('container-id')]] : [];
    // [§2.4.3] a close follows an open; the hint tells JMS clients that it follows at once
    const hint = new AmqpMap([[symbol('amqp:connection-establishment-failed'), true]]);
    this.stream.write(encodeFrame(0, 'open', { ...this.ownOpen(), properties: hint }));
    const values = { condition, description: message, ...(info.length > 0 ? { info: new AmqpMap(info) } : {}) };
    this.stream.write(encodeFrame(0, 'close', { error: values }));
    // where the frames begin is not known any longer: there will be no close to read
    if (condition === ErrorCondition.framingError || condition === ErrorCondition.decodeError) this.stream.end();
  }
}

/** Whose features these are: RabbitMQ's clients for 1.0 leave a broker that says less than 4.0. */
const rabbitMqVersion = '4.2.0';
const soleConnection = 'sole-connection-for-container';
const offeredCapabilities = ['ANONYMOUS-RELAY', 'SHARED-SUBS', 'DELAYED_DELIVERY', soleConnection, 'LINK_PAIR_V1_0'];

class SoleConnectionError extends AmqpError {
  constructor(text: string) {
    super(ErrorCondition.invalidField, 'connection', text);
  }
}

function framingError(text: string): AmqpError {
  return new AmqpError(ErrorCondition.framingError, 'connection', text);
}
