import type { Disk } from './disk.ts';
import { manifestName, readManifest } from './manifest.ts';
import {
  type Batch,
  findBatch,
  findBatchBehind,
  findProofOf,
  findZeros,
  isSegmentName,
  JournalDamage,
  readSegmentHeader,
  segmentHeaderBytes,
  segmentName,
} from './segment.ts';

/** A place of the log that says nothing. A torn tail is cut off at the next start; damage keeps the broker from starting. */
export interface Damage {
  readonly kind: 'torn tail' | 'damage';
  readonly file: string;
  /** The octets from `offset` to before `end` were skipped; none where something is missing. */
  readonly offset: number;
  readonly end: number;
  /** In a few words. */
  readonly what: string;
}

/** Told what a log holds, in its order. */
export interface LogVisitor {
  /** Awaited before it goes on. */
  segment(file: string, epoch: number, bytes: number): void | Promise<void>;
  /** @param payload whole records, of a unit that is there in whole or, beside damage, in part; valid during the call */
  records(payload: Buffer, base: number): void;
  /** A unit ends. */
  unit(): void;
  damage(damage: Damage): void;
}

/**
 * Reads the log through whatever damage it has, and changes nothing: behind damage it goes on at the next batch that has
 * its checksum. What the start would cut off as a torn tail is skipped here too.
 */
export async function scan(disk: Disk, visitor: LogVisitor): Promise<void> {
  const present = (await disk.list()).filter(isSegmentName);
  let epochs: number[];
  try {
    epochs = await readManifest(disk);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!(error instanceof JournalDamage) && code !== 'EIO') throw error;
    const reason = error instanceof JournalDamage ? error.what : 'the disk does not give it out (EIO)';
    const what = `${reason}; all ${present.length} segments that are there are read`;
    visitor.damage({ kind: 'damage', file: manifestName, offset: 0, end: 0, what });
    epochs = present.map((name) => Number.parseInt(name, 10));
  }
  let before: End | null = null;
  for (const [i, epoch] of epochs.entries()) {
    const file = segmentName(epoch);
    const content = present.includes(file) ? await readThrough(disk, file) : null;
    await visitor.segment(file, epoch, content?.bytes.length ?? 0);
    if (content === null) {
      visitor.damage({ kind: 'damage', file, offset: 0, end: 0, what: 'the manifest names it, and it is missing' });
      before = null;
      continue;
    }
    const segment = new SegmentScan(file, epoch, i === epochs.length - 1, content, visitor);
    // Between segments that are not neighbours some were deleted.
    before = segment.read(epochs[i - 1] === epoch - 1 ? before : null);
  }
}

/** How a segment ended. */
interface End {
  readonly file: string;
  readonly bytes: number;
  /** Its last unit, as far as is known. */
  readonly unit: number;
  /** What stood at its end is lost, and that has been told. */
  readonly lost: boolean;
}

/** A file as far as the disk gives it out. */
interface Content {
  readonly bytes: Buffer;
  /** Places that the disk refused, and why; there are zeros in `bytes`. */
  readonly refused: readonly { readonly offset: number; readonly end: number; readonly code: string }[];
}

const pieceBytes = 4 * 1024 * 1024;
/** What one bad place of a disk takes with it. */
const blockBytes = 4096;

async function readThrough(disk: Disk, name: string): Promise<Content> {
  const refused: { offset: number; end: number; code: string }[] = [];
  const pieces: Buffer[] = [];
  const file = await disk.open(name);
  try {
    for (let at = 0, size = pieceBytes; ; ) {
      let piece: Buffer;
      try {
        piece = await file.read(at, size);
      } catch (error) {
        if (size > blockBytes) {
          size = blockBytes;
          continue;
        }
        piece = Buffer.alloc(blockBytes);
        refused.push({ offset: at, end: at + blockBytes, code: (error as NodeJS.ErrnoException).code ?? 'unknown' });
      }
      pieces.push(piece);
      at += piece.length;
      if (piece.length < size) break;
      if (at % pieceBytes === 0) size = pieceBytes;
    }
  } finally {
    await file.close();
  }
  return { bytes: pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces), refused };
}

class SegmentScan {
  private readonly file: string;
  private readonly epoch: number;
  private readonly last: boolean;
  private bytes: Buffer;
  private readonly refused: Content['refused'];
  private readonly visitor: LogVisitor;
  /** Batches of a unit that is not closed yet. */
  private open: Batch[] = [];
  /** The last unit that was closed, as far as is known. */
  private unit = 0;
  /** Where it ended. */
  private whole = segmentHeaderBytes;
  private endLost = false;

  constructor(file: string, epoch: number, last: boolean, { bytes, refused }: Content, visitor: LogVisitor) {
    this.file = file;
    this.epoch = epoch;
    this.last = last;
    this.bytes = bytes;
    this.refused = refused;
    this.visitor = visitor;
  }

  /** @param before the end of the segment of the epoch before, or null where that is not there */
  read(before: End | null): End {
    const { epoch } = this;
    let { bytes } = this;
    try {
      this.unit = readSegmentHeader(this.file, bytes, epoch) - 1;
    } catch (error) {
      const { offset, foreign, what } = error as JournalDamage;
      const end = foreign ? bytes.length : Math.min(segmentHeaderBytes, bytes.length);
      this.tell('damage', offset, end, what);
      if (foreign) return this.end(true);
      const first = findBatchBehind(bytes, segmentHeaderBytes, epoch, 0)?.batch.unit ?? 1;
      this.unit = before === null || before.lost ? first - 1 : before.unit;
    }
    if (before !== null && !before.lost && this.unit !== before.unit) {
      const { file, bytes: length, unit } = before;
      const what = `it ends early; ${lostUnits(unit + 1, this.unit)}`;
      this.visitor.damage({ kind: 'damage', file, offset: length, end: length, what });
    }
    for (let at = segmentHeaderBytes; at < bytes.length; ) {
      const batch = findBatch(bytes, at, epoch);
      if (batch === undefined || batch.unit !== this.unit + 1) {
        if (this.isRoom(at)) {
          bytes = bytes.subarray(0, at);
          this.bytes = bytes;
          break;
        }
        if (this.isTail()) break;
        at = this.skip(at);
        continue;
      }
      this.open.push(batch);
      at = batch.end;
      if (batch.commits) this.close(batch.end);
    }
    if (this.open.length > 0 && !this.isTail()) {
      this.tell('damage', bytes.length, bytes.length, `it ends within unit ${this.unit + 1}`);
      this.giveOpen();
      return this.end(true);
    }
    if (this.whole < bytes.length && this.isTail()) {
      this.tell('torn tail', this.whole, findZeros(bytes, this.whole), `unit ${this.unit + 1} was not closed`);
    }
    return this.end(this.endLost);
  }

  private end(lost: boolean): End {
    return { file: this.file, bytes: this.bytes.length, unit: this.unit, lost };
  }

  /** Is what follows prepared, and not used? */
  private isRoom(at: number): boolean {
    if (!this.last || findZeros(this.bytes, at) > at) return false;
    return !this.refused.some(({ end }) => end > at); // those are zeros here, and something else on the disk
  }

  /** Would the start cut off all behind the last whole unit? */
  private isTail(): boolean {
    return this.last && findProofOf(this.unit + 1, this.bytes, this.whole, this.epoch) === undefined;
  }

  private close(end: number): void {
    this.giveOpen();
    this.visitor.unit();
    this.unit += 1;
    this.whole = end;
  }

  private giveOpen(): void {
    for (const { payload, end } of this.open) this.visitor.records(payload, end - payload.length);
    this.open = [];
  }

  /** @returns where there is something to read again */
  private skip(at: number): number {
    const { bytes, epoch } = this;
    const next = findBatchBehind(bytes, at, epoch, this.unit + 1);
    const end = next?.at ?? bytes.length;
    const began = this.unit + 1;
    const cut = this.open.length > 0;
    this.giveOpen();
    if (next === undefined) {
      this.tell('damage', at, end, `a batch fails its checksum; what follows unit ${this.unit} is lost`);
      this.whole = end;
      this.endLost = true;
      return end;
    }
    const { unit } = next.batch;
    const reason = end > at ? 'a batch fails its checksum; ' : '';
    const loss = unit > began ? lostUnits(began, unit - 1) : `unit ${began} is lost in part`;
    this.tell('damage', at, end, `${reason}${cut && unit > began ? `${loss}, the first of them in part` : loss}`);
    this.unit = unit - 1;
    this.whole = end;
    return end;
  }

  private tell(kind: Damage['kind'], offset: number, end: number, what: string): void {
    const bad = this.refused.filter((place) => place.offset < end && place.end > offset);
    const codes = [...new Set(bad.map(({ code }) => code))].join(', ');
    const disk = bad.length === 0 ? '' : `the disk does not give out ${bad.length} blocks (${codes}); `;
    this.visitor.damage({ kind, file: this.file, offset, end, what: disk + what });
  }
}

function lostUnits(from: number, to: number): string {
  if (to < from) return `its units begin anew at ${to + 1}`;
  return from === to ? `unit ${from} is lost` : `units ${from} to ${to} are lost`;
}
