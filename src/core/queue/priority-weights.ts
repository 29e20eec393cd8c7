import { has, type Levels, type PriorityOrder } from './priority-order.ts';

/**
 * x-priority-mode: weighted. Each level has a pass, which a message taken from it moves on by 1 / weight; the level with
 * the smallest pass is next. So levels that have messages share as their weights say, and none starves.
 */
export class PriorityWeights implements PriorityOrder {
  private readonly weights: readonly number[];
  private readonly passes: Float64Array;
  /** Where the last one taken stood: a level that was empty begins there, and has saved nothing up. */
  private passed = 0;

  constructor(weights: readonly number[]) {
    this.weights = weights;
    this.passes = new Float64Array(weights.length);
  }

  filled(level: number): void {
    this.passes[level] = Math.max(this.passes[level]!, this.passed + 1 / this.weights[level]!);
  }

  next(levels: Levels): number {
    let found = -1;
    for (let level = this.passes.length - 1; level >= 0; level--) {
      if (has(levels, level) && (found < 0 || this.passes[level]! < this.passes[found]!)) found = level;
    }
    return found;
  }

  taken(level: number): void {
    this.passed = this.passes[level]!;
    this.passes[level]! += 1 / this.weights[level]!;
  }
}
