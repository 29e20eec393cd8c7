import { BrokerError, type Condition } from '../errors.ts';
import type { Binding, Match } from '../exchange/binding.ts';
import type { Journal } from '../journal.ts';
import type { Message } from '../message.ts';
import { QueueEntry } from './entry.ts';
import type { Consumer, Queue, QueueCounts, Verdict } from './queue.ts';
import { ReadyList } from './ready-list.ts';
import type { QueueSpec } from './spec.ts';

/** What a queue asks of its virtual host. */
export interface QueueOwner {
  readonly name: string;
  readonly journal: Journal;
  readonly nowMs: number;
  /** The last consumer left, or an auto-delete queue was otherwise done with. */
  queueUnused(queue: LocalQueue): void;
  /** Routes a refused or expired entry to where the queue's arguments say; the entry is settled by the caller. */
  deadLetter(entry: QueueEntry, reason: 'rejected' | 'expired'): void;
}

/** A queue in this process. */
export class LocalQueue implements Queue {
  readonly spec: QueueSpec;
  readonly id: number;
  readonly bindings = new Set<Binding>();
  deleted = false;
  publishedIn = 0;
  settled = 0;

  private readonly owner: QueueOwner;
  private readonly journaled: boolean;
  private readonly ready = new ReadyList();
  private unacked = 0;
  /** By priority, highest first; those of one priority take turns. */
  private readonly consumers: Consumer[] = [];
  private turn = 0;
  private hadConsumer = false;
  private unwritten: QueueEntry | null = null;
  /** Lent to consumers that settle by taking: saves an allocation for each such delivery. */
  private lent: QueueEntry | null = null;
  private dispatching = false;

  constructor(spec: QueueSpec, id: number, owner: QueueOwner) {
    this.spec = spec;
    this.id = id;
    this.owner = owner;
    this.journaled = id !== 0;
  }

  get name(): string {
    return this.spec.name;
  }

  get counts(): QueueCounts {
    return { ready: this.ready.length, unacked: this.unacked, consumers: this.consumers.length };
  }

  publish(message: Message, match: Match | null): Verdict {
    this.publishedIn += 1;
    if (this.ready.length === 0) {
      const consumer = this.nextConsumer();
      if (consumer !== null) {
        if (consumer.settles) this.handOver(consumer, message, match);
        else this.deliverNew(consumer, message, match);
        return 'accepted';
      }
    }
    const entry = this.makeEntry(message, match);
    this.ready.push(entry);
    return 'accepted';
  }

  takeUnwritten(): QueueEntry | null {
    const entry = this.unwritten;
    this.unwritten = null;
    return entry;
  }

  settle(entry: QueueEntry): void {
    if (entry.state === 'settled') return;
    if (entry.state === 'unacked') this.unacked -= 1;
    entry.state = 'settled';
    this.settled += 1;
    if (entry.journal === 'written') this.owner.journal.settle(entry);
  }

  requeue(entry: QueueEntry, counted: boolean): void {
    if (entry.state !== 'unacked') return;
    if (this.deleted) return this.settle(entry);
    this.unacked -= 1;
    entry.state = 'ready';
    entry.consumer = null;
    if (counted) {
      entry.deliveryCount += 1;
      entry.redelivered = true;
    }
    this.ready.restore(entry);
    this.wake();
  }

  reject(entry: QueueEntry): void {
    if (entry.state === 'settled') return;
    if (!this.deleted) this.owner.deadLetter(entry, 'rejected');
    this.settle(entry);
  }

  wake(): void {
    // A delivery may make its own consumer ready again: the loop below sees it, a second one inside would recurse.
    if (this.dispatching) return;
    this.dispatching = true;
    while (this.ready.length > 0) {
      const consumer = this.nextConsumer();
      if (consumer === null) break;
      const entry = this.ready.shift()!;
      entry.state = 'unacked';
      this.unacked += 1;
      entry.consumer = consumer;
      consumer.deliver(entry);
      if (consumer.settles) this.settle(entry);
    }
    this.dispatching = false;
  }

  attach(consumer: Consumer): void {
    if (this.deleted) throw new BrokerError('not-found', `no queue '${this.name}' in vhost '${this.owner.name}'`);
    if (this.consumers.some((other) => other.exclusive) || (consumer.exclusive && this.consumers.length > 0)) {
      throw new BrokerError(
        'unauthorized-access',
        `queue '${this.name}' in vhost '${this.owner.name}' in exclusive use`,
      );
    }
    let at = this.consumers.length;
    while (at > 0 && this.consumers[at - 1]!.priority < consumer.priority) at -= 1;
    this.consumers.splice(at, 0, consumer);
    this.hadConsumer = true;
    this.wake();
  }

  detach(consumer: Consumer): void {
    const at = this.consumers.indexOf(consumer);
    if (at < 0) return;
    this.consumers.splice(at, 1);
    if (this.consumers.length === 0 && this.spec.autoDelete && this.hadConsumer && !this.deleted) {
      this.owner.queueUnused(this);
    }
  }

  get(): QueueEntry | undefined {
    const entry = this.ready.shift();
    if (entry === undefined) return undefined;
    entry.state = 'unacked';
    this.unacked += 1;
    return entry;
  }

  purge(): number {
    const count = this.ready.length;
    for (const entry of this.ready) this.settle(entry);
    this.ready.clear();
    return count;
  }

  /** An entry as the journal knew it at the start; they come in the order of their messages. */
  restore(entry: QueueEntry): void {
    entry.journal = 'written';
    this.ready.push(entry);
  }

  /** Tells the consumers; what was delivered and not acked is gone with the queue. */
  close(why: Condition): void {
    this.deleted = true;
    for (const consumer of this.consumers.splice(0)) consumer.cancelled(why);
    this.purge(); // the journal, too, must know that they are gone: their space comes back
  }

  private makeEntry(message: Message, match: Match | null): QueueEntry {
    message.rest();
    const entry = new QueueEntry(this, message, match);
    if (this.journaled && message.durable) this.unwritten = entry;
    return entry;
  }

  private deliverNew(consumer: Consumer, message: Message, match: Match | null): void {
    const entry = this.makeEntry(message, match);
    entry.state = 'unacked';
    this.unacked += 1;
    entry.consumer = consumer;
    consumer.deliver(entry);
  }

  // Neither kept nor written: it is gone as soon as it is handed over.
  private handOver(consumer: Consumer, message: Message, match: Match | null): void {
    const entry = this.lent ?? new QueueEntry(this, message, match);
    this.lent = null; // a delivery that publishes to this queue again finds none, and makes its own
    entry.message = message;
    entry.match = match;
    entry.state = 'unacked';
    consumer.deliver(entry);
    entry.state = 'settled';
    this.settled += 1;
    this.lent = entry;
  }

  // Turns go round among the ready ones of the highest priority that has any.
  private nextConsumer(): Consumer | null {
    const consumers = this.consumers;
    const count = consumers.length;
    if (count === 0) return null;
    if (count === 1) return consumers[0]!.ready ? consumers[0]! : null;
    let first = 0;
    while (first < count) {
      const priority = consumers[first]!.priority;
      let end = first + 1;
      while (end < count && consumers[end]!.priority === priority) end += 1;
      const size = end - first;
      for (let i = 0; i < size; i++) {
        const consumer = consumers[first + ((this.turn + i) % size)]!;
        if (!consumer.ready) continue;
        this.turn = (this.turn + i + 1) % count;
        return consumer;
      }
      first = end;
    }
    return null;
  }
}
