import { decodeError } from './errors.ts';
import { type Composite, toComposite } from './performatives.ts';
import { ListCursor, readUint } from './sections.ts';
import { Decoder, Described, skipValue } from './types.ts';

/**
 * The performatives that come with every message, read by offset. One object of each class is read again and again; what
 * they point to is valid while the chunk is.
 */
const list = new ListCursor();

/** Opens the list at `at` and makes sure that all of it is there. @returns the offset behind it */
function openList(bytes: Buffer, at: number, end: number): number {
  const next = skipValue(bytes, at, end);
  const form = bytes[at];
  if (form !== 0xc0 && form !== 0xd0 && form !== 0x45) throw decodeError('not a list');
  list.open(bytes, at);
  return next;
}

/** The offset of the next item, or −1 when there is none, or null stands for it. */
function nextItem(bytes: Buffer): number {
  if (list.count === 0) return -1;
  const { at } = list;
  list.skip(bytes, 1);
  return bytes[at] === 0x40 ? -1 : at;
}

function nextUint(bytes: Buffer): number {
  const at = nextItem(bytes);
  if (at < 0) return -1;
  const value = readUint(bytes, at);
  if (value < 0) throw decodeError('a field is not of type uint');
  return value;
}

function nextBoolean(bytes: Buffer): boolean | null {
  const at = nextItem(bytes);
  if (at < 0) return null;
  switch (bytes[at]) {
    case 0x41:
      return true;
    case 0x42:
      return false;
    case 0x56:
      return bytes[at + 1] === 1;
    default:
      throw decodeError('a field is not of type boolean');
  }
}

/** [AMQP 1.0 §2.7.5] What is absent is −1 or null. */
export class Transfer {
  handle = 0;
  deliveryId = -1;
  tagStart = 0;
  tagEnd = 0;
  messageFormat = -1;
  settled: boolean | null = null;
  more = false;
  rcvSettleMode = -1;
  stateAt = -1;
  resume = false;
  aborted = false;
  private bytes: Buffer = Buffer.alloc(0);

  /** @returns the offset of the payload */
  read(bytes: Buffer, at: number, end: number): number {
    const next = openList(bytes, at, end);
    this.bytes = bytes;
    this.handle = nextUint(bytes);
    if (this.handle < 0) throw decodeError('transfer.handle is mandatory');
    this.deliveryId = nextUint(bytes);
    this.readTag(bytes);
    this.messageFormat = nextUint(bytes);
    this.settled = nextBoolean(bytes);
    this.more = nextBoolean(bytes) ?? false;
    if (list.count === 0) {
      this.rcvSettleMode = -1;
      this.stateAt = -1;
      this.resume = false;
      this.aborted = false;
      return next;
    }
    const mode = nextItem(bytes);
    this.rcvSettleMode = mode < 0 ? -1 : bytes[mode + 1]!;
    this.stateAt = nextItem(bytes);
    this.resume = nextBoolean(bytes) ?? false;
    this.aborted = nextBoolean(bytes) ?? false;
    return next;
  }

  private readTag(bytes: Buffer): void {
    const at = nextItem(bytes);
    if (at < 0) {
      this.tagStart = 0;
      this.tagEnd = -1;
    } else if (bytes[at] === 0xa0) {
      this.tagStart = at + 2;
      this.tagEnd = at + 2 + bytes[at + 1]!;
    } else if (bytes[at] === 0xb0) {
      this.tagStart = at + 5;
      this.tagEnd = at + 5 + bytes.readUInt32BE(at + 1);
    } else throw decodeError('transfer.delivery-tag is not of type binary');
  }

  /** A copy; null when there is none. */
  get tag(): Buffer | null {
    return this.tagEnd < 0 ? null : Buffer.from(this.bytes.subarray(this.tagStart, this.tagEnd));
  }

  get state(): Composite | null {
    return this.stateAt < 0 ? null : readComposite(this.bytes, this.stateAt);
  }
}

/** [AMQP 1.0 §2.7.6] */
export class Disposition {
  isReceiver = false;
  first = 0;
  last = 0;
  settled = false;
  /** The code of an outcome without fields worth reading (accepted, released); 0: `state` has to be asked. */
  plainOutcome = 0;
  private stateAt = -1;
  private bytes: Buffer = Buffer.alloc(0);

  read(bytes: Buffer, at: number, end: number): void {
    openList(bytes, at, end);
    this.bytes = bytes;
    const role = nextBoolean(bytes);
    if (role === null) throw decodeError('disposition.role is mandatory');
    this.isReceiver = role;
    this.first = nextUint(bytes);
    if (this.first < 0) throw decodeError('disposition.first is mandatory');
    const last = nextUint(bytes);
    this.last = last < 0 ? this.first : last;
    this.settled = nextBoolean(bytes) ?? false;
    this.stateAt = nextItem(bytes);
    this.plainOutcome = 0;
    if (this.stateAt < 0 || bytes[this.stateAt] !== 0 || bytes[this.stateAt + 1] !== 0x53) return;
    const code = bytes[this.stateAt + 2]!;
    if (code === OutcomeCode.accepted || code === OutcomeCode.released) this.plainOutcome = code;
  }

  get state(): Composite | null {
    return this.stateAt < 0 ? null : readComposite(this.bytes, this.stateAt);
  }
}

export const OutcomeCode = { accepted: 0x24, released: 0x26 } as const;

function readComposite(bytes: Buffer, at: number): Composite {
  const value = new Decoder(bytes, at).read();
  if (value instanceof Described) return toComposite(value);
  throw decodeError('a delivery state is a described list');
}
