import type { FastifyInstance } from 'fastify';
import { durable, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { vhostOf } from '../requester.ts';
import { body, number } from '../schemas.ts';
import { applyVhostLimits, limitsComponent, limitsName, vhostLimitsOf } from '../vhost-limits.ts';

const vhostLimitNames = ['max-connections', 'max-queues'];
const userLimitNames = ['max-connections', 'max-channels'];
const schema = body({ value: number }, ['value']);

/** What one virtual host or user may have at a time. */
export function addLimits(app: FastifyInstance, management: Management): void {
  const { users, parameters } = management;
  const config = { may: 'administrator' } as const;

  app.get('/vhost-limits', async ({ requester }) =>
    requester
      .visibleVhosts()
      .map(({ name }) => ({ vhost: name, value: vhostLimitsOf(name, parameters) }))
      .filter(({ value }) => Object.keys(value).length > 0),
  );
  app.get<{ Params: { vhost: string } }>(
    '/vhost-limits/:vhost',
    { config: { may: 'vhost-visible' } },
    async (request) => {
      const vhost = vhostOf(request, management).name;
      const value = vhostLimitsOf(vhost, parameters);
      return Object.keys(value).length === 0 ? [] : [{ vhost, value }];
    },
  );
  const setVhostLimit = async (name: string, limit: string, value: number): Promise<void> => {
    const vhost = management.broker.vhosts.get(name);
    if (vhost === undefined || !vhostLimitNames.includes(limit)) throw notFound();
    const { [limit]: _, ...others } = vhostLimitsOf(name, parameters);
    const limits = value < 0 ? others : { ...others, [limit]: value };
    if (Object.keys(limits).length === 0) parameters.delete(name, limitsComponent, limitsName);
    else parameters.set({ vhost: name, component: limitsComponent, name: limitsName, value: limits });
    applyVhostLimits(vhost, parameters);
    await durable(management);
  };
  app.put<{ Params: { vhost: string; limit: string }; Body: { value: number } }>(
    '/vhost-limits/:vhost/:limit',
    { config, schema },
    async ({ params, body: { value } }, reply) => {
      await setVhostLimit(params.vhost, params.limit, value);
      return reply.code(204).send();
    },
  );
  app.delete<{ Params: { vhost: string; limit: string } }>(
    '/vhost-limits/:vhost/:limit',
    { config },
    async ({ params }, reply) => {
      await setVhostLimit(params.vhost, params.limit, -1);
      return reply.code(204).send();
    },
  );

  const showUsers = (names: readonly string[]): object[] =>
    users
      .all()
      .filter(({ name, limits }) => names.includes(name) && Object.keys(limits).length > 0)
      .map(({ name, limits }) => ({ user: name, value: limits }));
  app.get('/user-limits', async ({ requester }) =>
    showUsers(requester.isMonitor ? users.all().map(({ name }) => name) : [requester.name]),
  );
  app.get<{ Params: { user: string } }>('/user-limits/:user', async ({ params, requester }) => {
    if (users.find(params.user) === undefined) throw notFound();
    return requester.isMonitor || requester.name === params.user ? showUsers([params.user]) : [];
  });
  const setUserLimit = async (user: string, limit: string, value: number): Promise<void> => {
    if (users.find(user) === undefined || !userLimitNames.includes(limit)) throw notFound();
    users.setLimit(user, limit, value);
    await durable(management);
  };
  app.put<{ Params: { user: string; limit: string }; Body: { value: number } }>(
    '/user-limits/:user/:limit',
    { config, schema },
    async ({ params, body: { value } }, reply) => {
      await setUserLimit(params.user, params.limit, value);
      return reply.code(204).send();
    },
  );
  app.delete<{ Params: { user: string; limit: string } }>(
    '/user-limits/:user/:limit',
    { config },
    async ({ params }, reply) => {
      await setUserLimit(params.user, params.limit, -1);
      return reply.code(204).send();
    },
  );
}
