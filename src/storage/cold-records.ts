import type { ColdBatch } from '../core/queue/cold-store.ts';
import { QueueEntry } from '../core/queue/entry.ts';
import type { EntryKeeper } from '../core/queue/queue.ts';
import type { Span } from './cold-reader.ts';
import { publishedAt } from './record.ts';

/** What the table said of records when they were asked for: an entry that is only looked at may be gone since. */
export class Places {
  readonly sequences: Float64Array;
  readonly offsets: Uint32Array;
  readonly lengths: Uint32Array;
  count = 0;

  constructor(capacity: number) {
    this.sequences = new Float64Array(capacity);
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
  }

  add(sequence: number, offset: number, length: number): void {
    this.sequences[this.count] = sequence;
    this.offsets[this.count] = offset;
    this.lengths[this.count] = length;
    this.count += 1;
  }
}

/** Records as they were read: an entry is made of each when it is asked for, so that it is young when it dies. */
export class ColdRecords<K extends EntryKeeper> implements ColdBatch<K> {
  left: number;
  readonly bytes: number;
  private readonly queue: K;
  private readonly places: Places;
  private readonly spans: readonly Span[];
  private at = 0;
  private spanAt = 0;
  /** The index behind the last of the span. */
  private spanEnd: number;

  constructor(queue: K, places: Places, spans: readonly Span[]) {
    this.queue = queue;
    this.places = places;
    this.spans = spans;
    this.left = places.count;
    this.bytes = spans.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.spanEnd = spans.length === 0 ? 0 : spans[0]!.count;
  }

  next(): QueueEntry<K> {
    if (this.at === this.spanEnd) {
      this.spanAt += 1;
      this.spanEnd += this.spans[this.spanAt]!.count;
    }
    const { places, at } = this;
    const { file, offset, bytes, wantedBytes } = this.spans[this.spanAt]!;
    const record = publishedAt(bytes, places.offsets[at]! - offset);
    const sequence = places.sequences[at]!;
    if (record.sequence !== sequence || record.length !== places.lengths[at]!) {
      throw new Error(`${file} at offset ${places.offsets[at]}: message ${sequence} is not there`);
    }
    const message = record.toMessage();
    // Views keep the span in memory until all of them are gone: worth it only if they are most of it.
    if (wantedBytes * 2 < bytes.length) message.rest();
    else message.resting = true;
    const entry = new QueueEntry(this.queue, message, null);
    entry.expiresAtMs = record.hasExpiries ? record.expiryIn(this.queue.id) : message.expiresAtMs;
    this.at = at + 1;
    this.left -= 1;
    return entry;
  }
}
