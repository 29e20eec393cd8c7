import type { Condition } from '../../core/errors.ts';
import type { PublishReceipt } from '../../core/journal.ts';

/**
 * Publisher confirms of one channel, in bulk: a turn's confirms leave as one `ack` with `multiple`. Those that come
 * ahead of an earlier message's wait for it.
 */
export class Confirms implements PublishReceipt {
  /** Publishes so far. */
  published = 0;
  /** All up to here are answered for. */
  private settledTo = 0;
  private sentTo = 0;
  /** Publishes that were acked, and told so. */
  told = 0;
  private readonly ahead = new Set<number>();
  private readonly refusedTags: number[] = [];
  private readonly dirty: () => void;

  /** @param dirty called when there is something to send at the end of the turn */
  constructor(dirty: () => void) {
    this.dirty = dirty;
  }

  /** Publishes not answered for. */
  get unsettled(): number {
    return this.published - this.settledTo - this.ahead.size;
  }

  confirmed(tag: number): void {
    this.settle(tag);
    this.dirty();
  }

  refused(tag: number, _why: Condition): void {
    this.refusedTags.push(tag);
    this.settle(tag);
    this.dirty();
  }

  /** Another was published, and is not taken. */
  refuse(): void {
    this.published += 1;
    this.refused(this.published, 'resource-limit-exceeded');
  }

  /** Hands over what there is to send, in the order of the tags. */
  flush(ack: (tag: number, multiple: boolean) => void, nack: (tag: number) => void): void {
    if (this.refusedTags.length > 0) {
      this.refusedTags.sort((a, b) => a - b);
      while (this.refusedTags.length > 0 && this.refusedTags[0]! <= this.settledTo) {
        const tag = this.refusedTags.shift()!;
        this.ackTo(tag - 1, ack);
        nack(tag);
        this.sentTo = tag;
      }
    }
    this.ackTo(this.settledTo, ack);
  }

  private ackTo(tag: number, ack: (tag: number, multiple: boolean) => void): void {
    if (tag <= this.sentTo) return;
    ack(tag, tag > this.sentTo + 1);
    this.told += tag - this.sentTo;
    this.sentTo = tag;
  }

  private settle(tag: number): void {
    if (tag !== this.settledTo + 1) {
      this.ahead.add(tag);
      return;
    }
    this.settledTo = tag;
    while (this.ahead.size > 0 && this.ahead.delete(this.settledTo + 1)) this.settledTo += 1;
  }
}
