import type { KeptEntry } from '../core/queue/entry.ts';
import { emptyBuffer, encodeText } from '../lib/bytes.ts';
import type { AppendFile } from './append-file.ts';
import { Blocks } from './blocks.ts';
import type { Home } from './cold-table.ts';
import type { Disk } from './disk.ts';
import { deathsBytes, RecordWriter } from './record.ts';
import { batchBytes, batchHeaderBytes, sealBatch } from './segment.ts';

/** Small, so that a message that stays long keeps little of what came with it. */
const fileBytes = 16 * 1024 * 1024;
const suffix = '.scratch';

/** A file of messages that are not durable, in batches as a segment's. */
export class ScratchFile implements Home {
  readonly file: string;
  readonly epoch: number;
  readonly blocks = new Blocks();
  bytes = 0;
  cold = 0;
  coldId = -1;
  readonly handle: AppendFile;

  constructor(file: string, epoch: number, handle: AppendFile) {
    this.file = file;
    this.epoch = epoch;
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
    const file = await this.roll();
    const batches: Buffer[] = [];
    const places: { at: number; bytes: number }[] = [];
    let writer = new RecordWriter(0);
    let written = 0;
    const seal = (): void => {
      if (writer.at === 0) return;
      const batch = writer.buffer.subarray(0, writer.at);
      sealBatch(batch, { unit: 0, synced: 0, epoch: file.epoch, commits: true });
      batches.push(batch);
      written += batch.length;
    };
    for (const [i, { message }] of entries.entries()) {
      const bytes = RecordWriter.publishedBytes(message, ways[i]!);
      if (writer.at + bytes > writer.buffer.length) {
        seal();
        writer = new RecordWriter(Math.max(batchBytes, batchHeaderBytes + bytes));
        writer.at = batchHeaderBytes;
      }
      places.push({ at: file.bytes + written + writer.at, bytes });
      writer.published(message, ways[i]!);
    }
    seal();
    try {
      await file.handle.write(batches);
    } catch (error) {
      // How much of it was written is not known: nothing more goes there.
      this.full.add(file);
      this.current = null;
      throw error;
    }
    for (const [i, entry] of entries.entries()) {
      const { at, bytes } = places[i]!;
      entry.home = file;
      entry.homeAt = at;
      entry.homeBytes = bytes;
      entry.homeShares = 1;
    }
    for (const { length } of batches) {
      file.blocks.add(file.bytes, file.bytes + length);
      file.bytes += length;
    }
  }

  private async roll(): Promise<ScratchFile> {
    if (this.current !== null && this.current.bytes < fileBytes) return this.current;
    if (this.current !== null) {
      this.full.add(this.current);
      this.current = null;
    }
    this.number += 1;
    const name = `${String(this.number).padStart(10, '0')}${suffix}`;
    this.current = new ScratchFile(name, this.number, await this.disk.create(name));
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
