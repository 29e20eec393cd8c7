/** How a count grew, in `_details` of RabbitMQ's answers. */
export interface Details {
  readonly rate: number;
}

interface Sample {
  readonly count: number;
  readonly atMs: number;
  readonly rate: number;
}

/** Who asks again sooner is told the same rate. */
const sampleEveryMs = 1000;

/**
 * Rates between the last two times that somebody asked: nothing is sampled while nobody looks. The first time a count
 * that began with 0 is told as its average since then. What a count belongs to may go; its samples go with it.
 */
export class Rates {
  private readonly samples = new WeakMap<object, Map<string, Sample>>();
  private readonly parts = new WeakMap<object, Map<number, object>>();
  private readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** What the counts of a numbered part of the owner belong to. */
  within(owner: object, number: number): object {
    let parts = this.parts.get(owner);
    if (parts === undefined) {
      parts = new Map();
      this.parts.set(owner, parts);
    }
    let part = parts.get(number);
    if (part === undefined) {
      part = {};
      parts.set(number, part);
    }
    return part;
  }

  /**
   * `{publish: 3, publish_details: {rate: 0.5}, …}`
   * @param sinceMs when all of them were 0; left out for what may go down
   */
  detail(owner: object, counts: Readonly<Record<string, number>>, sinceMs?: number): Record<string, number | Details> {
    const detailed: Record<string, number | Details> = {};
    for (const [name, count] of Object.entries(counts)) {
      detailed[name] = count;
      detailed[`${name}_details`] = { rate: this.rateOf(owner, name, count, sinceMs) };
    }
    return detailed;
  }

  private rateOf(owner: object, name: string, count: number, sinceMs: number | undefined): number {
    let samples = this.samples.get(owner);
    if (samples === undefined) {
      samples = new Map();
      this.samples.set(owner, samples);
    }
    const now = this.nowMs();
    const last = samples.get(name);
    if (last !== undefined && now - last.atMs < sampleEveryMs) return last.rate;
    const from = last ?? (sinceMs === undefined ? { count, atMs: now } : { count: 0, atMs: sinceMs });
    const grown = Math.round(((count - from.count) * 100_000) / (now - from.atMs)) / 100;
    // a count that began anew, such as that of a channel whose number is used again, did not shrink
    const rate = now <= from.atMs || (grown < 0 && sinceMs !== undefined) ? 0 : grown;
    samples.set(name, { count, atMs: now, rate });
    return rate;
  }
}
