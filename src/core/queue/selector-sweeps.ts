import type { Message } from '../message.ts';
import type { ConsumerList } from './consumer-list.ts';
import type { QueueEntry } from './entry.ts';
import type { Consumer } from './queue.ts';
import type { RateLimit } from './rate-limit.ts';
import { Sweep } from './sweep.ts';

/** What they ask of their queue. */
export interface SelectorSweepsOwner {
  readonly nowMs: number;
  readonly rateLimit: RateLimit | null;
  /** Has a slice run in a turn of its own. */
  readonly later: (slice: () => void) => void;
  /** An entry that waits goes to the consumer. */
  handWaiting(entry: QueueEntry, consumer: Consumer): void;
  wake(): void;
  /** None is under way any longer. */
  sweepEnded(): void;
}

/**
 * With selectors, what waits may be for anybody: it is offered in sweeps over all of it. One is begun only when somebody
 * may want what the last one passed, and not before the place up to which nobody did.
 */
export class SelectorSweeps {
  private readonly owner: SelectorSweepsOwner;
  private readonly consumers: ConsumerList;
  /** Something that waits may be for a consumer that was not ready, or is new. */
  private hasSelected = true;
  /** The one that is under way; null: none is. */
  private sweep: Sweep | null = null;
  private sweepsAgain = false;
  /** It has passed something that is for somebody who was not ready. */
  private leavesSelected = false;
  /** Up to this message nothing is for anybody there is: the next sweep begins behind it. */
  private sweptBefore = 0;

  constructor(owner: SelectorSweepsOwner, consumers: ConsumerList) {
    this.owner = owner;
    this.consumers = consumers;
  }

  get isUnderWay(): boolean {
    return this.sweep !== null;
  }

  /**
   * Whose turn it is for a message that has just come; null when it has to wait. That it is for somebody who is not ready
   * is remembered: without such, waking need not look at all that waits.
   */
  nextFor(message: Message): Consumer | null {
    const { rateLimit } = this.owner;
    if (rateLimit !== null && !rateLimit.isOpen(this.owner.nowMs)) {
      this.hasSelected = true;
      return null;
    }
    const consumer = this.consumers.nextFor(message);
    if (consumer === null) this.hasSelected ||= this.consumers.wants(message);
    else if (rateLimit !== null) rateLimit.spend();
    return consumer;
  }

  /** Who takes what has changed. */
  selectAnew(): void {
    this.hasSelected = true;
    this.sweptBefore = 0;
  }

  /** The entry waits again, at its place. */
  cameBack(entry: QueueEntry): void {
    this.hasSelected = true;
    if (this.sweptBefore >= entry.message.sequence) this.sweptBefore = entry.message.sequence - 1;
  }

  /** Somebody may have become ready. @returns true when a sweep is to `begin`; after one that is under way another is */
  woken(): boolean {
    if (this.sweep !== null) {
      this.sweepsAgain = true; // who has become ready may want what it has passed
      return false;
    }
    if (!this.hasSelected || !this.consumers.isReady()) return false;
    const { rateLimit } = this.owner;
    return rateLimit === null || rateLimit.isOpen(this.owner.nowMs);
  }

  /** The list is to be swept with it at once. */
  begin(): Sweep {
    this.hasSelected = false;
    this.leavesSelected = false;
    this.sweep = new Sweep(this.offer, () => this.end(), this.owner.later);
    this.sweep.swept = this.sweptBefore;
    return this.sweep;
  }

  private end(): void {
    const { owner } = this;
    const { isOver, swept } = this.sweep!;
    this.sweep = null;
    this.sweptBefore = this.leavesSelected || this.hasSelected ? 0 : swept;
    if (isOver || this.leavesSelected) this.hasSelected = true;
    if (this.sweepsAgain) owner.later(() => owner.wake());
    this.sweepsAgain = false;
    owner.sweepEnded();
  }

  // A field, for each sweep is made of it.
  private readonly offer = (entry: QueueEntry): boolean => {
    const { owner, consumers } = this;
    const { rateLimit } = owner;
    const isOpen = rateLimit === null || rateLimit.isOpen(owner.nowMs);
    const consumer = isOpen ? consumers.nextFor(entry.message) : null;
    if (consumer === null) {
      // while nobody takes anything the rest need not be looked at: the next sweep goes on here
      if (!isOpen || !consumers.isReady()) this.sweep!.isOver = true;
      else this.leavesSelected ||= consumers.wants(entry.message);
      return false;
    }
    if (rateLimit !== null) rateLimit.spend();
    owner.handWaiting(entry, consumer);
    return true;
  };
}
