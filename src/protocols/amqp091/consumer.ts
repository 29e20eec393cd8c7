import type { Client } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import type { Headers } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Consumer, Queue } from '../../core/queue/queue.ts';
import { emptyBuffer, encodeText } from '../../lib/bytes.ts';
import { longFrom } from '../../transport/stream.ts';
import type { Channel } from './channel.ts';
import {
  contentBytes,
  headerBytes,
  represents,
  shownInstead,
  shownKey,
  writeContent,
  writeHeader,
  writeLongBody,
} from './frame.ts';
import { encodeMethod } from './methods.ts';
import { FrameType, frameEnd, methods } from './spec.ts';

export interface ConsumeOptions {
  readonly tag: string;
  readonly noAck: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  /** Unacked deliveries at most; 0 = no limit. */
  readonly prefetch: number;
  readonly arguments: Headers;
}

/** basic.consume: what the queue hands over goes out as deliver, header and body frames in one piece. */
export class ChannelConsumer implements Consumer {
  readonly queue: Queue;
  readonly tag: string;
  readonly settles: boolean;
  readonly exclusive: boolean;
  readonly priority: number;
  readonly client: Client;
  readonly prefetch: number;
  readonly arguments: Headers;
  unacked = 0;
  private started = false;

  private readonly owner: Channel;
  /** The deliver frame up to the delivery tag. */
  private readonly head: Buffer;
  private exchange = '';
  private routingKey = '';
  /** Exchange and routing key as they were last written: mostly they are the same again. */
  private address: Buffer = emptyBuffer;

  constructor(channel: Channel, queue: Queue, options: ConsumeOptions) {
    this.owner = channel;
    this.queue = queue;
    this.tag = options.tag;
    this.settles = options.noAck;
    this.exclusive = options.exclusive;
    this.priority = options.priority;
    this.prefetch = options.prefetch;
    this.arguments = options.arguments;
    this.client = channel.connection;
    const tag = encodeText(options.tag);
    this.head = Buffer.alloc(12 + tag.length);
    this.head[0] = FrameType.method;
    this.head.writeUInt16BE(channel.id, 1);
    this.head.writeUInt16BE(methods.basicDeliver.classId, 7);
    this.head.writeUInt16BE(methods.basicDeliver.methodId, 9);
    this.head[11] = tag.length;
    tag.copy(this.head, 12);
    this.setAddress('', '');
  }

  get channel(): number {
    return this.owner.id;
  }

  get ready(): boolean {
    return (
      this.started &&
      !this.owner.connection.stream.blocked &&
      (this.prefetch === 0 || this.unacked < this.prefetch) &&
      (this.settles || this.owner.hasCredit)
    );
  }

  get rejectsLosses(): boolean {
    return this.owner.connection.limits.rejectsLosses;
  }

  represents(message: Message): boolean {
    return represents(message, this.owner.connection.frameMax);
  }

  /** consume-ok is on its way: deliveries may follow. */
  start(): void {
    this.started = true;
    this.queue.wake();
  }

  deliver(entry: QueueEntry): void {
    const message = entry.message;
    const { exchange, routingKey } = message;
    if (exchange !== this.exchange || routingKey !== this.routingKey) this.setAddress(exchange, routingKey);
    const tag = this.owner.nextDelivery(entry, this.settles);
    if (!this.settles) this.unacked += 1;
    const { stream, frameMax } = this.owner.connection;
    const shown = entry.deliveryCount > 0 ? shownInstead(entry, frameMax) : null;
    const head = this.head;
    const address = this.address;
    const methodBytes = head.length + 9 + address.length + 1;
    const isLong = message.bodyBytes >= longFrom;
    const bytes =
      methodBytes + (isLong ? headerBytes(message, frameMax, shown) : contentBytes(message, frameMax, shown));
    let at = stream.reserve(bytes);
    const out = stream.out;
    head.copy(out, at);
    at += head.length;
    out.writeUInt32BE(Math.floor(tag / 0x1_0000_0000), at);
    out.writeUInt32BE(tag >>> 0, at + 4);
    out[at + 8] = entry.redelivered ? 1 : 0;
    at += 9;
    address.copy(out, at);
    at += address.length;
    out[at] = frameEnd;
    if (isLong) writeHeader(out, at + 1, message, this.owner.id, frameMax, shown);
    else writeContent(out, at + 1, message, this.owner.id, frameMax, shown);
    stream.advance(bytes);
    if (isLong) writeLongBody(stream, message, this.owner.id, frameMax);
  }

  /** The queue is gone: the client is told if it understands that [RabbitMQ: consumer cancel notification]. */
  cancelled(_why: Condition): void {
    this.owner.consumers.delete(this.tag);
    if (!this.owner.connection.capabilities.consumerCancelNotify) return;
    this.owner.send(encodeMethod(this.owner.id, methods.basicCancel, { consumerTag: this.tag, noWait: true }));
  }

  private setAddress(exchange: string, routingKey: string): void {
    this.exchange = exchange;
    this.routingKey = routingKey;
    const key = encodeText(shownKey(routingKey));
    const name = encodeText(exchange);
    this.address = Buffer.concat([Buffer.from([name.length]), name, Buffer.from([key.length]), key]);
    this.head.writeUInt32BE(this.head.length + 9 + this.address.length - 7, 3);
  }
}
