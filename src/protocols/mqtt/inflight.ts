import type { Match } from '../../core/exchange/binding.ts';
import type { Position } from '../../core/journal.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';

const packetIdMax = 65_535;

/**
 * One delivery between PUBLISH and its last acknowledgement.
 *
 *     QoS 1:  publish ── PUBACK ─► done
 *     QoS 2:  publish ── PUBREC ─► pubrel ── PUBCOMP ─► done
 */
export class Outgoing {
  readonly packetId: number;
  readonly qos: number;
  readonly match: Match;
  /** null once the message is the receiver's: only the packet id is kept. */
  entry: QueueEntry | null;
  /** It left for some connection of the session before: the next time it says DUP. */
  duplicate = false;
  /** It left, or waits for its record, for the connection that is there now. */
  sent = false;
  /** What must be durable before it may leave; 0 = nothing. */
  after: Position = 0;

  constructor(packetId: number, qos: number, match: Match, entry: QueueEntry | null) {
    this.packetId = packetId;
    this.qos = qos;
    this.match = match;
    this.entry = entry;
  }
}

const nothing = new Map<number, Outgoing>();

/** A session's deliveries that wait for the peer, in the order in which they are to be sent again. */
export class Inflight {
  /** Made for the first: most subscribers never have one. */
  private items: Map<number, Outgoing> = nothing;
  private last = 0;
  private unsent = 0;

  get size(): number {
    return this.items.size;
  }

  /** Those that count against the peer's receive maximum. */
  get outstanding(): number {
    return this.items.size - this.unsent;
  }

  /** Some are to be sent again first. */
  get hasUnsent(): boolean {
    return this.unsent > 0;
  }

  /** There must be fewer than 65,535 in flight. */
  add(entry: QueueEntry, qos: number, match: Match): Outgoing {
    do this.last = this.last === packetIdMax ? 1 : this.last + 1;
    while (this.items.has(this.last));
    const item = new Outgoing(this.last, qos, match, entry);
    item.sent = true;
    if (this.items === nothing) this.items = new Map();
    this.items.set(item.packetId, item);
    return item;
  }

  get(packetId: number): Outgoing | undefined {
    return this.items.get(packetId);
  }

  delete(item: Outgoing): void {
    if (this.items.delete(item.packetId) && !item.sent) this.unsent -= 1;
  }

  /** PUBREL packets are sent again in the order of their PUBREC [MQTT-4.6.0-4]: behind the others. */
  moveToEnd(item: Outgoing): void {
    this.items.delete(item.packetId);
    this.items.set(item.packetId, item);
  }

  markSent(item: Outgoing): void {
    if (item.sent) return;
    item.sent = true;
    this.unsent -= 1;
  }

  /** The connection is gone: all are to be sent again to the next. */
  markUnsent(): void {
    for (const item of this.items.values()) item.sent = false;
    this.unsent = this.items.size;
  }

  /** As the journal knew it; they come in the order of their messages. */
  restore(item: Outgoing): void {
    item.duplicate = true;
    if (this.items === nothing) this.items = new Map();
    this.items.set(item.packetId, item);
    this.unsent += 1;
    this.last = Math.max(this.last, item.packetId);
  }

  [Symbol.iterator](): IterableIterator<Outgoing> {
    return this.items.values();
  }
}
