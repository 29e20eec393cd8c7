import { randomBytes } from 'node:crypto';
import type { Access, Credentials } from '../../core/auth.ts';
import type { Broker } from '../../core/broker.ts';
import { splitKey } from '../../core/definitions.ts';
import { Exchange, type ExchangeSpec } from '../../core/exchange/exchange.ts';
import type { Recovered } from '../../core/journal.ts';
import { type Headers, noHeaders } from '../../core/properties.ts';
import { Retained } from '../../core/retained.ts';
import type { TopicMapping } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Logger } from '../../lib/log.ts';
import type { Protocol } from '../../transport/protocol.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { type Connect, never } from './connect.ts';
import type { Connection } from './connection.ts';
import { type DeviceRule, DeviceRules } from './device-rules.ts';
import { Handshake } from './handshake.ts';
import { ReasonCode } from './reason-code.ts';
import { Reauthentication } from './reauthentication.ts';
import { incomingKind, outgoingKind, Session, type SessionHost, sessionKind } from './session.ts';
import { SharedGroups } from './shared.ts';
import { SystemTopics } from './system-topics.ts';
import { type Spelling, spellingOf } from './topic.ts';
import { publishWill, type Will } from './will.ts';

export interface MqttOptions {
  /** Where topics are published. */
  readonly exchange: string;
  readonly vhost: string;
  /** Octets of a packet. */
  readonly packetBytes: number;
  /** Octets of a message's body. */
  readonly bodyBytes: number;
  /** Deliveries of QoS > 0 in flight to a client that names no receive maximum. */
  readonly inflightMax: number;
  /** Unacknowledged publishes of QoS > 0 that a client may have. */
  readonly receiveMaximum: number;
  /** Topic aliases that a client may use, and that are used toward it at most. */
  readonly topicAliasMaximum: number;
  /** 4294967295: sessions may last for ever. */
  readonly sessionExpiryMaxSeconds: number;
  /** The longest keep alive of an MQTT 5 client; 0 = any. */
  readonly keepAliveMaxSeconds: number;
  readonly loginTimeoutMs: number;
  /** Consumers get no message that their protocol cannot say whole. */
  readonly rejectsLosses: boolean;
  /** A payload that is said to be text must be UTF-8. */
  readonly validatePayloadFormat: boolean;
  /** A CONNECT without user name is let in. */
  readonly anonymous: boolean;
  /** Messages say which client published them. */
  readonly clientIdHeader: boolean;
  /** For clients before MQTT 5. */
  readonly v3: readonly DeviceRule[];
}

export interface SystemOptions {
  /** Between two publications of `$SYS`; 0 = there is no `$SYS`. */
  readonly sysIntervalSeconds: number;
  readonly version: string;
}

export interface SessionsOptions extends SystemOptions {
  readonly exchange: string;
  /** Messages of QoS 0 wait, too, while a session's client is away. */
  readonly keepsQos0: boolean;
  /** Who is not of MQTT grants QoS 1 by persistence, and QoS 2 never. */
  readonly qosFromPersistence: boolean;
  /** Messages that wait in a session's queue at most, 0 = any number: the oldest are dropped. */
  readonly queueLength: number;
}

/** What one virtual host has of MQTT's own. */
class Realm implements SessionHost {
  private readonly vhost: Vhost;
  private readonly topicExchange: ExchangeSpec;
  readonly system: Exchange;
  readonly systemRetained: Retained;
  readonly groups: SharedGroups;
  readonly spelling: Spelling;
  readonly keepsQos0: boolean;
  readonly qosFromPersistence: boolean;
  readonly queueArguments: Headers;
  readonly sessions = new Map<string, Session>();

  constructor(vhost: Vhost, options: SessionsOptions) {
    this.vhost = vhost;
    this.topicExchange = { ...systemExchange, name: options.exchange, durable: true, internal: false };
    this.spelling = spellingOf(vhost.topicMapping);
    this.system = new Exchange(systemExchange);
    this.systemRetained = new Retained(vhost.name, null, unlimited);
    this.keepsQos0 = options.keepsQos0;
    this.qosFromPersistence = options.qosFromPersistence;
    this.queueArguments =
      options.queueLength === 0
        ? noHeaders
        : new Map([['x-max-length', { type: 'long', value: BigInt(options.queueLength) }]]);
    this.groups = new SharedGroups(vhost, this, options.keepsQos0);
  }

  get exchange(): Exchange {
    return this.prepare();
  }

  /** Where topics are published: made where there is none, for its name is the configuration's to choose. */
  prepare(): Exchange {
    const { vhost, topicExchange } = this;
    return vhost.exchanges.get(topicExchange.name) ?? vhost.createExchange(topicExchange);
  }
}

const unlimited = { countMax: Number.POSITIVE_INFINITY, bodyBytesMax: Number.POSITIVE_INFINITY };

// It is in no virtual host's list: only sessions that subscribe to `$SYS` are bound to it.
const systemExchange: ExchangeSpec = {
  name: '$SYS',
  type: 'topic',
  durable: false,
  autoDelete: false,
  internal: true,
  arguments: noHeaders,
};

/** The sessions of a broker, shared by all its MQTT listeners: a client id has one, whichever door it comes through. */
export class Sessions {
  private readonly broker: Broker;
  private readonly options: SessionsOptions;
  private readonly realms = new Map<Vhost, Realm>();
  private readonly system: SystemTopics | null;
  /** The listeners. */
  readonly doors = new Set<Mqtt>();
  /** Sessions that ended because their time was over. */
  expired = 0;

  constructor(broker: Broker, options: SessionsOptions) {
    this.broker = broker;
    this.options = options;
    this.system = options.sysIntervalSeconds > 0 ? new SystemTopics(broker, this, options) : null;
  }

  of(vhost: Vhost): Realm {
    let realm = this.realms.get(vhost);
    if (realm === undefined) {
      realm = new Realm(vhost, this.options);
      this.realms.set(vhost, realm);
    }
    return realm;
  }

  sweep(nowMs: number): void {
    this.system?.sweep(nowMs);
  }

  /** The virtual host is deleted. */
  forget(vhost: Vhost): void {
    const realm = this.realms.get(vhost);
    if (realm === undefined) return;
    for (const session of realm.sessions.values()) {
      session.will = null; // there is nobody left to tell
      session.end();
    }
    this.realms.delete(vhost);
  }

  all(): Iterable<[Vhost, Realm]> {
    return this.realms;
  }

  /** Puts back the sessions that outlived the last run, what they had in flight, and what is to happen to them. */
  async restore(recovered: Recovered): Promise<void> {
    const { broker } = this;
    for (const [key, value] of recovered.entries(sessionKind)) {
      const [vhostName, clientId] = splitKey(key);
      const vhost = broker.vhosts.get(vhostName);
      if (vhost === undefined) continue;
      const realm = this.of(vhost);
      const session = new Session(clientId, vhost, realm, never);
      realm.sessions.set(clientId, session);
      const leftAtMs = session.restore(value);
      session.leftAtMs = leftAtMs === 0 ? broker.nowMs : leftAtMs;
    }
    await this.restoreInflight(recovered);
    for (const realm of this.realms.values()) {
      for (const session of [...realm.sessions.values()]) this.left(session);
    }
    for (const vhost of broker.vhosts.values()) this.of(vhost).groups.removeOrphans();
  }

  private async restoreInflight(recovered: Recovered): Promise<void> {
    const outgoing = new Map<Session, [packetId: number, value: Buffer][]>();
    for (const [key, value] of recovered.entries(outgoingKind)) {
      const { session, packetId } = this.findByKey(key);
      if (session === undefined) continue;
      const items = outgoing.get(session);
      if (items === undefined) outgoing.set(session, [[packetId, value]]);
      else items.push([packetId, value]);
    }
    for (const [session, items] of outgoing) await session.restoreOutgoing(items);
    for (const [key] of recovered.entries(incomingKind)) {
      const { session, packetId } = this.findByKey(key);
      session?.restoreIncoming(packetId);
    }
  }

  private findByKey(key: string): { session: Session | undefined; packetId: number } {
    const [vhostName, rest] = splitKey(key);
    const [clientId, packetId] = splitKey(rest);
    const vhost = this.broker.vhosts.get(vhostName);
    const session = vhost === undefined ? undefined : this.of(vhost).sessions.get(clientId);
    return { session, packetId: Number(packetId) };
  }

  /** The connection is gone: its will is due after its delay, and the session after its expiry. */
  left(session: Session): void {
    const { broker } = this;
    const { will } = session;
    const sinceMs = broker.nowMs - session.leftAtMs;
    if (session.expirySeconds === 0) return this.end(session);
    if (will !== null) {
      const dueMs = will.delaySeconds * 1000 - sinceMs;
      if (dueMs <= 0) this.sendWill(session);
      else session.willTimer = broker.timers.after(dueMs, () => this.sendWill(session));
    }
    if (session.expirySeconds === never) return;
    const dueMs = Math.max(0, session.expirySeconds * 1000 - sinceMs);
    session.expiry = broker.timers.after(dueMs, () => this.expire(session));
  }

  private expire(session: Session): void {
    this.expired += 1;
    this.end(session);
  }

  /** [MQTT-3.1.2-8] with the session's end at the latest */
  end(session: Session): void {
    const { sessions } = this.of(session.vhost);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    if (session.will !== null) this.publishWill(session);
    session.end();
  }

  private sendWill(session: Session): void {
    this.publishWill(session);
    session.save();
  }

  private publishWill(session: Session): void {
    const { will, willPublisher } = session;
    session.will = null;
    session.willPublisher = null;
    session.willTimer?.cancel();
    session.willTimer = null;
    if (will === null) return;
    const { authenticator, log } = this.broker;
    const sent = publishWill(session.vhost, this.options.exchange, will, willPublisher, authenticator);
    if (!sent) log.info({ user: will.user, topic: will.topic }, 'mqtt: a will is refused');
  }
}

/** The door of MQTT 3.1, 3.1.1 and 5.0. */
export class Mqtt implements Protocol {
  readonly name = 'mqtt';
  readonly broker: Broker;
  readonly options: MqttOptions;
  readonly log: Logger;
  readonly handshakes = new Set<Handshake>();
  readonly connections = new Set<Connection>();
  /** Network connections, and CONNECT packets that came. */
  accepted = 0;
  connects = 0;
  /** Packets of any kind that came and went. */
  packetsIn = 0;
  packetsOut = 0;
  /** PUBLISH packets among them, and octets of their payloads. */
  publishedIn = 0;
  publishedOut = 0;
  payloadBytesIn = 0;
  payloadBytesOut = 0;
  /** Of connections that are gone. */
  bytesInBefore = 0;
  bytesOutBefore = 0;
  droppedBefore = 0;
  private readonly sessions: Sessions;
  private readonly deviceRules: Readonly<Record<TopicMapping, DeviceRules>> | null;
  private connectionId = 0;

  constructor(broker: Broker, sessions: Sessions, options: MqttOptions) {
    this.broker = broker;
    this.sessions = sessions;
    this.options = options;
    this.log = broker.log;
    const { v3 } = options;
    const rulesIn = (mapping: TopicMapping) => new DeviceRules(v3, spellingOf(mapping));
    this.deviceRules = v3.length === 0 ? null : { exact: rulesIn('exact'), rabbitmq: rulesIn('rabbitmq') };
    sessions.doors.add(this);
  }

  accept(stream: Stream): StreamHandler {
    this.accepted += 1;
    const handshake = new Handshake(stream, this);
    this.handshakes.add(handshake);
    return handshake;
  }

  /** The connection is gone: its octets are counted on. */
  count({ bytesIn, bytesOut }: Stream): void {
    this.bytesInBefore += bytesIn;
    this.bytesOutBefore += bytesOut;
  }

  reauthenticationOf({ stream, user }: Connection): Reauthentication {
    const peer = { address: stream.remoteAddress, protocol: 'mqtt' };
    return new Reauthentication(this.broker.authenticator, peer, user, (name) => this.splitUser(name).user);
  }

  /** False when the client id has a session that is not for whom `access` is. */
  mayTakeSession(vhost: Vhost, { cleanStart }: Connect, clientId: string, access: Access): boolean {
    return this.sessions.of(vhost).sessions.get(clientId)?.isOpenTo(access, cleanStart) ?? true;
  }

  /** The session of a client id: the one that is there, taken over from its connection, or a new one. */
  takeSession(vhost: Vhost, { cleanStart }: Connect, connection: Connection): { session: Session; present: boolean } {
    const realm = this.sessions.of(vhost);
    realm.prepare();
    const { clientId, expirySeconds } = connection;
    let session = realm.sessions.get(clientId);
    session?.connection?.closeWith(ReasonCode.sessionTakenOver, 'session taken over'); // [MQTT-3.1.4-3]
    session = realm.sessions.get(clientId);
    if (session !== undefined && cleanStart) {
      this.sessions.end(session); // [MQTT-3.1.2-4]
      session = undefined;
    }
    const present = session !== undefined;
    if (session === undefined) {
      session = new Session(clientId, vhost, realm, expirySeconds);
      realm.sessions.set(clientId, session);
    }
    session.expiry?.cancel();
    session.expiry = null;
    session.willTimer?.cancel(); // [MQTT-3.1.3-9] it came back in time
    session.willTimer = null;
    session.expirySeconds = expirySeconds;
    session.connection = connection;
    session.will = connection.will;
    session.save();
    return { session, present };
  }

  /** @param will null when it took its leave */
  leaveSession(session: Session, expirySeconds: number, will: Will | null, publisher: Connection): void {
    session.detach();
    session.expirySeconds = expirySeconds;
    session.will = will;
    session.willPublisher = publisher;
    session.leftAtMs = this.broker.nowMs;
    this.sessions.left(session);
    if (expirySeconds > 0) session.save();
  }

  /** null: the listener has none. */
  deviceRulesOf({ topicMapping }: Vhost): DeviceRules | null {
    return this.deviceRules?.[topicMapping] ?? null;
  }

  systemRetained(vhost: Vhost): Retained {
    return this.sessions.of(vhost).systemRetained;
  }

  /**
   * `vhost:user` names the virtual host [RabbitMQ: MQTT plugin]. Without a name a client is who its certificate says,
   * or anonymous; null credentials: nobody may come so.
   */
  credentialsOf(
    user: string | undefined,
    password: Buffer | undefined,
    certificateName: string,
  ): { credentials: Credentials | null; vhost: string } {
    if (user === undefined && certificateName !== '') {
      return {
        credentials: { mechanism: 'EXTERNAL', user: certificateName, password: '' },
        vhost: this.options.vhost,
      };
    }
    if (user === undefined) {
      const credentials = this.options.anonymous ? ({ mechanism: 'ANONYMOUS', user: '', password: '' } as const) : null;
      return { credentials, vhost: this.options.vhost };
    }
    const { user: name, vhost } = this.splitUser(user);
    return { credentials: { mechanism: 'PLAIN', user: name, password: password?.toString('utf8') ?? '' }, vhost };
  }

  splitUser(name: string): { user: string; vhost: string } {
    const colon = name.lastIndexOf(':');
    return { user: name.slice(colon + 1), vhost: colon < 0 ? this.options.vhost : name.slice(0, colon) };
  }

  generateClientId(): string {
    return `auto-${randomBytes(12).toString('base64url')}`;
  }

  nextConnectionId(): string {
    this.connectionId += 1;
    return `mqtt-${this.connectionId}`;
  }

  sweep(): void {
    const now = this.broker.nowMs;
    for (const handshake of this.handshakes) handshake.sweep(now);
    for (const connection of this.connections) connection.sweep(now);
    this.sessions.sweep(now);
  }

  stop(): void {
    for (const handshake of this.handshakes) handshake.stop();
    for (const connection of this.connections)
      connection.closeWith(ReasonCode.serverShuttingDown, 'server shutting down');
  }
}
