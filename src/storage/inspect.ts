import type { Disk } from './disk.ts';
import { readManifest } from './manifest.ts';
import { type PublishedRecord, type RecordVisitor, readRecords, type SurvivorsRecord } from './record.ts';
import {
  findBatch,
  findProofOf,
  findZeros,
  type JournalDamage,
  readSegmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';

/** What one segment holds, for people: read offline, nothing is changed. */
export interface SegmentReport {
  readonly file: string;
  readonly bytes: number;
  readonly units: number;
  readonly messages: number;
  readonly settlements: number;
  readonly puts: number;
  readonly deletions: number;
  readonly survivorLists: number;
  /** What is wrong and where, or null. A torn tail is cut off at the next start, damage ends it. */
  readonly fault: { readonly kind: 'torn tail' | 'damage'; readonly offset: number; readonly what: string } | null;
}

/**
 * Reads every segment that the manifest names, beyond damaged ones too.
 * @param visitor told of every record of closed units, for an export
 * @throws JournalDamage when the manifest cannot be read
 */
export async function inspect(disk: Disk, visitor: Partial<RecordVisitor> = {}): Promise<SegmentReport[]> {
  const epochs = await readManifest(disk);
  const present = new Set(await disk.list());
  const reports: SegmentReport[] = [];
  for (const [i, epoch] of epochs.entries()) {
    const file = segmentName(epoch);
    const content = present.has(file) ? await disk.read(file) : null;
    reports.push(inspectSegment(file, content, epoch, i === epochs.length - 1, visitor));
  }
  return reports;
}

function inspectSegment(
  file: string,
  content: Buffer | null,
  epoch: number,
  last: boolean,
  visitor: Partial<RecordVisitor>,
): SegmentReport {
  const counter = new Counter(visitor);
  const report = (units: number, fault: SegmentReport['fault']): SegmentReport => ({
    file,
    bytes: content?.length ?? 0,
    units,
    ...counter.counts,
    fault,
  });
  if (content === null) return report(0, { kind: 'damage', offset: 0, what: 'it is missing' });
  let unit: number;
  try {
    unit = readSegmentHeader(file, content, epoch);
  } catch (error) {
    const { offset, what } = error as JournalDamage;
    return report(0, { kind: 'damage', offset, what });
  }
  const firstUnit = unit;
  let whole = segmentHeaderBytes;
  let open: { readonly payload: Buffer; readonly end: number }[] = [];
  for (let batch = findBatch(content, whole, epoch); batch?.unit === unit; ) {
    open.push(batch);
    if (batch.commits) {
      for (const { payload, end } of open) readRecords(payload, end - payload.length, counter);
      open = [];
      whole = batch.end;
      unit += 1;
    }
    batch = findBatch(content, batch.end, epoch);
  }
  const end = last ? findZeros(content, whole) : content.length;
  if (whole === end) return report(unit - firstUnit, null);
  const torn = last && findProofOf(unit, content, whole, epoch) === undefined;
  return report(unit - firstUnit, {
    kind: torn ? 'torn tail' : 'damage',
    offset: whole,
    what: `${end - whole} octets behind the last whole unit`,
  });
}

class Counter implements RecordVisitor {
  readonly counts = { messages: 0, settlements: 0, puts: 0, deletions: 0, survivorLists: 0 };
  private readonly visitor: Partial<RecordVisitor>;

  constructor(visitor: Partial<RecordVisitor>) {
    this.visitor = visitor;
  }

  published(record: PublishedRecord): void {
    this.counts.messages += 1;
    this.visitor.published?.(record);
  }

  settled(queueId: number, sequence: number): void {
    this.counts.settlements += 1;
    this.visitor.settled?.(queueId, sequence);
  }

  put(kind: string, key: string, value: Buffer): void {
    this.counts.puts += 1;
    this.visitor.put?.(kind, key, value);
  }

  deleted(kind: string, key: string): void {
    this.counts.deletions += 1;
    this.visitor.deleted?.(kind, key);
  }

  survivors(part: SurvivorsRecord): void {
    if (part.last) this.counts.survivorLists += 1;
    this.visitor.survivors?.(part);
  }
}
