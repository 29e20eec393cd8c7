import type { Timer, Timers } from '../../lib/timers.ts';
import type { Journal } from '../journal.ts';
import type { DeathReason, Message } from '../message.ts';
import { type Chore, stateWeight } from './chores.ts';
import { type RecoveredQueue, type Slot, takeAll } from './cold-store.ts';
import type { QueueEntry } from './entry.ts';
import type { LocalQueue } from './local-queue.ts';
import type { Paging } from './pager.ts';
import type { Queue } from './queue.ts';
import type { Remains } from './remains.ts';
import { SlotList } from './slot-list.ts';

/** How a message died that its queue still holds, by the queue's number and the message's sequence. */
export const heldDeadLetterKind = 'held-dead-letter';

/** A death that is not over: some queue that the dead letter goes to does not have it. */
export interface HeldDeath {
  readonly reason: DeathReason;
  readonly timeMs: number;
  /** Names of the queues that have it already, null = none has; they do not get it again. */
  safeIn: Set<string> | null;
}

/** What the queue does for what it holds. */
export interface HeldDeadLettersOwner {
  readonly queue: LocalQueue;
  readonly timers: Timers;
  readonly journal: Journal;
  /** Publishes the dead letter to those that do not have it. @returns true when all have */
  sendDeadLetter(message: Message, death: HeldDeath): boolean;
  /** One could not be sent, the first time of all. */
  firstHeld(): void;
  /** The entry is to be settled, in the same turn: all have it, or it was let go. */
  deadLetterGone(entry: QueueEntry): void;
  /** After `letGo`: nothing is held any longer. */
  allGone(): void;
}

/** How long it takes until what could not be sent is tried again, and how many letters are tried in a turn. */
const retryMs = 1000;
const sliceCount = 256;
/** Between slices that had to be read and of which nothing could be sent: a few thousand letters a second. */
const coldSliceMs = 50;

/** One that is held. */
class Letter implements HeldDeath {
  readonly sequence: number;
  readonly bodyBytes: number;
  readonly reason: DeathReason;
  readonly timeMs: number;
  safeIn: Set<string> | null = null;
  /** null while it is cold. */
  entry: QueueEntry | null;
  /** Of a cold one. */
  slot: Slot;

  constructor(sequence: number, bodyBytes: number, reason: DeathReason, timeMs: number, at: QueueEntry | Slot) {
    this.sequence = sequence;
    this.bodyBytes = bodyBytes;
    this.reason = reason;
    this.timeMs = timeMs;
    this.entry = typeof at === 'number' ? null : at;
    this.slot = typeof at === 'number' ? at : -1;
  }
}

/**
 * x-dead-letter-strategy: at-least-once. What died stays the queue's own, in nobody's reach, until every queue that its
 * dead letter is routed to has taken it. The last of these publishes and the settlement are one unit of the journal.
 *
 * When the queue takes too much memory its letters leave first, as cold entries; each is read back to be tried.
 */
export class HeldDeadLetters {
  /** Octets of the bodies that are held, and of those that are in memory. */
  bytes = 0;
  memoryBytes = 0;
  private readonly owner: HeldDeadLettersOwner;
  /** In the order of their deaths, by sequence; what is cold died first. */
  private readonly cold = new Map<number, Letter>();
  private readonly warm = new Map<number, Letter>();
  private paging: Paging | null = null;
  private state: 'holding' | 'letting-go' = 'holding';
  /** What the journal remembers of entries that are still to be taken back, by sequence. */
  private readonly known = new Map<number, HeldDeath>();
  private timer: Timer | null = null;
  private hasHeld = false;
  /** Where the pass over all that is held goes on. */
  private pass: Iterator<Letter> | null = null;
  private reading = false;
  /** Raised when what is being read is of no use any longer. */
  private generation = 0;

  constructor(owner: HeldDeadLettersOwner) {
    this.owner = owner;
  }

  get length(): number {
    return this.cold.size + this.warm.size;
  }

  /** How many are in memory. */
  get memoryLength(): number {
    return this.warm.size;
  }

  /**
   * The entry died.
   * @returns true when it is done with and to be settled; false when it is held from now on
   */
  send(entry: QueueEntry, reason: DeathReason, timeMs: number): boolean {
    const { sequence, bodyBytes } = entry.message;
    if (this.warm.has(sequence)) return false; // it dies once
    const letter = new Letter(sequence, bodyBytes, reason, timeMs, entry);
    if (this.owner.sendDeadLetter(entry.message, letter) || this.state === 'letting-go') return true;
    this.remember(entry, letter);
    this.warm.set(sequence, letter);
    this.bytes += bodyBytes;
    this.memoryBytes += bodyBytes;
    this.expectRetry();
    if (!this.hasHeld) this.owner.firstHeld();
    this.hasHeld = true;
    return false;
  }

  /** Tries all that is held: something that it waits for may be there now. */
  retry(): void {
    this.pass = this.all();
    this.goOn();
  }

  /** The queue is at most once from now on: everything is sent once more, and gone then. */
  letGo(): void {
    this.state = 'letting-go';
    if (this.length === 0) this.owner.allGone();
    else this.retry();
  }

  /** It is at least once again, before all had gone. */
  keep(): void {
    this.state = 'holding';
  }

  /** The queue is gone. @returns how many were held: they are among what remains */
  close(remains: Remains): number {
    const count = this.length;
    remains.add(Array.from(this.warm.values(), ({ entry }) => entry!));
    remains.addCold({ slots: slotsOf([...this.cold.values()]), from: 0, to: this.cold.size });
    this.bytes = 0;
    this.memoryBytes = 0;
    this.pass = null;
    this.generation += 1;
    this.timer?.cancel();
    this.timer = null;
    return count;
  }

  /** What the journal remembers of it; after `close`. */
  *forgetAll(): Chore {
    for (const letters of [this.cold, this.warm]) {
      for (const letter of letters.values()) {
        letters.delete(letter.sequence);
        this.forget(letter);
        yield stateWeight;
      }
    }
  }

  // — over a restart ——————————————————————————————————————————————————————————————————————————————————————————————

  /** What the journal remembers; before the entry. */
  restore(sequence: number, value: Buffer): void {
    const [reason, timeMs] = JSON.parse(value.toString('latin1')) as [DeathReason, number];
    this.known.set(sequence, { reason, timeMs, safeIn: null });
  }

  /** Entries that had died before the restart are held again, cold. @returns the slots of the others */
  adopt(recovered: RecoveredQueue, paging: Paging): Uint32Array {
    if (this.known.size === 0) return recovered.slots;
    this.paging = paging;
    const living = recovered.slots.filter((slot) => !this.takesBack(recovered, slot));
    this.known.clear();
    return living;
  }

  private takesBack(recovered: RecoveredQueue, slot: Slot): boolean {
    const sequence = recovered.sequence(slot);
    const death = this.known.get(sequence);
    if (death === undefined) return false;
    const bodyBytes = recovered.bodyBytes(slot);
    this.cold.set(sequence, new Letter(sequence, bodyBytes, death.reason, death.timeMs, slot));
    this.bytes += bodyBytes;
    this.expectRetry();
    return true;
  }

  // A restart finds it dead, not ready.
  private remember(entry: QueueEntry, { sequence, reason, timeMs }: Letter): void {
    const { queue, journal } = this.owner;
    if (!queue.keeps(entry.message)) return;
    journal.put(heldDeadLetterKind, this.keyOf(sequence), Buffer.from(JSON.stringify([reason, timeMs]), 'latin1'));
  }

  private forget({ entry, sequence }: Letter): void {
    const { queue, journal } = this.owner;
    if (entry !== null && !queue.keeps(entry.message)) return; // else it is in the journal, or could not be cold
    journal.delete(heldDeadLetterKind, this.keyOf(sequence));
  }

  private keyOf(sequence: number): string {
    return `${this.owner.queue.id}\0${sequence}`;
  }

  // — letters that leave memory ———————————————————————————————————————————————————————————————————————————————————

  /** Lets those that can be read back leave memory, a slice of them. @returns true when there is more to do */
  page(paging: Paging): boolean {
    const { store } = paging;
    this.paging = paging;
    let left = paging.sliceEntries;
    for (const letter of this.warm.values()) {
      const entry = letter.entry!;
      if (!store.holds(entry)) return false; // it is being written, and those behind it probably are
      if (left-- === 0) return true;
      letter.slot = store.freeze(entry);
      letter.entry = null;
      entry.state = 'settled'; // another one comes back in its place
      this.warm.delete(letter.sequence);
      this.cold.set(letter.sequence, letter);
      this.memoryBytes -= letter.bodyBytes;
    }
    return false;
  }

  // — trying again ————————————————————————————————————————————————————————————————————————————————————————————————

  // A slice of the pass.
  private goOn(): void {
    if (this.reading) return; // it goes on by itself
    this.timer?.cancel();
    this.timer = null;
    this.pass ??= this.all();
    const slice: Letter[] = [];
    while (slice.length < sliceCount) {
      const next = this.pass.next();
      if (next.done === true) {
        this.pass = null;
        break;
      }
      slice.push(next.value);
    }
    const isCold = slice.some(({ entry }) => entry === null);
    if (isCold) void this.tryCold(slice);
    else {
      this.tryWarm(slice);
      this.plan(0);
    }
  }

  private *all(): Generator<Letter, void> {
    yield* this.cold.values();
    yield* this.warm.values();
  }

  private plan(ms: number): void {
    if (this.length === 0) {
      if (this.state === 'letting-go') this.owner.allGone();
    } else if (this.state === 'letting-go') this.retryAfter(0);
    else this.retryAfter(this.pass === null ? retryMs : ms);
  }

  // What left memory since the slice was taken has its turn with the next pass.
  private tryWarm(slice: readonly Letter[]): void {
    for (const letter of slice) if (letter.entry !== null) this.try(letter, letter.entry);
  }

  private async tryCold(slice: readonly Letter[]): Promise<void> {
    const { generation } = this;
    const { store } = this.paging!;
    const { queue } = this.owner;
    const cold = slice.filter(({ entry }) => entry === null);
    const slots = slotsOf(cold);
    let hasGone = false;
    this.reading = true;
    for (let at = 0; at < cold.length; ) {
      let entries: QueueEntry[];
      try {
        entries = takeAll(await store.read<Queue>(queue, slots, at, slots.length));
        if (generation !== this.generation) return;
        if (entries.length === 0) throw new Error(`nothing is at slot ${slots.at(at)}`);
      } catch (error) {
        if (generation === this.generation) this.fail(error as Error);
        return;
      }
      for (const entry of entries) {
        entry.state = 'waiting';
        entry.message.replies = queue.replies;
        if (this.try(cold[at]!, entry)) hasGone = true;
        at += 1;
      }
    }
    this.reading = false;
    this.tryWarm(slice);
    this.plan(hasGone ? 0 : coldSliceMs);
  }

  // The others may be read all the same: the pass goes on behind this slice.
  private fail(why: Error): void {
    const { generation } = this;
    this.paging!.failed(this.owner.queue, why, () => {
      if (generation !== this.generation) return;
      this.reading = false;
      this.goOn();
    });
  }

  // @returns true when it has gone
  private try(letter: Letter, entry: QueueEntry): boolean {
    if (!this.owner.sendDeadLetter(entry.message, letter) && this.state === 'holding') return false;
    const { sequence, bodyBytes } = letter;
    this.bytes -= bodyBytes;
    if (this.warm.delete(sequence)) this.memoryBytes -= bodyBytes;
    else if (this.cold.delete(sequence)) this.paging!.store.thaw(letter.slot, entry);
    this.forget(letter);
    this.owner.deadLetterGone(entry);
    return true;
  }

  private expectRetry(): void {
    if (this.timer === null && !this.reading) this.retryAfter(retryMs);
  }

  private retryAfter(ms: number): void {
    this.timer?.cancel();
    this.timer = this.owner.timers.after(ms, () => this.goOn());
  }
}

function slotsOf(cold: readonly Letter[]): SlotList {
  return SlotList.of(cold.map(({ slot }) => slot));
}
