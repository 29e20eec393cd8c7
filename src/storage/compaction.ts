import type { KeptEntry } from '../core/queue/entry.ts';
import type { Logger } from '../lib/log.ts';
import type { Catalog, Segment, StateRecord } from './catalog.ts';
import { type ColdReader, ReadPlan, RecordDamage, type Span } from './cold-reader.ts';

/** Octets of a survivor in a list of them: queue and sequence number. */
export const survivorBytes = 12;
/** What one group of the journal carries of the work, so that nobody who publishes sees a pause. */
const sliceBytes = 512 * 1024;
const survivorsASlice = 16_384;

/** What the compactor asks of the journal: records into the group that is being encoded. */
export interface MoveWriter {
  /** Writes the message of `entries`, which are all its living ones in memory, anew. @returns octets */
  moveEntries(entries: readonly KeptEntry[]): number;
  /** Writes the message whose record stands at `start` of `source` anew, for entries that left memory. @returns octets */
  moveCold(slots: readonly number[], source: Buffer, start: number): number;
  /** Writes the value anew. @returns octets */
  moveState(record: StateRecord): number;
  /** A part of the list of all that lives in `segment`; the list counts once its last part is there. */
  survivors(segment: Segment, part: SurvivorsPart): void;
}

export interface SurvivorsPart {
  readonly first: boolean;
  readonly last: boolean;
  readonly entries: readonly KeptEntry[];
  /** Of entries that have left memory. */
  readonly slots: readonly number[];
  readonly state: readonly StateRecord[];
}

/**
 * Gives space back: moves what lives in the emptiest segment to the tail, and replaces what that segment says about
 * older ones by a list of their survivors. A slice goes with each group of the journal.
 */
export class Compactor {
  private readonly catalog: Catalog;
  private readonly segmentBytes: number;
  private readonly reader: ColdReader;
  private readonly onRead: () => void;
  private readonly log: Logger;
  private victim: Segment | null = null;
  private fetch: ColdFetch | null = null;
  private listing: Listing | null = null;

  /** @param onRead told when there is something to write again: it was read, or is not to be moved after all */
  constructor(catalog: Catalog, segmentBytes: number, reader: ColdReader, onRead: () => void, log: Logger) {
    this.catalog = catalog;
    this.segmentBytes = segmentBytes;
    this.reader = reader;
    this.onRead = onRead;
    this.log = log;
  }

  /** True while there is work: the journal writes a group for it even if nobody else asks for one. */
  get busy(): boolean {
    if (this.victim === null || this.victim.gone || this.victim.damaged) {
      this.victim = this.chooseVictim();
      this.fetch = null;
    }
    return this.victim !== null && this.fetch?.waits !== true;
  }

  /** Writes a slice of the work. */
  encode(writer: MoveWriter): void {
    if (!this.busy) return;
    const victim = this.victim!;
    let bytes = 0;
    while (bytes < sliceBytes && victim.entries.length > 0) {
      bytes += writer.moveEntries(livingSiblings(victim.entries.at(-1)!));
    }
    if (bytes < sliceBytes && victim.cold > 0) {
      this.fetch ??= new ColdFetch(this.catalog, victim, this.reader, this.onRead, (why) => this.leave(victim, why));
      bytes += this.fetch.encode(writer);
    }
    for (const record of victim.state) {
      if (bytes >= sliceBytes) return;
      bytes += writer.moveState(record);
    }
    if (bytes < sliceBytes && victim.livingCount === 0) this.encodeSurvivors(victim, writer);
  }

  private leave(victim: Segment, why: RecordDamage): void {
    victim.damaged = true;
    this.log.error({ err: why.message }, 'journal: damaged; what lives there stays there');
    this.onRead(); // there may be others
  }

  private encodeSurvivors(victim: Segment, writer: MoveWriter): void {
    if (this.listing === null || this.listing.segment.gone) {
      const older = [...victim.overrules].find((each) => victim.holdsDown(each));
      if (older === undefined) return; // all said: the journal deletes the victim when this is durable
      this.listing = new Listing(older, this.catalog);
    }
    const { listing } = this;
    // All parts stand in one segment, or replay might find the end of a list without its beginning.
    const part = listing.next(this.catalog.tail);
    writer.survivors(listing.segment, part);
    this.catalog.tail.overrules.add(listing.segment);
    if (!part.last) return;
    listing.segment.survivorsIn = this.catalog.tail;
    listing.segment.listed = false;
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
      if (segment === catalog.tail || segment.damaged) continue;
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
    if (segment.holdsDown(older)) bytes += older.livingCount * survivorBytes + older.state.size * 64;
  }
  return bytes;
}

/** Chunks of the table of cold entries that one slice of the work looks through: each a tenth of a millisecond. */
const chunksASlice = 8;
const readAtOnce = 4096;

interface Found {
  readonly slot: number;
  readonly offset: number;
  readonly length: number;
  /** The number of its piece in what is read. */
  piece: number;
}

/**
 * Finds what lives in a segment and has left memory, and reads it, the beginning of the file first: records are read
 * while groups are written, and moved with the next group.
 */
class ColdFetch {
  /** A read is under way: there is nothing to do until it is done. */
  waits = false;
  private readonly catalog: Catalog;
  private readonly victim: Segment;
  private readonly reader: ColdReader;
  private readonly onRead: () => void;
  private readonly onDamage: (why: RecordDamage) => void;
  private scanAt = 0;
  private found: number[] = [];
  private nextAt = 0;
  private read: { readonly found: readonly Found[]; readonly spans: readonly Span[] } | null = null;

  constructor(
    catalog: Catalog,
    victim: Segment,
    reader: ColdReader,
    onRead: () => void,
    onDamage: (why: RecordDamage) => void,
  ) {
    this.catalog = catalog;
    this.victim = victim;
    this.reader = reader;
    this.onRead = onRead;
    this.onDamage = onDamage;
  }

  /** @returns octets written */
  encode(writer: MoveWriter): number {
    const bytes = this.read === null ? 0 : this.move(this.read.found, this.read.spans, writer);
    this.read = null;
    if (this.scan()) this.readNext();
    return bytes;
  }

  /** @returns true when the table has been looked through */
  private scan(): boolean {
    const { cold } = this.catalog;
    for (let chunks = 0; chunks < chunksASlice && this.scanAt < cold.end; chunks++) {
      this.scanAt = cold.visitChunk(this.scanAt, this.victim, (slot) => this.found.push(slot));
    }
    return this.scanAt >= cold.end;
  }

  private readNext(): void {
    const { cold } = this.catalog;
    const batch: Found[] = [];
    for (; this.nextAt < this.found.length && batch.length < readAtOnce; this.nextAt++) {
      const slot = this.found[this.nextAt]!;
      if (this.livesHere(slot)) batch.push({ slot, offset: cold.offset(slot), length: cold.length(slot), piece: 0 });
    }
    if (batch.length === 0) {
      // What went cold meanwhile is found by the next round.
      this.scanAt = 0;
      this.found = [];
      this.nextAt = 0;
      return;
    }
    batch.sort((a, b) => a.offset - b.offset);
    const plan = new ReadPlan();
    let planned = 0;
    for (; planned < batch.length; planned++) {
      const each = batch[planned]!;
      if (!plan.add(this.victim, each.offset, each.length)) break;
      each.piece = plan.pieces.length - 1;
    }
    for (const { slot } of batch.slice(planned)) this.found.push(slot);
    batch.length = planned;
    this.waits = true;
    this.readChecked(batch, plan).then(
      (spans) => {
        this.read = { found: batch, spans };
        this.waits = false;
        this.onRead();
      },
      (error) => {
        for (const { slot } of batch) this.found.push(slot);
        this.waits = false; // tried again with the next group that somebody else asks for
        if (error instanceof RecordDamage) this.onDamage(error);
      },
    );
  }

  // What is damaged is not to be written anew with a checksum that is right.
  private async readChecked(found: readonly Found[], plan: ReadPlan): Promise<Span[]> {
    const spans = await this.reader.read(plan);
    for (const { offset, piece } of found) spans[piece]!.find(offset);
    return spans;
  }

  private move(found: readonly Found[], spans: readonly Span[], writer: MoveWriter): number {
    const { cold } = this.catalog;
    let bytes = 0;
    for (let i = 0; i < found.length; ) {
      const { offset, piece } = found[i]!;
      const span = spans[piece]!;
      const together: number[] = [];
      // Entries of one message stand side by side.
      for (; i < found.length && found[i]!.offset === offset; i++) {
        const { slot } = found[i]!;
        if (this.livesHere(slot) && cold.offset(slot) === offset) together.push(slot);
      }
      if (together.length > 0) bytes += writer.moveCold(together, span.bytes, span.find(offset));
    }
    return bytes;
  }

  private livesHere(slot: number): boolean {
    return this.catalog.cold.has(slot) && this.catalog.cold.home(slot) === this.victim;
  }
}

/** A walk through what lives in a segment, over several groups, while entries go. */
class Listing {
  readonly segment: Segment;
  private readonly catalog: Catalog;
  private home: Segment | null = null;
  /** In the table of what has left memory. */
  private coldAt = 0;
  private at = 0;
  private state: Iterator<StateRecord> = [].values();

  constructor(segment: Segment, catalog: Catalog) {
    this.segment = segment;
    this.catalog = catalog;
  }

  next(tail: Segment): SurvivorsPart {
    const { segment } = this;
    const first = this.home !== tail;
    if (first) {
      this.home = tail;
      segment.listed = true;
      this.coldAt = segment.cold === 0 ? this.catalog.cold.end : 0;
      this.at = -1;
      this.state = segment.state.values();
    }
    const slots = this.nextSlots();
    if (this.coldAt < this.catalog.cold.end) return { first, last: false, entries: [], slots, state: [] };
    // What comes back to memory from here on has been listed.
    if (this.at < 0) this.at = segment.entries.length;
    // Backwards: an entry that goes is replaced by the last one, which has been listed or is still to come.
    this.at = Math.min(this.at, segment.entries.length);
    const from = Math.max(0, this.at - survivorsASlice);
    const entries = segment.entries.slice(from, this.at);
    this.at = from;
    const state: StateRecord[] = [];
    while (from === 0 && state.length < survivorsASlice) {
      const { done, value } = this.state.next();
      if (done) return { first, last: true, entries, slots, state };
      state.push(value);
    }
    return { first, last: false, entries, slots, state };
  }

  private nextSlots(): number[] {
    const { cold } = this.catalog;
    const slots: number[] = [];
    for (let chunks = 0; chunks < chunksASlice && this.coldAt < cold.end && slots.length < survivorsASlice; chunks++) {
      this.coldAt = cold.visitChunk(this.coldAt, this.segment, (slot) => slots.push(slot));
    }
    return slots;
  }
}

/** The entries of one message that live beside `entry`, and itself: siblings are a ring once they are written. */
function livingSiblings(entry: KeptEntry): KeptEntry[] {
  const living = [entry];
  for (let next = entry.sibling; next !== null && next !== entry; next = next.sibling) {
    if (next.home === entry.home) living.push(next);
  }
  return living;
}
