import type { Access, Operation, Resource, TopicContext } from '../core/auth.ts';
import { BrokerError } from '../core/errors.ts';
import type { Journal, Recovered } from '../core/journal.ts';

/** Patterns of names; empty: none. */
export interface Permission {
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** Patterns of routing keys in one exchange. */
export interface TopicPermission {
  readonly write: string;
  readonly read: string;
}

const kind = 'permission';
const topicKind = 'topic-permission';
/** Names are the clients' choice: decisions beyond so many begin anew. */
const decisionsMax = 4096;

/** Who may do what where: by virtual host and user, and for topics by exchange too. */
export class Permissions {
  /** Told after the permissions of a user in a virtual host have changed. */
  onChanged: (vhost: string, user: string) => void = () => {};

  private readonly journal: Journal;
  private readonly byName = new Map<string, Permission>();
  private readonly topics = new Map<string, Map<string, TopicPermission>>();
  private readonly accesses = new Map<string, LiveAccess>();

  constructor(journal: Journal) {
    this.journal = journal;
  }

  restore(recovered: Recovered): void {
    for (const [key, value] of recovered.entries(kind)) this.byName.set(key, parse(value));
    for (const [key, value] of recovered.entries(topicKind)) {
      const at = key.lastIndexOf('\0');
      this.topicsOf(key.slice(0, at)).set(key.slice(at + 1), parse(value));
    }
  }

  /** @returns null when the user has no permission at all there: the virtual host is closed to them */
  findAccess(user: string, vhost: string): LiveAccess | null {
    const id = `${vhost}\0${user}`;
    if (!this.byName.has(id)) return null;
    let access = this.accesses.get(id);
    if (access === undefined) {
      access = new LiveAccess(user, vhost, this);
      this.accesses.set(id, access);
    }
    return access;
  }

  find(vhost: string, user: string): Permission | undefined {
    return this.byName.get(`${vhost}\0${user}`);
  }

  findTopics(vhost: string, user: string): ReadonlyMap<string, TopicPermission> | undefined {
    return this.topics.get(`${vhost}\0${user}`);
  }

  *all(): Iterable<{ vhost: string; user: string } & Permission> {
    for (const [key, permission] of this.byName) yield { ...split(key), ...permission };
  }

  *allTopics(): Iterable<{ vhost: string; user: string; exchange: string } & TopicPermission> {
    for (const [key, byExchange] of this.topics) {
      for (const [exchange, permission] of byExchange) yield { ...split(key), exchange, ...permission };
    }
  }

  /** @throws BrokerError invalid-field for a pattern that is none */
  set(vhost: string, user: string, { configure, write, read }: Permission): void {
    for (const pattern of [configure, write, read]) compile(pattern);
    const id = `${vhost}\0${user}`;
    const permission = { configure, write, read };
    this.byName.set(id, permission);
    this.journal.put(kind, id, Buffer.from(JSON.stringify(permission), 'utf8'));
    this.changed(vhost, user);
  }

  setTopic(vhost: string, user: string, exchange: string, { write, read }: TopicPermission): void {
    for (const pattern of [write, read]) compile(expand(pattern, (name) => name));
    const id = `${vhost}\0${user}`;
    const permission = { write, read };
    this.topicsOf(id).set(exchange, permission);
    this.journal.put(topicKind, `${id}\0${exchange}`, Buffer.from(JSON.stringify(permission), 'utf8'));
    this.changed(vhost, user);
  }

  /** @returns false when there is none */
  clear(vhost: string, user: string): boolean {
    const id = `${vhost}\0${user}`;
    if (!this.byName.delete(id)) return false;
    this.journal.delete(kind, id);
    this.changed(vhost, user);
    return true;
  }

  /** @param exchange undefined: of all exchanges */
  clearTopics(vhost: string, user: string, exchange?: string): boolean {
    const id = `${vhost}\0${user}`;
    const byExchange = this.topics.get(id);
    const names = [...(byExchange?.keys() ?? [])].filter((name) => exchange === undefined || name === exchange);
    for (const name of names) {
      byExchange?.delete(name);
      this.journal.delete(topicKind, `${id}\0${name}`);
    }
    if (byExchange?.size === 0) this.topics.delete(id);
    if (names.length > 0) this.changed(vhost, user);
    return names.length > 0;
  }

  deleteUser(user: string): void {
    this.deleteWhere((each) => each.user === user);
  }

  deleteVhost(vhost: string): void {
    this.deleteWhere((each) => each.vhost === vhost);
  }

  private deleteWhere(goes: (of: { vhost: string; user: string }) => boolean): void {
    for (const key of [...this.topics.keys()]) {
      const { vhost, user } = split(key);
      if (goes({ vhost, user })) this.clearTopics(vhost, user);
    }
    for (const key of [...this.byName.keys()]) {
      const { vhost, user } = split(key);
      if (goes({ vhost, user })) this.clear(vhost, user);
    }
  }

  private topicsOf(id: string): Map<string, TopicPermission> {
    let byExchange = this.topics.get(id);
    if (byExchange === undefined) {
      byExchange = new Map();
      this.topics.set(id, byExchange);
    }
    return byExchange;
  }

  private changed(vhost: string, user: string): void {
    this.accesses.get(`${vhost}\0${user}`)?.forget();
    this.onChanged(vhost, user);
  }
}

/** Held by connections for as long as they live; answers by the permissions as they are now. */
export class LiveAccess implements Access {
  private readonly user: string;
  private readonly vhost: string;
  private readonly permissions: Permissions;
  private readonly decisions = new Map<string, boolean>();

  constructor(user: string, vhost: string, permissions: Permissions) {
    this.user = user;
    this.vhost = vhost;
    this.permissions = permissions;
  }

  allows(operation: Operation, resource: Resource, name: string, topic?: TopicContext): boolean {
    const id = `${operation}\0${resource}\0${name}\0${topic?.exchange ?? ''}\0${topic?.clientId ?? ''}`;
    let decision = this.decisions.get(id);
    if (decision === undefined) {
      decision =
        resource === 'topic'
          ? this.decideTopic(operation, name, topic ?? { exchange: 'amq.topic', clientId: '' })
          : this.decide(operation, resource, name);
      if (this.decisions.size >= decisionsMax) this.decisions.clear();
      this.decisions.set(id, decision);
    }
    return decision;
  }

  forget(): void {
    this.decisions.clear();
  }

  private decide(operation: Operation, resource: Resource, name: string): boolean {
    const permission = this.permissions.find(this.vhost, this.user);
    if (permission === undefined) return false;
    const shown = resource === 'exchange' && name === '' ? 'amq.default' : name;
    return compile(permission[operation]).test(shown);
  }

  // Where no topic permission is set for the exchange, the permission on the exchange is enough [RabbitMQ: access control].
  private decideTopic(operation: Operation, key: string, { exchange, clientId }: TopicContext): boolean {
    if (this.permissions.find(this.vhost, this.user) === undefined) return false;
    const permission = this.permissions.findTopics(this.vhost, this.user)?.get(exchange);
    if (permission === undefined || operation === 'configure') return true;
    const values: Record<string, string> = { username: this.user, vhost: this.vhost, client_id: clientId };
    const pattern = expand(permission[operation], (name) =>
      (values[name] ?? '').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'),
    );
    return compile(pattern).test(key);
  }
}

/** `{username}`, `{vhost}` and `{client_id}` stand for themselves in patterns of topics, literally. */
function expand(pattern: string, replacement: (name: string) => string): string {
  return pattern.replace(/\{(username|vhost|client_id)\}/g, (_all, name: string) => replacement(name));
}

/**
 * The empty pattern matches no name but the empty one, as in RabbitMQ; `(?i)` in front is understood.
 * @throws BrokerError invalid-field
 */
export function compile(pattern: string): RegExp {
  try {
    if (pattern === '') return /^$/;
    return pattern.startsWith('(?i)') ? new RegExp(pattern.slice(4), 'i') : new RegExp(pattern);
  } catch (error) {
    throw new BrokerError('invalid-field', `'${pattern}' is no pattern: ${(error as Error).message}`);
  }
}

function split(key: string): { vhost: string; user: string } {
  const at = key.indexOf('\0');
  return { vhost: key.slice(0, at), user: key.slice(at + 1) };
}

function parse<T>(value: Buffer): T {
  return JSON.parse(value.toString('utf8')) as T;
}
