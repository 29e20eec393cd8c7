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
const nobody = 0xffff_ffff;

/** Twenty-eight octets an entry, in arrays that the collector does not look into; four more where records are shared. */
class Chunk {
  readonly sequence = new Float64Array(chunkSlots);
  readonly queueId = new Uint32Array(chunkSlots);
  readonly home = new Uint32Array(chunkSlots).fill(nobody);
  readonly offset = new Uint32Array(chunkSlots);
  readonly length = new Uint32Array(chunkSlots);
  /** Made for the first record that several queues share: the others are their entry's alone. */
  share: Uint32Array | null = null;
  used = 0;
  /** Indices below were given before; those that are free again are chained through `offset`. */
  fresh = 0;
  free = nobody;

  place(index: number, { offset, length, share }: Place): void {
    this.offset[index] = offset;
    this.length[index] = length;
    if (share !== length) this.share ??= this.length.slice();
    if (this.share !== null) this.share[index] = share;
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
    let index = chunk.free;
    if (index === nobody) index = chunk.fresh++;
    else chunk.free = chunk.offset[index]!;
    chunk.used += 1;
    if (chunk.used === chunkSlots) this.roomy.pop();
    chunk.sequence[index] = sequence;
    chunk.queueId[index] = queueId;
    chunk.home[index] = this.enter(place.home);
    chunk.place(index, place);
    this.count += 1;
    return number * chunkSlots + index;
  }

  remove(slot: number): void {
    const number = slot >>> chunkBits;
    const chunk = this.chunks[number]!;
    const index = slot & indexMask;
    this.leave(chunk.home[index]!);
    chunk.home[index] = nobody;
    chunk.offset[index] = chunk.free;
    chunk.free = index;
    if (chunk.used === chunkSlots) this.roomy.push(number);
    chunk.used -= 1;
    this.count -= 1;
    if (chunk.used > 0) return;
    chunk.fresh = 0;
    chunk.free = nobody;
    chunk.share = null;
    if (this.roomy.length === 1) return; // one is kept: memory of two megabytes does not come and go with an entry
    this.chunks[number] = null;
    this.roomy.splice(this.roomy.lastIndexOf(number), 1);
  }

  /** The entry's message is somewhere else now. */
  move(slot: number, place: Place): void {
    const chunk = this.chunks[slot >>> chunkBits]!;
    const index = slot & indexMask;
    const before = chunk.home[index]!;
    chunk.home[index] = this.enter(place.home);
    this.leave(before);
    chunk.place(index, place);
  }

  /** False for a slot that is free. */
  has(slot: number): boolean {
    const chunk = this.chunks[slot >>> chunkBits];
    return chunk !== null && chunk !== undefined && chunk.home[slot & indexMask] !== nobody;
  }

  sequence(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.sequence[slot & indexMask]!;
  }

  queueId(slot: number): number {
    return this.chunks[slot >>> chunkBits]!.queueId[slot & indexMask]!;
  }

  home(slot: number): Home {
    return this.homes[this.chunks[slot >>> chunkBits]!.home[slot & indexMask]!]!;
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
      const wanted = home === null ? nobody : home.coldId;
      const { home: homes, fresh } = chunk;
      for (let index = from & indexMask; index < fresh; index++) {
        const id = homes[index]!;
        if (id !== nobody && (home === null || id === wanted)) visit(base + index);
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
