import type { FastifyInstance } from 'fastify';
import type { Policies, PolicyDefinition, PolicyTarget } from '../../core/policies.ts';
import { policyTargets } from '../../core/policies.ts';
import type { Vhost } from '../../core/vhost.ts';
import { durable, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { showPolicy } from '../policy-json.ts';
import { type May, vhostOf } from '../requester.ts';
import { body, number, table, text } from '../schemas.ts';

type Params = { vhost: string; name: string };

interface PolicyBody {
  readonly pattern: string;
  readonly definition: PolicyDefinition;
  readonly priority?: number;
  readonly 'apply-to'?: PolicyTarget;
}

const schema = body(
  {
    pattern: text,
    definition: table,
    priority: number,
    'apply-to': { type: 'string', enum: policyTargets },
  },
  ['pattern', 'definition'],
);

export function addPolicies(app: FastifyInstance, management: Management): void {
  addKind(app, management, '/policies', 'policymaker', ({ policies }) => policies);
  addKind(app, management, '/operator-policies', 'administrator', ({ operatorPolicies }) => operatorPolicies);
}

function addKind(
  app: FastifyInstance,
  management: Management,
  url: string,
  mayChange: May,
  of: (vhost: Vhost) => Policies,
): void {
  const allOf = (vhost: Vhost): Record<string, unknown>[] =>
    of(vhost)
      .all()
      .map((policy) => showPolicy(policy, vhost.name));
  const nameOf = (policy: Record<string, unknown>): string => String(policy['name']);

  app.get<{ Querystring: ListQuery }>(url, async ({ requester, query }) =>
    list(requester.visibleVhosts().flatMap(allOf), nameOf, (policy) => policy, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(`${url}/:vhost`, { config: { may: 'vhost' } }, async (request) =>
    list(allOf(vhostOf(request, management)), nameOf, (policy) => policy, request.query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    `${url}/:vhost/:name`,
    { config: { may: 'vhost' } },
    async (request) => {
      const vhost = vhostOf(request, management);
      const policy = of(vhost).get(request.params.name);
      if (policy === undefined) throw notFound();
      return pickColumns(showPolicy(policy, vhost.name), request.query);
    },
  );
  app.put<{ Params: Params; Body: PolicyBody }>(
    `${url}/:vhost/:name`,
    { config: { may: mayChange }, schema },
    async (request, reply) => {
      const policies = of(vhostOf(request, management));
      const { name } = request.params;
      const isNew = policies.get(name) === undefined;
      const { pattern, definition, priority = 0, 'apply-to': applyTo = 'all' } = request.body;
      policies.set({ name, pattern, definition, priority, applyTo });
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );
  app.delete<{ Params: Params }>(`${url}/:vhost/:name`, { config: { may: mayChange } }, async (request, reply) => {
    if (!of(vhostOf(request, management)).delete(request.params.name)) throw notFound();
    await durable(management);
    return reply.code(204).send();
  });
}
