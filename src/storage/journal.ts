import type { Journal, Position, PublishReceipt } from '../core/journal.ts';
import type { QueueEntry } from '../core/queue/entry.ts';
import { emptyBuffer, encodeText } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { Ring } from '../lib/ring.ts';
import type { AppendFile, Disk } from './disk.ts';
import { deathsBytes, RecordWriter, runsBytes, toRuns } from './record.ts';
import { type RecoveredState, recover } from './recovery.ts';
import {
  batchHeaderBytes,
  isSegmentName,
  JournalDamage,
  sealBatch,
  segmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';

export interface JournalOptions {
  readonly segmentBytes: number;
  readonly log: Logger;
  readonly clock: Clock;
  /** The disk failed: nothing more will be confirmed. */
  onLost(why: Error): void;
}

interface StateChange {
  readonly kind: string;
  readonly key: Buffer;
  /** null: deleted. */
  readonly value: Buffer | null;
}

const manifestName = 'MANIFEST';
const batchBytes = 1024 * 1024;
const recordOverhead = 64;

/**
 * The log on disk. What is appended while one group is being written and synced goes into the next: one sync serves
 * everybody who waits. Records are encoded when their group is written, so that a message which all its queues have
 * settled by then is never written.
 */
export class SegmentJournal implements Journal {
  position: Position = 0;
  durable: Position = 0;
  backlogBytes = 0;

  private readonly disk: Disk;
  private readonly options: JournalOptions;
  private epochs: number[];
  private file: AppendFile;
  private fileBytes = segmentHeaderBytes;
  private unit: number;

  private published: QueueEntry[] = [];
  private settled: QueueEntry[] = [];
  private changes: StateChange[] = [];
  /** Receipts in the order of their positions: three rings are one without an object an item. */
  private readonly waitingAt = new Ring<Position>();
  private readonly waiting = new Ring<PublishReceipt | (() => void)>();
  private readonly waitingTag = new Ring<number>();

  private state: 'idle' | 'scheduled' | 'writing' | 'lost' | 'closed' = 'idle';
  private writer = new RecordWriter(batchBytes);
  private idle: (() => void) | null = null;

  private constructor(disk: Disk, options: JournalOptions, epochs: number[], file: AppendFile, unit: number) {
    this.disk = disk;
    this.options = options;
    this.epochs = epochs;
    this.file = file;
    this.unit = unit;
  }

  /**
   * Reads what is there and opens a new segment behind it.
   * @throws JournalDamage
   */
  static async open(
    disk: Disk,
    options: JournalOptions,
  ): Promise<{ journal: SegmentJournal; recovered: RecoveredState }> {
    const epochs = await readManifest(disk);
    const recovered = await recover(disk, epochs, options.log);
    const epoch = (epochs.at(-1) ?? 0) + 1;
    const living = [...epochs, epoch];
    const file = await createSegment(disk, living, recovered.unit + 1);
    return { journal: new SegmentJournal(disk, options, living, file, recovered.unit), recovered };
  }

  publish(first: QueueEntry): Position {
    let bytes = recordOverhead + first.message.end - first.message.start;
    for (let entry: QueueEntry | null = first; entry !== null; entry = entry.sibling) {
      entry.journal = 'pending';
      bytes += 4;
    }
    this.published.push(first);
    return this.appended(bytes);
  }

  settle(entry: QueueEntry): Position {
    this.settled.push(entry);
    return this.appended(8);
  }

  put(kind: string, key: string, value: Buffer): Position {
    this.changes.push({ kind, key: encodeText(key), value });
    return this.appended(recordOverhead + value.length);
  }

  delete(kind: string, key: string): Position {
    this.changes.push({ kind, key: encodeText(key), value: null });
    return this.appended(recordOverhead);
  }

  confirm(upTo: Position, receipt: PublishReceipt, tag: number): void {
    if (upTo <= this.durable) receipt.confirmed(tag);
    else if (this.state === 'lost') receipt.refused(tag, 'internal-error');
    else this.wait(upTo, receipt, tag);
  }

  whenDurable(upTo: Position, done: () => void): void {
    if (upTo <= this.durable) done();
    else if (this.state !== 'lost') this.wait(upTo, done, 0);
  }

  async close(): Promise<void> {
    if (this.state === 'lost' || this.state === 'closed') return;
    while (this.durable < this.position || this.state === 'writing') {
      if (this.isLost()) return;
      await new Promise<void>((resolve) => {
        this.idle = resolve;
        this.schedule();
      });
    }
    this.state = 'closed';
    await this.file.close();
  }

  private isLost(): boolean {
    return this.state === 'lost';
  }

  private wait(upTo: Position, receipt: PublishReceipt | (() => void), tag: number): void {
    this.waitingAt.push(upTo);
    this.waiting.push(receipt);
    this.waitingTag.push(tag);
  }

  private appended(bytes: number): Position {
    this.backlogBytes += bytes;
    this.position += 1;
    this.schedule();
    return this.position;
  }

  // At the end of the turn: all that the turn appends is one unit.
  private schedule(): void {
    if (this.state !== 'idle') return;
    this.state = 'scheduled';
    setImmediate(() => void this.commit());
  }

  private async commit(): Promise<void> {
    const upTo = this.position;
    const bytes = this.backlogBytes;
    this.state = 'writing';
    try {
      const batches = this.encodeGroup();
      if (batches.length > 0) {
        if (this.fileBytes >= this.options.segmentBytes) await this.roll();
        this.unit += 1;
        for (const [i, batch] of batches.entries()) {
          sealBatch(batch, {
            unit: this.unit,
            synced: this.unit - 1,
            epoch: this.epochs.at(-1)!,
            commits: i === batches.length - 1,
          });
          this.fileBytes += batch.length;
        }
        await this.file.write(batches);
        await this.file.datasync();
      }
    } catch (error) {
      this.lose(error as Error);
      return;
    }
    this.durable = upTo;
    this.backlogBytes -= bytes;
    this.state = 'idle';
    this.options.clock.refresh();
    this.tellWaiting();
    if (this.position > upTo) this.schedule();
    else this.idle?.();
  }

  private tellWaiting(): void {
    while (this.waitingAt.length > 0 && this.waitingAt.at(0)! <= this.durable) {
      this.waitingAt.shift();
      const tag = this.waitingTag.shift()!;
      const receipt = this.waiting.shift()!;
      if (typeof receipt === 'function') receipt();
      else receipt.confirmed(tag);
    }
  }

  private lose(why: Error): void {
    this.state = 'lost';
    while (this.waiting.length > 0) {
      this.waitingAt.shift();
      const tag = this.waitingTag.shift()!;
      const receipt = this.waiting.shift()!;
      if (typeof receipt !== 'function') receipt.refused(tag, 'internal-error');
    }
    this.idle?.();
    this.options.onLost(why);
  }

  private async roll(): Promise<void> {
    const epoch = this.epochs.at(-1)! + 1;
    await this.file.close();
    this.epochs = [...this.epochs, epoch];
    this.file = await createSegment(this.disk, this.epochs, this.unit + 1);
    this.fileBytes = segmentHeaderBytes;
  }

  // — encoding ————————————————————————————————————————————————————————————————————————————————————————————————————

  private encodeGroup(): Buffer[] {
    const batches: Buffer[] = [];
    if (this.writer.buffer.length > batchBytes) this.writer = new RecordWriter(batchBytes);
    this.writer.at = batchHeaderBytes;
    for (const change of this.changes) this.encodeChange(change, batches);
    for (const first of this.published) this.encodePublished(first, batches);
    if (this.settled.length > 0) this.encodeSettled(batches);
    this.changes = [];
    this.published = [];
    this.settled = [];
    this.endBatch(batches);
    return batches;
  }

  private encodeChange({ kind, key, value }: StateChange, batches: Buffer[]): void {
    this.makeRoom(recordOverhead + kind.length + key.length + (value?.length ?? 0), batches);
    if (value === null) this.writer.deleted(kind, key);
    else this.writer.put(kind, key, value);
  }

  private encodePublished(first: QueueEntry, batches: Buffer[]): void {
    const queueIds: number[] = [];
    for (let entry: QueueEntry | null = first; entry !== null; entry = entry.sibling) {
      if (entry.state === 'settled') continue;
      entry.journal = 'written';
      queueIds.push(entry.queue.id);
    }
    if (queueIds.length === 0) return;
    const message = first.message;
    const exchange = encodeText(message.exchange);
    const key = encodeText(message.routingKey);
    const deaths = message.deaths.length === 0 ? emptyBuffer : deathsBytes(message.deaths);
    this.makeRoom(RecordWriter.publishedBytes(first, queueIds.length, exchange, key, deaths), batches);
    this.writer.published(message, queueIds, exchange, key, deaths);
  }

  private encodeSettled(batches: Buffer[]): void {
    const byQueue = new Map<number, number[]>();
    for (const entry of this.settled) {
      const sequences = byQueue.get(entry.queue.id);
      if (sequences === undefined) byQueue.set(entry.queue.id, [entry.message.sequence]);
      else sequences.push(entry.message.sequence);
    }
    for (const [queueId, sequences] of byQueue) {
      const runs = toRuns(
        queueId,
        sequences.sort((a, b) => a - b),
      );
      this.makeRoom(runsBytes(runs), batches);
      this.writer.settled(runs);
    }
  }

  private makeRoom(bytes: number, batches: Buffer[]): void {
    if (this.writer.at + bytes <= this.writer.buffer.length) return;
    this.endBatch(batches);
    this.writer = new RecordWriter(Math.max(batchBytes, batchHeaderBytes + bytes));
    this.writer.at = batchHeaderBytes;
  }

  private endBatch(batches: Buffer[]): void {
    if (this.writer.at > batchHeaderBytes) batches.push(this.writer.buffer.subarray(0, this.writer.at));
  }
}

/** Makes the last of `epochs`. What the manifest names is on the disk: it is written last. */
async function createSegment(disk: Disk, epochs: readonly number[], firstUnit: number): Promise<AppendFile> {
  const epoch = epochs.at(-1)!;
  const file = await disk.create(segmentName(epoch));
  await file.write([segmentHeader(epoch, firstUnit)]);
  await file.datasync();
  await disk.sync();
  await disk.replace(manifestName, Buffer.from(`${JSON.stringify({ version: 1, segments: epochs })}\n`, 'utf8'));
  return file;
}

/** @throws JournalDamage when it cannot be read, or is missing beside segments that hold something */
async function readManifest(disk: Disk): Promise<number[]> {
  const names = await disk.list();
  if (!names.includes(manifestName)) {
    // The first segment is made before the first manifest, and holds nothing until then.
    for (const name of names.filter(isSegmentName)) {
      const { length } = await disk.read(name);
      if (length > segmentHeaderBytes) throw new JournalDamage(manifestName, 0, `it is missing, and there is ${name}`);
    }
    return [];
  }
  const text = (await disk.read(manifestName)).toString('utf8');
  let manifest: { version: number; segments: number[] };
  try {
    manifest = JSON.parse(text);
  } catch {
    throw new JournalDamage(manifestName, 0, 'it is not JSON');
  }
  if (manifest.version !== 1) {
    throw new JournalDamage(manifestName, 0, `its version is ${manifest.version}, this program reads version 1`);
  }
  return manifest.segments;
}
