import type { QueueEntry } from '../../core/queue/entry.ts';
import { Ring } from '../../lib/ring.ts';

/**
 * What a session has sent and its peer has not settled, by the number of the delivery. Mostly the oldest is settled
 * first; what is settled out of order leaves a hole, and holes are swept out before they outnumber what is left.
 */
export class Unsettled {
  count = 0;
  private readonly numbers = new Ring<number>();
  private readonly entries = new Ring<QueueEntry | null>();

  /** Numbers come in ascending order. */
  add(delivery: number, entry: QueueEntry): void {
    this.numbers.push(delivery);
    this.entries.push(entry);
    this.count += 1;
  }

  /** Hands over, oldest first, and forgets those from `first` to `last`. */
  takeRange(first: number, last: number, take: (entry: QueueEntry, delivery: number) => void): void {
    const { numbers, entries } = this;
    while (numbers.length > 0 && numbers.at(0)! >= first && numbers.at(0)! <= last) {
      const delivery = numbers.shift()!;
      const entry = entries.shift()!;
      if (entry === null) continue;
      this.count -= 1;
      take(entry, delivery);
    }
    for (let i = this.indexFrom(first); i < numbers.length && numbers.at(i)! <= last; i++) {
      const entry = entries.at(i)!;
      if (entry === null) continue;
      entries.set(i, null);
      this.count -= 1;
      take(entry, numbers.at(i)!);
    }
    this.dropHoles();
  }

  /** The same for those of one link; null: of all. */
  takeAll(owner: object | null, take: (entry: QueueEntry, delivery: number) => void): void {
    const { numbers, entries } = this;
    for (let i = 0; i < numbers.length; i++) {
      const entry = entries.at(i)!;
      if (entry === null || (owner !== null && entry.consumer !== owner)) continue;
      entries.set(i, null);
      this.count -= 1;
      take(entry, numbers.at(i)!);
    }
    this.dropHoles();
  }

  private dropHoles(): void {
    const { numbers, entries } = this;
    while (entries.length > 0 && entries.at(0) === null) {
      numbers.shift();
      entries.shift();
    }
    if (entries.length <= 2 * this.count + 64) return;
    for (let left = entries.length; left > 0; left--) {
      const delivery = numbers.shift()!;
      const entry = entries.shift()!;
      if (entry === null) continue;
      numbers.push(delivery);
      entries.push(entry);
    }
  }

  // The first place whose number is not below `delivery`; numbers are dense between sweeps, so that the guess mostly hits.
  private indexFrom(delivery: number): number {
    const { numbers } = this;
    if (numbers.length === 0) return 0;
    const guess = delivery - numbers.at(0)!;
    if (guess <= 0) return 0;
    if (numbers.at(guess) === delivery) return guess;
    let low = 0;
    let high = numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (numbers.at(middle)! < delivery) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
