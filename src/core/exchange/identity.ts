import type { Headers } from '../properties.ts';
import type { Queue } from '../queue/queue.ts';
import { headersToJson } from '../typed-text.ts';
import { Exchange } from './exchange.ts';

/** Two bindings of one exchange are the same if destination, key and arguments are. */
export function bindingId(destination: Queue | Exchange, key: string, args: Headers): string {
  const kind = destination instanceof Exchange ? 'e' : 'q';
  const shown = args.size === 0 ? '' : JSON.stringify(headersToJson(args));
  return `${kind}${destination.name}\0${key}\0${shown}`;
}
