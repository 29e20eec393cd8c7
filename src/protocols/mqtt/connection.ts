import type { Access, Credentials } from '../../core/auth.ts';
import type { ChannelView, Client, ClientView } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Match } from '../../core/exchange/binding.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { Position, PublishReceipt } from '../../core/journal.ts';
import { Message, noDeaths } from '../../core/message.ts';
import { aliasTopicPrefix } from '../../core/reply.ts';
import { copyOf } from '../../core/retained.ts';
import type { Vhost } from '../../core/vhost.ts';
import { emptyBuffer, startsWith } from '../../lib/bytes.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { type Connect, readConnect, readVersion, UnsupportedLevel } from './connect.ts';
import { malformed, Reader } from './decode.ts';
import { Delivery, packet, writePublish, writeShortAck } from './encode.ts';
import type { Outgoing } from './inflight.ts';
import { mqtt3Format, mqtt5Format } from './message.ts';
import { Head, PacketType, pingresp, type Version } from './packet.ts';
import { PropertyId, PropertyWriter, PublishFacts, readProperties } from './properties.ts';
import type { Mqtt } from './protocol.ts';
import { codeOf, ProtocolError, ReasonCode, returnCodeOf } from './reason-code.ts';
import { queueName, type Session } from './session.ts';
import { isSystemFilter, readFilter, retainedMatchOf, type Subscription } from './subscription.ts';
import { findQueueName, isTopicName, toPattern, toRoutingKey } from './topic.ts';
import { TopicAliases } from './topic-alias.ts';
import { readWill, type Will } from './will.ts';

type State = 'awaiting-connect' | 'authenticating' | 'open' | 'closed';

const facts = new PublishFacts();
const delivery = new Delivery();

/** What a confirmation is for, beside the packet id in its low half: one receipt a connection, none a message. */
const Due = {
  puback: 0 << 16,
  /** The message is everybody's; PUBREC waits for the record of its packet id. */
  published: 1 << 16,
  pubrec: 2 << 16,
  pubcomp: 3 << 16,
  /** A delivery whose record is written may leave. */
  transmit: 4 << 16,
} as const;

const ackProperties = [PropertyId.reasonString, PropertyId.userProperty];

// [MQTT-3.14.2-…] a client sends no server reference
const disconnectProperties = [PropertyId.sessionExpiryInterval, PropertyId.reasonString, PropertyId.userProperty];

/** One network connection, from CONNECT to its end. */
export class Connection implements StreamHandler, Client, PublishReceipt {
  readonly protocol: string = 'mqtt';
  readonly id: string;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  user = '';
  private mechanism = '';
  version: Version = 4;
  /** PUBLISH packets of QoS 0 that a full outbox had no room for. */
  dropped = 0;
  private publishedIn = 0;
  private publishedOut = 0;

  private readonly door: Mqtt;
  private state: State = 'awaiting-connect';
  private opened: { vhost: Vhost; access: Access; session: Session } | null = null;
  /** As the client gave it, before the session. */
  clientId = '';
  private keepAliveSeconds = 0;
  /** The peer's receive maximum: deliveries of QoS > 0 that may wait for their acknowledgement. */
  receiveMaximum = 0;
  private packetMax = Number.POSITIVE_INFINITY;
  /** Seconds that the session outlives the connection. */
  expirySeconds = 0;
  /** null once the client has taken its leave. */
  will: Will | null = null;
  private aliases: TopicAliases | null = null;
  /** Reason strings are welcome [MQTT-3.1.2-29]. */
  private problemInformation = true;
  /** QoS 1 publishes that are not acknowledged yet, for our receive maximum. */
  private unconfirmed = 0;
  /** The publish under way reaches nobody. */
  private unmatched = false;

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

  /** CONNECT was accepted, and the end has not come. */
  get isOpen(): boolean {
    return this.state === 'open';
  }

  get session(): Session {
    return this.get().session;
  }

  describe(): ClientView {
    const { stream } = this;
    return {
      protocol: `MQTT ${versionNames[this.version]}`,
      local: stream.local,
      encrypted: stream.encrypted,
      mechanism: this.mechanism,
      state: this.state === 'open' ? 'running' : 'closing',
      channelMax: 1,
      frameMax: this.door.options.packetBytes,
      heartbeatSeconds: this.keepAliveSeconds,
      bytesIn: stream.bytesIn,
      bytesOut: stream.bytesOut,
      properties: new Map([
        ['product', 'MQTT client'],
        ['client_id', this.clientId],
      ]),
    };
  }

  /** One: MQTT has no channels. */
  describeChannels(): ChannelView[] {
    const { session } = this;
    return [
      {
        number: 1,
        state: this.state === 'open' ? 'running' : 'closing',
        consumers: session.consumerCount,
        unacked: session.inflight.size,
        unconfirmed: this.unconfirmed + session.incomingCount,
        prefetch: this.receiveMaximum,
        globalPrefetch: 0,
        confirms: true,
        transactional: false,
        uncommittedMessages: 0,
        uncommittedAcks: 0,
        published: this.publishedIn,
        delivered: this.publishedOut,
      },
    ];
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
      case PacketType.pingreq:
        if (first !== PacketType.pingreq << 4 || body !== next) throw malformed('PINGREQ is not of its form');
        this.stream.write(pingresp);
        return;
    }
    const reader = new Reader(chunk, body, next);
    switch (first) {
      case PacketType.connect << 4:
        return this.onConnect(reader);
      case Head.puback:
        return this.onPuback(reader);
      case Head.pubrec:
        return this.onPubrec(reader);
      case Head.pubrel:
        return this.onPubrel(reader);
      case Head.pubcomp:
        return this.onPubcomp(reader);
      case (PacketType.subscribe << 4) | 2:
        return this.onSubscribe(reader);
      case (PacketType.unsubscribe << 4) | 2:
        return this.onUnsubscribe(reader);
      case PacketType.disconnect << 4:
        return this.onDisconnect(reader);
      case PacketType.auth << 4:
        throw new ProtocolError(ReasonCode.protocolError, 'AUTH without an authentication method'); // [MQTT-4.12.0-6]
      default:
        throw malformed(`packet 0x${first.toString(16)} has no place here`); // [MQTT-2.1.3-1]
    }
  }

  // — CONNECT —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onConnect(reader: Reader): void {
    if (this.state !== 'awaiting-connect') throw new ProtocolError(ReasonCode.protocolError, 'a second CONNECT'); // [MQTT-3.1.0-2]
    this.version = readVersion(reader);
    const connect = readConnect(reader, this.version);
    const { values } = connect.properties;
    this.packetMax = Number(values.get(PropertyId.maximumPacketSize) ?? Number.POSITIVE_INFINITY);
    this.problemInformation = values.get(PropertyId.requestProblemInformation) !== 0;
    if (connect.clientId === '' && connect.version < 5 && (!connect.cleanStart || connect.version === 3)) {
      return this.refuse(ReasonCode.clientIdentifierNotValid, 'empty client id'); // [MQTT-3.1.3-8] of 3.1.1
    }
    if (values.has(PropertyId.authenticationMethod)) {
      return this.refuse(ReasonCode.badAuthenticationMethod, 'no enhanced authentication'); // [MQTT-4.12.0-1]
    }
    if (connect.will !== undefined && !isPublishable(connect.will.topic)) {
      return this.refuse(ReasonCode.topicNameInvalid, `will topic '${connect.will.topic}'`);
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
    try {
      broker.demandRoom(user, vhost);
    } catch (error) {
      if (error instanceof BrokerError) return this.refuse(codeOf[error.condition], error.message);
      throw error;
    }
    this.user = user;
    this.mechanism = credentials.mechanism;
    this.open(connect, vhost, access);
  }

  private open(connect: Connect, vhost: Vhost, access: Access): void {
    const { door } = this;
    const { options } = door;
    const { values } = connect.properties;
    this.will = readWill(connect, this.user);
    if (this.will !== null && !this.mayPublish(access, toRoutingKey(this.will.topic))) {
      return this.refuse(ReasonCode.notAuthorized, `user '${this.user}' may not publish to '${this.will.topic}'`);
    }
    this.clientId = connect.clientId === '' ? door.generateClientId() : connect.clientId;
    // [MQTT-3.2.2-21] who is told another keep alive has it
    const longest = options.keepAliveMaxSeconds;
    const asked = connect.keepAliveSeconds;
    this.keepAliveSeconds = connect.version === 5 && longest > 0 && (asked === 0 || asked > longest) ? longest : asked;
    this.expirySeconds = Math.min(connect.sessionExpirySeconds, options.sessionExpiryMaxSeconds);
    this.receiveMaximum = Math.min(Number(values.get(PropertyId.receiveMaximum) ?? 65_535), options.inflightMax);
    const aliasMax = Number(values.get(PropertyId.topicAliasMaximum) ?? 0);
    if (connect.version === 5 && (aliasMax > 0 || options.topicAliasMaximum > 0)) {
      this.aliases = new TopicAliases(options.topicAliasMaximum, Math.min(aliasMax, options.topicAliasMaximum));
    }
    const { session, present } = door.takeSession(vhost, connect, this);
    this.opened = { vhost, access, session };
    this.state = 'open';
    door.broker.addClient(this);
    door.log.info(
      { peer: this.peer, user: this.user, vhost: vhost.name, protocol: 'mqtt', clientId: this.clientId },
      'connected',
    );
    const connack = this.connack(ReasonCode.success, present, this.connackProperties(connect));
    this.afterDurable(() => {
      this.stream.write(connack);
      session.attach(this);
    });
  }

  private mayPublish(access: Access, routingKey: string): boolean {
    return (
      access.allows('write', 'exchange', this.door.options.exchange) && access.allows('write', 'topic', routingKey)
    );
  }

  private connackProperties(connect: Connect): PropertyWriter {
    const { options } = this.door;
    const properties = new PropertyWriter();
    if (this.expirySeconds !== connect.sessionExpirySeconds) {
      properties.long(PropertyId.sessionExpiryInterval, this.expirySeconds);
    }
    if (options.receiveMaximum < 65_535) properties.short(PropertyId.receiveMaximum, options.receiveMaximum);
    properties.long(PropertyId.maximumPacketSize, options.packetBytes);
    if (connect.clientId === '') properties.text(PropertyId.assignedClientIdentifier, this.clientId); // [MQTT-3.2.2-16]
    if (options.topicAliasMaximum > 0) properties.short(PropertyId.topicAliasMaximum, options.topicAliasMaximum);
    if (this.keepAliveSeconds !== connect.keepAliveSeconds) {
      properties.short(PropertyId.serverKeepAlive, this.keepAliveSeconds);
    }
    if (connect.properties.values.get(PropertyId.requestResponseInformation) === 1) {
      properties.text(PropertyId.responseInformation, `responses/${this.clientId}`);
    }
    return properties;
  }

  private connack(code: ReasonCode, present: boolean, properties: PropertyWriter): Buffer {
    if (this.version < 5) return Buffer.from([PacketType.connack << 4, 2, present ? 1 : 0, returnCodeOf(code)]);
    return packet(PacketType.connack << 4, Buffer.from([present ? 1 : 0, code]), properties.endBlock());
  }

  private refuse(code: ReasonCode, reason: string): void {
    this.door.log.info({ peer: this.peer, protocol: 'mqtt', code, reason }, 'refused');
    const told = this.connack(code, false, new PropertyWriter().text(PropertyId.reasonString, reason));
    const fits = this.version === 5 && this.problemInformation && told.length <= this.packetMax;
    this.stream.write(fits ? told : this.connack(code, false, new PropertyWriter()));
    this.finish('');
  }

  // — PUBLISH —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onPublish(chunk: Buffer, body: number, next: number, first: number): void {
    const qos = (first >> 1) & 3;
    if (qos === 3) throw malformed('QoS 3'); // [MQTT-3.3.1-4]
    if (qos === 0 && (first & 8) !== 0) throw malformed('DUP with QoS 0'); // [MQTT-3.3.1-2]
    if (next - body < 2) throw malformed('packet is cut');
    const topicBytes = (chunk[body]! << 8) | chunk[body + 1]!;
    let position = body + 2 + topicBytes;
    let packetId = 0;
    if (qos > 0) {
      if (position + 2 > next) throw malformed('packet is cut');
      packetId = (chunk[position]! << 8) | chunk[position + 1]!;
      position += 2;
      if (packetId === 0) throw malformed('packet id 0'); // [MQTT-2.2.1-3]
    }
    if (position > next) throw malformed('packet is cut');
    let nativeStart = position;
    let expiresAtMs = 0;
    let alias = 0;
    if (this.version === 5) {
      const reader = new Reader(chunk, position, next);
      const length = reader.varint();
      nativeStart = reader.at;
      position = nativeStart + length;
      if (position > next) throw malformed('packet is cut');
      facts.read(chunk, nativeStart, position);
      alias = facts.topicAlias;
      if (facts.expirySeconds >= 0) expiresAtMs = this.door.broker.nowMs + facts.expirySeconds * 1000;
    }
    let route = this.lastRoute;
    if (alias !== 0) route = this.findAliased(chunk, body + 2, topicBytes, alias);
    else if (
      route === null ||
      topicBytes !== this.lastTopicBytes ||
      !startsWith(chunk, body + 2, this.lastTopic, topicBytes) ||
      !this.vhost.current(route)
    ) {
      route = this.findRoute(chunk, body + 2, topicBytes);
    }
    let bytes = chunk;
    let bodyEnd = next;
    if (alias !== 0) {
      bytes = withoutAlias(chunk, nativeStart, next, facts.topicAliasAt);
      position -= nativeStart + 3;
      bodyEnd = bytes.length;
      nativeStart = 0;
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
      bytes,
      start: nativeStart,
      end: bodyEnd,
      nativeStart,
      nativeEnd: position,
      bodyStart: position,
      bodyEnd,
    });
    this.publishedIn += 1;
    this.door.publishedIn += 1;
    if (qos === 0) this.vhost.publish(route, message, null, 0);
    else this.publishAcknowledged(route, message, packetId);
  }

  private publishAcknowledged(route: Route, message: Message, packetId: number): void {
    const { session } = this;
    let tag = packetId | Due.puback;
    if (message.qos === 2) {
      const known = session.findIncoming(packetId);
      // [MQTT-4.3.3-10] until its PUBREL it is the same message, which everybody has
      if (known !== undefined) return this.whenDurable(known, packetId | Due.pubrec);
      tag = packetId | Due.published;
    }
    if (this.unconfirmed + session.incomingCount >= this.door.options.receiveMaximum && this.version === 5) {
      throw new ProtocolError(ReasonCode.receiveMaximumExceeded, 'more unacknowledged publishes than allowed'); // [MQTT-3.3.4-9]
    }
    if (message.qos === 2) session.addIncoming(packetId);
    else this.unconfirmed += 1;
    this.unmatched = route.targets.length === 0 && !route.readsHeaders;
    this.vhost.publish(route, message, this, tag);
    this.unmatched = false;
  }

  // [MQTT-3.3.2-9] an alias is given with its topic first, and then stands for it
  private findAliased(chunk: Buffer, start: number, bytes: number, alias: number): Route {
    const { aliases } = this;
    if (aliases === null || alias > this.door.options.topicAliasMaximum) {
      throw new ProtocolError(ReasonCode.topicAliasInvalid, `topic alias ${alias} is above the maximum`);
    }
    if (bytes > 0) {
      const topic = Buffer.from(chunk.subarray(start - 2, start + bytes));
      const route = this.findRoute(topic, 2, bytes);
      aliases.learn(alias, topic);
      return route;
    }
    const topic = aliases.find(alias);
    if (topic === undefined) {
      throw new ProtocolError(ReasonCode.protocolError, `topic alias ${alias} stands for nothing`);
    }
    if (this.lastRoute !== null && this.vhost.current(this.lastRoute) && this.isLastTopic(topic)) return this.lastRoute;
    return this.findRoute(topic, 2, topic.length - 2);
  }

  private isLastTopic(topic: Buffer): boolean {
    return topic.length - 2 === this.lastTopicBytes && startsWith(topic, 2, this.lastTopic, this.lastTopicBytes);
  }

  private findRoute(chunk: Buffer, start: number, bytes: number): Route {
    const topic = new Reader(chunk, start - 2, start + bytes).text();
    if (topic === '' && this.version === 5)
      throw new ProtocolError(ReasonCode.protocolError, 'no topic and no topic alias');
    if (!isTopicName(topic)) throw new ProtocolError(ReasonCode.topicNameInvalid, `topic name '${topic}'`); // [MQTT-3.3.2-2]
    const { vhost } = this;
    const reply = topic.startsWith(aliasTopicPrefix)
      ? vhost.findReplyRoute(topic.slice(aliasTopicPrefix.length))
      : undefined;
    if (reply !== undefined) return reply;
    if (!isPublishable(topic)) {
      throw new BrokerError('not-allowed', `topic '${topic}' is not for clients to publish to`);
    }
    const route = this.routeOf(topic);
    this.lastTopic = Buffer.from(chunk.subarray(start, start + bytes));
    this.lastTopicBytes = bytes;
    this.lastRoute = route;
    return route;
  }

  private routeOf(topic: string): Route {
    const { vhost } = this;
    const queue = findQueueName(topic);
    if (queue !== null) {
      vhost.demand(this, 'write', 'exchange', '');
      return vhost.routeFor('', queue);
    }
    const { exchange } = this.door.options;
    const key = toRoutingKey(topic);
    vhost.demand(this, 'write', 'exchange', exchange);
    vhost.demand(this, 'write', 'topic', key, this.door.options.exchange);
    return vhost.routeFor(exchange, key);
  }

  /** Every queue has it, and it is on disk if it is durable; or a record is, that something waits for. */
  confirmed(tag: number): void {
    if (this.state !== 'open') return;
    const packetId = tag & 0xffff;
    switch (tag & ~0xffff) {
      case Due.puback:
        this.unconfirmed -= 1;
        return this.acknowledge(Head.puback, packetId, this.unmatched ? ReasonCode.noMatchingSubscribers : 0);
      case Due.published:
        return this.whenDurable(this.session.findIncoming(packetId) ?? 0, packetId | Due.pubrec);
      case Due.pubrec:
        return this.acknowledge(Head.pubrec, packetId, this.unmatched ? ReasonCode.noMatchingSubscribers : 0);
      case Due.pubcomp:
        return writeShortAck(this.stream, Head.pubcomp, packetId);
      case Due.transmit: {
        const item = this.session.inflight.get(packetId);
        if (item !== undefined) this.transmit(item);
      }
    }
  }

  // 3.1.1 has no word for refusal: the connection is closed, and the client publishes again.
  refused(tag: number, why: Condition): void {
    if (this.state !== 'open') return;
    const packetId = tag & 0xffff;
    const due = tag & ~0xffff;
    if (due === Due.published) this.session.releaseIncoming(packetId);
    if (due === Due.puback) this.unconfirmed -= 1;
    if (this.version < 5 || (due !== Due.puback && due !== Due.published)) {
      return this.fail(new ProtocolError(codeOf[why], 'a publish was refused'));
    }
    this.acknowledge(due === Due.puback ? Head.puback : Head.pubrec, packetId, codeOf[why]);
  }

  private acknowledge(head: number, packetId: number, code: number): void {
    if (code === 0 || this.version < 5) return writeShortAck(this.stream, head, packetId);
    this.stream.write(Buffer.from([head, 3, packetId >> 8, packetId & 0xff, code]));
  }

  private whenDurable(position: Position, tag: number): void {
    const { journal } = this.door.broker;
    if (position <= journal.durable) this.confirmed(tag);
    else journal.confirm(position, this, tag);
  }

  // [MQTT-4.3.3-11] the packet id is forgotten, and may stand for another message
  private onPubrel(reader: Reader): void {
    const { packetId } = this.readAck(reader);
    const position = this.session.releaseIncoming(packetId);
    if (position >= 0) return this.whenDurable(position, packetId | Due.pubcomp);
    this.acknowledge(Head.pubcomp, packetId, ReasonCode.packetIdentifierNotFound);
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** There is room in the outbox and in the peer's receive maximum. */
  get hasRoom(): boolean {
    return !this.stream.blocked && this.session.inflight.outstanding < this.receiveMaximum;
  }

  transmitTag(packetId: number): number {
    return packetId | Due.transmit;
  }

  /** QoS 0: dropped when the outbox has no room for it. */
  sendUnacknowledged(message: Message, match: Match): void {
    if (this.stream.blocked || !this.sendPublish(message, match, 0, 0, false)) this.dropped += 1;
  }

  /** Writes what a delivery is waiting to write: its PUBLISH, or its PUBREL. */
  transmit(item: Outgoing): void {
    if (item.entry === null) return writeShortAck(this.stream, Head.pubrel, item.packetId);
    const { duplicate } = item;
    item.duplicate = true;
    if (this.sendPublish(item.entry.message, item.match, item.qos, item.packetId, duplicate)) return;
    // [MQTT-3.1.2-25] a packet too large for the peer is not sent, and treated as delivered
    this.dropped += 1;
    this.session.finish(item);
  }

  private sendPublish(message: Message, match: Match, qos: number, packetId: number, duplicate: boolean): boolean {
    this.publishedOut += 1;
    this.door.publishedOut += 1;
    delivery.version = this.version;
    delivery.qos = qos;
    delivery.retain = message.retain && match.retainAsPublished;
    delivery.duplicate = duplicate;
    delivery.packetId = packetId;
    delivery.subscriptionIds = match.subscriptionIds;
    delivery.nowMs = this.door.broker.nowMs;
    delivery.topicAlias = 0;
    delivery.aliasKnown = false;
    if (this.aliases !== null && this.aliases.outgoingMax > 0) {
      delivery.topicAlias = this.aliases.aliasFor(message.exchange, message.routingKey);
      delivery.aliasKnown = this.aliases.isKnown(delivery.topicAlias);
    }
    if (!writePublish(this.stream, message, delivery, this.packetMax)) return false;
    if (delivery.topicAlias !== 0) this.aliases?.told(delivery.topicAlias);
    return true;
  }

  private onPuback(reader: Reader): void {
    const { packetId } = this.readAck(reader);
    const item = this.session.inflight.get(packetId);
    if (item === undefined) return;
    if (item.qos !== 1) throw new ProtocolError(ReasonCode.protocolError, `PUBACK of the QoS 2 packet ${packetId}`);
    this.session.finish(item);
    this.session.wake();
  }

  private onPubrec(reader: Reader): void {
    const { packetId, code } = this.readAck(reader);
    const { session } = this;
    const item = session.inflight.get(packetId);
    if (item === undefined) {
      if (code >= 0x80) return;
      return this.acknowledge(Head.pubrel, packetId, ReasonCode.packetIdentifierNotFound);
    }
    if (item.qos !== 2) throw new ProtocolError(ReasonCode.protocolError, `PUBREC of the QoS 1 packet ${packetId}`);
    if (code >= 0x80) {
      session.finish(item); // [MQTT-4.3.3-4] it will not have it, and that is the end of it
      session.wake();
    } else session.received(this, item);
  }

  private onPubcomp(reader: Reader): void {
    const { packetId } = this.readAck(reader);
    const item = this.session.inflight.get(packetId);
    if (item === undefined) return;
    if (item.entry !== null) throw new ProtocolError(ReasonCode.protocolError, `PUBCOMP before PUBREC of ${packetId}`);
    this.session.forget(item);
    this.session.wake();
  }

  private readAck(reader: Reader): { packetId: number; code: number } {
    const packetId = this.readPacketId(reader);
    let code = 0;
    if (this.version === 5 && !reader.done) {
      code = reader.octet();
      if (!reader.done) readProperties(reader.part(reader.varint()), ackProperties);
    }
    if (!reader.done) throw malformed('an acknowledgement is longer than its fields');
    return { packetId, code };
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
      subscriptionId = Number(values.get(PropertyId.subscriptionIdentifier) ?? 0);
    }
    const wanted: Subscription[] = [];
    while (!reader.done) wanted.push(this.readSubscription(reader, subscriptionId));
    if (wanted.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'SUBSCRIBE without a filter'); // [MQTT-3.8.3-2]
    const retained: Subscription[] = [];
    const codes = wanted.map((subscription) => this.subscribe(subscription, retained));
    const properties = this.version === 5 ? [0] : [];
    const suback = packet(
      PacketType.suback << 4,
      Buffer.from([packetId >> 8, packetId & 0xff, ...properties, ...codes]),
    );
    this.afterDurable(() => {
      this.stream.write(suback);
      for (const subscription of retained) this.sendRetained(subscription);
    });
  }

  private readSubscription(reader: Reader, subscriptionId: number): Subscription {
    const filter = reader.text();
    const options = reader.octet();
    const qos = options & 3;
    if (qos === 3 || (options & (this.version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed('subscription options'); // [MQTT-3.8.3-5]
    const retainHandling = (options >> 4) & 3;
    if (retainHandling === 3) throw new ProtocolError(ReasonCode.protocolError, 'retain handling 3');
    const noLocal = (options & 4) !== 0;
    if (noLocal && filter.startsWith('$share/')) {
      throw new ProtocolError(ReasonCode.protocolError, 'no local on a shared subscription'); // [MQTT-3.8.3-4]
    }
    return { filter, qos, noLocal, retainAsPublished: (options & 8) !== 0, retainHandling, subscriptionId };
  }

  /**
   * @param retained gets the subscription if its retained messages are to be sent
   * @returns the reason code of the filter, in the version's words
   */
  private subscribe(subscription: Subscription, retained: Subscription[]): number {
    const failure = (code: ReasonCode): number => (this.version === 5 ? code : 0x80);
    const wanted = readFilter(subscription.filter);
    if (wanted === null) {
      if (this.version < 5) throw malformed(`topic filter '${subscription.filter}'`);
      return ReasonCode.topicFilterInvalid;
    }
    try {
      const { vhost } = this;
      if (wanted.kind === 'queue') vhost.demand(this, 'read', 'queue', wanted.queue);
      else {
        vhost.demand(this, 'read', 'exchange', this.door.options.exchange);
        vhost.demand(this, 'read', 'topic', toRoutingKey(wanted.filter), this.door.options.exchange);
        const name =
          wanted.kind === 'shared'
            ? `mqtt-shared.${wanted.group}.${wanted.filter}`
            : queueName(this.clientId, subscription.qos);
        for (const operation of ['configure', 'write', 'read'] as const) vhost.demand(this, operation, 'queue', name);
      }
      const isNew = this.session.subscribe(subscription);
      const { retainHandling } = subscription;
      // [MQTT-3.3.1-9, -10, -11]
      if (wanted.kind === 'topics' && (retainHandling === 0 || (retainHandling === 1 && isNew))) {
        retained.push(subscription);
      }
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

  private sendRetained(subscription: Subscription): void {
    const { vhost, session } = this;
    const { nowMs } = this.door.broker;
    const store = isSystemFilter(subscription.filter) ? this.door.systemRetained(vhost) : vhost.retained;
    for (const message of store.match(toPattern(subscription.filter), nowMs)) {
      const match = retainedMatchOf(subscription);
      const qos = message.qos < 0 ? subscription.qos : Math.min(subscription.qos, message.qos);
      if (qos === 0) this.sendUnacknowledged(message, match);
      else vhost.publishTo(session.durableQueue(), copyOf(message), match);
    }
  }

  private onUnsubscribe(reader: Reader): void {
    const packetId = this.readPacketId(reader);
    if (this.version === 5) readProperties(reader.part(reader.varint()), [PropertyId.userProperty]);
    const codes: number[] = [];
    while (!reader.done) {
      const filter = reader.text();
      if (readFilter(filter) === null) {
        if (this.version < 5) throw malformed(`topic filter '${filter}'`);
        codes.push(ReasonCode.topicFilterInvalid);
      } else codes.push(this.session.unsubscribe(filter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted);
    }
    if (codes.length === 0) throw new ProtocolError(ReasonCode.protocolError, 'UNSUBSCRIBE without a filter'); // [MQTT-3.10.3-2]
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
    let code: number = ReasonCode.success;
    if (this.version === 5 && !reader.done) {
      code = reader.octet();
      if (!reader.done) this.readDisconnectProperties(reader.part(reader.varint()));
    }
    if (!reader.done) throw malformed('DISCONNECT is longer than its fields');
    if (code === ReasonCode.success) this.will = null; // [MQTT-3.14.4-3]
    this.finish('closed by the client');
  }

  private readDisconnectProperties(reader: Reader): void {
    const { values } = readProperties(reader, disconnectProperties);
    const expiry = values.get(PropertyId.sessionExpiryInterval);
    if (typeof expiry !== 'number') return;
    if (this.expirySeconds === 0 && expiry !== 0) {
      throw new ProtocolError(ReasonCode.protocolError, 'session expiry set at DISCONNECT, 0 at CONNECT'); // [MQTT-3.14.2-2]
    }
    this.expirySeconds = Math.min(expiry, this.door.options.sessionExpiryMaxSeconds);
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
      this.sendDisconnect(code, reason);
      return this.finish(reason);
    }
    if (error instanceof UnsupportedLevel) this.version = error.level < 5 ? 4 : 5;
    // [MQTT-4.13.1-1] MQTT 5 has words for all that can be wrong with a CONNECT
    if (error instanceof UnsupportedLevel || this.version === 5) return this.refuse(code, reason);
    this.door.log.info({ peer: this.peer, protocol: 'mqtt', code, reason }, 'refused');
    this.finish('');
  }

  private sendDisconnect(code: ReasonCode, reason: string): void {
    if (this.version < 5) return;
    const properties = new PropertyWriter().text(PropertyId.reasonString, reason.slice(0, 1000)).endBlock();
    const told = packet(PacketType.disconnect << 4, Buffer.from([code]), properties);
    const fits = this.problemInformation && told.length <= this.packetMax;
    this.stream.write(fits ? told : Buffer.from([PacketType.disconnect << 4, 1, code]));
  }

  /** From the core, the server, or a session that another connection takes over. */
  close(why: Condition, text: string): void {
    this.closeWith(codeOf[why], text);
  }

  closeWith(code: ReasonCode, text: string): void {
    if (this.state === 'open') this.sendDisconnect(code, text);
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
    this.door.bytesInBefore += this.stream.bytesIn;
    this.door.bytesOutBefore += this.stream.bytesOut;
    this.door.droppedBefore += this.dropped;
    if (opened === null) return;
    if (opened.session.connection === this) {
      this.door.leaveSession(opened.session, this.expirySeconds, this.will, this);
    }
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

const versionNames: Record<Version, string> = { 3: '3-1', 4: '3-1-1', 5: '5-0' };

/** Topics that a client may publish to: the broker's own are not for it. */
function isPublishable(topic: string): boolean {
  return isTopicName(topic) && !/^\$(SYS|share|delayed)(\/|$)/.test(topic);
}

/** The same PUBLISH without its topic alias, which is the publisher's connection's alone. */
function withoutAlias(chunk: Buffer, start: number, end: number, aliasAt: number): Buffer {
  return Buffer.concat([chunk.subarray(start, aliasAt), chunk.subarray(aliasAt + 3, end)]);
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
