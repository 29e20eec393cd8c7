import { randomBytes } from 'node:crypto';
import type { Message } from '../../core/message.ts';
import { type Headers, noHeaders } from '../../core/properties.ts';
import type { Queue } from '../../core/queue/queue.ts';
import { retainHeader } from '../../core/retained.ts';
import { type Address, exchangeAddress, parseAddress, queueAddress } from './address.ts';
import { createDynamicNode } from './dynamic.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { readFilter } from './filter.ts';
import type { Composite, Values } from './performatives.ts';
import type { Session } from './session.ts';
import { demandQueue } from './target.ts';

/** Where a receiver's messages come from. */
export interface SourceNode {
  readonly queue: Queue;
  /** As the broker attaches it. */
  readonly shown: Composite;
  /** What passes; null: everything. */
  readonly predicate: ((message: Message) => boolean) | null;
  /** The queue is the link's, or its subscription's, own: what does not pass is nobody's. */
  readonly isOwn: boolean;
  /** Of the filter: those who share a subscription have the same. */
  readonly filterKey: string;
  /** [AMQP 1.0 §3.5.6] Messages stay where they are. */
  readonly copies: boolean;
  readonly timeoutMs: number;
  readonly defaultOutcome: Composite | null;
  /** The link is gone, and has left the queue. */
  release(closed: boolean): void;
}

type Source = Composite & { is: 'source' };
type Node = Pick<SourceNode, 'queue' | 'isOwn' | 'release'> & { readonly shown: Source };

/** @throws AmqpError, BrokerError when there can be no such link */
export function openSource(session: Session, attach: Values<'attach'>): SourceNode {
  const given = attach.source;
  if (given !== undefined && given.is !== 'source') {
    throw new AmqpError(ErrorCondition.notImplemented, 'link', 'a source of an unknown kind');
  }
  const source = given as Source | undefined;
  const filter = readFilter(source?.filter, session.connection);
  const node = source === undefined ? recoverNode(session, attach) : openNode(session, attach, source, filter.key);
  const { connection } = session;
  connection.vhost.demand(connection, 'read', 'queue', node.queue.name);
  const { filter: _asked, ...shown } = node.shown;
  return {
    ...node,
    shown: { ...shown, outcomes: outcomeSymbols, ...(filter.shown === undefined ? {} : { filter: filter.shown }) },
    predicate: filter.predicate,
    filterKey: filter.key,
    copies: source?.distributionMode === 'copy',
    timeoutMs: (source?.timeout ?? 0) * 1000,
    defaultOutcome: source?.defaultOutcome ?? null,
  };
}

const outcomeSymbols = ['amqp:accepted:list', 'amqp:rejected:list', 'amqp:released:list', 'amqp:modified:list'];

function openNode(session: Session, attach: Values<'attach'>, source: Source, filterKey: string): Node {
  if (source.dynamic === true) {
    const node = createDynamicNode(session, source.capabilities ?? [], source.dynamicNodeProperties);
    const shown = { ...source, address: node.address, dynamicNodeProperties: node.properties };
    if (node.queue === null) {
      return subscribe(session, attach, shown, node.node as Address & { kind: 'exchange' }, filterKey);
    }
    try {
      session.connection.vhost.demand(session.connection, 'read', 'queue', node.queue.name);
    } catch (error) {
      node.release();
      throw error;
    }
    const release = (closed: boolean): void => (closed ? node.release() : undefined);
    return { queue: node.queue, isOwn: true, shown, release };
  }
  const { address } = source;
  if (typeof address !== 'string') {
    throw new AmqpError(ErrorCondition.invalidField, 'link', 'source.address is missing or no text');
  }
  const parsed = parseAddress(address, source.capabilities?.includes('topic'));
  switch (parsed.kind) {
    case 'queue': {
      const { connection } = session;
      connection.vhost.demand(connection, 'read', 'queue', parsed.name); // who may not is not told what is there
      demandQueue(session, parsed);
      return { queue: connection.vhost.getQueue(parsed.name, connection), isOwn: false, shown: source, release() {} };
    }
    case 'exchange':
      return subscribe(session, attach, source, parsed, filterKey);
    case 'management':
      throw new AmqpError(ErrorCondition.notAllowed, 'link', 'the management node needs a pair of links');
  }
}

// — subscriptions ———————————————————————————————————————————————————————————————————————————————————————————————————

/** What is retained for the topic comes first, to a subscription that is new. */
const retainedCapability = 'retained';
const retainedArgument: Headers = new Map([[retainHeader, true]]);

/** Of the binding of a durable subscription that filters: which filter, so that a changed one is noticed. */
const filterArgument = 'x-filter';

/**
 * A subscription to a topic is a queue of its own. It outlives the link when the terminus is durable or never expires;
 * then container and link name, up to the first `|` of a shared one, say which it is, as JMS clients expect.
 */
function subscribe(
  session: Session,
  attach: Values<'attach'>,
  source: Source,
  address: Address & { kind: 'exchange' },
  filterKey: string,
): Node {
  const { connection } = session;
  const { vhost } = connection;
  vhost.demand(connection, 'read', 'exchange', address.exchange);
  const exchange = vhost.getExchange(address.exchange);
  const key = address.key ?? (exchange.spec.type === 'topic' ? '#' : '');
  const identity = identify(session, attach, source.capabilities ?? []);
  const isDurable = (source.durable ?? 0) > 0 || source.expiryPolicy === 'never';
  const { isShared } = identity;
  const name = isDurable
    ? identity.durableName
    : isShared
      ? `volatile:${identity.durableName}`
      : `amqp-subscription-${randomBytes(16).toString('base64url')}`;
  // all that is to be asked, before anything is made or changed
  vhost.demand(connection, 'configure', 'queue', name);
  vhost.demandBinding(connection, address.exchange, 'queue', name, key);
  vhost.demand(connection, 'read', 'queue', name);
  const filter = isDurable ? Buffer.from(filterKey, 'latin1').toString('base64') : '';
  const current = vhost.queues.get(name);
  if (current !== undefined) {
    const isSame = [...current.bindings].some(
      (each) => each.source === exchange && each.key === key && (each.arguments.get(filterArgument) ?? '') === filter,
    );
    const isUsed = current.counts.consumers > 0;
    const isOther = (consumer: object): boolean => !('filterKey' in consumer) || consumer.filterKey !== filterKey;
    if (isUsed && (!isShared || !isSame || current.consumers.some(isOther))) {
      throw new AmqpError(ErrorCondition.resourceLocked, 'link', `subscription '${name}' is in use`);
    }
    // another topic or selector under the name of an old one is another subscription [JMS 2.0 §8.3.3]
    if (!isSame) vhost.deleteQueue(connection, name, false, false);
  }
  const queue = vhost.declareQueue(connection, {
    name,
    durable: isDurable,
    autoDelete: !isDurable,
    exclusiveTo: isDurable || isShared ? null : connection,
    arguments: isDurable ? expiryOf(source) : noHeaders,
  });
  try {
    const wantsRetained = source.capabilities?.includes(retainedCapability) === true;
    const own = wantsRetained ? retainedArgument : noHeaders;
    const args = filter === '' ? own : new Map([...own, [filterArgument, filter]]);
    vhost.bind(connection, address.exchange, queue, key, args);
  } catch (error) {
    if (current === undefined) vhost.removeQueue(vhost.queues.get(name)!);
    throw error;
  }
  return { queue, isOwn: true, shown: source, release: (closed) => endSubscription(session, queue, closed) };
}

interface Identity {
  readonly durableName: string;
  readonly isShared: boolean;
}

function identify(session: Session, attach: Values<'attach'>, capabilities: readonly string[]): Identity {
  const isShared = capabilities.includes('shared');
  const isGlobal = capabilities.includes('global');
  const bar = isShared || isGlobal ? attach.name.indexOf('|') : -1;
  const base = bar < 0 ? attach.name : attach.name.slice(0, bar);
  return { durableName: isGlobal ? `${base}:global` : `${session.connection.containerId}.${base}`, isShared };
}

// With an expiry policy that ends, a time-out says how long the queue outlives its links.
function expiryOf({ expiryPolicy, timeout }: Source): Headers {
  if (expiryPolicy === 'never' || timeout === undefined || timeout === 0) return noHeaders;
  return new Map([['x-expires', { type: 'long', value: BigInt(timeout) * 1000n }]]);
}

function endSubscription({ connection }: Session, queue: Queue, closed: boolean): void {
  const { vhost } = connection;
  if (!closed || queue.deleted || queue.counts.consumers > 0) return;
  const found = vhost.queues.get(queue.name);
  if (found !== undefined) vhost.removeQueue(found);
}

/** A receiver without source asks for the terminus that its link has left: to go on with it, or to end it. */
function recoverNode(session: Session, attach: Values<'attach'>): Node {
  const { vhost } = session.connection;
  const { durableName } = identify(session, attach, attach.desiredCapabilities ?? []);
  const queue = vhost.queues.get(durableName);
  if (queue === undefined) {
    throw new AmqpError(ErrorCondition.notFound, 'link', `no subscription '${attach.name}' of this container`);
  }
  const [binding] = queue.bindings;
  const address = binding === undefined ? queueAddress(queue.name) : exchangeAddress(binding.source.name, binding.key);
  return {
    queue,
    isOwn: true,
    shown: { is: 'source', address, durable: 2, expiryPolicy: 'never', capabilities: ['topic'] },
    release: (closed) => endSubscription(session, queue, closed),
  };
}
