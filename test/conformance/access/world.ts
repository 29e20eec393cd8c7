import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Users } from '../../../src/auth/users.ts';
import { type Config, defaults } from '../../../src/config/schema.ts';
import type { Operation, Resource } from '../../../src/core/auth.ts';
import type { ExchangeType } from '../../../src/core/exchange/exchange.ts';
import type { Journal } from '../../../src/core/journal.ts';
import { noHeaders } from '../../../src/core/properties.ts';
import { anyWords } from '../../../src/core/topic.ts';
import type { Vhost } from '../../../src/core/vhost.ts';
import { silent } from '../../../src/lib/log.ts';
import { Server } from '../../../src/server.ts';
import { createClient, createMessage } from '../../support/core.ts';

/** One permission that an operation needs. A pattern stands for a name that the broker makes up. */
export interface Need {
  readonly operation: Operation;
  readonly resource: Resource;
  readonly name: string | RegExp;
  /** Of a topic. */
  readonly exchange?: string;
}

export const configure = (resource: Resource, name: string | RegExp): Need => ({
  operation: 'configure',
  resource,
  name,
});
export const write = (resource: Resource, name: string | RegExp): Need => ({ operation: 'write', resource, name });
export const read = (resource: Resource, name: string | RegExp): Need => ({ operation: 'read', resource, name });
export const writeTopic = (exchange: string, name: string): Need => ({
  operation: 'write',
  resource: 'topic',
  name,
  exchange,
});
export const readTopic = (exchange: string, name: string): Need => ({
  operation: 'read',
  resource: 'topic',
  name,
  exchange,
});

export interface Row {
  readonly title: string;
  readonly needs: readonly Need[];
}

/** One row with a user who has all that it needs, or all but one thing; alone in a virtual host of its own. */
export interface Case<R extends Row> {
  readonly title: string;
  readonly row: R;
  readonly missing: Need | null;
  readonly user: string;
  readonly vhost: string;
}

/** @param tag keeps the users and virtual hosts of several tables apart */
export function casesOf<R extends Row>(rows: readonly R[], tag = ''): Case<R>[] {
  return rows.flatMap((row, i) =>
    [null, ...row.needs].map((missing, j) => ({
      title: `${row.title}: ${missing === null ? 'with just what it needs' : `without ${show(missing)}`}`,
      row,
      missing,
      user: `user${tag}-${i}-${j}`,
      vhost: `vhost${tag}-${i}-${j}`,
    })),
  );
}

function show({ operation, resource, name, exchange }: Need): string {
  const shown = resource === 'exchange' && name === '' ? 'amq.default' : name;
  return `${operation} of ${resource} ${shown}${exchange === undefined ? '' : ` in ${exchange}`}`;
}

/** What RabbitMQ says of it, and so do we. */
export function refusalOf({ missing, user, vhost }: Case<Row>): RegExp {
  const { operation, resource, name, exchange } = missing!;
  const shown = typeof name === 'string' ? escapePattern(name === '' ? 'amq.default' : name) : name.source;
  const place = exchange === undefined ? '' : ` in exchange '${exchange}'`;
  return new RegExp(
    `${operation} access to ${resource} '${shown}'${place} in vhost '${vhost}' refused for user '${user}'$`,
  );
}

const escapePattern = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

type SeedUsers = Config['users'];

/** A user for each case, with the exact permissions. */
export function usersOf(cases: readonly Case<Row>[]): SeedUsers {
  const users: SeedUsers = {};
  for (const { row, missing, user, vhost } of cases) {
    const needs = row.needs.filter((need) => need !== missing);
    const patternOf = (operation: Operation, wanted: readonly Need[]): string => {
      const names = wanted.filter((need) => need.operation === operation).map(({ name }) => name);
      const each = names.map((name) => (typeof name === 'string' ? escapePattern(name || 'amq.default') : name.source));
      return each.length === 0 ? '' : `^(${each.join('|')})$`;
    };
    const resources = needs.filter(({ resource }) => resource !== 'topic');
    const topicPermissions: Record<string, { write: string; read: string }> = {};
    for (const { exchange } of row.needs) {
      if (exchange === undefined) continue;
      const topics = needs.filter((need) => need.exchange === exchange);
      topicPermissions[exchange] = { write: patternOf('write', topics), read: patternOf('read', topics) };
    }
    users[user] = {
      ...plainUser,
      permissions: {
        [vhost]: {
          configure: patternOf('configure', resources),
          write: patternOf('write', resources),
          read: patternOf('read', resources),
        },
      },
      topicPermissions: { [vhost]: topicPermissions },
    };
  }
  return users;
}

export const plainUser: SeedUsers[string] = {
  password: 'pw',
  hashingAlgorithm: 'rabbit_password_hashing_sha256',
  tags: [],
  loopbackOnly: false,
};

/** A server in this process, on free ports. */
export class AccessServer {
  readonly server: Server;
  private readonly folder: string;

  private constructor(server: Server, folder: string) {
    this.server = server;
    this.folder = folder;
  }

  static async start(users: SeedUsers, change: (config: Config) => Config = (config) => config): Promise<AccessServer> {
    const folder = mkdtempSync(join(tmpdir(), 'rosettamq-access-'));
    const listeners = Object.fromEntries(
      Object.entries(defaults.listeners).map(([name, listener]) => [name, { ...listener, host: '127.0.0.1', port: 0 }]),
    );
    const config: Config = {
      ...defaults,
      dataDir: folder,
      listeners,
      users: { ...defaults.users, ...users },
      auth: { scryptCost: 1024 },
    };
    const server = await Server.start({ config: change(config), log: silent, version: '0' });
    countWrites(server.broker.journal);
    return new AccessServer(server, folder);
  }

  get users(): Users {
    return this.server.broker.authenticator as Users;
  }

  /** Resolves when what the broker does on its own account, after a client has gone, has come to pass. */
  until(isSo: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => (isSo() ? resolve() : void setImmediate(look));
      look();
    });
  }

  port(listener: string): number {
    return this.server.listening.find(({ name }) => name === listener)!.port;
  }

  async stop(): Promise<void> {
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * A virtual host with the exchanges `orders` (direct), `news` (topic), `logs` (fanout), and the queue `work`, bound
   * to `orders` with key `k`, to `news` with `a.b`, in which one message waits; `logs` is bound to `news` and `orders`; a
   * message is retained for the topic `kept`. The queue `c1.gone` is that of a durable subscription nobody uses.
   */
  makeWorld(name: string): Vhost {
    const vhost = this.server.broker.createVhost(name);
    const client = createClient(vhost);
    for (const [exchange, type] of exchanges) {
      vhost.declareExchange(client, {
        name: exchange,
        type,
        durable: true,
        autoDelete: false,
        internal: false,
        arguments: noHeaders,
      });
    }
    const declare = (queue: string) =>
      vhost.declareQueue(client, {
        name: queue,
        durable: true,
        autoDelete: false,
        exclusiveTo: null,
        arguments: noHeaders,
      });
    const work = declare('work');
    declare('c1.gone');
    vhost.bind(client, 'orders', work, 'k', noHeaders);
    vhost.bind(client, 'news', work, 'a.b', noHeaders);
    for (const source of ['news', 'orders']) vhost.bind(client, source, vhost.getExchange('logs'), 'a.b', noHeaders);
    vhost.publish(vhost.routeFor('', 'work'), createMessage('waits', { key: 'work', durable: true }), null, 0);
    vhost.retained.set(createMessage('retained', { exchange: 'amq.topic', key: 'kept', properties: {} }));
    return vhost;
  }
}

const exchanges: readonly (readonly [string, ExchangeType])[] = [
  ['orders', 'direct'],
  ['news', 'topic'],
  ['logs', 'fanout'],
];

/** States written to the journal, by the virtual host that their keys begin with. */
const written = new Map<string, number>();

function countWrites(journal: Journal): void {
  const count = (key: string): void => {
    const vhost = key.split('\0', 1)[0]!;
    written.set(vhost, (written.get(vhost) ?? 0) + 1);
  };
  const [put, remove] = [journal.put.bind(journal), journal.delete.bind(journal)];
  journal.put = (kind, key, value) => {
    count(key);
    return put(kind, key, value);
  };
  journal.delete = (kind, key) => {
    count(key);
    return remove(kind, key);
  };
}

/** All that a refused operation might have changed. */
export function snapshot(vhost: Vhost): object {
  return {
    exchanges: [...vhost.exchanges.values()].map(({ spec, bindings, publishedIn }) => ({
      ...spec,
      publishedIn,
      bindings: [...bindings.keys()],
    })),
    queues: [...vhost.queues.values()].map(({ spec, counts, bindings }) => ({
      ...spec,
      exclusiveTo: spec.exclusiveTo?.id,
      counts: { ...counts },
      bindings: bindings.size,
    })),
    retained: vhost.retained.match([anyWords], 0).map(({ routingKey, body }) => `${routingKey}: ${body}`),
    published: vhost.publishedIn,
    journaled: written.get(vhost.name) ?? 0,
  };
}
