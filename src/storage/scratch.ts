import type { KeptEntry } from '../core/queue/entry.ts';
import { emptyBuffer, encodeText } from '../lib/bytes.ts';
import type { AppendFile } from './append-file.ts';
import type { Home } from './cold-table.ts';
import type { Disk } from './disk.ts';
import { deathsBytes, RecordWriter } from './record.ts';

/** Small, so that a message that stays long keeps little of what came with it. */
const fileBytes = 16 * 1024 * 1024;
const suffix = '.scratch';

/** A file of messages that are not durable. */
export class ScratchFile implements Home {
  readonly file: string;
  bytes = 0;
  cold = 0;
  coldId = -1;
  readonly handle: AppendFile;

  constructor(file: string, handle: AppendFile) {
    this.file = file;
    this.handle = handle;
  }
}

/** Where messages that are not durable go when they leave memory; never synced, and gone after a restart. */
export class Scratch {
  private readonly disk: Disk;
  private readonly onGone: (file: string) => void;
  private current: ScratchFile | null = null;
  private readonly full = new Set<ScratchFile>();
  private number = 0;
  private last: Promise<void> = Promise.resolve();

  /** @param onGone told of files that are removed */
  constructor(disk: Disk, onGone: (file: string) => void) {
    this.disk = disk;
    this.onGone = onGone;
  }

  /** Removes what an earlier run left. */
  static async clear(disk: Disk): Promise<void> {
    for (const name of await disk.list()) if (name.endsWith(suffix)) await disk.remove(name);
  }

  /** Writes the entries' messages, and says in each where; one after another. */
  spill(entries: readonly KeptEntry[]): Promise<void> {
    const spilled = this.last.then(() => this.write(entries));
    this.last = spilled.catch(() => {});
    return spilled;
  }

  /** Removes files of which nothing is needed; never in the turn that wrote to one. */
  collect(): void {
    for (const file of this.full) {
      if (file.cold > 0) continue;
      this.full.delete(file);
      this.remove(file);
    }
  }

  async close(): Promise<void> {
    await this.last;
    if (this.current !== null) this.full.add(this.current);
    this.current = null;
    for (const file of this.full) this.remove(file);
    this.full.clear();
  }

  private async write(entries: readonly KeptEntry[]): Promise<void> {
    const ways = entries.map(({ message, queue, expiresAtMs }) => ({
      exchange: encodeText(message.exchange),
      key: encodeText(message.routingKey),
      queueIds: [queue.id],
      expiries: expiresAtMs === message.expiresAtMs ? [] : [expiresAtMs],
      deaths: message.deaths.length === 0 ? emptyBuffer : deathsBytes(message.deaths),
    }));
    let bytes = 0;
    for (const [i, { message }] of entries.entries()) bytes += RecordWriter.publishedBytes(message, ways[i]!);
    const writer = new RecordWriter(bytes);
    const ends: number[] = [];
    for (const [i, { message }] of entries.entries()) {
      writer.published(message, ways[i]!);
      ends.push(writer.at);
    }
    const file = await this.roll();
    try {
      await file.handle.write([writer.buffer]);
    } catch (error) {
      // How much of it was written is not known: nothing more goes there.
      this.full.add(file);
      this.current = null;
      throw error;
    }
    let at = 0;
    for (const [i, entry] of entries.entries()) {
      entry.home = file;
      entry.homeAt = file.bytes + at;
      entry.homeBytes = ends[i]! - at;
      entry.homeShares = 1;
      at = ends[i]!;
    }
    file.bytes += bytes;
  }

  private async roll(): Promise<ScratchFile> {
    if (this.current !== null && this.current.bytes < fileBytes) return this.current;
    if (this.current !== null) {
      this.full.add(this.current);
      this.current = null;
    }
    this.number += 1;
    const name = `${String(this.number).padStart(10, '0')}${suffix}`;
    this.current = new ScratchFile(name, await this.disk.create(name));
    return this.current;
  }

  private remove(file: ScratchFile): void {
    this.onGone(file.file);
    // What stays is removed at the next start.
    file.handle
      .close()
      .then(() => this.disk.remove(file.file))
      .catch(() => {});
  }
}
