import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Timers } from '../lib/timers.ts';
import { demand, type Operation, type Resource } from './auth.ts';
import type { BlockedPublishers } from './blocked-publishers.ts';
import type { Client } from './client.ts';
import { isCycle } from './deaths.ts';
import * as definitions from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Binding, Match, SubscriptionOptions, Target } from './exchange/binding.ts';
import { findDelay, spendDelay } from './exchange/delay.ts';
import { checkBinding, Exchange, type ExchangeSpec } from './exchange/exchange.ts';
import { bindingId } from './exchange/identity.ts';
import { computeRoute, type Route, Router } from './exchange/route.ts';
import type { Journal, Position, PublishReceipt } from './journal.ts';
import { copyMessage, type DeathReason, type Message } from './message.ts';
import { operatorPolicyKind, Policies, policyKind } from './policies.ts';
import { type Headers, noHeaders } from './properties.ts';
import {
  demandEquivalent,
  demandType,
  type Field,
  fixedArguments,
  queueArguments,
  readExchangeName,
  readQueueArguments,
  sameArguments,
} from './queue/arguments.ts';
import { type DeadLetterAddress, makeDeadLetter, whyAtMostOnce } from './queue/dead-letter.ts';
import type { QueueEntry } from './queue/entry.ts';
import type { HeldDeath } from './queue/held-dead-letters.ts';
import { LocalQueue, type QueueOwner } from './queue/local-queue.ts';
import type { Queue } from './queue/queue.ts';
import type { QueueSpec } from './queue/spec.ts';
import { aliasQueuePrefix, type ReplyAddress, ReplyAliases, type ReplyHouse, replyDefaults } from './reply.ts';
import { asksForRetained, asksToBeRetained, copyOf, Retained, type RetainedLimits } from './retained.ts';
import { Schedule, type ScheduleOwner, scheduleKind } from './schedule.ts';
import { dueMaxMs, type Timing } from './timing.ts';
import { type Pattern, parsePattern, type TopicMapping } from './topic.ts';

/** What a queue counts of the messages that leave it. */
export const queueCounts = [
  'delivered',
  'deliveredSettled',
  'fetched',
  'fetchedSettled',
  'fetchedNothing',
  'redelivered',
  'acked',
] as const;

export type QueueCount = (typeof queueCounts)[number];

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
 * One namespace of exchanges, queues and bindings: what a name means is decided here, and so is who may use it.
 * Cold operations are checked against the client's access and journaled; publishing is one call, from message to
 * queues, with nothing between.
 */
export class Vhost implements QueueOwner, ScheduleOwner, ReplyHouse {
  readonly name: string;
  readonly topicMapping: TopicMapping;
  readonly journal: Journal;
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, LocalQueue>();
  readonly clients = new Set<Client>();
  /** Told of each queue that is made: subscriptions to all queues of a pattern. */
  readonly queueWatchers = new Set<(queue: Queue) => void>();
  readonly policies: Policies;
  /** What operators cap the policies of users with. */
  readonly operatorPolicies: Policies;
  readonly router: Router;
  readonly replies: ReplyAliases;
  readonly retained: Retained;
  metadata: VhostMetadata = noMetadata;
  limits: VhostLimits = noVhostLimits;
  /** What clients gave it, and of that what no queue wanted. */
  publishedIn = 0;
  unroutable = 0;
  /** Of the unroutable: what its publisher got back. */
  returned = 0;
  /** Of AMQP 0-9-1's publisher confirms. */
  confirmed = 0;
  queuesDeclared = 0;
  queuesCreated = 0;
  queuesDeleted = 0;
  /** What the queues counted that are deleted. */
  readonly past: Record<QueueCount, number> = {
    delivered: 0,
    deliveredSettled: 0,
    fetched: 0,
    fetchedSettled: 0,
    fetchedNothing: 0,
    redelivered: 0,
    acked: 0,
  };

  private readonly host: VhostHost;
  private readonly exclusive = new Map<Client, Set<LocalQueue>>();
  /** Queues that a publish left with too much; a list, so that chains of dead letters do not recurse. */
  private readonly untidied: LocalQueue[] = [];
  private tidying = false;
  private confirmedAfter: Position = 0;

  constructor(name: string, host: VhostHost, topicMapping: TopicMapping) {
    this.name = name;
    this.topicMapping = topicMapping;
    this.host = host;
    this.journal = host.journal;
    this.policies = new Policies(name, host.journal, policyKind);
    this.operatorPolicies = new Policies(name, host.journal, operatorPolicyKind);
    this.policies.onChanged = () => this.governAll();
    this.operatorPolicies.onChanged = () => this.governAll();
    this.router = new Router(this);
    const { clock, createToken } = host;
    this.replies = new ReplyAliases({ ...replyDefaults, clock, createToken, house: this });
    this.retained = new Retained(name, host.journal, host.retainedLimits);
    for (const [exchange, type] of predeclared) {
      const spec: ExchangeSpec = {
        name: exchange,
        type,
        durable: true,
        autoDelete: false,
        internal: exchange === traceExchange,
        arguments: noHeaders,
      };
      this.exchanges.set(exchange, new Exchange(spec));
    }
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
    if (targets.length === 0) return safeIn.size > 0; // those that are bound no longer had it
    const missing = targets.filter(({ queue: { name } }) => !safeIn.has(name));
    const open = missing.filter(({ queue: target }) => {
      return target.accepts(1, dead.bodyBytes) && (writable || !target.keeps(dead));
    });
    if (open.length > 0) {
      exchange.publishedIn += 1;
      exchange.publishedOut += open.length;
      this.give(open, dead, null, 0, 0);
      for (const target of open) safeIn.add(target.queue.name);
    }
    return open.length === missing.length;
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

  // — exchanges ———————————————————————————————————————————————————————————————————————————————————————————————————

  /** @throws BrokerError not-found */
  getExchange(name: string): Exchange {
    const exchange = this.exchanges.get(name);
    if (exchange === undefined) throw new BrokerError('not-found', `no exchange '${name}' in vhost '${this.name}'`);
    return exchange;
  }

  /** @throws BrokerError precondition-failed when it exists and differs */
  declareExchange(client: Client, spec: ExchangeSpec): Exchange {
    demandNotDefault(spec.name);
    this.demand(client, 'configure', 'exchange', spec.name);
    const what = `exchange '${spec.name}' in vhost '${this.name}'`;
    const current = this.exchanges.get(spec.name);
    if (current !== undefined) {
      const fields: Field[] = [
        ['type', spec.type, current.spec.type],
        ['durable', spec.durable, current.spec.durable],
        ['auto_delete', spec.autoDelete, current.spec.autoDelete],
        ['internal', spec.internal, current.spec.internal],
      ];
      demandEquivalent(what, fields, spec.arguments, current.spec.arguments, exchangeArguments);
      return current;
    }
    if (spec.name.startsWith('amq.')) throw new BrokerError('unauthorized-access', reserved('exchange', spec.name));
    const alternate = readExchangeName(spec.arguments, 'alternate-exchange', what);
    if (alternate !== null) {
      this.demand(client, 'read', 'exchange', spec.name);
      this.demand(client, 'write', 'exchange', alternate);
    }
    return this.createExchange(spec);
  }

  /** For an exchange that the broker itself needs: no permission is asked. */
  createExchange(spec: ExchangeSpec): Exchange {
    const exchange = this.addExchange(spec);
    if (spec.durable)
      this.journal.put('exchange', definitions.nameKey(this.name, spec.name), definitions.encodeExchange(spec));
    return exchange;
  }

  deleteExchange(client: Client, name: string, ifUnused: boolean): void {
    demandNotDefault(name);
    if (name.startsWith('amq.')) {
      throw new BrokerError(
        'unauthorized-access',
        `deletion of system exchange '${name}' in vhost '${this.name}' not allowed`,
      );
    }
    this.demand(client, 'configure', 'exchange', name);
    const exchange = this.exchanges.get(name);
    if (exchange === undefined) return;
    if (ifUnused && exchange.bindings.size > 0) {
      throw new BrokerError('precondition-failed', `exchange '${name}' in vhost '${this.name}' in use`);
    }
    this.removeExchange(exchange);
  }

  // — policies ————————————————————————————————————————————————————————————————————————————————————————————————————

  private governAll(): void {
    for (const exchange of this.exchanges.values()) this.governExchange(exchange);
    for (const queue of [...this.queues.values()]) this.governQueue(queue);
    this.router.change(); // alternates may lead elsewhere
  }

  private governQueue(queue: LocalQueue): void {
    const { policyKind: kind, name } = queue;
    const policy = this.policies.find(kind, name) ?? null;
    const operatorPolicy = this.operatorPolicies.find(kind, name) ?? null;
    if (policy === queue.policy && operatorPolicy === queue.operatorPolicy) return;
    const before = whyAtMostOnce(queue.options);
    queue.govern(policy, operatorPolicy);
    if (whyAtMostOnce(queue.options) !== before) this.tellStrategy(queue);
  }

  // Whoever asked for the safer strategy is not left to believe that it holds.
  private tellStrategy(queue: LocalQueue): void {
    const why = whyAtMostOnce(queue.options);
    if (why === null) return;
    this.host.log.warn({ vhost: this.name, queue: queue.name }, `dead letters go at most once, for ${why}`);
  }

  private governExchange(exchange: Exchange): void {
    exchange.policy = this.policies.find('exchanges', exchange.name) ?? null;
    exchange.operatorPolicy = this.operatorPolicies.find('exchanges', exchange.name) ?? null;
  }

  // — queues ——————————————————————————————————————————————————————————————————————————————————————————————————————

  /** @throws BrokerError not-found, or resource-locked when it is another connection's own */
  getQueue(name: string, client: Client): Queue {
    const queue = this.queues.get(name);
    if (queue === undefined) throw new BrokerError('not-found', `no queue '${name}' in vhost '${this.name}'`);
    this.demandUnlocked(queue, client);
    return queue;
  }

  /**
   * @param origin `generated`: the broker made the name up, which may begin with `amq.`
   * @throws BrokerError precondition-failed when it exists and differs, resource-locked, unauthorized-access
   */
  declareQueue(client: Client, wanted: QueueSpec, origin: 'named' | 'generated' = 'named'): Queue {
    // [RabbitMQ] an exclusive queue is never durable, whatever its declaration says
    const spec = wanted.exclusiveTo === null ? this.withType(wanted) : { ...wanted, durable: false };
    if (origin === 'named' && spec.name.startsWith('amq.')) {
      throw new BrokerError('unauthorized-access', reserved('queue', spec.name));
    }
    this.demand(client, 'configure', 'queue', spec.name);
    const what = `queue '${spec.name}' in vhost '${this.name}'`;
    const current = this.queues.get(spec.name);
    if (current !== undefined) {
      this.demandUnlocked(current, client);
      if (spec.exclusiveTo !== current.spec.exclusiveTo) throw locked(current.name, this.name);
      const fields: Field[] = [
        ['durable', spec.durable, current.spec.durable],
        ['auto_delete', spec.autoDelete, current.spec.autoDelete],
      ];
      if (current.options.migrates) this.migrateQueue(current, spec, what, fields);
      else demandEquivalent(what, fields, spec.arguments, current.spec.arguments, queueArguments);
      current.used();
      this.queuesDeclared += 1;
      return current;
    }
    const options = readQueueArguments(spec.arguments, what);
    const { deadLetterExchange } = options;
    demandType(options, spec, what);
    if (options.type === 'quorum' && origin === 'generated') {
      throw new BrokerError('precondition-failed', 'Cannot declare a server-named queue for type rabbit_quorum_queue');
    }
    if (deadLetterExchange !== null) {
      this.demand(client, 'read', 'queue', spec.name);
      this.demand(client, 'write', 'exchange', deadLetterExchange);
    }
    const queue = this.createQueue(spec);
    this.queuesDeclared += 1;
    return queue;
  }

  // Under `redeclare: migrate` other arguments are a wish, where they can be fulfilled.
  private migrateQueue(queue: LocalQueue, spec: QueueSpec, what: string, fields: readonly Field[]): void {
    demandEquivalent(what, fields, spec.arguments, queue.spec.arguments, fixedArguments);
    readQueueArguments(spec.arguments, what);
    if (sameArguments(spec.arguments, queue.spec.arguments, queueArguments)) return;
    queue.migrate(spec.arguments);
    if (queue.id !== 0) this.putQueue(queue);
  }

  private putQueue(queue: LocalQueue): void {
    const { spec, id } = queue;
    this.journal.put('queue', definitions.nameKey(this.name, spec.name), definitions.encodeQueue(spec, id));
  }

  // [RabbitMQ: virtual hosts, default queue type] What is there already keeps the type that it has.
  private withType(spec: QueueSpec): QueueSpec {
    const { defaultQueueType = null } = this.metadata;
    if (defaultQueueType === null || spec.arguments.has('x-queue-type') || !spec.durable || spec.autoDelete)
      return spec;
    const current = this.queues.get(spec.name);
    const type = current === undefined ? defaultQueueType : current.spec.arguments.get('x-queue-type');
    return type === undefined ? spec : { ...spec, arguments: new Map([...spec.arguments, ['x-queue-type', type]]) };
  }

  /** For queues that the broker itself makes for a session or subscription: no permission is asked. */
  createQueue(spec: QueueSpec): LocalQueue {
    const { queuesMax } = this;
    if (this.queues.size >= queuesMax) {
      throw new BrokerError(
        'precondition-failed',
        `cannot declare queue '${spec.name}': queue limit in vhost '${this.name}' (${queuesMax}) is reached`,
      );
    }
    const queue = this.addQueue(spec, spec.durable ? this.host.nextQueueId() : 0);
    if (spec.durable) this.putQueue(queue);
    this.queuesCreated += 1;
    for (const watch of this.queueWatchers) watch(queue);
    return queue;
  }

  private get queuesMax(): number {
    return Math.min(this.host.queuesPerVhost, this.limits.queues);
  }

  /** A queue of the broker's own making outlives a crash from now on, with what is published from now on. */
  makeDurable(queue: LocalQueue): void {
    if (queue.spec.durable) return;
    queue.becomeDurable(this.host.nextQueueId());
    this.putQueue(queue);
  }

  /** @returns how many ready messages were deleted with it; 0 when there is no such queue */
  deleteQueue(client: Client, name: string, ifUnused: boolean, ifEmpty: boolean): number {
    this.demand(client, 'configure', 'queue', name);
    const queue = this.queues.get(name);
    if (queue === undefined) return 0;
    this.demandUnlocked(queue, client);
    if ((ifUnused || ifEmpty) && queue.options.type === 'quorum') {
      const flag = ifUnused ? 'if-unused' : 'if-empty';
      throw new BrokerError(
        'not-implemented',
        `cannot delete queue '${name}' in vhost '${this.name}'. queue.delete operations with ${flag} flag set are not supported by quorum queues`,
      );
    }
    if (ifUnused && queue.counts.consumers > 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' in use`);
    }
    if (ifEmpty && queue.counts.ready > 0) {
      throw new BrokerError('precondition-failed', `queue '${name}' in vhost '${this.name}' not empty`);
    }
    const count = queue.counts.ready;
    this.removeQueue(queue);
    return count;
  }

  queueUnused(queue: LocalQueue): void {
    this.removeQueue(queue);
  }

  removeQueue(queue: LocalQueue): void {
    if (queue.deleted) return;
    this.queuesDeleted += 1;
    for (const name of queueCounts) this.past[name] += queue[name];
    for (const binding of [...queue.bindings]) this.removeBinding(binding);
    this.queues.delete(queue.name);
    const owner = queue.spec.exclusiveTo;
    if (owner !== null) this.exclusive.get(owner)?.delete(queue);
    this.router.change();
    if (queue.id !== 0) this.journal.delete('queue', definitions.nameKey(this.name, queue.name));
    queue.close('resource-deleted');
  }

  // — bindings ————————————————————————————————————————————————————————————————————————————————————————————————————

  /**
   * Binds a queue or exchange; binding again what is bound does nothing. A new binding that asks for it with the
   * argument `x-mqtt-retain` gives its queue the retained messages that it matches.
   */
  bind(client: Client, source: string, destination: Queue | Exchange, key: string, args: Headers): void {
    this.demandBinding(client, source, destination instanceof Exchange ? 'exchange' : 'queue', destination.name, key);
    const exchange = this.getExchange(source);
    checkBinding(exchange.spec, key, args);
    const isNew = !exchange.bindings.has(bindingId(destination, key, args));
    const { pattern } = this.addBinding(exchange, destination, key, parsePattern(key), args, null);
    if (isNew && asksForRetained(args)) this.replayRetained(exchange, destination, pattern);
  }

  private replayRetained(exchange: Exchange, destination: Queue | Exchange, pattern: Pattern): void {
    if (exchange.name !== this.host.retainedExchange || destination instanceof Exchange) return;
    for (const message of this.retained.matchBinding(pattern, this.nowMs)) {
      this.publishTo(destination, copyOf(message), null);
    }
  }

  unbind(client: Client, source: string, destination: Queue | Exchange, key: string, args: Headers): void {
    this.demandBinding(client, source, destination instanceof Exchange ? 'exchange' : 'queue', destination.name, key);
    const exchange = this.getExchange(source);
    const binding = exchange.bindings.get(bindingId(destination, key, args));
    if (binding !== undefined) this.removeBinding(binding);
  }

  /** A binding of the broker's own making; for sessions with the options of their subscription. */
  addBinding(
    source: Exchange,
    destination: Queue | Exchange,
    key: string,
    pattern: Pattern,
    args: Headers,
    subscription: SubscriptionOptions | null,
  ): Binding {
    const id = bindingId(destination, key, args);
    const current = source.bindings.get(id);
    if (current !== undefined) {
      if (subscription === null) return current;
      this.removeBinding(current); // a subscription renewed has new options
    }
    const binding: Binding = { source, destination, key, pattern, arguments: args, subscription };
    this.linkBinding(binding);
    if (isDurable(binding)) {
      this.journal.put('binding', definitions.bindingKey(this.name, binding), definitions.encodeBinding(binding));
    }
    return binding;
  }

  removeBinding(binding: Binding): void {
    const { source, destination } = binding;
    if (!source.bindings.delete(bindingId(destination, binding.key, binding.arguments))) return;
    source.matcher.remove(binding);
    if (destination instanceof Exchange) destination.sources.delete(binding);
    else destination.bindings.delete(binding);
    this.router.change();
    if (isDurable(binding)) this.journal.delete('binding', definitions.bindingKey(this.name, binding));
    if (source.spec.autoDelete && source.bindings.size === 0) this.removeExchange(source);
  }

  // — what the journal remembers, put back without being written again ——————————————————————————————————————————————

  addExchange(spec: ExchangeSpec): Exchange {
    const exchange = new Exchange(spec);
    this.exchanges.set(spec.name, exchange);
    this.governExchange(exchange);
    this.router.change();
    return exchange;
  }

  addSchedule(exchange: Exchange, id: number): Schedule {
    exchange.schedule = new Schedule(id, this);
    return exchange.schedule;
  }

  addQueue(spec: QueueSpec, id: number): LocalQueue {
    const queue = new LocalQueue(spec, id, this);
    this.queues.set(spec.name, queue);
    this.tellStrategy(queue);
    this.governQueue(queue);
    if (spec.exclusiveTo !== null) {
      const own = this.exclusive.get(spec.exclusiveTo);
      if (own === undefined) this.exclusive.set(spec.exclusiveTo, new Set([queue]));
      else own.add(queue);
    }
    this.router.change();
    return queue;
  }

  linkBinding(binding: Binding): void {
    const { source, destination } = binding;
    source.bindings.set(bindingId(destination, binding.key, binding.arguments), binding);
    source.matcher.add(binding);
    if (destination instanceof Exchange) destination.sources.add(binding);
    else destination.bindings.add(binding);
    this.router.change();
  }

  /**
   * @param exchange where the topic is meant, for resource `topic`
   * @throws BrokerError unauthorized-access in RabbitMQ's words
   */
  demand(client: Client, operation: Operation, resource: Resource, name: string, exchange = 'amq.topic'): void {
    const topic = resource === 'topic' ? { exchange, clientId: client.clientId ?? '' } : undefined;
    demand(client.access, client.user, operation, resource, name, this.name, topic);
  }

  /**
   * May the client bind and unbind these? Asked first by whoever has only their names: who may not is not told what
   * is there.
   * @throws BrokerError unauthorized-access
   */
  demandBinding(client: Client, source: string, kind: 'queue' | 'exchange', destination: string, key: string): void {
    this.demand(client, 'write', kind, destination);
    demandNotDefault(source);
    if (kind === 'exchange') demandNotDefault(destination);
    this.demand(client, 'read', 'exchange', source);
    if (this.exchanges.get(source)?.spec.type === 'topic') this.demand(client, 'read', 'topic', key, source);
  }

  /** The virtual host itself is deleted: all that is in it goes with it. */
  clear(): void {
    for (const queue of [...this.queues.values()]) this.removeQueue(queue);
    for (const exchange of [...this.exchanges.values()]) this.removeExchange(exchange);
    for (const policies of [this.policies, this.operatorPolicies]) {
      for (const { name } of policies.all()) policies.delete(name);
    }
    this.retained.clearAll();
    this.replies.clear();
  }

  /** Deletes what belonged to a connection alone. */
  clientGone(client: Client): void {
    this.clients.delete(client);
    for (const queue of this.exclusive.get(client) ?? []) this.removeQueue(queue);
    this.exclusive.delete(client);
  }

  private removeExchange(exchange: Exchange): void {
    if (exchange.deleted) return;
    exchange.deleted = true;
    this.removeSchedule(exchange);
    for (const binding of [...exchange.bindings.values(), ...exchange.sources]) this.removeBinding(binding);
    this.exchanges.delete(exchange.name);
    this.router.change();
    if (exchange.spec.durable) this.journal.delete('exchange', definitions.nameKey(this.name, exchange.name));
  }

  // What waits there has no way left.
  private removeSchedule(exchange: Exchange): void {
    const { schedule } = exchange;
    if (schedule === null) return;
    exchange.schedule = null;
    schedule.clear();
    if (schedule.id !== 0) this.journal.delete(scheduleKind, definitions.nameKey(this.name, exchange.name));
  }

  private demandUnlocked(queue: LocalQueue, client: Client): void {
    const owner = queue.spec.exclusiveTo;
    if (owner === null || owner === client) return;
    throw locked(queue.name, this.name);
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

/** RabbitMQ's, of its tracing: internal, so that tools and definitions that bind to it find it. Nothing comes from it. */
const traceExchange = 'amq.rabbitmq.trace';

const predeclared = [
  ['', 'direct'],
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
  [traceExchange, 'topic'],
] as const;

function demandNotDefault(exchange: string): void {
  if (exchange === '') {
    throw new BrokerError('unauthorized-access', 'operation not permitted on the default exchange');
  }
}

function locked(queue: string, vhost: string): BrokerError {
  return new BrokerError(
    'resource-locked',
    `cannot obtain exclusive access to locked queue '${queue}' in vhost '${vhost}'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`,
  );
}

function reserved(kind: string, name: string): string {
  return `${kind} name '${name}' contains reserved prefix 'amq.*'`;
}

const exchangeArguments = ['alternate-exchange'] as const;

function isDurable(binding: Binding): boolean {
  const { source, destination, subscription } = binding;
  if (subscription !== null || !source.spec.durable) return false; // sessions write their own subscriptions
  return destination instanceof Exchange ? destination.spec.durable : destination.id !== 0;
}
