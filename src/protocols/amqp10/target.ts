import type { Route } from '../../core/exchange/route.ts';
import { noHeaders } from '../../core/properties.ts';
import type { Vhost } from '../../core/vhost.ts';
import { type Address, isBareName, parseAddress, topicAddress } from './address.ts';
import { Coordinator } from './coordinator.ts';
import { createDynamicNode, type DynamicNode } from './dynamic.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { isForTopic } from './jms-destination.ts';
import { ManagementTarget } from './management.ts';
import type { Composite, Values } from './performatives.ts';
import { findText, type Sections } from './sections.ts';
import type { Session } from './session.ts';

export type Answer = (state: Composite) => void;

/** Where a sender's messages go. */
export interface TargetNode {
  /** As the broker attaches it. */
  readonly shown: Composite;
  /** Each message says where it goes. */
  readonly isAnonymous: boolean;
  /** How long the link may be away before what it left is forgotten. */
  readonly timeoutMs: number;
  /** For nodes that are no exchange: takes the message, and answers it. */
  readonly onMessage: ((bytes: Buffer, sections: Sections, answer: Answer) => void) | null;
  routeOf(bytes: Buffer, sections: Sections): Route;
  /** The link is gone. */
  release(closed: boolean): void;
}

/** @throws AmqpError, BrokerError when there can be no such link */
export function openTarget(session: Session, attach: Values<'attach'>): TargetNode {
  const given = attach.target ?? { is: 'target' };
  if (given.is === 'coordinator') return new Coordinator(session, attach, given);
  if (given.is !== 'target') throw new AmqpError(ErrorCondition.notImplemented, 'link', 'a target of an unknown kind');
  const target = given as Composite & { is: 'target' };
  if (target.dynamic === true) {
    const node = createDynamicNode(session, target.capabilities ?? [], target.dynamicNodeProperties);
    const shown: Composite = { ...target, address: node.address, dynamicNodeProperties: node.properties };
    return new ExchangeTarget(session, shown, node.node, target.timeout ?? 0, node);
  }
  const address = target.address ?? null;
  if (address === null) return new ExchangeTarget(session, target, null, target.timeout ?? 0, null);
  if (typeof address !== 'string')
    throw new AmqpError(ErrorCondition.invalidField, 'link', 'target.address is no text');
  const parsed = parseAddress(address, target.capabilities?.includes('topic'));
  if (parsed.kind === 'management') return new ManagementTarget(session, attach, target);
  if (parsed.kind === 'queue') demandQueue(session, parsed);
  return new ExchangeTarget(session, target, parsed, target.timeout ?? 0, null);
}

/** A queue that is sent to must be there; an address of version 1 makes it. */
export function demandQueue(session: Session, { name, declared }: Address & { kind: 'queue' }): void {
  const { connection } = session;
  const { vhost, options } = connection;
  if (vhost.queues.has(name) || vhost.isReplyAlias(name)) return;
  if (!declared || !options.createQueues) {
    throw new AmqpError(ErrorCondition.notFound, 'link', `no queue '${name}' in vhost '${vhost.name}'`);
  }
  vhost.declareQueue(connection, { name, durable: true, autoDelete: false, exclusiveTo: null, arguments: noHeaders });
}

/** An exchange with a key; with the key of each message's subject; or, without address, where each message says. */
class ExchangeTarget implements TargetNode {
  readonly shown: Composite;
  readonly isAnonymous: boolean;
  readonly timeoutMs: number;
  readonly onMessage = null;
  private readonly session: Session;
  private readonly vhost: Vhost;
  private readonly node: Address | null;
  private readonly dynamic: DynamicNode | null;
  private route: Route | null = null;
  /** What the route was asked for with: a message's `to` or subject. */
  private routeText = '';

  constructor(
    session: Session,
    shown: Composite,
    node: Address | null,
    timeoutSeconds: number,
    dynamic: DynamicNode | null,
  ) {
    this.session = session;
    this.vhost = session.connection.vhost;
    this.shown = shown;
    this.node = node;
    this.isAnonymous = node === null;
    this.timeoutMs = timeoutSeconds * 1000;
    this.dynamic = dynamic;
    if (node !== null && (node.kind === 'queue' || (node.kind === 'exchange' && node.key !== null))) {
      this.route = this.findRoute(node, '');
    } else if (node?.kind === 'exchange') this.demandExchange(node.exchange);
  }

  routeOf(bytes: Buffer, sections: Sections): Route {
    const { node } = this;
    let text = '';
    if (node === null) {
      const to = findText(bytes, sections, 'to');
      if (to === undefined) {
        throw new AmqpError(
          ErrorCondition.preconditionFailed,
          'link',
          "anonymous terminus requires 'to' address to be set",
        );
      }
      text = to;
      const { messageAnnotations: annotations, end } = sections;
      if (annotations >= 0 && isBareName(to) && isForTopic(bytes, annotations, end)) text = topicAddress(to);
    } else if (node.kind === 'exchange' && node.key === null) text = findText(bytes, sections, 'subject') ?? '';
    const { route } = this;
    // an alias of a reply address is asked for anew each time: it may be gone
    if (route !== null && text === this.routeText && !route.isReply && this.vhost.current(route)) return route;
    const found = this.findRoute(node, text);
    this.route = found;
    this.routeText = text;
    return found;
  }

  release(closed: boolean): void {
    if (closed) this.dynamic?.release();
  }

  private findRoute(node: Address | null, text: string): Route {
    const address = node ?? parseAddress(text);
    switch (address.kind) {
      case 'queue':
        if (node === null) demandQueue(this.session, address);
        return this.routeTo('', address.name);
      case 'exchange':
        return this.routeTo(address.exchange, address.key ?? text);
      case 'management':
        throw new AmqpError(ErrorCondition.notAllowed, 'link', `'${text}' takes no messages from here`);
    }
  }

  private demandExchange(exchange: string): void {
    const { connection } = this.session;
    this.vhost.demand(connection, 'write', 'exchange', exchange);
    if (!this.vhost.getExchange(exchange).spec.internal) return;
    throw new AmqpError(
      ErrorCondition.unauthorizedAccess,
      'link',
      `forbidden to publish to internal exchange '${exchange}' in vhost '${this.vhost.name}'`,
    );
  }

  private routeTo(exchange: string, key: string): Route {
    // an alias grants what its requester lent
    if (exchange === '' && this.vhost.isReplyAlias(key)) return this.vhost.routeFrom(this.session.connection, '', key);
    this.demandExchange(exchange); // first: who may not is not told what is there
    const route = this.vhost.routeFor(exchange, key);
    if (route.exchange.spec.type === 'topic') this.vhost.demandTopic(this.session.connection, key, exchange);
    return route;
  }
}
