import { decodeQueue, splitKey } from '../core/definitions.ts';
import type { Disk } from './disk.ts';
import { type PublishedRecord, type RecordVisitor, readRecords, type SurvivorsRecord } from './record.ts';
import { RecoveredState } from './recovery.ts';
import { type Damage, scan } from './scan.ts';

/** What one segment holds, for people: records that can be read. */
export interface SegmentReport {
  readonly file: string;
  readonly bytes: number;
  readonly units: number;
  readonly messages: number;
  readonly settlements: number;
  readonly puts: number;
  readonly deletions: number;
  readonly survivorLists: number;
}

/** What waits in a queue. */
export interface QueueReport {
  readonly id: number;
  /** Null where no record that can be read declares it: its messages stand in the log alone. */
  readonly name: string | null;
  readonly vhost: string | null;
  readonly messages: number;
  /** Of bodies. */
  readonly bytes: number;
}

export interface LogReport {
  readonly segments: readonly SegmentReport[];
  readonly queues: readonly QueueReport[];
  /** Keys by their kind: users, exchanges, retained messages … */
  readonly kinds: Readonly<Record<string, number>>;
  readonly damage: readonly Damage[];
}

/** Told of every record that can be read, and of damage where it stands. */
export interface ExportVisitor extends RecordVisitor {
  damage(damage: Damage): void;
}

/** Reads the log through its damage; nothing is changed. @param visitor told of it all, for an export */
export async function inspect(disk: Disk, visitor: Partial<ExportVisitor> = {}): Promise<LogReport> {
  return (await readState(disk, visitor)).report;
}

/** As `inspect`, with the state that comes of all that can be read. */
export async function readState(
  disk: Disk,
  visitor: Partial<ExportVisitor> = {},
): Promise<{ report: LogReport; state: RecoveredState }> {
  const replay = new Replay();
  const segments: Counter[] = [];
  const damage: Damage[] = [];
  await scan(disk, {
    segment(file, epoch, bytes) {
      replay.begin(epoch);
      segments.push(new Counter(file, bytes, [replay, visitor]));
    },
    records: (payload, base) => readRecords(payload, base, segments.at(-1)!),
    unit() {
      segments.at(-1)!.counts.units += 1;
    },
    damage(each) {
      replay.interrupt();
      damage.push(each);
      visitor.damage?.(each);
    },
  });
  const { state } = replay;
  const kinds: Record<string, number> = {};
  for (const [kind, values] of state.catalog.kinds) if (values.size > 0) kinds[kind] = values.size;
  const reports = segments.map(({ counts }) => ({ ...counts }));
  return { report: { segments: reports, queues: describeQueues(state), kinds, damage }, state };
}

function describeQueues(state: RecoveredState): QueueReport[] {
  const names = new Map<number, [vhost: string, name: string]>();
  for (const [key, value] of state.entries('queue')) names.set(decodeQueue(value).id, splitKey(key));
  // Delayed messages wait in the schedule of an exchange.
  for (const [key, value] of state.entries('schedule')) names.set(Number(value.toString('latin1')), splitKey(key));
  const reports = new Map<number, QueueReport>();
  for (const [id, [vhost, name]] of names) reports.set(id, { id, name, vhost, messages: 0, bytes: 0 });
  for (const { id, slots, bodyBytes } of state.queues()) {
    let bytes = 0;
    for (const slot of slots) bytes += bodyBytes(slot);
    const [vhost, name] = names.get(id) ?? [null, null];
    reports.set(id, { id, name, vhost, messages: slots.length, bytes });
  }
  return [...reports.values()].sort((a, b) => a.id - b.id);
}

/** The state as the start would replay it, of what can be read. */
class Replay implements Partial<RecordVisitor> {
  readonly state = new RecoveredState();
  /** Parts of a list of survivors may be missing: who is not in the others need not be dead. */
  private cut = true;

  begin(epoch: number): void {
    this.state.catalog.add(epoch);
    this.cut = true;
  }

  interrupt(): void {
    this.cut = true;
  }

  published(record: PublishedRecord): void {
    this.state.published(record);
  }

  settled(queueId: number, sequence: number): void {
    this.state.settled(queueId, sequence);
  }

  put(kind: string, key: string, value: Buffer): void {
    this.state.put(kind, key, value);
  }

  deleted(kind: string, key: string): void {
    this.state.deleted(kind, key);
  }

  survivors(part: SurvivorsRecord): void {
    if (part.first) this.cut = false;
    if (!this.cut) this.state.survivors(part);
  }
}

class Counter implements RecordVisitor {
  readonly counts;
  private readonly visitors: readonly Partial<RecordVisitor>[];

  constructor(file: string, bytes: number, visitors: readonly Partial<RecordVisitor>[]) {
    this.counts = { file, bytes, units: 0, messages: 0, settlements: 0, puts: 0, deletions: 0, survivorLists: 0 };
    this.visitors = visitors;
  }

  published(record: PublishedRecord): void {
    this.counts.messages += 1;
    for (const visitor of this.visitors) visitor.published?.(record);
  }

  settled(queueId: number, sequence: number): void {
    this.counts.settlements += 1;
    for (const visitor of this.visitors) visitor.settled?.(queueId, sequence);
  }

  put(kind: string, key: string, value: Buffer): void {
    this.counts.puts += 1;
    for (const visitor of this.visitors) visitor.put?.(kind, key, value);
  }

  deleted(kind: string, key: string): void {
    this.counts.deletions += 1;
    for (const visitor of this.visitors) visitor.deleted?.(kind, key);
  }

  survivors(part: SurvivorsRecord): void {
    if (part.last) this.counts.survivorLists += 1;
    for (const visitor of this.visitors) visitor.survivors?.(part);
  }
}
