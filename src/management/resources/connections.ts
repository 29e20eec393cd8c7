import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ChannelView, Client } from '../../core/client.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Management } from '../context.ts';
import { notAuthorised, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { type Requester, vhostOf } from '../requester.ts';
import type { Views } from '../views.ts';

type Params = { vhost: string; name: string; user: string };

interface ClientChannel {
  readonly client: Client;
  readonly channel: ChannelView;
}

/** Connections of all protocols, and the channels or sessions in them. */
export function addConnections(app: FastifyInstance, management: Management, views: Views): void {
  const { broker } = management;
  const nameOf = (client: Client): string => views.connectionName(client);
  const show = (client: Client): Record<string, unknown> => views.connection(client);
  const seenBy = (requester: Requester, clients: Iterable<Client>): Client[] =>
    [...clients].filter((client) => requester.maySee(client));
  const find = (request: FastifyRequest<{ Params: Params }>): Client => {
    const { name } = request.params;
    for (const client of broker.clients) {
      if (nameOf(client) !== name) continue;
      if (!request.requester.maySee(client)) throw notAuthorised('User not authorised to access object');
      return client;
    }
    throw notFound();
  };

  app.get<{ Querystring: ListQuery }>('/connections', async ({ requester, query }) =>
    list(seenBy(requester, broker.clients), nameOf, show, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/vhosts/:vhost/connections',
    { config: { may: 'vhost-visible' } },
    async (request) =>
      list(seenBy(request.requester, vhostOf(request, management).clients), nameOf, show, request.query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/connections/username/:user',
    async ({ requester, params, query }) => {
      const clients = seenBy(requester, broker.clients).filter(({ user }) => user === params.user);
      return list(clients, nameOf, show, query);
    },
  );
  app.delete<{ Params: Params }>('/connections/username/:user', async (request, reply) => {
    const { user } = request.params;
    if (!request.requester.isAdministrator && request.requester.name !== user) {
      throw notAuthorised('User not authorised to access object');
    }
    broker.closeClients((client) => client.user === user, reasonOf(request));
    return reply.code(204).send();
  });
  app.get<{ Params: Params; Querystring: ListQuery }>('/connections/:name', async (request) =>
    pickColumns(show(find(request)), request.query),
  );
  app.delete<{ Params: Params }>('/connections/:name', async (request, reply) => {
    const client = find(request);
    if (!request.requester.isAdministrator && client.user !== request.requester.name) {
      throw notAuthorised('User not authorised to access object');
    }
    client.close('connection-forced', reasonOf(request));
    return reply.code(204).send();
  });

  const channelName = ({ client, channel }: ClientChannel): string => views.channelName(client, channel.number);
  const showChannel = ({ client, channel }: ClientChannel): Record<string, unknown> => views.channel(client, channel);
  const channelsOf = (clients: readonly Client[]): ClientChannel[] =>
    clients.flatMap((client) => client.describeChannels().map((channel) => ({ client, channel })));

  app.get<{ Querystring: ListQuery }>('/channels', async ({ requester, query }) =>
    list(channelsOf(seenBy(requester, broker.clients)), channelName, showChannel, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/vhosts/:vhost/channels',
    { config: { may: 'vhost-visible' } },
    async (request) => {
      const clients = seenBy(request.requester, vhostOf(request, management).clients);
      return list(channelsOf(clients), channelName, showChannel, request.query);
    },
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/connections/:name/channels', async (request) =>
    list(channelsOf([find(request)]), channelName, showChannel, request.query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/channels/:name', async (request) => {
    const found = channelsOf(seenBy(request.requester, broker.clients)).find(
      (each) => channelName(each) === request.params.name,
    );
    if (found === undefined) throw notFound();
    const consumers = consumersOf(found.client.vhost, views, (client, number) => {
      return client === found.client && number === found.channel.number;
    });
    const details = { consumer_details: consumers, publishes: [], deliveries: [] };
    return pickColumns({ ...showChannel(found), ...details }, request.query);
  });
}

/** Consumers of a virtual host's queues, of the channels that are wanted. */
export function consumersOf(
  vhost: Vhost,
  views: Views,
  isWanted: (client: Client, channel: number) => boolean,
): Record<string, unknown>[] {
  return [...vhost.queues.values()].flatMap((queue) =>
    queue.consumers
      .filter((consumer) => isWanted(consumer.client, consumer.channel))
      .map((consumer) => views.consumer(queue, vhost, consumer)),
  );
}

function reasonOf(request: FastifyRequest): string {
  const reason = request.headers['x-reason'];
  return typeof reason === 'string' && reason !== '' ? reason : 'Closed via management plugin';
}
