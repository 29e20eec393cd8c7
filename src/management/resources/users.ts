import type { FastifyInstance } from 'fastify';
import { type Algorithm, algorithms, hashSalted } from '../../auth/password.ts';
import type { UserSpec } from '../../auth/users.ts';
import { durable, type Management } from '../context.ts';
import { badRequest, notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { body, flag, readTags, tagList, text } from '../schemas.ts';
import { readHash, showUser, type UserJson } from '../user-json.ts';

type Params = { user: string };

const schema = body({
  password: text,
  password_hash: text,
  hashing_algorithm: { type: 'string', enum: algorithms },
  tags: tagList,
  loopback_only: flag,
});

export function addUsers(app: FastifyInstance, management: Management): void {
  const { users, permissions } = management;

  app.get<{ Querystring: ListQuery }>('/users', { config: { may: 'administrator' } }, async ({ query }) =>
    list(users.all(), ({ name }) => name, showUser, query),
  );

  app.get<{ Querystring: ListQuery }>(
    '/users/without-permissions',
    { config: { may: 'administrator' } },
    async ({ query }) => {
      const permitted = new Set([...permissions.all()].map(({ user }) => user));
      const without = users.all().filter(({ name }) => !permitted.has(name));
      return list(without, ({ name }) => name, showUser, query);
    },
  );

  app.post<{ Body: { users: string[] } }>(
    '/users/bulk-delete',
    {
      config: { may: 'administrator' },
      schema: body({ users: { type: 'array', items: text } }, ['users']),
    },
    async (request, reply) => {
      const unknown = request.body.users.find((name) => users.find(name) === undefined);
      if (unknown !== undefined) throw badRequest(`no such user '${unknown}'`);
      for (const name of request.body.users) users.delete(name);
      await durable(management);
      return reply.code(204).send();
    },
  );

  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/users/:user',
    { config: { may: 'administrator' } },
    async ({ params, query }) => {
      const user = users.find(params.user);
      if (user === undefined) throw notFound();
      return pickColumns(showUser(user), query);
    },
  );

  app.put<{ Params: Params; Body: UserJson }>(
    '/users/:user',
    { config: { may: 'administrator' }, schema },
    async ({ params: { user: name }, body }, reply) => {
      const current = users.find(name);
      await users.put(name, readSpec(name, body, current?.loopbackOnly ?? name === 'guest'));
      await durable(management);
      return reply.code(current === undefined ? 201 : 204).send();
    },
  );

  app.delete<{ Params: Params }>('/users/:user', { config: { may: 'administrator' } }, async ({ params }, reply) => {
    if (!users.delete(params.user)) throw notFound();
    await durable(management);
    return reply.code(204).send();
  });

  // RabbitMQ's own, which any broker of either kind understands as `password_hash`
  app.get<{ Params: { password: string } }>('/auth/hash_password/:password', async ({ params }) => ({
    ok: hashSalted(params.password, 'rabbit_password_hashing_sha256').hash,
  }));
}

function readSpec(name: string, json: UserJson, loopbackOnly: boolean): UserSpec {
  if (json.tags === undefined) throw badRequest('tags_not_present');
  const algorithm = json.hashing_algorithm as Algorithm | undefined;
  const tags = readTags(json.tags);
  const common = { tags, loopbackOnly: json.loopback_only ?? loopbackOnly };
  if (json.password !== undefined && json.password_hash !== undefined) {
    throw badRequest(`user '${name}' has both password and password_hash`);
  }
  if (json.password !== undefined) {
    if (json.password === '') throw badRequest(`the password of user '${name}' is empty`);
    return { ...common, password: json.password, algorithm };
  }
  return { ...common, passwordHash: readHash(json.password_hash ?? '', algorithm) };
}
