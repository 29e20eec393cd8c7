import { mkdir, readdir } from 'node:fs/promises';
import { encodeQueue, nameKey } from '../core/definitions.ts';
import { noHeaders } from '../core/properties.ts';
import { encodeText } from '../lib/bytes.ts';
import type { AppendFile } from './append-file.ts';
import { type Disk, openDisk } from './disk.ts';
import { type LogReport, readState } from './inspect.ts';
import { writeManifest } from './manifest.ts';
import { type PublishedRecord, RecordWriter, readRecords } from './record.ts';
import type { RecoveredState } from './recovery.ts';
import { scan } from './scan.ts';
import { batchBytes, batchHeaderBytes, sealBatch, segmentHeader, segmentHeaderBytes, segmentName } from './segment.ts';

/** Of a queue whose declaration is lost. */
export interface FoundQueue {
  readonly id: number;
  /** In the virtual host `/`. */
  readonly name: string;
}

export interface Salvaged {
  readonly report: LogReport;
  readonly found: readonly FoundQueue[];
}

/**
 * Writes what can be read of the log in `source` into `target`, a directory that is empty or not there, as a log that
 * a broker can start on: the living messages, in their queues and order, and the last values of all keys.
 * Settlements and deletions that damage took are not known: what they took away is there again. Messages of a queue whose
 * declaration is lost come into a queue `salvaged.N`, without their expiry. `source` is not changed.
 * @throws Error when `target` holds something
 */
export async function salvage(source: string, target: string): Promise<Salvaged> {
  await mkdir(target, { recursive: true });
  if ((await readdir(target)).length > 0) throw new Error(`'${target}' is not empty`);
  return rewrite(await openDisk(source), await openDisk(target));
}

export async function rewrite(source: Disk, target: Disk): Promise<Salvaged> {
  const { report, state } = await readState(source);
  const found = report.damage.length > 0 ? findQueues(report, state) : [];
  const unknown = new Set(found.map(({ id }) => id));
  const out = new LogWriter(target);
  for (const [kind, values] of state.catalog.kinds) {
    for (const { keyBytes, value } of values.values()) out.put(kind, keyBytes, value);
  }
  for (const { id, name } of found) {
    const spec = { name, durable: true, autoDelete: false, exclusiveTo: null, arguments: noHeaders };
    out.put('queue', encodeText(nameKey('/', name)), encodeQueue(spec, id));
  }
  let epoch = 0;
  const visitor = {
    published(record: PublishedRecord) {
      const { sequence, offset } = record;
      const queueIds = record.queueIds.filter((id) => state.livesAt(id, sequence, epoch, offset));
      if (queueIds.length === 0) return;
      const apart = record.hasExpiries || queueIds.some((id) => unknown.has(id));
      const expiries = apart ? queueIds.map((id) => (unknown.has(id) ? 0 : record.expiryIn(id))) : [];
      out.message(record, queueIds, expiries);
    },
    settled() {},
    put() {},
    deleted() {},
    survivors() {},
  };
  await scan(source, {
    async segment(_file, next) {
      epoch = next;
      await out.written(); // what one segment holds is in memory, and no more
    },
    records: (payload, base) => readRecords(payload, base, visitor),
    unit() {},
    damage() {},
  });
  await out.close();
  return { report, found };
}

/** Queues that hold something and that nothing declares. */
function findQueues({ queues }: LogReport, state: RecoveredState): FoundQueue[] {
  const known = state.catalog.kinds.get('queue');
  return queues
    .filter(({ name }) => name === null)
    .map(({ id }) => {
      let name = `salvaged.${id}`;
      while (known?.has(nameKey('/', name)) === true) name = `${name}.${id}`;
      return { id, name };
    });
}

const segmentBytes = 64 * 1024 * 1024;

/** A new log, each batch a unit. */
class LogWriter {
  private readonly disk: Disk;
  private readonly epochs: number[] = [];
  private writer = new RecordWriter(batchBytes);
  private unit = 0;
  private bytes = Number.POSITIVE_INFINITY;
  private file: AppendFile | null = null;
  private work = Promise.resolve();

  constructor(disk: Disk) {
    this.disk = disk;
    this.writer.at = batchHeaderBytes;
  }

  put(kind: string, key: Buffer, value: Buffer): void {
    this.demand(10 + kind.length + key.length + value.length);
    this.writer.put(kind, key, value);
  }

  message(record: PublishedRecord, queueIds: readonly number[], expiries: readonly number[]): void {
    this.demand(record.length + expiries.length * 8);
    this.writer.moved(record.payload, record.start, queueIds, expiries);
  }

  written(): Promise<void> {
    return this.work;
  }

  /** Everything is on the disk, and named, when it resolves. */
  async close(): Promise<void> {
    this.flush(batchBytes);
    await this.work;
    await this.closeFile();
    await this.disk.sync();
    await writeManifest(this.disk, this.epochs);
  }

  /** Makes room for a record. */
  private demand(bytes: number): void {
    const { writer } = this;
    if (writer.at + bytes > writer.buffer.length) this.flush(Math.max(batchBytes, batchHeaderBytes + bytes));
  }

  private flush(nextBytes: number): void {
    const { buffer, at } = this.writer;
    this.writer = new RecordWriter(nextBytes);
    this.writer.at = batchHeaderBytes;
    if (at === batchHeaderBytes) return;
    this.work = this.work.then(() => this.append(buffer.subarray(0, at)));
    this.work.catch(() => {}); // it is thrown where it is awaited
  }

  private async append(batch: Buffer): Promise<void> {
    this.unit += 1;
    if (this.bytes >= segmentBytes) await this.begin();
    // The manifest comes after all of them: none can be torn.
    sealBatch(batch, { unit: this.unit, synced: this.unit - 1, epoch: this.epochs.length, commits: true });
    await this.file!.write([batch]);
    this.bytes += batch.length;
  }

  private async begin(): Promise<void> {
    await this.closeFile();
    const epoch = this.epochs.length + 1;
    this.epochs.push(epoch);
    this.file = await this.disk.create(segmentName(epoch));
    await this.file.write([segmentHeader(epoch, this.unit)]);
    this.bytes = segmentHeaderBytes;
  }

  private async closeFile(): Promise<void> {
    await this.file?.datasync();
    await this.file?.close();
  }
}
