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

const receiptDigits = 10;
const endOfHeaders = Buffer.from('\n\n');
const M = 0x4d;
const R = 0x52;
const E = 0x45;

const fieldLines = [
  ['content-type', fields.contentType],
  ['priority', String(fields.priority)],
  ['correlation-id', fields.correlationId],
  ['amqp-message-id', fields.messageId],
  ['timestamp', String(fields.timestampMs)],
  ['type', fields.type],
] as const;

/** STOMP 1.2. */
export class StompLink implements Link {
  readonly wire: Wire;
  readonly confirms: boolean;
  private readonly parts: LinkParts;
  private readonly replies = new Expected<string>();
  private readonly destination: string;
  private batch: Batch | null = null;
  private receiptAt = 0;
  private receipt = 0;
  private unacked = 0;
  private acks: string[] = [];

  constructor(parts: LinkParts) {
    this.parts = parts;
    this.wire = parts.wire;
    this.confirms = parts.load.confirm;
    // A topic has no memory in STOMP; what is to be kept goes to a queue.
    const kind = parts.load.persistent ? 'queue' : 'topic';
    this.destination = `/${kind}/perf.${parts.load.run}.${parts.topic.index}`;
    this.wire.onBytes = (chunk, end) => this.onBytes(chunk, end);
    this.wire.onClosed = (why) => this.replies.failed(`stomp: ${why}`);
  }

  async open(): Promise<void> {
    const { user, password } = this.parts.load;
    const reply = await this.call(
      `CONNECT\naccept-version:1.2\nhost:/\nheart-beat:0,0\nlogin:${user}\npasscode:${password}\n\n\0`,
    );
    if (!reply.startsWith('CONNECTED')) throw new Error(`stomp: ${reply}`);
  }

  async subscribe(): Promise<void> {
    const { ackEvery, prefetch } = this.parts.load;
    const ack = ackEvery > 0 ? `ack:client\nprefetch-count:${prefetch}\nactivemq.prefetchSize:${prefetch}\n` : '';
    await this.call(`SUBSCRIBE\nid:0\ndestination:${this.destination}\n${ack}receipt:ready\n\n\0`);
  }

  prepare(): number {
    const { load } = this.parts;
    const persistent = load.persistent ? 'persistent:true\n' : '';
    const pairs = load.fields === true ? [...fieldLines, ...makeHeaders(load)] : makeHeaders(load);
    const headers = pairs.map(([name, value]) => `${name}:${value}\n`);
    let head = `SEND\ndestination:${this.destination}\n${persistent}${headers.join('')}content-length:${load.bodyBytes}\n`;
    if (this.confirms) {
      head += 'receipt:';
      this.receiptAt = head.length;
      head += `${'0'.repeat(receiptDigits)}\n`;
    }
    head += '\n';
    const frame = Buffer.concat([Buffer.from(head), makeBody(load), Buffer.from([0])]);
    this.batch = new Batch(frame, load.bodyBytes >= stampBytes ? head.length : -1);
    return this.batch.capacity;
  }

  publish(count: number): void {
    const batch = this.batch!;
    if (this.confirms) {
      for (let i = 0, at = this.receiptAt; i < count; i++, at += batch.frameBytes) {
        this.receipt += 1;
        for (let rest = this.receipt, digit = receiptDigits - 1; digit >= 0; digit--) {
          const tenth = Math.floor(rest / 10);
          batch.bytes[at + digit] = 0x30 + rest - tenth * 10;
          rest = tenth;
        }
      }
    }
    this.parts.topic.published += count;
    this.wire.send(batch.stamped(count));
  }

  private call(frame: string): Promise<string> {
    const reply = this.replies.next();
    this.wire.send(Buffer.from(frame));
    return reply;
  }

  private onBytes(chunk: Buffer, end: number): number {
    const { topic, latencies, load } = this.parts;
    const { bodyBytes, ackEvery } = load;
    const now = nowMicros();
    let at = 0;
    let progress = false;
    for (;;) {
      while (at < end && chunk[at] === 0x0a) at += 1;
      const headers = chunk.indexOf(endOfHeaders, at);
      if (headers < 0 || headers >= end - 1) break;
      const body = headers + 2;
      const isMessage = chunk[at] === M;
      let next: number;
      if (isMessage) next = body + bodyBytes + 1;
      else {
        const nul = chunk.indexOf(0, body);
        next = nul < 0 ? end + 1 : nul + 1;
      }
      if (next > end) break;
      if (isMessage) {
        topic.delivered += 1;
        progress = true;
        if (bodyBytes >= stampBytes) noteLatency(latencies, chunk, body, now);
        if (ackEvery > 0) {
          this.unacked += 1;
          if (this.unacked >= ackEvery) this.ack(chunk.toString('latin1', at, body));
        }
      } else if (chunk[at] === R && this.receipt > 0) {
        topic.confirmed += 1;
        progress = true;
      } else if (chunk[at] === E) this.wire.onClosed(chunk.toString('latin1', at, next));
      else this.replies.came(chunk.toString('latin1', at, next));
      at = next;
    }
    this.sendAcks();
    if (progress) topic.onProgress();
    return Math.min(at, end);
  }

  private ack(headers: string): void {
    this.unacked = 0;
    const id = /\nack:([^\n]*)\n/.exec(headers)?.[1];
    if (id === undefined) throw new Error('stomp: MESSAGE without ack header');
    this.acks.push(`ACK\nid:${id}\n\n\0`);
  }

  // Those of one read in one write: a write each would measure the kernel.
  private sendAcks(): void {
    if (this.acks.length === 0) return;
    this.wire.send(Buffer.from(this.acks.join('')));
    this.acks = [];
  }
}
