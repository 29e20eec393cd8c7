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
 * Rates between the last two times that somebody asked: nothing is sampled while nobody looks. What a count belongs to
 * may go; its samples go with it.
 */
export class Rates {
  private readonly samples = new WeakMap<object, Map<string, Sample>>();
  private readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  /** `{publish: 3, publish_details: {rate: 0.5}, …}` */
  detail(owner: object, counts: Readonly<Record<string, number>>): Record<string, number | Details> {
    const detailed: Record<string, number | Details> = {};
    for (const [name, count] of Object.entries(counts)) {
      detailed[name] = count;
      detailed[`${name}_details`] = { rate: this.rateOf(owner, name, count) };
    }
    return detailed;
  }

  private rateOf(owner: object, name: string, count: number): number {
    let samples = this.samples.get(owner);
    if (samples === undefined) {
      samples = new Map();
      this.samples.set(owner, samples);
    }
    const now = this.nowMs();
    const last = samples.get(name);
    if (last !== undefined && now - last.atMs < sampleEveryMs) return last.rate;
    const rate = last === undefined ? 0 : Math.round(((count - last.count) * 100_000) / (now - last.atMs)) / 100;
    samples.set(name, { count, atMs: now, rate });
    return rate;
  }
}
