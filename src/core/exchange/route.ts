import type { Message } from '../message.ts';
import type { Queue } from '../queue/queue.ts';
import type { Topology } from '../topology.ts';
import type { Binding, Match, Target } from './binding.ts';
import { Exchange } from './exchange.ts';

/** Where a routing key leads from an exchange. */
export interface Route {
  readonly exchange: Exchange;
  readonly routingKey: string;
  /** More than one with CC and BCC; the first is `routingKey`. */
  readonly routingKeys: readonly string[];
  readonly epoch: number;
  readonly targets: readonly Target[];
  /** True if a headers exchange lies on the way: the targets depend on the message, and `targets` is empty. */
  readonly readsHeaders: boolean;
  /** True for the address behind a reply alias: what may be done there is not what its name says. */
  readonly isReply: boolean;
}

/** What an exchange on the way made of the message, for whoever asks why it goes where it goes. */
export interface RouteStep {
  readonly exchange: Exchange;
  /** The bindings that matched; the default exchange has none and matches names of queues. */
  readonly bindings: ReadonlySet<Binding>;
  readonly matched: boolean;
}

/** Keys are the publishers' choice: a memo that took all of them would be theirs to fill, by number or by length. */
const memoMax = 65_536;
const memoCharactersMax = 8 * 1024 * 1024;

/** Routes already walked, until anything that could lead elsewhere changes. */
export class Router {
  epoch = 1;
  private readonly topology: Topology;
  private readonly memo = new Map<Exchange, Map<string, Route>>();
  private memoised = 0;
  private characters = 0;

  constructor(topology: Topology) {
    this.topology = topology;
  }

  /** An exchange, queue or binding came or went. */
  change(): void {
    this.epoch += 1;
    if (this.memoised > 0) this.forget();
  }

  private forget(): void {
    this.memo.clear();
    this.memoised = 0;
    this.characters = 0;
  }

  routeFor(exchange: Exchange, routingKey: string): Route {
    let routes = this.memo.get(exchange);
    if (routes === undefined) {
      routes = new Map();
      this.memo.set(exchange, routes);
    }
    let route = routes.get(routingKey);
    if (route === undefined) {
      this.characters += routingKey.length;
      if (this.memoised >= memoMax || this.characters > memoCharactersMax) {
        this.forget();
        this.memo.set(exchange, routes);
        routes.clear();
      }
      route = computeRoute(this.topology, exchange, [routingKey], null);
      routes.set(routingKey, route);
      this.memoised += 1;
    }
    return route;
  }
}

/**
 * @param message null to find the route for all messages of a key; given, headers exchanges are asked too
 * @param steps gets what each exchange did, in the order in which they were met
 */
export function computeRoute(
  topology: Topology,
  exchange: Exchange,
  routingKeys: readonly string[],
  message: Message | null,
  steps: RouteStep[] | null = null,
): Route {
  const found = new Map<Queue, Binding[]>();
  const visited = new Set<Exchange>();
  const readsHeaders = visit(topology, exchange, routingKeys, message, found, visited, steps) && message === null;
  const targets = readsHeaders ? [] : mergeTargets(found);
  return {
    exchange,
    routingKey: routingKeys[0]!,
    routingKeys,
    epoch: topology.router.epoch,
    targets,
    readsHeaders,
    isReply: false,
  };
}

// Returns true if a headers exchange was met.
function visit(
  topology: Topology,
  exchange: Exchange,
  routingKeys: readonly string[],
  message: Message | null,
  found: Map<Queue, Binding[]>,
  visited: Set<Exchange>,
  steps: RouteStep[] | null,
): boolean {
  if (visited.has(exchange)) return false;
  visited.add(exchange);
  let readsHeaders = exchange.matcher.readsHeaders;
  const bindings: Binding[] = [];
  let matched = false;
  for (const routingKey of routingKeys) {
    if (exchange.name === '') {
      const queue = topology.queues.get(routingKey);
      if (queue !== undefined) {
        found.set(queue, []);
        matched = true;
      }
    } else exchange.matcher.match(routingKey, message, bindings);
  }
  matched ||= bindings.length > 0;
  steps?.push({ exchange, bindings: new Set(bindings), matched });
  for (const binding of routingKeys.length === 1 ? bindings : new Set(bindings)) {
    if (binding.destination instanceof Exchange) {
      readsHeaders = visit(topology, binding.destination, routingKeys, message, found, visited, steps) || readsHeaders;
    } else {
      const bindingsOfQueue = found.get(binding.destination);
      if (bindingsOfQueue === undefined) found.set(binding.destination, [binding]);
      else bindingsOfQueue.push(binding);
    }
  }
  const alternate = exchange.alternateExchange;
  if (!matched && alternate !== null) {
    const next = topology.exchanges.get(alternate);
    if (next !== undefined)
      readsHeaders = visit(topology, next, routingKeys, message, found, visited, steps) || readsHeaders;
  }
  return readsHeaders;
}

function mergeTargets(found: Map<Queue, Binding[]>): Target[] {
  const targets: Target[] = [];
  const bySubscriber = new Map<object, { queue: Queue; qos: number; bindings: Binding[] }>();
  for (const [queue, bindings] of found) {
    const subscription = bindings.find((binding) => binding.subscription !== null)?.subscription;
    if (subscription === undefined || subscription === null) {
      targets.push({ queue, match: null, noLocalFor: null, localMatch: null });
      continue;
    }
    // A session's queues (one a QoS) are one subscriber: it gets one entry, in the queue of its highest granted QoS.
    const qos = Math.max(...bindings.map((binding) => binding.subscription?.qos ?? 0));
    const merged = bySubscriber.get(subscription.subscriber);
    if (merged === undefined) bySubscriber.set(subscription.subscriber, { queue, qos, bindings: [...bindings] });
    else {
      merged.bindings.push(...bindings);
      if (qos > merged.qos) {
        merged.queue = queue;
        merged.qos = qos;
      }
    }
  }
  for (const [subscriber, { queue, bindings }] of bySubscriber) {
    const foreign = bindings.filter((binding) => binding.subscription?.noLocal !== true);
    targets.push({
      queue,
      match: mergeMatch(bindings),
      noLocalFor: foreign.length === bindings.length ? null : subscriber,
      localMatch: foreign.length === 0 ? null : mergeMatch(foreign),
    });
  }
  return targets;
}

function mergeMatch(bindings: readonly Binding[]): Match {
  const options = bindings.flatMap((binding) => binding.subscription ?? []);
  return {
    qos: Math.max(...options.map((option) => option.qos)),
    subscriptionIds: options.map((option) => option.subscriptionId).filter((id) => id !== 0),
    retainAsPublished: options.some((option) => option.retainAsPublished),
    keepsQos0: options.some((option) => option.keepsQos0),
  };
}
