import type { Blocks } from './blocks.ts';

/** A file, of batches, that entries which left memory can be read back from. */
export interface Home {
  readonly file: string;
  /** Of its batches. */
  readonly epoch: number;
  readonly blocks: Blocks;
  /** Octets that have been written. */
  readonly bytes: number;
  /** Entries in the table whose message is here. */
  cold: number;
  /** Its number in the table while `cold` is not 0. */
  coldId: number;
}

/** Entries per chunk; a slot is chunk and index in one number. */
const chunkBits = 16;
const chunkSlots = 1 << chunkBits;
const indexMask = chunkSlots - 1;
/** The end of a chain of free indices. */
const noIndex = 0xffff_ffff;
const uint16Max = 0xffff;
const uint32Max = 0xffff_ffff;

/**
 * Six octets an entry as long as the chunk's are messages in a row, of one queue and of one length, and up to fourteen
 * otherwise, in arrays that the collector does not look into. They are as narrow as what is common; the first value
 * that does not fit has its array made, or replaced by a wider one.
 */
class Chunk {
  /** Less `base`; null while the entry at each index is `base + index`. */
  private sequences: Uint32Array | Float64Array | null = null;
  private base = 0;
  /** Null while all are `queue`. */
  private queueIds: Uint16Array | Uint32Array | null = null;
  private queue = 0;
  /** Number of the home + 1; 0 = the index is free. */
  homes: Uint16Array | Uint32Array = new Uint16Array(chunkSlots);
  readonly offset = new Uint32Array(chunkSlots);
  /** Null while all are `commonLength`. */
  private lengths: Uint16Array | Uint32Array | null = null;
  private commonLength = 0;
  /** Made for the first record that several queues share: the others are their entry's alone. */
  private shares: Uint32Array | null = null;
  used = 0;
  /** Indices below were given before; those that are free again are chained through `offset`. */
  private fresh = 0;
  private free = noIndex;

  /** @returns the index; there must be a free one */
  take(sequence: number, queueId: number): number {
    let index = this.free;
    if (index === noIndex) index = this.fresh++;
    else this.free = this.offset[index]!;
    this.used += 1;
    this.setSequence(index, sequence);
    if (this.queueIds === null) {
      if (this.used === 1) this.queue = queueId;
      if (queueId === this.queue) return index;
      this.queueIds = new (this.queue > uint16Max ? Uint32Array : Uint16Array)(chunkSlots).fill(this.queue);
    }
    if (queueId > uint16Max && this.queueIds instanceof Uint16Array) this.queueIds = Uint32Array.from(this.queueIds);
    this.queueIds[index] = queueId;
    return index;
  }

  private setSequence(index: number, sequence: number): void {
    if (this.sequences === null) {
      if (this.used === 1) this.base = sequence - index;
      if (sequence === this.base + index) return;
      const { base } = this;
      this.base = Math.max(0, base - 0x8000_0000);
      this.sequences = new Uint32Array(chunkSlots);
      for (let i = 0; i < this.fresh; i++) this.sequences[i] = base + i - this.base;
    } else if (this.used === 1) this.base = Math.max(0, sequence - 0x8000_0000);
    const delta = sequence - this.base;
    if ((delta < 0 || delta > uint32Max) && this.sequences instanceof Uint32Array) {
      const { base } = this;
      this.sequences = Float64Array.from(this.sequences, (narrow) => base + narrow);
      this.base = 0;
    }
    this.sequences[index] = sequence - this.base;
  }

  giveBack(index: number): void {
    this.homes[index] = 0;
    this.offset[index] = this.free;
    this.free = index;
    this.used -= 1;
    if (this.used > 0) return;
    this.fresh = 0;
    this.free = noIndex;
    this.shares = null;
  }

  place(index: number, homeId: number, { offset, length, share }: Place): void {
    if (homeId >= uint16Max && this.homes instanceof Uint16Array) this.homes = Uint32Array.from(this.homes);
    this.homes[index] = homeId + 1;
    this.offset[index] = offset;
    this.setLength(index, length);
    if (share !== length) this.shares ??= Uint32Array.from(this.homes, (_, i) => this.length(i));
    if (this.shares !== null) this.shares[index] = share;
  }

  private setLength(index: number, length: number): void {
    if (this.lengths === null) {
      if (this.used === 1) this.commonLength = length;
      if (length === this.commonLength) return;
      this.lengths = new (this.commonLength > uint16Max ? Uint32Array : Uint16Array)(chunkSlots).fill(
        this.commonLength,
      );
    }
    if (length > uint16Max && this.lengths instanceof Uint16Array) this.lengths = Uint32Array.from(this.lengths);
    this.lengths[index] = length;
  }

  sequence(index: number): number {
    return this.sequences === null ? this.base + index : this.base + this.sequences[index]!;
  }

  queueId(index: number): number {
    return this.queueIds === null ? this.queue : this.queueIds[index]!;
  }

  length(index: number): number {
    return this.lengths === null ? this.commonLength : this.lengths[index]!;
  }

  share(index: number): number {
    return this.shares === null ? this.length(index) : this.shares[index]!;
  }

  /** Indices from here on were never given. */
  get end(): number {
    return this.fresh;
  }
}

export interface Place {
  readonly home: Home;
  readonly offset: number;
  /** Octets of the record, and of them what is this entry's part when several queues share it. */
  readonly length: number;
  readonly share: number;
}

/** Which entries have left memory, and where their messages are. */
export class ColdTable {
  private readonly chunks: (Chunk | null)[] = [];
  /** Numbers of chunks with room; the last is filled first. */
  private readonly roomy: number[] = [];
  private readonly homes: (Home | null)[] = [];
  private readonly freeHomes: number[] = [];
  count = 0;

  /** @returns the slot */
  add(sequence: number, queueId: number, place: Place): number {
    const number = this.roomy.at(-1) ?? this.addChunk();
    const chunk = this.chunks[number]!;
    const index = chunk.take(sequence, queueId);
    if (chunk.used === chunkSlots) this.roomy.pop();
    chunk.place(index, this.enter(place.home), place);
    this.count += 1;
    return number * chunkSlots + index;
  }

  remove(slot: number): void {
    const number = slot >>> chunkBits;
    const chunk = this.chunks[number]!;
    const index = slot & indexMask;
    this.leave(chunk.homes[index]! - 1);
    if (chunk.used === chunkSlots) this.roomy.push(number);
    chunk.giveBack(index);
    this.count -= 1;
    if (chunk.used > 0 || this.roomy.length === 1) return; // one is kept: a megabyte does not come and go with an entry
    this.chunks[number] = null;
    this.roomy.splice(this.roomy.lastIndexOf(number), 1);
  }

  /** The entry's message is somewhere else now. */
  move(slot: number, place: Place): void {
    const chunk = this.chunks[slot >>> chunkBits]!;
    const index = slot & indexMask;
    const before = chunk.homes[index]! - 1;
    chunk.place(index, this.enter(place.home), place);
    this.leave(before);
  }

  /** False for a slot that is free. */
  has(slot: number): boolean {
    const chunk = this.chunks[slot >>> chunkBits];
    return chunk !== null && chunk !== undefined && chunk.homes[slot & indexMask] !== 0;
  }

  sequence(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.sequence(slot & indexMask);
  }

  queueId(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.queueId(slot & indexMask);
  }

  home(slot: number): Home {
    return this.homes[this.chunks[slot >>> chunkBits]!.homes[slot & indexMask]! - 1]!;
  }

  offset(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.offset[slot & indexMask]!;
  }

  length(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.length(slot & indexMask);
  }

  share(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.share(slot & indexMask);
  }

  /** Slots up to this number may be taken. */
  get end(): number {
    return this.chunks.length * chunkSlots;
  }

  /** The taken slots of one chunk, from slot `from` on. @returns the first slot behind it */
  visitChunk(from: number, home: Home | null, visit: (slot: number) => void): number {
    const number = from >>> chunkBits;
    const chunk = this.chunks[number];
    const base = number * chunkSlots;
    if (chunk !== null && chunk !== undefined) {
      const wanted = home === null ? 0 : home.coldId + 1;
      const { homes, end } = chunk;
      for (let index = from & indexMask; index < end; index++) {
        const id = homes[index]!;
        if (id !== 0 && (home === null || id === wanted)) visit(base + index);
      }
    }
    return base + chunkSlots;
  }

  private addChunk(): number {
    let number = this.chunks.indexOf(null);
    if (number < 0) number = this.chunks.length;
    this.chunks[number] = new Chunk();
    this.roomy.push(number);
    return number;
  }

  private enter(home: Home): number {
    if (home.cold === 0) {
      home.coldId = this.freeHomes.pop() ?? this.homes.length;
      this.homes[home.coldId] = home;
    }
    home.cold += 1;
    return home.coldId;
  }

  private leave(id: number): void {
    const home = this.homes[id]!;
    home.cold -= 1;
    if (home.cold > 0) return;
    home.coldId = -1;
    this.homes[id] = null;
    this.freeHomes.push(id);
  }
}
