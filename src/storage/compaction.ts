import type { QueueEntry } from '../core/queue/entry.ts';
import type { Catalog, Segment, StateRecord } from './catalog.ts';

/** Octets of a survivor in a list of them: queue and sequence number. */
export const survivorBytes = 12;
/** What one group of the journal carries of the work, so that nobody who publishes sees a pause. */
const sliceBytes = 512 * 1024;
const survivorsASlice = 16_384;

/** What the compactor asks of the journal: records into the group that is being encoded. */
export interface MoveWriter {
  /** Writes the message of `entries`, which are all its living ones, anew. @returns octets */
  moveEntries(entries: readonly QueueEntry[]): number;
  /** Writes the value anew. @returns octets */
  moveState(record: StateRecord): number;
  /** A part of the list of all that lives in `segment`; the list counts once its last part is there. */
  survivors(segment: Segment, part: SurvivorsPart): void;
}

export interface SurvivorsPart {
  readonly first: boolean;
  readonly last: boolean;
  readonly entries: readonly QueueEntry[];
  readonly state: readonly StateRecord[];
}

/**
 * Gives space back: moves what lives in the emptiest segment to the tail, and replaces what that segment says about
 * older ones by a list of their survivors. A slice goes with each group of the journal.
 */
export class Compactor {
  private readonly catalog: Catalog;
  private readonly segmentBytes: number;
  private victim: Segment | null = null;
  private listing: Listing | null = null;

  constructor(catalog: Catalog, segmentBytes: number) {
    this.catalog = catalog;
    this.segmentBytes = segmentBytes;
  }

  /** True while there is work: the journal writes a group for it even if nobody else asks for one. */
  get busy(): boolean {
    if (this.victim === null || this.victim.gone) this.victim = this.chooseVictim();
    return this.victim !== null;
  }

  /** Writes a slice of the work. */
  encode(writer: MoveWriter): void {
    if (!this.busy) return;
    const victim = this.victim!;
    let bytes = 0;
    while (bytes < sliceBytes && victim.entries.length > 0) {
      bytes += writer.moveEntries(livingSiblings(victim.entries.at(-1)!));
    }
    for (const record of victim.state) {
      if (bytes >= sliceBytes) return;
      bytes += writer.moveState(record);
    }
    if (bytes < sliceBytes) this.encodeSurvivors(victim, writer);
  }

  private encodeSurvivors(victim: Segment, writer: MoveWriter): void {
    if (this.listing === null || this.listing.segment.gone) {
      const older = [...victim.overrules].find((each) => victim.holdsDown(each));
      if (older === undefined) return; // all said: the journal deletes the victim when this is durable
      this.listing = new Listing(older);
    }
    const { listing } = this;
    // All parts stand in one segment, or replay might find the end of a list without its beginning.
    const part = listing.next(this.catalog.tail);
    writer.survivors(listing.segment, part);
    this.catalog.tail.overrules.add(listing.segment);
    if (!part.last) return;
    listing.segment.survivorsIn = this.catalog.tail;
    this.listing = null;
  }

  /** One whose removal gives back more than a third of it, when the log is longer than what it holds allows. */
  private chooseVictim(): Segment | null {
    const { catalog } = this;
    const { bytes } = catalog;
    const tooLong = bytes > 1.5 * catalog.neededBytes + 3 * this.segmentBytes;
    const tooMany = catalog.segments.length > 8 + (2 * bytes) / this.segmentBytes;
    if (!tooLong && !tooMany) return null;
    let best: Segment | null = null;
    let bestRatio = tooMany ? Number.POSITIVE_INFINITY : 2 / 3;
    for (const segment of catalog.segments) {
      if (segment === catalog.tail) continue;
      const ratio = tooMany ? segment.bytes : costOf(segment) / segment.bytes;
      if (ratio >= bestRatio) continue;
      best = segment;
      bestRatio = ratio;
    }
    return best;
  }
}

/** Octets to write before the segment can go. */
function costOf(segment: Segment): number {
  let bytes = segment.neededBytes;
  for (const older of segment.overrules) {
    if (segment.holdsDown(older)) bytes += older.entries.length * survivorBytes + older.state.size * 64;
  }
  return bytes;
}

/** A walk through what lives in a segment, over several groups, while entries go. */
class Listing {
  readonly segment: Segment;
  private home: Segment | null = null;
  private at = 0;
  private state: Iterator<StateRecord> = [].values();

  constructor(segment: Segment) {
    this.segment = segment;
  }

  next(tail: Segment): SurvivorsPart {
    const first = this.home !== tail;
    if (first) {
      this.home = tail;
      this.at = this.segment.entries.length;
      this.state = this.segment.state.values();
    }
    // Backwards: an entry that goes is replaced by the last one, which has been listed or is still to come.
    this.at = Math.min(this.at, this.segment.entries.length);
    const from = Math.max(0, this.at - survivorsASlice);
    const entries = this.segment.entries.slice(from, this.at);
    this.at = from;
    const state: StateRecord[] = [];
    let last = from === 0;
    while (last && state.length < survivorsASlice) {
      const { done, value } = this.state.next();
      if (done) return { first, last, entries, state };
      state.push(value);
    }
    last = false;
    return { first, last, entries, state };
  }
}

/** The entries of one message that live beside `entry`, and itself: siblings are a ring once they are written. */
function livingSiblings(entry: QueueEntry): QueueEntry[] {
  const living = [entry];
  for (let next = entry.sibling; next !== null && next !== entry; next = next.sibling) {
    if (next.home === entry.home) living.push(next);
  }
  return living;
}
