import type { Access, Credentials } from '../../core/auth.ts';
import type { Client } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { PublishReceipt } from '../../core/journal.ts';
import { Message, noDeaths } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { aliasTopicPrefix } from '../../core/reply.ts';
import type { Vhost } from '../../core/vhost.ts';
import { emptyBuffer, startsWith } from '../../lib/bytes.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { type Connect, readConnect, UnsupportedLevel } from './connect.ts';
import { malformed, Reader } from './decode.ts';
import { packet, writePublish, writeShortAck } from './encode.ts';
import { mqtt3Format, mqtt5Format } from './message.ts';
import { PacketType, pingresp, type Version } from './packet.ts';
import { PropertyId, PropertyWriter, PublishFacts, readProperties } from './properties.ts';
import type { Mqtt } from './protocol.ts';
import { codeOf, ProtocolError, ReasonCode, returnCodeOf } from './reason-code.ts';
import type { Session, Subscription } from './session.ts';
import { isFilter, isTopicName, toRoutingKey } from './topic.ts';

type State = 'awaiting-connect' | 'authenticating' | 'open' | 'closed';

const facts = new PublishFacts();

/** One network connection, from CONNECT to its end. */
export class Connection implements StreamHandler, Client, PublishReceipt {
  readonly protocol: string = 'mqtt';
  readonly id: string;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  user = '';
  version: Version = 4;
  /** PUBLISH packets of QoS 0 that a full outbox had no room for. */
  dropped = 0;

  private readonly door: Mqtt;
  private state: State = 'awaiting-connect';
  private opened: { vhost: Vhost; access: Access; session: Session } | null = null;
  private keepAliveSeconds = 0;
  /** The peer's receive maximum: deliveries of QoS > 0 that may wait for their acknowledgement. */
  private receiveMaximum = 0;
  private packetMax = Number.POSITIVE_INFINITY;
  private sessionExpirySeconds = 0;

  private lastTopic: Buffer = emptyBuffer;
  private lastTopicBytes = -1;
  private lastRoute: Route | null = null;

  constructor(stream: Stream, door: Mqtt) {
    this.stream = stream;
    this.door = door;
    this.id = door.nextConnectionId();
    this.peer = stream.peer;
    this.connectedAtMs = stream.lastReadMs;
  }

  get vhost(): Vhost {
    return this.get().vhost;
  }

  get access(): Access {
    return this.get().access;
  }

  get subscriber(): object {
    return this.get().session;
  }

  get session(): Session {
    return this.get().session;
  }

  private get(): { vhost: Vhost; access: Access; session: Session } {
    if (this.opened === null) throw new Error('the connection is not open');
    return this.opened;
  }

  // — packets in ——————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      while (end - at >= 2 && this.state !== 'closed' && !this.stream.held) {
        let remaining = chunk[at + 1]!;
        let head = 2;
        if (remaining >= 128) {
          remaining = -1;
          head = readLength(chunk, at, end);
          if (head === 0) break;
          remaining = lengthRead;
        }
        if (head + remaining > this.door.options.packetBytes) {
          throw new ProtocolError(ReasonCode.packetTooLarge, `packet of ${head + remaining} octets`);
        }
        const next = at + head + remaining;
        if (this.state === 'awaiting-connect' && chunk[at]! >> 4 !== PacketType.connect) {
          throw new ProtocolError(ReasonCode.protocolError, 'the first packet is not CONNECT'); // [MQTT-3.1.0-1]
        }
        if (next > end) {
          this.stream.want = next - at;
          break;
        }
        this.onPacket(chunk, at, at + head, next);
        at = next;
      }
    } catch (error) {
      this.fail(error);
      return end;
    }
    return this.state === 'closed' ? end : at;
  }

  private onPacket(chunk: Buffer, at: number, body: number, next: number): void {
    const first = chunk[at]!;
    switch (first >> 4) {
      case PacketType.publish:
        return this.onPublish(chunk, body, next, first);
      case PacketType.puback:
        return this.onPuback(new Reader(chunk, body, next), first);
      case PacketType.pingreq:
        if (first !== PacketType.pingreq << 4 || body !== next) throw malformed('PINGREQ is not of its form');
        this.stream.write(pingresp);
        return;
    }
    const reader = new Reader(chunk, body, next);
    switch (first) {
      case PacketType.connect << 4:
        return this.onConnect(reader);
      case (PacketType.subscribe << 4) | 2:
        return this.onSubscribe(reader);
      case (PacketType.unsubscribe << 4) | 2:
        return this.onUnsubscribe(reader);
      case PacketType.disconnect << 4:
        return this.onDisconnect(reader);
      default:
        throw malformed(`packet 0x${first.toString(16)} has no place here`);
    }
  }

  // — CONNECT —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onConnect(reader: Reader): void {
    if (this.state !== 'awaiting-connect') throw new ProtocolError(ReasonCode.protocolError, 'a second CONNECT'); // [MQTT-3.1.0-2]
    const connect = readConnect(reader);
    this.version = connect.version;
    if (connect.clientId === '' && connect.version < 5 && (!connect.cleanStart || connect.version === 3)) {
      return this.refuse(ReasonCode.clientIdentifierNotValid, 'empty client id'); // [MQTT-3.1.3-8] of 3.1.1
    }
    if (connect.properties.values.has(PropertyId.authenticationMethod)) {
      return this.refuse(ReasonCode.badAuthenticationMethod, 'no enhanced authentication');
    }
    const { credentials, vhost } = this.door.credentialsOf(connect.user, connect.password);
    if (credentials === null) return this.refuse(ReasonCode.notAuthorized, 'no user name');
    this.state = 'authenticating';
    this.stream.hold();
    this.authenticate(connect, credentials, vhost)
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.stream.release());
  }

  private async authenticate(connect: Connect, credentials: Credentials, vhostName: string): Promise<void> {
    const { broker } = this.door;
    const peer = { address: this.stream.remoteAddress, protocol: 'mqtt' };
    const user = await broker.authenticator.authenticate(credentials, peer);
    if (this.state !== 'authenticating') return;
    if (user === null)
      return this.refuse(ReasonCode.badUserNameOrPassword, `wrong credentials of '${credentials.user}'`);
    const vhost = broker.vhosts.get(vhostName);
    const access = vhost === undefined ? null : broker.authenticator.findAccess(user, vhost.name);
    if (vhost === undefined || access === null) {
      return this.refuse(ReasonCode.notAuthorized, `user '${user}' may not open vhost '${vhostName}'`);
    }
    this.user = user;
    this.open(connect, vhost, access);
  }

  private open(connect: Connect, vhost: Vhost, access: Access): void {
    const { door } = this;
    const { values } = connect.properties;
    const clientId = connect.clientId === '' ? door.generateClientId() : connect.clientId;
    this.keepAliveSeconds = connect.keepAliveSeconds;
    this.sessionExpirySeconds = connect.sessionExpirySeconds;
    this.receiveMaximum = Math.min(Number(values.get(PropertyId.receiveMaximum) ?? 65_535), door.options.inflightMax);
    this.packetMax = Number(values.get(PropertyId.maximumPacketSize) ?? Number.POSITIVE_INFINITY);
    if (this.receiveMaximum === 0 || this.packetMax === 0) {
      throw new ProtocolError(ReasonCode.protocolError, 'receive maximum or maximum packet size 0');
    }
    const { session, present } = door.takeSession(vhost, clientId, connect.cleanStart, connect.sessionExpirySeconds);
    this.opened = { vhost, access, session };
    this.state = 'open';
    door.broker.addClient(this);
    door.log.info({ peer: this.peer, user: this.user, vhost: vhost.name, protocol: 'mqtt', clientId }, 'connected');
    const connack = this.connack(ReasonCode.success, present, connect.clientId === '' ? clientId : null);
    this.afterDurable(() => {
      this.stream.write(connack);
      session.attach(this);
    });
  }

  private connack(code: ReasonCode, present: boolean, assignedId: string | null): Buffer {
    if (this.version < 5) return Buffer.from([PacketType.connack << 4, 2, present ? 1 : 0, returnCodeOf(code)]);
    const properties = new PropertyWriter();
    if (code === ReasonCode.success) {
      properties.octet(PropertyId.maximumQos, 1);
      properties.octet(PropertyId.retainAvailable, 0);
      properties.octet(PropertyId.sharedSubscriptionAvailable, 0);
      properties.long(PropertyId.maximumPacketSize, this.door.options.packetBytes);
      if (assignedId !== null) properties.text(PropertyId.assignedClientIdentifier, assignedId);
    }
    return packet(PacketType.connack << 4, Buffer.from([present ? 1 : 0, code]), properties.endBlock());
  }

  private refuse(code: ReasonCode, reason: string): void {
    this.door.log.info({ peer: this.peer, protocol: 'mqtt', code, reason }, 'refused');
    this.stream.write(this.connack(code, false, null));
    this.finish('');
  }

  // — PUBLISH —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onPublish(chunk: Buffer, body: number, next: number, first: number): void {
    const qos = (first >> 1) & 3;
    if (qos === 3) throw malformed('QoS 3'); // [MQTT-3.3.1-4]
    if (qos === 2) throw new ProtocolError(ReasonCode.qosNotSupported, 'QoS 2');
    if (qos === 0 && (first & 8) !== 0) throw malformed('DUP with QoS 0'); // [MQTT-3.3.1-2]
    if (next - body < 2) throw malformed('packet is cut');
    const topicBytes = (chunk[body]! << 8) | chunk[body + 1]!;
    let position = body + 2 + topicBytes;
    let packetId = 0;
    if (qos > 0) {
      packetId = ((chunk[position] ?? 0) << 8) | (chunk[position + 1] ?? 0);
      position += 2;
    }
    if (position > next) throw malformed('packet is cut');
    if (qos > 0 && packetId === 0) throw malformed('packet id 0'); // [MQTT-2.2.1-3]
    let route = this.lastRoute;
    if (
      route === null ||
      topicBytes !== this.lastTopicBytes ||
      !startsWith(chunk, body + 2, this.lastTopic, topicBytes) ||
      !this.vhost.current(route)
    ) {
      route = this.findRoute(chunk, body + 2, topicBytes);
    }
    let nativeStart = position;
    let expiresAtMs = 0;
    if (this.version === 5) {
      const reader = new Reader(chunk, position, next);
      const length = reader.varint();
      nativeStart = reader.at;
      position = nativeStart + length;
      if (position > next) throw malformed('packet is cut');
      facts.read(chunk, nativeStart, position);
      if (facts.topicAlias !== 0)
        throw new ProtocolError(ReasonCode.topicAliasInvalid, 'topic alias above the maximum'); // [MQTT-3.3.2-9]
      if (facts.expirySeconds >= 0) expiresAtMs = this.door.broker.nowMs + facts.expirySeconds * 1000;
    }
    const message = new Message({
      format: this.version === 5 ? mqtt5Format : mqtt3Format,
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: qos > 0,
      priority: -1,
      expiresAtMs,
      qos,
      retain: (first & 1) !== 0,
      publisher: this,
      deaths: noDeaths,
      bytes: chunk,
      start: nativeStart,
      end: next,
      nativeStart,
      nativeEnd: position,
      bodyStart: position,
      bodyEnd: next,
    });
    this.vhost.publish(route, message, qos === 0 ? null : this, packetId);
  }

  private findRoute(chunk: Buffer, start: number, bytes: number): Route {
    const topic = new Reader(chunk, start - 2, start + bytes).text();
    if (topic === '' && this.version === 5)
      throw new ProtocolError(ReasonCode.protocolError, 'no topic and no topic alias');
    if (!isTopicName(topic)) throw new ProtocolError(ReasonCode.topicNameInvalid, `topic name '${topic}'`); // [MQTT-3.3.2-2]
    const { vhost } = this;
    const { exchange } = this.door.options;
    const reply = topic.startsWith(aliasTopicPrefix)
      ? vhost.findReplyRoute(topic.slice(aliasTopicPrefix.length))
      : undefined;
    if (reply !== undefined) return reply;
    const key = toRoutingKey(topic);
    vhost.demand(this, 'write', 'exchange', exchange);
    vhost.demand(this, 'write', 'topic', key);
    const route = vhost.routeFor(exchange, key);
    this.lastTopic = Buffer.from(chunk.subarray(start, start + bytes));
    this.lastTopicBytes = bytes;
    this.lastRoute = route;
    return route;
  }

  /** PUBACK: every queue has it, and it is on disk if it is durable. */
  confirmed(packetId: number): void {
    if (this.state === 'open') writeShortAck(this.stream, PacketType.puback, packetId);
  }

  // 3.1.1 has no word for refusal: the connection is closed, and the client publishes again.
  refused(packetId: number, why: Condition): void {
    if (this.state !== 'open') return;
    if (this.version < 5) return this.fail(new ProtocolError(codeOf[why], 'a publish was refused'));
    this.stream.write(Buffer.from([PacketType.puback << 4, 3, packetId >> 8, packetId & 0xff, codeOf[why]]));
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  get hasWindow(): boolean {
    return !this.stream.blocked && this.session.inflight.size < this.receiveMaximum;
  }

  sendPublish(entry: QueueEntry, qos: number, packetId: number): void {
    const { message, match } = entry;
    if (qos === 0 && this.stream.blocked) {
      this.dropped += 1;
      return;
    }
    const written = writePublish(
      this.stream,
      message,
      {
        version: this.version,
        qos,
        retain: message.retain && match?.retainAsPublished === true,
        duplicate: qos > 0 && entry.redelivered,
        packetId,
        subscriptionIds: match?.subscriptionIds ?? [],
        nowMs: this.door.broker.nowMs,
      },
      this.packetMax,
    );
    // [MQTT-3.1.2-25] a packet too large for the peer is not sent, and treated as delivered
    if (!written && qos > 0) this.session.inflight.take(packetId)?.ack();
  }

  private onPuback(reader: Reader, first: number): void {
    if (first !== PacketType.puback << 4) throw malformed('PUBACK flags');
    const entry = this.session.inflight.take(reader.short());
    if (entry === undefined) return;
    entry.ack();
    this.session.wake();
  }

  // — subscriptions ———————————————————————————————————————————————————————————————————————————————————————————————

  private onSubscribe(reader: Reader): void {
    const packetId = this.readPacketId(reader);
    let subscriptionId = 0;
    if (this.version === 5) {
      const { values } = readProperties(reader.part(reader.varint()), [
        PropertyId.subscriptionIdentifier,
        PropertyId.userProperty,
      ]);
      const id = values.get(PropertyId.subscriptionIdentifier);
      if (id === 0) throw new ProtocolError(ReasonCode.protocolError, 'subscription identifier 0');
      subscriptionId = Number(id ?? 0);
    }
    const wanted: Subscription[] = [];
    while (!reader.done) wanted.push(this.readSubscription(reader, subscriptionId));
    if (wanted.length === 0) throw malformed('SUBSCRIBE without a filter'); // [MQTT-3.8.3-2]
    const codes = wanted.map((subscription) => this.subscribe(subscription));
    const properties = this.version === 5 ? [0] : [];
    const suback = packet(
      PacketType.suback << 4,
      Buffer.from([packetId >> 8, packetId & 0xff, ...properties, ...codes]),
    );
    this.afterDurable(() => this.stream.write(suback));
  }

  private readSubscription(reader: Reader, subscriptionId: number): Subscription {
    const filter = reader.text();
    const options = reader.octet();
    const qos = options & 3;
    if (qos === 3 || (options & (this.version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed('subscription options'); // [MQTT-3.8.3-5]
    const retainHandling = (options >> 4) & 3;
    if (retainHandling === 3) throw new ProtocolError(ReasonCode.protocolError, 'retain handling 3');
    return {
      filter,
      qos: Math.min(qos, 1),
      noLocal: (options & 4) !== 0,
      retainAsPublished: (options & 8) !== 0,
      retainHandling,
      subscriptionId,
    };
  }

  /** @returns the reason code of the filter, in the version's words */
  private subscribe(subscription: Subscription): number {
    const failure = (code: ReasonCode): number => (this.version === 5 ? code : 0x80);
    if (!isFilter(subscription.filter)) {
      if (this.version < 5) throw malformed(`topic filter '${subscription.filter}'`);
      return ReasonCode.topicFilterInvalid;
    }
    if (subscription.filter.startsWith('$share/')) return failure(ReasonCode.sharedSubscriptionsNotSupported);
    try {
      const { vhost } = this;
      vhost.demand(this, 'read', 'exchange', this.door.options.exchange);
      vhost.demand(this, 'read', 'topic', toRoutingKey(subscription.filter));
      this.session.subscribe(subscription);
      return subscription.qos;
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.door.log.info(
        { peer: this.peer, filter: subscription.filter, reason: error.message },
        'mqtt: subscription refused',
      );
      return failure(codeOf[error.condition]);
    }
  }

  private onUnsubscribe(reader: Reader): void {
    const packetId = this.readPacketId(reader);
    if (this.version === 5) readProperties(reader.part(reader.varint()), [PropertyId.userProperty]);
    const codes: number[] = [];
    while (!reader.done) {
      const filter = reader.text();
      if (!isFilter(filter) && this.version < 5) throw malformed(`topic filter '${filter}'`);
      codes.push(this.session.unsubscribe(filter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted);
    }
    if (codes.length === 0) throw malformed('UNSUBSCRIBE without a filter'); // [MQTT-3.10.3-2]
    const rest = this.version === 5 ? [0, ...codes] : [];
    const unsuback = packet(PacketType.unsuback << 4, Buffer.from([packetId >> 8, packetId & 0xff, ...rest]));
    this.afterDurable(() => this.stream.write(unsuback));
  }

  private readPacketId(reader: Reader): number {
    const packetId = reader.short();
    if (packetId === 0) throw malformed('packet id 0');
    return packetId;
  }

  // What promises a durable fact waits for it; the packets behind it wait too, so that order is kept.
  private afterDurable(send: () => void): void {
    const { journal } = this.door.broker;
    const position = journal.position;
    if (position <= journal.durable || !this.session.durable) return send();
    this.stream.hold();
    journal.whenDurable(position, () => {
      if (this.state === 'open') send();
      this.stream.release();
    });
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onDisconnect(reader: Reader): void {
    if (this.version === 5 && !reader.done) {
      reader.octet();
      if (!reader.done) {
        const { values } = readProperties(reader.part(reader.varint()), [
          PropertyId.sessionExpiryInterval,
          PropertyId.reasonString,
          PropertyId.userProperty,
          PropertyId.serverReference,
        ]);
        const expiry = values.get(PropertyId.sessionExpiryInterval);
        if (typeof expiry === 'number') {
          if (this.sessionExpirySeconds === 0 && expiry !== 0) {
            throw new ProtocolError(ReasonCode.protocolError, 'session expiry set at DISCONNECT, 0 at CONNECT'); // [MQTT-3.14.2-2]
          }
          this.sessionExpirySeconds = expiry;
        }
      }
    }
    this.finish('closed by the client');
  }

  private fail(error: unknown): void {
    if (this.state === 'closed') return;
    const isOurs = !(error instanceof ProtocolError) && !(error instanceof BrokerError);
    if (isOurs) this.door.log.error({ peer: this.peer, error }, 'mqtt: a fault of ours');
    const code = isOurs
      ? ReasonCode.unspecifiedError
      : error instanceof ProtocolError
        ? error.code
        : codeOf[error.condition];
    const reason = (error as Error).message;
    if (this.state === 'open') {
      this.sendDisconnect(code);
      return this.finish(reason);
    }
    if (error instanceof UnsupportedLevel) {
      this.version = error.level < 5 ? 4 : 5;
      return this.refuse(code, reason);
    }
    this.door.log.info({ peer: this.peer, protocol: 'mqtt', code, reason }, 'refused');
    this.finish('');
  }

  private sendDisconnect(code: ReasonCode): void {
    if (this.version === 5) this.stream.write(Buffer.from([PacketType.disconnect << 4, 1, code]));
  }

  /** From the core, the server, or a session that another connection takes over. */
  close(why: Condition, text: string): void {
    this.closeWith(codeOf[why], text);
  }

  closeWith(code: ReasonCode, text: string): void {
    if (this.state === 'open') this.sendDisconnect(code);
    this.finish(text);
  }

  private finish(reason: string): void {
    if (this.state === 'closed') return;
    this.gone(reason);
    this.stream.end();
  }

  onClose(error: string): void {
    if (this.state !== 'closed') this.gone(error || 'connection lost');
  }

  private gone(reason: string): void {
    const { opened } = this;
    this.state = 'closed';
    this.door.connections.delete(this);
    if (opened === null) return;
    if (opened.session.connection === this) this.door.leaveSession(opened.session, this.sessionExpirySeconds);
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  onDrain(): void {
    if (this.state === 'open') this.session.wake();
  }

  onFlush(): void {}

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (this.state !== 'open') {
      if (nowMs - this.connectedAtMs < this.door.options.loginTimeoutMs) return;
      this.door.log.info({ peer: this.peer }, 'mqtt: login took too long');
      return this.finish('');
    }
    // [MQTT-3.1.2-22] one and a half times the keep alive
    if (this.keepAliveSeconds === 0 || nowMs - this.stream.lastReadMs <= this.keepAliveSeconds * 1500) return;
    this.closeWith(ReasonCode.keepAliveTimeout, 'keep alive timeout');
  }
}

let lengthRead = 0;

/** Remaining length of more than one octet, left in `lengthRead`. @returns octets of the fixed header, 0 if it is cut */
function readLength(chunk: Buffer, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + 1 + i >= end) return 0;
    const octet = chunk[at + 1 + i]!;
    value |= (octet & 127) << (7 * i);
    if (octet < 128) {
      lengthRead = value;
      return 2 + i;
    }
  }
  throw malformed('remaining length of more than four octets');
}
