import type { FastifyInstance } from 'fastify';
import type { TopicMapping } from '../../core/topic.ts';
import type { VhostMetadata } from '../../core/vhost.ts';
import { durable, type Management } from '../context.ts';
import { badRequest, HttpError, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { readQueueType } from '../queue-type.ts';
import { vhostOf } from '../requester.ts';
import { body, flag, readTags, tagList, text } from '../schemas.ts';
import type { Views } from '../views.ts';

interface VhostBody {
  readonly description?: string;
  readonly tags?: string | readonly string[];
  readonly default_queue_type?: string;
  readonly protected_from_deletion?: boolean;
  readonly topic_mapping?: TopicMapping;
  readonly metadata?: { readonly description?: string; readonly tags?: readonly string[] };
}

type Params = { vhost: string };

const schema = body({
  description: text,
  tags: tagList,
  default_queue_type: { type: 'string', enum: ['classic', 'quorum', 'undefined', ''] },
  protected_from_deletion: flag,
  topic_mapping: { type: 'string', enum: ['exact', 'rabbitmq'] },
  metadata: { type: 'object' },
});

export function addVhosts(app: FastifyInstance, management: Management, views: Views): void {
  const { broker, permissions, parameters } = management;

  app.get<{ Querystring: ListQuery }>('/vhosts', async ({ requester, query }) =>
    list(
      requester.visibleVhosts(),
      ({ name }) => name,
      (vhost) => views.vhost(vhost),
      query,
    ),
  );

  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/vhosts/:vhost',
    { config: { may: 'administrator' } },
    async (request) => pickColumns(views.vhost(vhostOf(request, management)), request.query),
  );

  app.put<{ Params: Params; Body: VhostBody }>(
    '/vhosts/:vhost',
    { config: { may: 'administrator' }, schema },
    async ({ params, body, requester }, reply) => {
      const isNew = !broker.vhosts.has(params.vhost);
      const mapping = body?.topic_mapping;
      const vhost = broker.createVhost(params.vhost, undefined, mapping);
      if (mapping !== undefined && mapping !== vhost.topicMapping) {
        throw badRequest(`topic_mapping of vhost '${vhost.name}' was fixed when it was made: '${vhost.topicMapping}'`);
      }
      const metadata = merge(vhost.metadata, body);
      if (JSON.stringify(metadata) !== JSON.stringify(vhost.metadata)) broker.createVhost(params.vhost, metadata);
      // [RabbitMQ] who makes one may use it
      if (isNew) permissions.set(vhost.name, requester.name, { configure: '.*', write: '.*', read: '.*' });
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );

  app.delete<{ Params: Params }>(
    '/vhosts/:vhost',
    { config: { may: 'administrator' } },
    async ({ params: { vhost } }, reply) => {
      if (broker.vhosts.get(vhost)?.metadata.protectedFromDeletion) {
        throw new HttpError(412, 'precondition_failed', `vhost '${vhost}' is protected from deletion`);
      }
      if (!broker.deleteVhost(vhost)) throw notFound();
      permissions.deleteVhost(vhost);
      parameters.deleteVhost(vhost);
      await durable(management);
      return reply.code(204).send();
    },
  );

  for (const [method, protectedFromDeletion] of [
    ['POST', true],
    ['DELETE', false],
  ] as const) {
    app.route({
      method,
      url: '/vhosts/:vhost/deletion/protection',
      config: { may: 'administrator' },
      handler: async (request, reply) => {
        const vhost = vhostOf(request, management);
        broker.createVhost(vhost.name, { ...vhost.metadata, protectedFromDeletion });
        await durable(management);
        return reply.code(204).send();
      },
    });
  }

  // it runs as long as the broker does
  app.post<{ Params: Params }>(
    '/vhosts/:vhost/start/:node',
    { config: { may: 'administrator' } },
    async (request, reply) => {
      vhostOf(request, management);
      return reply.code(204).send();
    },
  );
}

function merge(current: VhostMetadata, json: VhostBody): VhostMetadata {
  const { description, default_queue_type: queueType, protected_from_deletion: isProtected, metadata } = json;
  const tags = json.tags ?? metadata?.tags;
  return {
    description: description ?? metadata?.description ?? current.description,
    tags: tags === undefined ? current.tags : readTags(tags),
    defaultQueueType: queueType === undefined ? (current.defaultQueueType ?? null) : readQueueType(queueType),
    protectedFromDeletion: isProtected ?? current.protectedFromDeletion,
  };
}
