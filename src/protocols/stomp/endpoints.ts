import { createHash, randomBytes } from 'node:crypto';
import type { Exchange } from '../../core/exchange/exchange.ts';
import type { Route } from '../../core/exchange/route.ts';
import { type Headers, noHeaders, type Value } from '../../core/properties.ts';
import type { DeadLetterAddress } from '../../core/queue/dead-letter.ts';
import type { Queue } from '../../core/queue/queue.ts';
import { retainHeader } from '../../core/retained.ts';
import { matches, type Pattern, wordsOf } from '../../core/topic.ts';
import type { Connection } from './connection.ts';
import { type Destination, parseDestination, topicExchange } from './destination.ts';
import { ProtocolError } from './frame.ts';
import { isTrue } from './message.ts';
import type { Source } from './subscription.ts';

export type TextHeaders = ReadonlyMap<string, string>;

/** A durable subscription to a topic: the queue that stands for it. */
export interface Durable {
  readonly queue: string;
  /** Given up by ActiveMQ's rules when its topic changes; in RabbitMQ's the topic is part of the name. */
  readonly followsTopic: boolean;
}

const integerArguments = [
  'x-expires',
  'x-max-length',
  'x-max-length-bytes',
  'x-max-priority',
  'x-message-ttl',
  'x-delivery-limit',
];
const textArguments = [
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-overflow',
  'x-queue-type',
  'x-queue-mode',
  'x-dead-letter-strategy',
  'x-priority-mode',
  'x-priority-weights',
  'x-retry-delays',
  'x-last-value-key',
  'x-deduplication-window',
  'x-ack-timeout',
  'x-rate-limit',
];
const booleanArguments = ['x-single-active-consumer', 'x-message-groups', 'x-deduplication', 'x-dead-letter-default'];

/** What SUBSCRIBE says to the broker: the rest are arguments of the binding, where the exchange looks at headers. */
const subscribeHeaders: ReadonlySet<string> = new Set([
  ...['destination', 'id', 'ack', 'receipt', 'selector', 'transaction', 'content-length', 'content-type'],
  ...['durable', 'persistent', 'auto-delete', 'exclusive', 'prefetch-count', 'x-priority', 'x-queue-name'],
  ...['client-id', 'durable-subscription-name', 'durable-subscriber-name', 'no-local'],
  ...integerArguments,
  ...textArguments,
  ...booleanArguments,
]);

/** Queues that stand for subscriptions: a wildcard that could mean anything does not mean them. */
const ownPrefixes = ['amq.', 'stomp-subscription-', 'mqtt-subscription-', 'mqtt-shared.'];

/** What destinations lead to, for one connection: routes, queues declared on first use, its temporary ones. */
export class Endpoints {
  private readonly connection: Connection;
  private readonly tempQueues = new Map<string, Queue>();
  private readonly tempTopics = new Map<string, string>();

  constructor(connection: Connection) {
    this.connection = connection;
  }

  parse(text: string): readonly Destination[] {
    const { destinations, isActivemq } = parseDestination(text, this.connection.dialect);
    if (isActivemq) this.connection.showActivemq();
    return destinations;
  }

  // — SEND ————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** @param headers of the frame, for the arguments of a queue that is made now */
  routeTo(destination: Destination, headers: TextHeaders): Route {
    const { connection } = this;
    const { vhost } = connection;
    const [exchange, key] = this.addressOf(destination, headers);
    return vhost.routeFrom(connection, exchange, key);
  }

  private addressOf(destination: Destination, headers: TextHeaders): [exchange: string, key: string] {
    switch (destination.kind) {
      case 'queue':
        if (destination.declared && !this.connection.vhost.isReplyAlias(destination.name)) {
          // before it is made: a refusal leaves nothing behind
          this.connection.vhost.demand(this.connection, 'write', 'exchange', '');
          this.useQueue(destination, withoutPersistent(headers));
        }
        return ['', destination.name];
      case 'exchange':
        return [destination.exchange, destination.key];
      case 'temp-queue': {
        const queue = this.tempQueues.get(destination.name);
        if (queue === undefined && this.connection.dialect !== 'activemq') {
          throw new ProtocolError(
            'Invalid destination',
            `'/temp-queue/${destination.name}' is not a valid destination for 'SEND'\n`,
          );
        }
        return ['', (queue ?? this.tempQueue(destination.name)).name];
      }
      case 'temp-topic':
        return [topicExchange, this.tempTopic(destination.name)];
    }
  }

  /** What a reply address of the connection's own is called by others; null when it is none of its own. */
  findReplyTo(text: string): { readonly shown: string; readonly queue: Queue | null; readonly name: string } | null {
    const [, type, ...rest] = text.split('/');
    const name = rest.join('/');
    if (!text.startsWith('/') || name === '') return null;
    if (type === 'temp-queue') {
      const queue = this.tempQueue(name);
      return { shown: `/reply-queue/${queue.name}`, queue, name };
    }
    if (type === 'temp-topic') return { shown: `/topic/${this.tempTopic(name)}`, queue: null, name };
    return null;
  }

  // — SUBSCRIBE ———————————————————————————————————————————————————————————————————————————————————————————————————

  sourceOf(destination: Destination, headers: TextHeaders, durable: Durable | null): Source {
    switch (destination.kind) {
      case 'queue':
        this.demandRead(destination.name);
        return { queue: this.useQueue(destination, headers), own: false };
      case 'temp-queue': {
        const queue = this.tempQueue(destination.name);
        this.demandRead(queue.name);
        const shown = `/temp-queue/${destination.name}`;
        return { queue, own: true, temporary: { exchange: '', key: queue.name, shown } };
      }
      case 'temp-topic': {
        const key = this.tempTopic(destination.name);
        const shown = `/temp-topic/${destination.name}`;
        const source = this.bindQueue(topicExchange, key, headers, null);
        return { ...source, temporary: { exchange: topicExchange, key, shown } };
      }
      case 'exchange':
        return this.bindQueue(destination.exchange, destination.key, headers, durable);
    }
  }

  /** The queues that a wildcard leads to: of those that the client may read, and that are not somebody's own. */
  sourcesOf(wildcard: Pattern): Source[] {
    const queues = [...this.connection.vhost.queues.values()];
    return queues
      .filter((queue) => this.matches(wildcard, queue))
      .map((queue) => ({ queue, own: false, matched: true }));
  }

  matches(wildcard: Pattern, { name, spec }: Queue): boolean {
    const { connection } = this;
    if (spec.exclusiveTo !== null && spec.exclusiveTo !== connection) return false;
    if (typeof wildcard[0] !== 'string' && ownPrefixes.some((prefix) => name.startsWith(prefix))) return false;
    return matches(wildcard, wordsOf(name)) && connection.access.allows('read', 'queue', name);
  }

  /**
   * The queue of a durable subscription, in the dialect of whoever asks: RabbitMQ's `durable:true` with an `id`,
   * ActiveMQ's `activemq.subscriptionName` or Artemis' `durable-subscription-name` with the connection's `client-id`.
   */
  durableOf(headers: TextHeaders, destination: string): Durable | null {
    const name = findDurableName(headers);
    if (name !== undefined) {
      const clientId = this.connection.clientId ?? headers.get('client-id');
      if (clientId === undefined) {
        throw new ProtocolError('Missing header', 'a durable subscription needs the client-id of CONNECT');
      }
      return { queue: `${clientId}.${name}`, followsTopic: true };
    }
    if (!isDurable(headers)) return null;
    const id = headers.get('id');
    if (id === undefined) {
      throw new ProtocolError('Missing header', "Header 'id' is required for durable subscriptions");
    }
    const given = headers.get('x-queue-name');
    if (given !== undefined) return { queue: given, followsTopic: false };
    const digest = createHash('sha256').update(`${destination}\0${id}`).digest('base64url').slice(0, 22);
    return { queue: `stomp-subscription-${digest}`, followsTopic: false };
  }

  /** ActiveMQ's queue of dead letters, which is there when it is needed. */
  deadLetters(): DeadLetterAddress {
    const { vhost } = this.connection;
    const name = activemqDeadLetters.routingKey as string;
    if (!vhost.queues.has(name)) {
      vhost.createQueue({ name, durable: true, autoDelete: false, exclusiveTo: null, arguments: noHeaders });
    }
    return activemqDeadLetters;
  }

  private demandRead(queue: string): void {
    this.connection.vhost.demand(this.connection, 'read', 'queue', queue);
  }

  private useQueue(destination: Destination & { kind: 'queue' }, headers: TextHeaders): Queue {
    const { connection } = this;
    const { vhost } = connection;
    const { name } = destination;
    if (!destination.declared) return vhost.getQueue(name, connection);
    const args = readArguments(headers);
    if (destination.virtualTopic !== undefined) {
      vhost.demandBinding(connection, topicExchange, 'queue', name, destination.virtualTopic);
    }
    const isExplicit = args.size > 0 || ['durable', 'auto-delete', 'exclusive'].some((header) => headers.has(header));
    let queue: Queue;
    if (vhost.queues.has(name) && !isExplicit) queue = vhost.getQueue(name, connection);
    else {
      const isSingle = isTrue(headers.get('activemq.exclusive')) && !vhost.queues.has(name);
      const isExclusive = isTrue(headers.get('exclusive'));
      queue = vhost.declareQueue(connection, {
        name,
        durable: isTrue(headers.get('durable') ?? 'true'),
        autoDelete: isTrue(headers.get('auto-delete')),
        exclusiveTo: isExclusive ? connection : null,
        // one consumer at a time, the others standing by
        arguments: isSingle ? new Map([...args, ['x-single-active-consumer', true]]) : args,
      });
    }
    if (destination.virtualTopic !== undefined) {
      vhost.bind(connection, topicExchange, queue, destination.virtualTopic, noHeaders);
    }
    return queue;
  }

  // A subscription to a topic is a queue of its own, which goes with it unless it is durable.
  private bindQueue(exchange: string, key: string, headers: TextHeaders, durable: Durable | null): Source {
    const { connection } = this;
    const { vhost } = connection;
    const name =
      durable?.queue ?? headers.get('x-queue-name') ?? `stomp-subscription-${randomBytes(16).toString('base64url')}`;
    // all that is to be asked, before anything is made that a refusal would leave behind
    vhost.demand(connection, 'configure', 'queue', name);
    vhost.demandBinding(connection, exchange, 'queue', name, key);
    this.demandRead(name);
    const found = vhost.getExchange(exchange);
    const queue = vhost.declareQueue(connection, {
      name,
      durable: durable !== null,
      autoDelete: durable === null || (!durable.followsTopic && isTrue(headers.get('auto-delete') ?? 'true')),
      exclusiveTo: durable === null ? connection : null,
      arguments: readArguments(headers),
    });
    const args = found.spec.type === 'headers' ? bindingArguments(headers) : retainedArgument(headers);
    if (durable?.followsTopic === true) this.dropOtherTopics(queue, found, key);
    vhost.bind(connection, exchange, queue, key, args);
    return { queue, own: true };
  }

  private dropOtherTopics(queue: Queue, exchange: Exchange, key: string): void {
    for (const binding of [...queue.bindings]) {
      if (binding.source === exchange && binding.key !== key) this.connection.vhost.removeBinding(binding);
    }
  }

  private tempQueue(name: string): Queue {
    let queue = this.tempQueues.get(name);
    if (queue === undefined || queue.deleted) {
      queue = this.connection.vhost.declareQueue(
        this.connection,
        {
          name: `amq.gen-${randomBytes(16).toString('base64url')}`,
          durable: false,
          autoDelete: false,
          exclusiveTo: this.connection,
          arguments: noHeaders,
        },
        'generated',
      );
      this.tempQueues.set(name, queue);
    }
    return queue;
  }

  private tempTopic(name: string): string {
    let key = this.tempTopics.get(name);
    if (key === undefined) {
      key = `stomp-temp-topic.${randomBytes(16).toString('base64url')}`;
      this.tempTopics.set(name, key);
    }
    return key;
  }
}

/** Where ActiveMQ puts what a client would not have, unless the queue says otherwise. */
const activemqDeadLetters: DeadLetterAddress = { exchange: '', routingKey: 'ActiveMQ.DLQ' };

/** The name of a durable subscription as ActiveMQ's and Artemis' clients give it. */
export function findDurableName(headers: TextHeaders): string | undefined {
  return (
    headers.get('durable-subscriber-name') ??
    headers.get('durable-subscription-name') ??
    headers.get('activemq.subscriptionName') ??
    headers.get('activemq.subcriptionName') // as ActiveMQ itself once spelled it
  );
}

export function isDurable(headers: TextHeaders): boolean {
  return isTrue(headers.get('durable')) || isTrue(headers.get('persistent'));
}

// On SEND it says what the message is, not the queue.
function withoutPersistent(headers: TextHeaders): TextHeaders {
  if (!headers.has('persistent')) return headers;
  return new Map([...headers].filter(([name]) => name !== 'persistent'));
}

/** @throws ProtocolError for an argument that is no number where one is needed */
function readArguments(headers: TextHeaders): Headers {
  const args = new Map<string, Value>();
  for (const name of integerArguments) {
    const text = headers.get(name)?.trim();
    if (text === undefined) continue;
    if (!/^-?\d{1,15}$/.test(text)) throw new ProtocolError('Invalid header', `'${name}' must be a number: '${text}'`);
    args.set(name, { type: 'long', value: BigInt(text) });
  }
  for (const name of textArguments) {
    const text = headers.get(name);
    if (text !== undefined) args.set(name, text.trim());
  }
  for (const name of booleanArguments) {
    const text = headers.get(name);
    if (text !== undefined) args.set(name, isTrue(text));
  }
  return args;
}

// What is retained for the topic comes first.
function retainedArgument(headers: TextHeaders): Headers {
  return isTrue(headers.get(retainHeader)) ? new Map([[retainHeader, true]]) : noHeaders;
}

function bindingArguments(headers: TextHeaders): Headers {
  const args = new Map<string, Value>();
  for (const [name, value] of headers) {
    if (!subscribeHeaders.has(name) && !name.startsWith('activemq.')) args.set(name, value);
  }
  return args;
}
