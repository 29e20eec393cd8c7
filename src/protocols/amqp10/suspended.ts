import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Composite } from './performatives.ts';

/** What a link leaves behind when it is detached without being closed: deliveries that are not settled on both sides. */
export interface SuspendedLink {
  /** Sent and not settled, by delivery tag (latin1): the broker is the sender. */
  readonly entries: Map<string, QueueEntry>;
  /** Received and not settled by the sender, with their outcomes: the broker is the receiver. */
  readonly outcomes: Map<string, Composite>;
}

interface Kept extends SuspendedLink {
  readonly untilMs: number;
}

/** Links at most that are remembered. */
const keptMax = 10_000;

/** Suspended links by virtual host, container and name, until their time-outs [AMQP 1.0 §2.6.4, §3.5.3]. */
export class Suspended {
  private readonly links = new Map<string, Kept>();

  keep(key: string, link: SuspendedLink, untilMs: number): void {
    this.forget(key);
    this.links.set(key, { ...link, untilMs });
    for (const [oldest] of this.links) {
      if (this.links.size <= keptMax) break;
      this.forget(oldest);
    }
  }

  /** The link is there again: what it left is the caller's. */
  take(key: string): SuspendedLink | null {
    const link = this.links.get(key);
    this.links.delete(key);
    return link ?? null;
  }

  sweep(nowMs: number): void {
    for (const [key, { untilMs }] of this.links) if (nowMs >= untilMs) this.forget(key);
  }

  clear(): void {
    for (const key of [...this.links.keys()]) this.forget(key);
  }

  private forget(key: string): void {
    const link = this.links.get(key);
    this.links.delete(key);
    for (const entry of link?.entries.values() ?? []) entry.requeue();
  }
}
