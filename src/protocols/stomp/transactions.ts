import type { Route } from '../../core/exchange/route.ts';
import type { Position } from '../../core/journal.ts';
import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { type Settlement, Transaction } from '../../core/transaction.ts';
import type { Vhost } from '../../core/vhost.ts';
import { ProtocolError } from './frame.ts';
import type { Subscription } from './subscription.ts';

/** Of one connection, open at a time. */
const openMax = 256;
/** Frames and octets that may wait for one COMMIT: a client that never commits must not take all memory. */
const actionsMax = 100_000;
const bytesMax = 256 * 1024 * 1024;

interface Settle {
  readonly delivery: number;
  readonly entry: QueueEntry;
  readonly subscription: Subscription;
  readonly settlement: Settlement;
}

/** What BEGIN opened: SEND, ACK and NACK are gathered, and leave no trace before COMMIT. */
export class OpenTransaction {
  readonly settles: Settle[] = [];
  /** Receipt ids of its SENDs, octets as they came: due when the messages are safe. */
  readonly receipts: string[] = [];
  publishes = 0;
  private readonly transaction: Transaction;

  constructor(vhost: Vhost) {
    this.transaction = new Transaction(vhost);
  }

  publish(route: Route, message: Message): void {
    this.transaction.publish(route, message);
    this.publishes += 1;
    this.check();
  }

  settle(settle: Settle): void {
    this.settles.push(settle);
    this.transaction.settle(settle.entry, settle.settlement);
    this.check();
  }

  /** @returns the position to wait for, or null when a queue would refuse a message: then nothing has happened */
  commit(): Position | null {
    for (const { subscription } of this.settles) subscription.unacked -= 1;
    return this.transaction.commit(null);
  }

  private check(): void {
    if (this.publishes + this.settles.length > actionsMax || this.transaction.bytes > bytesMax) {
      throw new ProtocolError(
        'Transaction too large',
        `more than ${actionsMax} frames or ${bytesMax} octets in a transaction`,
      );
    }
  }
}

/** The open transactions of a connection, by the names that the client gave them. */
export class Transactions {
  private readonly open = new Map<string, OpenTransaction>();
  private readonly vhost: Vhost;

  constructor(vhost: Vhost) {
    this.vhost = vhost;
  }

  get count(): number {
    return this.open.size;
  }

  /** Publishes and settlements that wait for a COMMIT. */
  get uncommitted(): { readonly publishes: number; readonly settles: number } {
    const all = [...this.open.values()];
    return {
      publishes: all.reduce((sum, { publishes }) => sum + publishes, 0),
      settles: all.reduce((sum, { settles }) => sum + settles.length, 0),
    };
  }

  /** @throws ProtocolError when it is open already */
  begin(name: string): void {
    if (this.open.has(name)) throw new ProtocolError('Bad transaction', `transaction '${name}' was begun already`);
    if (this.open.size >= openMax) {
      throw new ProtocolError('Transaction limit exceeded', `more than ${openMax} transactions at a time`);
    }
    this.open.set(name, new OpenTransaction(this.vhost));
  }

  /** @throws ProtocolError when it is not open */
  get(name: string): OpenTransaction {
    const transaction = this.open.get(name);
    if (transaction === undefined) {
      throw new ProtocolError('Bad transaction', `Invalid transaction identifier: "${name}"\n`);
    }
    return transaction;
  }

  /** COMMIT or ABORT: the name is free again. @throws ProtocolError when it is not open */
  take(name: string): OpenTransaction {
    const transaction = this.get(name);
    this.open.delete(name);
    return transaction;
  }

  /** The connection is gone. @returns the entries that were to be settled */
  close(): QueueEntry[] {
    const entries = [...this.open.values()].flatMap(({ settles }) => settles.map(({ entry }) => entry));
    this.open.clear();
    return entries;
  }
}
