import type { Access } from '../../core/auth.ts';
import { type ChannelView, type Client, type ClientView, noCounts } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Match } from '../../core/exchange/binding.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { MessageFormat } from '../../core/format.ts';
import type { Position, PublishReceipt } from '../../core/journal.ts';
import { countLoss } from '../../core/losses.ts';
import { Message, noDeaths } from '../../core/message.ts';
import { aliasTopicPrefix } from '../../core/reply.ts';
import { copyOf } from '../../core/retained.ts';
import { scramMechanism } from '../../core/scram.ts';
import { showPattern } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import { decodeText, emptyBuffer, startsWith } from '../../lib/bytes.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Valve } from '../../transport/valve.ts';
import { connack, disconnect, type Listener, refusal, suback, unsuback } from './answers.ts';
import { clientIdProperty, withClientId } from './client-id-header.ts';
import type { Connect } from './connect.ts';
import { head, isPadded, malformed, Reader, readHead } from './decode.ts';
import type { DeviceRules } from './device-rules.ts';
import { Delivery, publishBytesMax, writePublish, writeShortAck } from './encode.ts';
import {
  readAuth,
  readDisconnect,
  readPublishedAck,
  readReleasedAck,
  readSubscribe,
  readUnsubscribe,
} from './incoming.ts';
import type { Outgoing } from './inflight.ts';
import { isWholeFor, mqtt3Format, mqtt5Format, strangeUserFormat } from './message.ts';
import { Head, PacketType, pingresp, type Version } from './packet.ts';
import { PropertyId, PropertyWriter } from './properties.ts';
import type { Mqtt } from './protocol.ts';
import { IncomingPublish } from './publish.ts';
import { codeOf, ProtocolError, pubackCodeOf, ReasonCode, subackCodeOf } from './reason-code.ts';
import type { Reauthentication } from './reauthentication.ts';
import { queueName, type Session } from './session.ts';
import { sharedQueueName } from './shared.ts';
import { isSystemFilter, readFilter, retainedMatchOf, type Subscription, type Wanted } from './subscription.ts';
import { findDelayedTopic, isPublishable, isTopicName, type Spelling, spellingOf } from './topic.ts';
import { TopicAliases } from './topic-alias.ts';
import type { Will } from './will.ts';

/** answering: CONNACK waits for the disk; the session is this connection's already. */
type State = 'opening' | 'answering' | 'open' | 'closed';

const publish = new IncomingPublish();
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
const dueMask = 0xf0000;
/** The publish reached nobody. */
const unmatchedBit = 0x100000;

const versionNames: Record<Version, string> = { 3: '3-1', 4: '3-1-1', 5: '5-0' };

/** Who has proved what when a connection begins. */
export interface Login {
  readonly listener: Listener;
  readonly will: Will | null;
  /** As the client gave it, or as it was given. */
  readonly clientId: string;
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  /** How it logged in. */
  readonly mechanism: string;
  /** Of another broker, before MQTT 5: it wants what others publish, as they published it. */
  readonly isBridge: boolean;
}

const aliasPrefix = Buffer.from(aliasTopicPrefix);

/** One network connection whose CONNECT was accepted, to its end. */
export class Connection implements StreamHandler, Client, PublishReceipt, Listener {
  readonly protocol: string = 'mqtt';
  readonly id: string;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  readonly user: string;
  readonly vhost: Vhost;
  private readonly spelling: Spelling;
  /** What the listener says for clients without properties; null: nothing, or the client has them. */
  private readonly rules: DeviceRules | null;
  /** What each message of the client says of it; null: nothing. */
  private readonly clientIdProperty: Buffer | null;
  readonly access: Access;
  readonly clientId: string;
  private readonly mechanism: string;
  private readonly isBridge: boolean;
  readonly version: Version;
  readonly packetMax: number;
  readonly problemInformation: boolean;
  /** Seconds that the session outlives the connection. */
  expirySeconds = 0;
  /** null once the client has taken its leave. */
  will: Will | null;
  /** PUBLISH packets of QoS 0 that a full outbox had no room for. */
  dropped = 0;
  private publishedIn = 0;
  private publishedOut = 0;

  private readonly door: Mqtt;
  private state: State = 'opening';
  private attached: Session | null = null;
  /** CONNACK, until it is said. */
  private answer: Buffer | null = null;
  private keepAliveSeconds = 0;
  /** Made at the first alarm. */
  private valve: Valve | null = null;
  /** Deliveries of QoS > 0 that may wait for the peer's acknowledgement. */
  receiveMaximum = 0;
  private aliases: TopicAliases | null = null;
  private reauthentication: Reauthentication | null = null;
  /** Publishes of QoS > 0 that are not acknowledged to the end, for our receive maximum. */
  private unconfirmed = 0;

  private lastTopic: Buffer = emptyBuffer;
  private lastTopicBytes = -1;
  private lastRoute: Route | null = null;
  /** When what is being read is to be published, in milliseconds since the epoch; 0: now. */
  private dueMs = 0;

  constructor(stream: Stream, door: Mqtt, login: Login) {
    const { listener, clientId, will, user, vhost, access, mechanism } = login;
    this.stream = stream;
    this.door = door;
    this.id = door.nextConnectionId();
    this.connectedAtMs = stream.lastReadMs;
    this.user = user;
    this.vhost = vhost;
    this.spelling = spellingOf(vhost.topicMapping);
    this.access = access;
    this.clientId = clientId;
    this.mechanism = mechanism;
    this.isBridge = login.isBridge;
    this.version = listener.version;
    this.rules = listener.version === 5 ? null : door.deviceRulesOf(vhost);
    this.clientIdProperty = door.options.clientIdHeader ? clientIdProperty(clientId) : null;
    this.packetMax = listener.packetMax;
    this.problemInformation = listener.problemInformation;
    this.will = will;
  }

  get peer(): string {
    return this.stream.peer;
  }

  get subscriber(): object {
    return this.session;
  }

  /** CONNECT was accepted, and the end has not come. */
  get isOpen(): boolean {
    return this.state === 'open' || this.state === 'answering';
  }

  get session(): Session {
    if (this.attached === null) throw new Error('the connection is not open');
    return this.attached;
  }

  describe(): ClientView {
    const { stream } = this;
    return {
      protocol: `MQTT ${versionNames[this.version]}`,
      ...stream.describe(),
      mechanism: this.mechanism,
      state: !this.isOpen ? 'closing' : this.valve?.holds === true ? 'blocked' : 'running',
      channelMax: 1,
      frameMax: this.door.options.packetBytes,
      heartbeatSeconds: this.keepAliveSeconds,
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
        state: this.isOpen ? 'running' : 'closing',
        consumers: session.consumerCount,
        unacked: session.inflight.size,
        unconfirmed: this.unconfirmed,
        prefetch: this.receiveMaximum,
        globalPrefetch: 0,
        confirms: true,
        transactional: false,
        uncommittedMessages: 0,
        uncommittedAcks: 0,
        counts: { ...noCounts, published: this.publishedIn, delivered: this.publishedOut },
      },
    ];
  }

  // — CONNACK —————————————————————————————————————————————————————————————————————————————————————————————————————

  /** @param proof the server's own, of enhanced authentication */
  open(connect: Connect, proof: Buffer | null): void {
    const { door } = this;
    const { options } = door;
    const { values } = connect.properties;
    // [MQTT-3.2.2-21] who is told another keep alive has it
    const longest = options.keepAliveMaxSeconds;
    const asked = connect.keepAliveSeconds;
    this.keepAliveSeconds = this.version === 5 && longest > 0 && (asked === 0 || asked > longest) ? longest : asked;
    this.expirySeconds = Math.min(connect.sessionExpirySeconds, options.sessionExpiryMaxSeconds);
    this.receiveMaximum = Math.min(Number(values.get(PropertyId.receiveMaximum) ?? 65_535), options.inflightMax);
    const aliasMax = Number(values.get(PropertyId.topicAliasMaximum) ?? 0);
    if (this.version === 5 && (aliasMax > 0 || options.topicAliasMaximum > 0)) {
      this.aliases = new TopicAliases(options.topicAliasMaximum, Math.min(aliasMax, options.topicAliasMaximum));
    }
    if (proof !== null) this.reauthentication = door.reauthenticationOf(this);
    const properties = this.connackProperties(connect, proof);
    if (connack(this.version, false, properties).length > this.packetMax) return this.refuse(ReasonCode.packetTooLarge);
    try {
      const { session, present } = door.takeSession(this.vhost, connect, this);
      this.attached = session;
      this.state = 'answering';
      door.broker.addClient(this);
      door.log.info(
        { peer: this.peer, user: this.user, vhost: this.vhost.name, protocol: 'mqtt', clientId: this.clientId },
        'connected',
      );
      this.answer = connack(this.version, present, properties);
      this.afterDurable(() => {
        this.sayConnack();
        session.attach(this);
      });
    } catch (error) {
      this.fail(error);
    }
  }

  private refuse(code: ReasonCode): void {
    const told = refusal(this, code, 'CONNACK is above the maximum packet size');
    if (told !== null && told.length <= this.packetMax) this.say(told);
    this.finish('CONNACK is above the maximum packet size');
  }

  private connackProperties(connect: Connect, proof: Buffer | null): Buffer {
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
    if (proof !== null) {
      properties.text(PropertyId.authenticationMethod, scramMechanism).octets(PropertyId.authenticationData, proof); // [MQTT-4.12.0-5]
    }
    return properties.endBlock();
  }

  private sayConnack(): void {
    if (this.answer === null) return;
    this.state = 'open';
    this.say(this.answer);
    this.answer = null;
  }

  private say(packet: Buffer): void {
    this.door.packetsOut += 1;
    this.stream.write(packet);
  }

  // — packets in ——————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      while (end - at >= 2 && this.state === 'open' && !this.stream.held) {
        let remaining = chunk[at + 1]!;
        let body = at + 2;
        if (remaining >= 128) {
          readHead(chunk, at, end);
          if (head.bytes === 0) break;
          remaining = head.remaining;
          body = at + head.bytes;
          if (this.version === 5 && isPadded()) throw malformed('remaining length is longer than it needs to be');
        }
        const next = body + remaining;
        if (next - at > this.door.options.packetBytes) {
          throw new ProtocolError(ReasonCode.packetTooLarge, `packet of ${next - at} octets`);
        }
        if (next > end) {
          this.stream.want = next - at;
          break;
        }
        this.onPacket(chunk, at, body, next);
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
    this.door.packetsIn += 1;
    switch (first >> 4) {
      case PacketType.publish:
        return this.onPublish(chunk, first, body, next);
      case PacketType.pingreq:
        if (first !== PacketType.pingreq << 4 || body !== next) throw malformed('PINGREQ is not of its form');
        this.say(pingresp);
        return;
    }
    const reader = new Reader(chunk, body, next);
    switch (this.version === 3 ? withoutDup(first) : first) {
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
      case PacketType.connect << 4:
        throw new ProtocolError(ReasonCode.protocolError, 'a second CONNECT'); // [MQTT-3.1.0-2]
      case PacketType.auth << 4:
        if (this.version === 5) return this.onAuth(reader);
    }
    throw malformed(`packet 0x${first.toString(16)} has no place here`); // [MQTT-2.1.3-1] [3.1.1 MQTT-2.2.2-2]
  }

  private onAuth(reader: Reader): void {
    const { reauthentication } = this;
    if (reauthentication === null) throw new ProtocolError(ReasonCode.protocolError, 'AUTH without a method'); // [MQTT-4.12.0-7]
    this.say(reauthentication.onAuth(readAuth(reader), this.door.broker.nowMs));
  }

  // — PUBLISH —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onPublish(chunk: Buffer, first: number, body: number, next: number): void {
    publish.read(chunk, first, body, next, this.version);
    const { qos, topicAt, topicBytes } = publish;
    if (this.valve !== null) this.valve.hold();
    if (next - publish.payloadAt > this.door.options.bodyBytes) {
      throw new ProtocolError(ReasonCode.packetTooLarge, `body of ${next - publish.payloadAt} octets`);
    }
    let route = this.lastRoute;
    if (
      route === null ||
      publish.topicAlias !== 0 ||
      topicBytes !== this.lastTopicBytes ||
      !startsWith(chunk, topicAt, this.lastTopic, topicBytes) ||
      !this.vhost.current(route)
    ) {
      route = this.seekRoute(chunk);
      if (route === null) return;
    }
    const { dueMs } = this;
    this.dueMs = 0;
    if (this.valve?.refuses(next - topicAt, qos === 0 || this.version === 5) === true) {
      if (qos > 0) this.answerRefused(ReasonCode.quotaExceeded);
      return;
    }
    if (this.door.options.validatePayloadFormat && publish.isMislabelled(chunk, next)) {
      return this.refusePublish(new ProtocolError(ReasonCode.payloadFormatInvalid, 'the payload is not UTF-8'));
    }
    let format = this.version === 5 ? this.formatOf(chunk) : mqtt3Format;
    let bytes = chunk;
    let nativeStart = publish.nativeAt;
    let bodyStart = publish.payloadAt;
    let bodyEnd = next;
    if (publish.topicAlias !== 0) {
      // The same PUBLISH without its topic alias, which is this connection's alone.
      const { topicAliasAt } = publish;
      bytes = Buffer.concat([chunk.subarray(nativeStart, topicAliasAt), chunk.subarray(topicAliasAt + 3, next)]);
      bodyStart -= nativeStart + 3;
      bodyEnd = bytes.length;
      nativeStart = 0;
    }
    if (this.rules !== null) {
      const { exchange, routingKey } = route;
      const isReply = startsWith(chunk, topicAt, aliasPrefix, aliasPrefix.length);
      const aliasTopic = isReply ? decodeText(chunk, topicAt, topicAt + topicBytes) : null;
      const payload = chunk.subarray(bodyStart, bodyEnd);
      const unwrapped = this.rules.incoming(exchange.name, routingKey, payload, aliasTopic);
      if (unwrapped !== null) {
        bytes = Buffer.concat([unwrapped.native, unwrapped.body]);
        publish.readNative(unwrapped.native);
        format = this.formatOf(bytes);
        nativeStart = 0;
        bodyStart = unwrapped.native.length;
        bodyEnd = bytes.length;
      }
    }
    if (this.clientIdProperty !== null) {
      const native = withClientId(bytes.subarray(nativeStart, bodyStart), this.clientIdProperty);
      bytes = Buffer.concat([native, bytes.subarray(bodyStart, bodyEnd)]);
      if (format === mqtt3Format) format = mqtt5Format; // 3.1.1 has no properties
      nativeStart = 0;
      bodyStart = native.length;
      bodyEnd = bytes.length;
    }
    const { expirySeconds } = publish;
    const message = new Message({
      format,
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: qos > 0,
      priority: publish.priority,
      expiresAtMs: expirySeconds < 0 ? 0 : this.door.broker.nowMs + expirySeconds * 1000,
      qos,
      retain: publish.retain,
      publisher: this,
      deaths: noDeaths,
      bytes,
      start: nativeStart,
      end: bodyEnd,
      nativeStart,
      nativeEnd: bodyStart,
      bodyStart,
      bodyEnd,
    });
    if (dueMs > 0) message.timing = { dueMs, repeat: null };
    this.publishedIn += 1;
    this.door.publishedIn += 1;
    this.door.payloadBytesIn += bodyEnd - bodyStart;
    if (qos === 0) this.vhost.publish(route, message, null, 0);
    else this.publishAcknowledged(route, message, publish.packetId);
  }

  /** Of what `publish` has read in the octets. */
  private formatOf(bytes: Buffer): MessageFormat {
    return publish.isUser(bytes, this.user) ? mqtt5Format : strangeUserFormat;
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
    if (this.unconfirmed >= this.door.options.receiveMaximum && this.version === 5) {
      throw new ProtocolError(ReasonCode.receiveMaximumExceeded, 'more unacknowledged publishes than allowed'); // [MQTT-3.3.4-7]
    }
    this.unconfirmed += 1;
    if (message.qos === 2) session.addIncoming(packetId);
    if (route.targets.length === 0 && !route.readsHeaders && message.timing === null) tag |= unmatchedBit;
    this.vhost.publish(route, message, this, tag);
  }

  // Slow path: another topic than the last one's. null: it is not for this client, which is told.
  private seekRoute(chunk: Buffer): Route | null {
    const { topicAt, topicBytes, topicAlias } = publish;
    try {
      return topicAlias === 0
        ? this.findRoute(chunk, topicAt, topicBytes)
        : this.findAliased(chunk, topicAt, topicBytes, topicAlias);
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      this.dueMs = 0;
      this.refusePublish(error);
      return null;
    }
  }

  /**
   * What may not be published is acknowledged as such where the version has a word for it; QoS 0 and 3.1.1 have none, and
   * lose the connection [3.1.1 MQTT-3.3.5-2].
   */
  private refusePublish(error: BrokerError | ProtocolError): void {
    if (publish.qos === 0 || this.version < 5) throw error;
    this.door.log.info({ peer: this.peer, user: this.user, reason: error.message }, 'mqtt: publish refused');
    this.answerRefused(error instanceof ProtocolError ? error.code : pubackCodeOf(error.condition));
  }

  private answerRefused(code: number): void {
    const { qos, packetId } = publish;
    // [MQTT-4.3.3-10] sent again after the permission was lost, it is still the message that everybody has
    const known = qos === 2 ? this.session.findIncoming(packetId) : undefined;
    if (known !== undefined) return this.whenDurable(known, packetId | Due.pubrec);
    this.acknowledge(qos === 1 ? Head.puback : Head.pubrec, packetId, code);
  }

  // [MQTT-3.3.2-12] an alias is given with its topic first, and then stands for it
  private findAliased(chunk: Buffer, start: number, bytes: number, alias: number): Route | null {
    const { aliases } = this;
    if (aliases === null || alias > this.door.options.topicAliasMaximum) {
      throw new ProtocolError(ReasonCode.topicAliasInvalid, `topic alias ${alias} is above the maximum`);
    }
    if (bytes > 0) {
      const topic = Buffer.from(chunk.subarray(start - 2, start + bytes));
      aliases.learn(alias, topic); // whether or not the topic is one that may be published to
      return this.findRoute(topic, 2, bytes);
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

  // null: it was refused.
  private findRoute(chunk: Buffer, start: number, bytes: number): Route | null {
    const named = new Reader(chunk, start - 2, start + bytes).text();
    if (named === '' && this.version === 5)
      throw new ProtocolError(ReasonCode.protocolError, 'no topic and no topic alias');
    if (!isTopicName(named)) throw new ProtocolError(ReasonCode.topicNameInvalid, `topic name '${named}'`); // [MQTT-3.3.2-2]
    const delayed = findDelayedTopic(named, this.door.broker.nowMs);
    if (delayed === null) {
      this.refusePublish(new ProtocolError(ReasonCode.topicNameInvalid, `topic name '${named}'`));
      return null;
    }
    this.dueMs = delayed === undefined ? 0 : delayed.dueMs;
    const topic = delayed === undefined ? named : delayed.topic;
    const { vhost } = this;
    const reply = topic.startsWith(aliasTopicPrefix)
      ? vhost.findReplyRoute(this, topic.slice(aliasTopicPrefix.length))
      : undefined;
    if (reply !== undefined) return reply;
    if (!isPublishable(topic)) {
      throw new BrokerError('unauthorized-access', `topic '${topic}' is not for clients to publish to`);
    }
    const [exchange, routingKey] = this.spelling.addressOf(topic, this.door.options.exchange);
    const route = vhost.routeFrom(this, exchange, routingKey);
    if (delayed !== undefined) {
      this.lastRoute = null; // the time is told anew each time
      return route;
    }
    this.lastTopic = Buffer.from(chunk.subarray(start, start + bytes));
    this.lastTopicBytes = bytes;
    this.lastRoute = route;
    return route;
  }

  /** Every queue has it, and it is on disk if it is durable; or a record is, that something waits for. */
  confirmed(tag: number): void {
    if (this.state !== 'open') return;
    const packetId = tag & 0xffff;
    const code = (tag & unmatchedBit) === 0 ? ReasonCode.success : ReasonCode.noMatchingSubscribers;
    switch (tag & dueMask) {
      case Due.puback:
        this.unconfirmed -= 1;
        return this.acknowledge(Head.puback, packetId, code);
      case Due.published:
        return this.whenDurable(this.session.findIncoming(packetId) ?? 0, packetId | Due.pubrec | (tag & unmatchedBit));
      case Due.pubrec:
        return this.acknowledge(Head.pubrec, packetId, code);
      case Due.pubcomp:
        // of a publish that an earlier connection began there was none to count
        if (this.unconfirmed > 0) this.unconfirmed -= 1;
        this.door.packetsOut += 1;
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
    const due = tag & dueMask;
    if (due === Due.published) this.session.releaseIncoming(packetId); // [MQTT-4.3.3-9]
    if (due === Due.puback || due === Due.published) this.unconfirmed -= 1;
    if (this.version < 5 || (due !== Due.puback && due !== Due.published)) {
      return this.fail(new ProtocolError(codeOf[why], 'a publish was refused'));
    }
    this.acknowledge(due === Due.puback ? Head.puback : Head.pubrec, packetId, pubackCodeOf(why));
  }

  private acknowledge(head: number, packetId: number, code: number): void {
    if (code === 0 || this.version < 5) {
      this.door.packetsOut += 1;
      return writeShortAck(this.stream, head, packetId);
    }
    this.say(Buffer.from([head, 3, packetId >> 8, packetId & 0xff, code]));
  }

  private whenDurable(position: Position, tag: number): void {
    const { journal } = this.door.broker;
    if (position <= journal.durable) this.confirmed(tag);
    else journal.confirm(position, this, tag);
  }

  // [MQTT-4.3.3-11] the packet id is forgotten, and may stand for another message
  private onPubrel(reader: Reader): void {
    const { packetId } = readReleasedAck(reader, this.version);
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
    if (item.entry === null) {
      this.door.packetsOut += 1;
      return writeShortAck(this.stream, Head.pubrel, item.packetId);
    }
    const { duplicate } = item;
    item.duplicate = true;
    if (this.sendPublish(item.entry.message, item.match, item.qos, item.packetId, duplicate)) return;
    // [MQTT-3.1.2-25] a packet too large for the peer is not sent, and treated as delivered
    this.dropped += 1;
    this.session.finish(item);
  }

  private sendPublish(message: Message, match: Match, qos: number, packetId: number, duplicate: boolean): boolean {
    delivery.version = this.version;
    delivery.qos = qos;
    delivery.retain = message.retain && match.retainAsPublished;
    delivery.duplicate = duplicate;
    delivery.packetId = packetId;
    delivery.subscriptionIds = match.subscriptionIds;
    delivery.nowMs = this.door.broker.nowMs;
    delivery.spelling = this.spelling;
    delivery.topicAlias = 0;
    delivery.aliasKnown = false;
    if (this.aliases !== null && this.aliases.outgoingMax > 0) {
      delivery.topicAlias = this.aliases.aliasFor(message.exchange, message.routingKey);
      delivery.aliasKnown = this.aliases.isKnown(delivery.topicAlias);
    }
    const sent = this.rules === null ? message : this.rules.outgoing(message, delivery.nowMs);
    if (!writePublish(this.stream, sent, delivery, this.packetMax)) {
      this.countUnsent(message);
      return false;
    }
    if (delivery.topicAlias !== 0) this.aliases?.told(delivery.topicAlias);
    this.publishedOut += 1;
    this.door.packetsOut += 1;
    this.door.publishedOut += 1;
    this.door.payloadBytesOut += sent.bodyBytes;
    return true;
  }

  // [MQTT-3.1.2-25] too large for the peer, or published without a topic
  private countUnsent(message: Message): void {
    const field = this.spelling.topicBytes(message.exchange, message.routingKey).length === 0 ? 'topic' : 'size';
    countLoss(message, this.version === 5 ? mqtt5Format : mqtt3Format, field);
  }

  /** False for what the peer cannot be told whole. */
  represents(message: Message, { subscriptionIds }: Match): boolean {
    const isWhole = this.version < 5 || isWholeFor(message);
    const sent = this.rules === null ? message : this.rules.outgoing(message, this.door.broker.nowMs);
    const bytes = publishBytesMax(sent, this.version, subscriptionIds, this.spelling);
    if (bytes >= 0 && bytes <= this.packetMax) return isWhole;
    this.countUnsent(message);
    return false;
  }

  get rejectsLosses(): boolean {
    return this.door.options.rejectsLosses;
  }

  private onPuback(reader: Reader): void {
    const { packetId, code } = readPublishedAck(reader, this.version);
    const item = this.session.inflight.get(packetId);
    if (item === undefined) return;
    if (item.qos !== 1) throw new ProtocolError(ReasonCode.protocolError, `PUBACK of the QoS 2 packet ${packetId}`);
    if (code >= 0x80) this.session.refuse(item);
    else this.session.finish(item);
    this.session.wake();
  }

  private onPubrec(reader: Reader): void {
    const { packetId, code } = readPublishedAck(reader, this.version);
    const { session } = this;
    const item = session.inflight.get(packetId);
    if (item === undefined) {
      if (code >= 0x80) return;
      return this.acknowledge(Head.pubrel, packetId, ReasonCode.packetIdentifierNotFound);
    }
    if (item.qos !== 2) throw new ProtocolError(ReasonCode.protocolError, `PUBREC of the QoS 1 packet ${packetId}`);
    if (code >= 0x80) {
      session.refuse(item); // [MQTT-4.3.3-4] it will not have it, and that is the end of it
      session.wake();
    } else session.received(this, item);
  }

  private onPubcomp(reader: Reader): void {
    const { packetId } = readReleasedAck(reader, this.version);
    const item = this.session.inflight.get(packetId);
    if (item === undefined) return;
    if (item.entry !== null) throw new ProtocolError(ReasonCode.protocolError, `PUBCOMP before PUBREC of ${packetId}`);
    this.session.forget(item);
    this.session.wake();
  }

  // — subscriptions ———————————————————————————————————————————————————————————————————————————————————————————————

  private onSubscribe(reader: Reader): void {
    const { packetId, subscriptions: asked } = readSubscribe(reader, this.version);
    const subscriptions = this.isBridge ? asked.map(forBridge) : asked;
    const retained: Subscription[] = [];
    const codes = subscriptions.map((subscription) => this.subscribe(subscription, retained));
    const answer = suback(this.version, packetId, codes);
    if (answer.length > this.packetMax) throw new ProtocolError(ReasonCode.packetTooLarge, 'SUBACK is too large'); // [MQTT-3.1.2-24]
    this.afterDurable(() => {
      this.say(answer);
      for (const subscription of retained) this.sendRetained(subscription);
    });
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
      this.demandSubscription(subscription, wanted);
      const isNew = this.session.subscribe(subscription);
      const { retainHandling } = subscription;
      // [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11]
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
      return failure(subackCodeOf(error.condition));
    }
  }

  /** @throws BrokerError unauthorized-access: as for declaring, binding and consuming the queue behind it */
  demandSubscription(subscription: Subscription, wanted: Wanted): void {
    const { vhost } = this;
    if (wanted.kind === 'queue') return vhost.demand(this, 'read', 'queue', wanted.queue);
    const { exchange } = this.door.options;
    vhost.demand(this, 'read', 'exchange', exchange);
    vhost.demand(this, 'read', 'topic', showPattern(this.spelling.toPattern(wanted.filter)), exchange);
    const name =
      wanted.kind === 'shared'
        ? sharedQueueName(wanted.group, wanted.filter)
        : queueName(this.clientId, subscription.qos);
    for (const operation of ['configure', 'write', 'read'] as const) vhost.demand(this, operation, 'queue', name);
  }

  private sendRetained(subscription: Subscription): void {
    const { vhost, session } = this;
    const { nowMs } = this.door.broker;
    const store = isSystemFilter(subscription.filter) ? this.door.systemRetained(vhost) : vhost.retained;
    for (const message of store.match(this.spelling.toPattern(subscription.filter), nowMs)) {
      if (subscription.noLocal && store.isFrom(this, message)) continue; // [MQTT-3.8.3-3]
      const match = retainedMatchOf(subscription);
      const qos = session.qosFor(message, subscription.qos);
      if (qos === 0) this.sendUnacknowledged(message, match);
      else vhost.publishTo(session.durableQueue(), copyOf(message), match);
    }
  }

  private onUnsubscribe(reader: Reader): void {
    const { packetId, filters } = readUnsubscribe(reader, this.version);
    const codes = filters.map((filter) => {
      if (readFilter(filter) === null) {
        if (this.version < 5) throw malformed(`topic filter '${filter}'`);
        return ReasonCode.topicFilterInvalid;
      }
      return this.session.unsubscribe(filter) ? ReasonCode.success : ReasonCode.noSubscriptionExisted;
    });
    const answer = unsuback(this.version, packetId, codes);
    if (answer.length > this.packetMax) throw new ProtocolError(ReasonCode.packetTooLarge, 'UNSUBACK is too large');
    this.afterDurable(() => this.say(answer));
  }

  // What promises a durable fact waits for it; the packets behind it wait too, so that order is kept.
  private afterDurable(send: () => void): void {
    const { journal } = this.door.broker;
    const position = journal.position;
    if (position <= journal.durable || !this.session.durable) return send();
    this.stream.hold();
    journal.whenDurable(position, () => {
      if (this.isOpen) send();
      this.stream.release();
    });
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onDisconnect(reader: Reader): void {
    const { code, sessionExpirySeconds } = readDisconnect(reader, this.version);
    if (sessionExpirySeconds !== undefined) {
      if (this.expirySeconds === 0 && sessionExpirySeconds !== 0) {
        throw new ProtocolError(ReasonCode.protocolError, 'session expiry set at DISCONNECT, 0 at CONNECT'); // [MQTT 5.0 §3.14.2.2.2]
      }
      this.expirySeconds = Math.min(sessionExpirySeconds, this.door.options.sessionExpiryMaxSeconds);
    }
    if (code === ReasonCode.success) this.will = null; // [MQTT-3.14.4-3]
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
    this.sendDisconnect(code, reason);
    this.finish(reason);
  }

  private sendDisconnect(code: ReasonCode, reason: string): void {
    if (!this.isOpen) return;
    const told = disconnect(this, code, reason);
    if (told === null || told.length > this.packetMax) return;
    this.sayConnack(); // [MQTT-3.14.0-1] a DISCONNECT comes behind it; nothing else is promised by it any more
    this.say(told);
  }

  onAlarm(why: string | null): void {
    this.valve ??= new Valve(this.stream);
    this.valve.alarm(why);
  }

  /** From the core, the server, or a session that another connection takes over. */
  close(why: Condition, text: string): void {
    this.closeWith(codeOf[why], text);
  }

  closeWith(code: ReasonCode, text: string): void {
    this.sendDisconnect(code, text);
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
    const wasOpening = this.state === 'opening';
    this.state = 'closed';
    this.door.connections.delete(this);
    this.door.count(this.stream);
    this.door.droppedBefore += this.dropped;
    if (wasOpening) return;
    const { session } = this;
    if (session.connection === this) this.door.leaveSession(session, this.expirySeconds, this.will, this);
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  onDrain(): void {
    if (this.state === 'open') this.session.wake();
  }

  onFlush(): void {}

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (this.reauthentication?.isOlderThan(this.door.options.loginTimeoutMs, nowMs) === true) {
      return this.closeWith(ReasonCode.notAuthorized, 're-authentication took too long');
    }
    this.valve?.sweep(this.session.hasConsumers);
    if (this.valve?.shut === true) return; // it may have sent its pings
    // [MQTT-3.1.2-22] one and a half times the keep alive
    if (this.keepAliveSeconds === 0 || nowMs - this.stream.lastReadMs <= this.keepAliveSeconds * 1500) return;
    this.closeWith(ReasonCode.keepAliveTimeout, 'keep alive timeout');
  }
}

// As MQTT 5 would say it: nothing back that came from there, and RETAIN as it was.
function forBridge(subscription: Subscription): Subscription {
  const noLocal = readFilter(subscription.filter)?.kind === 'topics';
  return { ...subscription, noLocal, retainAsPublished: true };
}

/** MQTT 3.1 has a DUP flag in packets that later versions fix the flags of. */
function withoutDup(first: number): number {
  const fixed = first & ~8;
  return fixed === Head.pubrel || fixed >> 4 === PacketType.subscribe || fixed >> 4 === PacketType.unsubscribe
    ? fixed
    : first;
}
