import { z } from 'zod';
import { type Algorithm, algorithms } from '../auth/password.ts';
import type { Access } from '../core/auth.ts';
import { BrokerError } from '../core/errors.ts';
import { Exchange, type ExchangeType, exchangeTypes } from '../core/exchange/exchange.ts';
import type { Policies, PolicyDefinition, PolicyTarget } from '../core/policies.ts';
import { policyTargets } from '../core/policies.ts';
import type { LocalQueue } from '../core/queue/local-queue.ts';
import type { Vhost } from '../core/vhost.ts';
import { headersFromJson, headersToJson } from './arguments.ts';
import type { Management } from './context.ts';
import { badRequest } from './errors.ts';
import { showPolicy } from './policy-json.ts';
import { apiVersion } from './product.ts';
import { readQueueType } from './queue-type.ts';
import { createApiClient } from './requester.ts';
import { readTags } from './schemas.ts';
import { readHash, showUser } from './user-json.ts';
import { applyVhostLimits, isVhostLimits } from './vhost-limits.ts';

/**
 * Everything but the messages, in RabbitMQ's JSON: what it exports is taken, and what is exported here it takes
 * [RabbitMQ: definitions].
 */

const operatorComponent = 'operator_policy';

// — out —————————————————————————————————————————————————————————————————————————————————————————————————————————————

/** @param management with all that is to be in it */
export function exportDefinitions({ broker, users, permissions, parameters, node }: Management): object {
  const vhosts = [...broker.vhosts.values()];
  return {
    rabbit_version: apiVersion,
    rabbitmq_version: apiVersion,
    product_name: 'RosettaMQ',
    product_version: node.version,
    users: users.all().map(showUser),
    vhosts: vhosts.map(({ name, metadata, topicMapping }) => ({
      name,
      description: metadata.description,
      tags: metadata.tags,
      ...(metadata.defaultQueueType ? { default_queue_type: metadata.defaultQueueType } : {}),
      ...(topicMapping === 'exact' ? {} : { topic_mapping: topicMapping }),
      metadata: { description: metadata.description, tags: metadata.tags },
    })),
    permissions: [...permissions.all()].map(({ user, vhost, configure, write, read }) => ({
      user,
      vhost,
      configure,
      write,
      read,
    })),
    topic_permissions: [...permissions.allTopics()].map(({ user, vhost, exchange, write, read }) => ({
      user,
      vhost,
      exchange,
      write,
      read,
    })),
    parameters: [...parameters.all(), ...vhosts.flatMap(operatorPoliciesOf)],
    global_parameters: [...parameters.allGlobals()].map(([name, value]) => ({ name, value })),
    policies: vhosts.flatMap(policiesOf),
    queues: vhosts.flatMap((vhost) => queuesOf(vhost).map((queue) => ({ vhost: vhost.name, ...queue }))),
    exchanges: vhosts.flatMap((vhost) => exchangesOf(vhost).map((exchange) => ({ vhost: vhost.name, ...exchange }))),
    bindings: vhosts.flatMap((vhost) => bindingsOf(vhost).map((binding) => ({ vhost: vhost.name, ...binding }))),
  };
}

/** Of one virtual host, without its name: it can be brought into another. */
export function exportVhost(vhost: Vhost, { parameters }: Management): object {
  return {
    rabbit_version: apiVersion,
    rabbitmq_version: apiVersion,
    parameters: [...parameters.all().filter((each) => each.vhost === vhost.name), ...operatorPoliciesOf(vhost)].map(
      withoutVhost,
    ),
    policies: policiesOf(vhost).map(withoutVhost),
    queues: queuesOf(vhost),
    exchanges: exchangesOf(vhost),
    bindings: bindingsOf(vhost),
  };
}

function withoutVhost({ vhost: _, ...rest }: { vhost?: unknown }): object {
  return rest;
}

function policiesOf(vhost: Vhost): object[] {
  return vhost.policies.all().map((policy) => showPolicy(policy, vhost.name));
}

// RabbitMQ has operators' policies among the parameters.
function operatorPoliciesOf(vhost: Vhost): object[] {
  return vhost.operatorPolicies.all().map(({ name, pattern, applyTo, definition, priority }) => ({
    vhost: vhost.name,
    component: operatorComponent,
    name,
    value: { pattern, definition, priority, 'apply-to': applyTo },
  }));
}

// A connection's own queues go with it, and a session makes its own again.
function isLasting(queue: LocalQueue): boolean {
  return queue.spec.exclusiveTo === null && ![...queue.bindings].some(({ subscription }) => subscription !== null);
}

function queuesOf(vhost: Vhost): object[] {
  return [...vhost.queues.values()].filter(isLasting).map(({ spec }) => ({
    name: spec.name,
    durable: spec.durable,
    auto_delete: spec.autoDelete,
    arguments: headersToJson(spec.arguments),
  }));
}

function exchangesOf(vhost: Vhost): object[] {
  return [...vhost.exchanges.values()]
    .filter(({ name }) => name !== '' && !name.startsWith('amq.'))
    .map(({ spec }) => ({
      name: spec.name,
      type: spec.type,
      durable: spec.durable,
      auto_delete: spec.autoDelete,
      internal: spec.internal,
      arguments: headersToJson(spec.arguments),
    }));
}

function bindingsOf(vhost: Vhost): object[] {
  return [...vhost.exchanges.values()].flatMap((exchange) =>
    [...exchange.bindings.values()]
      .filter(({ destination }) => destination instanceof Exchange || isLasting(destination as LocalQueue))
      .map((binding) => ({
        source: exchange.name,
        destination: binding.destination.name,
        destination_type: binding.destination instanceof Exchange ? 'exchange' : 'queue',
        routing_key: binding.key,
        arguments: headersToJson(binding.arguments),
      })),
  );
}

// — in ——————————————————————————————————————————————————————————————————————————————————————————————————————————————

const table = z.record(z.string(), z.unknown()).default({});
const name = z.string();
const vhostName = z.string().optional();
const policyShape = {
  pattern: z.string(),
  definition: z.record(
    z.string(),
    // lists are of `ha-params` and its like, which have no effect
    z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).transform((list) => list.join(','))]),
  ),
  priority: z.number().default(0),
  'apply-to': z.enum(policyTargets).default('all'),
};
const tags = z.union([z.string(), z.array(z.string())]).default([]);

const shape = z.object({
  users: z
    .array(
      z.object({
        name,
        password: z.string().optional(),
        password_hash: z.string().optional(),
        hashing_algorithm: z.enum(algorithms).optional(),
        tags,
        limits: z.union([z.record(z.string(), z.number()), z.array(z.unknown()).length(0)]).optional(),
        loopback_only: z.boolean().optional(),
      }),
    )
    .default([]),
  vhosts: z
    .array(
      z.object({
        name,
        description: z.string().optional(),
        tags: tags.optional(),
        default_queue_type: z.string().nullish(),
        topic_mapping: z.enum(['exact', 'rabbitmq']).optional(),
        metadata: z.object({ description: z.string().optional(), tags: tags.optional() }).optional(),
      }),
    )
    .default([]),
  permissions: z
    .array(z.object({ user: name, vhost: vhostName, configure: z.string(), write: z.string(), read: z.string() }))
    .default([]),
  topic_permissions: z
    .array(z.object({ user: name, vhost: vhostName, exchange: z.string(), write: z.string(), read: z.string() }))
    .default([]),
  parameters: z.array(z.object({ vhost: vhostName, component: z.string(), name, value: z.unknown() })).default([]),
  global_parameters: z.array(z.object({ name, value: z.unknown() })).default([]),
  policies: z.array(z.object({ vhost: vhostName, name, ...policyShape })).default([]),
  queues: z
    .array(
      z.object({
        name,
        vhost: vhostName,
        durable: z.boolean().default(false),
        auto_delete: z.boolean().default(false),
        arguments: table,
      }),
    )
    .default([]),
  exchanges: z
    .array(
      z.object({
        name,
        vhost: vhostName,
        type: z.string().default('direct'),
        durable: z.boolean().default(false),
        auto_delete: z.boolean().default(false),
        internal: z.boolean().default(false),
        arguments: table,
      }),
    )
    .default([]),
  bindings: z
    .array(
      z.object({
        vhost: vhostName,
        source: name,
        destination: name,
        destination_type: z.enum(['queue', 'exchange']).default('queue'),
        routing_key: z.string().default(''),
        arguments: table,
      }),
    )
    .default([]),
});

type Definitions = z.infer<typeof shape>;

/** Definitions are the administrator's, who may do all of it. */
const everything: Access = { allows: () => true };

/**
 * Brings definitions in beside what there is. What changes nothing writes nothing; queues, exchanges and bindings that
 * are there already stay as they are, everything else is as the definitions say afterwards.
 * @param into the virtual host that definitions of one go into; null: they name theirs
 * @returns what only other brokers have: it is left out, and logged
 * @throws HttpError 400 naming the item that cannot be; what came before it is done
 */
export async function importDefinitions(
  json: unknown,
  into: Vhost | null,
  management: Management,
): Promise<readonly string[]> {
  const parsed = shape.safeParse(json);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw badRequest(`definitions: ${path.join('.')}: ${message.replace(/^Invalid input: /, '')}`);
  }
  const importer = new Importer(parsed.data, into, management);
  await importer.run();
  for (const what of importer.leftOut) management.broker.log.warn({ what }, 'definitions: left out');
  return importer.leftOut;
}

/** Parameters that mean something here. */
const knownComponents: ReadonlySet<string> = new Set(['vhost-limits', operatorComponent]);

class Importer {
  /** In words that name the item. */
  readonly leftOut: string[] = [];
  /** Names of exchanges and queues that were left out, after their virtual host's: so are their bindings. */
  private readonly absent = new Set<string>();
  private readonly definitions: Definitions;
  private readonly into: Vhost | null;
  private readonly management: Management;

  constructor(definitions: Definitions, into: Vhost | null, management: Management) {
    this.definitions = definitions;
    this.into = into;
    this.management = management;
  }

  async run(): Promise<void> {
    const { definitions, management } = this;
    const { permissions, parameters } = management;
    if (this.into === null) {
      for (const user of definitions.users) await this.attempt('user', user.name, () => this.putUser(user));
      for (const vhost of definitions.vhosts) await this.attempt('vhost', vhost.name, () => this.putVhost(vhost));
      for (const { name, value } of definitions.global_parameters) {
        if (!isSame(parameters.allGlobals().get(name), value)) parameters.setGlobal(name, value);
      }
    }
    for (const { user, vhost, ...permission } of definitions.permissions) {
      const { name } = this.vhost(vhost, `the permission of user '${user}'`);
      this.demandUser(user);
      const is = (current: unknown): boolean => isSame(current, permission);
      await this.attempt('permission of user', user, () => {
        if (!is(permissions.find(name, user))) permissions.set(name, user, permission);
      });
    }
    for (const { user, vhost, exchange, ...permission } of definitions.topic_permissions) {
      const { name } = this.vhost(vhost, `the topic permission of user '${user}'`);
      this.demandUser(user);
      await this.attempt('topic permission of user', user, () => {
        if (isSame(permissions.findTopics(name, user)?.get(exchange), permission)) return;
        permissions.setTopic(name, user, exchange, permission);
      });
    }
    for (const each of definitions.parameters)
      await this.attempt('parameter', each.name, () => this.putParameter(each));
    for (const { vhost, name, ...policy } of definitions.policies) {
      const { policies } = this.vhost(vhost, `policy '${name}'`);
      await this.attempt('policy', name, () => this.putKnown(policies, name, policy));
    }
    for (const each of definitions.exchanges) await this.attempt('exchange', each.name, () => this.putExchange(each));
    for (const each of definitions.queues) await this.attempt('queue', each.name, () => this.putQueue(each));
    for (const each of definitions.bindings) {
      await this.attempt('binding', `${each.source} → ${each.destination}`, () => this.putBinding(each));
    }
  }

  private async attempt(kind: string, name: string, put: () => void | Promise<void>): Promise<void> {
    try {
      await put();
    } catch (error) {
      if (error instanceof BrokerError) throw badRequest(`definitions: ${kind} '${name}': ${error.message}`);
      throw error;
    }
  }

  private vhost(name: string | undefined, what: string): Vhost {
    if (this.into !== null) return this.into;
    const vhost = name === undefined ? undefined : this.management.broker.vhosts.get(name);
    if (vhost !== undefined) return vhost;
    throw badRequest(
      `definitions: ${what} is in ${name === undefined ? 'no vhost' : `vhost '${name}', which is not there`}`,
    );
  }

  private demandUser(user: string): void {
    if (this.management.users.find(user) === undefined) {
      throw badRequest(`definitions: there is no user '${user}' to give a permission`);
    }
  }

  private async putUser(json: Definitions['users'][number]): Promise<void> {
    const { users } = this.management;
    const { name } = json;
    const current = users.find(name);
    const algorithm = json.hashing_algorithm as Algorithm | undefined;
    const loopbackOnly = json.loopback_only ?? current?.loopbackOnly ?? name === 'guest';
    const common = { tags: readTags(json.tags), loopbackOnly };
    if (json.password !== undefined) {
      const isSamePassword = current !== undefined && (await users.isPassword(name, json.password));
      if (isSamePassword && isSame([current.tags, current.loopbackOnly], [common.tags, loopbackOnly])) return;
      await users.put(name, { ...common, password: json.password, algorithm });
    } else {
      const passwordHash = readHash(json.password_hash ?? '', algorithm);
      const isUnchanged =
        current !== undefined &&
        current.password.hash === passwordHash.hash &&
        (passwordHash.hash === '' || current.password.algorithm === passwordHash.algorithm) &&
        isSame([current.tags, current.loopbackOnly], [common.tags, loopbackOnly]);
      if (!isUnchanged) await users.put(name, { ...common, passwordHash });
    }
    for (const [limit, value] of Object.entries(Array.isArray(json.limits) ? {} : (json.limits ?? {}))) {
      if (users.find(name)?.limits[limit] !== value) users.setLimit(name, limit, value as number);
    }
  }

  private putVhost(json: Definitions['vhosts'][number]): void {
    const { broker } = this.management;
    const vhost = broker.createVhost(json.name, undefined, json.topic_mapping);
    const given = json.tags ?? json.metadata?.tags;
    const metadata = {
      description: json.description ?? json.metadata?.description ?? vhost.metadata.description,
      tags: given === undefined ? vhost.metadata.tags : readTags(given),
      defaultQueueType:
        json.default_queue_type === undefined || json.default_queue_type === null
          ? (vhost.metadata.defaultQueueType ?? null)
          : readQueueType(json.default_queue_type),
      protectedFromDeletion: vhost.metadata.protectedFromDeletion,
    };
    if (!isSame(metadata, vhost.metadata)) broker.createVhost(json.name, metadata);
  }

  private putParameter(json: Definitions['parameters'][number]): void {
    const { parameters } = this.management;
    const vhost = this.vhost(json.vhost, `parameter '${json.name}'`);
    const { component, name, value } = json;
    if (component === operatorComponent) {
      const policy = z.object(policyShape).safeParse(value);
      if (!policy.success) throw new BrokerError('invalid-field', `operator policy '${name}' is none`);
      return this.putKnown(vhost.operatorPolicies, name, policy.data);
    }
    if (!knownComponents.has(component)) {
      this.leftOut.push(`parameter '${name}' of ${component}, which is kept and has no effect`);
    }
    if (isSame(parameters.get(vhost.name, component, name)?.value, value)) return;
    parameters.set({ vhost: vhost.name, component, name, value });
    if (isVhostLimits({ component, name })) applyVhostLimits(vhost, parameters);
  }

  private putExchange(json: Definitions['exchanges'][number]): void {
    const vhost = this.vhost(json.vhost, `exchange '${json.name}'`);
    if (vhost.exchanges.has(json.name) || json.name.startsWith('amq.')) return;
    if (!exchangeTypes.includes(json.type as ExchangeType)) {
      return this.leave(vhost, 'exchange', json.name, `of type ${json.type}`);
    }
    vhost.declareExchange(this.clientOf(vhost), {
      name: json.name,
      type: json.type as ExchangeType,
      durable: json.durable,
      autoDelete: json.auto_delete,
      internal: json.internal,
      arguments: headersFromJson(json.arguments),
    });
  }

  private putQueue(json: Definitions['queues'][number]): void {
    const vhost = this.vhost(json.vhost, `queue '${json.name}'`);
    if (vhost.queues.has(json.name)) return;
    const type = json.arguments['x-queue-type'];
    if (type === 'stream') return this.leave(vhost, 'queue', json.name, 'of type stream');
    // a name that some broker made up may come back
    const origin = json.name.startsWith('amq.') ? 'generated' : 'named';
    const spec = {
      name: json.name,
      durable: json.durable,
      autoDelete: json.auto_delete,
      exclusiveTo: null,
      arguments: headersFromJson(json.arguments),
    };
    vhost.declareQueue(this.clientOf(vhost), spec, origin);
  }

  private putBinding(json: Definitions['bindings'][number]): void {
    const vhost = this.vhost(json.vhost, `the binding of '${json.destination}'`);
    if (json.source === '') return; // to the default exchange everything is bound
    const client = this.clientOf(vhost);
    const isQueue = json.destination_type === 'queue';
    const ends = [nameOf(vhost, 'exchange', json.source), nameOf(vhost, json.destination_type, json.destination)];
    if (ends.some((end) => this.absent.has(end))) {
      this.leftOut.push(`binding '${json.source} → ${json.destination}' in vhost '${vhost.name}'`);
      return;
    }
    const destination = isQueue ? vhost.getQueue(json.destination, client) : vhost.getExchange(json.destination);
    vhost.bind(client, json.source, destination, json.routing_key, headersFromJson(json.arguments));
  }

  private leave(vhost: Vhost, kind: 'exchange' | 'queue', name: string, why: string): void {
    this.absent.add(nameOf(vhost, kind, name));
    this.leftOut.push(`${kind} '${name}' in vhost '${vhost.name}', ${why}`);
  }

  // Keys that nothing is known of are left out, and a policy that has no other.
  private putKnown(policies: Policies, name: string, json: PolicyJson): void {
    const all = Object.entries(json.definition);
    const known = all.filter(([key]) => policies.knows(key));
    const unknown = all.filter(([key]) => !policies.knows(key)).map(([key]) => `'${key}'`);
    if (unknown.length > 0) this.leftOut.push(`${unknown.join(', ')} of policy '${name}'`);
    if (known.length > 0 || all.length === 0)
      putPolicy(policies, name, { ...json, definition: Object.fromEntries(known) });
  }

  private clientOf(vhost: Vhost): ReturnType<typeof createApiClient> {
    return createApiClient('definitions', '', vhost, everything, this.management.broker.nowMs);
  }
}

function nameOf(vhost: Vhost, kind: 'exchange' | 'queue', name: string): string {
  return `${vhost.name}\0${kind}\0${name}`;
}

interface PolicyJson {
  readonly pattern: string;
  readonly definition: PolicyDefinition;
  readonly priority: number;
  readonly 'apply-to': PolicyTarget;
}

function putPolicy(policies: Policies, name: string, json: PolicyJson): void {
  const { pattern, definition, priority, 'apply-to': applyTo } = json;
  const policy = { name, pattern, applyTo, priority, definition };
  if (!isSame(policies.get(name), policy)) policies.set(policy);
}

// By value, whatever the order of keys.
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([x], [y]) => (x < y ? -1 : 1))
      .map(([key, each]) => [key, sorted(each)]),
  );
}
