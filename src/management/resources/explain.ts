import type { FastifyInstance } from 'fastify';
import { explain } from '../../core/explain.ts';
import type { Management } from '../context.ts';
import { badRequest, notFound } from '../errors.ts';
import { type DescriptionJson, readDescription, showExplanation } from '../explain-json.ts';
import { body, flag, table, text } from '../schemas.ts';

const schema = body(
  {
    protocol: text,
    listener: text,
    vhost: text,
    destination: text,
    exchange: text,
    properties: table,
    headers: table,
    body: text,
    body_encoding: text,
    qos: { type: 'integer', minimum: 0, maximum: 2 },
    retain: flag,
  },
  ['protocol', 'destination'],
);

/** Where a message would go, and what its consumers would get: asked as a publisher, with its permissions. */
export function addExplain(app: FastifyInstance, management: Management): void {
  const { broker } = management;
  app.post<{ Body: DescriptionJson }>('/explain', { schema }, async ({ body: json, requester }) => {
    const { listener } = json;
    const scripts = listener === undefined ? management.scripts : management.scriptsOf(listener);
    if (scripts === undefined) throw badRequest(`no listener of MQTT has the name '${listener}'`);
    const source = scripts.find(({ name }) => name === json.protocol);
    if (source === undefined) {
      throw badRequest(`unknown protocol '${json.protocol}'; there are ${scripts.map(({ name }) => name).join(', ')}`);
    }
    const vhost = broker.vhosts.get(json.vhost ?? '/');
    if (vhost === undefined) throw notFound('vhost_not_found');
    const client = requester.clientOf(vhost);
    const description = readDescription(json);
    const { userId } = description.properties;
    if (userId !== undefined && userId !== client.user && source.qosMax < 0) {
      throw badRequest(`user_id property set to '${userId}' but authenticated user was '${client.user}'`);
    }
    return showExplanation(explain(broker, client, source, description, scripts), vhost);
  });
}
