/** A file that entries which left memory can be read back from. */
export interface Home {
  readonly file: string;
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
 * Fourteen octets an entry, in arrays that the collector does not look into. They are as narrow as what is common; the
 * first value that is too large for one has it replaced by a wider one.
 */
class Chunk {
  /** Less `base`. */
  private sequences: Uint32Array | Float64Array = new Uint32Array(chunkSlots);
  private base = 0;
  private queueIds: Uint16Array | Uint32Array = new Uint16Array(chunkSlots);
  /** Number of the home + 1; 0 = the index is free. */
  homes: Uint16Array | Uint32Array = new Uint16Array(chunkSlots);
  readonly offset = new Uint32Array(chunkSlots);
  length: Uint16Array | Uint32Array = new Uint16Array(chunkSlots);
  /** Made for the first record that several queues share: the others are their entry's alone. */
  share: Uint32Array | null = null;
  used = 0;
  /** Indices below were given before; those that are free again are chained through `offset`. */
  private fresh = 0;
  private free = noIndex;

  /** @returns the index; there must be a free one */
  take(sequence: number, queueId: number): number {
    let index = this.free;
    if (index === noIndex) index = this.fresh++;
    else this.free = this.offset[index]!;
    if (this.used === 0) this.base = Math.max(0, sequence - 0x8000_0000);
    this.used += 1;
    const delta = sequence - this.base;
    if ((delta < 0 || delta > uint32Max) && this.sequences instanceof Uint32Array) this.widenSequences();
    this.sequences[index] = sequence - this.base;
    if (queueId > uint16Max && this.queueIds instanceof Uint16Array) this.queueIds = Uint32Array.from(this.queueIds);
    this.queueIds[index] = queueId;
    return index;
  }

  giveBack(index: number): void {
    this.homes[index] = 0;
    this.offset[index] = this.free;
    this.free = index;
    this.used -= 1;
    if (this.used > 0) return;
    this.fresh = 0;
    this.free = noIndex;
    this.share = null;
  }

  place(index: number, homeId: number, { offset, length, share }: Place): void {
    if (homeId >= uint16Max && this.homes instanceof Uint16Array) this.homes = Uint32Array.from(this.homes);
    this.homes[index] = homeId + 1;
    this.offset[index] = offset;
    if (length > uint16Max && this.length instanceof Uint16Array) this.length = Uint32Array.from(this.length);
    this.length[index] = length;
    if (share !== length) this.share ??= Uint32Array.from(this.length);
    if (this.share !== null) this.share[index] = share;
  }

  sequence(index: number): number {
    return this.base + this.sequences[index]!;
  }

  queueId(index: number): number {
    return this.queueIds[index]!;
  }

  /** Indices from here on were never given. */
  get end(): number {
    return this.fresh;
  }

  private widenSequences(): void {
    const { base } = this;
    this.sequences = Float64Array.from(this.sequences, (delta) => base + delta);
    this.base = 0;
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
    return this.chunks[slot >>> chunkBits]!.length[slot & indexMask]!;
  }

  share(slot: number): number {
    const chunk = this.chunks[slot >>> chunkBits]!;
    return (chunk.share ?? chunk.length)[slot & indexMask]!;
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
