import type { Home } from './cold-table.ts';
import type { Disk, ReadFile } from './disk.ts';
import { findFault, isBatch, skipBatch } from './segment.ts';

/** Files kept open while nobody reads them. */
const idleMax = 8;
/** What is read at a time: more would be out of the processor's cache by the time that messages are made of it. */
const planBytes = 256 * 1024;
const piecesMax = 256;

/** Octets of a file that are read together: one or more blocks of it, with records that are wanted. */
export interface Piece {
  readonly home: Home;
  readonly offset: number;
  end: number;
  /** Of the records that are wanted. */
  wantedBytes: number;
  /** Of them, offset and count, offset and count …: so many, each behind the other, from that offset of the file on. */
  readonly runs: number[];
}

/** What a read came upon is not what was written. */
export class RecordDamage extends Error {
  constructor(file: string, offset: number) {
    super(`${file} at offset ${offset}: a batch fails its checksum`);
  }
}

/** A piece that was read. Its records are to be checked before they are used. */
export class Span {
  readonly piece: Piece;
  readonly bytes: Buffer;
  /** Of the batch that was checked last, in `bytes`. */
  private checkedFrom = 0;
  private checkedTo = 0;

  constructor(piece: Piece, bytes: Buffer) {
    this.piece = piece;
    this.bytes = bytes;
  }

  /**
   * @returns where the record at `offset` of the file is in `bytes`
   * @throws RecordDamage when the batch that it is part of fails its checksum
   */
  find(offset: number): number {
    const at = offset - this.piece.offset;
    if (at >= this.checkedTo || at < this.checkedFrom) this.check(at);
    return at;
  }

  // Batches of which nothing is wanted are passed over.
  private check(at: number): void {
    const { bytes, piece } = this;
    const { epoch, file } = piece.home;
    let from = at < this.checkedFrom ? 0 : this.checkedTo;
    for (let end = skipBatch(bytes, from); end <= at; end = skipBatch(bytes, from)) from = end;
    if (!isBatch(bytes, from, epoch)) throw new RecordDamage(file, piece.offset + findFault(bytes, epoch));
    this.checkedFrom = from;
    this.checkedTo = skipBatch(bytes, from);
  }
}

/** Which records are read together, in their order. */
export class ReadPlan {
  readonly pieces: Piece[] = [];
  /** That are read. */
  private bytes = 0;
  private piece: Piece | null = null;
  /** The block of the last record. */
  private blockStart = 0;
  private blockEnd = 0;
  /** Where the last record ends. */
  private end = 0;

  /** @returns false when the plan is full, and the record not part of it; the first always is */
  add(home: Home, offset: number, length: number): boolean {
    if (this.piece?.home !== home || offset < this.blockStart || offset >= this.blockEnd) {
      if (!this.enter(home, offset)) return false;
    }
    const piece = this.piece!;
    const { runs } = piece;
    if (offset === this.end && runs.length > 0) runs[runs.length - 1]! += 1;
    else runs.push(offset, 1);
    piece.wantedBytes += length;
    this.end = offset + length;
    return true;
  }

  // The block of the record, in the same piece where it follows on the last one.
  private enter(home: Home, offset: number): boolean {
    const number = home.blocks.find(offset);
    const start = home.blocks.start(number);
    const end = home.blocks.end(number, home.bytes);
    const isFull = this.bytes + end - start > planBytes || this.pieces.length === piecesMax;
    if (this.bytes > 0 && isFull) return false;
    if (this.piece?.home === home && this.piece.end === start) this.piece.end = end;
    else {
      this.piece = { home, offset: start, end, wantedBytes: 0, runs: [] };
      this.pieces.push(this.piece);
    }
    this.bytes += end - start;
    this.blockStart = start;
    this.blockEnd = end;
    return true;
  }
}

interface Open {
  readonly file: Promise<ReadFile>;
  readers: number;
  /** Closed by the last of its readers. */
  forgotten: boolean;
}

/** Reads records back by their places, neighbours in one piece. */
export class ColdReader {
  private readonly disk: Disk;
  private readonly open = new Map<string, Open>();

  constructor(disk: Disk) {
    this.disk = disk;
  }

  /** @returns the pieces of the plan, in their order */
  read({ pieces }: ReadPlan): Promise<Span[]> {
    return Promise.all(
      pieces.map(async (piece): Promise<Span> => {
        const { home, offset, end } = piece;
        const bytes = await this.readRange(home.file, offset, end - offset);
        if (bytes.length < end - offset) throw new Error(`${home.file} ends before offset ${end}`);
        return new Span(piece, bytes);
      }),
    );
  }

  /** The file is removed: it is closed when nobody reads it any longer. */
  forget(file: string): void {
    const open = this.open.get(file);
    if (open === undefined) return;
    this.open.delete(file);
    open.forgotten = true;
    if (open.readers === 0) this.close(open);
  }

  closeAll(): void {
    for (const file of [...this.open.keys()]) this.forget(file);
  }

  private async readRange(file: string, offset: number, length: number): Promise<Buffer> {
    let open = this.open.get(file);
    if (open === undefined) {
      this.closeIdle();
      open = { file: this.disk.open(file), readers: 0, forgotten: false };
      this.open.set(file, open);
    }
    open.readers += 1;
    try {
      return await (await open.file).read(offset, length);
    } catch (error) {
      this.forget(file); // another attempt opens it anew
      throw error;
    } finally {
      open.readers -= 1;
      if (open.forgotten && open.readers === 0) this.close(open);
    }
  }

  private closeIdle(): void {
    if (this.open.size < idleMax) return;
    for (const [file, open] of this.open) {
      if (open.readers > 0) continue;
      this.forget(file);
      return;
    }
  }

  private close(open: Open): void {
    open.file.then(
      (file) => file.close(),
      () => {}, // it could not be opened: its reader was told
    );
  }
}
