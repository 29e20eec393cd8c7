import { HeaderName } from '../lookup.ts';
import type { Message } from '../message.ts';
import { findNamed } from '../selector.ts';
import type { QueueEntry } from './entry.ts';

/** An entry that is not in memory: who it is, and the octets of its body. */
interface Away {
  readonly sequence: number;
  readonly bodyBytes: number;
}

/** What it asks of its queue. */
export interface LastValueOwner {
  /** Entries in the queue's list that are not in memory. */
  readonly coldLength: number;
  /** Removes an entry that waits in memory, and is known here no longer: a newer one is there. */
  removeReplaced(entry: QueueEntry): void;
  /** One that is not in memory has been replaced: it counts as ready no longer. */
  forget(bodyBytes: number): void;
  /** Offers all that waits to `drops`, and calls `done`. */
  dropStale(done: () => void): void;
}

/** Fewer entries that are stale are not worth reading what has left memory. */
const staleMin = 1024;

/**
 * x-last-value-key: of the messages that wait with one value of the key only the newest is kept. An older one in memory
 * is removed when the newer comes; one that is not is remembered as stale, and dropped when it is read back.
 */
export class LastValues {
  /** A header, or the name of a property; null: what is stale is still to be dropped, nothing new will be. */
  readonly key: string | null;
  private readonly name: HeaderName | null;
  private readonly owner: LastValueOwner;
  /** The one that waits, by value. */
  private readonly newest = new Map<string, QueueEntry | Away>();
  /** Sequence numbers. */
  private readonly stale: Set<number>;
  /** As many stale ones are dropped before their time. */
  private staleMax = staleMin;
  /** False while entries may be read back of which nothing is known. */
  private isComplete = true;

  /** @param before what was kept by another key, of which entries may still be stale */
  constructor(key: string | null, owner: LastValueOwner, before: LastValues | null) {
    this.key = key;
    this.name = key === null ? null : new HeaderName(key);
    this.owner = owner;
    this.stale = before === null ? new Set() : before.stale;
  }

  /** Entries that are out of date, and still in the queue's list. */
  get staleCount(): number {
    return this.stale.size;
  }

  /** @returns null when the message has no value: then it replaces nothing */
  valueOf(message: Message): string | null {
    const value = this.name === null ? null : findNamed(message, this.name);
    if (value === null) return null;
    return Buffer.isBuffer(value) ? value.toString('base64') : String(value);
  }

  /** Octets of the body that a message with this value would replace; −1: it would replace none. */
  replacedBytes(value: string): number {
    const older = this.newest.get(value);
    if (older === undefined) return -1;
    return isAway(older) ? older.bodyBytes : older.message.bodyBytes;
  }

  /** A message with this value comes: `add` follows when it is to wait, else `forget`. */
  replace(value: string): void {
    const older = this.newest.get(value);
    if (older !== undefined) this.outdate(older);
  }

  /** Nothing waits with the value any longer. */
  forget(value: string): void {
    this.newest.delete(value);
  }

  /** The entry waits, and is the newest of the value: its message is not asked again, for it has been put to rest. */
  add(value: string, entry: QueueEntry): void {
    this.newest.set(value, entry);
  }

  /** A newer one waits than the entry, which was in a consumer's hands. */
  isOutdated(entry: QueueEntry): boolean {
    const value = this.valueOf(entry.message);
    const other = value === null ? undefined : this.newest.get(value);
    return other !== undefined && sequenceOf(other) > entry.message.sequence;
  }

  /** The entry, which waited elsewhere, waits in the list now. */
  restore(entry: QueueEntry): void {
    const value = this.valueOf(entry.message);
    if (value === null) return;
    this.replace(value);
    this.newest.set(value, entry);
  }

  /** The entry waits no longer. */
  remove(entry: QueueEntry): void {
    const value = this.valueOf(entry.message);
    const known = value === null ? undefined : this.newest.get(value);
    if (known !== undefined && sequenceOf(known) === entry.message.sequence) this.newest.delete(value!);
  }

  clear(): void {
    this.newest.clear();
    this.stale.clear();
  }

  // — entries that leave memory ————————————————————————————————————————————————————————————————————————————————————

  freeze(entry: QueueEntry): void {
    const value = this.valueOf(entry.message);
    if (value === null || this.newest.get(value) !== entry) return;
    this.newest.set(value, { sequence: entry.message.sequence, bodyBytes: entry.message.bodyBytes });
  }

  /** Has all that is not in memory read once, to know what it is. */
  read(): void {
    if (this.owner.coldLength === 0) return;
    this.isComplete = false;
    this.owner.dropStale(() => {
      this.isComplete = true;
    });
  }

  /** The entry was read, to stay or to be looked at. */
  revive(entry: QueueEntry): void {
    if (this.isComplete || this.isStale(entry)) return;
    const value = this.valueOf(entry.message);
    if (value === null) return;
    const { sequence, bodyBytes } = entry.message;
    const own = { sequence, bodyBytes };
    const known = this.newest.get(value);
    if (known === undefined) this.newest.set(value, own);
    else if (sequenceOf(known) > sequence) this.outdate(own);
    else if (sequenceOf(known) < sequence) {
      this.newest.set(value, own);
      this.outdate(known);
    }
  }

  isStale(entry: QueueEntry): boolean {
    return this.stale.has(entry.message.sequence);
  }

  /** True, once, for an entry that was read back and is to be dropped. */
  drops(entry: QueueEntry): boolean {
    return this.stale.delete(entry.message.sequence);
  }

  private outdate(older: QueueEntry | Away): void {
    const { owner, stale } = this;
    if (!isAway(older)) return owner.removeReplaced(older);
    stale.add(older.sequence);
    owner.forget(older.bodyBytes);
    if (stale.size < this.staleMax || stale.size * 2 < owner.coldLength) return;
    this.staleMax = stale.size * 2;
    owner.dropStale(() => {
      this.staleMax = staleMin;
    });
  }
}

function isAway(known: QueueEntry | Away): known is Away {
  return 'sequence' in known;
}

function sequenceOf(known: QueueEntry | Away): number {
  return isAway(known) ? known.sequence : known.message.sequence;
}
