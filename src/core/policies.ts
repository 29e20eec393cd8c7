import { splitKey } from './definitions.ts';
import { BrokerError } from './errors.ts';
import type { Journal } from './journal.ts';

export type PolicyTarget = 'queues' | 'exchanges' | 'all';
export type PolicyValue = string | number | boolean;

/** Arguments given from outside to the queues and exchanges whose names match. */
export interface Policy {
  readonly name: string;
  /** A regular expression. */
  readonly pattern: string;
  readonly applyTo: PolicyTarget;
  /** Of several that match, the highest alone holds. */
  readonly priority: number;
  /** Keys as arguments without their `x-`: `message-ttl`, `max-length`, `dead-letter-exchange`, … */
  readonly definition: Readonly<Record<string, PolicyValue>>;
}

export const policyKind = 'policy';

const known: Readonly<Record<string, 'number' | 'string'>> = {
  'message-ttl': 'number',
  expires: 'number',
  'max-length': 'number',
  'max-length-bytes': 'number',
  overflow: 'string',
  'dead-letter-exchange': 'string',
  'dead-letter-routing-key': 'string',
  'alternate-exchange': 'string',
  'delivery-limit': 'number',
};
/** Of clusters and other storage: taken from definitions of elsewhere, and without effect. */
const ignored = /^(ha-|queue-|federation-|queue-version$|target-group-size$|max-in-memory-)/;

/** The policies of one virtual host. */
export class Policies {
  private readonly byName = new Map<string, { policy: Policy; pattern: RegExp }>();
  private readonly vhost: string;
  private readonly journal: Journal;

  constructor(vhost: string, journal: Journal) {
    this.vhost = vhost;
    this.journal = journal;
  }

  all(): Policy[] {
    return [...this.byName.values()].map(({ policy }) => policy);
  }

  get(name: string): Policy | undefined {
    return this.byName.get(name)?.policy;
  }

  /** The one that holds for a queue or exchange. */
  find(kind: 'queues' | 'exchanges', name: string): Policy | undefined {
    let found: Policy | undefined;
    for (const { policy, pattern } of this.byName.values()) {
      if (policy.applyTo !== 'all' && policy.applyTo !== kind) continue;
      if ((found === undefined || policy.priority > found.priority) && pattern.test(name)) found = policy;
    }
    return found;
  }

  /** @throws BrokerError invalid-field naming what is wrong */
  set(policy: Policy): void {
    this.put(policy);
    this.journal.put(policyKind, `${this.vhost}\0${policy.name}`, Buffer.from(JSON.stringify(policy), 'utf8'));
  }

  delete(name: string): boolean {
    if (!this.byName.delete(name)) return false;
    this.journal.delete(policyKind, `${this.vhost}\0${name}`);
    return true;
  }

  /** What the journal remembers. */
  restore(value: Buffer): void {
    this.put(JSON.parse(value.toString('utf8')) as Policy);
  }

  private put(policy: Policy): void {
    for (const [key, value] of Object.entries(policy.definition)) {
      const type = known[key];
      if (type === undefined && ignored.test(key)) continue;
      if (type === undefined)
        throw invalid(policy.name, `[{<<"${key}">>, ${JSON.stringify(value)}}] are not recognised`);
      const isRight = type === 'string' ? typeof value === 'string' : Number.isInteger(value) && (value as number) >= 0;
      if (!isRight) throw invalid(policy.name, `${JSON.stringify(value)} is not a valid value of '${key}'`);
    }
    if (Object.keys(policy.definition).length === 0) throw invalid(policy.name, 'the definition is empty');
    let pattern: RegExp;
    try {
      pattern = new RegExp(policy.pattern);
    } catch (error) {
      throw invalid(policy.name, `'${policy.pattern}' is no pattern: ${(error as Error).message}`);
    }
    this.byName.set(policy.name, { policy, pattern });
  }
}

export function vhostOfPolicy(key: string): string {
  return splitKey(key)[0];
}

function invalid(name: string, why: string): BrokerError {
  return new BrokerError('invalid-field', `policy '${name}': ${why}`);
}
