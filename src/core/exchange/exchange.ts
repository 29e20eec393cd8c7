import type { Message } from '../message.ts';
import { mergeDefinitions, type Policy, type PolicyDefinition } from '../policies.ts';
import type { Headers } from '../properties.ts';
import type { Schedule } from '../schedule.ts';
import type { Binding } from './binding.ts';
import { ConsistentHashMatcher, readHashOn } from './consistent-hash.ts';
import { delayedType, routingTypeOf } from './delay.ts';
import { DirectMatcher } from './direct.ts';
import { FanoutMatcher } from './fanout.ts';
import { checkMode, HeadersMatcher } from './headers.ts';
import { TopicMatcher } from './topic.ts';

export type ExchangeType = 'direct' | 'topic' | 'fanout' | 'headers' | 'x-consistent-hash' | 'x-delayed-message';

export const exchangeTypes: readonly ExchangeType[] = [
  'direct',
  'topic',
  'fanout',
  'headers',
  'x-consistent-hash',
  delayedType,
];

/** How one exchange type finds the bindings that match. */
export interface Matcher {
  add(binding: Binding): void;
  remove(binding: Binding): void;
  /** @param message null while a route is memoised: a matcher that needs it says so with `readsHeaders`. */
  match(routingKey: string, message: Message | null, found: Binding[]): void;
  readonly readsHeaders: boolean;
  /** Why `match` found the binding, or did not: a sentence for people. */
  explain(binding: Binding, matched: boolean, routingKeys: readonly string[], message: Message): string;
}

export interface ExchangeSpec {
  readonly name: string;
  readonly type: ExchangeType;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  readonly internal: boolean;
  readonly arguments: Headers;
}

/** A name to publish to, and the bindings that lead from it. */
export class Exchange {
  readonly spec: ExchangeSpec;
  readonly matcher: Matcher;
  /** What it is to route at a later time; made when the first such message comes. */
  schedule: Schedule | null = null;
  /** Messages may say with a header that they are for later. */
  readonly delays: boolean;
  /** Bindings from this exchange, by destination, key and arguments. */
  readonly bindings = new Map<string, Binding>();
  /** Bindings from other exchanges to this one. */
  readonly sources = new Set<Binding>();
  deleted = false;
  publishedIn = 0;
  /** To queues: a message counts once for each that it is given to. */
  publishedOut = 0;
  /** The policies that hold for it. */
  policy: Policy | null = null;
  operatorPolicy: Policy | null = null;

  constructor(spec: ExchangeSpec) {
    this.spec = spec;
    this.delays = spec.type === delayedType;
    this.matcher = createMatcher(spec);
  }

  get name(): string {
    return this.spec.name;
  }

  /** Where goes what no binding takes: as declared, else as a policy says. */
  get alternateExchange(): string | null {
    const name = this.spec.arguments.get('alternate-exchange') ?? this.policyDefinition['alternate-exchange'];
    return typeof name === 'string' ? name : null;
  }

  /** Both policies together, as they are in force. */
  get policyDefinition(): PolicyDefinition {
    return mergeDefinitions(this.policy?.definition ?? {}, this.operatorPolicy?.definition ?? {});
  }
}

/** @throws BrokerError precondition-failed when a binding from such an exchange cannot be meant so */
export function checkBinding(spec: ExchangeSpec, key: string, args: Headers): void {
  const type = routingTypeOf(spec.type, spec.arguments, exchangeTypes);
  if (type === 'x-consistent-hash') ConsistentHashMatcher.checkWeight(key);
  else if (type === 'headers') checkMode(args);
}

/** @throws BrokerError precondition-failed */
function createMatcher({ type, arguments: args }: ExchangeSpec): Matcher {
  switch (routingTypeOf(type, args, exchangeTypes)) {
    case 'direct':
      return new DirectMatcher();
    case 'topic':
      return new TopicMatcher();
    case 'fanout':
      return new FanoutMatcher();
    case 'headers':
      return new HeadersMatcher();
    case 'x-consistent-hash':
      return new ConsistentHashMatcher(readHashOn(args));
    case delayedType:
      throw new Error('a delayed exchange routes as another type does');
  }
}
