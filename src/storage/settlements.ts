import { varintBytes } from './varint.ts';

/** Settlements of one queue, in runs of sequence numbers: one record of them takes a few octets a run. */
export class Settlements {
  readonly queueId: number;
  /** The beginning of each run and the place behind its end, in turn. */
  private bounds: number[] = [];
  private ascends = true;

  constructor(queueId: number) {
    this.queueId = queueId;
  }

  add(sequence: number): void {
    const { bounds } = this;
    const last = bounds.length - 1;
    if (last > 0 && bounds[last] === sequence) {
      bounds[last] = sequence + 1;
      return;
    }
    if (last > 0 && sequence < bounds[last]!) this.ascends = false;
    bounds.push(sequence, sequence + 1);
  }

  /** The runs in ascending order, none next to another; to be read once everything was added. */
  get runs(): readonly number[] {
    if (!this.ascends) this.arrange();
    return this.bounds;
  }

  private arrange(): void {
    const { bounds } = this;
    const order = Array.from({ length: bounds.length / 2 }, (_, i) => 2 * i).sort((a, b) => bounds[a]! - bounds[b]!);
    this.bounds = [];
    this.ascends = true;
    for (const at of order) {
      const end = bounds[at + 1]!;
      if (this.bounds.at(-1) === bounds[at]) this.bounds[this.bounds.length - 1] = end;
      else this.bounds.push(bounds[at]!, end);
    }
  }

  /** Octets of its record. */
  get bytes(): number {
    const { runs } = this;
    let bytes = 17;
    let end = runs[0]!;
    for (let i = 0; i < runs.length; i += 2) {
      bytes += varintBytes(runs[i]! - end) + varintBytes(runs[i + 1]! - runs[i]!);
      end = runs[i + 1]!;
    }
    return bytes;
  }
}
