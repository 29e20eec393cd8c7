import type { FastifyInstance } from 'fastify';
import type { Exchange } from '../../core/exchange/exchange.ts';
import type { ScheduledMessage } from '../../core/schedule.ts';
import type { Vhost } from '../../core/vhost.ts';
import { durable, type Management } from '../context.ts';
import { badRequest, notFound } from '../errors.ts';
import { vhostOf } from '../requester.ts';
import { exchangeName } from './exchanges.ts';

type Params = { vhost: string; exchange: string; id: string };

interface Query {
  /** Only what this queue would get, as things are now. */
  readonly queue?: string;
  /** How many at most. */
  readonly limit?: string;
}

interface Row {
  readonly vhost: Vhost;
  readonly exchange: Exchange;
  readonly scheduled: ScheduledMessage;
}

const config = { may: 'vhost' } as const;
const limitDefault = 500;
const limitMax = 10_000;
/** Messages that are looked at together when only some are wanted. */
const pageCount = 2_000;

/** Messages that wait for their time: what they are, and their end. */
export function addScheduled(app: FastifyInstance, management: Management): void {
  const list = async (vhosts: readonly Vhost[], exchange: string | null, query: Query): Promise<object[]> => {
    const limit = readLimit(query.limit);
    const rows: Row[] = [];
    for (const vhost of vhosts) {
      for (const each of vhost.exchanges.values()) {
        if (exchange === null || each.name === exchange) rows.push(...(await firstOf(vhost, each, query.queue, limit)));
      }
    }
    const byTime = ({ scheduled: a }: Row, { scheduled: b }: Row): number => a.dueMs - b.dueMs || a.id - b.id;
    return rows.sort(byTime).slice(0, limit).map(show);
  };

  app.get<{ Querystring: Query }>('/scheduled', async ({ requester, query }) =>
    list(requester.visibleVhosts(), null, query),
  );
  app.get<{ Params: Params; Querystring: Query }>('/scheduled/:vhost', { config }, async (request) =>
    list([vhostOf(request, management)], null, request.query),
  );
  app.get<{ Params: Params; Querystring: Query }>(
    '/scheduled/:vhost/exchange/:exchange',
    { config },
    async (request) => {
      const vhost = vhostOf(request, management);
      const name = exchangeName(request.params.exchange);
      if (!vhost.exchanges.has(name)) throw notFound();
      return list([vhost], name, request.query);
    },
  );

  app.delete<{ Params: Params }>('/scheduled/:vhost/:id', { config }, async (request, reply) => {
    const vhost = vhostOf(request, management);
    const client = request.requester.clientOf(vhost);
    const id = Number(request.params.id);
    const exchange = [...vhost.exchanges.values()].find(({ schedule }) => schedule?.has(id));
    if (exchange === undefined) throw notFound();
    vhost.demand(client, 'configure', 'exchange', exchange.name);
    exchange.schedule?.cancel(id);
    await durable(management);
    return reply.code(204).send();
  });
}

function readLimit(text: string | undefined): number {
  const limit = text === undefined ? limitDefault : Number(text);
  if (Number.isInteger(limit) && limit >= 1 && limit <= limitMax) return limit;
  throw badRequest(`limit: a number from 1 to ${limitMax} is expected`);
}

async function firstOf(vhost: Vhost, exchange: Exchange, queue: string | undefined, limit: number): Promise<Row[]> {
  const rows: Row[] = [];
  let last = { dueMs: 0, id: 0 };
  while (rows.length < limit) {
    const wanted = queue === undefined ? limit : pageCount;
    const page = (await exchange.schedule?.list(wanted, last.dueMs, last.id)) ?? [];
    for (const scheduled of page) {
      if (queue === undefined || leadsTo(vhost, exchange, scheduled, queue)) rows.push({ vhost, exchange, scheduled });
    }
    if (page.length < wanted) break;
    last = page.at(-1)!;
  }
  return rows;
}

function leadsTo(vhost: Vhost, exchange: Exchange, { message }: ScheduledMessage, queue: string): boolean {
  const route = vhost.router.routeFor(exchange, message.routingKey);
  return vhost.targetsOf(route, message).some((target) => target.queue.name === queue);
}

function show({ vhost, exchange, scheduled }: Row): object {
  const { id, dueMs, repeat, message } = scheduled;
  return {
    id,
    vhost: vhost.name,
    exchange: exchange.name,
    routing_key: message.routingKey,
    due: dueMs,
    due_at: new Date(dueMs).toISOString(),
    cron: repeat?.cron ?? null,
    period: repeat !== null && repeat.periodMs > 0 ? repeat.periodMs : null,
    repeat: repeat?.times ?? 0,
    persistent: message.durable,
    payload_bytes: message.bodyBytes,
  };
}
