import { crc32 } from 'node:zlib';

/**
 * Reads a journal by what docs/storage.md says of it, and by nothing else: not a line of the broker's. Where the two
 * disagree the document is wrong.
 */
export interface DocumentedMessage {
  readonly flags: number;
  readonly format: number;
  readonly qos: number;
  readonly priority: number;
  readonly exchange: Buffer;
  readonly routingKey: Buffer;
  readonly expiresAtMs: number;
  readonly native: Buffer;
  readonly body: Buffer;
  readonly deaths: unknown;
}

interface Kept<T> {
  readonly epoch: number;
  readonly value: T;
}

export class DocumentedState {
  /** By number of the queue and by sequence number. */
  readonly queues = new Map<number, Map<number, Kept<DocumentedMessage>>>();
  /** By kind and by key, its octets as latin1. */
  readonly values = new Map<string, Map<string, Kept<Buffer>>>();
  epoch = 0;
  private listed: { epoch: number; entries: Set<string>; keys: Set<string> } | null = null;

  apply(records: Buffer): void {
    let at = 0;
    const skip = (length: number): number => {
      at += length;
      return at - length;
    };
    const u8 = (): number => records.readUInt8(skip(1));
    const u16 = (): number => records.readUInt16BE(skip(2));
    const u32 = (): number => records.readUInt32BE(skip(4));
    const f64 = (): number => records.readDoubleBE(skip(8));
    const bytes = (length: number): Buffer => records.subarray(skip(length), at);
    const varint = (): number => {
      for (let value = 0, scale = 1; ; scale *= 128) {
        const octet = u8();
        value += (octet & 127) * scale;
        if (octet < 128) return value;
      }
    };
    while (at < records.length) {
      const type = u8();
      if (type === 1) {
        const flags = u8();
        const format = u8();
        const qos = records.readInt8(skip(1));
        const priority = records.readInt16BE(skip(2));
        const sequence = f64();
        const expiresAtMs = f64();
        const exchange = bytes(u16());
        const routingKey = bytes(u32());
        const queues = Array.from({ length: u16() }, u32);
        const expiries = queues.map(() => ((flags & 2) === 0 ? expiresAtMs : 0));
        if ((flags & 2) !== 0) for (const i of expiries.keys()) expiries[i] = f64();
        const message = {
          flags,
          format,
          qos,
          priority,
          exchange,
          routingKey,
          native: bytes(u32()),
          body: bytes(u32()),
        };
        const text = bytes(u32()).toString();
        const deaths: unknown = text === '' ? [] : JSON.parse(text);
        for (const [i, queue] of queues.entries()) {
          const entries = this.queues.get(queue) ?? new Map<number, Kept<DocumentedMessage>>();
          this.queues.set(queue, entries);
          entries.set(sequence, { epoch: this.epoch, value: { ...message, deaths, expiresAtMs: expiries[i]! } });
        }
      } else if (type === 2) {
        const entries = this.queues.get(u32());
        let sequence = f64();
        for (let runs = u32(); runs > 0; runs--) {
          sequence += varint();
          for (let length = varint(); length > 0; length--) entries?.delete(sequence++);
        }
      } else if (type === 3 || type === 4) {
        const kind = bytes(u8()).toString('latin1');
        const key = bytes(u32()).toString('latin1');
        const values = this.values.get(kind) ?? new Map<string, Kept<Buffer>>();
        this.values.set(kind, values);
        if (type === 3) values.set(key, { epoch: this.epoch, value: bytes(u32()) });
        else values.delete(key);
      } else if (type === 5) {
        const flags = u8();
        const epoch = u32();
        if ((flags & 1) !== 0) this.listed = { epoch, entries: new Set(), keys: new Set() };
        for (let count = u32(); count > 0; count--) this.listed!.entries.add(`${u32()} ${f64()}`);
        for (let count = u32(); count > 0; count--) {
          this.listed!.keys.add(`${bytes(u8()).toString('latin1')} ${bytes(u32()).toString('latin1')}`);
        }
        if ((flags & 2) !== 0) this.keep(this.listed!);
      } else throw new Error(`record of type ${type}`);
    }
  }

  private keep({ epoch, entries, keys }: { epoch: number; entries: Set<string>; keys: Set<string> }): void {
    for (const [queue, each] of this.queues) {
      for (const [sequence, kept] of each) {
        if (kept.epoch === epoch && !entries.has(`${queue} ${sequence}`)) each.delete(sequence);
      }
    }
    for (const [kind, each] of this.values) {
      for (const [key, kept] of each) if (kept.epoch === epoch && !keys.has(`${kind} ${key}`)) each.delete(key);
    }
  }
}

/** @throws Error on what the document calls damage */
export function readJournal(files: ReadonlyMap<string, Buffer>): DocumentedState {
  const manifest = JSON.parse(files.get('MANIFEST')!.toString()) as { version: number; segments: number[] };
  if (manifest.version !== 1) throw new Error(`manifest of version ${manifest.version}`);
  const state = new DocumentedState();
  let unit = -1;
  for (const [i, epoch] of manifest.segments.entries()) {
    const name = `${String(epoch).padStart(10, '0')}.segment`;
    const file = files.get(name);
    if (file === undefined) throw new Error(`${name} is missing`);
    if (file.toString('latin1', 0, 8) !== 'RosettaJ' || ![2, 3].includes(file.readUInt32BE(8))) throw new Error(name);
    if (file.readUInt32BE(12) !== epoch || file.readUInt32BE(24) !== crc32(file.subarray(0, 24))) throw new Error(name);
    const first = file.readDoubleBE(16);
    if (unit >= 0 && first !== unit) throw new Error(`${name} begins with unit ${first}, not ${unit}`);
    unit = first;
    state.epoch = epoch;
    let at = 32;
    let open: Buffer[] = [];
    for (; at + 32 <= file.length; ) {
      const length = file.readUInt32BE(at);
      const end = at + 32 + length;
      if (end > file.length || file.readUInt32BE(at + 4) !== crc32(file.subarray(at + 8, end), length)) break;
      if (file.readDoubleBE(at + 8) !== unit || file.readUInt32BE(at + 24) !== epoch) break;
      open.push(file.subarray(at + 32, end));
      if ((file.readUInt8(at + 28) & 1) !== 0) {
        for (const records of open) state.apply(records);
        open = [];
        unit += 1;
      }
      at = end;
    }
    if (at < file.length && i < manifest.segments.length - 1) throw new Error(`${name} is damaged at ${at}`);
  }
  return state;
}
