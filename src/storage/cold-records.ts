import type { ColdBatch } from '../core/queue/cold-store.ts';
import { QueueEntry } from '../core/queue/entry.ts';
import type { EntryKeeper } from '../core/queue/queue.ts';
import type { Span } from './cold-reader.ts';
import { publishedAt } from './record.ts';

/** Records as they were read: an entry is made of each when it is asked for, so that it is young when it dies. */
export class ColdRecords<K extends EntryKeeper> implements ColdBatch<K> {
  left: number;
  readonly bytes: number;
  private readonly queue: K;
  private readonly spans: readonly Span[];
  private spanAt = 0;
  private runAt = 0;
  private runLeft = 0;
  /** Of the next record of the run, in the octets of its span. */
  private at = 0;

  /** @param count records in the runs of `spans` */
  constructor(queue: K, count: number, spans: readonly Span[]) {
    this.queue = queue;
    this.left = count;
    this.spans = spans;
    let bytes = 0;
    for (const span of spans) bytes += span.bytes.length;
    this.bytes = bytes;
  }

  next(): QueueEntry<K> {
    if (this.runLeft === 0) this.beginRun();
    const { bytes, piece } = this.spans[this.spanAt]!;
    const record = publishedAt(bytes, this.at);
    const message = record.toMessage();
    // Views keep the span in memory until all of them are gone: worth it only if they are most of it.
    if (piece.wantedBytes * 2 < bytes.length) message.rest();
    else message.resting = true;
    const entry = new QueueEntry(this.queue, message, null);
    entry.expiresAtMs = record.hasExpiries ? record.expiryIn(this.queue.id) : message.expiresAtMs;
    this.at = record.end;
    this.runLeft -= 1;
    this.left -= 1;
    return entry;
  }

  private beginRun(): void {
    if (this.runAt === this.spans[this.spanAt]!.piece.runs.length) {
      this.spanAt += 1;
      this.runAt = 0;
    }
    const span = this.spans[this.spanAt]!;
    this.at = span.find(span.piece.runs[this.runAt]!); // a run is never longer than its batch
    this.runLeft = span.piece.runs[this.runAt + 1]!;
    this.runAt += 2;
  }
}
