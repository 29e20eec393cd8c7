import { splitKey } from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Journal } from './journal.ts';
import type { Headers, Value } from './properties.ts';
import { foreignArguments, isInteger, readQueueArguments } from './queue/arguments.ts';

/** What a policy is for; `queues` are those of all types. */
export const policyTargets = ['all', 'queues', 'classic_queues', 'quorum_queues', 'streams', 'exchanges'] as const;
export type PolicyTarget = (typeof policyTargets)[number];
/** What a policy can hold for. */
export type PolicyKind = 'classic_queues' | 'quorum_queues' | 'exchanges';
export type PolicyValue = string | number | boolean;
/** Keys are arguments without their `x-`: `message-ttl`, `max-length`, `dead-letter-exchange`, … */
export type PolicyDefinition = Readonly<Record<string, PolicyValue>>;

/** Arguments given from outside to the queues and exchanges whose names match. */
export interface Policy {
  readonly name: string;
  /** A regular expression. */
  readonly pattern: string;
  readonly applyTo: PolicyTarget;
  /** Of several that match, the highest alone holds. */
  readonly priority: number;
  readonly definition: PolicyDefinition;
}

export const policyKind = 'policy';
export const operatorPolicyKind = 'operator-policy';

const types: Readonly<Record<string, 'number' | 'string' | 'boolean' | 'any'>> = {
  'message-ttl': 'number',
  expires: 'number',
  'max-length': 'number',
  'max-length-bytes': 'number',
  'delivery-limit': 'number',
  overflow: 'string',
  'dead-letter-exchange': 'string',
  'dead-letter-routing-key': 'string',
  'dead-letter-strategy': 'string',
  'alternate-exchange': 'string',
  'queue-mode': 'string',
  'queue-version': 'number',
  'deadLetter.default': 'any',
  'retry-delays': 'string',
  'priority-mode': 'string',
  'priority-weights': 'string',
  'message-groups': 'boolean',
  'last-value-key': 'string',
  deduplication: 'boolean',
  'deduplication-window': 'any',
  'ack-timeout': 'any',
  'rate-limit': 'string',
  'on-loss': 'string',
  redeclare: 'string',
};
/** What an operator may cap [RabbitMQ: parameters and policies, operator policies]. */
const operatorKeys: ReadonlySet<string> = new Set([
  ...['expires', 'message-ttl', 'max-length', 'max-length-bytes', 'delivery-limit', 'overflow', 'rate-limit'],
  ...['max-in-memory-length', 'max-in-memory-bytes', 'target-group-size'],
]);
/** Of clusters, streams and other storage: taken from definitions of elsewhere, and without effect. */
const ignored =
  /^(ha-|queue-leader-locator$|queue-master-locator$|federation-|target-group-size$|max-in-memory-|max-age$|stream-|initial-cluster-size$|filter-field-names$)/;
/** They say how much: of two the smaller holds. */
const least: ReadonlySet<string> = new Set([
  ...['message-ttl', 'expires', 'max-length', 'max-length-bytes', 'delivery-limit'],
]);

/** The policies of one virtual host, its users' or its operators'. */
export class Policies {
  /** A policy came, changed or went: what it is for is to be looked at anew. */
  onChanged: () => void = () => {};
  private readonly byName = new Map<string, { policy: Policy; pattern: RegExp }>();
  private readonly vhost: string;
  private readonly journal: Journal;
  private readonly kind: typeof policyKind | typeof operatorPolicyKind;

  constructor(vhost: string, journal: Journal, kind: typeof policyKind | typeof operatorPolicyKind) {
    this.vhost = vhost;
    this.journal = journal;
    this.kind = kind;
  }

  all(): Policy[] {
    return [...this.byName.values()].map(({ policy }) => policy);
  }

  get(name: string): Policy | undefined {
    return this.byName.get(name)?.policy;
  }

  /** The one that holds for a queue or exchange. */
  find(kind: PolicyKind, name: string): Policy | undefined {
    let found: Policy | undefined;
    for (const { policy, pattern } of this.byName.values()) {
      if (!isFor(policy.applyTo, kind)) continue;
      if ((found === undefined || policy.priority > found.priority) && pattern.test(name)) found = policy;
    }
    return found;
  }

  /** @throws BrokerError invalid-field naming what is wrong */
  set(policy: Policy): void {
    this.put(policy);
    this.journal.put(this.kind, `${this.vhost}\0${policy.name}`, Buffer.from(JSON.stringify(policy), 'utf8'));
    this.onChanged();
  }

  delete(name: string): boolean {
    if (!this.byName.delete(name)) return false;
    this.journal.delete(this.kind, `${this.vhost}\0${name}`);
    this.onChanged();
    return true;
  }

  /** What the journal remembers. */
  restore(value: Buffer): void {
    this.put(JSON.parse(value.toString('utf8')) as Policy);
    this.onChanged();
  }

  private put(policy: Policy): void {
    for (const [key, value] of Object.entries(policy.definition)) this.check(policy.name, key, value);
    if (Object.keys(policy.definition).length === 0) throw invalid(policy.name, 'the definition is empty');
    let pattern: RegExp;
    try {
      pattern = new RegExp(policy.pattern);
    } catch (error) {
      throw invalid(policy.name, `'${policy.pattern}' is no pattern: ${(error as Error).message}`);
    }
    this.byName.set(policy.name, { policy, pattern });
  }

  /** May a definition have it? */
  knows(key: string): boolean {
    const isKnown = types[key] !== undefined || ignored.test(key);
    return isKnown && (this.kind !== operatorPolicyKind || operatorKeys.has(key));
  }

  private check(name: string, key: string, value: PolicyValue): void {
    const type = types[key];
    if (!this.knows(key)) {
      throw invalid(name, `[{<<"${key}">>,${JSON.stringify(value)}}] are not recognised policy settings`);
    }
    if (type === undefined) return;
    const isAmount = Number.isInteger(value) && ((value as number) >= 0 || key === 'delivery-limit');
    const isRight = type === 'any' || (type === 'number' ? isAmount : type === typeof value);
    if (!isRight) throw invalid(name, `${JSON.stringify(value)} is not a valid value of '${key}'`);
    if (key === 'alternate-exchange' || key === 'dead-letter-routing-key') return;
    // of quorum queues alone: the others leave it aside
    if (key === 'dead-letter-strategy' && (value === 'at-most-once' || value === 'at-least-once')) return;
    try {
      readQueueArguments(withDefinition(new Map(), { [key]: value }), 'policy');
    } catch {
      throw invalid(name, `${JSON.stringify(value)} is not a valid value of '${key}'`);
    }
  }
}

function isFor(target: PolicyTarget, kind: PolicyKind): boolean {
  return target === 'all' || target === kind || (target === 'queues' && kind !== 'exchanges');
}

/** What a user's and an operator's policy say together: the smaller number, else the operator's word. */
export function mergeDefinitions(policy: PolicyDefinition, operator: PolicyDefinition): PolicyDefinition {
  const merged: Record<string, PolicyValue> = { ...policy };
  for (const [key, value] of Object.entries(operator)) {
    const other = policy[key];
    merged[key] = least.has(key) && other !== undefined ? smaller(other as number, value as number) : value;
  }
  return merged;
}

// A limit below 0 is none [RabbitMQ: delivery-limit].
function smaller(a: number, b: number): number {
  return a < 0 || b < 0 ? Math.max(a, b) : Math.min(a, b);
}

/**
 * Arguments as they hold under a policy: of two numbers that say how much the smaller, else what the declaration says
 * [RabbitMQ: parameters and policies, «what happens when a policy and an argument are both given»].
 */
export function withDefinition(args: Headers, definition: PolicyDefinition): Headers {
  const merged = new Map<string, Value>(args);
  for (const [key, value] of Object.entries(definition)) {
    if (ignored.test(key)) continue;
    const name = argumentOf(key);
    const own = args.get(name);
    const given = toArgument(key, value);
    if (
      own === undefined ||
      (least.has(key) && isInteger(own) && smaller(Number(own.value), Number(value)) !== Number(own.value))
    ) {
      merged.set(name, given);
    }
  }
  leaveAside(merged, args);
  return merged;
}

// What a declaration is refused for a policy may well meet: it is written for many queues.
function leaveAside(merged: Map<string, Value>, args: Headers): void {
  const type = args.get('x-queue-type') === 'quorum' ? 'quorum' : 'classic';
  for (const name of foreignArguments[type]) if (!args.has(name)) merged.delete(name);
  if (!merged.has('x-dead-letter-exchange')) merged.delete('x-dead-letter-routing-key');
  const [weights, max] = [merged.get('x-priority-weights'), args.get('x-max-priority')];
  if (typeof weights !== 'string' || args.has('x-priority-weights') || max === undefined || !isInteger(max)) return;
  const levels = Number(max.value) + 1;
  merged.set('x-priority-weights', weights.split(',').slice(0, levels).join(','));
}

function argumentOf(key: string): string {
  if (key === 'alternate-exchange') return key;
  return key === 'deadLetter.default' ? 'x-dead-letter-default' : `x-${key}`;
}

function toArgument(key: string, value: PolicyValue): Value {
  if (key === 'deadLetter.default') return value === true || value === 'on';
  return typeof value === 'number' ? { type: 'long', value: BigInt(value) } : value;
}

export function vhostOfPolicy(key: string): string {
  return splitKey(key)[0];
}

function invalid(name: string, why: string): BrokerError {
  return new BrokerError('invalid-field', `policy '${name}': ${why}`);
}
