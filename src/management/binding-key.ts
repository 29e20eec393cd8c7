import { createHash } from 'node:crypto';
import type { Headers } from '../core/properties.ts';
import { headersToJson } from './arguments.ts';

/**
 * The name by which a URL means one of several bindings between the same two [RabbitMQ: HTTP API, `properties_key`]:
 * the routing key, and behind `~` a hash of the arguments if there are any; `~` alone for neither.
 */
export function propertiesKey(routingKey: string, args: Headers): string {
  if (routingKey === '' && args.size === 0) return '~';
  if (args.size === 0) return quote(routingKey);
  const sorted = Object.entries(headersToJson(args)).sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256').update(JSON.stringify(sorted)).digest().subarray(0, 4).toString('base64url');
  return `${quote(routingKey)}~${hash}`;
}

// As in forms: letters, digits, `-`, `_` and `.` stay. A `~` of the key itself must not look like the one before a hash.
function quote(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*~]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}
