import type { Journal, Position, PublishReceipt } from '../core/journal.ts';
import type { Message } from '../core/message.ts';
import type { KeptEntry } from '../core/queue/entry.ts';
import { SlotList } from '../core/queue/slot-list.ts';
import { emptyBuffer, encodeText } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { Ring } from '../lib/ring.ts';
import type { Timer, Timers } from '../lib/timers.ts';
import { type AppendFile, SyncFailed } from './append-file.ts';
import type { Catalog, Segment, StateRecord } from './catalog.ts';
import { ColdEntries, type ColdJournal } from './cold-entries.ts';
import { Compactor, type MoveWriter, type SurvivorsPart } from './compaction.ts';
import type { Disk } from './disk.ts';
import { readManifest, writeManifest } from './manifest.ts';
import { deathsBytes, publishedAt, RecordWriter, survivorsBytes } from './record.ts';
import { type RecoveredState, recover } from './recovery.ts';
import { Scratch } from './scratch.ts';
import { batchBytes, batchHeaderBytes, isSegmentName, sealBatch, segmentHeader, segmentName } from './segment.ts';
import { Settlements } from './settlements.ts';

export interface JournalOptions {
  readonly segmentBytes: number;
  readonly log: Logger;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly durability?: Durability;
}

/**
 * When a fact counts as durable. sync: it is on the disk; interval: it is with the operating system, and on the disk
 * at most `intervalMs` later; none: it is with the operating system, which writes when it likes. A crash of the broker
 * alone loses nothing in any of them, a loss of power what was not on the disk.
 */
export interface Durability {
  readonly mode: 'sync' | 'interval' | 'none';
  readonly intervalMs: number;
}

interface StateChange {
  readonly kind: string;
  readonly key: string;
  /** null: deleted. */
  readonly value: Buffer | null;
}

const recordOverhead = 64;
/** Buffers of `batchBytes` that are kept for the next group. */
const sparesMax = 128;
const retryMs = 1000;

/**
 * The log on disk. What is appended while one group is being written and synced goes into the next: one sync serves
 * everybody who waits. Records are encoded when their group is written, so that a message which all its queues have
 * settled by then is never written.
 */
export class SegmentJournal implements Journal, MoveWriter, ColdJournal {
  position: Position = 0;
  durable: Position = 0;
  backlogBytes = 0;
  failure: string | null = null;
  /** Where entries rest that have left memory. */
  readonly cold: ColdEntries;

  private readonly disk: Disk;
  private readonly options: JournalOptions;
  private readonly durability: Durability;
  private readonly catalog: Catalog;
  private readonly compactor: Compactor;
  private file: AppendFile;
  private unit: number;
  /** The last unit that is on the disk for sure. */
  private syncedUnit: number;
  private syncDue: Timer | null = null;

  private published: KeptEntry[] = [];
  private settled: KeptEntry[] = [];
  private settledCold = new SlotList();
  private changes: StateChange[] = [];
  /** Receipts in the order of their positions: three rings are one without an object an item. */
  private readonly waitingAt = new Ring<Position>();
  private readonly waiting = new Ring<PublishReceipt | (() => void)>();
  private readonly waitingTag = new Ring<number>();

  private state: 'idle' | 'scheduled' | 'writing' | 'lost' | 'closed' = 'idle';
  private closing = false;
  /** Before that, what nobody has adopted yet would seem dead. */
  private restoredAll = false;
  private idle: (() => void) | null = null;
  /** Who waits until what is being written has been. */
  private afterWrite: (() => void)[] = [];

  private writer = new RecordWriter(batchBytes);
  private readonly batches: Buffer[] = [];
  private readonly spares: RecordWriter[] = [];
  private readonly used: RecordWriter[] = [];
  /** Where the batch that is being filled will begin in its file. */
  private batchAt = 0;
  private readonly queueIds: number[] = [];
  private readonly expiries: number[] = [];
  private readonly living: KeptEntry[] = [];
  private readonly way = {
    exchange: emptyBuffer,
    key: emptyBuffer,
    queueIds: this.queueIds,
    expiries: this.expiries,
    deaths: emptyBuffer,
  };
  private lastExchange = '';
  private lastKey = '';

  private constructor(disk: Disk, options: JournalOptions, recovered: RecoveredState, file: AppendFile) {
    this.disk = disk;
    this.options = options;
    this.durability = options.durability ?? { mode: 'sync', intervalMs: 0 };
    this.catalog = recovered.catalog;
    this.cold = new ColdEntries(disk, recovered.catalog, this);
    this.compactor = new Compactor(
      recovered.catalog,
      options.segmentBytes,
      this.cold.reader,
      () => this.schedule(),
      options.log,
    );
    this.file = file;
    this.unit = recovered.unit;
    this.syncedUnit = recovered.unit;
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
    await removeStrays(disk, epochs);
    await Scratch.clear(disk);
    const epoch = (epochs.at(-1) ?? 0) + 1;
    const file = await createSegment(disk, epoch, recovered.unit + 1);
    await writeManifest(disk, [...epochs, epoch]);
    recovered.catalog.add(epoch);
    return { journal: new SegmentJournal(disk, options, recovered, file), recovered };
  }

  get writable(): boolean {
    return this.failure === null;
  }

  /** Octets of all files of the log. */
  get bytes(): number {
    return this.catalog.bytes;
  }

  restored(): void {
    this.restoredAll = true;
    this.schedule();
  }

  publish(first: KeptEntry): Position {
    let bytes = recordOverhead + first.message.end - first.message.start;
    for (let entry: KeptEntry | null = first; entry !== null; entry = entry.sibling) {
      entry.journal = 'pending';
      bytes += 4;
    }
    this.published.push(first);
    return this.appended(bytes);
  }

  settle(entry: KeptEntry): Position {
    if (entry.slot >= 0)
      this.settledCold.push(entry.slot); // it need not outlive its delivery
    else this.settled.push(entry);
    return this.appended(8);
  }

  replace(entry: KeptEntry, by: KeptEntry): void {
    this.catalog.replace(entry, by);
  }

  settleCold(slot: number): void {
    this.settledCold.push(slot);
    this.appended(8);
  }

  written(): Promise<void> {
    return new Promise((resolve) => {
      this.afterWrite.push(resolve);
      this.schedule();
    });
  }

  put(kind: string, key: string, value: Buffer): Position {
    this.changes.push({ kind, key, value });
    return this.appended(recordOverhead + value.length);
  }

  delete(kind: string, key: string): Position {
    this.changes.push({ kind, key, value: null });
    return this.appended(recordOverhead);
  }

  confirm(upTo: Position, receipt: PublishReceipt, tag: number): void {
    if (upTo <= this.durable) receipt.confirmed(tag);
    else if (!this.writable) receipt.refused(tag, 'resource-limit-exceeded');
    else this.wait(upTo, receipt, tag);
  }

  whenDurable(upTo: Position, done: () => void): void {
    if (upTo <= this.durable) done();
    else this.wait(upTo, done, 0);
  }

  async close(): Promise<void> {
    this.closing = true;
    while (this.mayWrite() && (this.durable < this.position || this.state === 'writing')) {
      await new Promise<void>((resolve) => {
        this.idle = resolve;
        this.schedule();
      });
    }
    if (!this.mayWrite()) return;
    this.state = 'closed';
    this.syncDue?.cancel();
    if (this.syncedUnit < this.unit) await this.file.datasync();
    await this.file.close();
    await this.cold.close();
  }

  private isLost(): boolean {
    return this.state === 'lost';
  }

  private mayWrite(): boolean {
    return this.state !== 'lost' && this.state !== 'closed';
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
    if (!this.mayWrite()) return; // a sync failed since it was scheduled
    this.state = 'writing';
    let upTo = this.position;
    try {
      await this.roll();
      upTo = this.position;
      const bytes = this.backlogBytes;
      this.encodeGroup();
      if (this.batches.length > 0) await this.writeGroup();
      this.backlogBytes -= bytes;
    } catch (error) {
      this.lose(error as Error);
      return;
    }
    if (this.isLost()) return; // a sync beside this group failed
    const written = this.afterWrite;
    this.afterWrite = [];
    for (const resolve of written) resolve();
    this.durable = upTo;
    this.options.clock.refresh();
    this.tellWaiting();
    if (this.restoredAll) await this.removeDead();
    if (this.isLost()) return;
    this.state = 'idle';
    if (this.position > upTo || (this.restoredAll && this.compactor.busy)) this.schedule();
    if (this.position === upTo) this.idle?.();
  }

  // A write that fails is undone and tried again until there is room; a sync that fails cannot be made good on its file.
  private async writeGroup(): Promise<void> {
    const { tail } = this.catalog;
    this.unit += 1;
    for (let i = 0; i < this.batches.length; i++) {
      const batch = this.batches[i]!;
      const commits = i === this.batches.length - 1;
      sealBatch(batch, { unit: this.unit, synced: this.syncedUnit, epoch: tail.epoch, commits });
    }
    const through = this.durability.mode === 'sync';
    let failed = false;
    await this.insist(async () => {
      if (failed) await this.file.truncate(tail.bytes);
      failed = true;
      if (through) await this.file.writeThrough(this.batches);
      else await this.file.write(this.batches);
    });
    for (const batch of this.batches) tail.append(batch.length);
    this.batches.length = 0;
    for (const writer of this.used) if (this.spares.length < sparesMax) this.spares.push(writer);
    this.used.length = 0;
    if (through) this.syncedUnit = this.unit;
    else if (this.durability.mode === 'interval' && this.syncDue === null) {
      this.syncDue = this.options.timers.after(this.durability.intervalMs, () => {
        this.syncDue = null;
        this.sync().catch((error) => this.lose(error as Error));
      });
    }
  }

  private async sync(): Promise<void> {
    const { unit } = this;
    if (this.syncedUnit >= unit) return;
    await this.file.datasync();
    this.syncedUnit = unit;
  }

  /** Does what needs room on the disk until it succeeds; nothing is confirmed meanwhile, and publishers are refused. */
  private async insist(operation: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        await operation();
        break;
      } catch (error) {
        if (this.closing || error instanceof SyncFailed) throw error;
        this.fail(error as Error);
        await new Promise<void>((resolve) => this.options.timers.after(retryMs, resolve));
      }
    }
    if (this.isLost()) throw new Error('a sync failed meanwhile');
    if (this.writable) return;
    this.failure = null;
    this.options.log.warn({}, 'journal: the disk can be written again');
  }

  private fail(why: Error): void {
    if (!this.writable) return;
    this.failure = `the disk refuses what is written (${why.message})`;
    this.options.log.error(
      { err: why.message },
      'journal: the disk refuses; durable messages are refused until it does not',
    );
    this.refuseWaiting();
  }

  // What is not durable and was published is refused; it may arrive all the same. What was declared goes on waiting.
  private refuseWaiting(): void {
    const count = this.waiting.length;
    for (let i = 0; i < count; i++) {
      const at = this.waitingAt.shift()!;
      const tag = this.waitingTag.shift()!;
      const receipt = this.waiting.shift()!;
      if (typeof receipt === 'function') this.wait(at, receipt, tag);
      else receipt.refused(tag, 'resource-limit-exceeded');
    }
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
    if (this.isLost()) return;
    this.state = 'lost';
    this.failure = `the disk is lost until a restart (${why.message})`;
    this.options.log.error({ err: why.message }, 'journal: lost the disk; nothing durable is taken until a restart');
    this.refuseWaiting();
    this.idle?.();
  }

  private async roll(): Promise<void> {
    if (this.catalog.tail.bytes < this.options.segmentBytes) return;
    // Behind its end there may be zeros, which only the last segment may have.
    await this.insist(() => this.file.truncate(this.catalog.tail.bytes));
    await this.file.datasync();
    this.syncedUnit = this.unit;
    const epoch = this.catalog.tail.epoch + 1;
    let file: AppendFile | undefined;
    await this.insist(async () => {
      file = await createSegment(this.disk, epoch, this.unit + 1);
    });
    // An attempt that fails may have named the segment all the same: it is never made anew from here on.
    await this.insist(() => writeManifest(this.disk, [...this.catalog.epochs, epoch]));
    await this.file.close();
    this.file = file!;
    this.catalog.add(epoch);
  }

  /** Gives back the space of segments that nothing needs. */
  private async removeDead(): Promise<void> {
    if (!this.catalog.segments.some((segment) => segment !== this.catalog.tail && segment.deletable)) return;
    try {
      await this.sync(); // what makes them superfluous must be on the disk first
    } catch (error) {
      this.lose(error as Error);
      return;
    }
    const removed = this.catalog.removeDeletable();
    await this.insist(() => writeManifest(this.disk, this.catalog.epochs)).catch((error) => this.lose(error as Error));
    for (const { epoch, file } of removed) {
      this.cold.reader.forget(file);
      this.disk.remove(segmentName(epoch)).catch((error: Error) => {
        this.options.log.warn({ err: error.message, file: segmentName(epoch) }, 'journal: a dead segment stays');
      });
    }
  }

  // — encoding ————————————————————————————————————————————————————————————————————————————————————————————————————

  private encodeGroup(): void {
    this.writer.at = batchHeaderBytes;
    this.batchAt = this.catalog.tail.bytes;
    if (this.restoredAll) this.compactor.encode(this);
    for (const change of this.changes) this.encodeChange(change);
    for (const first of this.published) this.encodePublished(first);
    if (this.settled.length > 0 || this.settledCold.length > 0) this.encodeSettled();
    this.changes = [];
    this.published = [];
    this.settled = [];
    this.settledCold = new SlotList();
    if (this.writer.at > batchHeaderBytes) this.endBatch();
  }

  moveEntries(entries: readonly KeptEntry[]): number {
    this.encodeEntries(entries[0]!.message, entries);
    return entries[0]!.homeBytes;
  }

  moveCold(slots: readonly number[], source: Buffer, start: number): number {
    const { cold, tail } = this.catalog;
    const { queueIds, expiries } = this;
    const record = publishedAt(source, start);
    queueIds.length = 0;
    expiries.length = 0;
    for (const slot of slots) queueIds.push(cold.queueId(slot));
    for (const id of queueIds) expiries.push(record.expiryIn(id));
    if (!record.hasExpiries) expiries.length = 0;
    // Shorter than before, for queues are only left out.
    this.makeRoom(record.length);
    const offset = this.batchAt + this.writer.at;
    const length = this.writer.moved(source, start, queueIds, expiries);
    const share = Math.floor(length / slots.length);
    for (const slot of slots) this.catalog.moveCold(slot, tail, { home: tail, offset, length, share });
    return length;
  }

  moveState({ kind, key, keyBytes, value }: StateRecord): number {
    const bytes = recordOverhead + kind.length + keyBytes.length + value.length;
    this.makeRoom(bytes);
    this.writer.put(kind, keyBytes, value);
    this.catalog.put(kind, key, keyBytes, value, this.catalog.tail);
    return bytes;
  }

  survivors(segment: Segment, part: SurvivorsPart): void {
    this.makeRoom(survivorsBytes(part));
    this.writer.survivors(segment.epoch, part, this.catalog.cold);
  }

  private encodeChange({ kind, key, value }: StateChange): void {
    const keyBytes = encodeText(key);
    this.makeRoom(recordOverhead + kind.length + keyBytes.length + (value?.length ?? 0));
    if (value === null) {
      this.writer.deleted(kind, keyBytes);
      this.catalog.delete(kind, key, this.catalog.tail);
    } else {
      this.writer.put(kind, keyBytes, value);
      this.catalog.put(kind, key, keyBytes, value, this.catalog.tail);
    }
  }

  private encodePublished(first: KeptEntry): void {
    const { living } = this;
    living.length = 0;
    let last = first;
    for (let entry: KeptEntry | null = first; entry !== null; entry = entry.sibling) {
      last = entry;
      if (entry.state === 'settled') continue;
      entry.journal = 'written';
      living.push(entry);
    }
    if (living.length === 0) return;
    this.encodeEntries(first.message, living);
    if (last !== first) last.sibling = first;
  }

  /** Writes the message for the queues of `entries`, which live there from now on. */
  private encodeEntries(message: Message, entries: readonly KeptEntry[]): void {
    const { queueIds, expiries } = this;
    queueIds.length = 0;
    expiries.length = 0;
    let expiresApart = false;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      queueIds.push(entry.queue.id);
      if (entry.expiresAtMs !== message.expiresAtMs) expiresApart = true;
    }
    if (expiresApart) for (const entry of entries) expiries.push(entry.expiresAtMs);
    // Most messages go where the last one went: 120 ns less.
    if (message.exchange !== this.lastExchange) {
      this.lastExchange = message.exchange;
      this.way.exchange = encodeText(message.exchange);
    }
    if (message.routingKey !== this.lastKey) {
      this.lastKey = message.routingKey;
      this.way.key = encodeText(message.routingKey);
    }
    this.way.deaths = message.deaths.length === 0 ? emptyBuffer : deathsBytes(message.deaths);
    const bytes = RecordWriter.publishedBytes(message, this.way);
    this.makeRoom(bytes);
    const offset = this.batchAt + this.writer.at;
    this.writer.published(message, this.way);
    const { tail } = this.catalog;
    for (let i = 0; i < entries.length; i++) {
      this.catalog.place(entries[i]!, tail, offset, bytes, entries.length);
    }
  }

  private encodeSettled(): void {
    const { tail } = this.catalog;
    const byQueue = new Map<number, Settlements>();
    let settlements = new Settlements(0); // no durable queue has this one
    const settle = (queueId: number, sequence: number): void => {
      if (queueId !== settlements.queueId) {
        settlements = byQueue.get(queueId) ?? new Settlements(queueId);
        byQueue.set(queueId, settlements);
      }
      settlements.add(sequence);
    };
    for (const entry of this.settled) {
      this.catalog.release(entry, tail);
      settle(entry.queue.id, entry.message.sequence);
    }
    const { cold } = this.catalog;
    for (let i = 0; i < this.settledCold.length; i++) {
      const slot = this.settledCold.at(i);
      settle(cold.queueId(slot), cold.sequence(slot));
      this.catalog.releaseCold(slot, tail);
    }
    for (const each of byQueue.values()) {
      this.makeRoom(each.bytes);
      this.writer.settled(each);
    }
  }

  private makeRoom(bytes: number): void {
    if (this.writer.at + bytes <= this.writer.buffer.length) return;
    if (this.writer.at > batchHeaderBytes) this.endBatch();
    if (batchHeaderBytes + bytes > this.writer.buffer.length) {
      if (this.spares.length < sparesMax) this.spares.push(this.writer);
      this.writer = new RecordWriter(batchHeaderBytes + bytes);
    }
    this.writer.at = batchHeaderBytes;
  }

  private endBatch(): void {
    const { writer } = this;
    this.batches.push(writer.buffer.subarray(0, writer.at));
    this.batchAt += writer.at;
    if (writer.buffer.length === batchBytes) this.used.push(writer);
    this.writer = this.spares.pop() ?? new RecordWriter(batchBytes);
    this.writer.at = batchHeaderBytes;
  }
}

/** Makes a segment for the manifest to name: what that names is on the disk. */
async function createSegment(disk: Disk, epoch: number, firstUnit: number): Promise<AppendFile> {
  const file = await disk.create(segmentName(epoch));
  try {
    await file.write([segmentHeader(epoch, firstUnit)]);
    await file.datasync();
    await disk.sync();
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

/** Segments that no manifest names: half made, or dead and not yet removed. */
async function removeStrays(disk: Disk, epochs: readonly number[]): Promise<void> {
  const named = new Set(epochs.map(segmentName));
  for (const name of await disk.list()) if (isSegmentName(name) && !named.has(name)) await disk.remove(name);
}
