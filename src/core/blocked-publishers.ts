import type { Client } from './client.ts';

/** What can be full: a queue. */
export interface Full {
  readonly name: string;
}

/**
 * Clients that published to a queue which is full and has `x-overflow: block`: they are held back as by an alarm of the
 * whole broker, each alone, until every queue that holds it has room.
 */
export class BlockedPublishers {
  private readonly queuesOf = new Map<Client, Set<Full>>();

  /** The queue is full, and the client published to it. */
  block(client: Client, queue: Full, alarm: string | null): void {
    const queues = this.queuesOf.get(client);
    if (queues !== undefined) {
      queues.add(queue);
      return;
    }
    this.queuesOf.set(client, new Set([queue]));
    if (alarm === null) client.onAlarm?.(reasonOf(queue));
  }

  /** There is room again. */
  release(queue: Full, alarm: string | null): void {
    for (const [client, queues] of [...this.queuesOf]) {
      if (!queues.delete(queue) || queues.size > 0) continue;
      this.queuesOf.delete(client);
      if (alarm === null) client.onAlarm?.(null);
    }
  }

  /** Why the client is held back; null: it is not. */
  find(client: Client): string | null {
    for (const queue of this.queuesOf.get(client) ?? []) return reasonOf(queue);
    return null;
  }

  forget(client: Client): void {
    this.queuesOf.delete(client);
  }
}

function reasonOf({ name }: Full): string {
  return `queue '${name}' is full`;
}
