import type { Client } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Binding } from '../../core/exchange/binding.ts';
import type { Exchange } from '../../core/exchange/exchange.ts';
import { noHeaders } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { LocalQueue } from '../../core/queue/local-queue.ts';
import type { Consumer } from '../../core/queue/queue.ts';
import { showPattern } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Timer } from '../../lib/timers.ts';
import type { Connection } from './connection.ts';
import { Inflight } from './inflight.ts';
import { toPattern } from './topic.ts';

export interface Subscription {
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  /** 0 = none. */
  readonly subscriptionId: number;
}

interface SessionRecord {
  readonly expirySeconds: number;
  readonly subscriptions: readonly Subscription[];
}

/** How a session's queues are named, as RabbitMQ names them. */
function queueName(clientId: string, qos: number): string {
  return `mqtt-subscription-${clientId}qos${qos === 0 ? 0 : 1}`;
}

export const sessionKind = 'mqtt-session';

/**
 * What a client id has beyond one connection: its subscriptions, as bindings of two queues that the other protocols
 * can see, and what was delivered and not acknowledged. The queue of QoS 0 lives while the client is connected; that
 * of QoS 1 and above, in a session that outlives its connection, is durable.
 */
export class Session {
  readonly clientId: string;
  readonly vhost: Vhost;
  readonly subscriptions = new Map<string, Subscription>();
  readonly inflight = new Inflight();
  expirySeconds: number;
  connection: Connection | null = null;
  expiry: Timer | null = null;

  private readonly exchange: Exchange;
  private readonly bindings = new Map<string, Binding>();
  private readonly queues: (LocalQueue | null)[] = [null, null];
  private readonly consumers: (SessionConsumer | null)[] = [null, null];

  constructor(clientId: string, vhost: Vhost, exchange: Exchange, expirySeconds: number) {
    this.clientId = clientId;
    this.vhost = vhost;
    this.exchange = exchange;
    this.expirySeconds = expirySeconds;
  }

  get durable(): boolean {
    return this.expirySeconds > 0;
  }

  /** @throws BrokerError as declaring and binding do */
  subscribe(subscription: Subscription): void {
    this.removeBinding(subscription.filter);
    this.subscriptions.set(subscription.filter, subscription);
    this.addBinding(subscription);
    this.save();
  }

  /** @returns false when there was no such subscription */
  unsubscribe(filter: string): boolean {
    if (!this.subscriptions.delete(filter)) return false;
    this.removeBinding(filter);
    this.save();
    return true;
  }

  /** A connection takes the session up: its queues deliver to it. */
  attach(connection: Connection): void {
    this.expiry?.cancel();
    this.expiry = null;
    this.connection = connection;
    for (const subscription of this.subscriptions.values()) {
      if (!this.bindings.has(subscription.filter)) this.addBinding(subscription);
    }
    for (const [i, queue] of this.queues.entries()) if (queue !== null) this.consume(i, queue);
  }

  /** The connection is gone: what it had in flight returns to the queue. */
  detach(): void {
    this.connection = null;
    for (const [i, consumer] of this.consumers.entries()) {
      if (consumer !== null) this.queues[i]?.detach(consumer);
      this.consumers[i] = null;
    }
    for (const entry of this.inflight.takeAll()) entry.requeue();
    const transient = this.queues[0];
    if (transient === null || transient === undefined) return;
    this.queues[0] = null;
    this.vhost.removeQueue(transient);
    for (const { filter, qos } of this.subscriptions.values()) if (qos === 0) this.bindings.delete(filter);
  }

  /** The session ends: its queues, subscriptions and what it remembered go. */
  end(): void {
    this.expiry?.cancel();
    this.inflight.takeAll();
    for (const queue of this.queues) if (queue !== null) this.vhost.removeQueue(queue);
    this.queues.fill(null);
    this.bindings.clear();
    this.subscriptions.clear();
    if (this.durable) this.vhost.journal.delete(sessionKind, this.key);
  }

  /** Writes what must outlive a crash; sessions that end with their connection write nothing. */
  save(): void {
    if (!this.durable) return;
    const record: SessionRecord = {
      expirySeconds: this.expirySeconds,
      subscriptions: [...this.subscriptions.values()],
    };
    this.vhost.journal.put(sessionKind, this.key, Buffer.from(JSON.stringify(record), 'utf8'));
  }

  /** Puts back what `save` wrote; the durable queue is there already. */
  restore(value: Buffer): void {
    const record = JSON.parse(value.toString('utf8')) as SessionRecord;
    this.expirySeconds = record.expirySeconds;
    for (const subscription of record.subscriptions) {
      this.subscriptions.set(subscription.filter, subscription);
      if (subscription.qos > 0) this.addBinding(subscription);
    }
  }

  /** Ready consumers are given more: there is room in the window or in the outbox again. */
  wake(): void {
    for (const queue of this.queues) queue?.wake();
  }

  private get key(): string {
    return `${this.vhost.name}\0${this.clientId}`;
  }

  private addBinding(subscription: Subscription): void {
    const pattern = toPattern(subscription.filter);
    const queue = this.queueFor(subscription.qos);
    const binding = this.vhost.addBinding(this.exchange, queue, showPattern(pattern), pattern, noHeaders, {
      subscriber: this,
      qos: subscription.qos,
      subscriptionId: subscription.subscriptionId,
      retainAsPublished: subscription.retainAsPublished,
      noLocal: subscription.noLocal,
    });
    this.bindings.set(subscription.filter, binding);
  }

  private removeBinding(filter: string): void {
    const binding = this.bindings.get(filter);
    if (binding === undefined) return;
    this.bindings.delete(filter);
    this.vhost.removeBinding(binding);
  }

  // Made when the first subscription needs it: most sessions never need both.
  private queueFor(qos: number): LocalQueue {
    const index = qos === 0 ? 0 : 1;
    let queue = this.queues[index] ?? null;
    if (queue !== null) return queue;
    const name = queueName(this.clientId, index);
    queue = this.vhost.queues.get(name) ?? null;
    if (queue === null) {
      queue = this.vhost.createQueue({
        name,
        durable: index === 1 && this.durable,
        autoDelete: false,
        exclusiveTo: null,
        arguments: noHeaders,
      });
    }
    this.queues[index] = queue;
    if (this.connection !== null) this.consume(index, queue);
    return queue;
  }

  private consume(index: number, queue: LocalQueue): void {
    const consumer = new SessionConsumer(this, this.connection!, index === 0);
    this.consumers[index] = consumer;
    try {
      queue.attach(consumer);
    } catch (error) {
      // Somebody consumes it exclusively: the session goes on with its other queue.
      if (!(error instanceof BrokerError)) throw error;
      this.consumers[index] = null;
    }
  }
}

/** One of a session's two queues, delivering to its connection. */
class SessionConsumer implements Consumer {
  readonly settles: boolean;
  readonly priority = 0;
  readonly exclusive = false;
  readonly client: Client;
  readonly tag: string;
  private readonly session: Session;
  private readonly connection: Connection;

  constructor(session: Session, connection: Connection, settles: boolean) {
    this.session = session;
    this.connection = connection;
    this.client = connection;
    this.settles = settles;
    this.tag = session.clientId;
  }

  get ready(): boolean {
    // QoS 0 is always taken: what the outbox has no room for is dropped there, and counted.
    return this.settles || this.connection.hasWindow;
  }

  deliver(entry: QueueEntry): void {
    const { message, match } = entry;
    const granted = match?.qos ?? 1;
    const qos = message.qos < 0 ? granted : Math.min(granted, message.qos);
    if (this.settles || qos === 0) {
      this.connection.sendPublish(entry, 0, 0);
      if (!this.settles) entry.ack();
      return;
    }
    this.connection.sendPublish(entry, qos, this.session.inflight.add(entry));
  }

  cancelled(_why: Condition): void {}
}
