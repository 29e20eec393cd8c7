import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { type AppendFile, SyncFailed } from './append-file.ts';

/** Larger groups are written past what is prepared: their time is the disk's, and it would have to write twice as much. */
const smallGroupBytes = 64 * 1024;
const chunkBytes = 1024 * 1024;
/** Less than this ahead of the end, and the next chunk is prepared. */
const aheadMinBytes = chunkBytes / 2;
/** Nothing was written; where blocks are there already, only a limit or a file system that copies on write says so. */
const refusals: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS']);
const zeros = Buffer.alloc(64 * 1024);
const chunk: readonly Buffer[] = Array.from({ length: chunkBytes / zeros.length }, () => zeros);

/**
 * A file that is appended to, with room written ahead of its end while small groups are synced: a write that changes
 * neither the file's length nor its blocks is on the disk in one call (O_DSYNC), without a commit of the file system's own
 * log, in about two thirds of the time.
 *
 *     │ groups … end │ zeros, on the disk … prepared │ zeros, being written … │
 *
 * What writes through, what prepares and what appends are three descriptors: a failed sync is told once on each.
 */
export class PreparedFile implements AppendFile {
  private readonly path: string;
  private readonly appending: FileHandle;
  private through: FileHandle | null = null;
  private ahead: FileHandle | null = null;
  private end = 0;
  /** Up to here the file has blocks of its own. */
  private prepared = 0;
  /** Never rejects. */
  private preparing: Promise<void> | null = null;
  /** Where the chunk begins that is being written. */
  private preparingFrom = 0;
  // Elsewhere O_DSYNC may promise less than fdatasync: on macOS the disk may keep it in a cache of its own.
  private prepares = process.platform === 'linux';

  private constructor(path: string, appending: FileHandle) {
    this.path = path;
    this.appending = appending;
  }

  /** @throws when there is a file of that name */
  static async create(path: string): Promise<PreparedFile> {
    return new PreparedFile(path, await open(path, 'wx'));
  }

  async write(buffers: readonly Buffer[]): Promise<void> {
    const end = this.end + lengthOf(buffers);
    if (end > this.preparingFrom) await this.preparing;
    await writeAll(this.appending, buffers, this.end);
    this.end = end;
  }

  async datasync(): Promise<void> {
    await this.appending.datasync();
  }

  async writeThrough(buffers: readonly Buffer[]): Promise<void> {
    const bytes = lengthOf(buffers);
    if (this.end + bytes > this.preparingFrom) await this.preparing;
    if (this.end + bytes <= this.prepared) {
      await writeAll(this.through!, buffers, this.end).catch((error: NodeJS.ErrnoException) => {
        throw refusals.has(error.code) ? error : new SyncFailed(error);
      });
      this.end += bytes;
    } else {
      await this.write(buffers);
      await this.appending.datasync().catch((error) => {
        throw new SyncFailed(error);
      });
    }
    if (this.prepares && bytes <= smallGroupBytes && this.prepared - this.end < aheadMinBytes) this.prepare();
  }

  async truncate(length: number): Promise<void> {
    await this.preparing;
    await this.appending.truncate(length);
    this.end = length;
    this.prepared = Math.min(this.prepared, length);
  }

  async close(): Promise<void> {
    this.prepares = false;
    await this.preparing;
    if (this.through !== null) await this.appending.truncate(this.end);
    for (const handle of [this.appending, this.through, this.ahead]) await handle?.close();
  }

  private prepare(): void {
    if (this.preparing !== null) return;
    const from = Math.max(this.prepared, this.end);
    this.preparingFrom = from;
    this.preparing = this.writeAhead(from)
      .catch(() => {
        this.prepares = false; // no room, or worse: what is appended will tell
      })
      .finally(() => {
        this.preparing = null;
      });
  }

  private async writeAhead(from: number): Promise<void> {
    this.through ??= await open(this.path, constants.O_WRONLY | constants.O_DSYNC);
    this.ahead ??= await open(this.path, constants.O_WRONLY | constants.O_DSYNC);
    await writeAll(this.ahead, chunk, from);
    this.prepared = from + chunkBytes;
  }
}

function lengthOf(buffers: readonly Buffer[]): number {
  let bytes = 0;
  for (const { length } of buffers) bytes += length;
  return bytes;
}

async function writeAll(file: FileHandle, buffers: readonly Buffer[], at: number): Promise<void> {
  let rest = buffers;
  let position = at;
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest as Buffer[], position);
    position += bytesWritten;
    rest = behind(rest, bytesWritten);
  }
}

/** What is left of the buffers behind their first octets. */
function behind(buffers: readonly Buffer[], octets: number): readonly Buffer[] {
  let left = octets;
  for (let i = 0; i < buffers.length; i++) {
    const buffer = buffers[i]!;
    if (left < buffer.length) return [buffer.subarray(left), ...buffers.slice(i + 1)];
    left -= buffer.length;
  }
  return [];
}
