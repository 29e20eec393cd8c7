import {
  Expected,
  fields,
  type Link,
  type LinkParts,
  type Load,
  makeBody,
  makeHeaders,
  noteLatency,
  nowMicros,
  stampBytes,
} from './link.ts';
import { Batch, type Wire } from './wire.ts';

const Packet = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
} as const;

/** MQTT 3.1.1, or 5.0 for messages with headers or fields. */
export class MqttLink implements Link {
  readonly wire: Wire;
  readonly confirms: boolean;
  private readonly parts: LinkParts;
  private readonly replies = new Expected<Buffer>();
  private readonly name: Buffer;
  private readonly answers = Buffer.allocUnsafeSlow(512 * 1024);
  private answered = 0;
  private batch: Batch | null = null;
  private idAt = 0;
  private packetId = 0;

  constructor(parts: LinkParts) {
    this.parts = parts;
    this.wire = parts.wire;
    this.confirms = parts.load.qos > 0;
    this.name = text(`perf/${parts.load.run}/${parts.topic.index}`);
    this.wire.onBytes = (chunk, end) => this.onBytes(chunk, end);
    this.wire.onClosed = (why) => this.replies.failed(`mqtt: ${why}`);
  }

  async open(): Promise<void> {
    const { user, password } = this.parts.load;
    const clientId = text(`perf-${Math.random().toString(36).slice(2)}`);
    const body = Buffer.concat([
      text('MQTT'),
      Buffer.from([this.isFive ? 5 : 4, 0xc2, 0, 0]), // clean session with user name and password, no keep-alive
      this.noProperties,
      clientId,
      text(user),
      text(password),
    ]);
    const connack = await this.call(packet(Packet.connect << 4, body));
    if (connack[3] !== 0) throw new Error(`mqtt: CONNACK ${connack[3]}`);
  }

  async subscribe(): Promise<void> {
    const { qos } = this.parts.load;
    const suback = await this.call(
      packet(
        (Packet.subscribe << 4) | 2,
        Buffer.concat([Buffer.from([0, 1]), this.noProperties, this.name, Buffer.from([qos])]),
      ),
    );
    if (suback.at(-1) !== qos) throw new Error(`mqtt: SUBACK ${suback.at(-1)}`);
  }

  prepare(): number {
    const { load } = this.parts;
    const id = Buffer.alloc(load.qos > 0 ? 2 : 0);
    const block = this.isFive ? propertyBlock(load) : Buffer.alloc(0);
    const content = Buffer.concat([this.name, id, block, makeBody(load)]);
    const frame = packet((Packet.publish << 4) | (load.qos << 1), content);
    const bodyAt = frame.length - load.bodyBytes;
    this.idAt = bodyAt - block.length - 2;
    this.batch = new Batch(frame, load.bodyBytes >= stampBytes ? bodyAt : -1);
    return this.batch.capacity;
  }

  publish(count: number): void {
    const batch = this.batch!;
    if (this.confirms) {
      for (let i = 0, at = this.idAt; i < count; i++, at += batch.frameBytes) {
        this.packetId = this.packetId === 65_535 ? 1 : this.packetId + 1;
        batch.bytes[at] = this.packetId >> 8;
        batch.bytes[at + 1] = this.packetId;
      }
    }
    this.parts.topic.published += count;
    this.wire.send(batch.stamped(count));
  }

  private get isFive(): boolean {
    const { headers, fields } = this.parts.load;
    return headers > 0 || fields === true;
  }

  private get noProperties(): Buffer {
    return Buffer.alloc(this.isFive ? 1 : 0);
  }

  private call(bytes: Buffer): Promise<Buffer> {
    const reply = this.replies.next();
    this.wire.send(bytes);
    return reply;
  }

  private onBytes(chunk: Buffer, end: number): number {
    const { topic, latencies, load } = this.parts;
    const { bodyBytes } = load;
    const now = nowMicros();
    let at = 0;
    let progress = false;
    while (end - at >= 2) {
      let length = chunk[at + 1]! & 127;
      let head = 2;
      for (let shift = 7; chunk[at + head - 1]! >= 128 && at + head < end; shift += 7) {
        length |= (chunk[at + head]! & 127) << shift;
        head += 1;
      }
      const next = at + head + length;
      if (next > end || chunk[at + head - 1]! >= 128) break;
      switch (chunk[at]! >> 4) {
        case Packet.publish: {
          topic.delivered += 1;
          if (bodyBytes >= stampBytes) noteLatency(latencies, chunk, next - bodyBytes, now);
          progress = true;
          const qos = (chunk[at]! >> 1) & 3;
          if (qos > 0) {
            const idAt = at + head + 2 + ((chunk[at + head]! << 8) | chunk[at + head + 1]!);
            this.answer(qos === 1 ? Packet.puback : Packet.pubrec, 0, chunk, idAt);
          }
          break;
        }
        case Packet.puback:
        case Packet.pubcomp:
          topic.confirmed += 1;
          progress = true;
          break;
        case Packet.pubrec:
          this.answer(Packet.pubrel, 2, chunk, at + 2);
          break;
        case Packet.pubrel:
          this.answer(Packet.pubcomp, 0, chunk, at + 2);
          break;
        default:
          this.replies.came(Buffer.from(chunk.subarray(at, next)));
      }
      at = next;
    }
    if (this.answered > 0) {
      // A copy: the kernel may not take all of it at once.
      this.wire.send(Buffer.from(this.answers.subarray(0, this.answered)));
      this.answered = 0;
    }
    if (progress) topic.onProgress();
    return at;
  }

  private answer(type: number, flags: number, chunk: Buffer, idAt: number): void {
    const { answers } = this;
    const at = this.answered;
    answers[at] = (type << 4) | flags;
    answers[at + 1] = 2;
    answers[at + 2] = chunk[idAt]!;
    answers[at + 3] = chunk[idAt + 1]!;
    this.answered = at + 4;
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]);
}

/** User properties behind their length. */
function propertyBlock(load: Load): Buffer {
  const pairs = makeHeaders(load);
  const single: Buffer[] = [];
  if (load.fields === true) {
    const { contentType, priority, correlationId, messageId, timestampMs, type } = fields;
    single.push(Buffer.from([0x03]), text(contentType), Buffer.from([0x09]), text(correlationId));
    pairs.push(['message-id', messageId], ['priority', String(priority)]);
    pairs.push(['timestamp', String(timestampMs)], ['type', type]);
  }
  const lines = pairs.flatMap(([name, value]) => [Buffer.from([0x26]), text(name), text(value)]);
  const block = Buffer.concat([...single, ...lines]);
  return Buffer.concat([varint(block.length), block]);
}

function packet(first: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([first]), varint(body.length), body]);
}

function varint(value: number): Buffer {
  const octets: number[] = [];
  let rest = value;
  do {
    octets.push((rest & 127) | (rest > 127 ? 128 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.from(octets);
}
