import type { Access } from '../../core/auth.ts';
import type { Client } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Binding, Match } from '../../core/exchange/binding.ts';
import type { Exchange } from '../../core/exchange/exchange.ts';
import type { Position } from '../../core/journal.ts';
import type { Message } from '../../core/message.ts';
import { type Headers, noHeaders } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { LocalQueue } from '../../core/queue/local-queue.ts';
import type { Consumer, Queue } from '../../core/queue/queue.ts';
import { showPattern } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Timer } from '../../lib/timers.ts';
import type { Connection } from './connection.ts';
import { Inflight, Outgoing } from './inflight.ts';
import type { SharedGroups } from './shared.ts';
import { isSystemFilter, matchOf, mergedMatch, readFilter, type Subscription } from './subscription.ts';
import type { Spelling } from './topic.ts';
import { type Will, type WillRecord, willFromJson, willToJson } from './will.ts';

interface SessionRecord {
  readonly expirySeconds: number;
  readonly subscriptions: readonly Subscription[];
  /** Of the connection that is there; null when there is none, or it has no will. */
  readonly will: WillRecord | null;
  /** When the last connection ended; 0 while there is one. */
  readonly leftAtMs: number;
}

/** How a session's queues are named, as RabbitMQ names them. */
export function queueName(clientId: string, qos: number): string {
  return `mqtt-subscription-${clientId}qos${qos === 0 ? 0 : 1}`;
}

export const sessionKind = 'mqtt-session';
/** Deliveries under way, by session and packet id: stage u8 │ qos u8 │ queue u32 │ sequence f64. */
export const outgoingKind = 'mqtt-out';
/** Packet ids of QoS 2 that were received and not yet released, by session and packet id. */
export const incomingKind = 'mqtt-in';

const stagePublish = 1;
const stagePubrel = 2;

/** What sessions share. */
export interface SessionHost {
  /** Where topics are published. */
  readonly exchange: Exchange;
  /** `$SYS`, which no other protocol's bindings see. */
  readonly system: Exchange;
  readonly groups: SharedGroups;
  readonly spelling: Spelling;
  /** Messages of QoS 0 wait for a session whose client is away. */
  readonly keepsQos0: boolean;
  /** What is published by another protocol has QoS 1 if it is persistent, else QoS 0; not the subscription's. */
  readonly qosFromPersistence: boolean;
  /** Of the queues that sessions make. */
  readonly queueArguments: Headers;
}

const noSubscriptions = new Map<string, Subscription>();
const noBindings = new Map<string, Binding>();
const noConsumers = new Map<Queue, SessionConsumer>();

/**
 * What a client id has beyond one connection: its subscriptions, as bindings of two queues that the other protocols
 * can see, and what was sent or received and not acknowledged to the end. The queue of QoS 0 lives while the client is
 * connected; that of QoS 1 and above, in a session that outlives its connection, is durable, and so is the rest.
 */
export class Session {
  readonly clientId: string;
  readonly vhost: Vhost;
  readonly host: SessionHost;
  /** These three are made for the first: many clients only publish. */
  subscriptions: Map<string, Subscription> = noSubscriptions;
  readonly inflight = new Inflight();
  expirySeconds: number;
  connection: Connection | null = null;
  expiry: Timer | null = null;
  /** To be published when its delay is over, unless the client comes back. */
  will: Will | null = null;
  willTimer: Timer | null = null;
  /** Who is not to get it back, for no-local. */
  willPublisher: Client | null = null;
  /** When the last connection ended, in milliseconds since the epoch. */
  leftAtMs = 0;

  /** Packet ids of QoS 2 until their PUBREL, with what must be durable before their PUBREC. */
  private incoming: Map<number, Position> | null = null;
  private bindings: Map<string, Binding> = noBindings;
  private queue0: LocalQueue | null = null;
  private queue1: LocalQueue | null = null;
  private consumers: Map<Queue, SessionConsumer> = noConsumers;
  private saved = false;

  constructor(clientId: string, vhost: Vhost, host: SessionHost, expirySeconds: number) {
    this.clientId = clientId;
    this.vhost = vhost;
    this.host = host;
    this.expirySeconds = expirySeconds;
  }

  /** It outlives its connection, and crashes. */
  get durable(): boolean {
    return this.expirySeconds > 0;
  }

  // — subscriptions ———————————————————————————————————————————————————————————————————————————————————————————————

  /** @returns true when there was none of this filter. @throws BrokerError as declaring, binding and consuming do */
  subscribe(subscription: Subscription): boolean {
    const { filter } = subscription;
    const previous = this.subscriptions.get(filter);
    // [MQTT-3.8.4-3] a replaced subscription loses no message: within this call nothing is published.
    if (previous !== undefined) this.unlink(previous);
    if (this.subscriptions === noSubscriptions) this.subscriptions = new Map();
    this.subscriptions.set(filter, subscription);
    try {
      this.link(subscription);
    } catch (error) {
      this.subscriptions.delete(filter);
      throw error;
    }
    this.save();
    return previous === undefined;
  }

  /** @returns false when there was no such subscription */
  unsubscribe(filter: string): boolean {
    const subscription = this.subscriptions.get(filter);
    if (subscription === undefined) return false;
    this.subscriptions.delete(filter);
    this.unlink(subscription);
    this.save();
    return true;
  }

  private link(subscription: Subscription): void {
    const wanted = readFilter(subscription.filter);
    if (wanted === null) throw new BrokerError('invalid-field', `topic filter '${subscription.filter}'`);
    switch (wanted.kind) {
      case 'topics':
        return this.bind(subscription, wanted.filter);
      case 'shared': {
        const queue = this.host.groups.join(this, wanted.group, wanted.filter);
        if (this.connection !== null) this.consume(queue, subscription);
        return;
      }
      case 'queue': {
        if (this.connection === null) return; // taken up when the client is there
        this.consume(this.vhost.getQueue(wanted.queue, this.connection), subscription);
      }
    }
  }

  private unlink(subscription: Subscription): void {
    const wanted = readFilter(subscription.filter);
    const binding = this.bindings.get(subscription.filter);
    if (binding !== undefined) {
      this.bindings.delete(subscription.filter);
      this.vhost.removeBinding(binding);
    }
    if (wanted?.kind !== 'shared' && wanted?.kind !== 'queue') return;
    for (const [queue, consumer] of this.consumers) {
      if (consumer.subscription?.filter === subscription.filter) this.leaveQueue(queue, consumer);
    }
    if (wanted.kind === 'shared') this.host.groups.leave(this, wanted.group, wanted.filter);
  }

  private bind(subscription: Subscription, filter: string): void {
    const pattern = this.host.spelling.toPattern(filter);
    const queue = subscription.qos === 0 ? this.transientQueue() : this.durableQueue();
    const source = isSystemFilter(filter) ? this.host.system : this.host.exchange;
    const binding = this.vhost.addBinding(source, queue, showPattern(pattern), pattern, noHeaders, {
      subscriber: this,
      qos: subscription.qos,
      subscriptionId: subscription.subscriptionId,
      retainAsPublished: subscription.retainAsPublished,
      noLocal: subscription.noLocal,
      keepsQos0: subscription.qos > 0 && this.host.keepsQos0,
    });
    if (this.bindings === noBindings) this.bindings = new Map();
    this.bindings.set(subscription.filter, binding);
  }

  // Made when the first subscription needs them: most sessions never need both.
  private transientQueue(): LocalQueue {
    if (this.queue0 !== null) return this.queue0;
    this.queue0 = this.makeQueue(0, false);
    if (this.connection !== null) this.consume(this.queue0, null);
    return this.queue0;
  }

  durableQueue(): LocalQueue {
    if (this.queue1 !== null) return this.queue1;
    this.queue1 = this.makeQueue(1, this.durable);
    if (this.connection !== null) this.consume(this.queue1, null);
    return this.queue1;
  }

  private makeQueue(qos: number, durable: boolean): LocalQueue {
    const name = queueName(this.clientId, qos);
    return (
      this.vhost.queues.get(name) ??
      this.vhost.createQueue({
        name,
        durable,
        autoDelete: false,
        exclusiveTo: null,
        arguments: this.host.queueArguments,
      })
    );
  }

  // — connections —————————————————————————————————————————————————————————————————————————————————————————————————

  /** A connection takes the session up: what was in flight is sent again first, then its queues deliver to it. */
  attach(connection: Connection): void {
    this.connection = connection;
    for (const queue of [this.queue0, this.queue1]) if (queue !== null) this.consume(queue, null);
    for (const subscription of this.subscriptions.values()) {
      try {
        const wanted = readFilter(subscription.filter);
        if (wanted === null) continue;
        connection.demandSubscription(subscription, wanted);
        if (wanted.kind !== 'topics' || !this.bindings.has(subscription.filter)) this.link(subscription);
      } catch (error) {
        // A queue that is there no longer, or is another's now, or a permission lost: the session goes on without it.
        if (!(error instanceof BrokerError)) throw error;
        this.unlink(subscription);
      }
    }
    this.wake();
  }

  /** May the session be taken up, or ended for a new one, by whom `access` is? What waits in it is somebody's. */
  isOpenTo(access: Access, cleanStart: boolean): boolean {
    const operation = cleanStart ? 'configure' : 'read';
    return [this.queue0, this.queue1].every((queue) => queue === null || access.allows(operation, 'queue', queue.name));
  }

  /** The connection is gone: what is in flight stays so for the next, but what others can have goes back to them. */
  detach(): void {
    this.connection = null;
    for (const [queue, consumer] of this.consumers) queue.detach(consumer);
    for (const item of this.inflight) {
      const { entry } = item;
      // [MQTT-4.8.2-4] QoS 2 is completed with the client that it was begun with.
      if (entry === null || entry.queue === this.queue1 || (item.qos === 2 && this.durable)) continue;
      this.forget(item);
      if (item.qos === 2) entry.ack();
      else entry.requeue();
    }
    this.consumers.clear();
    this.inflight.markUnsent();
    const transient = this.queue0;
    if (transient === null) return;
    this.queue0 = null;
    for (const { filter, qos } of this.subscriptions.values()) if (qos === 0) this.bindings.delete(filter);
    this.vhost.removeQueue(transient);
  }

  /** The session ends: its queues, subscriptions and what it remembered go. */
  end(): void {
    this.expiry?.cancel();
    this.willTimer?.cancel();
    for (const item of this.inflight) {
      const { entry } = item;
      this.erase(outgoingKind, item.packetId);
      if (entry === null) continue;
      // [MQTT-4.8.2-5] QoS 2 that was begun is for nobody else; what is the session's own goes with it
      if (item.qos === 2 || entry.queue === this.queue1) entry.ack();
      else entry.requeue();
    }
    if (this.incoming !== null) for (const packetId of this.incoming.keys()) this.erase(incomingKind, packetId);
    for (const subscription of this.subscriptions.values()) this.unlink(subscription);
    for (const queue of [this.queue0, this.queue1]) if (queue !== null) this.vhost.removeQueue(queue);
    this.subscriptions.clear();
    if (this.saved) this.vhost.journal.delete(sessionKind, this.key);
  }

  private consume(queue: Queue, subscription: Subscription | null): void {
    const match = subscription === null ? null : matchOf(subscription, this.host.keepsQos0);
    const consumer = new SessionConsumer(this, this.connection!, queue, subscription, match, queue === this.queue0);
    if (this.consumers === noConsumers) this.consumers = new Map();
    this.consumers.set(queue, consumer);
    try {
      void queue.attach(consumer);
    } catch (error) {
      this.consumers.delete(queue);
      // Somebody consumes the session's own queue exclusively: it goes on with its other one.
      if (subscription !== null || !(error instanceof BrokerError)) throw error;
    }
  }

  private leaveQueue(queue: Queue, consumer: SessionConsumer): void {
    this.consumers.delete(queue);
    queue.detach(consumer);
  }

  /** The queue was deleted by somebody else. */
  lost(queue: Queue): void {
    this.consumers.delete(queue);
    if (queue === this.queue0) this.queue0 = null;
    if (queue === this.queue1) this.queue1 = null;
    for (const [filter, binding] of this.bindings) if (binding.destination === queue) this.bindings.delete(filter);
  }

  get consumerCount(): number {
    return this.consumers.size;
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  get hasConsumers(): boolean {
    return this.consumers.size > 0;
  }

  /** There is room in the peer's window or in the outbox again. */
  wake(): void {
    if (this.connection === null) return;
    if (this.inflight.hasUnsent && !this.sendAgain(this.connection)) return;
    for (const queue of this.consumers.keys()) queue.wake();
  }

  /** Options of what came without: recovered, or from a binding of another protocol. */
  matchFor(entry: QueueEntry): Match {
    const match = this.matchOf(entry.message);
    entry.match = match;
    return match;
  }

  matchOf(message: Message): Match {
    return mergedMatch(this.subscriptions.values(), message.routingKey, this.host.spelling);
  }

  /** Of a delivery: the lower of what the publisher gave and the subscription grants. */
  qosFor(message: Message, granted: number): number {
    if (message.qos >= 0) return Math.min(granted, message.qos);
    return this.host.qosFromPersistence ? Math.min(granted, message.durable ? 1 : 0) : granted;
  }

  /** Begins a delivery of QoS 1 or 2. */
  send(connection: Connection, entry: QueueEntry, qos: number, match: Match): void {
    const item = this.inflight.add(entry, qos, match);
    if (!this.durable) return connection.transmit(item);
    const position = this.record(item, stagePublish);
    // A crash must find the packet id of a QoS 2 that the peer has seen; QoS 1 may be sent with another.
    if (qos === 2) item.after = position;
    this.sendWhenDurable(connection, item);
  }

  /** PUBACK: the message is done with. */
  finish(item: Outgoing): void {
    this.forget(item);
    item.entry?.ack();
  }

  /** PUBACK or PUBREC with an error: it is not sent again [MQTT-4.4.0-2], and dead where its queue has a place for that. */
  refuse(item: Outgoing): void {
    this.forget(item);
    item.entry?.reject();
  }

  /** PUBREC: the message is the receiver's; its packet id is kept until PUBCOMP. */
  received(connection: Connection, item: Outgoing): void {
    item.entry?.ack();
    item.entry = null;
    this.inflight.moveToEnd(item);
    if (this.durable) item.after = this.record(item, stagePubrel);
    this.sendWhenDurable(connection, item);
  }

  /** PUBCOMP. */
  forget(item: Outgoing): void {
    this.inflight.delete(item);
    this.erase(outgoingKind, item.packetId);
  }

  private sendAgain(connection: Connection): boolean {
    for (const item of this.inflight) {
      if (item.sent) continue;
      if (!connection.hasRoom) return false;
      this.inflight.markSent(item);
      this.sendWhenDurable(connection, item);
    }
    return true;
  }

  private sendWhenDurable(connection: Connection, item: Outgoing): void {
    const { journal } = this.vhost;
    if (item.after <= journal.durable) connection.transmit(item);
    else journal.confirm(item.after, connection, connection.transmitTag(item.packetId));
  }

  // — QoS 2 from the client ———————————————————————————————————————————————————————————————————————————————————————

  /** What must be durable before PUBREC of a packet id that is known already; undefined when it is new. */
  findIncoming(packetId: number): Position | undefined {
    return this.incoming?.get(packetId);
  }

  /** A packet id comes for the first time; until its PUBREL the same one is the same message [MQTT-4.3.3-10]. */
  addIncoming(packetId: number): void {
    this.incoming ??= new Map();
    const position = this.durable
      ? this.vhost.journal.put(incomingKind, `${this.key}\0${packetId}`, Buffer.alloc(0))
      : 0;
    this.incoming.set(packetId, position);
  }

  /** @returns what must be durable before PUBCOMP; −1 when there was no such packet id */
  releaseIncoming(packetId: number): Position {
    if (this.incoming?.delete(packetId) !== true) return -1;
    return this.erase(incomingKind, packetId);
  }

  // — what outlives a crash ———————————————————————————————————————————————————————————————————————————————————————

  /** Writes what must outlive a crash; sessions that end with their connection write nothing. */
  save(): void {
    if (!this.durable && !this.saved) return;
    this.saved = true;
    const record: SessionRecord = {
      expirySeconds: this.expirySeconds,
      subscriptions: [...this.subscriptions.values()],
      will: this.will === null ? null : willToJson(this.will),
      leftAtMs: this.connection === null ? this.leftAtMs : 0,
    };
    this.vhost.journal.put(sessionKind, this.key, Buffer.from(JSON.stringify(record), 'utf8'));
  }

  /** Puts back what `save` wrote; the durable queue is there already. @returns when the last connection ended, or 0 */
  restore(value: Buffer): number {
    const record = JSON.parse(value.toString('utf8')) as SessionRecord;
    this.saved = true;
    this.expirySeconds = record.expirySeconds;
    this.will = record.will === null ? null : willFromJson(record.will);
    this.queue1 = this.vhost.queues.get(queueName(this.clientId, 1)) ?? null;
    for (const subscription of record.subscriptions) {
      if (this.subscriptions === noSubscriptions) this.subscriptions = new Map();
      this.subscriptions.set(subscription.filter, subscription);
      const kind = readFilter(subscription.filter)?.kind;
      if (kind === 'shared' || (kind === 'topics' && subscription.qos > 0)) this.link(subscription);
    }
    return record.leftAtMs;
  }

  restoreIncoming(packetId: number): void {
    this.incoming ??= new Map();
    this.incoming.set(packetId, 0);
  }

  /** Deliveries that were under way, by packet id; what the journal no longer has a message of is done with. */
  async restoreOutgoing(records: readonly (readonly [packetId: number, value: Buffer])[]): Promise<void> {
    const byQueue = new Map<number, Map<number, Outgoing>>();
    const pubrels: Outgoing[] = [];
    for (const [packetId, value] of records) {
      const item = new Outgoing(packetId, value[1]!, mergedMatch([], '', this.host.spelling), null);
      if (value[0] === stagePubrel) pubrels.push(item);
      else {
        const queueId = value.readUInt32BE(2);
        const wanted = byQueue.get(queueId);
        if (wanted === undefined) byQueue.set(queueId, new Map([[value.readDoubleBE(6), item]]));
        else wanted.set(value.readDoubleBE(6), item);
      }
    }
    for (const [queueId, wanted] of byQueue) await this.claim(queueId, wanted);
    for (const item of pubrels) this.inflight.restore(item);
  }

  // What was in flight is at the head of its queue, give or take what was acknowledged around it.
  private async claim(queueId: number, wanted: Map<number, Outgoing>): Promise<void> {
    const queue = [...this.vhost.queues.values()].find((each) => each.id === queueId);
    const others: QueueEntry[] = [];
    const last = Math.max(...wanted.keys());
    let entry = await queue?.get();
    for (; entry !== undefined && wanted.size > 0; entry = wanted.size > 0 ? await queue?.get() : undefined) {
      const { sequence } = entry.message;
      const item = wanted.get(sequence);
      if (item === undefined) {
        others.push(entry);
        if (sequence > last) break;
        continue;
      }
      wanted.delete(sequence);
      const restored = new Outgoing(item.packetId, item.qos, this.matchFor(entry), entry);
      this.inflight.restore(restored);
    }
    for (const other of others) other.release();
    for (const { packetId } of wanted.values()) this.erase(outgoingKind, packetId);
  }

  private record(item: Outgoing, stage: number): Position {
    const value = Buffer.allocUnsafe(14);
    value[0] = stage;
    value[1] = item.qos;
    value.writeUInt32BE(item.entry?.queue.id ?? 0, 2);
    value.writeDoubleBE(item.entry?.message.sequence ?? 0, 6);
    return this.vhost.journal.put(outgoingKind, `${this.key}\0${item.packetId}`, value);
  }

  private erase(kind: string, packetId: number): Position {
    return this.durable || this.saved ? this.vhost.journal.delete(kind, `${this.key}\0${packetId}`) : 0;
  }

  private get key(): string {
    return `${this.vhost.name}\0${this.clientId}`;
  }
}

/** One queue that delivers to a session's connection: one of its own two, a shared one, or one named by `$queue-of`. */
class SessionConsumer implements Consumer {
  readonly settles: boolean;
  readonly priority = 0;
  readonly exclusive = false;
  readonly client: Connection;
  readonly tag: string;
  readonly channel = 1;
  readonly arguments = noHeaders;
  /** Of a queue that is not the session's own. */
  readonly subscription: Subscription | null;
  private readonly session: Session;
  private readonly queue: Queue;
  private readonly match: Match | null;

  constructor(
    session: Session,
    connection: Connection,
    queue: Queue,
    subscription: Subscription | null,
    match: Match | null,
    settles: boolean,
  ) {
    this.session = session;
    this.client = connection;
    this.queue = queue;
    this.subscription = subscription;
    this.match = match;
    this.settles = settles;
    this.tag = session.clientId;
  }

  // The session's own queue of QoS 0 is always served: what the outbox has no room for is dropped there, and counted.
  get ready(): boolean {
    return this.settles || (this.client.hasRoom && !this.session.inflight.hasUnsent);
  }

  get prefetch(): number {
    return this.settles ? 0 : this.client.receiveMaximum;
  }

  get open(): boolean {
    return this.settles || !this.client.stream.blocked;
  }

  deliver(entry: QueueEntry): void {
    const { message } = entry;
    const match = this.match ?? entry.match ?? this.session.matchFor(entry);
    const qos = this.session.qosFor(message, match.qos);
    if (this.settles || qos === 0) {
      this.client.sendUnacknowledged(message, match);
      if (!this.settles) entry.ack();
    } else this.session.send(this.client, entry, qos, match);
  }

  get rejectsLosses(): boolean {
    return this.client.rejectsLosses;
  }

  represents(message: Message): boolean {
    return this.client.represents(message, this.match ?? this.session.matchOf(message));
  }

  cancelled(_why: Condition): void {
    this.session.lost(this.queue);
  }
}
