import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Vhost } from '../../core/vhost.ts';
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
  // RabbitMQ answers nothing; who asks with `report=true` is told what was left out
  const bringIn = async (request: FastifyRequest, reply: FastifyReply, into: Vhost | null): Promise<unknown> => {
    const leftOut = await importDefinitions(bodyOf(request), into, management);
    await durable(management);
    if ((request.query as { report?: string }).report === 'true') return { left_out: leftOut };
    return reply.code(204).send();
  };
  app.post('/definitions', { config }, (request, reply) => bringIn(request, reply, null));
  app.post<{ Params: Params }>('/definitions/:vhost', { config }, (request, reply) =>
    bringIn(request, reply, vhostOf(request, management)),
  );
}
