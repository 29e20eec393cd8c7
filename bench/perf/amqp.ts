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

const Method = {
  start: 0x000a_000a,
  startOk: 0x000a_000b,
  tune: 0x000a_001e,
  tuneOk: 0x000a_001f,
  open: 0x000a_0028,
  connectionClose: 0x000a_0032,
  channelOpen: 0x0014_000a,
  channelClose: 0x0014_0028,
  queueDeclare: 0x0032_000a,
  queueBind: 0x0032_0014,
  basicQos: 0x003c_000a,
  basicConsume: 0x003c_0014,
  basicPublish: 0x003c_0028,
  basicDeliver: 0x003c_003c,
  basicAck: 0x003c_0050,
  basicNack: 0x003c_0078,
  confirmSelect: 0x0055_000a,
} as const;

const exchange = 'amq.topic';
const frameEnd = 0xce;

/** AMQP 0-9-1, one channel, through `amq.topic`, where the other protocols' topics are too. */
export class AmqpLink implements Link {
  readonly wire: Wire;
  readonly confirms: boolean;
  private readonly parts: LinkParts;
  private readonly replies = new Expected<Buffer>();
  private readonly key: string;
  private queue = '';
  private frameMax = 131_072;
  private batch: Batch | null = null;
  private bodyDue = false;
  private tag = 0;
  private acked = 0;
  private confirmed = 0;

  constructor(parts: LinkParts) {
    this.parts = parts;
    this.wire = parts.wire;
    this.confirms = parts.load.confirm;
    this.key = `perf.${parts.load.run}.${parts.topic.index}`;
    this.wire.onBytes = (chunk, end) => this.onBytes(chunk, end);
    this.wire.onClosed = (why) => this.replies.failed(`amqp: ${why}`);
  }

  async open(): Promise<void> {
    const { user, password } = this.parts.load;
    await this.call(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
    const response = Buffer.from(`\0${user}\0${password}`);
    const tune = await this.call(
      method(0, Method.startOk, long(0), short('PLAIN'), long(response.length), response, short('en_US')),
    );
    this.frameMax = tune.readUInt32BE(6) || this.frameMax;
    this.wire.send(method(0, Method.tuneOk, Buffer.from([0, 1]), long(this.frameMax), Buffer.from([0, 0])));
    await this.call(method(0, Method.open, short('/'), short(''), Buffer.from([0])));
    await this.call(method(1, Method.channelOpen, short('')));
    if (this.confirms) await this.call(method(1, Method.confirmSelect, Buffer.from([0])));
  }

  async subscribe(): Promise<void> {
    await this.declare();
    await this.consume();
  }

  /** A queue of its own, bound to the topic. */
  async declare(): Promise<void> {
    const { load } = this.parts;
    // Durable for messages that are to be kept, else the connection's own.
    const flags = load.persistent ? 2 : 4;
    const name = `perf-${Math.random().toString(36).slice(2)}`;
    await this.call(method(1, Method.queueDeclare, reserved, short(name), Buffer.from([flags]), long(0)));
    await this.call(
      method(1, Method.queueBind, reserved, short(name), short(exchange), short(this.key), Buffer.from([0]), long(0)),
    );
    this.queue = name;
  }

  async consume(): Promise<void> {
    const { load } = this.parts;
    if (load.ackEvery > 0) {
      const prefetch = Buffer.from([0, 0, 0, 0, load.prefetch >> 8, load.prefetch & 255, 0]);
      await this.call(method(1, Method.basicQos, prefetch));
    }
    const noAck = load.ackEvery === 0 ? 2 : 0;
    await this.call(
      method(1, Method.basicConsume, reserved, short(this.queue), short(''), Buffer.from([noAck]), long(0)),
    );
  }

  prepare(): number {
    const { load } = this.parts;
    const size = Buffer.alloc(8);
    size.writeBigUInt64BE(BigInt(load.bodyBytes));
    const mode = load.persistent ? 2 : 1;
    const items = makeHeaders(load).map(([name, value]) =>
      Buffer.concat([short(name), Buffer.from('S'), longText(value)]),
    );
    const table = Buffer.concat(items);
    const list = load.fields === true ? fieldList(table, mode) : null;
    // headers, delivery mode; or that alone
    const few =
      load.headers === 0
        ? Buffer.from([0x10, 0, mode])
        : Buffer.concat([Buffer.from([0x30, 0]), long(table.length), table, Buffer.from([mode])]);
    const properties = list ?? few;
    const publish = method(1, Method.basicPublish, reserved, short(exchange), short(this.key), Buffer.from([0]));
    const header = frame(2, 1, Buffer.concat([Buffer.from([0, 60, 0, 0]), size, properties]));
    const body = makeBody(load);
    const frames: Buffer[] = [];
    for (let at = 0; at < body.length; at += this.frameMax - 8) {
      frames.push(frame(3, 1, body.subarray(at, at + this.frameMax - 8)));
    }
    const stampAt = load.bodyBytes >= stampBytes ? publish.length + header.length + 7 : -1;
    this.batch = new Batch(Buffer.concat([publish, header, ...frames]), stampAt);
    return this.batch.capacity;
  }

  publish(count: number): void {
    this.parts.topic.published += count;
    this.wire.send(this.batch!.stamped(count));
  }

  private call(bytes: Buffer): Promise<Buffer> {
    const reply = this.replies.next();
    this.wire.send(bytes);
    return reply;
  }

  private onBytes(chunk: Buffer, end: number): number {
    const { topic, latencies, load } = this.parts;
    const stamped = load.bodyBytes >= stampBytes;
    const now = nowMicros();
    const confirmedBefore = this.confirmed;
    const tagBefore = this.tag;
    let at = 0;
    while (end - at >= 8) {
      const next = at + 8 + chunk.readUInt32BE(at + 3);
      if (next > end) break;
      const type = chunk[at]!;
      if (type === 3 && this.bodyDue) {
        if (stamped) noteLatency(latencies, chunk, at + 7, now);
        this.bodyDue = false;
      } else if (type === 1) {
        const id = chunk.readUInt32BE(at + 7);
        if (id === Method.basicDeliver) {
          this.tag += 1;
          this.bodyDue = true;
        } else if (id === Method.basicAck) {
          const tag = chunk.readUInt32BE(at + 15);
          // Out of order without `multiple` does not occur often enough to matter: counted, not placed.
          if (chunk[at + 19] === 1) this.confirmed = Math.max(this.confirmed, tag);
          else this.confirmed += 1;
        } else if (id === Method.connectionClose || id === Method.channelClose) {
          this.wire.onClosed(chunk.toString('latin1', at + 14, at + 14 + chunk[at + 13]!));
        } else this.replies.came(Buffer.from(chunk.subarray(at + 7, next - 1)));
      }
      at = next;
    }
    topic.delivered += this.tag - tagBefore;
    topic.confirmed += this.confirmed - confirmedBefore;
    if (load.ackEvery > 0 && this.tag - this.acked >= load.ackEvery) {
      this.acked = this.tag;
      this.wire.send(method(1, Method.basicAck, long(0), long(this.tag), Buffer.from([1])));
    }
    if (this.tag !== tagBefore || this.confirmed !== confirmedBefore) topic.onProgress();
    return at;
  }
}

const reserved = Buffer.from([0, 0]);

/** Content type, headers, delivery mode, priority, correlation id, message id, timestamp and type, in their order. */
function fieldList(table: Buffer, mode: number): Buffer {
  const { contentType, priority, correlationId, messageId, timestampMs, type } = fields;
  const timestamp = Buffer.alloc(8);
  timestamp.writeBigUInt64BE(BigInt(timestampMs / 1000));
  const behind = [short(correlationId), short(messageId), timestamp, short(type)];
  const head = [Buffer.from([0xbc, 0xe0]), short(contentType), long(table.length), table];
  return Buffer.concat([...head, Buffer.from([mode, priority]), ...behind]);
}

function short(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function longText(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([long(bytes.length), bytes]);
}

function long(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type, 0, channel]), long(payload.length), payload, Buffer.from([frameEnd])]);
}

function method(channel: number, id: number, ...args: Buffer[]): Buffer {
  return frame(1, channel, Buffer.concat([long(id), ...args]));
}
