import type { RecoveredMessage } from '../core/broker.ts';
import type { Recovered } from '../core/journal.ts';
import type { Message } from '../core/message.ts';
import type { Logger } from '../lib/log.ts';
import type { Disk } from './disk.ts';
import { type RecordVisitor, readRecords } from './record.ts';
import {
  findBatch,
  findProofOf,
  JournalDamage,
  readSegmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';

interface Living {
  readonly message: Message;
  readonly queueIds: number[];
}

/** The state that a replay of all segments gives: last values by kind and key, and messages not settled everywhere. */
export class RecoveredState implements RecordVisitor, Recovered {
  private readonly kinds = new Map<string, Map<string, Buffer>>();
  private readonly living = new Map<number, Living>();
  private fresh: Message[] = [];
  /** The last unit that was closed. */
  unit = 0;
  lastSequence = 0;
  lastQueueId = 0;

  published(message: Message, queueIds: number[]): void {
    this.lastSequence = Math.max(this.lastSequence, message.sequence);
    this.lastQueueId = Math.max(this.lastQueueId, ...queueIds);
    this.living.set(message.sequence, { message, queueIds });
    this.fresh.push(message);
  }

  settled(queueId: number, sequence: number): void {
    const living = this.living.get(sequence);
    if (living === undefined) return;
    const at = living.queueIds.indexOf(queueId);
    if (at >= 0) living.queueIds.splice(at, 1);
    if (living.queueIds.length === 0) this.living.delete(sequence);
  }

  put(kind: string, key: string, value: Buffer): void {
    let values = this.kinds.get(kind);
    if (values === undefined) {
      values = new Map();
      this.kinds.set(kind, values);
    }
    values.set(key, Buffer.from(value));
  }

  deleted(kind: string, key: string): void {
    this.kinds.get(kind)?.delete(key);
  }

  /** The file that the last messages are views into is about to go: those that live are copied. */
  leaveFile(): void {
    for (const message of this.fresh) if (this.living.has(message.sequence)) message.rest();
    this.fresh = [];
  }

  entries(kind: string): Iterable<[key: string, value: Buffer]> {
    return this.kinds.get(kind) ?? [];
  }

  /** In the order in which they were published. */
  messages(): RecoveredMessage[] {
    return [...this.living.values()].sort((a, b) => a.message.sequence - b.message.sequence);
  }
}

/** @throws JournalDamage on anything but a torn tail of the last segment, which is cut off and logged */
export async function recover(disk: Disk, epochs: readonly number[], log: Logger): Promise<RecoveredState> {
  const state = new RecoveredState();
  const present = new Set(await disk.list());
  for (const [i, epoch] of epochs.entries()) {
    const name = segmentName(epoch);
    if (!present.has(name)) throw new JournalDamage(name, 0, 'the manifest names it, and it is missing');
    const file = await disk.read(name);
    const last = i === epochs.length - 1;
    state.unit = readSegmentHeader(name, file, epoch) - 1;
    const whole = replaySegment(file, epoch, state);
    state.leaveFile();
    if (whole === file.length) continue;
    if (!last || findProofOf(state.unit + 1, file, whole, epoch) !== undefined)
      throw new JournalDamage(name, whole, 'a batch fails its checksum');
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
