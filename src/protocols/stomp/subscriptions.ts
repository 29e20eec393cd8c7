import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Queue } from '../../core/queue/queue.ts';
import { compileSelector } from '../../core/selector.ts';
import type { Pattern } from '../../core/topic.ts';
import { type Settlement, settleEntry } from '../../core/transaction.ts';
import { Browser } from './browser.ts';
import type { Connection } from './connection.ts';
import type { Destination } from './destination.ts';
import { type Durable, findDurableName, isDurable, type TextHeaders } from './endpoints.ts';
import { type FrameReader, ProtocolError } from './frame.ts';
import { isTrue } from './message.ts';
import { type AckMode, type Source, Subscription } from './subscription.ts';
import { Unacked } from './unacked.ts';

const names = {
  id: Buffer.from('id'),
  messageId: Buffer.from('message-id'),
  subscription: Buffer.from('subscription'),
  transaction: Buffer.from('transaction'),
  requeue: Buffer.from('requeue'),
};

/** Ids of the subscriptions that a `reply-to` makes: no client's to give. */
const replyPrefix = '/temp-queue/';

interface Subscribed {
  readonly subscription: Subscription;
  /** It takes nothing of its queues. */
  readonly browser: Browser | null;
  readonly destination: string;
  /** The queue of a durable subscription, by name. */
  readonly durable: string | null;
}

/** SUBSCRIBE, UNSUBSCRIBE, ACK and NACK, of one connection. */
export class Subscriptions {
  readonly unacked = new Unacked();
  private readonly connection: Connection;
  private readonly byKey = new Map<string, Subscribed>();
  private readonly onQueueMade = (queue: Queue): void => this.joinQueue(queue);

  constructor(connection: Connection) {
    this.connection = connection;
  }

  get count(): number {
    return this.byKey.size;
  }

  // — SUBSCRIBE ———————————————————————————————————————————————————————————————————————————————————————————————————

  onSubscribe(headers: TextHeaders, receipt: string | null): void {
    const { connection } = this;
    const before = connection.position;
    const destination = headers.get('destination');
    if (destination === undefined) throw new ProtocolError('Missing destination', missingDestination('SUBSCRIBE'));
    const id = headers.get('id') ?? null;
    if (id === null && connection.version !== '1.0') throw new ProtocolError('Missing header', "SUBSCRIBE needs 'id'");
    if (id?.startsWith(replyPrefix)) {
      throw new ProtocolError('Invalid id', `SUBSCRIBE 'id' may not start with ${replyPrefix}\n`);
    }
    const key = keyOf(id, destination);
    if (this.byKey.has(key)) {
      throw new ProtocolError(
        'Duplicated subscription identifier',
        `A subscription identified by '${key}' already exists.`,
      );
    }
    showDialect(connection, headers);
    const browses = isTrue(headers.get('browser'));
    if (browses && connection.version === '1.0') {
      throw new ProtocolError('Not supported', 'Queue Browser feature only valid for Stomp v1.1+ clients!');
    }
    const ackMode = browses ? 'auto' : parseAckMode(headers.get('ack'));
    const parsed = connection.endpoints.parse(destination);
    if (browses && parsed.some(({ kind }) => kind === 'exchange')) {
      throw new ProtocolError(
        'Invalid destination',
        `'${destination}' is no queue: nothing waits there to be browsed\n`,
      );
    }
    const durable = connection.endpoints.durableOf(headers, destination);
    const isTopic = parsed.every(({ kind }) => kind === 'exchange');
    const wildcards = parsed.map(wildcardOf).filter((wildcard) => wildcard !== null);
    const sources = parsed
      .filter((each) => wildcardOf(each) === null)
      .map((each) => connection.endpoints.sourceOf(each, headers, isTopic ? durable : null));
    for (const wildcard of wildcards) this.addMatching(sources, wildcard);
    for (const { queue } of sources) this.endReplies(queue);
    const filter = this.filterOf(headers, sources, wildcards.length > 0);
    const subscription = new Subscription(connection, {
      id,
      key,
      ackMode,
      prefetch: readInteger(headers, ['prefetch-count', 'activemq.prefetchSize'], 0),
      priority: readInteger(headers, ['x-priority', 'activemq.priority'], 0),
      filter: browses ? null : filter,
      sources,
      wildcards: browses ? [] : wildcards,
    });
    const browser = browses ? new Browser(connection, subscription, destination, filter) : null;
    this.byKey.set(key, { subscription, browser, destination, durable: isTopic ? (durable?.queue ?? null) : null });
    if (browser !== null) {
      return connection.whenSafe(before, receipt, () => {
        subscription.started = true;
        browser.show();
      });
    }
    if (wildcards.length > 0) this.watchQueues();
    this.attach(subscription, key, () => {
      connection.whenSafe(before, receipt, () => {
        subscription.started = true;
        subscription.wake();
      });
    });
  }

  /** The implicit subscription to a temporary queue that a `reply-to` names: automatic, not to be cancelled. */
  subscribeReplies(queue: Queue, name: string): void {
    for (const { subscription } of this.byKey.values()) {
      if (subscription.sources.some((source) => source.queue === queue)) return;
    }
    this.connection.vhost.demand(this.connection, 'read', 'queue', queue.name);
    const id = replyPrefix + name;
    const key = keyOf(id, '');
    const subscription = new Subscription(this.connection, {
      id,
      key,
      ackMode: 'auto',
      prefetch: 0,
      priority: 0,
      filter: null,
      sources: [{ queue, own: true }],
      wildcards: [],
    });
    subscription.started = true;
    this.byKey.set(key, { subscription, browser: null, destination: id, durable: null });
    this.attach(subscription, key, () => {});
  }

  private addMatching(sources: Source[], wildcard: Pattern): void {
    for (const source of this.connection.endpoints.sourcesOf(wildcard)) {
      if (!sources.some(({ queue }) => queue === source.queue)) sources.push(source);
    }
  }

  // A queue was made: those that wildcards of ours mean are sources from now on.
  private joinQueue(queue: Queue): void {
    const { endpoints } = this.connection;
    for (const { subscription } of this.byKey.values()) {
      if (!subscription.wildcards.some((wildcard) => endpoints.matches(wildcard, queue))) continue;
      subscription.sources.push({ queue, own: false, matched: true });
      this.attachTo(queue, subscription);
    }
  }

  private attachTo(queue: Queue, subscription: Subscription): void {
    const failed = (error: unknown): void => this.connection.fail(error, null);
    try {
      queue.attach(subscription)?.catch(failed);
    } catch (error) {
      failed(error);
    }
  }

  private watchQueues(): void {
    const { queueWatchers } = this.connection.vhost;
    const watching = [...this.byKey.values()].some(({ subscription }) => subscription.wildcards.length > 0);
    if (watching) queueWatchers.add(this.onQueueMade);
    else queueWatchers.delete(this.onQueueMade);
  }

  // An explicit subscription takes the place of the implicit one.
  private endReplies(queue: Queue): void {
    for (const [key, { subscription }] of this.byKey) {
      if (!key.startsWith(keyOf(replyPrefix, '')) || subscription.sources[0]?.queue !== queue) continue;
      this.byKey.delete(key);
      queue.detach(subscription);
    }
  }

  private attach(subscription: Subscription, key: string, done: () => void): void {
    const { stream } = this.connection;
    const promises: Promise<void>[] = [];
    try {
      for (const { queue } of subscription.sources) {
        const attached = queue.attach(subscription);
        if (attached instanceof Promise) promises.push(attached);
      }
    } catch (error) {
      this.drop(key);
      throw error;
    }
    if (promises.length === 0) return done();
    stream.hold();
    Promise.all(promises)
      .then(done)
      .catch((error: unknown) => {
        this.drop(key);
        this.connection.fail(error, null);
      })
      .finally(() => stream.release());
  }

  private filterOf(
    headers: TextHeaders,
    sources: readonly Source[],
    hasWildcard: boolean,
  ): ((message: Message) => boolean) | null {
    const { connection } = this;
    const selector = headers.get('selector');
    const isTopic = !hasWildcard && sources.every(({ own }) => own);
    const noLocal = isTopic && (isTrue(headers.get('activemq.noLocal')) || isTrue(headers.get('no-local')));
    const selects =
      selector === undefined || selector.trim() === '' ? null : compileSelector(selector, { textIsTyped: true });
    if (selects !== null && !isTopic && sources.some(({ own }) => own)) {
      throw new ProtocolError('Not implemented', 'a selector over queues and topics at once');
    }
    if (!noLocal) return selects;
    return (message) => message.publisher !== connection && (selects === null || selects(message));
  }

  // — UNSUBSCRIBE —————————————————————————————————————————————————————————————————————————————————————————————————

  onUnsubscribe(headers: TextHeaders): void {
    const { connection } = this;
    showDialect(connection, headers);
    const id = headers.get('id') ?? null;
    if (id?.startsWith(replyPrefix)) {
      throw new ProtocolError('Invalid id', `UNSUBSCRIBE 'id' may not start with ${replyPrefix}\n`);
    }
    const named = findDurableName(headers) !== undefined ? connection.endpoints.durableOf(headers, '') : null;
    const key = this.findKey(headers, id, named);
    const subscribed = key === undefined ? undefined : this.byKey.get(key);
    if (subscribed === undefined && named === null) {
      if (id === null && (connection.version !== '1.0' || !headers.has('destination'))) {
        throw new ProtocolError('Missing destination or id', "UNSUBSCRIBE must include a 'destination' or 'id' header");
      }
      throw new ProtocolError(
        'No subscription found',
        `UNSUBSCRIBE must refer to an existing subscription.\nSubscription to "${nameOf(id, headers.get('destination') ?? '')}" not found.\n`,
      );
    }
    if (key !== undefined) this.drop(key);
    const durable = named?.queue ?? (isDurable(headers) ? (subscribed?.durable ?? null) : null);
    if (durable === null) return;
    const { vhost } = connection;
    vhost.demand(connection, 'configure', 'queue', durable);
    if (named !== null) vhost.getQueue(durable, connection);
    vhost.deleteQueue(connection, durable, false, false);
  }

  private findKey(headers: TextHeaders, id: string | null, named: Durable | null): string | undefined {
    if (id !== null) return this.byKey.has(keyOf(id, '')) ? keyOf(id, '') : undefined;
    const destination = headers.get('destination');
    for (const [key, subscribed] of this.byKey) {
      if (named !== null ? subscribed.durable === named.queue : subscribed.destination === destination) return key;
    }
    return undefined;
  }

  // What was delivered and not settled stays the client's until it settles it or goes; ActiveMQ takes it back at once.
  private drop(key: string): void {
    const subscribed = this.byKey.get(key);
    if (subscribed === undefined) return;
    this.byKey.delete(key);
    const { subscription, browser } = subscribed;
    browser?.stop();
    if (subscription.wildcards.length > 0) this.watchQueues();
    const returned = this.connection.dialect === 'activemq' ? this.unacked.takeAll(subscription) : [];
    for (const { queue } of subscription.sources) queue.detach(subscription);
    for (const entry of returned) entry.requeue();
  }

  /** A queue of the subscription was deleted. */
  cancelled(subscription: Subscription): void {
    const { sources } = subscription;
    for (let i = sources.length - 1; i >= 0; i--) {
      if (!sources[i]!.queue.deleted || sources[i]!.matched !== true) continue;
      sources.splice(i, 1);
      return;
    }
    for (const [key, subscribed] of this.byKey) {
      if (subscribed.subscription !== subscription) continue;
      this.byKey.delete(key);
      this.connection.cancelled(subscription.id, nameOf(subscription.id, subscribed.destination));
    }
  }

  // — ACK, NACK ———————————————————————————————————————————————————————————————————————————————————————————————————

  onAck(frame: FrameReader, command: 'ACK' | 'NACK'): void {
    const { connection, unacked } = this;
    const { version } = connection;
    const name = version === '1.2' ? names.id : names.messageId;
    const index = frame.find(name);
    if (index < 0) throw new ProtocolError('Missing header', `"${command}" must include the "${name}" header\n`);
    const delivery = connection.readDelivery(frame, index);
    const entry = unacked.find(delivery);
    if (entry === null) {
      throw new ProtocolError(
        'Message not found',
        `There is no unacknowledged message '${frame.value(index, version)}'`,
      );
    }
    const subscription = entry.consumer as Subscription;
    const named = version === '1.2' ? -1 : frame.find(names.subscription);
    if (named >= 0 && subscription.id !== null && frame.value(named, version) !== subscription.id) {
      throw new ProtocolError(
        'Subscription not found',
        `message '${frame.value(index, version)}' is not of subscription '${frame.value(named, version)}'`,
      );
    }
    const settlement = command === 'ACK' ? 'ack' : this.nackOf(frame);
    const inTransaction = frame.find(names.transaction);
    if (inTransaction >= 0) {
      return this.settleLater(frame.value(inTransaction, version), delivery, subscription, settlement);
    }
    if (subscription.ackMode === 'client-individual') {
      unacked.take(delivery);
      subscription.unacked -= 1;
      settleEntry(entry, settlementFor(entry, settlement));
    } else {
      // cumulative: all deliveries of the subscription up to this one [STOMP 1.2 §SUBSCRIBE, ack]
      const entries = unacked.takeUpTo(delivery, subscription);
      subscription.unacked -= entries.length;
      for (const each of entries) settleEntry(each, settlementFor(each, settlement));
    }
    subscription.wake();
  }

  private nackOf(frame: FrameReader): Settlement {
    const { version, dialect } = this.connection;
    const index = frame.find(names.requeue);
    if (index >= 0) return isTrue(frame.value(index, version)) ? 'requeue' : 'reject';
    // ActiveMQ's NACK sends a message to the dead letters, RabbitMQ's back to the queue
    return dialect === 'activemq' ? this.connection.endpoints.deadLetters() : 'requeue';
  }

  private settleLater(name: string, delivery: number, subscription: Subscription, settlement: Settlement): void {
    const { unacked } = this;
    const transaction = this.connection.transactions.get(name);
    const isOne = subscription.ackMode === 'client-individual';
    const numbers = isOne ? [delivery] : unacked.numbersUpTo(delivery, subscription);
    for (const number of numbers) {
      const entry = unacked.take(number);
      if (entry === null) continue;
      transaction.settle({ delivery: number, entry, subscription, settlement: settlementFor(entry, settlement) });
    }
  }

  // — flow, and the end ———————————————————————————————————————————————————————————————————————————————————————————

  wake(): void {
    for (const { subscription, browser } of this.byKey.values()) {
      if (browser === null) subscription.wake();
      else browser.show();
    }
  }

  /** The connection is gone: what was delivered and not settled goes back. */
  close(): void {
    const all = [...this.byKey.values()];
    this.byKey.clear();
    this.connection.vhost.queueWatchers.delete(this.onQueueMade);
    for (const { subscription } of all) for (const { queue } of subscription.sources) queue.detach(subscription);
    for (const entry of this.unacked.takeAll(null)) entry.requeue();
  }
}

// ActiveMQ keeps only persistent messages for its dead letter queue.
function settlementFor(entry: QueueEntry, settlement: Settlement): Settlement {
  return typeof settlement === 'object' && !entry.message.durable ? 'reject' : settlement;
}

function wildcardOf(destination: Destination): Pattern | null {
  return destination.kind === 'queue' ? (destination.wildcard ?? null) : null;
}

function keyOf(id: string | null, destination: string): string {
  return id === null ? `Q_${destination}` : `T_${id}`;
}

function nameOf(id: string | null, destination: string): string {
  return id === null ? `destination='${destination}'` : `id='${id}'`;
}

export function missingDestination(command: string): string {
  return `"${command}" must include a 'destination' header\n`;
}

function showDialect(connection: Connection, headers: TextHeaders): void {
  for (const name of headers.keys()) if (name.startsWith('activemq.')) return connection.showActivemq();
}

function parseAckMode(text: string | undefined): AckMode {
  if (text === undefined) return 'auto';
  if (text === 'auto' || text === 'client' || text === 'client-individual') return text;
  throw new ProtocolError('Invalid header', `ack mode '${text}'`);
}

/** @throws ProtocolError for what is no number */
function readInteger(headers: TextHeaders, alternatives: readonly string[], otherwise: number): number {
  for (const name of alternatives) {
    const text = headers.get(name)?.trim();
    if (text === undefined) continue;
    if (!/^-?\d{1,9}$/.test(text)) throw new ProtocolError('Invalid header', `'${name}' must be a number: '${text}'`);
    return Number(text);
  }
  return otherwise;
}
