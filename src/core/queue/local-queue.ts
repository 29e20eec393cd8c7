import { BrokerError, type Condition } from '../errors.ts';
import type { Binding, Match } from '../exchange/binding.ts';
import type { DeathReason, Message } from '../message.ts';
import type { ReplyAliases } from '../reply.ts';
import { AckTimeout } from './ack-timeout.ts';
import type { QueueOptions } from './arguments.ts';
import type { Chore } from './chores.ts';
import type { ColdOwner } from './cold-list.ts';
import type { RecoveredQueue } from './cold-store.ts';
import { ConsumerList } from './consumer-list.ts';
import { type DeadLetterAddress, findDeadLetterAddress, holdsDeadLetters } from './dead-letter.ts';
import { DeclaredQueue } from './declared-queue.ts';
import { Deduplication } from './deduplication.ts';
import { QueueEntry } from './entry.ts';
import { IdleAlarm } from './expiry.ts';
import { ExpiryWatch, expirySlice } from './expiry-watch.ts';
import { GroupList } from './group-list.ts';
import { HeldDeadLetters } from './held-dead-letters.ts';
import { type LastValueOwner, LastValues } from './last-value.ts';
import { LengthLimit } from './length-limit.ts';
import { MessageTtl } from './message-ttl.ts';
import type { Paging } from './pager.ts';
import { createList, type PriorityList } from './priority-list.ts';
import type { Consumer, Queue, QueueCounts, Verdict } from './queue.ts';
import type { QueueOwner } from './queue-owner.ts';
import { RateLimit } from './rate-limit.ts';
import { ReadyList } from './ready-list.ts';
import { Redeliveries } from './redelivery.ts';
import { Remains } from './remains.ts';
import { SelectorSweeps, type SelectorSweepsOwner } from './selector-sweeps.ts';
import type { QueueSpec } from './spec.ts';
import { Sweep } from './sweep.ts';
import { Watchers } from './watchers.ts';

const nothing = (): void => {};
const atOnce = (slice: () => void): void => slice();

/** Who asked for an entry, and waits while it is looked for. */
interface Getting {
  readonly resolve: (entry: QueueEntry | undefined) => void;
  readonly settles: boolean;
}

/** A queue in this process. */
export class LocalQueue extends DeclaredQueue implements Queue, LastValueOwner, SelectorSweepsOwner {
  readonly bindings = new Set<Binding>();
  deleted = false;
  publishedIn = 0;
  settled = 0;
  /** Deliveries to consumers that acknowledge, to others, and by `get`; those that were redeliveries; acks. */
  delivered = 0;
  deliveredSettled = 0;
  fetched = 0;
  fetchedSettled = 0;
  fetchedNothing = 0;
  redelivered = 0;
  acked = 0;
  readyBytes = 0;
  /** QoS 0 messages for which nobody had room. */
  dropped = 0;
  /** Messages that were confirmed and not kept, for their id was known. */
  duplicates = 0;
  /** Messages that went because a newer one had the same last value. */
  replaced = 0;

  /** x-rate-limit, else null. */
  rateLimit: RateLimit | null = null;

  private readonly served: ConsumerList;
  private ready: ReadyList | PriorityList | GroupList;
  /** `ready` with x-message-groups, else null. */
  private groups: GroupList | null = null;
  private wakesLater = false;
  /** A feature is in use that looks at what is published, or at what is settled. */
  private isPicky = false;
  private isAttentive = false;
  private unacked = 0;
  /** Octets of the bodies that are in consumers' hands. */
  unackedBytes = 0;
  private limit: LengthLimit | null;
  /** x-overflow block: publishers wait. */
  private blocks = false;
  private deadLetters: DeadLetterAddress | null;
  /** x-dead-letter-strategy at-least-once, else null. */
  private held: HeldDeadLetters | null = null;
  private messageTtl: MessageTtl | null = null;
  /** Made when the first entry that can expire comes. */
  private expiryWatch: ExpiryWatch | null = null;
  private redeliveries: Redeliveries | null = null;
  private deduplication: Deduplication | null = null;
  private lastValues: LastValues | null = null;
  private ackTimeout: AckTimeout | null = null;
  private idleAlarm: IdleAlarm | null = null;
  /** Browsers that wait for more; null: there is none. */
  private watchers: Watchers | null = null;
  private hadConsumer = false;
  private unwritten: QueueEntry | null = null;
  /** Made when its first entry leaves memory. */
  private coldOwner: ColdOwner | null = null;
  /** Who asked for the first entry while it was still to be read back. */
  private readonly getting: Getting[] = [];
  /** Who asked for all to be served while some of it was still to be read back. */
  private readonly serving: (() => void)[] = [];
  /** Made when the first consumer with a selector comes. */
  private selectorSweeps: SelectorSweeps | null = null;
  /** Lent to consumers that settle by taking: saves an allocation for each such delivery. */
  private lent: QueueEntry | null = null;
  private dispatching = false;

  constructor(spec: QueueSpec, id: number, owner: QueueOwner) {
    super(spec, id, owner);
    const { options } = this;
    this.served = new ConsumerList(options.singleActiveConsumer, options.type === 'quorum');
    this.ready = this.group(createList(options), options);
    this.limit = LengthLimit.of(options);
    this.deadLetters = findDeadLetterAddress(options, this.name);
    this.messageTtl = MessageTtl.of(options.messageTtlMs, this.messageTtl);
    this.watchIdle();
    this.equip(options);
    this.characterize();
  }

  protected override configure(options: QueueOptions): void {
    const before = this.options;
    this.deadLetters = findDeadLetterAddress(options, this.name);
    this.equip(options);
    this.options = options;
    this.served.single = options.singleActiveConsumer;
    this.limit = LengthLimit.of(options);
    this.messageTtl = MessageTtl.of(options.messageTtlMs, this.messageTtl);
    if (
      options.maxPriority !== before.maxPriority ||
      options.messageGroups !== before.messageGroups ||
      String(options.priorityWeights) !== String(before.priorityWeights)
    ) {
      this.rebuild();
    }
    this.characterize();
    if (options.expiresMs !== before.expiresMs) this.watchIdle();
    if (this.messageTtl !== null && options.messageTtlMs !== before.messageTtlMs) this.shorten(this.messageTtl);
    this.held?.retry();
    this.tidy();
    this.wake();
  }

  // The features that are asked for are there, the others are not.
  private equip(options: QueueOptions): void {
    const { owner, id } = this;
    const { journal, timers } = owner;
    if (options.deliveryLimit < 0 && options.retryDelaysMs.length === 0) {
      for (const entry of this.redeliveries?.takeAll() ?? []) this.comeBack(entry);
      this.redeliveries = null;
    } else {
      this.redeliveries ??= new Redeliveries(options, id, journal, timers, () => this.retry());
      this.redeliveries.options = options;
    }
    if (options.deduplicationWindowMs < 0) {
      this.deduplication?.clear();
      this.deduplication = null;
    } else {
      const windowMs = options.deduplicationWindowMs;
      this.deduplication ??= new Deduplication(windowMs, id, journal, timers, () => owner.nowMs);
      this.deduplication.windowMs = windowMs;
    }
    if (options.lastValueKey !== (this.lastValues?.key ?? null)) this.keepLast(options.lastValueKey);
    if (options.ackTimeoutMs < 0) {
      this.ackTimeout?.close();
      this.ackTimeout = null;
    } else {
      this.ackTimeout ??= new AckTimeout(options.ackTimeoutMs, timers, () => this.recallDue());
      this.ackTimeout.change(options.ackTimeoutMs, owner.nowMs);
    }
    this.holdDead(options);
    this.rateLimit?.close();
    this.rateLimit =
      options.rateLimit < 0 ? null : new RateLimit(options.rateLimit, owner.nowMs, timers, () => this.wake());
  }

  // What waits moves to a list of the kind that is asked for now.
  private rebuild(): void {
    const before = this.ready;
    const list = createList(this.options);
    this.ready = this.group(list, this.options);
    this.expiryWatch?.move(this.ready);
    // what has left memory comes back later, and each to its place
    const move = (entry: QueueEntry): boolean => {
      list.restore(entry);
      if (entry.expiresAtMs > 0) this.expiryWatch?.expiries.add(entry);
      return true;
    };
    before.sweep(new Sweep(move, nothing, atOnce));
  }

  private group(list: ReadyList | PriorityList, options: QueueOptions): ReadyList | PriorityList | GroupList {
    this.groups = options.messageGroups ? new GroupList(list, this.served, () => this.wakeLater()) : null;
    return this.groups ?? list;
  }

  // What waits lives as if it had come now; what has less time left keeps that.
  private shorten(ttl: MessageTtl): void {
    const { owner } = this;
    if (ttl.ms < 0) return;
    ttl.shorten(owner.nowMs, owner.nextSequence());
    for (const entry of this.ready) ttl.apply(entry);
    this.ready.shorten(ttl.shortenedToMs);
    if (this.ready.length === 0) return;
    this.expiryWatch?.expiries.clear();
    this.watchExpiry().addAll();
  }

  private watchIdle(): void {
    this.idleAlarm?.cancel();
    const { owner, options } = this;
    this.idleAlarm =
      options.expiresMs < 0 ? null : new IdleAlarm(owner, options.expiresMs, () => owner.queueUnused(this));
    if (this.served.length > 0) this.idleAlarm?.consumed(true);
  }

  /** By priority, highest first. */
  get consumers(): readonly Consumer[] {
    return this.served.all;
  }

  get nowMs(): number {
    return this.owner.nowMs;
  }

  get replies(): ReplyAliases {
    return this.owner.replies;
  }

  get counts(): QueueCounts {
    return {
      ready: this.length,
      unacked: this.unacked,
      consumers: this.served.length,
    };
  }

  /** False for one that waits until x-single-active-consumer lets it be served. */
  isActive(consumer: Consumer): boolean {
    return this.served.isActive(consumer);
  }

  publish(message: Message, match: Match | null): Verdict {
    this.publishedIn += 1;
    if (match !== null && message.qos === 0 && !match.keepsQos0) return this.publishFleeting(message, match);
    if (this.isPicky) return this.publishPicked(message, match);
    if (this.ready.length === 0) {
      const consumer = this.nextConsumer();
      if (consumer !== null) {
        if (consumer.settles) this.handOver(consumer, message, match);
        else this.deliverNew(consumer, message, match);
        return 'accepted';
      }
    }
    const entry = this.makeEntry(message, match);
    this.ready.push(entry);
    this.readyBytes += message.bodyBytes;
    if (entry.expiresAtMs > 0) this.added(entry);
    else if (this.expiryWatch !== null) this.expiryWatch.expiries.unending();
    return 'accepted';
  }

  // Which features are in use, so that the others cost a message nothing: two looks for a dozen.
  private characterize(): void {
    const { options, served } = this;
    const looksAtMessages = this.deduplication !== null || this.lastValues !== null || this.groups !== null;
    const looksAtConsumers =
      served.selecting > 0 || options.rejectsLosses || served.rejectsLosses || this.watchers !== null;
    this.isPicky = this.limit !== null || looksAtMessages || looksAtConsumers;
    const remembers = this.redeliveries !== null || this.ackTimeout !== null;
    this.isAttentive = this.groups !== null || remembers || served.successor !== null;
  }

  // Not every message is taken, or not by everybody.
  private publishPicked(message: Message, match: Match | null): Verdict {
    const id = this.deduplication === null ? null : Deduplication.idOf(message);
    if (id !== null && this.deduplication!.has(id)) return this.repeated(message);
    const value = this.lastValues === null ? null : this.lastValues.valueOf(message);
    if (this.limit !== null && !this.acceptsValue(value, message.bodyBytes)) return this.refuse(message);
    if (id !== null) this.deduplication!.add(id, this.keeps(message));
    if (value !== null) this.lastValues!.replace(value);
    if (this.groups !== null) return this.publishInGroup(message, match, value);
    const sweeps = this.served.selecting > 0 ? this.selectorSweeps : null;
    if (this.ready.length === 0 || sweeps !== null) {
      const consumer = sweeps !== null ? sweeps.nextFor(message) : this.nextConsumer();
      if (consumer !== null) {
        if (value !== null) this.lastValues!.forget(value);
        if (this.isRejectedFor(consumer, message)) return this.rejectUnsaid(message);
        if (consumer.settles) this.handOver(consumer, message, match);
        else this.deliverNew(consumer, message, match);
        return 'accepted';
      }
    }
    const entry = this.makeEntry(message, match);
    this.ready.push(entry);
    this.readyBytes += message.bodyBytes;
    if (this.watchers !== null) this.watchers.tell();
    if (value !== null) this.lastValues!.add(value, entry);
    if (this.limit !== null || entry.expiresAtMs > 0) this.added(entry);
    else if (this.expiryWatch !== null) this.expiryWatch.expiries.unending();
    return 'accepted';
  }

  // It may have to wait though others need not, and others may be ahead that need not either.
  private publishInGroup(message: Message, match: Match | null, value: string | null): Verdict {
    const entry = this.makeEntry(message, match);
    const own = this.unwritten;
    this.unwritten = null; // a delivery that publishes to this queue again has an entry of its own to write
    this.ready.push(entry);
    this.readyBytes += message.bodyBytes;
    if (this.watchers !== null) this.watchers.tell();
    if (value !== null) this.lastValues!.add(value, entry);
    this.wake();
    this.unwritten = own;
    if (entry.state === 'ready' && (this.limit !== null || entry.expiresAtMs > 0)) this.added(entry);
    return 'accepted';
  }

  private repeated(message: Message): Verdict {
    this.duplicates += 1;
    // the first of them may not be on the disk yet
    if (this.keeps(message)) this.owner.confirmsAfter(this.owner.journal.position);
    return 'accepted';
  }

  // At most once: it does not wait behind what waits for acknowledgements, and nobody's window counts it.
  private publishFleeting(message: Message, match: Match): Verdict {
    const consumer = this.served.nextOpen();
    if (consumer === null) this.dropped += 1;
    else if (this.isRejectedFor(consumer, message)) return this.rejectUnsaid(message);
    else if (consumer.settles) this.handOver(consumer, message, match);
    else this.deliverNew(consumer, message, match);
    return 'accepted';
  }

  accepts(count: number, bytes: number): boolean {
    const limit = this.limit;
    return limit === null || !limit.refuses || !limit.exceeded(this.kept + count, this.keptBytes + bytes);
  }

  takeUnwritten(): QueueEntry | null {
    const entry = this.unwritten;
    this.unwritten = null;
    return entry;
  }

  settle(entry: QueueEntry): void {
    if (entry.state === 'settled') return;
    if (entry.state === 'unacked') {
      this.unacked -= 1;
      this.unackedBytes -= entry.message.bodyBytes;
      this.acked += 1;
    } else if (entry.state === 'ready') {
      this.readyBytes -= entry.message.bodyBytes;
      if (this.lastValues !== null) this.lastValues.remove(entry);
      if (this.blocks) this.relieve();
    }
    entry.state = 'settled';
    this.settled += 1;
    if (this.isAttentive) this.attend(entry);
    if (entry.journal === 'written') this.owner.journal.settle(entry);
  }

  // The entry is settled.
  private attend(entry: QueueEntry): void {
    this.groups?.settled(entry);
    this.redeliveries?.forget(entry);
    this.ackTimeout?.ended(entry);
    if (this.served.successor !== null) this.succeed();
  }

  // The consumer took it by being handed it: nobody acks it.
  private settleDelivered(entry: QueueEntry): void {
    this.deliveredSettled += 1;
    this.acked -= 1;
    this.settle(entry);
  }

  requeue(entry: QueueEntry, counted: boolean): void {
    if (entry.state !== 'unacked') return;
    if (this.deleted) return this.settle(entry);
    this.unacked -= 1;
    this.unackedBytes -= entry.message.bodyBytes;
    entry.state = 'waiting';
    entry.consumer = null;
    if (this.served.successor !== null) this.succeed();
    if (this.ackTimeout !== null) this.ackTimeout.ended(entry);
    if (counted) {
      entry.deliveryCount += 1;
      entry.redelivered = true;
      if (this.redeliveries !== null && !this.mayReturn(this.redeliveries, entry)) return;
    }
    this.comeBack(entry);
    this.wake();
    this.tidy();
  }

  // Its consumer kept a delivery too long: another entry of the same message, in the same place, is what goes on. The one
  // that the consumer has settles nothing any more.
  private recallDue(): void {
    const { nowMs, journal } = this.owner;
    for (let left = expirySlice; left > 0; left--) {
      const entry = this.ackTimeout?.takeDue(nowMs);
      if (entry === undefined) return;
      if (this.lastValues?.isOutdated(entry)) {
        this.acked -= 1; // no consumer's ack
        this.settle(entry);
        continue;
      }
      const { message } = entry;
      const again = new QueueEntry(this, message, entry.match);
      again.expiresAtMs = entry.expiresAtMs;
      again.deliveryCount = entry.deliveryCount;
      again.state = 'unacked';
      this.unacked += 1;
      this.unackedBytes += message.bodyBytes;
      if (entry.journal === 'written') journal.replace(entry, again);
      else if (this.keeps(message)) journal.publish(again); // in the place of the one that is settled below
      this.acked -= 1; // no consumer's ack
      this.groups?.recalled(entry);
      this.settle(entry);
      this.requeue(again, true);
    }
    this.ackTimeout?.goOn(nowMs);
  }

  private mayReturn(redeliveries: Redeliveries, entry: QueueEntry): boolean {
    const { nowMs } = this.owner;
    switch (redeliveries.judge(entry, nowMs)) {
      case 'now':
        return true;
      case 'later':
        redeliveries.hold(entry, nowMs);
        this.groups?.delay(entry);
        return false;
      case 'never':
        this.die(entry, 'delivery_limit');
        return false;
    }
  }

  // To its place among the ready.
  private comeBack(entry: QueueEntry): void {
    if (this.lastValues !== null) {
      if (this.lastValues.isOutdated(entry)) return this.settle(entry);
      this.lastValues.restore(entry);
    }
    entry.state = 'ready';
    this.ready.restore(entry);
    if (this.selectorSweeps !== null) this.selectorSweeps.cameBack(entry);
    this.readyBytes += entry.message.bodyBytes;
    if (this.watchers !== null) this.watchers.tell();
    if (entry.expiresAtMs > 0) this.watchExpiry().restored(entry);
  }

  private retry(): void {
    const { nowMs } = this.owner;
    let left = expirySlice;
    for (; left > 0; left--) {
      const entry = this.redeliveries?.takeDue(nowMs);
      if (entry === undefined) break;
      this.comeBack(entry);
    }
    if (left === 0) this.redeliveries?.goOn(nowMs);
    this.wake();
    this.tidy();
  }

  /** How many wait, invisible, for their next delivery. */
  get waiting(): number {
    return this.redeliveries?.waiting ?? 0;
  }

  /** What the journal remembers of the queue's features; before its entries. */
  restoreRedelivery(sequence: number, value: Buffer): void {
    this.redeliveries?.restore(sequence, value);
  }

  restoreDeath(sequence: number, value: Buffer): void {
    this.held?.restore(sequence, value);
  }

  restoreDeduplication(id: string, value: Buffer): void {
    this.deduplication?.restore(id, value);
  }

  reject(entry: QueueEntry, otherwise: DeadLetterAddress | null, reason: DeathReason = 'rejected'): void {
    if (entry.state === 'settled') return;
    this.die(entry, reason, otherwise);
  }

  /** Drops what is expired or too much; to be called when the owner was told that the queue is untidy. */
  tidy(): void {
    if (this.expiryWatch !== null) this.expiryWatch.drop();
    const limit = this.limit;
    if (this.blocks) this.relieve();
    if (this.expiryWatch?.isBehind === true || limit === null || limit.refuses || limit.blocks) return;
    while (this.ready.length > 0 && limit.exceeded(this.length, this.readyBytes)) {
      const entry = this.ready.shift();
      if (entry === undefined) return; // it is still to be read back
      this.die(entry, 'maxlen');
    }
  }

  /** Declared again: it is in use. */
  used(): void {
    this.idleAlarm?.used();
  }

  wake(): void {
    // A delivery may make its own consumer ready again: the loop below sees it, a second one inside would recurse.
    if (this.dispatching) return;
    if (this.groups !== null) return this.wakeGroups(this.groups);
    if (this.selectorSweeps !== null && this.served.selecting > 0) return this.wakeSelecting(this.selectorSweeps);
    this.dispatching = true;
    if (this.expiryWatch !== null) this.expiryWatch.drop();
    while (this.ready.length > 0 && this.expiryWatch?.isBehind !== true) {
      const consumer = this.nextConsumer();
      if (consumer === null) break;
      const entry = this.shift();
      if (entry === undefined) break;
      this.hand(entry, consumer);
    }
    if (this.expiryWatch !== null) this.expiryWatch.setAlarm();
    this.dispatching = false;
  }

  serve(): void | Promise<void> {
    this.wake();
    if (this.isServed) return;
    return new Promise((resolve) => this.serving.push(resolve));
  }

  private get isServed(): boolean {
    if (this.deleted) return true;
    return this.selectorSweeps?.isUnderWay !== true && !this.ready.isReading && this.expiryWatch?.isBehind !== true;
  }

  private answerServed(): void {
    if (this.serving.length > 0 && this.isServed) for (const resolve of this.serving.splice(0)) resolve();
  }

  // It is taken from the ready ones.
  private hand(entry: QueueEntry, consumer: Consumer): void {
    if (this.isRejectedFor(consumer, entry.message)) return this.die(entry, 'unrepresentable');
    entry.consumer = consumer;
    if (entry.redelivered) this.redelivered += 1;
    consumer.deliver(entry);
    if (consumer.settles) this.settleDelivered(entry);
    else this.delivered += 1;
  }

  private wakeSelecting(sweeps: SelectorSweeps): void {
    if (!sweeps.woken()) return;
    this.dispatching = true;
    if (this.expiryWatch === null || this.expiryWatch.drop()) {
      this.ready.sweep(sweeps.begin());
      if (this.expiryWatch !== null) this.expiryWatch.setAlarm();
    }
    this.dispatching = false;
  }

  handWaiting(entry: QueueEntry, consumer: Consumer): void {
    const wasDispatching = this.dispatching;
    this.dispatching = true;
    if (this.begin(entry)) this.hand(entry, consumer);
    this.dispatching = wasDispatching;
  }

  sweepEnded(): void {
    this.answerServed();
  }

  private wakeGroups(groups: GroupList): void {
    this.dispatching = true;
    while (groups.length > 0 && (this.rateLimit === null || this.rateLimit.isOpen(this.owner.nowMs))) {
      if (this.expiryWatch !== null && !this.expiryWatch.drop()) break;
      const entry = groups.take();
      if (entry === undefined) break;
      if (!this.begin(entry)) continue;
      if (entry.expiresAtMs > 0 && entry.expiresAtMs <= this.owner.nowMs) {
        this.die(entry, 'expired'); // it stood behind others
        continue;
      }
      if (this.rateLimit !== null) this.rateLimit.spend();
      this.hand(entry, groups.taker!);
    }
    if (this.expiryWatch !== null) this.expiryWatch.setAlarm();
    this.dispatching = false;
  }

  // A consumer of a higher priority takes over, once nothing is unacked any longer.
  private succeed(): void {
    if (this.served.successor === null || this.unacked > 0) return;
    this.served.succeed();
    this.characterize();
    this.selectorSweeps?.selectAnew();
    this.wakeLater();
  }

  // For those who have been told already that what they had is settled.
  private wakeLater(): void {
    if (this.wakesLater) return;
    this.wakesLater = true;
    this.owner.timers.after(0, () => {
      this.wakesLater = false;
      this.served.isHandingOver = false;
      this.wake();
    });
  }

  attach(consumer: Consumer): void {
    if (this.deleted) throw new BrokerError('not-found', `no ${this.what}`);
    const { served } = this;
    if (served.isExclusive() || (consumer.exclusive && (served.single || served.length > 0))) {
      throw new BrokerError('unauthorized-access', `${this.what} in exclusive use`);
    }
    const wasPlain = served.selecting === 0;
    served.add(consumer);
    if (served.selecting > 0) this.selectorSweeps ??= new SelectorSweeps(this, served);
    this.characterize();
    this.succeed();
    // what is behind may overtake from now on
    if (wasPlain && served.selecting > 0) this.expiryWatch?.addAll();
    this.groups?.joined(consumer);
    this.hadConsumer = true;
    this.selectorSweeps?.selectAnew();
    this.idleAlarm?.consumed(true);
    this.wake();
  }

  detach(consumer: Consumer): void {
    const { served } = this;
    if (!served.remove(consumer)) return;
    this.characterize();
    this.groups?.left(consumer);
    this.selectorSweeps?.selectAnew();
    if (served.length === 0) this.idleAlarm?.consumed(false);
    if (served.length === 0 && this.spec.autoDelete && this.hadConsumer && !this.deleted) {
      this.owner.queueUnused(this);
    } else if (served.single) {
      served.isHandingOver = this.unacked > 0; // what the last one had comes back first
      this.wakeLater();
    } else if (this.groups !== null) this.wake();
  }

  get(settles = false): QueueEntry | undefined | Promise<QueueEntry | undefined> {
    this.idleAlarm?.used();
    const entry = this.getting.length === 0 ? this.shift() : undefined;
    if (this.expiryWatch !== null) this.expiryWatch.setAlarm();
    if (entry === undefined && this.isReading) return new Promise((resolve) => this.getting.push({ resolve, settles }));
    this.countGet(entry, settles);
    return entry;
  }

  private countGet(entry: QueueEntry | undefined, settles: boolean): void {
    if (entry === undefined) {
      this.fetchedNothing += 1;
      return;
    }
    if (entry.redelivered) this.redelivered += 1;
    if (!settles) this.fetched += 1;
    else {
      this.fetchedSettled += 1;
      this.acked -= 1; // no consumer's ack
    }
  }

  browse(after: QueueEntry | null, count: number): readonly QueueEntry[] | Promise<readonly QueueEntry[]> {
    const found = this.ready.browse(after, count);
    if (this.lastValues === null) return found;
    const isThere = (entry: QueueEntry): boolean => this.lastValues?.isStale(entry) !== true;
    return found instanceof Promise ? found.then((entries) => entries.filter(isThere)) : found.filter(isThere);
  }

  watch(arrived: () => void): void {
    this.watchers ??= new Watchers(this.owner.timers);
    this.watchers.add(arrived);
    this.characterize();
  }

  unwatch(arrived: () => void): void {
    if (this.watchers?.remove(arrived)) this.watchers = null;
    this.characterize();
  }

  purge(): number | Promise<number> {
    const count = this.length;
    const settling = this.owner.chores.run(this.empty(new Remains()));
    return settling === undefined ? count : settling.then(() => count);
  }

  // Nothing is ready any longer, and it is counted so; the journal, which must know too, is told as the chore is done.
  private empty(remains: Remains): Chore {
    this.settled += this.ready.length;
    this.ready.clear(remains);
    this.lastValues?.clear();
    this.expiryWatch?.emptied();
    this.readyBytes = 0;
    if (this.blocks) this.relieve();
    this.answerGets();
    const { redeliveries } = this;
    const store = this.coldOwner?.store ?? null;
    return remains.settle(
      (entry) => this.discard(entry),
      (slot) => {
        if (redeliveries !== null) redeliveries.forgetSequence(store!.sequence(slot));
        store!.settle(slot);
      },
    );
  }

  // It was counted as settled when it was taken from the list.
  private discard(entry: QueueEntry): void {
    if (entry.state === 'settled') return;
    entry.state = 'settled';
    this.redeliveries?.forget(entry);
    if (entry.journal === 'written') this.owner.journal.settle(entry);
  }

  /** Tells the consumers; what was delivered and not acked is gone with the queue. */
  close(why: Condition): void {
    this.deleted = true;
    for (const consumer of this.served.clear()) consumer.cancelled(why);
    this.answerServed();
    const waiting = this.redeliveries?.takeAll() ?? [];
    const remains = new Remains();
    remains.add(waiting);
    this.settled += waiting.length + (this.held?.close(remains) ?? 0);
    const { chores } = this.owner;
    void chores.run(this.empty(remains)); // the journal, too, must know that they are gone: their space comes back
    if (this.redeliveries !== null) void chores.run(this.redeliveries.forgetAll());
    if (this.held !== null) void chores.run(this.held.forgetAll());
    if (this.deduplication !== null) void chores.run(this.deduplication.forgetAll());
    this.expiryWatch?.close();
    this.idleAlarm?.cancel();
    this.redeliveries?.close();
    this.ackTimeout?.close();
    this.rateLimit?.close();
  }

  // — entries that leave memory ————————————————————————————————————————————————————————————————————————————————————

  /** Octets of ready bodies, and of dead letters that are held, that are in memory. */
  get memoryBytes(): number {
    const readyBytes = Math.max(0, this.readyBytes - this.ready.coldBytes); // what is stale counts in one of them
    return this.held === null ? readyBytes : readyBytes + this.held.memoryBytes;
  }

  /** Ready entries, and dead letters that are held, that are in memory. */
  get memoryEntries(): number {
    return this.held === null ? this.ready.memoryLength : this.ready.memoryLength + this.held.memoryLength;
  }

  /** The first ready entry; undefined when there is none, it has left memory, or entries do not leave in one order. */
  get head(): QueueEntry | undefined {
    return this.ready instanceof ReadyList ? this.ready.peek() : undefined;
  }

  /**
   * Lets dead letters that are held leave memory, then ready entries behind the first `keep`: a slice of them.
   * @returns true when the slice is used up
   */
  page(paging: Paging, keep: number): boolean {
    const owner = this.ownerOfCold(paging);
    return this.held?.page(paging) === true || this.ready.freeze(keep, paging.sliceEntries, owner);
  }

  /** The entries that were there when the broker stopped; called once, before anything else comes. */
  restore(recovered: RecoveredQueue, paging: Paging): void {
    const ttl = this.messageTtl?.hasShortened ? this.messageTtl : null;
    let expires = ttl !== null; // by a policy that is younger than the messages
    const slots = this.held === null ? recovered.slots : this.held.adopt(recovered, paging);
    for (const slot of slots) {
      this.readyBytes += recovered.bodyBytes(slot);
      if (recovered.expiresAtMs(slot) > 0) expires = true;
    }
    this.ready.adopt(recovered, slots, this.ownerOfCold(paging));
    this.lastValues?.read();
    if (ttl !== null) this.ready.shorten(ttl.shortenedToMs);
    if (expires) this.watchExpiry().addAll();
    this.tidy(); // what consumers had has come back: it may be more than the queue keeps
  }

  private ownerOfCold(paging: Paging): ColdOwner {
    this.coldOwner ??= {
      queue: this,
      store: paging.store,
      revive: (entry) => {
        entry.message.replies = this.replies;
        this.redeliveries?.revive(entry);
        this.lastValues?.revive(entry);
        this.messageTtl?.apply(entry);
      },
      froze: (entry) => {
        this.lastValues?.freeze(entry);
        entry.state = 'waiting'; // another one comes back in its place
      },
      thawed: (entry) => this.watchExpiry().expiries.add(entry),
      arrived: () => {
        this.swept();
        this.wake();
        this.answerServed();
      },
      swept: () => {
        this.swept();
        this.answerServed();
      },
      failed: (why, again) => paging.failed(this, why, again),
    };
    return this.coldOwner;
  }

  private swept(): void {
    if (this.deleted) return;
    this.tidy();
    this.answerGets();
    if (this.expiryWatch !== null) this.expiryWatch.setAlarm();
  }

  // What was asked for and not found may still be read back, or stand behind what is expired.
  private get isReading(): boolean {
    if (this.expiryWatch?.isBehind === true) return true;
    return this.groups === null ? this.ready.length > 0 : this.groups.isReading;
  }

  private answerGets(): void {
    while (this.getting.length > 0) {
      const entry = this.shift();
      if (entry === undefined && this.isReading) return;
      const { resolve, settles } = this.getting.shift()!;
      this.countGet(entry, settles);
      resolve(entry);
    }
  }

  // — the first ready entry ———————————————————————————————————————————————————————————————————————————————————————

  // Takes it, unacked from now on; what is expired is not handed out.
  private shift(): QueueEntry | undefined {
    if (this.expiryWatch !== null && !this.expiryWatch.drop()) return undefined;
    for (;;) {
      const entry = this.groups === null ? this.ready.shift() : this.groups.fetch();
      if (entry === undefined || this.begin(entry)) return entry;
    }
  }

  // It has left the ready ones for a consumer's hands. @returns false for one that was read back, and still has to wait
  private begin(entry: QueueEntry): boolean {
    if (this.lastValues !== null) {
      if (this.dropsStale(this.lastValues, entry)) return false;
      this.lastValues.remove(entry);
    }
    this.readyBytes -= entry.message.bodyBytes;
    if (this.blocks) this.relieve();
    if (this.redeliveries?.isHeld(entry, this.owner.nowMs)) {
      entry.state = 'waiting';
      this.redeliveries.hold(entry, this.owner.nowMs);
      this.groups?.delay(entry);
      return false;
    }
    entry.state = 'unacked';
    this.unacked += 1;
    this.unackedBytes += entry.message.bodyBytes;
    if (this.ackTimeout !== null) this.ackTimeout.delivered(entry, this.owner.nowMs);
    return true;
  }

  private blockFrom(limit: LengthLimit, { publisher }: Message): void {
    if (publisher === null || !limit.isFull(this.kept, this.keptBytes)) return;
    this.blocks = true;
    this.owner.queueFull(this, publisher);
  }

  // Something left the ready ones, or the limit changed.
  private relieve(): void {
    const { limit } = this;
    if (!this.deleted && limit?.blocks && !limit.hasRoom(this.kept, this.keptBytes)) return;
    this.blocks = false;
    this.owner.queueHasRoom(this);
  }

  private added(entry: QueueEntry): void {
    const limit = this.limit;
    if (limit?.blocks) this.blockFrom(limit, entry.message);
    const tooMuch = limit !== null && !limit.refuses && !limit.blocks && limit.exceeded(this.length, this.readyBytes);
    // with groups and selectors what is behind may overtake
    if (entry.expiresAtMs > 0) this.watchExpiry().pushed(entry, this.groups !== null || this.served.selecting > 0);
    else if (this.expiryWatch !== null) this.expiryWatch.expiries.unending();
    if (tooMuch || (entry.expiresAtMs > 0 && entry.expiresAtMs <= this.owner.nowMs)) this.owner.untidy(this);
  }

  private watchExpiry(): ExpiryWatch {
    this.expiryWatch ??= new ExpiryWatch(this.ready, this.owner, {
      expired: (entry) => this.die(entry, 'expired'),
      due: () => this.tidy(),
      caughtUp: () => {
        this.wake();
        this.answerGets();
        this.answerServed();
      },
    });
    return this.expiryWatch;
  }

  readonly later = (slice: () => void): void => {
    this.owner.timers.after(0, slice);
  };

  private die(entry: QueueEntry, reason: DeathReason, otherwise: DeadLetterAddress | null = null): void {
    if (this.lastValues !== null && this.dropsStale(this.lastValues, entry)) return;
    if (this.held !== null && !this.deleted) return this.dieSafely(this.held, entry, reason);
    const to = this.deadLetters ?? otherwise;
    if (to !== null && !this.deleted) this.owner.deadLetter(this, to, entry.message, reason);
    if (entry.state === 'unacked') this.acked -= 1; // no consumer's ack
    this.settle(entry);
  }

  private refuse(message: Message): Verdict {
    if (this.limit?.deadLettersRefused && this.deadLetters !== null) {
      this.owner.deadLetter(this, this.deadLetters, message, 'maxlen');
    }
    return 'refused';
  }

  // x-on-loss: what this consumer's protocol has no words for.
  private isRejectedFor(consumer: Consumer, message: Message): boolean {
    if (!this.options.rejectsLosses && !this.served.rejectsLosses) return false;
    if (!this.options.rejectsLosses && consumer.rejectsLosses !== true) return false;
    return consumer.represents?.(message) === false;
  }

  // Before it had a place here.
  private rejectUnsaid(message: Message): Verdict {
    if (this.held !== null) return this.rejectSafely(this.held, message);
    if (this.deadLetters !== null) this.owner.deadLetter(this, this.deadLetters, message, 'unrepresentable');
    this.settled += 1;
    if (message.durable) this.owner.confirmsAfter(this.owner.journal.position); // its dead letter's
    return 'accepted';
  }

  private makeEntry(message: Message, match: Match | null): QueueEntry {
    message.rest();
    const entry = new QueueEntry(this, message, match);
    entry.expiresAtMs =
      this.messageTtl === null ? message.expiresAtMs : this.messageTtl.expiryOf(message, this.owner.nowMs);
    if (this.keeps(message)) this.unwritten = entry;
    return entry;
  }

  private deliverNew(consumer: Consumer, message: Message, match: Match | null): void {
    const entry = this.makeEntry(message, match);
    entry.state = 'unacked';
    this.unacked += 1;
    this.unackedBytes += message.bodyBytes;
    entry.consumer = consumer;
    if (this.ackTimeout !== null) this.ackTimeout.delivered(entry, this.owner.nowMs);
    const own = this.unwritten;
    this.unwritten = null; // a delivery that publishes to this queue again has an entry of its own to write
    this.delivered += 1;
    consumer.deliver(entry);
    this.unwritten = own;
  }

  // Neither kept nor written: it is gone as soon as it is handed over.
  private handOver(consumer: Consumer, message: Message, match: Match | null): void {
    const entry = this.lent ?? new QueueEntry(this, message, match);
    this.lent = null; // a delivery that publishes to this queue again finds none, and makes its own
    entry.message = message;
    entry.match = match;
    entry.state = 'unacked';
    consumer.deliver(entry);
    entry.state = 'settled';
    this.settled += 1;
    this.deliveredSettled += 1;
    this.lent = entry;
  }

  private nextConsumer(): Consumer | null {
    return this.rateLimit === null ? this.served.next() : this.nextPaced(this.rateLimit);
  }

  private nextPaced(rateLimit: RateLimit): Consumer | null {
    if (!rateLimit.isOpen(this.owner.nowMs)) return null;
    const consumer = this.served.next();
    if (consumer !== null) rateLimit.spend();
    return consumer;
  }

  // — dead letters that are held ————————————————————————————————————————————————————————————————————————————————————

  /** How many died whose dead letters are not safe yet, the octets of their bodies, and how many are in memory. */
  get deadHeld(): { readonly count: number; readonly bytes: number; readonly memoryCount: number } {
    const { held } = this;
    return { count: held?.length ?? 0, bytes: held?.bytes ?? 0, memoryCount: held?.memoryLength ?? 0 };
  }

  // What counts against its limit: the ready ones, and the dead that have not gone yet.
  private get kept(): number {
    return this.held === null ? this.length : this.length + this.held.length;
  }

  private get keptBytes(): number {
    return this.held === null ? this.readyBytes : this.readyBytes + this.held.bytes;
  }

  private holdDead(options: QueueOptions): void {
    const { owner } = this;
    if (!holdsDeadLetters(options)) {
      this.held?.letGo();
      return;
    }
    this.held ??= new HeldDeadLetters({
      queue: this,
      timers: owner.timers,
      journal: owner.journal,
      sendDeadLetter: (message, death) =>
        this.deadLetters !== null && owner.deadLetterSafely(this, this.deadLetters, message, death),
      firstHeld: () => owner.deadLettersHeld(this),
      deadLetterGone: (entry) => {
        this.settle(entry);
        if (this.blocks) this.relieve();
      },
      allGone: () => {
        this.held = null;
      },
    });
    this.held.keep();
  }

  private dieSafely(held: HeldDeadLetters, entry: QueueEntry, reason: DeathReason): void {
    if (held.send(entry, reason, this.owner.nowMs)) {
      if (entry.state === 'unacked') this.acked -= 1; // no consumer's ack
      return this.settle(entry);
    }
    if (entry.state === 'unacked') {
      this.unacked -= 1;
      this.unackedBytes -= entry.message.bodyBytes;
    } else if (entry.state === 'ready') {
      this.readyBytes -= entry.message.bodyBytes;
      this.lastValues?.remove(entry);
    }
    entry.state = 'waiting';
    entry.consumer = null;
    if (this.isAttentive) this.attend(entry); // for its group and its consumer it is done with
  }

  private rejectSafely(held: HeldDeadLetters, message: Message): Verdict {
    const entry = this.makeEntry(message, null);
    const own = this.unwritten;
    this.unwritten = null; // a dead letter may come back here, with an entry of its own to write
    entry.state = 'waiting';
    if (!held.send(entry, 'unrepresentable', this.owner.nowMs)) this.unwritten = own;
    else this.settle(entry);
    if (message.durable) this.owner.confirmsAfter(this.owner.journal.position); // its dead letter's
    return 'accepted';
  }

  // — last values ———————————————————————————————————————————————————————————————————————————————————————————————

  // Ready entries, without those that are out of date and still in the list.
  private get length(): number {
    return this.lastValues === null ? this.ready.length : this.ready.length - this.lastValues.staleCount;
  }

  private keepLast(key: string | null): void {
    const before = this.lastValues;
    const isNeeded = key !== null || (before !== null && before.staleCount > 0);
    this.lastValues = isNeeded ? new LastValues(key, this, before) : null;
    if (this.lastValues === null) return;
    for (const entry of [...this.ready]) if (!this.lastValues.isStale(entry)) this.lastValues.restore(entry);
    this.lastValues.read();
  }

  // Its place among a full queue's may be an older one's.
  private acceptsValue(value: string | null, bytes: number): boolean {
    const replaced = value === null ? -1 : this.lastValues!.replacedBytes(value);
    return replaced < 0 ? this.accepts(1, bytes) : this.accepts(0, bytes - replaced);
  }

  get coldLength(): number {
    return this.ready.length - this.ready.memoryLength;
  }

  removeReplaced(entry: QueueEntry): void {
    this.replaced += 1;
    this.ready.remove(entry);
    this.readyBytes -= entry.message.bodyBytes;
    entry.state = 'waiting'; // it is no longer counted as ready, nor looked up by its value: that would decode it again
    this.settle(entry);
  }

  forget(bodyBytes: number): void {
    this.replaced += 1;
    this.readyBytes -= bodyBytes;
  }

  dropStale(done: () => void): void {
    const drop = (entry: QueueEntry): boolean => this.lastValues !== null && this.dropsStale(this.lastValues, entry);
    const end = (): void => {
      done();
      this.expiryWatch?.addAll(); // what came back before stands among the others now
    };
    this.ready.sweep(new Sweep(drop, end, this.later));
  }

  private dropsStale(lastValues: LastValues, entry: QueueEntry): boolean {
    if (!lastValues.drops(entry)) return false;
    entry.state = 'waiting'; // it was no longer counted as ready
    this.settle(entry);
    return true;
  }
}
