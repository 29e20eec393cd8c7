import type { Client } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import { countLoss } from '../../core/losses.ts';
import type { Message } from '../../core/message.ts';
import { type Headers, noHeaders } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Consumer, Queue } from '../../core/queue/queue.ts';
import { emptyBuffer } from '../../lib/bytes.ts';
import { longFrom } from '../../transport/stream.ts';
import { AmqpError, ErrorCondition, wireCondition } from './errors.ts';
import { FrameType } from './frame.ts';
import { suspensionKey } from './incoming-link.ts';
import type { Link } from './link.ts';
import { amqp10Format } from './message.ts';
import { accepted, applyOutcome, isTerminal } from './outcome.ts';
import { AddressAnnotations, Payload } from './payload.ts';
import { type Composite, codeOf, encodePerformative, toComposite, type Values } from './performatives.ts';
import type { Session } from './session.ts';
import type { SourceNode } from './source.ts';
import { type SuspendedLink, unsettledMap } from './suspended.ts';
import type { OpenTransaction } from './transactions.ts';
import { type Any, Described, integerOf } from './types.ts';

/** Entries that one look at a queue shows a browser. */
const browseCount = 100;

const payload = new Payload();

/** A copy for a browser is nobody's delivery. */
/** The longest header. */
const whole = { redelivered: true, deliveryCount: 1 };

const copied = { redelivered: false, deliveryCount: 0 };

/**
 * The broker sends, the peer receives: what the queue hands over leaves as a transfer, from a template.
 *
 *     │ size │ 2 0 channel │ 00 53 14 c0 size 5 │ 70 handle │ 70 delivery │ a0 4 tag │ 43 │ settled │ message …
 */
export class OutgoingLink implements Link, Consumer {
  readonly session: Session;
  readonly name: string;
  readonly handle: number;
  readonly isSender = true;
  /** What is sent is settled by that, unless a transaction acquires it. */
  settles: boolean;
  readonly exclusive = false;
  readonly priority: number;
  readonly client: Client;
  readonly tag: string;
  readonly channel: number;
  readonly arguments: Headers = noHeaders;
  readonly queue: Queue;
  readonly selector: ((message: Message) => boolean) | null;
  readonly defaultOutcome: Composite | null;
  readonly filterKey: string;
  open = true;
  /** Credit that the peer gave last. */
  prefetch = 0;

  private readonly source: SourceNode;
  private readonly attach: Values<'attach'>;
  private readonly resumed: SuspendedLink | null;
  /** What is dropped instead of sent: the queue is the link's own. */
  private readonly drops: ((message: Message) => boolean) | null;
  private readonly messageBytesMax: number;
  private readonly preSettled: boolean;
  /** What is sent is acquired in it [§4.4.3]. */
  private acquiring: OpenTransaction | null = null;
  private started = false;
  private creditLeft = 0;
  private deliveryCount = 0;
  private drains = false;
  private unsettled = 0;
  private readonly head: Buffer;
  private readonly address = new AddressAnnotations();
  /** Of a browser: what it saw last. */
  private seen: QueueEntry | null = null;
  /** A look is under way; again: more came meanwhile. */
  private browsing: 'no' | 'yes' | 'again' = 'no';
  private readonly onArrived = (): void => this.wake();

  constructor(session: Session, attach: Values<'attach'>, source: SourceNode, resumed: SuspendedLink | null) {
    this.session = session;
    this.name = attach.name;
    this.handle = attach.handle;
    this.attach = attach;
    this.source = source;
    this.resumed = resumed;
    this.queue = source.queue;
    this.preSettled = attach.sndSettleMode === 1;
    this.settles = this.preSettled;
    this.priority = integerOf(attach.properties?.get('rabbitmq:priority')) ?? 0;
    this.client = session.connection;
    this.tag = attach.name;
    this.channel = session.channel;
    this.selector = source.isOwn ? null : source.predicate;
    this.drops = source.isOwn ? source.predicate : null;
    this.defaultOutcome = source.defaultOutcome;
    this.filterKey = source.filterKey;
    this.messageBytesMax =
      attach.maxMessageSize === undefined || attach.maxMessageSize === 0 ? Infinity : attach.maxMessageSize;
    this.head = Buffer.alloc(headBytes);
    this.head[4] = 2;
    this.head[5] = FrameType.amqp;
    this.head.writeUInt16BE(session.channel, 6);
    this.head.set([0, 0x53, codeOf('transfer'), 0xc0, headBytes - 13, 5, 0x70], 8);
    this.head.writeUInt32BE(this.handle, 15);
    this.head[19] = 0x70;
    this.head[24] = 0xa0;
    this.head[25] = 4;
    this.head[30] = 0x43;
    this.head[31] = this.preSettled ? 0x41 : 0x42;
  }

  get ready(): boolean {
    return this.started && this.creditLeft > 0 && this.session.hasRoom;
  }

  start(): void {
    const { attach, session, source, resumed } = this;
    const states = new Map([...(resumed?.entries.keys() ?? [])].map((tag) => [tag, null]));
    const unsettled = unsettledMap(states, session.connection.frameMax);
    session.connection.send(session.channel, 'attach', {
      name: this.name,
      handle: this.handle,
      role: false,
      sndSettleMode: this.preSettled ? 1 : 0,
      rcvSettleMode: attach.rcvSettleMode ?? 0,
      source: source.shown,
      ...(attach.target === undefined ? {} : { target: attach.target }),
      ...(unsettled === null ? {} : { unsettled: unsettled.map, incompleteUnsettled: unsettled.incomplete }),
      initialDeliveryCount: 0,
      ...(attach.maxMessageSize === undefined ? {} : { maxMessageSize: attach.maxMessageSize }),
      ...(attach.properties === undefined ? {} : { properties: attach.properties }),
    });
    const said = unsettled?.incomplete === true ? new Set(unsettled.map.pairs.map(([tag]) => tagText(tag))) : null;
    if (resumed !== null) this.resume(resumed, said);
    // [§2.7.3] while either does not say all that is unsettled deliveries are resumed, and no new ones sent
    if (attach.incompleteUnsettled === true || said !== null) return;
    this.started = true;
    if (source.copies) this.queue.watch(this.onArrived);
    this.wake();
  }

  // [§2.6.13] What the peer has an outcome for is settled with it; anything else begins anew, or waits for what the peer
  // has not said yet, or is not told (null: all of it is).
  private resume({ entries }: SuspendedLink, said: ReadonlySet<string> | null): void {
    const { unsettled, incompleteUnsettled } = this.attach;
    const theirs = new Map((unsettled?.pairs ?? []).map(([tag, state]) => [tagText(tag), state]));
    const unsaid = new Map<string, QueueEntry>();
    for (const [tag, entry] of entries) {
      if ((incompleteUnsettled === true && !theirs.has(tag)) || (said !== null && !said.has(tag))) {
        unsaid.set(tag, entry);
        continue;
      }
      const described = theirs.get(tag);
      const state = described instanceof Described ? toComposite(described) : null;
      entry.consumer = this;
      this.unsettled += 1;
      if (theirs.has(tag)) this.sendResumed(Buffer.from(tag, 'latin1'), state);
      if (isTerminal(state)) applyOutcome(entry, state);
      else {
        this.settledOne();
        entry.redelivered = true;
        entry.release();
      }
    }
    if (unsaid.size > 0) this.keep(unsaid);
  }

  private sendResumed(deliveryTag: Buffer, state: Composite | null): void {
    const isDone = state !== null && isTerminal(state);
    const { connection, channel } = this.session;
    connection.send(channel, 'transfer', {
      handle: this.handle,
      deliveryId: this.session.nextDelivery(null) >>> 0,
      deliveryTag,
      messageFormat: 0,
      settled: true,
      ...(isDone ? { state } : {}),
      resume: true,
      ...(isDone ? {} : { aborted: true }),
    });
    this.session.sent();
  }

  // — credit ——————————————————————————————————————————————————————————————————————————————————————————————————————

  onFlow(flow: Values<'flow'>): void {
    this.acquireIn(flow.properties?.get('txn-id') ?? null);
    if (flow.linkCredit !== undefined) {
      // [§2.6.7] what is under way uses up what the receiver thinks it gave
      const left = (((flow.deliveryCount ?? 0) + flow.linkCredit) | 0) - (this.deliveryCount | 0);
      this.creditLeft = Math.max(0, left | 0);
      this.prefetch = flow.linkCredit;
      this.drains = flow.drain ?? false;
    }
    this.wake();
    if (flow.echo === true && !this.drains) this.tellCredit(false);
  }

  // [§4.4.3] Each flow says whether what is sent from now on is acquired in a transaction, and in which.
  private acquireIn(txnId: Any): void {
    if (txnId === null) return this.acquireFor(null);
    if (!Buffer.isBuffer(txnId))
      throw new AmqpError(ErrorCondition.invalidField, 'link', 'txn-id is not of type binary');
    if (this.source.copies) throw new AmqpError(ErrorCondition.notImplemented, 'link', 'a browser acquires nothing');
    const transaction = this.session.connection.transactions.get(txnId);
    transaction.acquirers.add(this);
    this.acquireFor(transaction);
  }

  private acquireFor(transaction: OpenTransaction | null): void {
    this.acquiring = transaction;
    this.settles = this.preSettled && transaction === null;
  }

  /** The transaction is discharged: with it goes what is not settled, if it failed. */
  discharged(transaction: OpenTransaction, failed: boolean): void {
    if (this.acquiring === transaction) this.acquireFor(null);
    this.session.discharged(transaction, failed);
  }

  /** There is credit, or room again. */
  wake(): void {
    if (!this.started) return;
    if (this.source.copies) this.browse();
    else {
      if (this.drains) this.drain();
      else this.queue.wake();
    }
  }

  // What is ready and not in memory is read back first.
  private drain(): void {
    const served = this.queue.serve();
    if (served instanceof Promise) void served.then(() => this.endDrain());
    else this.endDrain();
  }

  // Everything that there was is sent: the rest of the credit is used up.
  private endDrain(): void {
    if (!this.open || !this.drains || (this.creditLeft > 0 && !this.session.hasRoom)) return;
    this.drains = false;
    this.deliveryCount = (this.deliveryCount + this.creditLeft) >>> 0;
    this.creditLeft = 0;
    this.tellCredit(true);
  }

  private tellCredit(drain: boolean): void {
    this.session.sendFlow({
      handle: this.handle,
      deliveryCount: this.deliveryCount,
      linkCredit: this.creditLeft,
      available: this.queue.counts.ready,
      drain,
    });
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  deliver(entry: QueueEntry): void {
    const { message } = entry;
    if (this.drops !== null && !this.drops(message)) {
      if (!this.settles) entry.ack();
      return;
    }
    if (!this.send(message, entry, this.preSettled ? null : entry)) {
      if (!this.settles) entry.reject();
      return;
    }
    if (this.settles) return;
    this.unsettled += 1;
    if (this.preSettled) this.acquiring?.settle(entry, accepted);
  }

  get rejectsLosses(): boolean {
    return this.session.connection.options.rejectsLosses;
  }

  represents(message: Message): boolean {
    const isWhole = message.isWholeAs(amqp10Format);
    if (this.messageBytesMax === Infinity) return isWhole;
    const { nowMs } = this.session.connection.vhost;
    if (payload.prepare(message, whole, this.address, nowMs) <= this.messageBytesMax) return isWhole;
    countLoss(message, amqp10Format, 'size');
    return false;
  }

  /** @returns false when the message is larger than the peer takes: it is not sent */
  private send(
    message: Message,
    facts: { redelivered: boolean; deliveryCount: number },
    entry: QueueEntry | null,
  ): boolean {
    const { session, address, head } = this;
    const { connection } = session;
    if (message.exchange !== address.exchange || message.routingKey !== address.routingKey) {
      address.set(message.exchange, message.routingKey);
    }
    const bytes = payload.prepare(message, facts, address, connection.vhost.nowMs);
    if (bytes > this.messageBytesMax) {
      connection.door.log.info(
        { peer: connection.peer, link: this.name, bytes },
        'amqp10: message is too large for its receiver',
      );
      countLoss(message, amqp10Format, 'size');
      return false;
    }
    this.creditLeft -= 1;
    this.deliveryCount = (this.deliveryCount + 1) >>> 0;
    const delivery = session.nextDelivery(entry);
    const { acquiring } = this;
    if (acquiring !== null || headBytes + bytes > connection.frameMax) {
      if (acquiring !== null && entry !== null) session.acquired.set(delivery, acquiring);
      this.sendInParts(delivery, bytes);
      return true;
    }
    const size = headBytes + bytes;
    const longBytes = payload.bodyBytes >= longFrom ? payload.bodyBytes : 0;
    const { stream } = connection;
    let at = stream.reserve(size - longBytes);
    const { out } = stream;
    head.copy(out, at);
    out.writeUInt32BE(size, at);
    out.writeUInt32BE(delivery >>> 0, at + 20);
    out.writeUInt32BE(delivery >>> 0, at + 26);
    at += headBytes;
    if (longBytes === 0) payload.write(out, at);
    else payload.writeHead(out, at);
    stream.advance(size - longBytes);
    if (longBytes > 0) stream.writeRange(message.bytes, message.bodyStart, message.bodyEnd, emptyBuffer);
    session.sent();
    return true;
  }

  private sendInParts(delivery: number, bytes: number): void {
    const content = Buffer.allocUnsafe(bytes);
    payload.write(content, 0);
    const deliveryTag = Buffer.alloc(4);
    deliveryTag.writeUInt32BE(delivery >>> 0);
    const state: Composite | undefined =
      this.acquiring === null ? undefined : { is: 'transactionalState', txnId: this.acquiring.id };
    this.session.sendInFrames(
      this.handle,
      (more, isFirst) =>
        encodePerformative('transfer', {
          handle: this.handle,
          deliveryId: delivery >>> 0,
          ...(isFirst ? { deliveryTag, messageFormat: 0, settled: this.preSettled } : {}),
          more,
          ...(isFirst ? { state } : {}),
        }),
      content,
    );
  }

  /** A delivery of the link is settled. */
  settledOne(): void {
    this.unsettled -= 1;
  }

  // — browsing ————————————————————————————————————————————————————————————————————————————————————————————————————

  // The next look begins behind what was seen last.
  private browse(): void {
    if (this.browsing !== 'no') {
      this.browsing = 'again';
      return;
    }
    if (!this.ready) return this.endDrain();
    this.browsing = 'yes';
    const { connection } = this.session;
    connection.settled(this.queue.browse(this.seen, browseCount), this.session, (entries) => {
      const more = this.browsing === 'again' || entries.length === browseCount;
      this.browsing = 'no';
      this.show(entries, more);
    });
  }

  private show(entries: readonly QueueEntry[], more: boolean): void {
    const { predicate } = this.source;
    for (const entry of entries) {
      const { message } = entry;
      if (!this.ready) break;
      this.seen = entry;
      if (predicate === null || predicate(message)) this.send(message, copied, null);
    }
    if (this.open && this.ready && more) this.browse();
    else this.endDrain();
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  /** The queue is gone. */
  cancelled(why: Condition): void {
    if (!this.open) return;
    const text = `queue '${this.queue.name}' in vhost '${this.session.connection.vhost.name}' is gone`;
    this.session.failLink(this, new AmqpError(wireCondition(why), 'link', text));
  }

  detached(closed: boolean): void {
    this.open = false;
    this.started = false;
    if (this.source.copies) this.queue.unwatch(this.onArrived);
    else this.queue.detach(this);
    const { timeoutMs } = this.source;
    if (!closed && timeoutMs > 0 && this.unsettled > 0) this.suspend();
    else {
      this.session.takeBack(this, (entry) => applyOutcome(entry, null));
    }
    this.source.release(closed);
  }

  private suspend(): void {
    const entries = new Map<string, QueueEntry>();
    this.session.takeBack(this, (entry, delivery) => {
      const tag = Buffer.alloc(4);
      tag.writeUInt32BE(delivery >>> 0);
      entries.set(tag.toString('latin1'), entry);
    });
    this.keep(entries);
  }

  private keep(entries: Map<string, QueueEntry>): void {
    const { door } = this.session.connection;
    const key = suspensionKey(this.session, this.name, true);
    door.suspended.keep(key, { entries, outcomes: new Map() }, door.broker.nowMs + this.source.timeoutMs);
  }
}

/** Frame and transfer up to the message. */
const headBytes = 32;

function tagText(tag: Any): string {
  return Buffer.isBuffer(tag) ? tag.toString('latin1') : '';
}
