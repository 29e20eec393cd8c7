import type { Message } from '../message.ts';
import type { Consumer } from './queue.ts';
import { pick, selects } from './selection.ts';

/** Who takes the deliveries of a queue: the highest priority first while it is ready; those of one priority take turns. */
export class ConsumerList {
  /** By priority, highest first; of one priority in the order in which they came. */
  readonly all: Consumer[] = [];
  /** x-single-active-consumer: only the active one is served, until it leaves. */
  single: boolean;
  /** How many of them have a selector. */
  selecting = 0;
  /** One of them rejects losses of its own accord. */
  rejectsLosses = false;
  /** The active one has left, and what it had is about to come back: nobody is served meanwhile. */
  isHandingOver = false;
  /**
   * Of a quorum queue: it has a higher priority than the active one, and takes over when nothing is unacked any longer.
   * Nobody is served meanwhile [RabbitMQ 4.0: consumer priorities combined with single active consumer].
   */
  successor: Consumer | null = null;
  private active: Consumer | null = null;
  private readonly promotes: boolean;
  private turn = 0;

  /** @param promotes a consumer of a higher priority takes over from the single active one */
  constructor(single: boolean, promotes: boolean) {
    this.single = single;
    this.promotes = promotes;
  }

  get length(): number {
    return this.all.length;
  }

  /** True when no other consumer may come. */
  isExclusive(): boolean {
    return this.all.some(({ exclusive }) => exclusive);
  }

  add(consumer: Consumer): void {
    const { all } = this;
    let at = all.length;
    while (at > 0 && all[at - 1]!.priority < consumer.priority) at -= 1;
    all.splice(at, 0, consumer);
    this.active ??= consumer;
    this.findSuccessor();
    this.changed();
  }

  /** @returns false when it was not there */
  remove(consumer: Consumer): boolean {
    const at = this.all.indexOf(consumer);
    if (at < 0) return false;
    this.all.splice(at, 1);
    if (this.active === consumer) this.active = this.all[0] ?? null;
    this.findSuccessor();
    this.changed();
    return true;
  }

  /** The queue is gone. @returns who was there */
  clear(): Consumer[] {
    this.active = null;
    this.successor = null;
    this.selecting = 0;
    this.rejectsLosses = false;
    return this.all.splice(0);
  }

  /** Nothing is unacked: the successor is the active one now. */
  succeed(): void {
    this.active = this.successor;
    this.successor = null;
  }

  private findSuccessor(): void {
    const [first] = this.all;
    const isHigher = first !== undefined && this.active !== null && first.priority > this.active.priority;
    this.successor = this.single && this.promotes && isHigher ? first : null;
  }

  /** False for one that waits until x-single-active-consumer lets it be served. */
  isActive(consumer: Consumer): boolean {
    return !this.single || consumer === this.active;
  }

  /** True if one of them takes deliveries now. */
  isReady(): boolean {
    if (this.single) return this.nextActive() !== null;
    for (const consumer of this.all) if (consumer.ready) return true;
    return false;
  }

  /** Whose turn it is; null when none is ready. */
  next(): Consumer | null {
    const { all } = this;
    const count = all.length;
    if (count === 0) return null;
    if (this.single) return this.nextActive();
    if (count === 1) return all[0]!.ready ? all[0]! : null;
    let first = 0;
    while (first < count) {
      const priority = all[first]!.priority;
      let end = first + 1;
      while (end < count && all[end]!.priority === priority) end += 1;
      const size = end - first;
      for (let i = 0; i < size; i++) {
        const consumer = all[first + ((this.turn + i) % size)]!;
        if (!consumer.ready) continue;
        this.turn = (this.turn + i + 1) % count;
        return consumer;
      }
      first = end;
    }
    return null;
  }

  /** Whose turn it is among those that select the message; null when none of them is ready. */
  nextFor(message: Message): Consumer | null {
    const consumers = this.served;
    const index = pick(consumers, this.turn, message);
    if (index < 0) return null;
    this.turn += 1;
    return consumers[index]!;
  }

  /** Whose turn it is among those with room for a message that nobody acknowledges; null when there is none. */
  nextOpen(): Consumer | null {
    const { all } = this;
    for (let i = 0; i < all.length; i++) {
      const consumer = all[(this.turn + i) % all.length]!;
      if (!(consumer.open ?? consumer.ready)) continue;
      this.turn = (this.turn + i + 1) % all.length;
      return consumer;
    }
    return null;
  }

  /** True if somebody who is not ready takes the message. */
  wants(message: Message): boolean {
    return this.served.some((consumer) => !consumer.ready && selects(consumer, message));
  }

  private nextActive(): Consumer | null {
    if (this.isHandingOver || this.successor !== null) return null;
    return this.active?.ready ? this.active : null;
  }

  private get served(): readonly Consumer[] {
    if (this.isHandingOver || this.successor !== null) return [];
    return this.single && this.active !== null ? [this.active] : this.all;
  }

  private changed(): void {
    this.rejectsLosses = this.all.some(({ rejectsLosses }) => rejectsLosses === true);
    this.selecting = this.all.filter(({ selector }) => selector !== undefined && selector !== null).length;
  }
}
