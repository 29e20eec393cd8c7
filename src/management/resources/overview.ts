import { cpus } from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { Broker } from '../../core/broker.ts';
import { exchangeTypes } from '../../core/exchange/exchange.ts';
import { durable, type ListenerView, type Management } from '../context.ts';
import { notFound } from '../errors.ts';
import { type ListQuery, list, pickColumns } from '../listing.ts';
import { apiVersion } from '../product.ts';
import { body, text } from '../schemas.ts';
import { messageCounts, messageStats, type Views } from '../views.ts';

const clusterNameParameter = 'cluster_name';

/** The broker as a whole, and the process that it is. */
export function addOverview(app: FastifyInstance, management: Management, views: Views): void {
  const { broker, node, parameters } = management;
  const clusterName = (): string => {
    const name = parameters.allGlobals().get(clusterNameParameter);
    return typeof name === 'string' ? name : node.name;
  };

  const contexts = (): object[] =>
    node
      .listeners()
      .filter(({ protocol }) => protocol === 'management')
      .map(({ host, port }) => ({
        description: 'RosettaMQ Management',
        path: '/',
        ip: host === '*' ? '::' : host,
        port: String(port),
      }));

  app.get<{ Querystring: ListQuery }>('/overview', async ({ requester, query }) => {
    const vhosts = requester.visibleVhosts();
    const clients = [...broker.clients].filter((client) => requester.maySee(client));
    const overview = {
      management_version: apiVersion,
      rates_mode: 'basic',
      exchange_types: exchangeTypes.map(showExchangeType),
      product_name: 'RosettaMQ',
      product_version: node.version,
      rabbitmq_version: apiVersion,
      cluster_name: clusterName(),
      cluster_tags: {},
      node_tags: {},
      erlang_version: '',
      erlang_full_version: `Node.js ${process.versions.node}`,
      disable_stats: false,
      enable_queue_totals: false,
      message_stats: views.rates.detail(broker, messageStats(vhosts), node.startedAtMs),
      churn_rates: views.rates.detail(node, churn(broker), node.startedAtMs),
      queue_totals: views.rates.detail(broker.vhosts, messageCounts(vhosts)),
      object_totals: {
        channels: clients.reduce((sum, client) => sum + client.describeChannels().length, 0),
        connections: clients.length,
        consumers: sumOf(vhosts, (vhost) => sumOf([...vhost.queues.values()], ({ counts }) => counts.consumers)),
        exchanges: sumOf(vhosts, ({ exchanges }) => exchanges.size),
        queues: sumOf(vhosts, ({ queues }) => queues.size),
      },
      statistics_db_event_queue: 0,
      node: node.name,
      listeners: node.listeners().map((listener) => showListener(listener, node.name)),
      contexts: contexts().map((context) => ({ node: node.name, ...context })),
    };
    return pickColumns(overview, query);
  });

  app.get('/whoami', async ({ requester }) => ({
    name: requester.name,
    tags: requester.tags,
    is_internal_user: true,
  }));

  const showNode = async (): Promise<Record<string, unknown>> => {
    const memory = process.memoryUsage();
    const descriptors = await node.descriptors();
    const sockets = node.connections();
    return {
      name: node.name,
      type: 'disc',
      running: true,
      being_drained: false,
      os_pid: String(process.pid),
      uptime: broker.nowMs - node.startedAtMs,
      processors: cpus().length,
      mem_limit: Math.floor(node.memoryLimitBytes),
      mem_calculation_strategy: 'rss',
      mem_alarm: broker.alarm?.includes('memory') === true,
      heap_used: memory.heapUsed,
      ...views.rates.detail(node, { mem_used: memory.rss, disk_free: await node.diskFreeBytes() }),
      ...(descriptors === null ? {} : { fd_total: descriptors.limit, sockets_total: descriptors.limit }),
      ...views.rates.detail(node, {
        ...(descriptors === null ? {} : { fd_used: descriptors.used }),
        sockets_used: sockets,
      }),
      disk_free_limit: node.diskLimitBytes,
      disk_free_alarm: broker.alarm?.includes('disk') === true || !broker.journal.writable,
      db_dir: node.dataDir,
      log_files: ['<stderr>'],
      partitions: [],
      cluster_links: [],
      ...views.rates.detail(node, churn(broker), node.startedAtMs),
      rates_mode: 'basic',
      exchange_types: exchangeTypes.map(showExchangeType),
      auth_mechanisms: ['PLAIN', 'AMQPLAIN'].map((name) => ({ name, description: `SASL ${name}`, enabled: true })),
      applications: [{ name: 'rosettamq', description: 'RosettaMQ', version: node.version }],
      enabled_plugins: [],
      contexts: contexts(),
    };
  };
  app.get<{ Querystring: ListQuery }>('/nodes', { config: { may: 'monitoring' } }, async ({ query }) =>
    list([await showNode()], null, (each) => each, query),
  );
  app.get<{ Params: { name: string }; Querystring: ListQuery }>(
    '/nodes/:name',
    { config: { may: 'monitoring' } },
    async ({ params, query }) => {
      if (params.name !== node.name) throw notFound();
      return pickColumns(await showNode(), query);
    },
  );
  app.get<{ Params: { name: string } }>(
    '/nodes/:name/memory',
    { config: { may: 'monitoring' } },
    async ({ params }) => {
      if (params.name !== node.name) throw notFound();
      const { rss, heapTotal, external, arrayBuffers } = process.memoryUsage();
      return {
        memory: { heap: heapTotal, external, array_buffers: arrayBuffers, total: { rss, allocated: rss, erlang: 0 } },
      };
    },
  );

  app.get('/cluster-name', async () => ({ name: clusterName() }));
  app.put<{ Body: { name: string } }>(
    '/cluster-name',
    { config: { may: 'administrator' }, schema: body({ name: text }, ['name']) },
    async (request, reply) => {
      parameters.setGlobal(clusterNameParameter, request.body.name);
      await durable(management);
      return reply.code(204).send();
    },
  );

  // What clients of RabbitMQ ask before they go on; there is nothing to choose here.
  app.get('/extensions', async () => []);
  app.get('/auth', { config: { may: 'anybody' } }, async () => ({ oauth_enabled: false }));
  app.get('/feature-flags', { config: { may: 'administrator' } }, async () => []);
  app.get('/deprecated-features', { config: { may: 'administrator' } }, async () => []);
  app.get('/deprecated-features/used', { config: { may: 'administrator' } }, async () => []);
  app.get('/federation-links', async () => []);
  app.post('/rebalance/queues', { config: { may: 'administrator' } }, async (_request, reply) =>
    reply.code(204).send(),
  );
}

// What came and went since the start, of all virtual hosts.
function churn({ connectionsOpened, channelsOpened, clients, vhosts }: Broker): Record<string, number> {
  const all = [...vhosts.values()];
  return {
    connection_created: connectionsOpened,
    connection_closed: connectionsOpened - clients.size,
    channel_created: channelsOpened,
    channel_closed: channelsOpened - sumOf([...clients], (client) => client.describeChannels().length),
    queue_declared: sumOf(all, ({ queuesDeclared }) => queuesDeclared),
    queue_created: sumOf(all, ({ queuesCreated }) => queuesCreated),
    queue_deleted: sumOf(all, ({ queuesDeleted }) => queuesDeleted),
  };
}

function showExchangeType(name: string): object {
  return { name, description: `exchanges of type ${name}`, enabled: true };
}

// RabbitMQ's names of protocols.
function showListener({ protocol, host, port, encrypted, transport }: ListenerView, node: string): object {
  const plain = transport === 'websocket' ? `http/web-${protocol}` : protocol === 'management' ? 'http' : protocol;
  const secure =
    transport === 'websocket' ? `https/web-${protocol}` : protocol === 'amqp' ? 'amqp/ssl' : `${plain}/ssl`;
  return {
    node,
    protocol: encrypted ? secure : plain,
    ip_address: host === '*' ? '::' : host,
    port,
    socket_opts: {},
  };
}

function sumOf<T>(things: readonly T[], of: (thing: T) => number): number {
  return things.reduce((sum, thing) => sum + of(thing), 0);
}
