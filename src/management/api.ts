import { type FastifyInstance, fastify } from 'fastify';

export interface ManagementListener {
  readonly port: number;
  close(): Promise<void>;
}

/** What /metrics shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** The HTTP side: for now whether the broker lives and is ready. */
export async function listenManagement(
  options: { readonly host: string | undefined; readonly port: number },
  isReady: () => boolean,
  metrics: MetricsPage,
): Promise<ManagementListener> {
  const app: FastifyInstance = fastify({ forceCloseConnections: true });
  app.get('/', async (_request, reply) => reply.type('text/html').send(page));
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
  app.get('/health/live', async () => ({ status: 'ok' }));
  app.get('/health/ready', async (_request, reply) => {
    const ready = isReady();
    return reply.code(ready ? 200 : 503).send({ status: ready ? 'ok' : 'not ready' });
  });
  await app.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) });
  const address = app.server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close: () => app.close(),
  };
}

const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>RosettaMQ</title></head>
<body><h1>RosettaMQ</h1><p>The broker is running. Its health: <a href="/health/live">live</a>,
<a href="/health/ready">ready</a>.</p></body></html>
`;
