import type { Message } from '../message.ts';
import { mergeDefinitions, type Policy, type PolicyDefinition, type PolicyKind, withDefinition } from '../policies.ts';
import type { Headers } from '../properties.ts';
import { type QueueOptions, readQueueArguments } from './arguments.ts';
import { isDeadLetterQueue } from './dead-letter.ts';
import type { QueueOwner } from './queue-owner.ts';
import type { QueueSpec } from './spec.ts';

/** What a queue was declared as, the policies that hold for it, and what both together ask of it. */
export abstract class DeclaredQueue {
  /** As declared, or as migrated by a later declaration. */
  spec: QueueSpec;
  id: number;
  /** The policies that hold for it. */
  policy: Policy | null = null;
  operatorPolicy: Policy | null = null;
  /** Both together, as they are in force. */
  policyDefinition: PolicyDefinition = {};
  /** The arguments as they are in force: the declaration's under the policies. */
  effective: Headers;
  options: QueueOptions;

  protected readonly owner: QueueOwner;
  private journaled: boolean;

  constructor(spec: QueueSpec, id: number, owner: QueueOwner) {
    this.spec = spec;
    this.id = id;
    this.owner = owner;
    this.journaled = id !== 0;
    this.effective = spec.arguments;
    this.options = readQueueArguments(spec.arguments, this.what);
  }

  get name(): string {
    return this.spec.name;
  }

  // In RabbitMQ's words, for errors.
  protected get what(): string {
    return `queue '${this.name}' in vhost '${this.owner.name}'`;
  }

  /** Which policies are for it. */
  get policyKind(): PolicyKind {
    return this.options.type === 'quorum' ? 'quorum_queues' : 'classic_queues';
  }

  /** The message, once it is in the queue, is to outlive a crash. */
  keeps(message: Message): boolean {
    return this.journaled && (message.durable || this.options.type === 'quorum');
  }

  /** Policies came, changed or went: what they say holds at once, for what waits already too. */
  govern(policy: Policy | null, operatorPolicy: Policy | null): void {
    this.policy = policy;
    this.operatorPolicy = operatorPolicy;
    this.policyDefinition = mergeDefinitions(policy?.definition ?? {}, operatorPolicy?.definition ?? {});
    this.change();
  }

  /** From now on it outlives a crash, with what is published from now on. */
  becomeDurable(id: number): void {
    this.spec = { ...this.spec, durable: true };
    this.id = id;
    this.journaled = true;
  }

  /** Declared again with other arguments, where that changes them. */
  migrate(args: Headers): void {
    this.spec = { ...this.spec, arguments: args };
    this.change();
  }

  private change(): void {
    const effective = new Map(withDefinition(this.spec.arguments, this.policyDefinition));
    if (isDeadLetterQueue(this.name)) effective.delete('x-dead-letter-default');
    this.effective = effective;
    this.configure(readQueueArguments(effective, this.what));
  }

  /** Makes these its `options`, and the queue what they ask for. */
  protected abstract configure(options: QueueOptions): void;
}
