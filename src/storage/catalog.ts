import type { QueueEntry } from '../core/queue/entry.ts';
import { segmentHeaderBytes } from './segment.ts';

/** The last value of a key. */
export interface StateRecord {
  readonly kind: string;
  readonly key: string;
  readonly keyBytes: Buffer;
  value: Buffer;
  segment: Segment;
}

/** What one file of the log still holds that replay needs. */
export class Segment {
  readonly epoch: number;
  /** Length of the file. */
  bytes = segmentHeaderBytes;
  /** Living entries whose message was written here; in no order. */
  readonly entries: QueueEntry[] = [];
  /** Keys whose last value was written here. */
  readonly state = new Set<StateRecord>();
  /** Octets of records that `entries` and `state` need. */
  neededBytes = 0;
  /** Segments of which something here says that it is settled, superseded or moved. */
  readonly overrules = new Set<Segment>();
  /** Where the latest list of all that lives here was written. */
  survivorsIn: Segment | null = null;
  gone = false;

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  /** True while `older` would rise again in part if this segment were gone. */
  holdsDown(older: Segment): boolean {
    return !older.gone && (older.survivorsIn === null || older.survivorsIn.epoch <= this.epoch);
  }

  get deletable(): boolean {
    if (this.entries.length > 0 || this.state.size > 0) return false;
    for (const older of this.overrules) if (this.holdsDown(older)) return false;
    return true;
  }
}

/**
 * Which segments there are and what of them is needed. The one rule of deletion: a record that overrules something in
 * an older segment (a settlement, a newer value, a move) keeps its own segment until the older one is gone, or until
 * a later list of the older one's survivors says the same.
 */
export class Catalog {
  /** In the order of their epochs; the last is the tail. */
  segments: Segment[] = [];
  neededBytes = 0;
  readonly kinds = new Map<string, Map<string, StateRecord>>();

  get tail(): Segment {
    return this.segments.at(-1)!;
  }

  get bytes(): number {
    let bytes = 0;
    for (const segment of this.segments) bytes += segment.bytes;
    return bytes;
  }

  get epochs(): number[] {
    return this.segments.map((segment) => segment.epoch);
  }

  add(epoch: number): Segment {
    const segment = new Segment(epoch);
    this.segments.push(segment);
    return segment;
  }

  find(epoch: number): Segment | undefined {
    return this.segments.find((segment) => segment.epoch === epoch);
  }

  /** The entry's message is in `segment`: newly written, moved there, or found there. */
  place(entry: QueueEntry, segment: Segment, bytes: number): void {
    if (entry.home !== null) this.release(entry, segment);
    entry.home = segment;
    entry.homeIndex = segment.entries.length;
    entry.homeBytes = bytes;
    segment.entries.push(entry);
    segment.neededBytes += bytes;
    this.neededBytes += bytes;
  }

  /** The entry is needed no more where it was, as a record in `by` says. */
  release(entry: QueueEntry, by: Segment): void {
    const segment = entry.home as Segment;
    entry.home = null;
    const last = segment.entries.pop()!;
    if (last !== entry) {
      segment.entries[entry.homeIndex] = last;
      last.homeIndex = entry.homeIndex;
    }
    segment.neededBytes -= entry.homeBytes;
    this.neededBytes -= entry.homeBytes;
    if (segment !== by) by.overrules.add(segment);
  }

  put(kind: string, key: string, keyBytes: Buffer, value: Buffer, segment: Segment): void {
    let values = this.kinds.get(kind);
    if (values === undefined) {
      values = new Map();
      this.kinds.set(kind, values);
    }
    const current = values.get(key);
    if (current === undefined) {
      const record: StateRecord = { kind, key, keyBytes, value, segment };
      values.set(key, record);
      this.charge(record);
    } else {
      this.discharge(current, segment);
      current.value = value;
      current.segment = segment;
      this.charge(current);
    }
  }

  /** @param by the segment that says so */
  delete(kind: string, key: string, by: Segment): void {
    const values = this.kinds.get(kind);
    const current = values?.get(key);
    if (values === undefined || current === undefined) return;
    values.delete(key);
    this.discharge(current, by);
  }

  private charge(record: StateRecord): void {
    const bytes = stateBytes(record);
    record.segment.state.add(record);
    record.segment.neededBytes += bytes;
    this.neededBytes += bytes;
  }

  private discharge(record: StateRecord, by: Segment): void {
    const bytes = stateBytes(record);
    record.segment.state.delete(record);
    record.segment.neededBytes -= bytes;
    this.neededBytes -= bytes;
    if (record.segment !== by) by.overrules.add(record.segment);
  }

  /** Forgets all segments that nothing needs. @returns those */
  removeDeletable(): Segment[] {
    const removed: Segment[] = [];
    for (let found = true; found; ) {
      found = false;
      for (const segment of this.segments) {
        if (segment === this.tail || segment.gone || !segment.deletable) continue;
        segment.gone = true;
        removed.push(segment);
        found = true; // it may have been what another one held down
      }
    }
    if (removed.length > 0) this.segments = this.segments.filter((segment) => !segment.gone);
    return removed;
  }
}

export function stateBytes({ kind, keyBytes, value }: StateRecord): number {
  return 10 + kind.length + keyBytes.length + value.length;
}
