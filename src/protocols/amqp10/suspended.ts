import type { QueueEntry } from '../../core/queue/entry.ts';
import { type Composite, toDescribed } from './performatives.ts';
import { AmqpMap, type Any, encodeValue } from './types.ts';

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

/**
 * The unsettled map of an attach: as much of it as the peer's frames have room for [AMQP 1.0 §2.7.3].
 * @param states by delivery tag (latin1); null: no outcome
 * @returns null when there is nothing to say
 */
export function unsettledMap(
  states: ReadonlyMap<string, Composite | null>,
  frameMax: number,
): { readonly map: AmqpMap; readonly incomplete: boolean } | null {
  if (states.size === 0) return null;
  const pairs: [Any, Any][] = [];
  let room = frameMax - attachBytes;
  for (const [tag, state] of states) {
    const pair: [Any, Any] = [Buffer.from(tag, 'latin1'), state === null ? null : toDescribed(state)];
    room -= encodeValue(pair[0]).length + encodeValue(pair[1]).length;
    if (room < 0) break;
    pairs.push(pair);
  }
  return { map: new AmqpMap(pairs), incomplete: pairs.length < states.size };
}

/** Room for all else that an attach says. */
const attachBytes = 384;
