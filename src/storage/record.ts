import { findFormat } from '../core/format.ts';
import { type Death, Message, noDeaths } from '../core/message.ts';
import { decodeText, emptyBuffer, encodeText } from '../lib/bytes.ts';
import type { ColdTable } from './cold-table.ts';
import { type SurvivorsPart, survivorBytes } from './compaction.ts';
import type { Settlements } from './settlements.ts';
import { readVarint, varintBytes, writeVarint } from './varint.ts';

/**
 * The facts that the journal holds, as octets (integers big-endian).
 *
 *     published  1 │ flags │ format │ qos i8 │ priority i16 │ sequence f64 │ expiresAtMs f64
 *                  │ exchange (u16 + text) │ routing key (u32 + text) │ queues (u16 + u32 each)
 *                  │ with flag 2: expiresAtMs f64 of the entry in each queue
 *                  │ native (u32 +) │ body (u32 +) │ deaths (u32 + JSON)
 *     settled    2 │ queue u32 │ first sequence f64 │ runs u32 │ (gap varint, length varint) each
 *     put        3 │ kind (u8 + text) │ key (u32 + text) │ value (u32 +)
 *     deleted    4 │ kind (u8 + text) │ key (u32 + text)
 *     survivors  5 │ flags │ epoch u32 │ entries u32 │ (queue u32, sequence f64) each
 *                  │ keys u32 │ (kind (u8 + text), key (u32 + text)) each
 *
 * `published` for a queue in which its sequence number lives already is a move of that entry. `survivors`, from the
 * part with flag 1 (first) to that with flag 2 (last), says what lives of all that segment `epoch` holds.
 * A run of settlements skips `gap` sequence numbers behind the last run's end and settles `length` of them.
 */
export const RecordType = { published: 1, settled: 2, put: 3, deleted: 4, survivors: 5 } as const;

const retainFlag = 1;
/** The queues have times to live of their own: entries expire before their message does. */
const expiriesFlag = 2;
/** Only of messages that left memory for a while and are not kept beyond a restart. */
const transientFlag = 4;
const firstFlag = 1;
const lastFlag = 2;
const publishedFixed = 1 + 1 + 1 + 1 + 2 + 8 + 8;

/** What replay tells its owner, in the order in which it was written. */
export interface RecordVisitor {
  /** @param record valid during the call alone */
  published(record: PublishedRecord): void;
  settled(queueId: number, sequence: number): void;
  put(kind: string, key: string, value: Buffer): void;
  deleted(kind: string, key: string): void;
  survivors(part: SurvivorsRecord): void;
}

export interface SurvivorsRecord {
  readonly first: boolean;
  readonly last: boolean;
  readonly epoch: number;
  readonly entries: [queueId: number, sequence: number][];
  readonly keys: [kind: string, key: string][];
}

/** Octets into buffers that the caller sends on; each is full of whole records. */
export class RecordWriter {
  buffer: Buffer;
  at = 0;

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  /** The octets that `published` will take. */
  static publishedBytes(message: Message, way: WayBytes): number {
    const native = message.nativeEnd - message.nativeStart;
    return publishedFixed + wayBytes(way) + 12 + native + message.bodyBytes + way.deaths.length;
  }

  published(message: Message, { queueIds, expiries, exchange, key, deaths }: WayBytes): void {
    const out = this.buffer;
    let at = this.at;
    out[at] = RecordType.published;
    out[at + 1] =
      (message.retain ? retainFlag : 0) |
      (expiries.length > 0 ? expiriesFlag : 0) |
      (message.durable ? 0 : transientFlag);
    out[at + 2] = message.format.id;
    out.writeInt8(message.qos, at + 3);
    out.writeInt16BE(message.priority, at + 4);
    out.writeDoubleBE(message.sequence, at + 6);
    out.writeDoubleBE(message.expiresAtMs, at + 14);
    at = out.writeUInt16BE(exchange.length, at + publishedFixed);
    at += exchange.copy(out, at);
    at = out.writeUInt32BE(key.length, at);
    at += key.copy(out, at);
    at = out.writeUInt16BE(queueIds.length, at);
    for (const id of queueIds) at = out.writeUInt32BE(id, at);
    for (const expiry of expiries) at = out.writeDoubleBE(expiry, at);
    at = out.writeUInt32BE(message.nativeEnd - message.nativeStart, at);
    at += message.bytes.copy(out, at, message.nativeStart, message.nativeEnd);
    at = out.writeUInt32BE(message.bodyBytes, at);
    at += message.bytes.copy(out, at, message.bodyStart, message.bodyEnd);
    at = out.writeUInt32BE(deaths.length, at);
    at += deaths.copy(out, at);
    this.at = at;
  }

  /** The record at `start` of `source` anew, for some of its queues. @returns octets */
  moved(source: Buffer, start: number, queueIds: readonly number[], expiries: readonly number[]): number {
    const record = publishedAt(source, start);
    const out = this.buffer;
    const began = this.at;
    let at = began + source.copy(out, began, start, record.queuesAt);
    out[began + 1] = (out[began + 1]! & ~expiriesFlag) | (expiries.length > 0 ? expiriesFlag : 0);
    at = out.writeUInt16BE(queueIds.length, at);
    for (const id of queueIds) at = out.writeUInt32BE(id, at);
    for (const expiry of expiries) at = out.writeDoubleBE(expiry, at);
    at += source.copy(out, at, record.contentAt, record.end);
    this.at = at;
    return at - began;
  }

  settled({ queueId, runs }: Settlements): void {
    const out = this.buffer;
    out[this.at] = RecordType.settled;
    out.writeUInt32BE(queueId, this.at + 1);
    let end = runs[0]!;
    out.writeDoubleBE(end, this.at + 5);
    this.at = out.writeUInt32BE(runs.length / 2, this.at + 13);
    for (let i = 0; i < runs.length; i += 2) {
      this.at = writeVarint(out, this.at, runs[i]! - end);
      end = runs[i + 1]!;
      this.at = writeVarint(out, this.at, end - runs[i]!);
    }
  }

  put(kind: string, key: Buffer, value: Buffer): void {
    this.head(RecordType.put, kind, key);
    this.at = this.buffer.writeUInt32BE(value.length, this.at);
    this.at += value.copy(this.buffer, this.at);
  }

  deleted(kind: string, key: Buffer): void {
    this.head(RecordType.deleted, kind, key);
  }

  survivors(epoch: number, { first, last, entries, slots, state }: SurvivorsPart, cold: ColdTable): void {
    const out = this.buffer;
    out[this.at] = RecordType.survivors;
    out[this.at + 1] = (first ? firstFlag : 0) | (last ? lastFlag : 0);
    this.at = out.writeUInt32BE(epoch, this.at + 2);
    this.at = out.writeUInt32BE(entries.length + slots.length, this.at);
    for (const entry of entries) {
      this.at = out.writeUInt32BE(entry.queue.id, this.at);
      this.at = out.writeDoubleBE(entry.message.sequence, this.at);
    }
    for (const slot of slots) {
      this.at = out.writeUInt32BE(cold.queueId(slot), this.at);
      this.at = out.writeDoubleBE(cold.sequence(slot), this.at);
    }
    this.at = out.writeUInt32BE(state.length, this.at);
    for (const { kind, keyBytes } of state) this.name(kind, keyBytes);
  }

  private head(type: number, kind: string, key: Buffer): void {
    this.buffer[this.at] = type;
    this.at += 1;
    this.name(kind, key);
  }

  private name(kind: string, key: Buffer): void {
    const out = this.buffer;
    out[this.at] = kind.length;
    this.at += 1;
    this.at += out.write(kind, this.at, 'latin1');
    this.at = out.writeUInt32BE(key.length, this.at);
    this.at += key.copy(out, this.at);
  }
}

/** Where a message goes, and what is written behind it, as octets. */
export interface WayBytes {
  readonly exchange: Buffer;
  readonly key: Buffer;
  readonly queueIds: readonly number[];
  /** Milliseconds since the epoch for each queue; empty when all entries expire as their message does. */
  readonly expiries: readonly number[];
  readonly deaths: Buffer;
}

function wayBytes({ exchange, key, queueIds, expiries }: WayBytes): number {
  return 2 + exchange.length + 4 + key.length + 2 + queueIds.length * 4 + expiries.length * 8;
}

/**
 * Reads all records of `payload`, which begins at offset `base` of its file.
 * @throws RangeError when a record is cut or of an unknown type: the payload's CRC was right, so the writer is at fault
 */
export function readRecords(payload: Buffer, base: number, visitor: RecordVisitor): void {
  let at = 0;
  while (at < payload.length) {
    switch (payload[at]) {
      case RecordType.published: {
        const record = publishedAt(payload, at);
        record.offset = base + at;
        visitor.published(record);
        at = record.end;
        break;
      }
      case RecordType.settled:
        at = readSettled(payload, at, visitor);
        break;
      case RecordType.put:
      case RecordType.deleted:
        at = readState(payload, at, visitor);
        break;
      case RecordType.survivors:
        at = readSurvivors(payload, at, visitor);
        break;
      default:
        throw new RangeError(`unknown record type ${payload[at]} at ${at}`);
    }
  }
}

/** Where a message went, from its exchange to its queues: many in a row went the same way, and share these objects. */
class Way {
  bytes: Buffer = emptyBuffer;
  exchange = '';
  routingKey = '';
  queueIds: readonly number[] = [];
  /** Octets before the queues. */
  nameBytes = 0;

  /** @returns where the way that begins at `start` ends */
  read(payload: Buffer, start: number): number {
    const known = this.bytes.length;
    const end = start + known;
    // A shorter record may be the payload's last.
    if (known > 0 && end <= payload.length && isSame(this.bytes, payload, start)) return end;
    const exchangeEnd = start + 2 + payload.readUInt16BE(start);
    this.exchange = decodeText(payload, start + 2, exchangeEnd);
    const keyEnd = exchangeEnd + 4 + payload.readUInt32BE(exchangeEnd);
    this.routingKey = decodeText(payload, exchangeEnd + 4, keyEnd);
    const queueIds: number[] = [];
    let at = keyEnd + 2;
    for (let queues = payload.readUInt16BE(keyEnd); queues > 0; queues--, at += 4) {
      queueIds.push(payload.readUInt32BE(at));
    }
    this.queueIds = queueIds;
    this.nameBytes = keyEnd - start;
    this.bytes = Buffer.from(payload.subarray(start, at));
    return at;
  }
}

// A loop, not Buffer.compare: 20 octets are too few for a call out of JavaScript.
function isSame(bytes: Buffer, payload: Buffer, start: number): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== payload[start + i]) return false;
  return true;
}

const way = new Way();

/** A record of a message, read by offset; there is one object of it, and the next record takes its place. */
export class PublishedRecord {
  payload: Buffer = emptyBuffer;
  /** Of the payload: what V8 reads inline where a method of Buffer is a call. */
  private view: DataView = new DataView(new ArrayBuffer(0));
  /** Of the record in its file. */
  offset = 0;
  start = 0;
  end = 0;
  sequence = 0;
  exchange = '';
  routingKey = '';
  /** Shared by records in a row for the same queues. */
  queueIds: readonly number[] = [];
  bodyBytes = 0;
  /** Where the queues are listed, and what is behind them begins. */
  queuesAt = 0;
  contentAt = 0;
  private nativeStart = 0;
  private nativeEnd = 0;
  private bodyStart = 0;
  /** Its entries expire before it does. */
  hasExpiries = false;

  read(payload: Buffer, start: number): void {
    const wayEnd = way.read(payload, start + publishedFixed);
    if (payload !== this.payload) {
      this.payload = payload;
      this.view = new DataView(payload.buffer, payload.byteOffset, payload.length);
    }
    const { view } = this;
    this.start = start;
    this.sequence = view.getFloat64(start + 6);
    this.exchange = way.exchange;
    this.routingKey = way.routingKey;
    this.queueIds = way.queueIds;
    this.queuesAt = start + publishedFixed + way.nameBytes;
    this.hasExpiries = (payload[start + 1]! & expiriesFlag) !== 0;
    const at = this.hasExpiries ? wayEnd + 8 * way.queueIds.length : wayEnd;
    this.contentAt = at;
    this.nativeStart = at + 4;
    this.nativeEnd = this.nativeStart + view.getUint32(at);
    this.bodyStart = this.nativeEnd + 4;
    this.bodyBytes = view.getUint32(this.nativeEnd);
    const bodyEnd = this.bodyStart + this.bodyBytes;
    this.end = bodyEnd + 4 + view.getUint32(bodyEnd);
  }

  /** Octets. */
  get length(): number {
    return this.end - this.start;
  }

  get priority(): number {
    return this.payload.readInt16BE(this.start + 4);
  }

  /** When its entry in the `index`th queue expires. */
  expiryAt(index: number): number {
    if (this.hasExpiries) return this.payload.readDoubleBE(this.contentAt - 8 * (this.queueIds.length - index));
    return this.payload.readDoubleBE(this.start + 14);
  }

  /** When its entry in a queue expires: as its message where the record does not know the queue. */
  expiryIn(queueId: number): number {
    const index = this.hasExpiries ? this.queueIds.indexOf(queueId) : -1;
    return this.payload.readDoubleBE(
      index >= 0 ? this.contentAt - 8 * (this.queueIds.length - index) : this.start + 14,
    );
  }

  get durable(): boolean {
    return (this.payload[this.start + 1]! & transientFlag) === 0;
  }

  get retain(): boolean {
    return (this.payload[this.start + 1]! & retainFlag) !== 0;
  }

  get qos(): number {
    return this.view.getInt8(this.start + 3);
  }

  get deaths(): readonly Death[] {
    const start = this.bodyStart + this.bodyBytes + 4;
    return start === this.end ? noDeaths : readDeaths(this.payload.subarray(start, this.end));
  }

  get formatId(): number {
    return this.payload[this.start + 2]!;
  }

  get native(): Buffer {
    return this.payload.subarray(this.nativeStart, this.nativeEnd);
  }

  get body(): Buffer {
    return this.payload.subarray(this.bodyStart, this.bodyStart + this.bodyBytes);
  }

  /** A view into the payload. */
  toMessage(): Message {
    const { payload, start, view } = this;
    const format = findFormat(payload[start + 2]!);
    if (format === undefined) throw new RangeError(`unknown message format ${payload[start + 2]} at ${start}`);
    const bodyEnd = this.bodyStart + this.bodyBytes;
    const message = new Message({
      format,
      exchange: this.exchange,
      routingKey: this.routingKey,
      durable: this.durable,
      priority: view.getInt16(start + 4),
      expiresAtMs: view.getFloat64(start + 14),
      qos: this.qos,
      retain: this.retain,
      publisher: null,
      deaths: this.deaths,
      bytes: payload,
      start: this.nativeStart,
      end: bodyEnd,
      nativeStart: this.nativeStart,
      nativeEnd: this.nativeEnd,
      bodyStart: this.bodyStart,
      bodyEnd,
    });
    message.sequence = this.sequence;
    return message;
  }
}

const published = new PublishedRecord();

/**
 * The record of a message at `start`; valid until the next is read.
 * @throws RangeError when there is none
 */
export function publishedAt(payload: Buffer, start: number): PublishedRecord {
  if (payload[start] !== RecordType.published) throw new RangeError(`no message at ${start}`);
  published.read(payload, start);
  return published;
}

function readSettled(payload: Buffer, start: number, visitor: RecordVisitor): number {
  const queueId = payload.readUInt32BE(start + 1);
  let sequence = payload.readDoubleBE(start + 5);
  let at = start + 17;
  for (let runs = payload.readUInt32BE(start + 13); runs > 0; runs--) {
    const gap = readVarint(payload, at);
    at += varintBytes(gap);
    const length = readVarint(payload, at);
    at += varintBytes(length);
    sequence += gap;
    for (let i = 0; i < length; i++) visitor.settled(queueId, sequence++);
  }
  return at;
}

function readSurvivors(payload: Buffer, start: number, visitor: RecordVisitor): number {
  const flags = payload[start + 1]!;
  const entries: [number, number][] = [];
  let at = start + 10;
  for (let left = payload.readUInt32BE(start + 6); left > 0; left--, at += survivorBytes) {
    entries.push([payload.readUInt32BE(at), payload.readDoubleBE(at + 4)]);
  }
  const keys: [string, string][] = [];
  let left = payload.readUInt32BE(at);
  for (at += 4; left > 0; left--) {
    const kindEnd = at + 1 + payload[at]!;
    const keyEnd = kindEnd + 4 + payload.readUInt32BE(kindEnd);
    keys.push([payload.toString('latin1', at + 1, kindEnd), decodeText(payload, kindEnd + 4, keyEnd)]);
    at = keyEnd;
  }
  const epoch = payload.readUInt32BE(start + 2);
  visitor.survivors({ first: (flags & firstFlag) !== 0, last: (flags & lastFlag) !== 0, epoch, entries, keys });
  return at;
}

/** The octets that `RecordWriter.survivors` will take. */
export function survivorsBytes({ entries, slots, state }: SurvivorsPart): number {
  let bytes = 14 + (entries.length + slots.length) * survivorBytes;
  for (const { kind, keyBytes } of state) bytes += 5 + kind.length + keyBytes.length;
  return bytes;
}

function readState(payload: Buffer, start: number, visitor: RecordVisitor): number {
  const kindEnd = start + 2 + payload[start + 1]!;
  const kind = payload.toString('latin1', start + 2, kindEnd);
  const keyEnd = kindEnd + 4 + payload.readUInt32BE(kindEnd);
  const key = decodeText(payload, kindEnd + 4, keyEnd);
  if (payload[start] === RecordType.deleted) {
    visitor.deleted(kind, key);
    return keyEnd;
  }
  const valueEnd = keyEnd + 4 + payload.readUInt32BE(keyEnd);
  visitor.put(kind, key, payload.subarray(keyEnd + 4, valueEnd));
  return valueEnd;
}

export function deathsBytes(deaths: readonly Death[]): Buffer {
  return encodeText(JSON.stringify(deaths));
}

function readDeaths(bytes: Buffer): Death[] {
  return JSON.parse(bytes.toString('utf8')) as Death[];
}
