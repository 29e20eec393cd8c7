import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { PublishReceipt } from '../../core/journal.ts';
import { Message, noDeaths } from '../../core/message.ts';
import type { Timing } from '../../core/timing.ts';
import { emptyBuffer, startsWith } from '../../lib/bytes.ts';
import type { Connection } from './connection.ts';
import { type FrameReader, ProtocolError } from './frame.ts';
import { formats, type Mark } from './message.ts';
import { ScheduledHeaders } from './scheduled.ts';
import { missingDestination } from './subscriptions.ts';
import { escapeText } from './versions.ts';

const names = {
  ack: Buffer.from('ack'),
  receipt: Buffer.from('receipt'),
  expires: Buffer.from('expires'),
  userId: Buffer.from('user-id'),
  priority: Buffer.from('priority'),
  replyTo: Buffer.from('reply-to'),
  persistent: Buffer.from('persistent'),
  expiration: Buffer.from('expiration'),
  messageId: Buffer.from('message-id'),
  destination: Buffer.from('destination'),
  transaction: Buffer.from('transaction'),
  redelivered: Buffer.from('redelivered'),
  subscription: Buffer.from('subscription'),
  contentLength: Buffer.from('content-length'),
  scheduledJobId: Buffer.from('scheduledJobId'),
};
const refusal = 'the message was refused';
const lineFeed = Buffer.from('\n');

/** SEND, of one connection: from header lines to the routes of its destination. */
export class Publisher implements PublishReceipt {
  private readonly connection: Connection;
  private readonly frame: FrameReader;
  /** Receipt ids, octets as they came, that wait for their message to be safe, by publish tag. */
  private readonly receipts = new Map<number, string>();
  private tag = 0;
  /** The publish whose frame is being read: its receipt is kept only if it is not given at once. */
  private asking = 0;
  /** SEND frames so far. */
  sent = 0;

  private lastDestination: Buffer = emptyBuffer;
  private lastRoutes: Route[] = [];

  // — of the frame being read: which header is where, −1 = nowhere; of a name that repeats the first counts ————————
  private destination = -1;
  private receipt = -1;
  private transaction = -1;
  private persistent = -1;
  private priority = -1;
  private expiration = -1;
  private expires = -1;
  private replyTo = -1;
  private userId = -1;
  private messageId = -1;
  private scheduledJobId = -1;
  private readonly scheduled = new ScheduledHeaders();
  /** When the message is to be routed; null: as it comes. */
  private timing: Timing | null = null;
  /** The headers that are the message's own lie between these, and are so many. */
  private first = -1;
  private last = -1;
  private kept = 0;

  constructor(connection: Connection, frame: FrameReader) {
    this.connection = connection;
    this.frame = frame;
  }

  get waiting(): number {
    return this.receipts.size;
  }

  onSend(chunk: Buffer): void {
    const { connection, frame } = this;
    const { version } = connection;
    this.sent += 1;
    if (frame.hasEscapes) frame.checkEscapes(version);
    if (!frame.repeats) this.sort();
    if (this.destination < 0) throw new ProtocolError('Missing destination', missingDestination('SEND'));
    if (this.messageId >= 0 && connection.dialect === 'rabbitmq') {
      throw new ProtocolError('Invalid header', "'message-id' is not allowed on 'SEND'.\n");
    }
    if (this.userId >= 0) this.checkUser(frame.value(this.userId, version));
    const replyTo = this.replyTo < 0 ? null : this.findReplyTo();
    const routes = this.routesTo(chunk);
    const transaction =
      this.transaction < 0 ? null : connection.transactions.get(frame.value(this.transaction, version));
    // [ActiveMQ] what was scheduled before is not scheduled again
    this.timing =
      this.scheduled.given && this.scheduledJobId < 0
        ? this.scheduled.findTiming(frame, version, connection.vhost.nowMs)
        : null;
    for (let i = 0; i < routes.length; i++) {
      const message = this.makeMessage(chunk, routes[i]!, replyTo);
      if (transaction !== null) transaction.publish(routes[i]!, message);
      else if (this.receipt < 0) this.publishQuietly(routes[i]!, message);
      else if (routes.length === 1) this.publishFor(routes[i]!, message);
      else if (i === 0) return this.publishToAll(chunk, routes, replyTo, frame.raw(this.receipt, version));
    }
    if (transaction === null || this.receipt < 0) return;
    const receipt = frame.raw(this.receipt, version);
    // To ActiveMQ a receipt says that the frame was taken; to RabbitMQ that the message is safe.
    if (connection.dialect === 'activemq') connection.sendReceipt(receipt);
    else transaction.receipts.push(receipt);
  }

  // What cannot be taken is an ERROR, asked for or not [STOMP 1.2 §SEND].
  private publishQuietly(route: Route, message: Message): void {
    if (this.connection.vhost.publish(route, message, null, 0) !== 'refused') return;
    throw new BrokerError('resource-limit-exceeded', refusal);
  }

  private publishFor(route: Route, message: Message): void {
    const { connection, frame } = this;
    this.tag += 1;
    const { tag } = this;
    this.asking = tag;
    connection.vhost.publish(route, message, this, tag);
    if (this.asking === 0) return;
    this.asking = 0;
    this.receipts.set(tag, frame.raw(this.receipt, connection.version));
  }

  // One receipt for a composite destination: when the message is safe in all its parts.
  private publishToAll(chunk: Buffer, routes: readonly Route[], replyTo: Buffer | null, receipt: string): void {
    this.tag += 1;
    const { tag } = this;
    this.receipts.set(tag, receipt);
    let left = routes.length;
    const each: PublishReceipt = {
      confirmed: () => {
        left -= 1;
        if (left === 0) this.confirmed(tag);
      },
      refused: (_tag, why) => this.refused(tag, why),
    };
    for (const route of routes) {
      this.connection.vhost.publish(route, this.makeMessage(chunk, route, replyTo), each, tag);
    }
  }

  /** RECEIPT: every queue has it, and it is on disk if it is persistent. */
  confirmed(tag: number): void {
    const { connection, frame } = this;
    if (tag === this.asking) {
      // its octets still lie in the chunk: a string and a place in the map would cost 150 ns
      this.asking = 0;
      connection.sendReceiptOf(
        frame.chunk,
        frame.valueAt(this.receipt, connection.version),
        frame.lineEnd[this.receipt]!,
      );
    } else {
      const receipt = this.take(tag);
      if (receipt === undefined) return;
      connection.sendReceipt(receipt);
    }
    connection.published();
  }

  refused(tag: number, why: Condition): void {
    const receipt = this.take(tag);
    if (receipt !== undefined) this.connection.fail(new BrokerError(why, refusal), receipt);
  }

  private take(tag: number): string | undefined {
    if (tag === this.asking) {
      this.asking = 0;
      return this.frame.raw(this.receipt, this.connection.version);
    }
    const receipt = this.receipts.get(tag);
    this.receipts.delete(tag);
    return receipt;
  }

  /** One pass over the headers: what the broker reads is remembered, what is only the frame's is left out. */
  private sort(): void {
    const { frame } = this;
    this.destination = this.receipt = this.transaction = this.messageId = -1;
    this.persistent = this.priority = this.expiration = this.expires = this.replyTo = this.userId = -1;
    this.scheduledJobId = -1;
    this.scheduled.reset();
    this.first = this.last = -1;
    this.kept = 0;
    for (let i = 0; i < frame.count; i++) {
      if (this.takeHeader(frame, i)) continue;
      if (this.first < 0) this.first = i;
      this.last = i;
      this.kept += 1;
    }
  }

  // True if the header is the frame's own.
  private takeHeader(frame: FrameReader, i: number): boolean {
    switch (frame.nameBytes(i)) {
      case 3:
        return frame.isName(i, names.ack);
      case 7:
        if (frame.isName(i, names.receipt)) {
          if (this.receipt < 0) this.receipt = i;
          return true;
        }
        if (this.expires < 0 && frame.isName(i, names.expires)) this.expires = i;
        else if (this.userId < 0 && frame.isName(i, names.userId)) this.userId = i;
        return false;
      case 8:
        if (this.priority < 0 && frame.isName(i, names.priority)) this.priority = i;
        else if (this.replyTo < 0 && frame.isName(i, names.replyTo)) this.replyTo = i;
        return false;
      case 10:
        if (frame.isName(i, names.messageId)) {
          this.messageId = i;
          return true;
        }
        if (this.persistent < 0 && frame.isName(i, names.persistent)) this.persistent = i;
        else if (this.expiration < 0 && frame.isName(i, names.expiration)) this.expiration = i;
        return false;
      case 11:
        if (frame.isName(i, names.destination)) {
          if (this.destination < 0) this.destination = i;
          return true;
        }
        if (frame.isName(i, names.transaction)) {
          if (this.transaction < 0) this.transaction = i;
          return true;
        }
        return frame.isName(i, names.redelivered);
      case 12:
        return frame.isName(i, names.subscription);
      case 14:
        if (this.scheduledJobId < 0 && frame.isName(i, names.scheduledJobId)) this.scheduledJobId = i;
        return frame.isName(i, names.contentLength);
      case 18:
      case 19:
      case 20:
        return this.scheduled.take(frame, i);
      default:
        return false;
    }
  }

  private makeMessage(chunk: Buffer, route: Route, replyTo: Buffer | null): Message {
    const { frame, connection } = this;
    const { version, vhost } = connection;
    let bytes = chunk;
    let nativeStart = frame.bodyStart;
    let nativeEnd = frame.bodyStart;
    let { bodyStart, bodyEnd } = frame;
    const { timing } = this;
    const jobId = timing === null ? 0 : vhost.nextSequence();
    if (replyTo !== null || jobId > 0 || (this.kept > 0 && (frame.hasCr || this.kept !== this.last - this.first + 1))) {
      const native = this.gather(chunk, replyTo, jobId);
      bytes = Buffer.concat([native, chunk.subarray(bodyStart, bodyEnd)]);
      nativeStart = 0;
      nativeEnd = native.length;
      bodyStart = native.length;
      bodyEnd = bytes.length;
    } else if (this.kept > 0) {
      // as they lie in the chunk
      nativeStart = frame.nameAt[this.first]!;
      nativeEnd = frame.lineEnd[this.last]! + 1;
    }
    const message = new Message({
      format: formats[this.mark()][version],
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: this.persistent >= 0 && frame.isTrue(this.persistent, version),
      priority: this.priority < 0 ? -1 : this.readPriority(),
      expiresAtMs: this.expiration < 0 && this.expires < 0 ? 0 : this.expiryMs(vhost.nowMs),
      qos: -1,
      retain: false,
      publisher: connection,
      deaths: noDeaths,
      bytes,
      start: nativeStart,
      end: bodyEnd,
      nativeStart,
      nativeEnd,
      bodyStart,
      bodyEnd,
    });
    if (jobId > 0) {
      message.timing = timing;
      message.sequence = jobId;
    }
    return message;
  }

  // A counted body is a bytes message to ActiveMQ, another one text; to RabbitMQ it says nothing.
  private mark(): Mark {
    if (this.connection.dialect !== 'activemq') return 'none';
    return this.frame.contentLength >= 0 ? 'bytes' : 'text';
  }

  // The lines of the message's own where others lie between them, and the reply address as others may call it.
  private gather(chunk: Buffer, replyTo: Buffer | null, jobId: number): Buffer {
    const { frame } = this;
    const parts: Buffer[] = [];
    for (let i = 0; i < frame.count; i++) {
      if (i === this.replyTo && replyTo !== null) parts.push(replyTo);
      else if (!this.takeHeader(frame, i)) {
        parts.push(chunk.subarray(frame.nameAt[i]!, frame.lineEnd[i]!), lineFeed);
      }
    }
    if (jobId > 0) parts.push(Buffer.from(`${names.scheduledJobId}:${jobId}\n`));
    return Buffer.concat(parts);
  }

  private readPriority(): number {
    const { frame, connection } = this;
    const priority = frame.integer(this.priority, connection.version);
    if (priority >= 0) return Math.min(priority, 255);
    const text = frame.value(this.priority, connection.version);
    if (/^ *-?\d+ *$/.test(text)) return Math.max(Math.min(Number(text), 255), -1);
    throw new ProtocolError('Invalid header', `'priority' must be a number: '${text}'`);
  }

  private expiryMs(nowMs: number): number {
    const { frame, connection } = this;
    const ttlMs = this.expiration < 0 ? -1 : frame.integer(this.expiration, connection.version);
    if (ttlMs >= 0) return nowMs + ttlMs;
    // a header like any other to ActiveMQ
    if (this.expiration >= 0 && connection.dialect !== 'activemq') {
      const text = frame.value(this.expiration, connection.version);
      throw new BrokerError('precondition-failed', `invalid expiration '${text}': no_integer`);
    }
    return this.expires < 0 ? 0 : Math.max(frame.integer(this.expires, connection.version), 0);
  }

  private checkUser(user: string): void {
    if (user === this.connection.user) return;
    throw new BrokerError(
      'precondition-failed',
      `user_id property set to '${user}' but authenticated user was '${this.connection.user}'`,
    );
  }

  private findReplyTo(): Buffer | null {
    const { connection, frame } = this;
    const found = connection.endpoints.findReplyTo(frame.value(this.replyTo, connection.version));
    if (found === null) return null;
    if (found.queue !== null) connection.subscriptions.subscribeReplies(found.queue, found.name);
    return Buffer.from(`reply-to:${escapeText(found.shown, connection.version)}\n`, 'utf8');
  }

  private routesTo(chunk: Buffer): readonly Route[] {
    const { frame, connection } = this;
    const { vhost, version } = connection;
    const start = frame.valueAt(this.destination, version);
    const length = frame.lineEnd[this.destination]! - start;
    const routes = this.lastRoutes;
    if (
      frame.repeats ||
      (length === this.lastDestination.length && startsWith(chunk, start, this.lastDestination, length))
    ) {
      let current = routes.length > 0;
      for (let i = 0; i < routes.length && current; i++) current = vhost.current(routes[i]!);
      if (current) return routes;
    }
    const headers = frame.headers(version);
    const parsed = connection.endpoints.parse(frame.value(this.destination, version));
    // a queue that one part declares may change the way of another: all are declared before any is asked for
    if (parsed.length > 1) for (const destination of parsed) connection.endpoints.routeTo(destination, headers);
    const found = parsed.map((destination) => connection.endpoints.routeTo(destination, headers));
    // an alias of a reply address is asked for anew each time: it may be gone
    this.lastRoutes = found.some(({ isReply }) => isReply) ? [] : found;
    this.lastDestination = Buffer.from(chunk.subarray(start, start + length));
    return found;
  }
}
