import { ProtocolError } from './frame.ts';

/** What a destination names. */
export type Destination =
  | { readonly kind: 'queue'; readonly name: string /** Declared on first use. */; readonly declared: boolean }
  | { readonly kind: 'exchange'; readonly exchange: string; readonly key: string };

/** @throws ProtocolError for a form that is not known */
export function parseDestination(text: string): Destination {
  const destination = findDestination(text);
  if (destination === undefined) throw new ProtocolError('Unknown destination', `'${text}' is not a valid destination`);
  return destination;
}

export function findDestination(text: string): Destination | undefined {
  const [, type, ...rest] = text.split('/');
  if (text.startsWith('/')) {
    switch (type) {
      case 'queue':
        if (rest.length === 1 && rest[0] !== '') return { kind: 'queue', name: decode(rest[0]!), declared: true };
        break;
      case 'amq':
        if (rest.length === 2 && rest[0] === 'queue' && rest[1] !== '') {
          return { kind: 'queue', name: decode(rest[1]!), declared: false };
        }
        break;
      case 'reply-queue':
        if (rest.length === 1 && rest[0] !== '') return { kind: 'exchange', exchange: '', key: decode(rest[0]!) };
        break;
      case 'topic':
        if (rest.length >= 1 && rest[0] !== '') {
          return { kind: 'exchange', exchange: 'amq.topic', key: decode(rest.join('/')) };
        }
        break;
      case 'exchange':
        if (rest.length >= 1 && rest[0] !== '') {
          return { kind: 'exchange', exchange: decode(rest[0]!), key: decode(rest.slice(1).join('/')) };
        }
        break;
    }
  }
  return undefined;
}

// A slash or any other octet in a name is percent-encoded [RabbitMQ: STOMP plugin, destinations].
function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The destination that leads to where a message was published. */
export function showDestination(exchange: string, routingKey: string): string {
  if (exchange === '') return `/queue/${encode(routingKey)}`;
  if (exchange === 'amq.topic') return `/topic/${routingKey}`;
  return `/exchange/${encode(exchange)}/${routingKey}`;
}

function encode(text: string): string {
  return text.replace(/[%/]/g, (character) => (character === '/' ? '%2F' : '%25'));
}
