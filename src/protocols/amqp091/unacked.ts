import type { QueueEntry } from '../../core/queue/entry.ts';
import { Ring } from '../../lib/ring.ts';

/**
 * What a channel has delivered and not settled, by delivery tag. Mostly the oldest is settled first; what is settled
 * out of order leaves a hole, and holes are swept out before they outnumber what is left.
 */
export class Unacked {
  count = 0;
  private readonly tags = new Ring<number>();
  private readonly entries = new Ring<QueueEntry | null>();

  /** Tags come in ascending order. */
  add(tag: number, entry: QueueEntry): void {
    this.tags.push(tag);
    this.entries.push(entry);
    this.count += 1;
  }

  has(tag: number): boolean {
    return (this.entries.at(this.indexOf(tag)) ?? null) !== null;
  }

  /** Removes and returns the entry of `tag`, or undefined when there is none. */
  take(tag: number): QueueEntry | undefined {
    const index = this.indexOf(tag);
    const entry = this.entries.at(index) ?? null;
    if (entry === null) return undefined;
    this.count -= 1;
    if (index === 0) {
      this.dropFirst();
      this.dropHoles();
    } else {
      this.entries.set(index, null);
      if (this.entries.length > 2 * this.count + 64) this.sweep();
    }
    return entry;
  }

  /** Removes and returns the oldest entry if its tag is at most `tag`. */
  takeFirst(tag: number): QueueEntry | undefined {
    if (this.count === 0 || this.tags.at(0)! > tag) return undefined;
    const entry = this.entries.at(0)!;
    this.count -= 1;
    this.dropFirst();
    this.dropHoles();
    return entry;
  }

  /** The lowest tag, 0 when there is none. */
  get oldest(): number {
    return this.tags.at(0) ?? 0;
  }

  /** Puts back what was taken. */
  restore(taken: readonly { readonly tag: number; readonly entry: QueueEntry }[]): void {
    const all = [...taken];
    for (let i = 0; i < this.tags.length; i++) {
      const entry = this.entries.at(i) ?? null;
      if (entry !== null) all.push({ tag: this.tags.at(i)!, entry });
    }
    this.tags.clear();
    this.entries.clear();
    this.count = 0;
    for (const { tag, entry } of all.sort((a, b) => a.tag - b.tag)) this.add(tag, entry);
  }

  private dropFirst(): void {
    this.tags.shift();
    this.entries.shift();
  }

  // The first is never a hole.
  private dropHoles(): void {
    while (this.entries.length > 0 && this.entries.at(0) === null) this.dropFirst();
  }

  private sweep(): void {
    const length = this.entries.length;
    for (let i = 0; i < length; i++) {
      const tag = this.tags.shift()!;
      const entry = this.entries.shift()!;
      if (entry === null) continue;
      this.tags.push(tag);
      this.entries.push(entry);
    }
  }

  // −1 when there is none; tags are dense between sweeps, so that the guess mostly hits.
  private indexOf(tag: number): number {
    const { tags } = this;
    if (tags.length === 0) return -1;
    const guess = tag - tags.at(0)!;
    if (tags.at(guess) === tag) return guess;
    let low = 0;
    let high = tags.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = tags.at(middle)!;
      if (found === tag) return middle;
      if (found < tag) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
