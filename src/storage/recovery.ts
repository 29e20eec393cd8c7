import type { Recovered, RecoveredMessage } from '../core/journal.ts';
import type { Message } from '../core/message.ts';
import { encodeText } from '../lib/bytes.ts';
import type { Logger } from '../lib/log.ts';
import { Catalog, type Segment, type StateRecord } from './catalog.ts';
import type { Disk } from './disk.ts';
import { type RecordVisitor, readRecords, type SurvivorsRecord } from './record.ts';
import {
  findBatch,
  findProofOf,
  JournalDamage,
  readSegmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';

/** A message with the queues that have not settled it. */
export class Living implements RecoveredMessage {
  readonly message: Message;
  /** Shared by messages for the same queues: replaced, never changed. */
  queueIds: readonly number[];
  readonly segment: Segment;
  /** Of its record. */
  readonly bytes: number;

  constructor(message: Message, queueIds: readonly number[], segment: Segment, bytes: number) {
    this.message = message;
    this.queueIds = queueIds;
    this.segment = segment;
    this.bytes = bytes;
  }
}

/** The state that a replay of all segments gives: last values by kind and key, and messages not settled everywhere. */
export class RecoveredState implements RecordVisitor, Recovered {
  readonly catalog = new Catalog();
  private readonly living = new Map<number, Living>();
  private fresh: Living[] = [];
  private listed: { epoch: number; entries: Map<number, number[]>; keys: Set<string> } | null = null;
  /** The last unit that was closed. */
  unit = 0;
  lastSequence = 0;
  lastQueueId = 0;

  published(message: Message, queueIds: readonly number[], bytes: number): void {
    this.lastSequence = Math.max(this.lastSequence, message.sequence);
    for (const id of queueIds) this.lastQueueId = Math.max(this.lastQueueId, id);
    const { tail } = this.catalog;
    const before = this.living.get(message.sequence);
    if (before !== undefined && before.segment !== tail) tail.overrules.add(before.segment);
    const living = new Living(message, queueIds, tail, bytes);
    this.living.set(message.sequence, living);
    this.fresh.push(living);
  }

  settled(queueId: number, sequence: number): void {
    const living = this.living.get(sequence);
    if (living === undefined) return;
    if (!living.queueIds.includes(queueId)) return;
    if (living.queueIds.length === 1) this.living.delete(sequence);
    else living.queueIds = living.queueIds.filter((id) => id !== queueId);
    if (living.segment !== this.catalog.tail) this.catalog.tail.overrules.add(living.segment);
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
    for (const [sequence, living] of this.living) {
      if (living.segment !== segment) continue;
      const queueIds = entries.get(sequence);
      if (queueIds === undefined) this.living.delete(sequence);
      else if (queueIds.length < living.queueIds.length) {
        living.queueIds = living.queueIds.filter((id) => queueIds.includes(id));
      }
    }
    for (const { kind, key } of [...segment.state]) {
      if (!keys.has(`${kind}\0${key}`)) this.catalog.delete(kind, key, this.catalog.tail);
    }
  }

  /**
   * The last messages are views into `file`. Those that live are copied out of it, unless they are most of it: then they
   * rest where they are.
   */
  leaveFile(file: Buffer): void {
    const living = this.fresh.filter((each) => this.living.get(each.message.sequence) === each);
    let bytes = 0;
    for (const { message } of living) bytes += message.end - message.start;
    for (const { message } of living) {
      if (bytes * 2 < file.length) message.rest();
      else message.resting = true;
    }
    this.fresh = [];
  }

  *entries(kind: string): Iterable<[key: string, value: Buffer]> {
    for (const [key, { value }] of this.catalog.kinds.get(kind) ?? noState) yield [key, value];
  }

  /** In the order in which they were published. */
  messages(): Iterable<RecoveredMessage> {
    const all = [...this.living.values()];
    let before = 0;
    for (const { message } of all) {
      // Only what was moved stands out of its order.
      if (message.sequence < before) return all.sort((a, b) => a.message.sequence - b.message.sequence);
      before = message.sequence;
    }
    return all;
  }

  /** How many there are. */
  get messageCount(): number {
    return this.living.size;
  }
}

const noState: ReadonlyMap<string, StateRecord> = new Map();

/** @throws JournalDamage on anything but a torn tail of the last segment, which is cut off and logged */
export async function recover(disk: Disk, epochs: readonly number[], log: Logger): Promise<RecoveredState> {
  const state = new RecoveredState();
  const present = new Set(await disk.list());
  for (const epoch of epochs) {
    const name = segmentName(epoch);
    if (!present.has(name)) throw new JournalDamage(name, 0, 'the manifest names it, and it is missing');
  }
  let next = epochs.length > 0 ? disk.read(segmentName(epochs[0]!)) : null;
  for (const [i, epoch] of epochs.entries()) {
    const name = segmentName(epoch);
    const file = await next!;
    const last = i === epochs.length - 1;
    next = last ? null : disk.read(segmentName(epochs[i + 1]!)); // while this one is replayed
    next?.catch(() => {}); // it is thrown where it is awaited
    const segment = state.catalog.add(epoch);
    state.unit = readSegmentHeader(name, file, epoch) - 1;
    const whole = replaySegment(file, epoch, state);
    state.leaveFile(file);
    segment.bytes = whole;
    log.debug({ file: name, of: epochs.length, messages: state.messageCount }, 'journal: replayed a segment');
    if (whole === file.length) continue;
    if (!last || findProofOf(state.unit + 1, file, whole, epoch) !== undefined) {
      throw new JournalDamage(name, whole, 'a batch fails its checksum');
    }
    log.warn({ file: name, offset: whole, bytes: file.length - whole }, 'journal: cut a torn tail off');
    await disk.truncate(name, whole);
  }
  return state;
}

// Applies whole units and returns where the last one ends.
function replaySegment(file: Buffer, epoch: number, state: RecoveredState): number {
  let whole = segmentHeaderBytes;
  let open: Buffer[] = [];
  let at = whole;
  for (let batch = findBatch(file, at, epoch); batch !== undefined; batch = findBatch(file, at, epoch)) {
    if (batch.unit !== state.unit + 1) break;
    open.push(batch.payload);
    at = batch.end;
    if (!batch.commits) continue;
    for (const payload of open) readRecords(payload, state);
    open = [];
    whole = at;
    state.unit = batch.unit;
  }
  return whole;
}
