import { DueHeap } from '../../lib/due-heap.ts';
import type { ColdOwner } from './cold-list.ts';
import type { RecoveredQueue } from './cold-store.ts';
import type { ConsumerList } from './consumer-list.ts';
import type { QueueEntry } from './entry.ts';
import { closesGroup, groupOf } from './message-group.ts';
import type { PriorityList } from './priority-list.ts';
import type { Consumer } from './queue.ts';
import { ReadyList } from './ready-list.ts';
import type { Remains } from './remains.ts';
import { selects } from './selection.ts';
import type { Sweep } from './sweep.ts';

/** How far a queue is looked through behind messages that are held up: entries, and octets of their bodies. */
const windowEntries = 16_384;
const windowBytes = 16 * 1024 * 1024;
/** Groups without messages whose consumer is remembered. */
const idleMax = 1024;

type Groups = DueHeap<Group>;

/** A consumer, and those of its groups that have messages waiting, by the first of them. */
class Owner {
  readonly consumer: Consumer;
  readonly waiting: Groups = new DueHeap();
  /** Groups that are its own, with messages and without. */
  groups = 0;

  constructor(consumer: Consumer) {
    this.consumer = consumer;
  }
}

class Group {
  readonly id: string;
  owner: Owner | null = null;
  /** Its entries in the window; made when the first comes. */
  backlog: ReadyList | null = null;
  /** Its entries in consumers' hands, and those that wait, invisible, to be delivered again. */
  unacked = 0;
  delayed = 0;
  /** It goes to another consumer, once what is unacked has been settled. */
  leaving = false;
  /** Where it was last put to wait for its turn, by which of its entries; what else says so is out of date. */
  place: Groups | null = null;
  turn = 0;

  constructor(id: string) {
    this.id = id;
  }

  get length(): number {
    return this.backlog === null ? 0 : this.backlog.length;
  }

  get isHeldUp(): boolean {
    return this.delayed > 0 || (this.unacked > 0 && (this.owner === null || this.leaving));
  }

  get isEmpty(): boolean {
    return this.unacked === 0 && this.delayed === 0 && this.length === 0;
  }
}

/**
 * x-message-groups: the messages of a group go in order to one consumer at a time, other groups meanwhile to others.
 * Entries whose group is held up, or whose consumer is not ready, wait in a window in front of the queue's own list,
 * so that those behind them can overtake:
 *
 *     window (looked at)            │  rest (not yet)
 *     a₁ b₁ a₂ a₃ b₂ …  by group:   │  c₁ a₄ …
 *       a: a₁ a₂ a₃  b: b₁ b₂       │
 */
export class GroupList {
  /** Who is to get what `take` returned. */
  taker: Consumer | null = null;
  private readonly served: ConsumerList;
  private readonly rest: ReadyList | PriorityList;
  private readonly onFreed: () => void;
  private readonly window = new ReadyList();
  /** The entries of the window. */
  private readonly parked = new Map<QueueEntry, Group>();
  private windowBytes = 0;
  private readonly groups = new Map<string, Group>();
  /** Groups without messages, the one that has been so for longest first. */
  private readonly idle = new Map<string, Group>();
  private readonly owners = new Map<Consumer, Owner>();
  /** Groups with messages that belong to no consumer. */
  private readonly unowned: Groups = new DueHeap();
  private readonly unacked = new Map<QueueEntry, Group>();
  private readonly delayed = new Map<QueueEntry, Group>();
  /** With selectors: groups whose first message is not for those who are ready. */
  private aside: Group[] = [];
  private turn = 0;

  /** @param onFreed called when a group waits for a consumer, after others had been told that they are done */
  constructor(rest: ReadyList | PriorityList, served: ConsumerList, onFreed: () => void) {
    this.rest = rest;
    this.served = served;
    this.onFreed = onFreed;
    for (const consumer of served.all) this.owners.set(consumer, new Owner(consumer));
  }

  // — consumers ———————————————————————————————————————————————————————————————————————————————————————————————————

  /** Groups are shared out anew, as far as the new consumer has fewer than others. */
  joined(consumer: Consumer): void {
    this.owners.set(consumer, new Owner(consumer));
    for (const group of this.idle.values()) this.disown(group);
    this.idle.clear();
    if (this.served.single) return;
    const equals = this.served.all.filter(({ priority }) => priority >= consumer.priority).length;
    const share = Math.ceil(this.groups.size / equals);
    const surplus = new Map<Owner, number>();
    for (const owner of this.owners.values()) {
      const { priority } = owner.consumer;
      if (priority <= consumer.priority) surplus.set(owner, owner.groups - (priority < consumer.priority ? 0 : share));
    }
    const give = (group: Group): void => {
      const { owner } = group;
      const left = owner === null ? 0 : (surplus.get(owner) ?? 0);
      if (owner === null || left <= 0 || group.leaving) return;
      surplus.set(owner, left - 1);
      this.leave(group);
    };
    for (const group of this.groups.values()) if (group.unacked === 0) give(group);
    for (const group of this.groups.values()) give(group);
    this.reconsider();
  }

  /** Its groups go to others, once what it has of them is settled or has come back. */
  left(consumer: Consumer): void {
    const owner = this.owners.get(consumer);
    if (owner === undefined) return;
    this.owners.delete(consumer);
    for (const [id, group] of this.idle) if (group.owner === owner) this.idle.delete(id);
    for (const group of [...this.groups.values()]) if (group.owner === owner) this.disown(group);
    this.reconsider();
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** Takes the first entry that a consumer who is ready may have, `taker`; undefined when there is none. */
  take(): QueueEntry | undefined {
    if (!this.served.isReady()) return undefined;
    if (this.served.selecting > 0) this.reconsider();
    return this.takeWaiting() ?? this.takeBehind((group, entry) => this.takerFor(group, entry));
  }

  /** Takes the first entry whose group is in nobody's hands, for whoever asked; undefined when there is none. */
  fetch(): QueueEntry | undefined {
    const group = this.first(this.unowned);
    if (group !== undefined) return this.takeFirst(group);
    return this.takeBehind((other) => (other === null || this.isFree(other) ? null : undefined));
  }

  /** What `fetch` did not find may still be read back. */
  get isReading(): boolean {
    return this.rest.length > 0 && this.hasRoom;
  }

  private get hasRoom(): boolean {
    return this.window.length < windowEntries && this.windowBytes < windowBytes;
  }

  private takeWaiting(): QueueEntry | undefined {
    for (;;) {
      let found: Group | undefined;
      for (const owner of this.owners.values()) {
        if (owner.waiting.length === 0 || !owner.consumer.ready) continue;
        const group = this.first(owner.waiting);
        if (group !== undefined && (found === undefined || group.turn < found.turn)) found = group;
      }
      const free = this.first(this.unowned);
      if (free !== undefined && (found === undefined || free.turn < found.turn)) found = free;
      if (found === undefined) return undefined;
      const taker = this.takerFor(found, found.backlog!.peek()!);
      if (taker === undefined || taker === null) {
        found.place!.shift(Number.POSITIVE_INFINITY);
        found.place = null;
        this.aside.push(found);
        continue;
      }
      this.taker = taker;
      return this.takeFirst(found);
    }
  }

  private takeFirst(group: Group): QueueEntry {
    const entry = group.backlog!.shift()!;
    this.window.remove(entry);
    this.parked.delete(entry);
    this.windowBytes -= entry.message.bodyBytes;
    this.handed(entry, group);
    this.offer(group);
    return entry;
  }

  // Looks at what is behind the window; what cannot be taken is put into it. @param find who takes it, undefined: nobody
  private takeBehind(
    find: (group: Group | null, entry: QueueEntry) => Consumer | null | undefined,
  ): QueueEntry | undefined {
    while (this.hasRoom) {
      const entry = this.rest.shift();
      if (entry === undefined) return undefined;
      const id = groupOf(entry.message);
      const group = id === null ? null : this.getGroup(id);
      const taker = group !== null && (group.length > 0 || group.isHeldUp) ? undefined : find(group, entry);
      if (taker !== undefined) {
        this.taker = taker;
        if (group !== null) this.handed(entry, group);
        return entry;
      }
      if (group === null) {
        this.rest.restore(entry);
        return undefined;
      }
      this.park(entry, group);
    }
    return undefined;
  }

  // Who gets the group's first message, or one without a group: undefined when nobody can now.
  private takerFor(group: Group | null, entry: QueueEntry): Consumer | undefined {
    const { message } = entry;
    if (group === null) {
      const consumer = this.served.selecting > 0 ? this.served.nextFor(message) : this.served.next();
      return consumer ?? undefined;
    }
    const { owner } = group;
    if (owner !== null) {
      const { consumer } = owner;
      const isFor = this.served.isActive(consumer) && selects(consumer, message);
      if (isFor && consumer.ready) return consumer;
      // what it has of the group comes first; and while more of it waits the group stays where it is
      if (group.unacked > 0 || (isFor && group.length > 0)) return undefined;
    }
    const next = this.leastBusy(entry);
    if (next === null) return undefined;
    if (owner !== null) this.disown(group);
    group.owner = next;
    next.groups += 1;
    return next.consumer;
  }

  // Of the ready consumers of the highest priority the one with the fewest groups; of several the next.
  private leastBusy(entry: QueueEntry): Owner | null {
    const { all } = this.served;
    let found: Owner | null = null;
    for (let i = 0; i < all.length; i++) {
      const consumer = all[(this.turn + i) % all.length]!;
      if (!consumer.ready || !this.served.isActive(consumer) || !selects(consumer, entry.message)) continue;
      const owner = this.owners.get(consumer)!;
      const above = found === null ? 1 : consumer.priority - found.consumer.priority;
      if (above > 0 || (above === 0 && owner.groups < found!.groups)) found = owner;
    }
    this.turn += 1;
    return found;
  }

  private handed(entry: QueueEntry, group: Group): void {
    group.unacked += 1;
    this.unacked.set(entry, group);
    if (closesGroup(entry.message)) group.leaving = true;
  }

  /** The entry, which was unacked or delayed, is settled. */
  settled(entry: QueueEntry): void {
    const group = this.release(entry);
    if (group === undefined) return;
    const mayMove = group.leaving || group.owner === null;
    this.look(group);
    if (mayMove && group.place !== null) this.onFreed();
  }

  /** The consumer that has the entry hangs: its group goes to another, once nothing of it is unacked. */
  recalled(entry: QueueEntry): void {
    const group = this.unacked.get(entry);
    if (group !== undefined) group.leaving = true;
  }

  /** The entry, which was unacked, waits to be delivered again: its group waits with it. */
  delay(entry: QueueEntry): void {
    const group = this.unacked.get(entry);
    if (group === undefined) return;
    this.unacked.delete(entry);
    this.delayed.set(entry, group);
    group.unacked -= 1;
    group.delayed += 1;
  }

  private release(entry: QueueEntry): Group | undefined {
    let group = this.unacked.get(entry);
    if (group !== undefined) {
      this.unacked.delete(entry);
      group.unacked -= 1;
      return group;
    }
    group = this.delayed.get(entry);
    if (group === undefined) return undefined;
    this.delayed.delete(entry);
    group.delayed -= 1;
    return group;
  }

  // Something of the group was settled, or came back.
  private look(group: Group): void {
    if (group.leaving && group.unacked === 0) this.disown(group);
    if (group.isEmpty) this.retire(group);
    else this.offer(group);
  }

  // — groups ——————————————————————————————————————————————————————————————————————————————————————————————————————

  private getGroup(id: string): Group {
    let group = this.groups.get(id);
    if (group !== undefined) return group;
    group = this.idle.get(id);
    if (group === undefined) group = new Group(id);
    else this.idle.delete(id);
    this.groups.set(id, group);
    return group;
  }

  // Without messages: its consumer is remembered for a while.
  private retire(group: Group): void {
    this.groups.delete(group.id);
    group.place = null;
    if (group.owner === null) return;
    this.idle.set(group.id, group);
    if (this.idle.size <= idleMax) return;
    const oldest = this.idle.values().next().value!;
    this.idle.delete(oldest.id);
    this.disown(oldest);
  }

  private leave(group: Group): void {
    if (group.unacked > 0) group.leaving = true;
    else this.disown(group);
    this.offer(group);
  }

  private disown(group: Group): void {
    if (group.owner !== null) group.owner.groups -= 1;
    group.owner = null;
    group.leaving = false;
    this.offer(group);
  }

  private isFree(group: Group): boolean {
    if (group.unacked > 0) return false;
    if (group.owner !== null) this.disown(group);
    return true;
  }

  private park(entry: QueueEntry, group: Group): void {
    this.window.push(entry);
    this.parked.set(entry, group);
    this.windowBytes += entry.message.bodyBytes;
    group.backlog ??= new ReadyList();
    group.backlog.push(entry);
    this.offer(group);
  }

  // Puts the group to wait for its turn, unless something else must happen first.
  private offer(group: Group): void {
    const head = group.backlog?.peek();
    if (head === undefined || group.isHeldUp) {
      group.place = null;
      return;
    }
    const place = group.owner === null ? this.unowned : group.owner.waiting;
    const { sequence } = head.message;
    if (group.place === place && group.turn === sequence) return;
    group.place = place;
    group.turn = sequence;
    place.add(sequence, group);
  }

  // The group that is next there; what is out of date goes.
  private first(place: Groups): Group | undefined {
    while (place.length > 0) {
      const [group] = place;
      if (group!.place === place && group!.turn === place.nextDueMs) return group;
      place.shift(Number.POSITIVE_INFINITY);
    }
    return undefined;
  }

  // Who is there, or ready, has changed.
  private reconsider(): void {
    const groups = this.aside;
    if (groups.length === 0) return;
    this.aside = [];
    for (const group of groups) this.offer(group);
  }

  // — a list like others ——————————————————————————————————————————————————————————————————————————————————————————

  get length(): number {
    return this.window.length + this.rest.length;
  }

  get memoryLength(): number {
    return this.window.length + this.rest.memoryLength;
  }

  get coldBytes(): number {
    return this.rest.coldBytes;
  }

  push(entry: QueueEntry): void {
    this.rest.push(entry);
  }

  remove(entry: QueueEntry): void {
    if (!this.parked.has(entry)) return this.rest.remove(entry);
    this.window.remove(entry);
    this.forget(entry);
  }

  /** Back to its place, ahead of what waits of its group. */
  restore(entry: QueueEntry): void {
    const known = this.release(entry);
    const id = groupOf(entry.message);
    if (id === null) return this.rest.restore(entry);
    const group = known ?? this.getGroup(id);
    this.window.restore(entry);
    this.parked.set(entry, group);
    this.windowBytes += entry.message.bodyBytes;
    group.backlog ??= new ReadyList();
    group.backlog.restore(entry);
    this.look(group);
  }

  /** The first, whosever it would be. */
  shift(): QueueEntry | undefined {
    const entry = this.window.shift();
    if (entry === undefined) return this.rest.shift();
    this.forget(entry);
    return entry;
  }

  shiftExpired(nowMs: number): QueueEntry | undefined {
    const entry = this.window.shiftExpired(nowMs);
    if (entry === undefined) return this.rest.shiftExpired(nowMs);
    this.forget(entry);
    return entry;
  }

  nextExpiryMs(): number {
    const [a, b] = [this.window.nextExpiryMs(), this.rest.nextExpiryMs()];
    return a === 0 || b === 0 ? a + b : Math.min(a, b);
  }

  expire(nowMs: number, take: (entry: QueueEntry) => void): boolean {
    return this.rest.expire(nowMs, take);
  }

  shorten(dueMs: number): void {
    this.rest.shorten(dueMs);
  }

  // It left the window.
  private forget(entry: QueueEntry): void {
    const group = this.parked.get(entry);
    this.parked.delete(entry);
    this.windowBytes -= entry.message.bodyBytes;
    if (group === undefined) return;
    group.backlog?.remove(entry);
    this.look(group);
  }

  clear(remains: Remains): void {
    for (const group of [...this.groups.values()]) {
      group.backlog = null;
      this.look(group);
    }
    this.window.clear(remains);
    this.parked.clear();
    this.windowBytes = 0;
    this.rest.clear(remains);
  }

  *[Symbol.iterator](): IterableIterator<QueueEntry> {
    yield* this.window;
    yield* this.rest;
  }

  adopt(recovered: RecoveredQueue, slots: Uint32Array, owner: ColdOwner): void {
    this.rest.adopt(recovered, slots, owner);
  }

  freeze(keep: number, max: number, owner: ColdOwner): boolean {
    return this.rest.freeze(keep, max, owner);
  }

  demand(): void {
    this.rest.demand();
  }

  browse(after: QueueEntry | null, count: number): QueueEntry[] | Promise<QueueEntry[]> {
    const isInWindow = after === null || this.parked.has(after);
    const found = isInWindow ? (this.window.browse(after, count) as QueueEntry[]) : []; // it is in memory
    if (found.length >= count) return found;
    const more = this.rest.browse(isInWindow ? null : after, count - found.length);
    return more instanceof Promise ? more.then((read) => [...found, ...read]) : [...found, ...more];
  }

  sweep(sweep: Sweep): void {
    for (const entry of [...this.window]) {
      if (!sweep.take(entry)) continue;
      this.window.remove(entry);
      this.forget(entry);
    }
    this.rest.sweep(sweep);
  }
}
