import type { QueueEntry } from '../../core/queue/entry.ts';
import { Ring } from '../../lib/ring.ts';

/**
 * What a connection was given and has not settled, by the number of its delivery. Mostly the oldest is settled
 * first; what is settled out of order leaves a hole, and holes are swept out before they outnumber what is left.
 */
export class Unacked {
  count = 0;
  private readonly numbers = new Ring<number>();
  private readonly entries = new Ring<QueueEntry | null>();

  /** Numbers come in ascending order. */
  add(delivery: number, entry: QueueEntry): void {
    this.numbers.push(delivery);
    this.entries.push(entry);
    this.count += 1;
  }

  find(delivery: number): QueueEntry | null {
    return this.entries.at(this.indexOf(delivery)) ?? null;
  }

  take(delivery: number): QueueEntry | null {
    const index = this.indexOf(delivery);
    const entry = this.entries.at(index) ?? null;
    if (entry === null) return null;
    this.entries.set(index, null);
    this.count -= 1;
    this.dropHoles();
    return entry;
  }

  /** Removes and returns, oldest first, those up to `delivery` that `owner` was given; null: whoever was. */
  takeUpTo(delivery: number, owner: object | null): QueueEntry[] {
    const taken: QueueEntry[] = [];
    for (let i = 0; i < this.numbers.length && this.numbers.at(i)! <= delivery; i++) {
      const entry = this.entries.at(i) ?? null;
      if (entry === null || (owner !== null && entry.consumer !== owner)) continue;
      taken.push(entry);
      this.entries.set(i, null);
    }
    this.count -= taken.length;
    this.dropHoles();
    return taken;
  }

  takeAll(owner: object | null): QueueEntry[] {
    return this.takeUpTo(Number.POSITIVE_INFINITY, owner);
  }

  numbersUpTo(delivery: number, owner: object): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.numbers.length && this.numbers.at(i)! <= delivery; i++) {
      if (this.entries.at(i)?.consumer === owner) found.push(this.numbers.at(i)!);
    }
    return found;
  }

  /** Puts back what was taken. */
  restore(deliveries: readonly (readonly [delivery: number, entry: QueueEntry])[]): void {
    const all = [...deliveries];
    for (const delivery of this.numbers) {
      const entry = this.find(delivery);
      if (entry !== null) all.push([delivery, entry]);
    }
    this.numbers.clear();
    this.entries.clear();
    this.count = 0;
    for (const [delivery, entry] of all.sort(([a], [b]) => a - b)) this.add(delivery, entry);
  }

  private dropHoles(): void {
    while (this.entries.length > 0 && this.entries.at(0) === null) {
      this.numbers.shift();
      this.entries.shift();
    }
    if (this.entries.length <= 2 * this.count + 64) return;
    for (let left = this.entries.length; left > 0; left--) {
      const delivery = this.numbers.shift()!;
      const entry = this.entries.shift()!;
      if (entry === null) continue;
      this.numbers.push(delivery);
      this.entries.push(entry);
    }
  }

  // −1 when there is none; numbers are dense between sweeps, so that the guess mostly hits.
  private indexOf(delivery: number): number {
    const { numbers } = this;
    if (numbers.length === 0) return -1;
    const guess = delivery - numbers.at(0)!;
    if (numbers.at(guess) === delivery) return guess;
    let low = 0;
    let high = numbers.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = numbers.at(middle)!;
      if (found === delivery) return middle;
      if (found < delivery) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
