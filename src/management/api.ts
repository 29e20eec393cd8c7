import type { SecureContextOptions, Server as TlsServer } from 'node:tls';
import { type FastifyInstance, fastify } from 'fastify';
import { acceptBodies } from './bodies.ts';
import type { Management } from './context.ts';
import { answerError } from './errors.ts';
import { authenticateRequests } from './requester.ts';
import { addBindings } from './resources/bindings.ts';
import { addConnections } from './resources/connections.ts';
import { addConsumers } from './resources/consumers.ts';
import { addDefinitions } from './resources/definitions.ts';
import { addExchanges } from './resources/exchanges.ts';
import { addExplain } from './resources/explain.ts';
import { addHealth } from './resources/health.ts';
import { addLimits } from './resources/limits.ts';
import { addLogLevel } from './resources/log-level.ts';
import { addOverview } from './resources/overview.ts';
import { addParameters } from './resources/parameters.ts';
import { addPermissions } from './resources/permissions.ts';
import { addPolicies } from './resources/policies.ts';
import { addQueues } from './resources/queues.ts';
import { addRetained } from './resources/retained.ts';
import { addScheduled } from './resources/scheduled.ts';
import { addUsers } from './resources/users.ts';
import { addVhosts } from './resources/vhosts.ts';
import { Views } from './views.ts';

export interface ManagementListener {
  readonly port: number;
  close(): Promise<void>;
}

/** What /metrics shows. */
export interface MetricsPage {
  readonly contentType: string;
  render(): Promise<string>;
}

/** A certificate that may be replaced while it is in use. */
export interface ManagementTls {
  /** Are clients asked for a certificate, and turned away without one. */
  readonly options: { readonly verify: 'none' | 'optional' | 'required' };
  read(): SecureContextOptions;
  readonly followers: Set<(options: SecureContextOptions) => void>;
}

export interface ManagementOptions {
  /** undefined: every interface */
  readonly host: string | undefined;
  readonly port: number;
  /** null: without TLS */
  readonly tls: ManagementTls | null;
}

/** Definitions and messages in base64 are the longest. */
const bodyBytesMax = 64 * 1024 * 1024;
/** A request that has not come whole by then is given up. */
const requestTimeoutMs = 60_000;

const resources: readonly ((app: FastifyInstance, management: Management, views: Views) => void)[] = [
  addOverview,
  addVhosts,
  addUsers,
  addPermissions,
  addPolicies,
  addParameters,
  addLimits,
  addDefinitions,
  addConnections,
  addConsumers,
  addExchanges,
  addQueues,
  addBindings,
  addRetained,
  addScheduled,
  addHealth,
  addLogLevel,
  addExplain,
];

/** The HTTP side: the API under RabbitMQ's paths, metrics, and whether the broker lives and is ready. */
export async function listenManagement(
  options: ManagementOptions,
  management: Management,
  metrics: MetricsPage,
): Promise<ManagementListener> {
  const { tls } = options;
  const app = await createApi(management, metrics, tls);
  if (tls !== null) tls.followers.add((renewed) => (app.server as unknown as TlsServer).setSecureContext(renewed));
  await app.listen({ port: options.port, ...(options.host === undefined ? {} : { host: options.host }) });
  const address = app.server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    close: () => app.close(),
  };
}

async function createApi(
  management: Management,
  metrics: MetricsPage,
  tls: ManagementTls | null,
): Promise<FastifyInstance> {
  const { log } = management.broker;
  const app: FastifyInstance = fastify({
    forceCloseConnections: true,
    ...(tls === null ? {} : { https: secureOptions(tls) }),
    bodyLimit: bodyBytesMax,
    requestTimeout: requestTimeoutMs,
    frameworkErrors: (error, request, reply) => answerError(error, request, reply, log),
    routerOptions: { maxParamLength: 10_000, ignoreTrailingSlash: true },
    ajv: { customOptions: { allErrors: true, coerceTypes: true } },
  });
  app.setErrorHandler((error, request, reply) => answerError(error as Error, request, reply, log));
  app.setNotFoundHandler((_request, reply) => reply.code(404).send({ error: 'Object Not Found', reason: 'Not Found' }));
  // as RabbitMQ says it: some clients compare the whole
  app.addHook('onSend', async (_request, reply) => {
    if (String(reply.getHeader('content-type')).startsWith('application/json')) {
      reply.header('content-type', 'application/json');
    }
  });
  app.get('/', async (_request, reply) => reply.type('text/html; charset=utf-8').send(page));
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()));
  app.get('/health/live', async () => ({ status: 'ok' }));
  app.get('/health/ready', async (_request, reply) => {
    const fault = management.fault();
    if (fault === null) return { status: 'ok' };
    return reply.code(503).send({ status: 'not ready', reason: fault });
  });
  await app.register(
    async (api) => {
      acceptBodies(api);
      authenticateRequests(api, management);
      logChanges(api, management);
      const methods = rememberMethods(api);
      const views = new Views(management);
      for (const add of resources) add(api, management, views);
      const index = indexPage(methods);
      api.get('/', { config: { may: 'anybody' } }, async (_request, reply) => reply.redirect('/api/index.html', 301));
      api.get('/index.html', { config: { may: 'anybody' } }, async (_request, reply) =>
        reply.type('text/html; charset=utf-8').send(index),
      );
      refuseOtherMethods(api, methods);
    },
    { prefix: '/api' },
  );
  return app;
}

function secureOptions(tls: ManagementTls): object {
  const { verify } = tls.options;
  return { ...tls.read(), requestCert: verify !== 'none', rejectUnauthorized: verify === 'required' };
}

// Who changed what through the API; never the body, which may hold a password.
function logChanges(api: FastifyInstance, { broker: { log } }: Management): void {
  api.addHook('onResponse', async (request, reply) => {
    if (['GET', 'HEAD', 'OPTIONS'].includes(request.method) || reply.statusCode >= 300) return;
    if (request.routeOptions.url?.endsWith('/explain')) return; // a question
    const { name, address } = request.requester;
    const what = `${request.method} ${request.url.split('?')[0]}`;
    const fields = { peer: address, user: name, through: 'http', what, status: reply.statusCode };
    // messages are no settings: there may be many
    if (/\/(publish|get)$/.test(request.routeOptions.url ?? '')) log.debug(fields, 'messages published or fetched');
    else log.info(fields, 'changed');
  });
}

function rememberMethods(api: FastifyInstance): Map<string, Set<string>> {
  const methods = new Map<string, Set<string>>();
  api.addHook('onRoute', ({ path, method, prefix }) => {
    const url = path.startsWith(prefix) ? path.slice(prefix.length) : path;
    const known = methods.get(url) ?? new Set(['HEAD', 'OPTIONS']);
    for (const each of Array.isArray(method) ? method : [method]) known.add(each);
    methods.set(url, known);
  });
  return methods;
}

// A path that is there under other methods says under which.
function refuseOtherMethods(api: FastifyInstance, methods: ReadonlyMap<string, ReadonlySet<string>>): void {
  for (const [url, known] of [...methods]) {
    const allow = [...known].join(', ');
    const others = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'].filter((method) => !known.has(method));
    api.route({
      method: others,
      url,
      handler: async (request, reply) =>
        reply
          .code(405)
          .header('allow', allow)
          .send({ error: 'method_not_allowed', reason: `${request.method} is not for this; there are ${allow}` }),
    });
    api.options(url, { config: { may: 'anybody' } }, async (_request, reply) => reply.header('allow', allow).send());
  }
}

const head = '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>RosettaMQ</title></head>';

const page = `${head}
<body><h1>RosettaMQ</h1><p>The broker is running. Its health: <a href="/health/live">live</a>,
<a href="/health/ready">ready</a>. Its HTTP API is under <a href="/api/index.html">/api</a>, for users that have a tag;
<a href="/metrics">metrics</a> are for Prometheus.</p></body></html>
`;

/** What is under `/api`, for whoever looks there with a browser. */
function indexPage(methods: ReadonlyMap<string, ReadonlySet<string>>): string {
  const rows = [...methods]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([url, known]) => {
      const shown = [...known].filter((method) => method !== 'HEAD' && method !== 'OPTIONS').join(', ');
      return `<tr><td><code>/api${url.replace(/:(\w+)/g, '{$1}')}</code></td><td>${shown}</td></tr>`;
    });
  return `${head}
<body><h1>RosettaMQ's HTTP API</h1><p>Basic authentication. Names are percent-encoded: the virtual host / is %2F.</p>
<table>
${rows.join('\n')}
</table></body></html>
`;
}
