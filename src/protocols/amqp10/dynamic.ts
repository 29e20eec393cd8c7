import { randomBytes } from 'node:crypto';
import { noHeaders } from '../../core/properties.ts';
import type { Queue } from '../../core/queue/queue.ts';
import { type Address, exchangeAddress, queueAddress } from './address.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { type Composite, toComposite, toDescribed } from './performatives.ts';
import type { Session } from './session.ts';
import { AmqpArray, AmqpMap, Described, symbol, textOf } from './types.ts';

/** A node that is made for a link: a queue, or a topic that nobody else has [AMQP 1.0 §3.5.3, §3.5.10]. */
export interface DynamicNode {
  readonly address: string;
  readonly node: Address;
  /** null for a topic, which is only a key. */
  readonly queue: Queue | null;
  /** As they hold: with the lifetime policy. */
  readonly properties: AmqpMap;
  /** The link that it was made for is closed. */
  release(): void;
}

const topicExchange = 'amq.topic';
const lifetimeKey = 'lifetime-policy';
const modesKey = 'supported-dist-modes';
const lifetimes = ['deleteOnClose', 'deleteOnNoLinks', 'deleteOnNoMessages', 'deleteOnNoLinksOrMessages'];

export function createDynamicNode(
  session: Session,
  capabilities: readonly string[],
  wanted: AmqpMap | undefined,
): DynamicNode {
  const { connection } = session;
  const name = `amq.dynamic-${randomBytes(16).toString('base64url')}`;
  const policy = lifetimeOf(wanted);
  const own = (wanted?.pairs ?? []).filter(([key]) => textOf(key) !== lifetimeKey);
  const properties = new AmqpMap([...own, [symbol(lifetimeKey), toDescribed(policy)]]);
  if (capabilities.includes('temporary-topic') || capabilities.includes('topic')) {
    const node: Address = { kind: 'exchange', exchange: topicExchange, key: name };
    return { address: exchangeAddress(topicExchange, name), node, queue: null, properties, release() {} };
  }
  const queue = connection.vhost.createQueue({
    name,
    durable: false,
    autoDelete: policy.is === 'deleteOnNoLinks' || policy.is === 'deleteOnNoLinksOrMessages',
    exclusiveTo: connection,
    arguments: noHeaders,
  });
  return {
    address: queueAddress(name),
    node: { kind: 'queue', name, declared: false },
    queue,
    properties,
    release() {
      if (!queue.deleted && isOver(policy, queue)) connection.vhost.removeQueue(queue);
    },
  };
}

/** [§3.5.9] @throws AmqpError when a property is not of its type */
function lifetimeOf(properties: AmqpMap | undefined): Composite {
  const modes = properties?.get(modesKey) ?? null;
  for (const mode of modes instanceof AmqpArray ? modes.items : [modes]) {
    if (mode !== null && textOf(mode) === undefined) throw invalid(`${modesKey} is no distribution mode`);
  }
  const value = properties?.get(lifetimeKey) ?? null;
  if (value === null) return { is: 'deleteOnClose' };
  const policy = value instanceof Described ? toComposite(value) : null;
  if (policy === null || !lifetimes.includes(policy.is)) throw invalid(`${lifetimeKey} is no lifetime policy`);
  return policy;
}

// What is not over when its link closes goes with the connection.
function isOver(policy: Composite, queue: Queue): boolean {
  const { ready, unacked, consumers } = queue.counts;
  switch (policy.is) {
    case 'deleteOnNoLinks':
      return consumers === 0;
    case 'deleteOnNoMessages':
      return ready + unacked === 0;
    case 'deleteOnNoLinksOrMessages':
      return consumers === 0 && ready + unacked === 0;
    default:
      return true;
  }
}

function invalid(text: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'link', text);
}
