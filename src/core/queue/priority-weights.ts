/**
 * x-priority-mode: weighted. Each level has a pass, which a message taken from it moves on by 1 / weight; the level with
 * the smallest pass is next. So levels that have messages share as their weights say, and none starves.
 */
export class PriorityWeights {
  private readonly weights: readonly number[];
  private readonly passes: Float64Array;
  /** Where the last one taken stood: a level that was empty begins there, and has saved nothing up. */
  private passed = 0;

  constructor(weights: readonly number[]) {
    this.weights = weights;
    this.passes = new Float64Array(weights.length);
  }

  /** A level that was empty has a message. */
  filled(level: number): void {
    this.passes[level] = Math.max(this.passes[level]!, this.passed + 1 / this.weights[level]!);
  }

  /** @param has whether a level has messages @returns the level that is next, −1 when all are empty */
  next(has: (level: number) => boolean): number {
    let found = -1;
    for (let level = this.passes.length - 1; level >= 0; level--) {
      if (has(level) && (found < 0 || this.passes[level]! < this.passes[found]!)) found = level;
    }
    return found;
  }

  taken(level: number): void {
    this.passed = this.passes[level]!;
    this.passes[level]! += 1 / this.weights[level]!;
  }
}
