import type { Recovered } from '../core/journal.ts';
import type { RecoveredQueue } from '../core/queue/cold-store.ts';
import { encodeText } from '../lib/bytes.ts';
import type { Logger } from '../lib/log.ts';
import { Catalog, type Segment, type StateRecord } from './catalog.ts';
import type { Disk } from './disk.ts';
import { type PublishedRecord, type RecordVisitor, readRecords, type SurvivorsRecord } from './record.ts';
import {
  batchHeaderBytes,
  findBatch,
  findProofOf,
  findZeros,
  JournalDamage,
  readSegmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';
import { SlotIndex } from './slot-index.ts';

/** What queues ask of an entry at the start, and nobody afterwards; by slot. */
class Details {
  private bodies = new Uint32Array(1024);
  private priorities = new Int16Array(1024);
  private readonly expiries = new Map<number, number>();

  set(slot: number, bodyBytes: number, priority: number, expiresAtMs: number): void {
    if (slot >= this.bodies.length) this.grow(slot);
    this.bodies[slot] = bodyBytes;
    this.priorities[slot] = priority;
    if (expiresAtMs > 0) this.expiries.set(slot, expiresAtMs);
    else if (this.expiries.size > 0) this.expiries.delete(slot);
  }

  bodyBytes(slot: number): number {
    return this.bodies[slot]!;
  }

  priority(slot: number): number {
    return this.priorities[slot]!;
  }

  expiresAtMs(slot: number): number {
    return this.expiries.get(slot) ?? 0;
  }

  private grow(slot: number): void {
    const { bodies, priorities } = this;
    const capacity = Math.max(slot + 1, bodies.length * 2);
    this.bodies = new Uint32Array(capacity);
    this.bodies.set(bodies);
    this.priorities = new Int16Array(capacity);
    this.priorities.set(priorities);
  }
}

/** The state that a replay of all segments gives: last values by kind and key, and entries that are not settled, cold. */
export class RecoveredState implements RecordVisitor, Recovered {
  readonly catalog = new Catalog();
  private readonly index = new SlotIndex(this.catalog.cold);
  /** By slot. */
  private readonly details = new Details();
  private newest = 0;
  private listed: { epoch: number; entries: Map<number, number[]>; keys: Set<string> } | null = null;
  /** The last unit that was closed. */
  unit = 0;
  lastSequence = 0;
  lastQueueId = 0;

  published(record: PublishedRecord): void {
    const { sequence, queueIds, length } = record;
    const { tail } = this.catalog;
    if (sequence > this.lastSequence) this.lastSequence = sequence;
    const share = Math.floor(length / queueIds.length);
    const place = { home: tail, offset: record.offset, length, share };
    for (let i = 0; i < queueIds.length; i++) {
      const queueId = queueIds[i]!;
      if (queueId > this.lastQueueId) this.lastQueueId = queueId;
      // Only what is written a second time can be there.
      let slot = sequence <= this.newest ? this.index.find(queueId, sequence) : -1;
      if (slot >= 0) {
        this.catalog.moveCold(slot, tail, place);
        continue;
      }
      slot = this.catalog.cold.add(sequence, queueId, place);
      this.catalog.charge(tail, share);
      this.index.add(queueId, sequence, slot);
      this.details.set(slot, record.bodyBytes, record.priority, record.expiryAt(i));
    }
    if (sequence > this.newest) this.newest = sequence;
  }

  settled(queueId: number, sequence: number): void {
    const slot = this.index.find(queueId, sequence);
    if (slot >= 0) this.catalog.releaseCold(slot, this.catalog.tail);
  }

  put(kind: string, key: string, value: Buffer): void {
    this.catalog.put(kind, key, encodeText(key), Buffer.from(value), this.catalog.tail);
  }

  deleted(kind: string, key: string): void {
    this.catalog.delete(kind, key, this.catalog.tail);
  }

  survivors({ first, last, epoch, entries, keys }: SurvivorsRecord): void {
    if (first) this.listed = { epoch, entries: new Map(), keys: new Set() };
    const listed = this.listed;
    if (listed === null || listed.epoch !== epoch)
      throw new RangeError(`survivors of segment ${epoch} without a first`);
    for (const [queueId, sequence] of entries) {
      const queueIds = listed.entries.get(sequence);
      if (queueIds === undefined) listed.entries.set(sequence, [queueId]);
      else queueIds.push(queueId);
    }
    for (const [kind, key] of keys) listed.keys.add(`${kind}\0${key}`);
    if (!last) return;
    this.listed = null;
    const segment = this.catalog.find(epoch);
    if (segment === undefined) return;
    this.keepSurvivors(segment, listed.entries, listed.keys);
    segment.survivorsIn = this.catalog.tail;
    this.catalog.tail.overrules.add(segment);
  }

  private keepSurvivors(segment: Segment, entries: Map<number, number[]>, keys: Set<string>): void {
    const { cold, tail } = this.catalog;
    const dead: number[] = [];
    for (let at = 0; at < cold.end; ) {
      at = cold.visitChunk(at, segment, (slot) => {
        if (entries.get(cold.sequence(slot))?.includes(cold.queueId(slot)) !== true) dead.push(slot);
      });
    }
    for (const slot of dead) this.catalog.releaseCold(slot, tail);
    for (const { kind, key } of [...segment.state]) {
      if (!keys.has(`${kind}\0${key}`)) this.catalog.delete(kind, key, tail);
    }
  }

  /** Is that place where the queue's message is read from? */
  livesAt(queueId: number, sequence: number, epoch: number, offset: number): boolean {
    const { cold } = this.catalog;
    const slot = this.index.find(queueId, sequence);
    return slot >= 0 && (cold.home(slot) as Segment).epoch === epoch && cold.offset(slot) === offset;
  }

  *entries(kind: string): Iterable<[key: string, value: Buffer]> {
    for (const [key, { value }] of this.catalog.kinds.get(kind) ?? noState) yield [key, value];
  }

  /** What lives, queue by queue. */
  queues(): RecoveredQueue[] {
    const { cold } = this.catalog;
    const counts = new Map<number, number>();
    this.visit((slot) => counts.set(cold.queueId(slot), (counts.get(cold.queueId(slot)) ?? 0) + 1));
    const slots = new Map<number, Uint32Array>();
    for (const [id, count] of counts) slots.set(id, new Uint32Array(count));
    counts.clear();
    this.visit((slot) => {
      const id = cold.queueId(slot);
      const at = counts.get(id) ?? 0;
      slots.get(id)![at] = slot;
      counts.set(id, at + 1);
    });
    const { details } = this;
    return [...slots].map(([id, own]) => ({
      id,
      slots: inOrder(own, (slot) => cold.sequence(slot)),
      sequence: (slot) => cold.sequence(slot),
      bodyBytes: (slot) => details.bodyBytes(slot),
      priority: (slot) => details.priority(slot),
      expiresAtMs: (slot) => details.expiresAtMs(slot),
    }));
  }

  /** The entries of a queue that is not there any longer: deleted while a consumer had the message. */
  forget(queue: RecoveredQueue): void {
    for (const slot of queue.slots) this.catalog.releaseCold(slot, this.catalog.tail);
  }

  /** How many entries there are. */
  get entryCount(): number {
    return this.catalog.cold.count;
  }

  private visit(visit: (slot: number) => void): void {
    const { cold } = this.catalog;
    for (let at = 0; at < cold.end; ) at = cold.visitChunk(at, null, visit);
  }
}

const noState: ReadonlyMap<string, StateRecord> = new Map();

/** Sorts by merging the ascending runs that are there: mostly one, for only what was moved stands out of its order. */
function inOrder(slots: Uint32Array, sequenceOf: (slot: number) => number): Uint32Array {
  let source = slots;
  let target: Uint32Array = new Uint32Array(slots.length);
  for (;;) {
    const runs = ascendingRuns(source, sequenceOf);
    if (runs.length <= 2) return source;
    for (let i = 0; i + 1 < runs.length; i += 2) {
      const from = runs[i]!;
      const middle = runs[i + 1]!;
      const end = runs[i + 2] ?? middle;
      let left = from;
      let right = middle;
      for (let at = from; at < end; at++) {
        const takesLeft = right >= end || (left < middle && sequenceOf(source[left]!) <= sequenceOf(source[right]!));
        target[at] = takesLeft ? source[left++]! : source[right++]!;
      }
    }
    [source, target] = [target, source];
  }
}

/** Where runs begin, and the end. */
function ascendingRuns(slots: Uint32Array, sequenceOf: (slot: number) => number): number[] {
  const runs = [0];
  let before = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < slots.length; i++) {
    const sequence = sequenceOf(slots[i]!);
    if (sequence < before) runs.push(i);
    before = sequence;
  }
  if (slots.length > 0) runs.push(slots.length);
  return runs;
}

/** Between two lines about a long recovery. */
const progressMs = 2000;

/** @throws JournalDamage on anything but a torn tail of the last segment, which is cut off and logged */
export async function recover(disk: Disk, epochs: readonly number[], log: Logger): Promise<RecoveredState> {
  const state = new RecoveredState();
  const present = new Set(await disk.list());
  for (const epoch of epochs) {
    const name = segmentName(epoch);
    if (!present.has(name)) throw new JournalDamage(name, 0, 'the manifest names it, and it is missing');
  }
  let toldMs = performance.now();
  let next = epochs.length > 0 ? readSegment(disk, epochs[0]!) : null;
  for (const [i, epoch] of epochs.entries()) {
    const name = segmentName(epoch);
    const file = await next!;
    const last = i === epochs.length - 1;
    next = last ? null : readSegment(disk, epochs[i + 1]!); // while this one is replayed
    next?.catch(() => {}); // it is thrown where it is awaited
    const segment = state.catalog.add(epoch);
    const before = readSegmentHeader(name, file, epoch) - 1;
    // Between segments that are not neighbours some were deleted; a neighbour that ends early has lost its end.
    if (epochs[i - 1] === epoch - 1 && before !== state.unit) {
      const { length } = await disk.read(segmentName(epoch - 1));
      const what = `it ends behind unit ${state.unit}, and ${name} begins behind unit ${before}`;
      throw new JournalDamage(segmentName(epoch - 1), length, what);
    }
    state.unit = before;
    const { whole, read } = replaySegment(file, segment, state);
    segment.bytes = whole;
    if (performance.now() - toldMs > progressMs) {
      toldMs = performance.now();
      log.info({ segment: i + 1, of: epochs.length, entries: state.entryCount }, 'journal: reading what was kept');
    }
    if (whole === file.length) continue;
    if (!last || findProofOf(state.unit + 1, file, whole, epoch) !== undefined) {
      throw new JournalDamage(
        name,
        read,
        read === file.length ? 'it ends within a unit' : 'a batch fails its checksum',
      );
    }
    const bytes = findZeros(file, whole) - whole;
    if (bytes > 0) log.warn({ file: name, offset: whole, bytes }, 'journal: cut a torn tail off');
    await disk.truncate(name, whole);
  }
  return state;
}

/** @throws JournalDamage when the disk does not give it out */
async function readSegment(disk: Disk, epoch: number): Promise<Buffer> {
  const name = segmentName(epoch);
  try {
    return await disk.read(name);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EIO') throw error;
    throw new JournalDamage(name, 0, 'the disk does not give it out (EIO)');
  }
}

// Applies whole units; returns where the last one ends, and how far batches can be read.
function replaySegment(
  file: Buffer,
  { epoch, blocks }: Segment,
  state: RecoveredState,
): { whole: number; read: number } {
  let whole = segmentHeaderBytes;
  let open: { readonly payload: Buffer; readonly end: number }[] = [];
  let at = whole;
  for (let batch = findBatch(file, at, epoch); batch !== undefined; batch = findBatch(file, at, epoch)) {
    if (batch.unit !== state.unit + 1) break;
    open.push(batch);
    at = batch.end;
    if (!batch.commits) continue;
    for (const { payload, end } of open) {
      const start = end - payload.length;
      blocks.add(start - batchHeaderBytes, end);
      readRecords(payload, start, state);
    }
    open = [];
    whole = at;
    state.unit = batch.unit;
  }
  return { whole, read: at };
}
