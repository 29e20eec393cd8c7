import { createHash } from 'node:crypto';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Binding } from '../../core/exchange/binding.ts';
import { Exchange, type ExchangeType, exchangeTypes } from '../../core/exchange/exchange.ts';
import { type Headers, isTyped, noHeaders, type Value } from '../../core/properties.ts';
import type { Queue } from '../../core/queue/queue.ts';
import type { Connection } from './connection.ts';
import { fromValue, toValue } from './message.ts';
import { AmqpArray, AmqpMap, type Any, textOf, uint, ulong } from './types.ts';

/** What HTTP over AMQP answers [RabbitMQ: AMQP 1.0 management]. */
export interface Response {
  readonly status: number;
  readonly body: Any;
}

class RequestError extends Error {
  readonly status: number;

  constructor(status: number, text: string) {
    super(text);
    this.status = status;
  }
}

const statusOf: Partial<Record<Condition, number>> = {
  'not-found': 404,
  'precondition-failed': 409,
  'unauthorized-access': 403,
  'quota-exceeded': 403,
  'internal-error': 500,
};

/** Answers at once or by a promise; what goes wrong is an answer too. */
export function handleRequest(
  connection: Connection,
  method: string,
  target: string,
  body: Any,
): Response | Promise<Response> {
  try {
    const answer = handle(connection, method, target, body);
    return answer instanceof Promise ? answer.catch(toResponse) : answer;
  } catch (error) {
    return toResponse(error);
  }
}

function toResponse(error: unknown): Response {
  if (error instanceof RequestError) return { status: error.status, body: error.message };
  if (error instanceof BrokerError) return { status: statusOf[error.condition] ?? 400, body: error.message };
  throw error;
}

function handle(connection: Connection, method: string, target: string, body: Any): Response | Promise<Response> {
  const [path = '', query = ''] = target.split('?');
  const [, kind, segment, last, ...more] = path.split('/');
  if (more.length === 0 && path.startsWith('/')) {
    const name = segment === undefined ? '' : decode(segment);
    switch (`${method} ${kind}${segment === undefined ? '' : '/:name'}${last === undefined ? '' : `/${last}`}`) {
      case 'GET queues/:name':
        return { status: 200, body: describeQueue(connection, getQueue(connection, name)) };
      case 'PUT queues/:name':
        return putQueue(connection, name, body);
      case 'DELETE queues/:name':
        return { status: 200, body: counted(connection.vhost.deleteQueue(connection, name, false, false)) };
      case 'DELETE queues/:name/messages':
        return purgeQueue(connection, name);
      case 'PUT exchanges/:name':
        return putExchange(connection, name, body);
      case 'DELETE exchanges/:name':
        demandNotDefault(name);
        connection.vhost.deleteExchange(connection, name, false);
        return noContent;
      case 'POST bindings':
        return postBinding(connection, body);
      case 'GET bindings':
        return getBindings(connection, query);
      case 'DELETE bindings/:name':
        return deleteBinding(connection, segment!);
    }
  }
  throw new RequestError(404, `no resource for ${method} ${target}`);
}

const noContent: Response = { status: 204, body: null };

function counted(messages: number): AmqpMap {
  return new AmqpMap([['message_count', ulong(messages)]]);
}

// — queues ——————————————————————————————————————————————————————————————————————————————————————————————————————————

function getQueue({ vhost }: Connection, name: string): Queue {
  const queue = vhost.queues.get(name);
  if (queue === undefined) throw new RequestError(404, `queue '${name}' in vhost '${vhost.name}' not found`);
  return queue;
}

function putQueue(connection: Connection, name: string, body: Any): Response {
  const { vhost } = connection;
  if (name === '') throw new RequestError(400, 'declare queue with empty name not allowed');
  demandName(name);
  const fields = readFields(body, 'queue', ['durable', 'exclusive', 'auto_delete', 'arguments']);
  const isNew = !vhost.queues.has(name);
  const queue = vhost.declareQueue(connection, {
    name,
    durable: fields.boolean('durable', true),
    autoDelete: fields.boolean('auto_delete', false),
    exclusiveTo: fields.boolean('exclusive', false) ? connection : null,
    arguments: fields.arguments(),
  });
  return { status: isNew ? 201 : 200, body: describeQueue(connection, queue) };
}

function purgeQueue(connection: Connection, name: string): Response | Promise<Response> {
  const { vhost } = connection;
  vhost.demand(connection, 'read', 'queue', name);
  const purged = vhost.getQueue(name, connection).purge();
  const toAnswer = (messages: number): Response => ({ status: 200, body: counted(messages) });
  return purged instanceof Promise ? purged.then(toAnswer) : toAnswer(purged);
}

function describeQueue({ vhost }: Connection, queue: Queue): AmqpMap {
  const { spec, counts } = queue;
  const type = spec.arguments.get('x-queue-type');
  return new AmqpMap([
    ['leader', nodeName],
    ['replicas', new AmqpArray([nodeName])],
    ['message_count', ulong(counts.ready)],
    ['consumer_count', uint(counts.consumers)],
    ['name', spec.name],
    ['vhost', vhost.name],
    ['durable', spec.durable],
    ['auto_delete', spec.autoDelete],
    ['exclusive', spec.exclusiveTo !== null],
    ['type', typeof type === 'string' ? type : 'classic'],
    ['arguments', argumentsMap(spec.arguments)],
  ]);
}

/** Leader of every queue, and its only replica. */
export const nodeName = 'rosettamq';

// — exchanges and bindings ——————————————————————————————————————————————————————————————————————————————————————————

function putExchange(connection: Connection, name: string, body: Any): Response {
  demandNotDefault(name);
  demandName(name);
  const fields = readFields(body, 'exchange', ['durable', 'auto_delete', 'type', 'internal', 'arguments']);
  const type = fields.text('type', 'direct');
  if (!exchangeTypes.includes(type as ExchangeType)) throw new RequestError(400, `unknown exchange type '${type}'`);
  connection.vhost.declareExchange(connection, {
    name,
    type: type as ExchangeType,
    durable: fields.boolean('durable', true),
    autoDelete: fields.boolean('auto_delete', false),
    internal: fields.boolean('internal', false),
    arguments: fields.arguments(),
  });
  return noContent;
}

function postBinding(connection: Connection, body: Any): Response {
  const { vhost } = connection;
  const names = ['source', 'destination_queue', 'destination_exchange', 'binding_key', 'arguments'];
  const fields = readFields(body, 'binding', names);
  const source = fields.text('source');
  demandNotDefault(source);
  const kind = fields.has('destination_queue') ? 'queue' : 'exchange';
  const [name, key] = [fields.text(`destination_${kind}`), fields.text('binding_key', '')];
  vhost.demandBinding(connection, source, kind, name, key); // first: who may not is not told what is there
  const destination = kind === 'queue' ? vhost.getQueue(name, connection) : vhost.getExchange(name);
  vhost.bind(connection, source, destination, key, fields.arguments());
  return noContent;
}

function bindingsOf({ vhost }: Connection, source: string, isQueue: boolean, destination: string): Binding[] {
  const all = [...(vhost.exchanges.get(source)?.bindings.values() ?? [])];
  return all.filter(
    (binding) => binding.destination.name === destination && binding.destination instanceof Exchange !== isQueue,
  );
}

function getBindings(connection: Connection, query: string): Response {
  const asked = new URLSearchParams(query);
  const [source, key] = [asked.get('src'), asked.get('key')];
  const [queue, exchange] = [asked.get('dstq'), asked.get('dste')];
  if (source === null || key === null) throw new RequestError(400, `missing 'src' or 'key' in query: ${query}`);
  if (queue === null && exchange === null) throw new RequestError(400, `missing 'dste' or 'dstq' in query: ${query}`);
  const found = bindingsOf(connection, source, exchange === null, (exchange ?? queue)!);
  return { status: 200, body: found.filter((binding) => binding.key === key).map(describeBinding) };
}

function describeBinding(binding: Binding): AmqpMap {
  const { source, destination, key } = binding;
  const isExchange = destination instanceof Exchange;
  const parts = [
    `src=${encodeURIComponent(source.name)}`,
    `dst${isExchange ? 'e' : 'q'}=${encodeURIComponent(destination.name)}`,
    `key=${encodeURIComponent(key)}`,
    `args=${hashOf(binding.arguments)}`,
  ];
  return new AmqpMap([
    ['source', source.name],
    [isExchange ? 'destination_exchange' : 'destination_queue', destination.name],
    ['binding_key', key],
    ['arguments', argumentsMap(binding.arguments)],
    ['location', `/bindings/${parts.join(';')}`],
  ]);
}

const bindingForm = /^src=([\w\-.~%]+);dst([eq])=([\w\-.~%]+);key=([\w\-.~%]*);args=([\w-]*)$/;

function deleteBinding(connection: Connection, segment: string): Response {
  const match = bindingForm.exec(segment);
  if (match === null) throw new RequestError(400, `bad binding path segment '${segment}'`);
  const kind = match[2] === 'q' ? 'queue' : 'exchange';
  const [source, destination, key] = [decode(match[1]!), decode(match[3]!), decode(match[4]!)];
  const { vhost } = connection;
  vhost.demandBinding(connection, source, kind, destination, key);
  for (const binding of bindingsOf(connection, source, kind === 'queue', destination)) {
    if (binding.key !== key || hashOf(binding.arguments) !== match[5]) continue;
    vhost.unbind(connection, binding.source.name, binding.destination, binding.key, binding.arguments);
  }
  return noContent;
}

/** Tells bindings apart that differ in nothing else; empty for none. */
function hashOf(args: Headers): string {
  if (args.size === 0) return '';
  const text = JSON.stringify(
    [...args].sort(([a], [b]) => (a < b ? -1 : 1)),
    (_, value) => (typeof value === 'bigint' ? String(value) : value instanceof Map ? [...value] : value),
  );
  return createHash('sha256').update(text).digest('base64url').slice(0, 8);
}

// — fields ——————————————————————————————————————————————————————————————————————————————————————————————————————————

interface Fields {
  has(name: string): boolean;
  boolean(name: string, otherwise: boolean): boolean;
  text(name: string, otherwise?: string): string;
  arguments(): Headers;
}

function readFields(body: Any, what: string, known: readonly string[]): Fields {
  const map = body ?? new AmqpMap([]);
  if (!(map instanceof AmqpMap)) throw new RequestError(400, `bad ${what}: the body is not a map`);
  for (const [key] of map.pairs) {
    if (!known.includes(textOf(key) ?? '')) throw new RequestError(400, `bad ${what} property '${textOf(key)}'`);
  }
  const bad = (name: string): RequestError => new RequestError(400, `bad ${what} property '${name}'`);
  return {
    has: (name) => map.get(name) !== undefined,
    boolean(name, otherwise) {
      const value = map.get(name) ?? otherwise;
      if (typeof value !== 'boolean') throw bad(name);
      return value;
    },
    text(name, otherwise) {
      const value = textOf(map.get(name)) ?? otherwise;
      if (value === undefined) throw bad(name);
      return value;
    },
    arguments() {
      const value = map.get('arguments') ?? null;
      if (value === null) return noHeaders;
      if (!(value instanceof AmqpMap)) throw bad('arguments');
      return new Map(value.pairs.map(([key, item]) => [textOf(key) ?? '', toArgument(textOf(key) ?? '', item)]));
    },
  };
}

// In 0-9-1's words, which arguments are compared in: symbols are text there, and there is no unsigned long.
function toArgument(name: string, item: Any): Value {
  const value = toValue(item);
  if (value === undefined) throw new RequestError(400, `unsupported argument '${name}'`);
  if (!isTyped(value)) return value;
  if (value.type === 'symbol') return value.value;
  return value.type === 'ulong' ? { type: 'long', value: value.value } : value;
}

function argumentsMap(args: Headers): AmqpMap {
  return new AmqpMap([...args].map(([key, value]) => [key, fromValue(value)]));
}

function demandNotDefault(exchange: string): void {
  if (exchange === '') throw new RequestError(403, 'operation not permitted on the default exchange');
}

function demandName(name: string): void {
  if (!/[\r\n]/.test(name)) return;
  throw new RequestError(400, `Bad name '${name}': line feed and carriage return characters not allowed`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new RequestError(400, `'${text}' is not percent-encoded`);
  }
}
