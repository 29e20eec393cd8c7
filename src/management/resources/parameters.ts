import type { FastifyInstance } from 'fastify';
import type { Parameter } from '../../core/parameters.ts';
import { durable, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { vhostOf } from '../requester.ts';
import { body } from '../schemas.ts';

type Params = { vhost: string; component: string; name: string };

const schema = body({ value: {} }, ['value']);

/** Runtime parameters, of virtual hosts and global ones. */
export function addParameters(app: FastifyInstance, management: Management): void {
  const { parameters } = management;
  const config = { may: 'policymaker' } as const;
  const show = ({ vhost, component, name, value }: Parameter): Record<string, unknown> => ({
    value,
    vhost,
    component,
    name,
  });
  const shown = (requester: { visibleVhosts(): { name: string }[] }): Parameter[] => {
    const vhosts = new Set(requester.visibleVhosts().map(({ name }) => name));
    return parameters.all().filter(({ vhost }) => vhosts.has(vhost));
  };
  const nameOf = ({ name }: Parameter): string => name;

  app.get<{ Querystring: ListQuery }>('/parameters', { config }, async ({ requester, query }) =>
    list(shown(requester), nameOf, show, query),
  );
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/parameters/:component',
    { config },
    async ({ requester, params, query }) => {
      const found = shown(requester).filter(({ component }) => component === params.component);
      return list(found, nameOf, show, query);
    },
  );
  app.get<{ Params: Params; Querystring: ListQuery }>('/parameters/:component/:vhost', { config }, async (request) => {
    const { name: vhost } = vhostOf(request, management);
    const { component } = request.params;
    const found = parameters.all().filter((each) => each.component === component && each.vhost === vhost);
    return list(found, nameOf, show, request.query);
  });
  app.get<{ Params: Params; Querystring: ListQuery }>(
    '/parameters/:component/:vhost/:name',
    { config },
    async (request) => {
      const { name: vhost } = vhostOf(request, management);
      const found = parameters.get(vhost, request.params.component, request.params.name);
      if (found === undefined) throw notFound();
      return pickColumns(show(found), request.query);
    },
  );
  app.put<{ Params: Params; Body: { value: unknown } }>(
    '/parameters/:component/:vhost/:name',
    { config, schema },
    async (request, reply) => {
      const { name: vhost } = vhostOf(request, management);
      const { component, name } = request.params;
      const isNew = parameters.get(vhost, component, name) === undefined;
      parameters.set({ vhost, component, name, value: request.body.value });
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );
  app.delete<{ Params: Params }>('/parameters/:component/:vhost/:name', { config }, async (request, reply) => {
    const { name: vhost } = vhostOf(request, management);
    if (!parameters.delete(vhost, request.params.component, request.params.name)) throw notFound();
    await durable(management);
    return reply.code(204).send();
  });

  const global = { may: 'global-policymaker' } as const;
  app.get<{ Querystring: ListQuery }>('/global-parameters', { config: global }, async ({ query }) =>
    list(
      [...parameters.allGlobals()],
      ([name]) => name,
      ([name, value]) => ({ name, value }),
      query,
    ),
  );
  app.get<{ Params: Params }>('/global-parameters/:name', { config: global }, async ({ params: { name } }) => {
    if (!parameters.allGlobals().has(name)) throw notFound();
    return { name, value: parameters.allGlobals().get(name) };
  });
  app.put<{ Params: Params; Body: { value: unknown } }>(
    '/global-parameters/:name',
    { config: global, schema },
    async ({ params: { name }, body: { value } }, reply) => {
      const isNew = !parameters.allGlobals().has(name);
      parameters.setGlobal(name, value);
      await durable(management);
      return reply.code(isNew ? 201 : 204).send();
    },
  );
  app.delete<{ Params: Params }>('/global-parameters/:name', { config: global }, async ({ params }, reply) => {
    if (!parameters.deleteGlobal(params.name)) throw notFound();
    await durable(management);
    return reply.code(204).send();
  });
}
