import type { FastifyInstance, FastifyRequest } from 'fastify';
import { durable, type Management } from '../context.ts';
import { exportDefinitions, exportVhost, importDefinitions } from '../definitions.ts';
import { bodyOf, vhostOf } from '../requester.ts';

type Params = { vhost: string };

export function addDefinitions(app: FastifyInstance, management: Management): void {
  const config = { may: 'administrator' } as const;
  const fileName = (request: FastifyRequest): string | undefined => (request.query as { download?: string }).download;

  app.get('/definitions', { config }, async (request, reply) => {
    const file = fileName(request);
    if (file !== undefined)
      reply.header('content-disposition', `attachment; filename="${file.replace(/[^\w.-]/g, '_')}"`);
    return exportDefinitions(management);
  });
  app.get<{ Params: Params }>('/definitions/:vhost', { config }, async (request) =>
    exportVhost(vhostOf(request, management), management),
  );
  app.post('/definitions', { config }, async (request, reply) => {
    await importDefinitions(bodyOf(request), null, management);
    await durable(management);
    return reply.code(204).send();
  });
  app.post<{ Params: Params }>('/definitions/:vhost', { config }, async (request, reply) => {
    await importDefinitions(bodyOf(request), vhostOf(request, management), management);
    await durable(management);
    return reply.code(204).send();
  });
}
