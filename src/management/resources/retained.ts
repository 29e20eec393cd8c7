import type { FastifyInstance } from 'fastify';
import type { Client } from '../../core/client.ts';
import type { Message } from '../../core/message.ts';
import { anyWords } from '../../core/topic.ts';
import type { Vhost } from '../../core/vhost.ts';
import { durable, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { showPayload, showProperties } from '../message-json.ts';
import { type Requester, vhostOf } from '../requester.ts';

type Params = { vhost: string; key: string };

const config = { may: 'vhost' } as const;

/** What is retained for subscribers to come, by routing key: who may read a topic sees it, who may write to it clears it. */
export function addRetained(app: FastifyInstance, management: Management): void {
  const { broker, format, topicOf } = management;
  const exchange = broker.retainedExchange;

  const show = (vhost: Vhost, message: Message): Record<string, unknown> => ({
    vhost: vhost.name,
    exchange: message.exchange,
    routing_key: message.routingKey,
    topic: topicOf(message.routingKey, vhost),
    payload_bytes: message.bodyBytes,
    protocol: message.format.name,
    qos: message.qos < 0 ? null : message.qos,
    durable: message.durable,
    expires_in_ms: message.expiresAtMs === 0 ? null : message.expiresAtMs - broker.nowMs,
  });
  const readable = (requester: Requester, vhost: Vhost): Message[] => {
    if (!requester.mayOpen(vhost.name)) return [];
    const { access } = requester.clientOf(vhost);
    if (!access.allows('read', 'exchange', exchange)) return [];
    const topic = { exchange, clientId: '' };
    return vhost.retained
      .matchBinding([anyWords], broker.nowMs)
      .filter(({ routingKey }) => access.allows('read', 'topic', routingKey, topic));
  };
  const demand = (operation: 'read' | 'write', client: Client, key: string): void => {
    client.vhost.demand(client, operation, 'exchange', exchange);
    client.vhost.demand(client, operation, 'topic', key, exchange);
  };

  app.get<{ Querystring: ListQuery }>('/retained', async ({ requester, query }) =>
    list(
      requester
        .visibleVhosts()
        .flatMap((vhost) => readable(requester, vhost).map((message) => [vhost, message] as const)),
      ([, { routingKey }]) => routingKey,
      ([vhost, message]) => show(vhost, message),
      query,
    ),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/retained/:vhost', { config }, async (request) => {
    const vhost = vhostOf(request, management);
    return list(
      readable(request.requester, vhost),
      ({ routingKey }) => routingKey,
      (message) => show(vhost, message),
      request.query,
    );
  });

  app.get<{ Params: Params; Querystring: ListQuery }>('/retained/:vhost/:key', { config }, async (request) => {
    const vhost = vhostOf(request, management);
    const { key } = request.params;
    demand('read', request.requester.clientOf(vhost), key);
    const message = vhost.retained.get(key, broker.nowMs);
    if (message === null) throw notFound();
    const shown = {
      ...show(vhost, message),
      properties: showProperties(message, format),
      ...showPayload(message.body, 'auto', message.bodyBytes),
    };
    return pickColumns(shown, request.query);
  });

  app.delete<{ Params: Params }>('/retained/:vhost/:key', { config }, async (request, reply) => {
    const vhost = vhostOf(request, management);
    const { key } = request.params;
    demand('write', request.requester.clientOf(vhost), key);
    if (vhost.retained.get(key, broker.nowMs) === null) throw notFound();
    vhost.retained.clear(key);
    await durable(management);
    return reply.code(204).send();
  });
}
