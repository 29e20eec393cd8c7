import type { Logger } from '../lib/log.ts';
import type { Timers } from '../lib/timers.ts';

/** Where the marks are. */
export interface Marks {
  /** Octets of memory of the process, and of the heap within it, above which publishers wait. */
  readonly memoryBytes: number;
  readonly heapBytes: number;
  /** Octets free on the disk of the data directory below which publishers wait. */
  readonly diskFreeBytes: number;
  /** Octets that the journal has taken and not yet written above which publishers wait. */
  readonly backlogBytes: number;
}

/** What there is, read when it is asked for. */
export interface Gauges {
  memoryBytes(): number;
  heapBytes(): number;
  diskFreeBytes(): Promise<number>;
  backlogBytes(): number;
}

export interface ResourceWatchParts {
  readonly marks: Marks;
  readonly gauges: Gauges;
  readonly timers: Timers;
  readonly log: Logger;
  /** What is short, in the words that clients are told (`memory`, `disk`), or null: enough of everything. */
  onChange(why: string | null): void;
}

const everyMs = 1000;
/** An alarm ends only when there is clearly enough again, so that it does not flutter. */
const memoryBack = 0.9;
const diskBack = 1.2;
const backlogBack = 0.5;

/** Looks every second how much memory and disk are left, and raises an alarm that makes publishers wait. */
export class ResourceWatch {
  private readonly parts: ResourceWatchParts;
  private memoryShort = false;
  private diskShort = false;
  private diskSlow = false;
  private said: string | null = null;
  private looking = false;

  constructor(parts: ResourceWatchParts) {
    this.parts = parts;
    parts.timers.every(everyMs, () => void this.look());
  }

  private async look(): Promise<void> {
    if (this.looking) return; // a slow disk is not asked twice
    this.looking = true;
    const { marks, gauges, log } = this.parts;
    const memory = Math.max(gauges.memoryBytes() / marks.memoryBytes, gauges.heapBytes() / marks.heapBytes);
    this.memoryShort = memory >= (this.memoryShort ? memoryBack : 1);
    this.diskSlow = gauges.backlogBytes() >= marks.backlogBytes * (this.diskSlow ? backlogBack : 1);
    this.tell();
    try {
      const free = await gauges.diskFreeBytes();
      this.diskShort = free < marks.diskFreeBytes * (this.diskShort ? diskBack : 1);
    } catch (error) {
      log.warn({ err: (error as Error).message }, 'the free space of the disk cannot be read');
    }
    this.looking = false;
    this.tell();
  }

  private tell(): void {
    const short = [this.memoryShort ? 'memory' : '', this.diskShort || this.diskSlow ? 'disk' : ''].filter(
      (each) => each !== '',
    );
    const why = short.length > 0 ? short.join(' and ') : null;
    if (why === this.said) return;
    this.said = why;
    if (why === null) this.parts.log.warn({}, 'alarm over: publishers go on');
    else this.parts.log.warn({ resource: why }, 'alarm: publishers wait until there is more of it');
    this.parts.onChange(why);
  }
}
