import type { Target } from './exchange/binding.ts';
import type { Route } from './exchange/route.ts';
import type { Position } from './journal.ts';
import type { Message } from './message.ts';
import type { DeadLetterAddress } from './queue/dead-letter.ts';
import type { QueueEntry } from './queue/entry.ts';
import type { Queue } from './queue/queue.ts';
import type { Vhost } from './vhost.ts';

/** An address: rejected, and dead-lettered there if its queue has no address of its own. */
export type Settlement = 'ack' | 'requeue' | 'reject' | DeadLetterAddress;

/**
 * Publishes and settlements that happen together or not at all. They are gathered here, without a trace elsewhere,
 * and applied in one turn: what the journal appends in one turn is one atomic unit.
 */
export class Transaction {
  private readonly vhost: Vhost;
  private routes: Route[] = [];
  private messages: Message[] = [];
  private entries: QueueEntry[] = [];
  private settlements: Settlement[] = [];
  /** Octets of the messages gathered, for limits on open transactions. */
  bytes = 0;

  constructor(vhost: Vhost) {
    this.vhost = vhost;
  }

  /** Messages gathered. */
  get published(): number {
    return this.messages.length;
  }

  get empty(): boolean {
    return this.messages.length === 0 && this.entries.length === 0;
  }

  /** The message is copied out of the chunk that it was read from: the commit comes in a later one. */
  publish(route: Route, message: Message): void {
    message.rest();
    this.routes.push(route);
    this.messages.push(message);
    this.bytes += message.end - message.start;
  }

  settle(entry: QueueEntry, settlement: Settlement): void {
    this.entries.push(entry);
    this.settlements.push(settlement);
  }

  /**
   * Applies everything in the order in which it came, publishes first, and begins anew.
   * @param onUnroutable called for each message that reaches no queue
   * @returns the position to wait for before the commit is promised, or null when a queue would refuse one of the
   * messages: then nothing was applied, and the transaction is as it was
   */
  commit(onUnroutable: ((message: Message) => void) | null): Position | null {
    const { vhost, messages, entries, settlements } = this;
    const routes = this.routes.map((route) => vhost.refresh(route));
    if (this.isRefused(routes)) return null;
    this.begin();
    for (const [i, message] of messages.entries()) {
      if (vhost.publish(routes[i]!, message, null, 0) === 'unroutable') onUnroutable?.(message);
    }
    const queues = new Set<Queue>();
    for (const [i, entry] of entries.entries()) {
      settleEntry(entry, settlements[i]!);
      queues.add(entry.queue);
    }
    for (const queue of queues) queue.wake();
    return vhost.journal.position;
  }

  /** Forgets the publishes. @returns the entries that were to be settled, in the hands of the caller again */
  rollback(): readonly QueueEntry[] {
    const { entries } = this;
    this.begin();
    return entries;
  }

  private begin(): void {
    this.routes = [];
    this.messages = [];
    this.entries = [];
    this.settlements = [];
    this.bytes = 0;
  }

  private isRefused(routes: readonly Route[]): boolean {
    const { writable } = this.vhost.journal;
    const sums = new Map<Queue, { count: number; bytes: number }>();
    for (const [i, message] of this.messages.entries()) {
      const route = routes[i]!;
      if ((message.timing !== null || route.exchange.delays) && this.vhost.findTiming(route, message) !== null) {
        if (!writable && message.durable && route.exchange.spec.durable) return true;
        continue; // no queue gets it yet
      }
      const targets: readonly Target[] = this.vhost.targetsOf(route, message);
      for (const { queue } of targets) {
        if (!writable && queue.keeps(message)) return true;
        const sum = sums.get(queue) ?? { count: 0, bytes: 0 };
        sum.count += 1;
        sum.bytes += message.bodyBytes;
        sums.set(queue, sum);
      }
    }
    for (const [queue, { count, bytes }] of sums) if (!queue.accepts(count, bytes)) return true;
    return false;
  }
}

export function settleEntry(entry: QueueEntry, settlement: Settlement): void {
  switch (settlement) {
    case 'ack':
      return entry.ack();
    case 'requeue':
      return entry.requeue();
    case 'reject':
      return entry.reject();
    default:
      return entry.reject(settlement);
  }
}
