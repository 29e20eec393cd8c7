import type { FastifyInstance } from 'fastify';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { LocalQueue } from '../../core/queue/local-queue.ts';
import type { Vhost } from '../../core/vhost.ts';
import { headersFromJson } from '../arguments.ts';
import { durable, type Management } from '../context.ts';
import { badRequest, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { showPayload, showProperties } from '../message-json.ts';
import { vhostOf } from '../requester.ts';
import { body, flag, table, text } from '../schemas.ts';
import type { Views } from '../views.ts';
import { demandName, findForChange } from './exchanges.ts';

type Params = { vhost: string; queue: string };
type Query = ListQuery & { readonly disable_stats?: string; readonly enable_queue_totals?: string };

interface QueueBody {
  readonly durable?: boolean;
  readonly auto_delete?: boolean;
  readonly arguments?: object;
}

const ackModes = ['ack_requeue_true', 'reject_requeue_true', 'ack_requeue_false', 'reject_requeue_false'] as const;

interface GetBody {
  readonly count: number;
  readonly ackmode: (typeof ackModes)[number];
  readonly encoding: string;
  readonly truncate?: number;
}

const config = { may: 'vhost' } as const;
const getSchema = body(
  {
    count: { type: 'integer', minimum: 0, maximum: 10_000 },
    ackmode: { type: 'string', enum: ackModes },
    encoding: { type: 'string', enum: ['auto', 'base64'] },
    truncate: { type: 'integer', minimum: 0 },
  },
  ['count', 'ackmode', 'encoding'],
);

export function addQueues(app: FastifyInstance, management: Management, views: Views): void {
  const show = (queue: LocalQueue, vhost: Vhost, query: Query): Record<string, unknown> => {
    if (query.disable_stats !== 'true') return views.queue(queue, vhost);
    const basics = views.queueBasics(queue, vhost);
    if (query.enable_queue_totals !== 'true') return basics;
    const { ready, unacked } = queue.counts;
    return { ...basics, messages: ready + unacked, messages_ready: ready, messages_unacknowledged: unacked };
  };
  const all = (vhosts: readonly Vhost[], query: Query): ReturnType<typeof list> =>
    list(
      vhosts.flatMap((vhost) => [...vhost.queues.values()].map((queue) => ({ vhost, queue }))),
      ({ queue }) => queue.name,
      ({ vhost, queue }) => show(queue, vhost, query),
      query,
    );
  const find = (vhost: Vhost, name: string): LocalQueue => {
    const queue = vhost.queues.get(name);
    if (queue === undefined) throw notFound();
    return queue;
  };

  app.get<{ Querystring: Query }>('/queues', async ({ requester, query }) => all(requester.visibleVhosts(), query));
  // RabbitMQ's other name for all of them; a virtual host may not be called so
  app.get<{ Querystring: Query }>('/queues/detailed', async ({ requester, query }) =>
    all(requester.visibleVhosts(), query),
  );
  app.get<{ Params: Params; Querystring: Query }>('/queues/:vhost', { config }, async (request) =>
    all([vhostOf(request, management)], request.query),
  );
  app.get<{ Params: Params; Querystring: Query }>('/queues/:vhost/:queue', { config }, async (request) => {
    const vhost = vhostOf(request, management);
    const queue = find(vhost, request.params.queue);
    const consumers = queue.consumers.map((consumer) => views.consumer(queue, vhost, consumer));
    const details = { consumer_details: consumers, incoming: [], deliveries: [] };
    return pickColumns({ ...show(queue, vhost, request.query), ...details }, request.query);
  });

  app.put<{ Params: Params; Body: QueueBody }>(
    '/queues/:vhost/:queue',
    { config, schema: body({ durable: flag, auto_delete: flag, arguments: table, node: text }) },
    async (request, reply) => {
      const vhost = findForChange(request.params.vhost, management);
      const { queue: name } = request.params;
      demandName(name);
      const isNew = !vhost.queues.has(name);
      vhost.declareQueue(request.requester.clientOf(vhost), {
        name,
        durable: request.body.durable ?? false,
        autoDelete: request.body.auto_delete ?? false,
        exclusiveTo: null,
        arguments: headersFromJson(request.body.arguments),
      });
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );

  app.delete<{ Params: Params; Querystring: { 'if-empty'?: string; 'if-unused'?: string } }>(
    '/queues/:vhost/:queue',
    { config },
    async (request, reply) => {
      const vhost = vhostOf(request, management);
      const { name } = find(vhost, request.params.queue);
      const { 'if-empty': ifEmpty, 'if-unused': ifUnused } = request.query;
      vhost.deleteQueue(request.requester.clientOf(vhost), name, ifUnused === 'true', ifEmpty === 'true');
      await durable(management);
      return reply.code(204).send();
    },
  );

  app.delete<{ Params: Params }>('/queues/:vhost/:queue/contents', { config }, async (request, reply) => {
    const vhost = vhostOf(request, management);
    const { name } = find(vhost, request.params.queue);
    const client = request.requester.clientOf(vhost);
    vhost.demand(client, 'read', 'queue', name);
    await vhost.getQueue(name, client).purge();
    await durable(management);
    return reply.code(204).send();
  });

  app.post<{ Params: Params; Body: { action: string } }>(
    '/queues/:vhost/:queue/actions',
    { config, schema: body({ action: { type: 'string', enum: ['sync', 'cancel_sync'] } }, ['action']) },
    async (request, reply) => {
      find(vhostOf(request, management), request.params.queue); // of mirrors, which there are none of
      return reply.code(204).send();
    },
  );

  app.post<{ Params: Params; Body: GetBody }>(
    '/queues/:vhost/:queue/get',
    { config, schema: getSchema },
    async (request) => {
      const vhost = vhostOf(request, management);
      const client = request.requester.clientOf(vhost);
      const { name } = find(vhost, request.params.queue);
      vhost.demand(client, 'read', 'queue', name);
      const queue = vhost.getQueue(name, client);
      const { count, ackmode, encoding, truncate = Number.POSITIVE_INFINITY } = request.body;
      const entries: QueueEntry[] = [];
      const shown: object[] = [];
      for (let i = 0; i < count; i++) {
        const entry = await queue.get();
        if (entry === undefined) break;
        entries.push(entry);
        const { message } = entry;
        shown.push({
          payload_bytes: message.bodyBytes,
          redelivered: entry.redelivered,
          exchange: message.exchange,
          routing_key: message.routingKey,
          message_count: queue.counts.ready,
          properties: showProperties(message, management.format),
          ...showPayload(message.body, encoding, truncate),
        });
      }
      for (const entry of entries) settle(entry, ackmode);
      await durable(management);
      return shown;
    },
  );
}

function settle(entry: QueueEntry, ackMode: (typeof ackModes)[number]): void {
  switch (ackMode) {
    case 'ack_requeue_true':
    case 'reject_requeue_true':
      return entry.requeue();
    case 'ack_requeue_false':
      return entry.ack();
    case 'reject_requeue_false':
      return entry.reject();
    default:
      throw badRequest(`ackmode '${String(ackMode)}'`);
  }
}
