import {
  Expected,
  fields,
  type Link,
  type LinkParts,
  makeBody,
  makeHeaders,
  noteLatency,
  nowMicros,
  stampBytes,
} from './link.ts';
import { Batch, type Wire } from './wire.ts';

const Code = {
  open: 0x10,
  begin: 0x11,
  attach: 0x12,
  flow: 0x13,
  transfer: 0x14,
  disposition: 0x15,
  detach: 0x16,
  end: 0x17,
  close: 0x18,
} as const;
const window = 0x7fff_ffff;
const messageFormat = Buffer.from([0x43]);

/** AMQP 1.0, one session and one link, through `amq.topic`, where the other protocols' topics are too. */
export class Amqp10Link implements Link {
  readonly wire: Wire;
  readonly confirms: boolean;
  private readonly parts: LinkParts;
  private readonly replies = new Expected<undefined>();
  private readonly key: string;
  private batch: Batch | null = null;
  private batchIds: number[] = [];
  private sent = 0;
  private credit = 0;
  private received = 0;
  private granted = 0;
  private acked = 0;
  private confirmed = 0;
  private waits = false;

  constructor(parts: LinkParts) {
    this.parts = parts;
    this.wire = parts.wire;
    this.confirms = parts.load.confirm;
    this.key = `perf.${parts.load.run}.${parts.topic.index}`;
    this.wire.onBytes = (chunk, end) => this.onBytes(chunk, end);
    this.wire.onClosed = (why) => this.replies.failed(`amqp10: ${why}`);
  }

  async open(): Promise<void> {
    const { user, password } = this.parts.load;
    await this.call(Buffer.from('AMQP\x03\x01\x00\x00', 'latin1'));
    const init = list(0x41, symbol('PLAIN'), binary(Buffer.from(`\0${user}\0${password}`)));
    await this.call(frame(1, init));
    await this.call(
      Buffer.concat([Buffer.from('AMQP\x00\x01\x00\x00', 'latin1'), frame(0, list(Code.open, text('perf')))]),
    );
    await this.call(frame(0, list(Code.begin, nothing, uint(0), uint(window), uint(window))));
  }

  async subscribe(): Promise<void> {
    const { load } = this.parts;
    const address = `/topic/${this.key}`;
    const source = load.persistent ? list(0x28, text(address), uint(2), symbol('never')) : list(0x28, text(address));
    const settled = Buffer.from([0x50, load.ackEvery === 0 ? 1 : 0]);
    const name = text(`perf-${Math.random().toString(36).slice(2)}`);
    const attach = list(
      Code.attach,
      name,
      uint(0),
      Buffer.from([0x41]),
      settled,
      Buffer.from([0x50, 0]),
      source,
      list(0x29),
    );
    await this.call(frame(0, attach));
    this.grant();
  }

  prepare(): number {
    const { load } = this.parts;
    const bare = load.persistent ? list(0x70, Buffer.from([0x41])) : Buffer.alloc(0);
    const header = load.fields === true ? fieldSections(load.persistent) : bare;
    const body = makeBody(load);
    const data = Buffer.concat([Buffer.from([0, 0x53, 0x75, 0xb0]), long(body.length)]);
    const short = body.length <= 255 ? Buffer.from([0, 0x53, 0x75, 0xa0, body.length]) : data;
    const settled = Buffer.from([load.confirm ? 0x42 : 0x41]);
    const id = Buffer.from([0x70, 0, 0, 0, 0]);
    const transfer = list(Code.transfer, uint(0), id, Buffer.from([0xa0, 0]), messageFormat, settled);
    const head = Buffer.concat([transfer, header, applicationProperties(makeHeaders(load)), short]);
    const stampAt = load.bodyBytes >= stampBytes ? 8 + head.length : -1;
    this.batch = new Batch(frame(0, Buffer.concat([head, body])), stampAt);
    const { capacity, frameBytes } = this.batch;
    // behind the handle, which has the same octets
    const idAt = 8 + transfer.indexOf(id, transfer.indexOf(id) + 1) + 1;
    this.batchIds = Array.from({ length: capacity }, (_, i) => i * frameBytes + idAt);
    this.attachSender(); // its credit is what allows the first publish
    return capacity;
  }

  /** What the broker's credit has room for now. */
  get room(): number {
    return this.credit - this.sent;
  }

  publish(count: number): void {
    const { batch, batchIds } = this;
    this.parts.topic.published += count;
    const bytes = batch!.stamped(count);
    for (let i = 0; i < count; i++) bytes.writeUInt32BE((this.sent + i) >>> 0, batchIds[i]!);
    this.sent += count;
    this.wire.send(bytes);
  }

  private attachSender(): void {
    const settled = Buffer.from([0x50, this.confirms ? 0 : 1]);
    const target = list(0x29, text(`/topic/${this.key}`));
    const role = Buffer.from([0x42]);
    const ends = [list(0x28), target];
    const count = uint(0);
    const first = Buffer.from([0x50, 0]);
    this.wire.send(
      frame(0, list(Code.attach, text('perf'), uint(0), role, settled, first, ...ends, nothing, nothing, count)),
    );
  }

  private call(bytes: Buffer): Promise<undefined> {
    this.waits = true;
    const reply = this.replies.next();
    this.wire.send(bytes);
    return reply;
  }

  private came(): void {
    if (!this.waits) return;
    this.waits = false;
    this.replies.came(undefined);
  }

  private grant(): void {
    const { prefetch } = this.parts.load;
    this.granted = this.received + prefetch;
    const flow = list(
      Code.flow,
      uint(0),
      uint(window),
      uint(0),
      uint(window),
      uint(0),
      uint(this.received),
      uint(prefetch),
    );
    this.wire.send(frame(0, flow));
  }

  private onBytes(chunk: Buffer, end: number): number {
    const { topic, latencies, load } = this.parts;
    const stamped = load.bodyBytes >= stampBytes;
    const now = nowMicros();
    const receivedBefore = this.received;
    const confirmedBefore = this.confirmed;
    let at = 0;
    while (end - at >= 8) {
      if (chunk[at] === 0x41) {
        at += 8; // a protocol header
        continue;
      }
      const next = at + chunk.readUInt32BE(at);
      if (next > end) break;
      const code = chunk[at + 10]!;
      if (code === Code.transfer) {
        this.received += 1;
        if (stamped) noteLatency(latencies, chunk, next - load.bodyBytes, now);
      } else if (code === Code.disposition) this.onDisposition(chunk, at + 11);
      else if (code === Code.flow) this.onFlow(chunk, at + 11);
      else if (code === Code.close || code === Code.end || code === Code.detach) {
        this.wire.onClosed(chunk.toString('latin1', at + 11, next));
      } else this.came();
      at = next;
    }
    topic.delivered += this.received - receivedBefore;
    topic.confirmed += this.confirmed - confirmedBefore;
    if (load.ackEvery > 0 && this.received - this.acked >= load.ackEvery) {
      const accepted = list(
        Code.disposition,
        Buffer.from([0x41]),
        uint(this.acked),
        uint(this.received - 1),
        Buffer.from([0x41]),
        list(0x24),
      );
      this.acked = this.received;
      this.wire.send(frame(0, accepted));
    }
    if (this.granted > 0 && this.granted - this.received <= load.prefetch / 2) this.grant();
    if (this.received !== receivedBefore || this.confirmed !== confirmedBefore) topic.onProgress();
    return at;
  }

  // first and last as uints of whatever length
  private onDisposition(chunk: Buffer, at: number): void {
    const [first, next] = readUint(chunk, at + 4);
    const [last] = chunk[next] === 0x40 ? [first] : readUint(chunk, next);
    this.confirmed += last - first + 1;
  }

  private onFlow(chunk: Buffer, at: number): void {
    const fields: number[] = [];
    for (let i = 0, place = at + 3; i < 7 && i < chunk[at + 2]!; i++) {
      const [value, next] = readUint(chunk, place);
      fields.push(value);
      place = next;
    }
    if (fields.length < 7) return;
    this.credit = fields[5]! + fields[6]!;
    this.wire.onIdle();
  }
}

const nothing = Buffer.from([0x40]);

function readUint(chunk: Buffer, at: number): [value: number, next: number] {
  switch (chunk[at]) {
    case 0x52:
      return [chunk[at + 1]!, at + 2];
    case 0x70:
      return [chunk.readUInt32BE(at + 1), at + 5];
    default:
      return [0, at + 1];
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([0xa1, bytes.length]), bytes]);
}

function symbol(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([0xa3, bytes.length]), bytes]);
}

function binary(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xa0, bytes.length]), bytes]);
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function uint(value: number): Buffer {
  return Buffer.concat([Buffer.from([0x70]), long(value)]);
}

function list(code: number, ...items: Buffer[]): Buffer {
  const body = Buffer.concat(items);
  return Buffer.concat([Buffer.from([0, 0x53, code, 0xc0, body.length + 1, items.length]), body]);
}

/** A header with a priority, and properties: a message id, a correlation id, a content type, a creation time. */
function fieldSections(durable: boolean): Buffer {
  const { contentType, priority, correlationId, messageId, timestampMs } = fields;
  const none = Buffer.from([0x40]);
  const timestamp = Buffer.alloc(9, 0x83);
  timestamp.writeBigUInt64BE(BigInt(timestampMs), 1);
  return Buffer.concat([
    list(0x70, Buffer.from([durable ? 0x41 : 0x42]), Buffer.from([0x50, priority])),
    list(
      0x73,
      text(messageId),
      none,
      none,
      none,
      none,
      text(correlationId),
      symbol(contentType),
      none,
      none,
      timestamp,
    ),
  ]);
}

function frame(type: number, body: Buffer): Buffer {
  return Buffer.concat([long(8 + body.length), Buffer.from([2, type, 0, 0]), body]);
}

/** A section of strings; nothing when there are none. */
function applicationProperties(pairs: readonly (readonly [name: string, value: string])[]): Buffer {
  if (pairs.length === 0) return Buffer.alloc(0);
  const items = Buffer.concat(pairs.flatMap(([name, value]) => [text(name), text(value)]));
  return Buffer.concat([Buffer.from([0, 0x53, 0x74, 0xd1]), long(items.length + 4), long(2 * pairs.length), items]);
}
