import { crc32 } from 'node:zlib';

/**
 * A segment is one file of the log: a header, then batches. All batches of one group commit are one atomic unit; the
 * last of them carries the commit mark, and replay drops a unit that it does not close.
 *
 *     segment  │ magic "RosettaJ" │ version u32 │ epoch u32 │
 *     batch    │ length u32 │ crc u32 │ unit f64 │ epoch u32 │ flags u8 │ 0 0 0 │ records … │
 *
 * `length` counts the records alone; the CRC-32 covers everything behind itself. The epoch is the segment's number:
 * what an older file left on the same blocks is never taken for a batch of this one.
 */
const magic = Buffer.from('RosettaJ', 'latin1');
export const formatVersion = 1;
export const segmentHeaderBytes = 16;
export const batchHeaderBytes = 24;
const commitFlag = 1;

export function segmentName(epoch: number): string {
  return `${String(epoch).padStart(10, '0')}.segment`;
}

export function segmentHeader(epoch: number): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes);
  magic.copy(header);
  header.writeUInt32BE(formatVersion, 8);
  header.writeUInt32BE(epoch, 12);
  return header;
}

export interface BatchHead {
  readonly unit: number;
  readonly epoch: number;
  readonly commits: boolean;
}

/** Fills in the header at the beginning of `batch`, whose records begin at `batchHeaderBytes`. */
export function sealBatch(batch: Buffer, { unit, epoch, commits }: BatchHead): void {
  batch.writeUInt32BE(batch.length - batchHeaderBytes, 0);
  batch.writeDoubleBE(unit, 8);
  batch.writeUInt32BE(epoch, 16);
  batch.writeUInt32BE(commits ? commitFlag << 24 : 0, 20);
  batch.writeUInt32BE(crc32(batch.subarray(8)), 4);
}

interface Batch extends BatchHead {
  readonly payload: Buffer;
  readonly end: number;
}

/** The whole and unharmed batch at `at`, or undefined. */
export function findBatch(file: Buffer, at: number, epoch: number): Batch | undefined {
  if (at + batchHeaderBytes > file.length) return undefined;
  const end = at + batchHeaderBytes + file.readUInt32BE(at);
  if (end > file.length || file.readUInt32BE(at + 16) !== epoch) return undefined;
  if (crc32(file.subarray(at + 8, end)) !== file.readUInt32BE(at + 4)) return undefined;
  return {
    unit: file.readDoubleBE(at + 8),
    epoch,
    commits: (file[at + 20]! & commitFlag) !== 0,
    payload: file.subarray(at + batchHeaderBytes, end),
    end,
  };
}

/** The first unharmed batch of a unit above `unit` behind `from`: its presence makes a bad batch damage, not a torn tail. */
export function findLaterUnit(file: Buffer, from: number, epoch: number, unit: number): number | undefined {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(epoch);
  for (let hit = file.indexOf(mark, from + 17); hit >= 0; hit = file.indexOf(mark, hit + 1)) {
    const batch = findBatch(file, hit - 16, epoch);
    if (batch !== undefined && batch.unit > unit) return hit - 16;
  }
  return undefined;
}

/** @throws JournalDamage when the file is not a segment of this version and epoch */
export function checkSegmentHeader(name: string, file: Buffer, epoch: number): void {
  if (!file.subarray(0, 8).equals(magic)) throw new JournalDamage(name, 0, 'it does not begin as a segment does');
  const version = file.readUInt32BE(8);
  if (version !== formatVersion) {
    throw new JournalDamage(name, 8, `its format is version ${version}, this program reads version ${formatVersion}`);
  }
  if (file.readUInt32BE(12) !== epoch) throw new JournalDamage(name, 12, `its epoch is ${file.readUInt32BE(12)}`);
}

/** Damage before the tail: the start stops, nothing is skipped in silence. */
export class JournalDamage extends Error {
  constructor(file: string, offset: number, what: string) {
    super(
      `journal damaged: ${file} at offset ${offset}: ${what}. Restore the data directory from a backup, ` +
        'or move it aside to start empty.',
    );
  }
}
