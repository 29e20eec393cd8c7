import type { Logger } from '../lib/log.ts';
import { demand, type Operation, type Resource } from './auth.ts';
import type { Client } from './client.ts';
import * as definitions from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Binding, SubscriptionOptions } from './exchange/binding.ts';
import { checkBinding, Exchange, type ExchangeSpec } from './exchange/exchange.ts';
import { bindingId } from './exchange/identity.ts';
import { Router } from './exchange/route.ts';
import type { Journal } from './journal.ts';
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
import { whyAtMostOnce } from './queue/dead-letter.ts';
import type { LocalQueue } from './queue/local-queue.ts';
import type { Queue } from './queue/queue.ts';
import type { QueueSpec } from './queue/spec.ts';
import { type Pattern, parsePattern } from './topic.ts';

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

/**
 * The exchanges, queues and bindings of a virtual host by their names, with the policies that hold for them: what a name
 * means is decided here, and so is who may use it. All of it is cold: it is checked against the client's access, written
 * to the journal, and changes where routes lead. What is published into it is the virtual host's business.
 */
export abstract class Topology {
  readonly name: string;
  readonly journal: Journal;
  readonly exchanges = new Map<string, Exchange>();
  readonly queues = new Map<string, LocalQueue>();
  /** Told of each queue that is made: subscriptions to all queues of a pattern. */
  readonly queueWatchers = new Set<(queue: Queue) => void>();
  readonly policies: Policies;
  /** What operators cap the policies of users with. */
  readonly operatorPolicies: Policies;
  readonly router: Router;
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

  private readonly log: Logger;
  private readonly exclusive = new Map<Client, Set<LocalQueue>>();

  constructor(name: string, journal: Journal, log: Logger) {
    this.name = name;
    this.journal = journal;
    this.log = log;
    this.policies = new Policies(name, journal, policyKind);
    this.operatorPolicies = new Policies(name, journal, operatorPolicyKind);
    this.policies.onChanged = () => this.governAll();
    this.operatorPolicies.onChanged = () => this.governAll();
    this.router = new Router(this);
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

  /** Queues that it may have at a time. */
  protected abstract readonly queuesMax: number;
  /** Of durable queues that are declared without `x-queue-type`; null: they stay without. */
  protected abstract readonly defaultQueueType: string | null;
  protected abstract nextQueueId(): number;
  protected abstract makeQueue(spec: QueueSpec, id: number): LocalQueue;
  /** A queue has a binding that it did not have. */
  protected abstract bound(exchange: Exchange, queue: Queue, pattern: Pattern, args: Headers): void;
  /** What waits in it has no way left. */
  protected abstract exchangeGone(exchange: Exchange): void;

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
    const overflow = queue.effective.get('x-overflow');
    queue.govern(policy, operatorPolicy);
    if (queue.effective.get('x-overflow') !== overflow) this.tellOverflow(queue);
    if (whyAtMostOnce(queue.options) !== before) this.tellStrategy(queue);
  }

  // Whoever asked for the safer strategy is not left to believe that it holds.
  private tellStrategy(queue: LocalQueue): void {
    const why = whyAtMostOnce(queue.options);
    if (why === null) return;
    this.log.warn({ vhost: this.name, queue: queue.name }, `dead letters go at most once, for ${why}`);
  }

  private tellOverflow(queue: LocalQueue): void {
    const wanted = queue.effective.get('x-overflow');
    if (wanted === undefined || wanted === queue.options.overflow) return;
    this.log.warn(
      { vhost: this.name, queue: queue.name },
      `overflow '${wanted}' is not for quorum queues: the oldest messages make room`,
    );
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
    const { defaultQueueType } = this;
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
    const queue = this.addQueue(spec, spec.durable ? this.nextQueueId() : 0);
    if (spec.durable) this.putQueue(queue);
    this.queuesCreated += 1;
    for (const watch of this.queueWatchers) watch(queue);
    return queue;
  }

  /** A queue of the broker's own making outlives a crash from now on, with what is published from now on. */
  makeDurable(queue: LocalQueue): void {
    if (queue.spec.durable) return;
    queue.becomeDurable(this.nextQueueId());
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
   * Binds a queue or exchange; binding again what is bound does nothing.
   */
  bind(client: Client, source: string, destination: Queue | Exchange, key: string, args: Headers): void {
    this.demandBinding(client, source, destination instanceof Exchange ? 'exchange' : 'queue', destination.name, key);
    const exchange = this.getExchange(source);
    checkBinding(exchange.spec, key, args);
    const isNew = !exchange.bindings.has(bindingId(destination, key, args));
    const { pattern } = this.addBinding(exchange, destination, key, parsePattern(key), args, null);
    if (isNew && !(destination instanceof Exchange)) this.bound(exchange, destination, pattern, args);
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

  addQueue(spec: QueueSpec, id: number): LocalQueue {
    const queue = this.makeQueue(spec, id);
    this.queues.set(spec.name, queue);
    this.tellStrategy(queue);
    this.tellOverflow(queue);
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

  // — ends ————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** All that is in it goes. */
  clear(): void {
    for (const queue of [...this.queues.values()]) this.removeQueue(queue);
    for (const exchange of [...this.exchanges.values()]) this.removeExchange(exchange);
    for (const policies of [this.policies, this.operatorPolicies]) {
      for (const { name } of policies.all()) policies.delete(name);
    }
  }

  /** Deletes what belonged to a connection alone. */
  clientGone(client: Client): void {
    for (const queue of this.exclusive.get(client) ?? []) this.removeQueue(queue);
    this.exclusive.delete(client);
  }

  private removeExchange(exchange: Exchange): void {
    if (exchange.deleted) return;
    exchange.deleted = true;
    this.exchangeGone(exchange);
    for (const binding of [...exchange.bindings.values(), ...exchange.sources]) this.removeBinding(binding);
    this.exchanges.delete(exchange.name);
    this.router.change();
    if (exchange.spec.durable) this.journal.delete('exchange', definitions.nameKey(this.name, exchange.name));
  }

  private demandUnlocked(queue: LocalQueue, client: Client): void {
    const owner = queue.spec.exclusiveTo;
    if (owner === null || owner === client) return;
    throw locked(queue.name, this.name);
  }
}

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
