/** Whole batches are read together, about so many octets at least: one call of the system costs as much. */
const blockBytes = 32 * 1024;

/**
 * Where the blocks of a file begin: each is one or more whole batches, the least that can be read and checked. The last
 * one ends where the file does.
 */
export class Blocks {
  private readonly starts: number[] = [];
  private lastEnd = 0;

  /** Batches come in the order of the file. */
  add(start: number, end: number): void {
    const { starts } = this;
    const isLarge = end - start >= blockBytes || this.lastEnd - (starts.at(-1) ?? 0) >= blockBytes;
    if (starts.length === 0 || isLarge) starts.push(start);
    this.lastEnd = end;
  }

  /** @returns the number of the block that holds `offset` */
  find(offset: number): number {
    const { starts } = this;
    let low = 0;
    for (let high = starts.length; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (starts[middle]! <= offset) low = middle;
      else high = middle;
    }
    return low;
  }

  start(number: number): number {
    return this.starts[number]!;
  }

  /** @param fileBytes the length of the file */
  end(number: number, fileBytes: number): number {
    return this.starts[number + 1] ?? fileBytes;
  }
}
