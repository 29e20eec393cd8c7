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
  /** In the session's order: the list's own business. */
  previous: Outgoing | null = null;
  next: Outgoing | null = null;

  constructor(packetId: number, qos: number, match: Match, entry: QueueEntry | null) {
    this.packetId = packetId;
    this.qos = qos;
    this.match = match;
    this.entry = entry;
  }
}

const none: (Outgoing | null)[] = [];
const slotsMin = 16;
const slotsMax = 65_536;

/**
 * A session's deliveries that wait for the peer, in the order in which they are to be sent again.
 *
 * A table by the low bits of the packet id, at most half full, and a list in order; a Map has only those whose place is
 * another's that waits long. Were all of them in a Map: each time that it makes room anew its old table keeps the new one,
 * and all in it, alive until the whole heap is collected. QoS 1 cost 1.6 µs then, not 0.9.
 */
export class Inflight {
  size = 0;
  /** Made for the first: most subscribers never have one. */
  private slots = none;
  private displaced: Map<number, Outgoing> | null = null;
  private first: Outgoing | null = null;
  private last: Outgoing | null = null;
  private lastId = 0;
  private unsent = 0;

  /** Those that count against the peer's receive maximum. */
  get outstanding(): number {
    return this.size - this.unsent;
  }

  /** Some are to be sent again first. */
  get hasUnsent(): boolean {
    return this.unsent > 0;
  }

  /** There must be fewer than 65,535 in flight. */
  add(entry: QueueEntry, qos: number, match: Match): Outgoing {
    this.makeRoom();
    do this.lastId = this.lastId === packetIdMax ? 1 : this.lastId + 1;
    while (this.get(this.lastId) !== undefined);
    const item = new Outgoing(this.lastId, qos, match, entry);
    item.sent = true;
    this.place(item);
    this.append(item);
    return item;
  }

  get(packetId: number): Outgoing | undefined {
    const item = this.slots[packetId & (this.slots.length - 1)];
    return item?.packetId === packetId ? item : this.displaced?.get(packetId);
  }

  delete(item: Outgoing): void {
    if (this.get(item.packetId) !== item) return;
    const place = item.packetId & (this.slots.length - 1);
    if (this.slots[place] === item) this.slots[place] = null;
    else this.displaced?.delete(item.packetId);
    this.unlink(item);
    if (!item.sent) this.unsent -= 1;
  }

  /** PUBREL packets are sent again in the order of their PUBREC [MQTT-4.6.0-4]: behind the others. */
  moveToEnd(item: Outgoing): void {
    this.unlink(item);
    this.append(item);
  }

  markSent(item: Outgoing): void {
    if (item.sent) return;
    item.sent = true;
    this.unsent -= 1;
  }

  /** The connection is gone: all are to be sent again to the next. */
  markUnsent(): void {
    for (const item of this) item.sent = false;
    this.unsent = this.size;
  }

  /** As the journal knew it; they come in the order of their messages. */
  restore(item: Outgoing): void {
    item.duplicate = true;
    this.makeRoom();
    this.place(item);
    this.append(item);
    this.unsent += 1;
    this.lastId = Math.max(this.lastId, item.packetId);
  }

  /** The item that is looked at may be deleted. */
  *[Symbol.iterator](): IterableIterator<Outgoing> {
    for (let item = this.first; item !== null; ) {
      const { next }: Outgoing = item;
      yield item;
      item = next;
    }
  }

  private makeRoom(): void {
    const { length } = this.slots;
    if (2 * (this.size + 1) > length && length < slotsMax) this.resize(Math.max(slotsMin, length * 2));
  }

  private resize(length: number): void {
    this.slots = new Array(length).fill(null);
    this.displaced = null;
    for (const item of this) this.place(item);
  }

  private place(item: Outgoing): void {
    const place = item.packetId & (this.slots.length - 1);
    if (this.slots[place] === null) this.slots[place] = item;
    else {
      this.displaced ??= new Map();
      this.displaced.set(item.packetId, item);
    }
  }

  private append(item: Outgoing): void {
    item.previous = this.last;
    if (this.last === null) this.first = item;
    else this.last.next = item;
    this.last = item;
    this.size += 1;
  }

  private unlink(item: Outgoing): void {
    const { previous, next } = item;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.last = previous;
    else next.previous = previous;
    // One that is dead must not keep those behind it alive.
    item.previous = null;
    item.next = null;
    this.size -= 1;
  }
}
