import type { FastifyInstance } from 'fastify';
import type { Management } from '../context.ts';
import { body } from '../schemas.ts';

const levels = ['debug', 'info', 'warn', 'error', 'silent'];

/** How much is logged: until the next start, which begins with the configuration's level. */
export function addLogLevel(app: FastifyInstance, { broker: { log } }: Management): void {
  app.get('/log-level', { config: { may: 'monitoring' } }, async () => ({ level: log.level }));
  app.put<{ Body: { level: string } }>(
    '/log-level',
    {
      config: { may: 'administrator' },
      schema: body({ level: { type: 'string', enum: levels } }, ['level']),
    },
    async (request, reply) => {
      log.level = request.body.level;
      return reply.code(204).send();
    },
  );
}
