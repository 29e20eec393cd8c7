import type { FastifyInstance, FastifyReply } from 'fastify';
import type { ListenerView, Management } from '../context.ts';
import { badRequest } from '../errors.ts';
import { vhostOf } from '../requester.ts';

/** Checks for those who watch: 200 when all is well, 503 and a reason when it is not. */
export function addHealth(app: FastifyInstance, management: Management): void {
  const { broker, node } = management;
  const check = (reply: FastifyReply, fault: string | null, more: object = {}): object =>
    fault === null ? { status: 'ok', ...more } : reply.code(503).send({ status: 'failed', reason: fault, ...more });
  const { journal } = broker;
  const unreadable = (): string | null => broker.pager?.fault ?? null;
  const alarms = (): object[] => [
    ...(broker.alarm === null ? [] : [{ node: node.name, resource: broker.alarm }]),
    ...[journal.failure, unreadable()]
      .filter((reason) => reason !== null)
      .map((reason) => ({ node: node.name, resource: 'disk', reason })),
  ];
  const alarmFault = (): string | null => {
    const faults = [broker.alarm, journal.failure, unreadable()].filter((each) => each !== null);
    return faults.length === 0 ? null : `There are alarms in effect: ${faults.join('; ')}`;
  };
  const serviceFault = (): string | null => {
    const fault = management.fault();
    return fault === null ? null : `this broker takes no durable messages now: ${fault}`;
  };
  const limitFault = (): string | null =>
    broker.clients.size < broker.limits.connections
      ? null
      : `the limit of ${broker.limits.connections} connections is reached`;
  const hasListener = (name: string): boolean => node.listeners().some((each) => namesOf(each).includes(name));

  for (const name of ['alarms', 'local-alarms']) {
    app.get(`/health/checks/${name}`, async (_request, reply) => {
      const fault = alarmFault();
      return check(reply, fault, fault === null ? {} : { alarms: alarms() });
    });
  }
  app.get('/health/checks/is-in-service', async (_request, reply) => check(reply, serviceFault()));
  app.get('/health/checks/below-node-connection-limit', async (_request, reply) => check(reply, limitFault()));
  app.get('/health/checks/ready-to-serve-clients', async (_request, reply) => {
    const amqpFault = hasListener('amqp') || hasListener('amqps') ? null : 'no listener of AMQP';
    return check(reply, serviceFault() ?? amqpFault ?? limitFault());
  });
  app.get('/health/checks/virtual-hosts', async (_request, reply) => check(reply, null));
  app.get('/health/checks/node-is-quorum-critical', async (_request, reply) => check(reply, null));
  app.get('/health/checks/node-is-mirror-sync-critical', async (_request, reply) => check(reply, null));
  app.get<{ Params: { port: string } }>('/health/checks/port-listener/:port', async ({ params }, reply) => {
    const port = Number(params.port);
    if (!/^\d{1,5}$/.test(params.port) || port > 65_535) throw badRequest('Invalid port');
    const ports = node.listeners().map((each) => each.port);
    if (ports.includes(port)) return check(reply, null, { port });
    return check(reply, 'No active listener', { missing: port, ports });
  });
  app.get<{ Params: { protocols: string } }>('/health/checks/protocol-listener/:protocols', async (request, reply) => {
    const wanted = request.params.protocols.split(',');
    const missing = wanted.filter((name) => !hasListener(name));
    if (missing.length === 0) return check(reply, null, { protocol: wanted.join(',') });
    const protocols = [...new Set(node.listeners().map((each) => namesOf(each)[0]))];
    return check(reply, 'No active listener', { missing: missing.join(','), protocols });
  });
  app.get<{ Params: { within: string; unit: string } }>(
    '/health/checks/certificate-expiration/:within/:unit',
    async ({ params }, reply) => {
      const unitMs = unitsMs[params.unit];
      if (!/^\d{1,6}$/.test(params.within)) throw badRequest('Invalid expiration value.');
      if (unitMs === undefined) {
        throw badRequest('Time unit not recognised. Supported units: days, weeks, months, years.');
      }
      const until = broker.nowMs + Number(params.within) * unitMs;
      const expired = node.listeners().flatMap(({ name, protocol, host, port, findCertificateEndMs }) => {
        const endMs = findCertificateEndMs();
        if (endMs === null || endMs > until) return [];
        return [{ name, protocol, interface: host, port, node: node.name, certfile_expires_on: new Date(endMs) }];
      });
      return check(
        reply,
        expired.length === 0 ? null : 'Certificates expiring',
        expired.length === 0 ? {} : { expired },
      );
    },
  );
  for (const name of ['aliveness-test', 'aliveness-check']) {
    app.get<{ Params: { vhost: string } }>(`/${name}/:vhost`, { config: { may: 'vhost' } }, async (request, reply) => {
      vhostOf(request, management);
      return check(reply, serviceFault());
    });
  }
}

const dayMs = 24 * 60 * 60 * 1000;
const unitsMs: Readonly<Record<string, number | undefined>> = {
  days: dayMs,
  weeks: 7 * dayMs,
  months: 30 * dayMs,
  years: 365 * dayMs,
};

// `amqp`, `mqtts`, `web-stomp`; and AMQP's own versions, which share a port
function namesOf({ protocol, transport, encrypted }: ListenerView): string[] {
  const plain = transport === 'websocket' ? `web-${protocol}` : protocol === 'management' ? 'http' : protocol;
  const name = encrypted ? `${plain}s` : plain;
  if (protocol !== 'amqp') return [name, ...(encrypted ? [`${plain}/ssl`] : [])];
  return encrypted ? [name, 'amqp/ssl'] : [name, 'amqp091'];
}
