import type { FastifyInstance } from 'fastify';
import { BrokerError } from '../../core/errors.ts';
import { type ExchangeType, exchangeTypes } from '../../core/exchange/exchange.ts';
import type { PublishReceipt } from '../../core/journal.ts';
import type { PublishResult, Vhost } from '../../core/vhost.ts';
import { headersFromJson } from '../arguments.ts';
import { durable, type Management } from '../context.ts';
import { badRequest, HttpError, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { makeMessage, type PropertiesJson, readPayload } from '../message-json.ts';
import { type Requester, vhostOf } from '../requester.ts';
import { body, flag, table, text } from '../schemas.ts';
import type { Views } from '../views.ts';

type Params = { vhost: string; exchange: string };

interface ExchangeBody {
  readonly type?: string;
  readonly durable?: boolean;
  readonly auto_delete?: boolean;
  readonly internal?: boolean;
  readonly arguments?: object;
}

interface PublishBody {
  readonly properties: PropertiesJson;
  readonly routing_key: string;
  readonly payload: string;
  readonly payload_encoding: string;
}

const config = { may: 'vhost' } as const;
const declareSchema = body({ type: text, durable: flag, auto_delete: flag, internal: flag, arguments: table });
const integer = { type: 'integer', minimum: 0 } as const;
const publishSchema = body(
  {
    properties: {
      type: 'object',
      properties: {
        ...Object.fromEntries(
          [
            'content_type',
            'content_encoding',
            'correlation_id',
            'reply_to',
            'message_id',
            'type',
            'user_id',
            'app_id',
          ].map((name) => [name, text]),
        ),
        headers: table,
        delivery_mode: integer,
        priority: { ...integer, maximum: 255 },
        timestamp: integer,
        expiration: text,
      },
    },
    routing_key: text,
    payload: text,
    payload_encoding: text,
  },
  ['properties', 'routing_key', 'payload', 'payload_encoding'],
);

export function addExchanges(app: FastifyInstance, management: Management, views: Views): void {
  const all = (vhosts: readonly Vhost[], query: ListQuery): ReturnType<typeof list> =>
    list(
      vhosts.flatMap((vhost) => [...vhost.exchanges.values()].map((exchange) => ({ vhost, exchange }))),
      ({ exchange }) => exchange.name,
      ({ vhost, exchange }) => views.exchange(exchange, vhost),
      query,
    );

  app.get<{ Querystring: ListQuery }>('/exchanges', async ({ requester, query }) =>
    all(requester.visibleVhosts(), query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/exchanges/:vhost', { config }, async (request) =>
    all([vhostOf(request, management)], request.query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/exchanges/:vhost/:exchange', { config }, async (request) => {
    const vhost = vhostOf(request, management);
    const exchange = vhost.exchanges.get(exchangeName(request.params.exchange));
    if (exchange === undefined) throw notFound();
    return pickColumns({ ...views.exchange(exchange, vhost), incoming: [], outgoing: [] }, request.query);
  });

  app.put<{ Params: Params; Body: ExchangeBody }>(
    '/exchanges/:vhost/:exchange',
    { config, schema: declareSchema },
    async (request, reply) => {
      const vhost = findForChange(request.params.vhost, management);
      const name = exchangeName(request.params.exchange);
      const isNew = !vhost.exchanges.has(name);
      demandName(name);
      const { type = 'direct', durable: isDurable, auto_delete, internal, arguments: args } = request.body;
      if (!exchangeTypes.includes(type as ExchangeType)) throw badRequest(`unknown exchange type '${type}'`);
      vhost.declareExchange(request.requester.clientOf(vhost), {
        name,
        type: type as ExchangeType,
        durable: isDurable ?? false,
        autoDelete: auto_delete ?? false,
        internal: internal ?? false,
        arguments: headersFromJson(args),
      });
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );

  app.delete<{ Params: Params; Querystring: { 'if-unused'?: string } }>(
    '/exchanges/:vhost/:exchange',
    { config },
    async (request, reply) => {
      const vhost = vhostOf(request, management);
      const name = exchangeName(request.params.exchange);
      if (!vhost.exchanges.has(name)) throw notFound();
      vhost.deleteExchange(request.requester.clientOf(vhost), name, request.query['if-unused'] === 'true');
      await durable(management);
      return reply.code(204).send();
    },
  );

  app.post<{ Params: Params; Body: PublishBody }>(
    '/exchanges/:vhost/:exchange/publish',
    { config, schema: publishSchema },
    async (request) => {
      const vhost = vhostOf(request, management);
      const result = await publish(
        vhost,
        request.requester,
        exchangeName(request.params.exchange),
        request.body,
        management,
      );
      // [RabbitMQ] it is published as by a client with confirms who wants back what no queue takes
      vhost.confirmed += 1;
      if (result === 'unroutable') vhost.returned += 1;
      return { routed: result === 'routed' };
    },
  );
}

/** The default exchange has a name in URLs only. */
export function exchangeName(inUrl: string): string {
  return inUrl === 'amq.default' ? '' : inUrl;
}

/** @throws HttpError 400 for a name that AMQP 0-9-1 cannot say */
export function demandName(name: string): void {
  if (Buffer.byteLength(name) > 255) throw badRequest('a name has 255 octets at most');
}

/** @throws HttpError in RabbitMQ's words for those who want to change something there */
export function findForChange(name: string, { broker }: Management): Vhost {
  const vhost = broker.vhosts.get(name);
  if (vhost === undefined) throw notFound('vhost_not_found');
  return vhost;
}

// Answered when every queue has it, and it is on disk if it is durable.
async function publish(
  vhost: Vhost,
  requester: Requester,
  exchange: string,
  json: PublishBody,
  { format, broker }: Management,
): Promise<PublishResult> {
  const client = requester.clientOf(vhost);
  const { routing_key: routingKey, properties } = json;
  const content = readPayload(json.payload, json.payload_encoding);
  try {
    const route = vhost.routeFrom(client, exchange, routingKey);
    const publication = { exchange: route.exchange.name, routingKey: route.routingKey, properties, body: content };
    const message = makeMessage(publication, client, format, broker.nowMs);
    return await new Promise<PublishResult>((resolve, reject) => {
      let result: PublishResult = 'routed';
      const receipt: PublishReceipt = {
        confirmed: () => queueMicrotask(() => resolve(result)),
        refused: (_tag, why) => reject(new HttpError(503, 'service_unavailable', `the message was refused (${why})`)),
      };
      result = vhost.publish(route, message, receipt, 1);
    });
  } catch (error) {
    // [RabbitMQ] what a channel would be closed with is a bad request here
    if (error instanceof BrokerError && error.condition === 'not-found')
      throw badRequest(`404 NOT_FOUND - ${error.message}`);
    if (error instanceof BrokerError && error.condition === 'unauthorized-access') {
      throw badRequest(`403 ACCESS_REFUSED - ${error.message}`);
    }
    throw error;
  }
}
