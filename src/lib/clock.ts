/** Wall-clock time for everything that is not timed to the microsecond. */
export interface Clock {
  /**
   * Milliseconds since the epoch as of the last `refresh`: at the latest the start of the current turn.
   * Reading a field costs nothing, where `Date.now()` costs 43 ns.
   */
  readonly nowMs: number;
  /** Called once where a turn begins: a read, a timer, a completed write. */
  refresh(): void;
}

export class SystemClock implements Clock {
  nowMs = Date.now();

  refresh(): void {
    this.nowMs = Date.now();
  }
}
