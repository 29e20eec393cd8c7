import type { Disk, ReadFile } from './disk.ts';

/** Files kept open while nobody reads them. */
const idleMax = 8;
/** Octets between two records that are read rather than skipped: one call of the system costs as much. */
const gapBytes = 32 * 1024;
const spanBytes = 1024 * 1024;
const spansMax = 256;

/** A record to read: its file, and its place there. */
export interface Wanted {
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/** Octets of a file with one or more wanted records. */
export interface Span {
  readonly file: string;
  readonly offset: number;
  readonly bytes: Buffer;
  /** Octets of it that were wanted. */
  readonly wantedBytes: number;
  /** Records that were. */
  readonly count: number;
}

/** Which records are read together: neighbours in one piece. */
export class ReadPlan {
  readonly pieces: { file: string; offset: number; end: number; wantedBytes: number; count: number }[] = [];
  /** Of the records. */
  bytes = 0;

  /** @returns false when the plan is full, and the record not part of it; the first always is */
  add(file: string, offset: number, length: number): boolean {
    if (this.bytes > 0 && this.bytes + length > spanBytes) return false;
    const last = this.pieces.at(-1);
    if (
      last !== undefined &&
      last.file === file &&
      offset >= last.offset &&
      offset - last.end <= gapBytes &&
      offset + length - last.offset <= spanBytes
    ) {
      last.end = Math.max(last.end, offset + length);
      last.wantedBytes += length;
      last.count += 1;
    } else if (this.pieces.length === spansMax) return false;
    else this.pieces.push({ file, offset, end: offset + length, wantedBytes: length, count: 1 });
    this.bytes += length;
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

  /**
   * Reads as many of `wanted`, in their order, as make about a megabyte; at least one.
   * @returns for each of them its span, in their order
   */
  async read(wanted: Iterable<Wanted>): Promise<Span[]> {
    const plan = new ReadPlan();
    for (const { file, offset, length } of wanted) if (!plan.add(file, offset, length)) break;
    const spans = await this.readPlan(plan);
    const ofEach: Span[] = [];
    for (const span of spans) for (let n = span.count; n > 0; n--) ofEach.push(span);
    return ofEach;
  }

  /** @returns the spans of the plan, in its order */
  readPlan(plan: ReadPlan): Promise<Span[]> {
    return Promise.all(
      plan.pieces.map(async ({ file, offset, end, wantedBytes, count }): Promise<Span> => {
        const bytes = await this.readRange(file, offset, end - offset);
        if (bytes.length < end - offset) throw new Error(`${file} ends before offset ${end}`);
        return { file, offset, bytes, wantedBytes, count };
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
