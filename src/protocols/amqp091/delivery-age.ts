/**
 * How long the oldest delivery of a channel has been unacked, without a word written when one leaves: now and then the
 * highest delivery tag is noted with the time, and all tags up to it are at least that old.
 */
export class DeliveryAge {
  private readonly limitMs: number;
  private readonly marks: { readonly tag: number; readonly atMs: number }[] = [];

  constructor(limitMs: number) {
    this.limitMs = limitMs;
  }

  /**
   * To be called about once a second.
   * @param oldest the lowest unacked tag, 0 = none
   * @returns true if that delivery has been waiting for the limit, give or take a sixteenth
   */
  isOver(oldest: number, last: number, nowMs: number): boolean {
    const { marks, limitMs } = this;
    while (marks.length > 0 && (oldest === 0 || marks[0]!.tag < oldest)) marks.shift();
    if (oldest === 0) return false;
    const newest = marks.at(-1);
    if (newest === undefined || (newest.tag < last && nowMs - newest.atMs >= limitMs / 16)) {
      marks.push({ tag: last, atMs: nowMs });
    }
    return nowMs - marks[0]!.atMs >= limitMs;
  }
}
