import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Timers } from '../lib/timers.ts';
import type { BlockedPublishers } from './blocked-publishers.ts';
import type { Client } from './client.ts';
import { isCycle } from './deaths.ts';
import * as definitions from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Match, Target } from './exchange/binding.ts';
import { findDelay, spendDelay } from './exchange/delay.ts';
import type { Exchange } from './exchange/exchange.ts';
import { computeRoute, type Route } from './exchange/route.ts';
import type { Journal, Position, PublishReceipt } from './journal.ts';
import { copyMessage, type DeathReason, type Message } from './message.ts';
import { type Headers, noHeaders } from './properties.ts';
import { Chores } from './queue/chores.ts';
import { type DeadLetterAddress, makeDeadLetter } from './queue/dead-letter.ts';
import type { QueueEntry } from './queue/entry.ts';
import type { HeldDeath } from './queue/held-dead-letters.ts';
import { LocalQueue } from './queue/local-queue.ts';
import type { Queue } from './queue/queue.ts';
import type { QueueOwner } from './queue/queue-owner.ts';
import type { QueueSpec } from './queue/spec.ts';
import { aliasQueuePrefix, type ReplyAddress, ReplyAliases, type ReplyHouse, replyDefaults } from './reply.ts';
import { asksForRetained, asksToBeRetained, copyOf, Retained, type RetainedLimits } from './retained.ts';
import { Schedule, type ScheduleOwner, scheduleKind } from './schedule.ts';
import { dueMaxMs, type Timing } from './timing.ts';
import type { Pattern, TopicMapping } from './topic.ts';
import { Topology } from './topology.ts';

/** What became of a publish: `unroutable` is for the publisher that asked, and is confirmed all the same. */
export type PublishResult = 'routed' | 'unroutable' | 'refused';

/** What a virtual host shares with the others of its broker. */
export interface VhostHost {
  readonly journal: Journal;
  readonly nowMs: number;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly log: Logger;
  /** Text that nobody guesses, of letters, digits, `-` and `_`. */
  createToken(): string;
  /** Whose retained messages MQTT's subscribers get: what is published to another exchange is not retained. */
  readonly retainedExchange: string;
  readonly retainedLimits: RetainedLimits;
  /** Queues of a virtual host at most. */
  readonly queuesPerVhost: number;
  /** Why all publishers wait; null: they do not. */
  readonly alarm: string | null;
  readonly blocked: BlockedPublishers;
  nextSequence(): number;
  nextQueueId(): number;
}

/** What operators note of a virtual host. */
export interface VhostMetadata {
  readonly description: string;
  readonly tags: readonly string[];
  /** Of durable queues that are declared without `x-queue-type`; null: they stay without. */
  readonly defaultQueueType?: 'classic' | 'quorum' | null;
  /** It cannot be deleted until this is lifted. */
  readonly protectedFromDeletion: boolean;
}

export const noMetadata: VhostMetadata = {
  description: '',
  tags: [],
  defaultQueueType: null,
  protectedFromDeletion: false,
};

/** What a virtual host may have at a time, where that is less than the broker's own limits. */
export interface VhostLimits {
  readonly connections: number;
  readonly queues: number;
}

export const noVhostLimits: VhostLimits = {
  connections: Number.POSITIVE_INFINITY,
  queues: Number.POSITIVE_INFINITY,
};

/** Keys that stand for something else where MQTT reads them as topics. */
const reservedKeys = /^\$(SYS|share|reply|delayed|queue-of)(\.|$)/;

/**
 * A virtual host: a topology that messages are published into. Publishing is one call, from message to queues, with
 * nothing between; what is for later, retained or dead goes the same way when its time has come.
 */
export class Vhost extends Topology implements QueueOwner, ScheduleOwner, ReplyHouse {
  readonly topicMapping: TopicMapping;
  readonly clients = new Set<Client>();
  readonly replies: ReplyAliases;
  readonly retained: Retained;
  readonly chores: Chores;
  metadata: VhostMetadata = noMetadata;
  limits: VhostLimits = noVhostLimits;
  /** What clients gave it, and of that what no queue wanted. */
  publishedIn = 0;
  unroutable = 0;
  /** Of the unroutable: what its publisher got back. */
  returned = 0;
  /** Of AMQP 0-9-1's publisher confirms. */
  confirmed = 0;
  private readonly host: VhostHost;
  /** Queues that a publish left with too much; a list, so that chains of dead letters do not recurse. */
  private readonly untidied: LocalQueue[] = [];
  private tidying = false;
  private confirmedAfter: Position = 0;

  constructor(name: string, host: VhostHost, topicMapping: TopicMapping) {
    super(name, host.journal, host.log);
    this.topicMapping = topicMapping;
    this.host = host;
    const { clock, createToken } = host;
    this.replies = new ReplyAliases({ ...replyDefaults, clock, createToken, house: this });
    this.chores = new Chores(host.journal, host.timers);
    this.retained = new Retained(name, host.journal, host.retainedLimits);
  }

  get nowMs(): number {
    return this.host.nowMs;
  }

  get timers(): Timers {
    return this.host.timers;
  }

  nextSequence(): number {
    return this.host.nextSequence();
  }

  // — publishing ————————————————————————————————————————————————————————————————————————————————————————————————

  /**
   * The way of a routing key through an exchange, memoised until a binding changes. Whoever publishes with the same
   * key again keeps it, and asks again when `current(route)` is false.
   * @throws BrokerError not-found
   */
  routeFor(exchange: string, routingKey: string): Route {
    return this.router.routeFor(this.getExchange(exchange), routingKey);
  }

  /**
   * As `routeFor`, for a message that the client publishes. Who may not is not told what is there.
   * @throws BrokerError unauthorized-access, not-found
   */
  routeFrom(client: Client, exchange: string, routingKey: string): Route {
    if (exchange === '' && routingKey.startsWith(aliasQueuePrefix)) {
      const route = this.findReplyRoute(client, routingKey.slice(aliasQueuePrefix.length));
      if (route !== undefined) return route;
    }
    this.demand(client, 'write', 'exchange', exchange);
    const { spec } = this.getExchange(exchange);
    if (spec.internal) {
      throw new BrokerError(
        'unauthorized-access',
        `cannot publish to internal exchange '${exchange}' in vhost '${this.name}'`,
      );
    }
    if (spec.type === 'topic') this.demandTopic(client, routingKey, exchange);
    return this.routeFor(exchange, routingKey);
  }

  /** @throws BrokerError unauthorized-access for a key of a topic exchange that is not the client's to publish to */
  demandTopic(client: Client, routingKey: string, exchange: string): void {
    this.demand(client, 'write', 'topic', routingKey, exchange);
    if (exchange === this.host.retainedExchange && reservedKeys.test(routingKey)) {
      throw new BrokerError('unauthorized-access', `key '${routingKey}' is reserved`);
    }
  }

  /**
   * The way to the address behind a reply alias; undefined when there is no such alias any longer.
   * @throws BrokerError unauthorized-access when nobody lent it and the client may not publish there itself
   */
  findReplyRoute(client: Client, token: string): Route | undefined {
    const address = this.replies.find(token);
    const exchange = address === undefined ? undefined : this.exchanges.get(address.exchange);
    if (address === undefined || exchange === undefined) return undefined;
    const { key, lent } = address;
    const route = lent === true ? this.router.routeFor(exchange, key) : this.routeFrom(client, address.exchange, key);
    return { ...route, isReply: true };
  }

  /** True for the queue name of a reply alias that still leads somewhere. */
  isReplyAlias(name: string): boolean {
    return name.startsWith(aliasQueuePrefix) && this.replies.find(name.slice(aliasQueuePrefix.length)) !== undefined;
  }

  mayLend(client: Client, { exchange, key }: ReplyAddress): boolean {
    if (exchange === '') {
      const owner = this.queues.get(key)?.spec.exclusiveTo ?? null;
      if (owner !== null) return owner === client;
      if (client.access.allows('configure', 'queue', key)) return true;
    }
    if (!client.access.allows('write', 'exchange', exchange)) return false;
    const spec = this.exchanges.get(exchange)?.spec;
    if (spec === undefined || spec.internal) return false;
    const topic = { exchange, clientId: client.clientId ?? '' };
    return spec.type !== 'topic' || client.access.allows('write', 'topic', key, topic);
  }

  outlivesRestart({ exchange, key }: ReplyAddress): boolean {
    const found = this.exchanges.get(exchange);
    return found !== undefined && this.router.routeFor(found, key).targets.some(({ queue }) => queue.id !== 0);
  }

  remember(token: string, address: ReplyAddress): void {
    this.journal.put(replyKind, definitions.nameKey(this.name, token), Buffer.from(JSON.stringify(address), 'utf8'));
  }

  forget(token: string): void {
    this.journal.delete(replyKind, definitions.nameKey(this.name, token));
  }

  /** False once a binding, queue or exchange has changed since the route was made. */
  current(route: Route): boolean {
    return route.epoch === this.router.epoch;
  }

  /** The route that was memoised, or the one that its keys lead now. */
  refresh(route: Route): Route {
    return this.current(route) ? route : computeRoute(this, route.exchange, route.routingKeys, null);
  }

  /** A route for several keys at once: each queue gets the message once. Not memoised. */
  routeForAll(exchange: string, routingKeys: readonly string[]): Route {
    return computeRoute(this, this.getExchange(exchange), routingKeys, null);
  }

  /**
   * Gives the message to every queue of the route, and tells the receipt (null: nobody asked) at once or when the
   * journal has it. The message may be a view into the chunk being read: who keeps it copies it. One that is for later
   * is kept until then, whatever its queues are now.
   * @param mandatory one that is for later is not kept when no queue would get it now
   */
  publish(
    route: Route,
    message: Message,
    receipt: PublishReceipt | null,
    tag: number,
    mandatory = false,
  ): PublishResult {
    if (message.timing !== null || route.exchange.delays) {
      const timing = this.findTiming(route, message);
      if (timing !== null) return this.publishLater(route, message, timing, receipt, tag, mandatory);
    }
    route.exchange.publishedIn += 1;
    const targets = this.targetsOf(route, message);
    route.exchange.publishedOut += targets.length;
    if (!route.exchange.spec.internal) {
      // what the broker says itself ($SYS) is nobody's publish
      this.publishedIn += 1;
      if (targets.length === 0) this.unroutable += 1;
    }
    const retained = this.isRetained(message);
    if (!this.journal.writable && (retained || needsJournal(targets, message))) {
      receipt?.refused(tag, 'resource-limit-exceeded');
      return 'refused';
    }
    if (retained) return this.publishRetained(targets, message, receipt, tag);
    return this.give(targets, message, receipt, tag, 0);
  }

  /** When the message is to be routed; null: now. */
  findTiming(route: Route, message: Message): Timing | null {
    const { timing } = message;
    if (timing !== null) return timing.dueMs > this.nowMs || timing.repeat !== null ? timing : null;
    if (!route.exchange.delays) return null;
    const delayMs = findDelay(message);
    return delayMs === 0 ? null : { dueMs: Math.min(this.nowMs + delayMs, dueMaxMs), repeat: null };
  }

  private publishLater(
    route: Route,
    message: Message,
    timing: Timing,
    receipt: PublishReceipt | null,
    tag: number,
    mandatory: boolean,
  ): PublishResult {
    const { exchange } = route;
    exchange.publishedIn += 1;
    this.publishedIn += 1;
    if (mandatory && this.targetsOf(route, message).length === 0) {
      this.unroutable += 1;
      if (receipt !== null) this.journal.confirm(0, receipt, tag);
      return 'unroutable';
    }
    if (message.durable && exchange.spec.durable && !this.journal.writable) {
      receipt?.refused(tag, 'resource-limit-exceeded');
      return 'refused';
    }
    message.replies = this.replies;
    // whether it may be retained is asked while its publisher is there
    const own = this.isRetained(message) && !message.retain ? copyMessage(message, { retain: true }) : message;
    const kept = message.timing === null ? spendDelay(own, timing.dueMs - this.nowMs) : own;
    const position = this.scheduleOf(exchange).hold(kept, timing, route.routingKeys.length > 1);
    if (receipt !== null) this.journal.confirm(position, receipt, tag);
    return 'routed';
  }

  private scheduleOf(exchange: Exchange): Schedule {
    if (exchange.schedule !== null) return exchange.schedule;
    const id = exchange.spec.durable ? this.host.nextQueueId() : 0;
    if (id !== 0) {
      this.journal.put(scheduleKind, definitions.nameKey(this.name, exchange.name), Buffer.from(String(id), 'latin1'));
    }
    exchange.schedule = new Schedule(id, this);
    return exchange.schedule;
  }

  release(message: Message, copies: boolean): void {
    const exchange = this.exchanges.get(message.exchange);
    if (exchange === undefined) return;
    const route = copies
      ? computeRoute(this, exchange, message.deathKeys, message)
      : this.router.routeFor(exchange, message.routingKey);
    const targets = this.targetsOf(route, message);
    exchange.publishedOut += targets.length;
    if (targets.length === 0) this.unroutable += 1;
    if (this.isRetained(message)) this.publishRetained(targets, message, null, 0);
    else this.give(targets, message, null, 0, 0);
  }

  readFailed(why: Error, again: () => void): void {
    this.host.log.error({ vhost: this.name, err: why.message }, 'messages that are due cannot be read: tried again');
    this.timers.after(readAgainMs, again);
  }

  /** Gives a message to one queue that is known already: a retained message to a new subscriber. */
  publishTo(queue: Queue, message: Message, match: Match | null): PublishResult {
    if (!this.journal.writable && queue.keeps(message)) return 'refused';
    return this.give([{ queue, match, noLocalFor: null, localMatch: null }], message, null, 0, 0);
  }

  // Retained and published in the same turn: one unit of the journal, confirmed together.
  private publishRetained(
    targets: readonly Target[],
    message: Message,
    receipt: PublishReceipt | null,
    tag: number,
  ): PublishResult {
    const position = this.retained.set(message);
    if (position < 0) {
      receipt?.refused(tag, 'quota-exceeded');
      return 'refused';
    }
    return this.give(targets, message, receipt, tag, position);
  }

  /** MQTT has a flag for it; the other protocols a header, and their publisher needs to be allowed the topic. */
  isRetained(message: Message): boolean {
    if (!message.retain && message.qos >= 0) return false;
    if (message.exchange !== this.host.retainedExchange) return false;
    if (message.retain) return true;
    if (!asksToBeRetained(message)) return false;
    const { publisher, exchange, routingKey } = message;
    const clientId = publisher?.clientId ?? '';
    return publisher?.access.allows('write', 'topic', routingKey, { exchange, clientId }) === true;
  }

  /** The queues that the message would reach. */
  targetsOf(route: Route, message: Message): readonly Target[] {
    message.replies = this.replies; // before anybody decodes its properties, which may name an alias
    return route.readsHeaders ? computeRoute(this, route.exchange, route.routingKeys, message).targets : route.targets;
  }

  private give(
    targets: readonly Target[],
    message: Message,
    receipt: PublishReceipt | null,
    tag: number,
    /** What else the confirmation waits for. */
    after: Position,
  ): PublishResult {
    message.sequence = this.host.nextSequence();
    message.replies = this.replies;
    if (targets.length === 0) {
      if (receipt !== null) this.journal.confirm(after, receipt, tag);
      return 'unroutable';
    }
    let first: QueueEntry | null = null;
    let refused = 0;
    let known = after;
    for (let i = 0; i < targets.length; i++) {
      const target = targets[i]!;
      const own =
        target.noLocalFor !== null && message.publisher !== null && target.noLocalFor === message.publisher.subscriber;
      const match = own ? target.localMatch : target.match;
      if (own && match === null) continue;
      this.confirmedAfter = 0;
      if (target.queue.publish(message, match) === 'refused') refused += 1;
      if (this.confirmedAfter > known) known = this.confirmedAfter;
      const entry = target.queue.takeUnwritten();
      if (entry !== null) {
        entry.sibling = first;
        first = entry;
      }
    }
    if (first !== null) {
      const position = this.journal.publish(first);
      if (refused > 0) receipt?.refused(tag, 'resource-limit-exceeded');
      else if (receipt !== null) this.journal.confirm(position, receipt, tag);
    } else if (refused > 0) receipt?.refused(tag, 'resource-limit-exceeded');
    else if (receipt !== null) this.journal.confirm(known, receipt, tag);
    if (this.untidied.length > 0) this.tidyUp();
    return refused > 0 ? 'refused' : 'routed';
  }

  /** Publishes what died in a queue to where the queue says: nowhere when there is no such exchange. */
  deadLetter(queue: LocalQueue, to: DeadLetterAddress, message: Message, reason: DeathReason): void {
    const exchange = this.findDeadLetterExchange(queue, to);
    if (exchange === undefined) return;
    const dead = makeDeadLetter(message, queue.name, reason, to, this.nowMs);
    if (exchange.delays && this.delayDead(exchange, dead)) return;
    const targets = this.targetsOfDead(exchange, message, to, dead, reason);
    message.forgetProperties();
    exchange.publishedIn += 1;
    exchange.publishedOut += targets.length;
    this.give(targets, dead, null, 0, 0);
  }

  deadLetterSafely(queue: LocalQueue, to: DeadLetterAddress, message: Message, death: HeldDeath): boolean {
    const { reason, timeMs, safeIn } = death;
    const exchange = this.findDeadLetterExchange(queue, to);
    if (exchange === undefined) return false;
    const dead = makeDeadLetter(message, queue.name, reason, to, timeMs);
    const { writable } = this.journal;
    if (!writable && dead.durable) return false;
    if (exchange.delays && this.delayDead(exchange, dead)) return true;
    const targets = this.targetsOfDead(exchange, message, to, dead, reason);
    message.forgetProperties();
    if (targets.length === 0) return safeIn !== null; // those that are bound no longer had it
    const missing = safeIn === null ? targets : targets.filter(({ queue: { name } }) => !safeIn.has(name));
    const open = missing.filter(({ queue: target }) => {
      return target.accepts(1, dead.bodyBytes) && (writable || !target.keeps(dead));
    });
    if (open.length > 0) {
      exchange.publishedIn += 1;
      exchange.publishedOut += open.length;
      this.give(open, dead, null, 0, 0);
    }
    if (open.length === missing.length) return true;
    if (open.length > 0) death.safeIn = new Set([...(safeIn ?? []), ...open.map((target) => target.queue.name)]);
    return false;
  }

  // The queue that is made for them may be missing still, and there may be no room for it.
  private findDeadLetterExchange(queue: LocalQueue, to: DeadLetterAddress): Exchange | undefined {
    if (to.queue !== undefined && !this.queues.has(to.queue)) {
      if (this.queues.size >= this.queuesMax) return undefined;
      const { durable } = queue.spec;
      this.createQueue({ name: to.queue, durable, autoDelete: false, exclusiveTo: null, arguments: noHeaders });
    }
    return this.exchanges.get(to.exchange);
  }

  deadLettersHeld(queue: LocalQueue): void {
    const { deadLetterExchange: exchange, deadLetterRoutingKey: routingKey } = queue.options;
    this.host.log.warn(
      { vhost: this.name, queue: queue.name, exchange, routingKey },
      'dead letters stay in their queue until the exchange is there and all queues that they go to take them',
    );
  }

  // The keys are asked of the message that died: a dead letter that is not asked for its headers does not keep them decoded.
  private targetsOfDead(
    exchange: Exchange,
    message: Message,
    to: DeadLetterAddress,
    dead: Message,
    reason: DeathReason,
  ): readonly Target[] {
    const keys = to.routingKey === null ? message.deathKeys : [to.routingKey];
    const [key] = keys;
    const route = keys.length === 1 ? this.router.routeFor(exchange, key!) : computeRoute(this, exchange, keys, dead);
    const targets = this.targetsOf(route, dead);
    if (reason === 'rejected') return targets;
    return targets.some(({ queue }) => isCycle(dead.deaths, queue.name))
      ? targets.filter(({ queue }) => !isCycle(dead.deaths, queue.name))
      : targets;
  }

  private delayDead(exchange: Exchange, dead: Message): boolean {
    const delayMs = findDelay(dead);
    if (delayMs === 0) return false;
    exchange.publishedIn += 1;
    dead.replies = this.replies;
    const timing = { dueMs: Math.min(this.nowMs + delayMs, dueMaxMs), repeat: null };
    this.scheduleOf(exchange).hold(spendDelay(dead, delayMs), timing, dead.deathKeys.length > 1);
    return true;
  }

  confirmsAfter(position: Position): void {
    this.confirmedAfter = position;
  }

  queueFull(queue: LocalQueue, publisher: Client): void {
    this.host.blocked.block(publisher, queue, this.host.alarm);
  }

  queueHasRoom(queue: LocalQueue): void {
    // held octets are read at once when their owner is let go: not within a delivery
    this.timers.after(0, () => this.host.blocked.release(queue, this.host.alarm));
  }

  untidy(queue: LocalQueue): void {
    this.untidied.push(queue);
  }

  private tidyUp(): void {
    if (this.tidying) return;
    this.tidying = true;
    try {
      for (let queue = this.untidied.shift(); queue !== undefined; queue = this.untidied.shift()) queue.tidy();
    } finally {
      this.tidying = false;
    }
  }

  // — what its topology asks ——————————————————————————————————————————————————————————————————————————————————————

  protected get queuesMax(): number {
    return Math.min(this.host.queuesPerVhost, this.limits.queues);
  }

  protected get defaultQueueType(): string | null {
    return this.metadata.defaultQueueType ?? null;
  }

  protected nextQueueId(): number {
    return this.host.nextQueueId();
  }

  protected makeQueue(spec: QueueSpec, id: number): LocalQueue {
    return new LocalQueue(spec, id, this);
  }

  // A new binding that asks for it with the argument `x-mqtt-retain` gives its queue the retained messages that it matches.
  protected bound(exchange: Exchange, queue: Queue, pattern: Pattern, args: Headers): void {
    if (!asksForRetained(args) || exchange.name !== this.host.retainedExchange) return;
    for (const message of this.retained.matchBinding(pattern, this.nowMs)) {
      this.publishTo(queue, copyOf(message), null);
    }
  }

  protected exchangeGone(exchange: Exchange): void {
    const { schedule } = exchange;
    if (schedule === null) return;
    exchange.schedule = null;
    schedule.clear();
    if (schedule.id !== 0) this.journal.delete(scheduleKind, definitions.nameKey(this.name, exchange.name));
  }

  /** What the journal remembers, put back without being written again. */
  addSchedule(exchange: Exchange, id: number): Schedule {
    exchange.schedule = new Schedule(id, this);
    return exchange.schedule;
  }

  /** The virtual host itself is deleted: all that is in it goes with it. */
  override clear(): void {
    super.clear();
    this.retained.clearAll();
    this.replies.clear();
  }

  override clientGone(client: Client): void {
    this.clients.delete(client);
    super.clientGone(client);
  }
}

/** Reply aliases, by virtual host and token. */
export const replyKind = 'reply-alias';

/** True if a queue among them writes the message. */
function needsJournal(targets: readonly Target[], message: Message): boolean {
  for (const { queue } of targets) if (queue.keeps(message)) return true;
  return false;
}

const readAgainMs = 1000;
