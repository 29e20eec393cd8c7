import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Connection } from './connection.ts';
import { encodeFrame } from './frame.ts';
import type { Subscription } from './subscription.ts';
import { escapeText } from './versions.ts';

/** Entries that one look at a queue shows. */
const browseCount = 100;

/**
 * SUBSCRIBE with `browser:true`: what waits in its queues goes out as MESSAGE and stays there. Behind the last comes
 * an empty MESSAGE with `browser:end`; what is published later is not shown [ActiveMQ: StompQueueBrowserSubscription].
 */
export class Browser {
  private readonly connection: Connection;
  private readonly subscription: Subscription;
  /** As the client called it. */
  private readonly destination: string;
  private readonly selects: ((message: Message) => boolean) | null;
  private state: 'shows' | 'reads' | 'done' = 'shows';
  private at = 0;
  private seen: QueueEntry | null = null;

  constructor(
    connection: Connection,
    subscription: Subscription,
    destination: string,
    selects: ((message: Message) => boolean) | null,
  ) {
    this.connection = connection;
    this.subscription = subscription;
    this.destination = destination;
    this.selects = selects;
  }

  /** Shows as much as there is room for. */
  show(): void {
    const { subscription } = this;
    while (this.state === 'shows' && subscription.ready) {
      const source = subscription.sources[this.at];
      if (source === undefined) return this.end();
      const entries = source.queue.browse(this.seen, browseCount);
      if (!(entries instanceof Promise)) this.showEach(entries);
      else return this.read(entries);
    }
  }

  /** It was unsubscribed. */
  stop(): void {
    this.state = 'done';
  }

  private read(entries: Promise<readonly QueueEntry[]>): void {
    this.state = 'reads';
    entries
      .then((found) => {
        if (this.state === 'done') return;
        this.state = 'shows';
        this.showEach(found);
        this.show();
      })
      .catch((error: unknown) => this.connection.fail(error, null));
  }

  private showEach(entries: readonly QueueEntry[]): void {
    const { subscription, selects } = this;
    for (const entry of entries) {
      if (!subscription.ready) return;
      this.seen = entry;
      if (selects === null || selects(entry.message)) subscription.deliver(entry);
    }
    if (entries.length === browseCount) return;
    this.at += 1;
    this.seen = null;
  }

  private end(): void {
    const { connection, subscription, destination } = this;
    const { version } = connection;
    this.state = 'done';
    const id = subscription.id === null ? [] : [`subscription:${escapeText(subscription.id, version)}`];
    const lines = [...id, `destination:${escapeText(destination, version)}`, 'message-id:0', 'browser:end'];
    connection.stream.write(encodeFrame('MESSAGE', lines));
  }
}
