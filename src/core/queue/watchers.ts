import type { Timers } from '../../lib/timers.ts';

/** Browsers that wait for more: they are told in a turn of its own, once for all that comes before it. */
export class Watchers {
  private readonly all = new Set<() => void>();
  private readonly timers: Timers;
  private isTelling = false;

  constructor(timers: Timers) {
    this.timers = timers;
  }

  add(arrived: () => void): void {
    this.all.add(arrived);
  }

  /** @returns true when nobody waits any longer */
  remove(arrived: () => void): boolean {
    this.all.delete(arrived);
    return this.all.size === 0;
  }

  /** Something came. */
  tell(): void {
    if (this.isTelling) return;
    this.isTelling = true;
    this.timers.after(0, () => {
      this.isTelling = false;
      for (const arrived of [...this.all]) arrived();
    });
  }
}
