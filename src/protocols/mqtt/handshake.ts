import type { Peer } from '../../core/auth.ts';
import { BrokerError } from '../../core/errors.ts';
import { ScramExchange, scramMechanism } from '../../core/scram.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { auth, type Listener, refusal } from './answers.ts';
import { type Connect, readConnect, readVersion, UnsupportedLevel } from './connect.ts';
import { Connection } from './connection.ts';
import { head, isPadded, malformed, Reader, readHead } from './decode.ts';
import { readAuth, readDisconnect } from './incoming.ts';
import { PacketType, type Version } from './packet.ts';
import { PropertyId } from './properties.ts';
import type { Mqtt } from './protocol.ts';
import { codeOf, ProtocolError, ReasonCode } from './reason-code.ts';
import { isPublishable } from './topic.ts';
import { mayPublishWill, ruledWill, willOf, willWithClientId } from './will.ts';

type State = 'awaiting-connect' | 'authenticating' | 'awaiting-auth' | 'done';

/** Characters of a client id of MQTT 3.1. */
const oldClientIdMax = 23;

/** What a CONNECT has proved. */
interface Proven {
  readonly user: string;
  readonly vhostName: string;
  readonly mechanism: string;
  /** The server's own, of enhanced authentication. */
  readonly proof: Buffer | null;
}

/** A stranger takes no more memory than this: room for five fields of 64 KiB, and properties. */
const strangerBytes = 512 * 1024;

/** A connection until its CONNECT is answered: then a `Connection` takes the stream over, or it is closed. */
export class Handshake implements StreamHandler {
  private readonly stream: Stream;
  private readonly door: Mqtt;
  private readonly sinceMs: number;
  private state: State = 'awaiting-connect';
  private version: Version = 4;
  private isBridge = false;
  private listener: Listener = { version: 4, packetMax: Number.POSITIVE_INFINITY, problemInformation: true };
  /** Enhanced authentication is under way, for this CONNECT. */
  private exchange: { readonly scram: ScramExchange; readonly connect: Connect; vhost: string; begun: boolean } | null =
    null;

  constructor(stream: Stream, door: Mqtt) {
    this.stream = stream;
    this.door = door;
    this.sinceMs = stream.lastReadMs;
  }

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      while (end - at >= 2 && this.stream.handler === this && !this.stream.held) {
        if (this.state === 'awaiting-connect' && chunk[at]! !== PacketType.connect << 4) {
          throw new ProtocolError(ReasonCode.protocolError, 'the first packet is not CONNECT'); // [MQTT-3.1.0-1]
        }
        readHead(chunk, at, end);
        if (head.bytes === 0) break;
        const body = at + head.bytes;
        const next = body + head.remaining;
        if (next - at > Math.min(strangerBytes, this.door.options.packetBytes)) {
          throw new ProtocolError(ReasonCode.packetTooLarge, `packet of ${next - at} octets`);
        }
        if (next > end) {
          this.stream.want = next - at;
          break;
        }
        const first = chunk[at]!;
        at = next;
        this.onPacket(first, new Reader(chunk, body, next));
      }
    } catch (error) {
      this.fail(error);
      return end;
    }
    return this.state === 'done' && this.stream.handler === this ? end : at;
  }

  private onPacket(first: number, reader: Reader): void {
    this.door.packetsIn += 1;
    if (this.state === 'awaiting-connect') return this.onConnect(reader);
    // [MQTT-3.1.2-30] nothing else comes before CONNACK
    switch (first) {
      case PacketType.auth << 4:
        return this.onAuth(reader);
      case PacketType.disconnect << 4:
        readDisconnect(reader, this.version);
        return this.finish();
      default:
        throw new ProtocolError(ReasonCode.protocolError, `packet 0x${first.toString(16)} during authentication`);
    }
  }

  private onConnect(reader: Reader): void {
    this.door.connects += 1;
    const { version, isBridge } = readVersion(reader);
    this.version = version;
    this.isBridge = isBridge;
    this.listener = { ...this.listener, version: this.version };
    if (this.version === 5 && isPadded()) throw malformed('remaining length is longer than it needs to be');
    const connect = readConnect(reader, this.version);
    const { values } = connect.properties;
    this.listener = {
      version: this.version,
      packetMax: Number(values.get(PropertyId.maximumPacketSize) ?? Number.POSITIVE_INFINITY),
      problemInformation: values.get(PropertyId.requestProblemInformation) !== 0,
    };
    const { clientId, cleanStart } = connect;
    if (clientId === '' && this.version < 5 && (!cleanStart || this.version === 3)) {
      return this.refuse(ReasonCode.clientIdentifierNotValid, 'empty client id'); // [3.1.1 MQTT-3.1.3-8]
    }
    if (this.version === 3 && clientId.length > oldClientIdMax) {
      return this.refuse(ReasonCode.clientIdentifierNotValid, 'client id of more than 23 characters'); // [MQTT 3.1 §3.1]
    }
    if (connect.will !== undefined && !isPublishable(connect.will.topic)) {
      return this.refuse(ReasonCode.topicNameInvalid, `will topic '${connect.will.topic}'`);
    }
    const method = values.get(PropertyId.authenticationMethod);
    if (typeof method === 'string') this.beginExchange(connect, method);
    else this.checkPassword(connect);
  }

  // — a name and a password ———————————————————————————————————————————————————————————————————————————————————————

  private checkPassword(connect: Connect): void {
    const { certificateName } = this.stream;
    const { credentials, vhost } = this.door.credentialsOf(connect.user, connect.password, certificateName);
    if (credentials === null) return this.refuse(ReasonCode.notAuthorized, 'no user name');
    this.state = 'authenticating';
    this.stream.hold();
    this.door.broker.authenticator
      .authenticate(credentials, this.peer)
      .then((user) => {
        if (this.state !== 'authenticating') return;
        if (user !== null)
          this.admit(connect, { user, vhostName: vhost, mechanism: credentials.mechanism, proof: null });
        else this.refuse(ReasonCode.badUserNameOrPassword, `wrong credentials of '${credentials.user}'`);
      })
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.stream.release());
  }

  private get peer(): Peer {
    return { address: this.stream.remoteAddress, protocol: 'mqtt' };
  }

  // — enhanced authentication [MQTT 5.0 §4.12] ————————————————————————————————————————————————————————————————————

  private beginExchange(connect: Connect, method: string): void {
    if (method !== scramMechanism) {
      return this.refuse(ReasonCode.badAuthenticationMethod, `authentication method '${method}'`); // [MQTT-4.12.0-1]
    }
    const scram = new ScramExchange(this.door.broker.authenticator, this.peer);
    const { vhost } = this.door.splitUser(connect.user ?? '');
    this.exchange = { scram, connect, vhost, begun: false };
    this.state = 'awaiting-auth';
    const data = connect.properties.values.get(PropertyId.authenticationData);
    if (Buffer.isBuffer(data)) this.onData(data);
    else this.sendAuth(Buffer.alloc(0)); // the client speaks first, and is asked to
  }

  private onAuth(reader: Reader): void {
    const { code, method, data } = readAuth(reader);
    if (code !== ReasonCode.continueAuthentication || method !== scramMechanism) {
      throw new ProtocolError(ReasonCode.protocolError, `AUTH 0x${code.toString(16)} of method '${method}'`); // [MQTT-4.12.0-3]
    }
    this.onData(data);
  }

  private onData(data: Buffer): void {
    const exchange = this.exchange!;
    const { scram, connect } = exchange;
    if (!exchange.begun) {
      exchange.begun = true;
      const answer = scram.first(data, (name) => {
        const { user, vhost } = this.door.splitUser(name);
        if (name !== user) exchange.vhost = vhost;
        return user;
      });
      if (answer === null) return this.refuse(ReasonCode.notAuthorized, 'no client-first-message');
      return this.sendAuth(answer);
    }
    const success = scram.final(data);
    if (success === null) return this.refuse(ReasonCode.notAuthorized, 'authentication failed'); // [MQTT-4.12.0-4]
    const { user, serverFinal: proof } = success;
    this.admit(connect, { user, vhostName: exchange.vhost, mechanism: scramMechanism, proof });
  }

  private sendAuth(data: Buffer): void {
    const told = auth(ReasonCode.continueAuthentication, scramMechanism, data);
    if (told.length > this.listener.packetMax) return this.refuse(ReasonCode.packetTooLarge, 'AUTH is too large'); // [MQTT-3.1.2-24]
    this.door.packetsOut += 1;
    this.stream.write(told); // [MQTT-4.12.0-2] [MQTT-4.12.0-5]
  }

  // — what follows ————————————————————————————————————————————————————————————————————————————————————————————————

  private admit(connect: Connect, { user, vhostName, mechanism, proof }: Proven): void {
    const { broker } = this.door;
    const vhost = broker.vhosts.get(vhostName);
    const access = vhost === undefined ? null : broker.authenticator.findAccess(user, vhost.name);
    if (vhost === undefined || access === null) {
      return this.refuse(ReasonCode.notAuthorized, `user '${user}' may not open vhost '${vhostName}'`);
    }
    try {
      broker.demandRoom(user, vhost);
      broker.demandChannel(user); // a connection has one, as the API shows it
    } catch (error) {
      if (error instanceof BrokerError) return this.refuse(codeOf[error.condition], error.message);
      throw error;
    }
    const clientId = connect.clientId === '' ? this.door.generateClientId() : connect.clientId;
    const rules = this.version === 5 ? null : this.door.deviceRulesOf(vhost);
    const own = willOf(connect, user, clientId);
    const ruled = own === null || rules === null ? own : ruledWill(own, vhost, this.door.options.exchange, rules);
    const will = ruled === null || !this.door.options.clientIdHeader ? ruled : willWithClientId(ruled);
    if (will !== null && !mayPublishWill(will, vhost, this.door.options.exchange, access)) {
      return this.refuse(ReasonCode.notAuthorized, `user '${user}' may not publish to '${will.topic}'`);
    }
    if (!this.door.mayTakeSession(vhost, connect, clientId, access)) {
      return this.refuse(ReasonCode.notAuthorized, `user '${user}' may not take session '${clientId}'`);
    }
    this.state = 'done';
    this.door.handshakes.delete(this);
    const { listener, isBridge } = this;
    const connection = new Connection(this.stream, this.door, {
      listener,
      clientId,
      will,
      user,
      vhost,
      access,
      mechanism,
      isBridge,
    });
    this.door.connections.add(connection);
    this.stream.handler = connection;
    connection.open(connect, proof);
  }

  private refuse(code: ReasonCode, reason: string): void {
    this.door.log.info({ peer: this.stream.peer, protocol: 'mqtt', code, reason }, 'refused');
    const told = refusal(this.listener, code, reason);
    if (told !== null && told.length <= this.listener.packetMax) {
      this.door.packetsOut += 1;
      this.stream.write(told);
    }
    this.finish();
  }

  private fail(error: unknown): void {
    if (this.state === 'done') return;
    const isOurs = !(error instanceof ProtocolError) && !(error instanceof BrokerError);
    if (isOurs) this.door.log.error({ peer: this.stream.peer, error }, 'mqtt: a fault of ours');
    if (error instanceof UnsupportedLevel) this.listener = { ...this.listener, version: error.level < 5 ? 4 : 5 };
    const code = error instanceof ProtocolError ? error.code : ReasonCode.unspecifiedError;
    this.refuse(code, (error as Error).message); // 3.1.1 has no word for what is malformed [3.1.1 MQTT-3.1.4-1]
  }

  private finish(): void {
    this.gone();
    this.stream.end();
  }

  private gone(): void {
    this.state = 'done';
    this.door.handshakes.delete(this);
    this.door.count(this.stream);
  }

  onClose(): void {
    if (this.state !== 'done') this.gone();
  }

  onDrain(): void {}

  onFlush(): void {}

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (nowMs - this.sinceMs < this.door.options.loginTimeoutMs) return;
    this.door.log.info({ peer: this.stream.peer }, 'mqtt: login took too long');
    this.finish();
  }

  /** The server stops: there is nothing to say before CONNACK [MQTT-3.14.0-1]. */
  stop(): void {
    this.finish();
  }
}
