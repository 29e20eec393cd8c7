import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Binding } from '../../core/exchange/binding.ts';
import { Exchange } from '../../core/exchange/exchange.ts';
import type { Queue } from '../../core/queue/queue.ts';
import type { Vhost } from '../../core/vhost.ts';
import { headersFromJson } from '../arguments.ts';
import { propertiesKey } from '../binding-key.ts';
import { durable, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { vhostOf } from '../requester.ts';
import { body, table, text } from '../schemas.ts';
import type { Views } from '../views.ts';
import { exchangeName } from './exchanges.ts';

type Params = { vhost: string; source: string; destination: string; key: string; name: string };

interface BindingBody {
  readonly routing_key?: string;
  readonly arguments?: object;
}

const config = { may: 'vhost' } as const;
const schema = body({ routing_key: text, arguments: table });

export function addBindings(app: FastifyInstance, management: Management, views: Views): void {
  const allOf = (vhost: Vhost): Record<string, unknown>[] => [
    ...[...vhost.queues.values()].map((queue) => views.defaultBinding(queue, vhost)),
    ...[...vhost.exchanges.values()].flatMap((exchange) =>
      [...exchange.bindings.values()].map((binding) => views.binding(binding, vhost)),
    ),
  ];
  const identity = (binding: Record<string, unknown>): Record<string, unknown> => binding;

  app.get<{ Querystring: ListQuery }>('/bindings', async ({ requester, query }) =>
    list(requester.visibleVhosts().flatMap(allOf), null, identity, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/bindings/:vhost', { config }, async (request) =>
    list(allOf(vhostOf(request, management)), null, identity, request.query),
  );

  app.get<{ Params: Params; Querystring: ListQuery }>('/queues/:vhost/:name/bindings', { config }, async (request) => {
    const vhost = vhostOf(request, management);
    const queue = getQueue(vhost, request.params.name);
    const bindings = [...queue.bindings].map((binding) => views.binding(binding, vhost));
    return list([views.defaultBinding(queue, vhost), ...bindings], null, identity, request.query);
  });
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/exchanges/:vhost/:name/bindings/source',
    { config },
    async (request) => {
      const vhost = vhostOf(request, management);
      const exchange = getExchange(vhost, exchangeName(request.params.name));
      const bindings =
        exchange.name === ''
          ? [...vhost.queues.values()].map((queue) => views.defaultBinding(queue, vhost))
          : [...exchange.bindings.values()].map((binding) => views.binding(binding, vhost));
      return list(bindings, null, identity, request.query);
    },
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/exchanges/:vhost/:name/bindings/destination',
    { config },
    async (request) => {
      const vhost = vhostOf(request, management);
      const exchange = getExchange(vhost, exchangeName(request.params.name));
      return list(
        [...exchange.sources].map((binding) => views.binding(binding, vhost)),
        null,
        identity,
        request.query,
      );
    },
  );

  addBetween(app, management, views, '/bindings/:vhost/e/:source/q/:destination', getQueue);
  addBetween(app, management, views, '/bindings/:vhost/e/:source/e/:destination', (vhost, name) =>
    getExchange(vhost, exchangeName(name)),
  );
}

function addBetween(
  app: FastifyInstance,
  management: Management,
  views: Views,
  url: string,
  getDestination: (vhost: Vhost, name: string) => Queue | Exchange,
): void {
  const ends = (request: FastifyRequest<{ Params: Params }>) => {
    const vhost = vhostOf(request, management);
    const { source, destination } = request.params;
    return {
      vhost,
      source: getExchange(vhost, exchangeName(source)),
      destination: getDestination(vhost, destination),
    };
  };
  const find = (request: FastifyRequest<{ Params: Params }>): { vhost: Vhost; binding: Binding } => {
    const { vhost, source, destination } = ends(request);
    const { key } = request.params;
    const binding = between(source, destination).find((each) => isNamed(each, key));
    if (binding === undefined) throw notFound();
    return { vhost, binding };
  };

  app.get<{ Params: Params; Querystring: ListQuery }>(url, { config }, async (request) => {
    const { vhost, source, destination } = ends(request);
    if (source.name === '') {
      return destination instanceof Exchange ? [] : [views.defaultBinding(destination, vhost)];
    }
    const bindings = between(source, destination).map((binding) => views.binding(binding, vhost));
    return list(bindings, null, (binding) => binding, request.query);
  });

  app.post<{ Params: Params; Body: BindingBody }>(url, { config, schema }, async (request, reply) => {
    const vhost = vhostOf(request, management);
    const client = request.requester.clientOf(vhost);
    const source = exchangeName(request.params.source);
    const kind = url.includes('/q/') ? 'queue' : 'exchange';
    const { routing_key: routingKey = '', arguments: args } = request.body;
    vhost.demandBinding(client, source, kind, request.params.destination, routingKey);
    const destination =
      kind === 'queue'
        ? vhost.getQueue(request.params.destination, client)
        : vhost.getExchange(exchangeName(request.params.destination));
    const headers = headersFromJson(args);
    vhost.bind(client, source, destination, routingKey, headers);
    await durable(management);
    const names = [request.params.destination, propertiesKey(routingKey, headers)].map(encodeURIComponent);
    reply.header('location', `${kind === 'queue' ? '' : '../e/'}${names.join('/')}`);
    return reply.code(201).send();
  });

  app.get<{ Params: Params; Querystring: ListQuery }>(`${url}/:key`, { config }, async (request) => {
    const { vhost, source, destination } = ends(request);
    if (source.name === '' && !(destination instanceof Exchange) && request.params.key === destination.name) {
      return pickColumns(views.defaultBinding(destination, vhost), request.query);
    }
    return pickColumns(views.binding(find(request).binding, vhost), request.query);
  });

  app.delete<{ Params: Params }>(`${url}/:key`, { config }, async (request, reply) => {
    const { vhost, binding } = find(request);
    const client = request.requester.clientOf(vhost);
    vhost.unbind(client, binding.source.name, binding.destination, binding.key, binding.arguments);
    await durable(management);
    return reply.code(204).send();
  });
}

function between(source: Exchange, destination: Queue | Exchange): Binding[] {
  return [...source.bindings.values()].filter((binding) => binding.destination === destination);
}

// Some clients encode the key once, some as it comes, which is encoded already.
function isNamed({ key, arguments: args }: Binding, name: string): boolean {
  const own = propertiesKey(key, args);
  return own === name || (args.size === 0 && key !== '' && key === name);
}

function getQueue(vhost: Vhost, name: string): Queue {
  const queue = vhost.queues.get(name);
  if (queue === undefined) throw notFound(`no queue '${name}' in vhost '${vhost.name}'`);
  return queue;
}

function getExchange(vhost: Vhost, name: string): Exchange {
  const exchange = vhost.exchanges.get(name);
  if (exchange === undefined) throw notFound(`no exchange '${name}' in vhost '${vhost.name}'`);
  return exchange;
}
