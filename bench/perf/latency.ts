/** Buckets a power of two: a quantile is exact to 1.6 %. */
const steps = 64;

/** Counts of latencies in microseconds, in buckets that widen with the value. */
export class Latencies {
  private readonly counts = new Uint32Array(steps * 28);
  count = 0;

  add(micros: number): void {
    this.counts[bucketOf(micros)]! += 1;
    this.count += 1;
  }

  clear(): void {
    this.counts.fill(0);
    this.count = 0;
  }

  /** @returns microseconds below which the share `quantile` of all lies; 0 when there are none */
  quantile(quantile: number): number {
    let left = Math.ceil(this.count * quantile);
    if (left === 0) return 0;
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i]!;
      if (left <= 0) return topOf(i);
    }
    return topOf(this.counts.length - 1);
  }
}

function bucketOf(micros: number): number {
  if (micros < steps) return Math.max(micros, 0) | 0;
  const shift = 31 - Math.clz32(micros) - 6;
  return (shift + 1) * steps + ((micros >>> shift) - steps);
}

function topOf(bucket: number): number {
  if (bucket < steps) return bucket;
  const shift = Math.floor(bucket / steps) - 1;
  return (((bucket % steps) + steps + 1) << shift) - 1;
}
