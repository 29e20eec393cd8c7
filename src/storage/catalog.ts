import type { KeptEntry } from '../core/queue/entry.ts';
import { Blocks } from './blocks.ts';
import { ColdTable, type Home, type Place } from './cold-table.ts';
import { segmentHeaderBytes, segmentName } from './segment.ts';

/** The last value of a key. */
export interface StateRecord {
  readonly kind: string;
  readonly key: string;
  readonly keyBytes: Buffer;
  value: Buffer;
  segment: Segment;
}

/** What one file of the log still holds that replay needs. */
export class Segment implements Home {
  readonly epoch: number;
  readonly file: string;
  /** Length of the file: what has been written. */
  bytes = segmentHeaderBytes;
  /** Of the batches that have been written. */
  readonly blocks = new Blocks();
  /** Living entries whose message was written here and that never left memory; in no order. */
  readonly entries: KeptEntry[] = [];
  /** Living entries that have left memory once, and the number that the table of them knows this segment by. */
  cold = 0;
  coldId = -1;
  /** What lives here is being listed: no entry leaves memory meanwhile, or it would be missed. */
  listed = false;
  /** Keys whose last value was written here. */
  readonly state = new Set<StateRecord>();
  /** Octets of records that `entries` and `state` need. */
  neededBytes = 0;
  /** Segments of which something here says that it is settled, superseded or moved. */
  readonly overrules = new Set<Segment>();
  /** The last that was added. */
  private overruled: Segment | null = null;
  /** Where the latest list of all that lives here was written. */
  survivorsIn: Segment | null = null;
  gone = false;
  /** Something in it fails its checksum: it stays as it is. */
  damaged = false;

  constructor(epoch: number) {
    this.epoch = epoch;
    this.file = segmentName(epoch);
  }

  /** Something is written here that overrules something of `older`: mostly of the same as before. */
  overrule(older: Segment): void {
    if (older === this.overruled) return;
    this.overruled = older;
    this.overrules.add(older);
  }

  /** A batch was written behind the others. */
  append(batchBytes: number): void {
    this.blocks.add(this.bytes, this.bytes + batchBytes);
    this.bytes += batchBytes;
  }

  get livingCount(): number {
    return this.entries.length + this.cold;
  }

  /** True while `older` would rise again in part if this segment were gone. */
  holdsDown(older: Segment): boolean {
    return !older.gone && (older.survivorsIn === null || older.survivorsIn.epoch <= this.epoch);
  }

  get deletable(): boolean {
    if (this.livingCount > 0 || this.state.size > 0) return false;
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
  readonly cold = new ColdTable();

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

  /** The entry's message is in `segment`: newly written or moved there, as a record that `shares` queues share. */
  place(entry: KeptEntry, segment: Segment, offset: number, length: number, shares: number): void {
    if (entry.home !== null) this.release(entry, segment);
    entry.homeAt = offset;
    entry.homeBytes = length;
    entry.homeShares = shares;
    enter(segment, entry);
    this.charge(segment, shareOf(entry));
  }

  /** The entry is needed no more where it was, as a record in `by` says. */
  release(entry: KeptEntry, by: Segment): void {
    const segment = entry.home as Segment;
    this.leave(segment, entry);
    this.charge(segment, -shareOf(entry));
    if (segment !== by) by.overrule(segment);
  }

  /** The entry leaves memory; it may be in a file that is no segment. @returns its slot */
  freeze(entry: KeptEntry): number {
    if (entry.slot >= 0) return entry.slot;
    const home = entry.home as Home;
    const { homeAt, homeBytes } = entry;
    if (home instanceof Segment) this.leave(home, entry);
    const place = { home, offset: homeAt, length: homeBytes, share: shareOf(entry) };
    return this.cold.add(entry.message.sequence, entry.queue.id, place);
  }

  /** The entry is in memory again; one of a segment keeps its slot until it is settled. @returns where its message is */
  thaw(slot: number, entry: KeptEntry): Home {
    const home = this.cold.home(slot);
    if (home instanceof Segment) {
      entry.journal = 'written';
      entry.slot = slot;
    } else this.cold.remove(slot);
    return home;
  }

  /**
   * `by` is where `entry` was, which is nowhere any longer. Its index among the segment's entries stays: a list of survivors
   * that is being written goes by it.
   */
  replace(entry: KeptEntry, by: KeptEntry): void {
    const { home } = entry;
    by.journal = entry.journal;
    by.slot = entry.slot;
    by.home = home;
    by.homeIndex = entry.homeIndex;
    by.homeAt = entry.homeAt;
    by.homeBytes = entry.homeBytes;
    by.homeShares = entry.homeShares;
    if (home instanceof Segment) home.entries[entry.homeIndex] = by;
    entry.journal = 'none';
    entry.slot = -1;
    entry.home = null;
  }

  /** As `place` for an entry that has a slot. */
  moveCold(slot: number, segment: Segment, place: Place): void {
    const before = this.cold.home(slot) as Segment;
    this.charge(before, -this.cold.share(slot));
    this.cold.move(slot, place);
    this.charge(segment, place.share);
    if (before !== segment) segment.overrule(before);
  }

  /** As `release` for an entry that has a slot, which is free then. */
  releaseCold(slot: number, by: Segment): void {
    const segment = this.cold.home(slot) as Segment;
    this.charge(segment, -this.cold.share(slot));
    this.cold.remove(slot);
    if (segment !== by) by.overrule(segment);
  }

  private leave(segment: Segment, entry: KeptEntry): void {
    entry.home = null;
    const last = segment.entries.pop()!;
    if (last === entry) return;
    segment.entries[entry.homeIndex] = last;
    last.homeIndex = entry.homeIndex;
  }

  /** So many octets more of the segment are needed. */
  charge(segment: Segment, bytes: number): void {
    segment.neededBytes += bytes;
    this.neededBytes += bytes;
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
      this.chargeState(record);
    } else {
      this.dischargeState(current, segment);
      current.value = value;
      current.segment = segment;
      this.chargeState(current);
    }
  }

  /** @param by the segment that says so */
  delete(kind: string, key: string, by: Segment): void {
    const values = this.kinds.get(kind);
    const current = values?.get(key);
    if (values === undefined || current === undefined) return;
    values.delete(key);
    this.dischargeState(current, by);
  }

  private chargeState(record: StateRecord): void {
    record.segment.state.add(record);
    this.charge(record.segment, stateBytes(record));
  }

  private dischargeState(record: StateRecord, by: Segment): void {
    record.segment.state.delete(record);
    this.charge(record.segment, -stateBytes(record));
    if (record.segment !== by) by.overrule(record.segment);
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

function enter(segment: Segment, entry: KeptEntry): void {
  entry.home = segment;
  entry.homeIndex = segment.entries.length;
  segment.entries.push(entry);
}

/** Of a record that several queues share, the octets that count as this entry's. */
function shareOf(entry: KeptEntry): number {
  return entry.homeShares === 1 ? entry.homeBytes : Math.floor(entry.homeBytes / entry.homeShares);
}

export function stateBytes({ kind, keyBytes, value }: StateRecord): number {
  return 10 + kind.length + keyBytes.length + value.length;
}
