import { crc32 } from 'node:zlib';

/**
 * A segment is one file of the log: a header, then batches. All batches of one group commit are one atomic unit; the
 * last of them carries the commit mark, and replay drops a unit that it does not close.
 *
 *     segment  │ magic "RosettaJ" │ version u32 │ epoch u32 │ first unit f64 │ crc u32 │ 0 0 0 0 │
 *     batch    │ length u32 │ crc u32 │ unit f64 │ synced f64 │ epoch u32 │ flags u8 │ 0 0 0 │ records … │
 *
 * `length` counts the records alone; the CRC-32 covers everything behind itself and `length`. The epoch is the
 * segment's number: what an older file left on the same blocks is never taken for a batch of this one. `synced` is the
 * last unit that was known to be on the disk when this one was written: a bad batch of a unit up to there is damage,
 * one above it is a tail that a loss of power tore.
 */
const magic = Buffer.from('RosettaJ', 'latin1');
export const formatVersion = 3;
/** The oldest version that is read: 2 lacks nothing but what 3 added. */
const oldestVersion = 2;
export const segmentHeaderBytes = 32;
export const batchHeaderBytes = 32;
/** What a batch takes, or one record that is larger: messages are read back and checked by the batch. */
export const batchBytes = 64 * 1024;
const commitFlag = 1;

export function segmentName(epoch: number): string {
  return `${String(epoch).padStart(10, '0')}.segment`;
}

export function isSegmentName(name: string): boolean {
  return /^\d{10}\.segment$/.test(name);
}

/** @param firstUnit the number of the unit that will be its first: units count up through all segments, without a gap. */
export function segmentHeader(epoch: number, firstUnit: number): Buffer {
  const header = Buffer.alloc(segmentHeaderBytes);
  magic.copy(header);
  header.writeUInt32BE(formatVersion, 8);
  header.writeUInt32BE(epoch, 12);
  header.writeDoubleBE(firstUnit, 16);
  header.writeUInt32BE(crc32(header.subarray(0, 24)), 24);
  return header;
}

export interface BatchHead {
  readonly unit: number;
  readonly synced: number;
  readonly epoch: number;
  readonly commits: boolean;
}

/** Fills in the header at the beginning of `batch`, whose records begin at `batchHeaderBytes`. */
export function sealBatch(batch: Buffer, { unit, synced, epoch, commits }: BatchHead): void {
  batch.writeUInt32BE(batch.length - batchHeaderBytes, 0);
  batch.writeDoubleBE(unit, 8);
  batch.writeDoubleBE(synced, 16);
  batch.writeUInt32BE(epoch, 24);
  batch.writeUInt32BE(commits ? commitFlag << 24 : 0, 28);
  batch.writeUInt32BE(checksum(batch), 4);
}

export interface Batch extends BatchHead {
  readonly payload: Buffer;
  readonly end: number;
}

/** The whole and unharmed batch at `at`, or undefined. */
export function findBatch(file: Buffer, at: number, epoch: number): Batch | undefined {
  if (at + batchHeaderBytes > file.length) return undefined;
  const end = at + batchHeaderBytes + file.readUInt32BE(at);
  if (end > file.length || file.readUInt32BE(at + 24) !== epoch) return undefined;
  if (checksum(file.subarray(at, end)) !== file.readUInt32BE(at + 4)) return undefined;
  return {
    unit: file.readDoubleBE(at + 8),
    synced: file.readDoubleBE(at + 16),
    epoch,
    commits: (file[at + 28]! & commitFlag) !== 0,
    payload: file.subarray(at + batchHeaderBytes, end),
    end,
  };
}

/** True for a whole and unharmed batch at `at`. */
export function isBatch(file: Buffer, at: number, epoch: number): boolean {
  const end = skipBatch(file, at);
  if (end > file.length || file.readUInt32BE(at + 24) !== epoch) return false;
  return checksum(file.subarray(at, end)) === file.readUInt32BE(at + 4);
}

/** Where the batch at `at` ends, if it is unharmed; never before its header. */
export function skipBatch(file: Buffer, at: number): number {
  return at + batchHeaderBytes + (at + batchHeaderBytes <= file.length ? file.readUInt32BE(at) : 0);
}

/** Where the first batch is that is not whole and unharmed, of octets that begin with a batch. */
export function findFault(bytes: Buffer, epoch: number): number {
  let at = 0;
  while (isBatch(bytes, at, epoch)) at = skipBatch(bytes, at);
  return at;
}

function checksum(batch: Buffer): number {
  return crc32(batch.subarray(8), batch.readUInt32BE(0));
}

/**
 * Where the whole units of a segment end, and the unit that would be next.
 * @throws JournalDamage when the file is not that segment
 */
export function findEnd(file: Buffer, epoch: number): { readonly end: number; readonly unit: number } {
  let unit = readSegmentHeader(segmentName(epoch), file, epoch);
  let end = segmentHeaderBytes;
  for (let batch = findBatch(file, end, epoch); batch?.unit === unit; batch = findBatch(file, batch.end, epoch)) {
    if (!batch.commits) continue;
    end = batch.end;
    unit += 1;
  }
  return { end, unit };
}

/** Where the zeros begin that reach to the end of the file, from `from` on: room that was prepared and not used. */
export function findZeros(file: Buffer, from: number): number {
  let at = file.length;
  while (at > from && file[at - 1] === 0) at -= 1;
  return at;
}

/**
 * The place of an unharmed batch behind `from` that was written when `unit` was known to be on the disk: its presence
 * makes a bad batch of that unit damage, not a torn tail.
 */
export function findProofOf(unit: number, file: Buffer, from: number, epoch: number): number | undefined {
  return findAnywhere(file, from + 1, epoch, unit, (batch) => batch.synced >= unit)?.at;
}

/** A batch, and where it begins. */
interface Found {
  readonly at: number;
  readonly batch: Batch;
}

/**
 * The first unharmed batch at `from` or behind it of unit `unitMin` or a later one: what can be read behind damage. Octets of a
 * message may look like a batch; one that an earlier state of this log held is of an earlier unit.
 */
export function findBatchBehind(file: Buffer, from: number, epoch: number, unitMin: number): Found | undefined {
  return findAnywhere(file, from, epoch, unitMin, (batch) => batch.synced < batch.unit);
}

// By the epoch, which every batch of the file has at the same place.
function findAnywhere(
  file: Buffer,
  from: number,
  epoch: number,
  unitMin: number,
  isWanted: (batch: Batch) => boolean,
): Found | undefined {
  const mark = Buffer.alloc(4);
  mark.writeUInt32BE(epoch);
  for (let hit = file.indexOf(mark, from + 24); hit >= 0; hit = file.indexOf(mark, hit + 1)) {
    const at = hit - 24;
    if (at + batchHeaderBytes > file.length || !(file.readDoubleBE(at + 8) >= unitMin)) continue; // cheaper than its checksum
    const batch = findBatch(file, at, epoch);
    if (batch !== undefined && isWanted(batch)) return { at, batch };
  }
  return undefined;
}

/**
 * @returns the number of the segment's first unit
 * @throws JournalDamage when the file is not a segment of this version and epoch
 */
export function readSegmentHeader(name: string, file: Buffer, epoch: number): number {
  if (file.length < segmentHeaderBytes || !file.subarray(0, 8).equals(magic)) {
    throw new JournalDamage(name, 0, 'it does not begin as a segment does');
  }
  const version = file.readUInt32BE(8);
  if (version < oldestVersion || version > formatVersion) {
    const own = `this program reads versions ${oldestVersion} to ${formatVersion}`;
    const what = `its format is version ${version}, ${own}`;
    throw new JournalDamage(name, 8, what, anotherVersion, file.readUInt32BE(24) === crc32(file.subarray(0, 24)));
  }
  if (file.readUInt32BE(12) !== epoch) throw new JournalDamage(name, 12, `its epoch is ${file.readUInt32BE(12)}`);
  if (file.readUInt32BE(24) !== crc32(file.subarray(0, 24))) {
    throw new JournalDamage(name, 0, 'its header fails its checksum');
  }
  return file.readDoubleBE(16);
}

/** Damage before the tail: the start stops, nothing is skipped in silence. */
export class JournalDamage extends Error {
  readonly file: string;
  readonly offset: number;
  /** What is wrong there, in a few words. */
  readonly what: string;
  /** The file is of another version for sure. */
  readonly foreign: boolean;

  constructor(file: string, offset: number, what: string, wayOut = wayOutOfDamage, foreign = false) {
    super(`journal damaged: ${file} at offset ${offset}: ${what}. ${wayOut}`);
    this.foreign = foreign;
    this.file = file;
    this.offset = offset;
    this.what = what;
  }
}

/** What to do about a file that seems to be of another version. */
export const anotherVersion =
  'Start the program that wrote it, or restore a backup that this one made; if this one wrote it, the file is damaged.';
const wayOutOfDamage =
  "Ways out: restore a backup; 'rosettamq journal salvage DIR' writes all that can be read into a new data directory; or move it aside to start empty.";
