import type { FastifyInstance } from 'fastify';
import type { Vhost } from '../../core/vhost.ts';
import type { Management } from '../context.ts';
import { type ListQuery, list } from '../listing.ts';
import { type Requester, vhostOf } from '../requester.ts';
import type { Views } from '../views.ts';
import { consumersOf } from './connections.ts';

export function addConsumers(app: FastifyInstance, management: Management, views: Views): void {
  const all = (requester: Requester, vhosts: readonly Vhost[], query: ListQuery): ReturnType<typeof list> =>
    list(
      vhosts.flatMap((vhost) => consumersOf(vhost, views, (client) => requester.maySee(client))),
      (consumer) => String(consumer['consumer_tag']),
      (consumer) => consumer,
      query,
    );

  app.get<{ Querystring: ListQuery }>('/consumers', async ({ requester, query }) =>
    all(requester, requester.visibleVhosts(), query),
  );
  app.get<{ Params: { vhost: string }; Querystring: ListQuery }>(
    '/consumers/:vhost',
    { config: { may: 'vhost' } },
    async (request) => all(request.requester, [vhostOf(request, management)], request.query),
  );
}
