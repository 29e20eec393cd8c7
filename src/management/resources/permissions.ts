import type { FastifyInstance } from 'fastify';
import { durable, type Management } from '../context.ts';
import { badRequest, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { vhostOf } from '../requester.ts';
import { body, text } from '../schemas.ts';

type Params = { vhost: string; user: string };

interface PermissionBody {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

interface TopicBody {
  readonly exchange: string;
  readonly write: string;
  readonly read: string;
}

const config = { may: 'administrator' } as const;

/** Permissions and topic permissions: all, of a virtual host, of a user, and of a user in a virtual host. */
export function addPermissions(app: FastifyInstance, management: Management): void {
  const { users, permissions, broker } = management;
  const demandBoth = ({ vhost, user }: Params): void => {
    if (!broker.vhosts.has(vhost) || users.find(user) === undefined) throw badRequest('vhost_or_user_not_found');
  };
  const userOf = (name: string): string => {
    if (users.find(name) === undefined) throw notFound();
    return name;
  };

  app.get<{ Querystring: ListQuery }>('/permissions', { config }, async ({ query }) =>
    list([...permissions.all()].map(showPermission), null, identity, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/vhosts/:vhost/permissions', { config }, async (request) => {
    const { name } = vhostOf(request, management);
    const found = [...permissions.all()].filter(({ vhost }) => vhost === name);
    return list(found.map(showPermission), null, identity, request.query);
  });
  app.get<{ Params: Params; Querystring: ListQuery }>('/users/:user/permissions', { config }, async (request) => {
    const name = userOf(request.params.user);
    const found = [...permissions.all()].filter(({ user }) => user === name);
    return list(found.map(showPermission), null, identity, request.query);
  });
  app.get<{ Params: Params; Querystring: ListQuery }>('/permissions/:vhost/:user', { config }, async (request) => {
    const { vhost, user } = request.params;
    const found = permissions.find(vhost, user);
    if (found === undefined) throw notFound();
    return pickColumns(showPermission({ user, vhost, ...found }), request.query);
  });
  app.put<{ Params: Params; Body: PermissionBody }>(
    '/permissions/:vhost/:user',
    { config, schema: body({ configure: text, write: text, read: text }, ['configure', 'write', 'read']) },
    async ({ params, body }, reply) => {
      demandBoth(params);
      const isNew = permissions.find(params.vhost, params.user) === undefined;
      permissions.set(params.vhost, params.user, body);
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );
  app.delete<{ Params: Params }>('/permissions/:vhost/:user', { config }, async ({ params }, reply) => {
    if (!permissions.clear(params.vhost, params.user)) throw notFound();
    await durable(management);
    return reply.code(204).send();
  });

  app.get<{ Querystring: ListQuery }>('/topic-permissions', { config }, async ({ query }) =>
    list([...permissions.allTopics()].map(showTopicPermission), null, identity, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/vhosts/:vhost/topic-permissions',
    { config },
    async (request) => {
      const { name } = vhostOf(request, management);
      const found = [...permissions.allTopics()].filter(({ vhost }) => vhost === name);
      return list(found.map(showTopicPermission), null, identity, request.query);
    },
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/users/:user/topic-permissions', { config }, async (request) => {
    const name = userOf(request.params.user);
    const found = [...permissions.allTopics()].filter(({ user }) => user === name);
    return list(found.map(showTopicPermission), null, identity, request.query);
  });
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/topic-permissions/:vhost/:user',
    { config },
    async ({ params: { vhost, user }, query }) => {
      const found = [...(permissions.findTopics(vhost, user) ?? [])];
      if (found.length === 0) throw notFound();
      const shown = found.map(([exchange, each]) => showTopicPermission({ user, vhost, exchange, ...each }));
      return list(shown, null, identity, query);
    },
  );
  app.put<{ Params: Params; Body: TopicBody }>(
    '/topic-permissions/:vhost/:user',
    { config, schema: body({ exchange: text, write: text, read: text }, ['exchange', 'write', 'read']) },
    async ({ params, body }, reply) => {
      demandBoth(params);
      const isNew = permissions.findTopics(params.vhost, params.user)?.has(body.exchange) !== true;
      permissions.setTopic(params.vhost, params.user, body.exchange, body);
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );
  const clearTopics = async (vhost: string, user: string, exchange?: string): Promise<void> => {
    if (!permissions.clearTopics(vhost, user, exchange)) throw notFound();
    await durable(management);
  };
  app.delete<{ Params: Params }>('/topic-permissions/:vhost/:user', { config }, async ({ params }, reply) => {
    await clearTopics(params.vhost, params.user);
    return reply.code(204).send();
  });
  app.delete<{ Params: Params & { exchange: string } }>(
    '/topic-permissions/:vhost/:user/:exchange',
    { config },
    async ({ params }, reply) => {
      await clearTopics(params.vhost, params.user, params.exchange);
      return reply.code(204).send();
    },
  );
}

// In RabbitMQ's order of fields.
function showPermission(each: { user: string; vhost: string } & PermissionBody): Record<string, unknown> {
  const { user, vhost, configure, write, read } = each;
  return { user, vhost, configure, write, read };
}

function showTopicPermission(each: { user: string; vhost: string } & TopicBody): Record<string, unknown> {
  const { user, vhost, exchange, write, read } = each;
  return { user, vhost, exchange, write, read };
}

function identity<T>(value: T): T {
  return value;
}
