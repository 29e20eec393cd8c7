import { AmqpError, ErrorCondition } from './errors.ts';

/** What an address names. */
export type Address =
  | {
      readonly kind: 'queue';
      readonly name: string;
      /** Made when it is not there [RabbitMQ: address v1, and bare names]. */
      readonly declared: boolean;
    }
  | {
      readonly kind: 'exchange';
      readonly exchange: string;
      /** null: each message's subject (address v1). */
      readonly key: string | null;
    }
  | { readonly kind: 'management' };

export const managementAddress = '/management';
const topicExchange = 'amq.topic';

/**
 *     v2  /queues/q   /exchanges/x/k   /exchanges/x               names are percent-encoded
 *     v1  /queue/q    /exchange/x/k    /exchange/x    /topic/k    /amq/queue/q
 *     q   a queue     queue://q   topic://k                       a JMS destination's prefix
 *     $management     /management
 *
 * @throws AmqpError not-implemented for `$cbs`
 * @param isTopic the terminus says so by a capability: a bare name is a key of `amq.topic`
 * @throws AmqpError invalid-field for what is no address
 */
export function parseAddress(text: string, isTopic = false): Address {
  if (text === '$management' || text === managementAddress) return { kind: 'management' };
  if (text === '$cbs') {
    // Service Bus clients put their tokens there, and would wait for an answer for ever
    throw new AmqpError(ErrorCondition.notImplemented, 'link', 'no claims-based security: log in by SASL');
  }
  if (text.startsWith('queue://')) return queue(text.slice(8), true, text);
  if (text.startsWith('topic://')) return { kind: 'exchange', exchange: topicExchange, key: text.slice(8) };
  if (!text.startsWith('/')) {
    if (isTopic && text !== '') return { kind: 'exchange', exchange: topicExchange, key: text };
    return queue(text, true, text);
  }
  const [, form, ...rest] = text.split('/');
  const whole = rest.join('/');
  switch (form) {
    case 'queues':
      if (rest.length !== 1) break;
      return queue(decodePercents(whole, text), false, text);
    case 'exchanges': {
      const [exchange = '', key = ''] = rest;
      if (rest.length > 2 || exchange === '') break;
      const name = decodePercents(exchange, text);
      if (name === 'amq.default') break;
      return { kind: 'exchange', exchange: name, key: decodePercents(key, text) };
    }
    case 'queue':
      if (rest.length === 0) return { kind: 'exchange', exchange: '', key: null };
      return queue(decodeLoosely(whole), true, text);
    case 'exchange': {
      const [exchange = '', key] = rest;
      if (rest.length === 0 || rest.length > 2 || exchange === '') break;
      const routingKey = key === undefined || key === '' ? null : decodeLoosely(key);
      return { kind: 'exchange', exchange: decodeLoosely(exchange), key: routingKey };
    }
    case 'topic':
      if (whole === '') break;
      return { kind: 'exchange', exchange: topicExchange, key: decodeLoosely(whole) };
    case 'amq':
      if (rest.length !== 2 || rest[0] !== 'queue') break;
      return queue(decodeLoosely(rest[1]!), false, text);
  }
  throw badAddress(text);
}

function queue(name: string, declared: boolean, text: string): Address {
  if (name === '') throw badAddress(text);
  return { kind: 'queue', name, declared };
}

/** @throws AmqpError for `%` without two hexadecimal digits behind it, or octets that are no text */
function decodePercents(text: string, address: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badAddress(address);
  }
}

// Version 1 asked for percent-encoding as well, but was never strict about it.
function decodeLoosely(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function badAddress(text: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'link', `bad address '${text}'`);
}

/** What RFC 3986 does not reserve stays as it is. */
function encodePercents(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** A name that does not say what it is of: `q`. */
export function isBareName(text: string): boolean {
  return text !== '' && !text.startsWith('/') && !text.startsWith('$') && !text.includes('://');
}

/** As JMS clients write it. */
export function topicAddress(key: string): string {
  return `topic://${key}`;
}

export function queueAddress(name: string): string {
  return `/queues/${encodePercents(name)}`;
}

export function exchangeAddress(exchange: string, key: string): string {
  return `/exchanges/${encodePercents(exchange)}${key === '' ? '' : `/${encodePercents(key)}`}`;
}
