import type { Client } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Consumer, Queue } from '../../core/queue/queue.ts';
import { copyBytes, emptyBuffer } from '../../lib/bytes.ts';
import type { Connection } from './connection.ts';
import { showDestination } from './destination.ts';
import { formatOf } from './message.ts';
import { escapeText } from './versions.ts';

export type AckMode = 'auto' | 'client' | 'client-individual';

export interface SubscriptionOptions {
  readonly id: string;
  readonly ackMode: AckMode;
  /** Unacked deliveries at most; 0 = no limit. */
  readonly prefetch: number;
  readonly destination: string;
}

/** SUBSCRIBE: what the queue hands over goes out as MESSAGE. */
export class Subscription implements Consumer {
  readonly id: string;
  readonly ackMode: AckMode;
  readonly queue: Queue;
  readonly settles: boolean;
  readonly priority = 0;
  readonly exclusive = false;
  readonly client: Client;
  readonly tag: string;
  unacked = 0;

  private readonly connection: Connection;
  private readonly prefetch: number;
  /** Command, subscription and the beginning of the message id. */
  private readonly head: Buffer;
  private exchange = '';
  private routingKey = '';
  private address: Buffer = emptyBuffer;

  constructor(connection: Connection, queue: Queue, options: SubscriptionOptions) {
    this.connection = connection;
    this.client = connection;
    this.queue = queue;
    this.id = options.id;
    this.tag = options.id;
    this.ackMode = options.ackMode;
    this.settles = options.ackMode === 'auto';
    this.prefetch = options.prefetch;
    const id = escapeText(options.id, connection.version);
    this.head = Buffer.from(`MESSAGE\nsubscription:${id}\n`, 'utf8');
    this.setAddress('', '');
  }

  get ready(): boolean {
    return !this.connection.stream.blocked && (this.prefetch === 0 || this.unacked < this.prefetch);
  }

  deliver(entry: QueueEntry): void {
    const { message } = entry;
    const { stream, version, session } = this.connection;
    if (message.exchange !== this.exchange || message.routingKey !== this.routingKey) {
      this.setAddress(message.exchange, message.routingKey);
    }
    const tag = this.connection.nextDelivery(entry, this.settles);
    if (!this.settles) this.unacked += 1;
    const id = `${session}@@${tag}`;
    const ack = this.settles || version !== '1.2' ? '' : `ack:${id}\n`;
    const redelivered = entry.redelivered ? 'redelivered:true\n' : '';
    const own = `message-id:${id}\n${ack}${redelivered}content-length:${message.bodyBytes}\n`;
    const native = message.as(formatOf[version]);
    const bytes = this.head.length + this.address.length + own.length + native.length + 1 + message.bodyBytes + 1;
    let at = stream.reserve(bytes);
    const out = stream.out;
    copyBytes(this.head, 0, this.head.length, out, at);
    at += this.head.length;
    copyBytes(this.address, 0, this.address.length, out, at);
    at += this.address.length;
    at += out.write(own, at, 'latin1');
    copyBytes(native, 0, native.length, out, at);
    at += native.length;
    out[at++] = 0x0a;
    copyBytes(message.bytes, message.bodyStart, message.bodyEnd, out, at);
    out[at + message.bodyBytes] = 0;
    stream.advance(bytes);
  }

  /** The queue is gone: RabbitMQ's word for it is an ERROR, which ends the connection. */
  cancelled(_why: Condition): void {
    this.connection.queueGone(this);
  }

  private setAddress(exchange: string, routingKey: string): void {
    this.exchange = exchange;
    this.routingKey = routingKey;
    const destination = escapeText(showDestination(exchange, routingKey), this.connection.version);
    this.address = Buffer.from(`destination:${destination}\n`, 'utf8');
  }
}
