import { anyWord, anyWords, type Pattern } from '../../core/topic.ts';
import { ProtocolError } from './frame.ts';

/** Whose habits a client has; `auto` is RabbitMQ's until the client shows that it was written for ActiveMQ. */
export type Dialect = 'auto' | 'rabbitmq' | 'activemq';

/** What a destination names. */
export type Destination =
  | {
      readonly kind: 'queue';
      readonly name: string;
      /** Declared on first use. */
      readonly declared: boolean;
      /** The topic that an ActiveMQ virtual topic's queue is fed from. */
      readonly virtualTopic?: string;
      /** To a subscription, all queues whose names match; to a SEND it is a name. */
      readonly wildcard?: Pattern;
    }
  | { readonly kind: 'exchange'; readonly exchange: string; readonly key: string }
  | { readonly kind: 'temp-queue' | 'temp-topic'; readonly name: string };

export interface Parsed {
  /** More than one: an ActiveMQ composite. */
  readonly destinations: readonly Destination[];
  /** The form is one that only ActiveMQ has. */
  readonly isActivemq: boolean;
}

export const topicExchange = 'amq.topic';

/**
 *     /queue/n                  queue n, declared on first use     /amq/queue/n, /reply-queue/n   queue n as it is
 *     /topic/k                  amq.topic, key k                   /exchange/x[/k]                exchange x, key k
 *     /temp-queue/n             the connection's own               /temp-topic/n                  the connection's own
 *     n                         queue n
 *     only ActiveMQ's: /queue/a/b, /topic/a.>, several separated by commas, /queue/Consumer.A.VirtualTopic.T,
 *     /queue/a.> and /queue/a.*.b as all queues of such names
 *
 * In RabbitMQ's forms names are percent-encoded where they hold a slash.
 * @throws ProtocolError for a form that is not known
 */
export function parseDestination(text: string, dialect: Dialect): Parsed {
  if (dialect === 'rabbitmq' || !text.includes(',')) return parseOne(text, dialect);
  const parts = dialect === 'activemq' ? splitAll(text) : text.split(/,(?=\/(?:queue|topic)\/)/);
  if (parts.length === 1) return parseOne(text, dialect);
  return { destinations: parts.flatMap((part) => parseOne(part, 'activemq').destinations), isActivemq: true };
}

// `/queue/a,b` is two queues to ActiveMQ: what has no prefix of its own takes that of the one before.
function splitAll(text: string): string[] {
  let prefix = '';
  return text.split(',').map((part) => {
    const own = /^\/(?:queue|topic|temp-queue|temp-topic)\//.exec(part)?.[0];
    if (own === undefined) return prefix + part;
    prefix = own;
    return part;
  });
}

function parseOne(text: string, dialect: Dialect): Parsed {
  if (!text.startsWith('/')) {
    if (text === '') throw new ProtocolError('Invalid destination', 'Destination cannot be blank');
    return only({ kind: 'queue', name: decode(text, dialect), declared: true });
  }
  const [, type = '', ...rest] = text.split('/');
  const whole = rest.join('/');
  switch (type) {
    case 'queue':
      if (whole !== '' && (rest.length === 1 || dialect !== 'rabbitmq')) return parseQueue(whole, rest.length, dialect);
      throw invalid(whole, 'queue');
    case 'topic':
      if (whole === '') throw invalid(whole, 'topic');
      return parseTopic(whole, rest.length, dialect);
    case 'amq':
      if (rest.length === 2 && rest[0] === 'queue' && rest[1] !== '') {
        return only({ kind: 'queue', name: decode(rest[1]!, dialect), declared: false });
      }
      break;
    case 'reply-queue':
      if (whole !== '') return only({ kind: 'queue', name: decode(whole, dialect), declared: false });
      break;
    case 'exchange':
      if (rest.length === 0 || rest.length > 2 || rest[0] === '') throw invalid(whole, 'exchange');
      return only({ kind: 'exchange', exchange: decode(rest[0]!, dialect), key: decode(rest[1] ?? '', dialect) });
    case 'temp-queue':
      if (whole !== '') return only({ kind: 'temp-queue', name: whole });
      break;
    case 'temp-topic':
      if (whole !== '') return { destinations: [{ kind: 'temp-topic', name: whole }], isActivemq: true };
      break;
  }
  throw new ProtocolError(
    'Unknown destination',
    `'${text}' is not a valid destination. Valid destination types are: /temp-queue, /temp-topic, /exchange, /topic, /queue, /amq/queue, /reply-queue.\n`,
  );
}

function parseQueue(text: string, segments: number, dialect: Dialect): Parsed {
  const isActivemq = dialect === 'activemq' || segments > 1;
  const name = isActivemq ? text : decode(text, dialect);
  const virtualTopic = dialect === 'rabbitmq' ? undefined : /^Consumer\.[^.]+\.(VirtualTopic\..+)$/.exec(name)?.[1];
  if (virtualTopic === undefined) {
    const wildcard = dialect === 'rabbitmq' ? null : findWildcard(name);
    if (wildcard !== null) {
      return { destinations: [{ kind: 'queue', name, declared: true, wildcard }], isActivemq: true };
    }
    return { destinations: [{ kind: 'queue', name, declared: true }], isActivemq };
  }
  const key = virtualTopic.replace(/(^|\.)>$/, '$1#');
  return { destinations: [{ kind: 'queue', name, declared: true, virtualTopic: key }], isActivemq: true };
}

// ActiveMQ's `*` is a word, `>` at the end any number of them.
function findWildcard(name: string): Pattern | null {
  const words = name.split('.');
  if (words.at(-1) !== '>' && !words.includes('*')) return null;
  return words.map((word, i) => (word === '*' ? anyWord : word === '>' && i === words.length - 1 ? anyWords : word));
}

function parseTopic(text: string, segments: number, dialect: Dialect): Parsed {
  if (dialect === 'rabbitmq' && segments > 1) throw invalid(text, 'topic');
  const isActivemq = dialect === 'activemq' || (dialect === 'auto' && /(^|\.)>$/.test(text));
  const key = isActivemq ? text.replace(/(^|\.)>$/, '$1#') : decode(text, dialect);
  return { destinations: [{ kind: 'exchange', exchange: topicExchange, key }], isActivemq };
}

function only(destination: Destination): Parsed {
  return { destinations: [destination], isActivemq: false };
}

function invalid(text: string, type: string): ProtocolError {
  return new ProtocolError(
    'Invalid destination',
    `'${text === '' ? '' : `/${text}`}' is not a valid ${type} destination\n`,
  );
}

function decode(text: string, dialect: Dialect): string {
  if (dialect === 'activemq' || !text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Where a reply to `text` is published; null when it is none of the forms that lead to one place. */
export function findAddress(text: string): { readonly exchange: string; readonly key: string } | null {
  try {
    const [destination] = parseDestination(text, 'rabbitmq').destinations;
    if (destination?.kind === 'exchange') return { exchange: destination.exchange, key: destination.key };
    return destination?.kind === 'queue' ? { exchange: '', key: destination.name } : null;
  } catch {
    return null;
  }
}

/** The destination that leads to where a message was published; no line or frame ends with what lies in a routing key. */
export function showDestination(exchange: string, routingKey: string, dialect: Dialect): string {
  if (exchange === '') return `/queue/${encode(routingKey, dialect)}`;
  if (exchange === topicExchange) return `/topic/${encode(routingKey, dialect)}`;
  const shown = `/exchange/${encode(exchange, dialect)}`;
  return routingKey === '' ? shown : `${shown}/${encode(routingKey, dialect)}`;
}

function encode(text: string, dialect: Dialect): string {
  if (dialect === 'activemq') return text;
  return text.replace(/[%/\0\n\r]/g, encodeURIComponent);
}
