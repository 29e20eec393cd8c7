import type { Timer, Timers } from '../../lib/timers.ts';
import type { Journal } from '../journal.ts';
import type { DeathReason, Message } from '../message.ts';
import type { QueueEntry } from './entry.ts';

/** How a message died that its queue still holds, by the queue's number and the message's sequence. */
export const heldDeadLetterKind = 'held-dead-letter';

/** A death that is not over: some queue that the dead letter goes to does not have it. */
export interface HeldDeath {
  readonly reason: DeathReason;
  readonly timeMs: number;
  /** Names of the queues that have it already; they do not get it again. */
  readonly safeIn: Set<string>;
}

/** What the queue does for what it holds. */
export interface HeldDeadLettersOwner {
  readonly id: number;
  readonly timers: Timers;
  readonly journal: Journal;
  keeps(message: Message): boolean;
  /** Publishes the dead letter to those that do not have it. @returns true when all have */
  sendDeadLetter(message: Message, death: HeldDeath): boolean;
  /** One could not be sent, the first time of all. */
  firstHeld(): void;
  /** All have it: the entry is to be settled, in the same turn. */
  deadLetterSafe(entry: QueueEntry): void;
}

/** How long it takes until what could not be sent is tried again, and how many letters are tried in a turn. */
const retryMs = 1000;
const sliceCount = 256;

/**
 * x-dead-letter-strategy: at-least-once. What died stays the queue's own, in nobody's reach, until every queue that its
 * dead letter is routed to has taken it. The last of these publishes and the settlement are one unit of the journal.
 */
export class HeldDeadLetters {
  /** Octets of the bodies that are held. */
  bytes = 0;
  private readonly owner: HeldDeadLettersOwner;
  private readonly held = new Map<QueueEntry, HeldDeath>();
  /** What the journal remembers of entries that are still to be read back, by sequence. */
  private readonly known = new Map<number, HeldDeath>();
  private timer: Timer | null = null;
  private hasHeld = false;
  /** Where the pass over all that is held goes on. */
  private pass: Iterator<[QueueEntry, HeldDeath]> | null = null;

  constructor(owner: HeldDeadLettersOwner) {
    this.owner = owner;
  }

  get length(): number {
    return this.held.size;
  }

  /**
   * The entry died.
   * @returns true when its dead letter is safe and the entry is to be settled; false when it is held from now on
   */
  send(entry: QueueEntry, reason: DeathReason, timeMs: number): boolean {
    if (this.held.has(entry)) return false; // it dies once
    const { message } = entry;
    const known = this.known.get(message.sequence);
    const death = known ?? { reason, timeMs, safeIn: new Set() };
    if (this.owner.sendDeadLetter(message, death)) {
      if (known !== undefined) this.forgetKnown(entry);
      return true;
    }
    if (known === undefined) this.remember(entry, death);
    this.hold(entry, death);
    if (!this.hasHeld) this.owner.firstHeld();
    this.hasHeld = true;
    return false;
  }

  /** True for an entry that was read back and had died before the restart: it is held again, and nobody's to take. */
  takesBack(entry: QueueEntry): boolean {
    const death = this.known.get(entry.message.sequence);
    if (death === undefined) return false;
    this.hold(entry, death);
    return true;
  }

  /** Tries all that is held: something that it waits for may be there now. */
  retry(): void {
    this.timer?.cancel();
    this.timer = null;
    this.pass ??= this.held[Symbol.iterator]();
    for (let left = sliceCount; left > 0; left--) {
      const next = this.pass.next();
      if (next.done) {
        this.pass = null;
        break;
      }
      const [entry, death] = next.value;
      if (!this.owner.sendDeadLetter(entry.message, death)) continue;
      this.release(entry);
      this.owner.deadLetterSafe(entry);
    }
    if (this.held.size > 0) this.retryAfter(this.pass === null ? retryMs : 0);
  }

  /** Everything that is held, with its death; nothing is any longer. */
  takeAll(): [QueueEntry, HeldDeath][] {
    const all = [...this.held];
    for (const [entry] of all) this.release(entry);
    this.timer?.cancel();
    this.timer = null;
    this.pass = null;
    return all;
  }

  /** An entry that had died before the restart, and was not read back, is settled. */
  forgetSequence(sequence: number): void {
    if (this.known.delete(sequence)) this.owner.journal.delete(heldDeadLetterKind, `${this.owner.id}\0${sequence}`);
  }

  /** What the journal remembers; before the entry. */
  restore(sequence: number, value: Buffer): void {
    const [reason, timeMs] = JSON.parse(value.toString('latin1')) as [DeathReason, number];
    this.known.set(sequence, { reason, timeMs, safeIn: new Set() });
  }

  /** Entries that died before the restart are still to be read back. */
  get expects(): boolean {
    return this.known.size > 0;
  }

  private hold(entry: QueueEntry, death: HeldDeath): void {
    this.held.set(entry, death);
    this.bytes += entry.message.bodyBytes;
    if (this.timer === null) this.retryAfter(retryMs);
  }

  private release(entry: QueueEntry): void {
    if (!this.held.delete(entry)) return;
    this.bytes -= entry.message.bodyBytes;
    this.forgetKnown(entry);
  }

  private retryAfter(ms: number): void {
    this.timer = this.owner.timers.after(ms, () => this.retry());
  }

  // A restart finds it dead, not ready.
  private remember(entry: QueueEntry, { reason, timeMs }: HeldDeath): void {
    if (!this.owner.keeps(entry.message)) return;
    const value = Buffer.from(JSON.stringify([reason, timeMs]), 'latin1');
    this.owner.journal.put(heldDeadLetterKind, this.keyOf(entry), value);
  }

  private forgetKnown(entry: QueueEntry): void {
    this.known.delete(entry.message.sequence);
    if (this.owner.keeps(entry.message)) this.owner.journal.delete(heldDeadLetterKind, this.keyOf(entry));
  }

  private keyOf(entry: QueueEntry): string {
    return `${this.owner.id}\0${entry.message.sequence}`;
  }
}
