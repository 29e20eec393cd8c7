/**
 * So many of something at a time; the rest wait. Those of one address wait behind one another, and the addresses take
 * turns: a crowd from one delays the others by one of its own.
 */
export class Turns {
  private readonly atOnce: number;
  private running = 0;
  /** The address whose turn is next comes first. */
  private readonly queues = new Map<string, (() => void)[]>();
  private waitingCount = 0;

  constructor(atOnce: number) {
    this.atOnce = atOnce;
  }

  get waiting(): number {
    return this.waitingCount;
  }

  async take<T>(address: string, work: () => Promise<T>): Promise<T> {
    if (this.running >= this.atOnce) await new Promise<void>((resolve) => this.wait(address, resolve));
    else this.running += 1;
    try {
      return await work();
    } finally {
      const next = this.next();
      if (next === undefined) this.running -= 1;
      else next(); // the turn is handed on
    }
  }

  private wait(address: string, resolve: () => void): void {
    const queue = this.queues.get(address);
    if (queue === undefined) this.queues.set(address, [resolve]);
    else queue.push(resolve);
    this.waitingCount += 1;
  }

  private next(): (() => void) | undefined {
    for (const [address, queue] of this.queues) {
      this.queues.delete(address);
      const next = queue.shift();
      if (queue.length > 0) this.queues.set(address, queue); // to the end
      this.waitingCount -= 1;
      return next;
    }
    return undefined;
  }
}
