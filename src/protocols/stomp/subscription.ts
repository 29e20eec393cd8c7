import type { Client } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import type { Message } from '../../core/message.ts';
import { type Headers, noHeaders } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Consumer, Queue } from '../../core/queue/queue.ts';
import { shownDeliveryCount } from '../../core/queue/redelivery.ts';
import type { Pattern } from '../../core/topic.ts';
import { copyBytes, emptyBuffer, encodeText } from '../../lib/bytes.ts';
import { longFrom } from '../../transport/stream.ts';
import type { Connection } from './connection.ts';
import { showDestination } from './destination.ts';
import { isWholeFor } from './message.ts';
import { escapeText } from './versions.ts';

export type AckMode = 'auto' | 'client' | 'client-individual';

export interface SubscriptionOptions {
  /** As the client names it; null: it did not, as 1.0 allows. */
  readonly id: string | null;
  /** What it is known by inside: RabbitMQ's consumer tag. */
  readonly key: string;
  readonly ackMode: AckMode;
  /** Unacked deliveries at most; 0 = no limit. */
  readonly prefetch: number;
  readonly priority: number;
  /** What the selector and no-local let through; null: everything. */
  readonly filter: ((message: Message) => boolean) | null;
  readonly sources: readonly Source[];
  /** Queues that come and match one of these are sources too. */
  readonly wildcards: readonly Pattern[];
}

export interface Source {
  readonly queue: Queue;
  /** The queue is this subscription's alone, and goes with it. */
  readonly own: boolean;
  /** A wildcard led to it: the subscription does not end with it. */
  readonly matched?: boolean;
  /** Of a temporary destination: what is published to it is shown as its owner calls it. */
  readonly temporary?: { readonly exchange: string; readonly key: string; readonly shown: string };
}

const redeliveredTrue = Buffer.from('\nredelivered:true\n');
const redeliveredFalse = Buffer.from('\nredelivered:false\n');
const contentLength = Buffer.from('content-length:');
const endOctet = Buffer.alloc(1);

/** SUBSCRIBE: what its queues hand over goes out as MESSAGE. */
export class Subscription implements Consumer {
  readonly ackMode: AckMode;
  readonly sources: Source[];
  readonly wildcards: readonly Pattern[];
  readonly settles: boolean;
  readonly priority: number;
  readonly exclusive = false;
  readonly client: Client;
  readonly id: string | null;
  readonly tag: string;
  readonly channel = 1;
  readonly prefetch: number;
  readonly arguments: Headers = noHeaders;
  unacked = 0;
  /** Not before the receipt of its SUBSCRIBE has left. */
  started = false;

  private readonly connection: Connection;
  /** What its selector lets through, where the queue has other consumers: the queue gives it nothing else. */
  readonly selector: ((message: Message) => boolean) | null;
  /** The same where the queue is its own: what does not pass is nobody's. */
  private readonly drops: ((message: Message) => boolean) | null;
  /** Command and subscription. */
  private readonly head: Buffer;
  private exchange = '';
  private routingKey = '';
  /** All that is in front of the number in the message id. */
  private front: Buffer = emptyBuffer;

  constructor(connection: Connection, options: SubscriptionOptions) {
    this.connection = connection;
    this.client = connection;
    this.sources = [...options.sources];
    this.wildcards = options.wildcards;
    this.id = options.id;
    this.tag = options.key;
    this.ackMode = options.ackMode;
    this.settles = options.ackMode === 'auto';
    this.prefetch = options.prefetch;
    this.priority = options.priority;
    const isOwn = options.wildcards.length === 0 && options.sources.every(({ own }) => own);
    this.selector = isOwn ? null : options.filter;
    this.drops = isOwn ? options.filter : null;
    const id = options.id === null ? '' : `subscription:${escapeText(options.id, connection.version)}\n`;
    this.head = Buffer.from(`MESSAGE\n${id}`, 'utf8');
    this.setAddress('', '');
  }

  get ready(): boolean {
    return this.started && !this.connection.stream.blocked && (this.prefetch === 0 || this.unacked < this.prefetch);
  }

  get rejectsLosses(): boolean {
    return this.connection.rejectsLosses;
  }

  represents(message: Message): boolean {
    return isWholeFor(message, this.connection.version);
  }

  wake(): void {
    for (const { queue } of this.sources) queue.wake();
  }

  /**
   *     MESSAGE ⏎ subscription:… ⏎ destination:… ⏎ message-id:session@@n ⏎ [ack:session@@n ⏎] redelivered:… ⏎
   *     native [content-length:… ⏎] ⏎ body NUL
   */
  deliver(entry: QueueEntry): void {
    const { message } = entry;
    const { connection } = this;
    if (this.drops !== null && !this.drops(message)) {
      if (!this.settles) entry.ack();
      return;
    }
    const { stream } = connection;
    if (message.exchange !== this.exchange || message.routingKey !== this.routingKey) {
      this.setAddress(message.exchange, message.routingKey);
    }
    const { front } = this;
    const { ackStart } = connection;
    const number = this.settles ? connection.nextUntracked() : connection.nextDelivery(entry);
    const native = connection.nativeOf(message);
    const bodyBytes = message.bodyBytes;
    const isLong = bodyBytes >= longFrom;
    const most = front.length + ackStart.length + 2 * 20 + 96 + native.length + (isLong ? 0 : bodyBytes) + 2;
    const start = stream.reserve(most);
    const out = stream.out;
    let at = start;
    copyBytes(front, 0, front.length, out, at);
    at = writeNumber(number, out, at + front.length);
    if (!this.settles) {
      this.unacked += 1;
      if (connection.version === '1.2') {
        copyBytes(ackStart, 0, ackStart.length, out, at);
        at = writeNumber(number, out, at + ackStart.length);
      }
    }
    const redelivered =
      entry.deliveryCount > 0 ? returned(entry) : entry.redelivered ? redeliveredTrue : redeliveredFalse;
    copyBytes(redelivered, 0, redelivered.length, out, at);
    at += redelivered.length;
    copyBytes(native, 0, native.length, out, at);
    at += native.length;
    if (connection.countsBody(message)) {
      copyBytes(contentLength, 0, contentLength.length, out, at);
      at = writeNumber(bodyBytes, out, at + contentLength.length);
      out[at++] = 0x0a;
    }
    out[at++] = 0x0a;
    if (isLong) {
      stream.advance(at - start);
      stream.writeRange(message.bytes, message.bodyStart, message.bodyEnd, endOctet);
      return;
    }
    copyBytes(message.bytes, message.bodyStart, message.bodyEnd, out, at);
    at += bodyBytes;
    out[at++] = 0;
    stream.advance(at - start);
  }

  /** The queue is gone: an ERROR, which ends the connection, for there is no other word for it. */
  cancelled(_why: Condition): void {
    this.connection.subscriptions.cancelled(this);
  }

  private setAddress(exchange: string, routingKey: string): void {
    this.exchange = exchange;
    this.routingKey = routingKey;
    const { version, dialect, idStart } = this.connection;
    const own = this.sources.find(
      ({ temporary }) => temporary?.exchange === exchange && temporary.key === routingKey,
    )?.temporary;
    const destination = escapeText(own?.shown ?? showDestination(exchange, routingKey, dialect), version);
    this.front = Buffer.concat([
      this.head,
      encodeText(`destination:${destination}\nmessage-id:`),
      idStart,
      Buffer.from(this.settles ? '-' : ''), // a number that no ACK can name
    ]);
  }
}

// Within the 96 octets that are reserved for it.
function returned(entry: QueueEntry): Buffer {
  const count = shownDeliveryCount(entry);
  return count === 0 ? redeliveredTrue : Buffer.from(`\nredelivered:true\nx-delivery-count:${count}\n`, 'latin1');
}

/** Decimal digits; a string for it would cost 50 ns more. @returns the offset behind them */
export function writeNumber(number: number, out: Buffer, at: number): number {
  let digits = 1;
  for (let power = 10; power <= number; power *= 10) digits += 1;
  let rest = number;
  for (let i = at + digits - 1; i >= at; i--) {
    const next = Math.floor(rest / 10);
    out[i] = 0x30 + rest - next * 10;
    rest = next;
  }
  return at + digits;
}
