import { randomBytes } from 'node:crypto';
import type { Route } from '../../core/exchange/route.ts';
import type { Position } from '../../core/journal.ts';
import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { Transaction } from '../../core/transaction.ts';
import type { Vhost } from '../../core/vhost.ts';
import { AmqpError, ErrorCondition } from './errors.ts';
import { prepare, settlementOf } from './outcome.ts';
import type { OutgoingLink } from './outgoing-link.ts';
import type { Composite } from './performatives.ts';

/** Of one connection, open at a time. */
const openMax = 256;
/** What may wait for one discharge: a client that never discharges must not take all memory. */
const actionsMax = 100_000;
const bytesMax = 256 * 1024 * 1024;

/** What a declare opened: transfers and outcomes are gathered, and leave no trace before the discharge. */
export class OpenTransaction {
  readonly id: Buffer;
  /** Links that acquire in it. */
  readonly acquirers = new Set<OutgoingLink>();
  publishes = 0;
  private readonly transaction: Transaction;
  private readonly entries: QueueEntry[] = [];

  constructor(id: Buffer, vhost: Vhost) {
    this.id = id;
    this.transaction = new Transaction(vhost);
  }

  get settlements(): number {
    return this.entries.length;
  }

  publish(route: Route, message: Message): void {
    this.transaction.publish(route, message);
    this.publishes += 1;
    this.check();
  }

  /** The delivery is out of its receiver's hands, whatever becomes of the transaction. */
  settle(entry: QueueEntry, outcome: Composite): void {
    const settlement = settlementOf(outcome);
    (entry.consumer as OutgoingLink | null)?.settledOne();
    prepare(entry, outcome);
    this.entries.push(entry);
    this.transaction.settle(entry, settlement);
    this.check();
  }

  /** @returns the position to wait for, or null when a queue would refuse a message: then it is rolled back */
  commit(): Position | null {
    const position = this.transaction.commit(null);
    if (position === null) this.rollback();
    else for (const link of this.acquirers) link.discharged(this, false);
    return position;
  }

  /** What was to be settled was delivered in vain, and is delivered again. */
  rollback(): void {
    this.transaction.rollback();
    for (const entry of this.entries.splice(0)) entry.requeue();
    for (const link of this.acquirers) link.discharged(this, true);
  }

  private check(): void {
    if (this.publishes + this.entries.length <= actionsMax && this.transaction.bytes <= bytesMax) return;
    throw new AmqpError(
      ErrorCondition.resourceLimitExceeded,
      'session',
      `more than ${actionsMax} transfers and outcomes or ${bytesMax} octets in a transaction`,
    );
  }
}

/** The open transactions of a connection, by ids that nobody guesses. */
export class Transactions {
  private readonly open = new Map<string, OpenTransaction>();
  private readonly vhost: Vhost;

  constructor(vhost: Vhost) {
    this.vhost = vhost;
  }

  get count(): number {
    return this.open.size;
  }

  get publishes(): number {
    let sum = 0;
    for (const { publishes } of this.open.values()) sum += publishes;
    return sum;
  }

  get settlements(): number {
    let sum = 0;
    for (const { settlements } of this.open.values()) sum += settlements;
    return sum;
  }

  /** @returns the id. @throws AmqpError when too many are open */
  declare(): Buffer {
    if (this.open.size >= openMax) {
      throw new AmqpError(ErrorCondition.resourceLimitExceeded, 'link', `more than ${openMax} transactions at a time`);
    }
    const id = randomBytes(16);
    this.open.set(id.toString('latin1'), new OpenTransaction(id, this.vhost));
    return id;
  }

  /** @throws AmqpError unknown-id */
  get(id: Buffer): OpenTransaction {
    const transaction = this.open.get(id.toString('latin1'));
    if (transaction !== undefined) return transaction;
    throw new AmqpError(ErrorCondition.unknownTransaction, 'session', 'there is no such transaction');
  }

  /** Discharge: the id is gone. */
  take(id: Buffer): OpenTransaction | undefined {
    const transaction = this.open.get(id.toString('latin1'));
    this.open.delete(id.toString('latin1'));
    return transaction;
  }

  /** The controller is gone: what it did not discharge is rolled back [AMQP 1.0 §4.3]. */
  close(): void {
    for (const transaction of this.open.values()) transaction.rollback();
    this.open.clear();
  }
}
