import type { Route } from '../../core/exchange/route.ts';
import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { type Settlement, Transaction } from '../../core/transaction.ts';
import type { Vhost } from '../../core/vhost.ts';

export interface Settled {
  readonly tag: number;
  readonly entry: QueueEntry;
  readonly as: Settlement;
}

/** tx: what waits for commit or rollback; deliveries that were settled in it still count against prefetch. */
export class ChannelTransaction {
  readonly core: Transaction;
  settled: Settled[] = [];
  private mandatory = new Set<Message>();

  constructor(vhost: Vhost) {
    this.core = new Transaction(vhost);
  }

  publish(route: Route, message: Message, mandatory: boolean): void {
    this.core.publish(route, message);
    if (mandatory) this.mandatory.add(message);
  }

  /** @returns what was settled; null when a queue refused and nothing has changed */
  commit(onReturn: (message: Message) => void): readonly Settled[] | null {
    const { settled, mandatory } = this;
    for (const { entry, as } of settled) this.core.settle(entry, as);
    const position = this.core.commit((message) => {
      if (mandatory.has(message)) onReturn(message);
    });
    if (position === null) return null;
    this.begin();
    return settled;
  }

  /** @returns what was to be settled, to be put back */
  rollback(): readonly Settled[] {
    const { settled } = this;
    this.core.rollback();
    this.begin();
    return settled;
  }

  private begin(): void {
    this.settled = [];
    this.mandatory = new Set();
  }
}
