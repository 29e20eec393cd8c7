import { type ChannelView, noCounts } from '../../core/client.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { attachLink } from './attach.ts';
import type { Connection } from './connection.ts';
import { AmqpError, ErrorCondition, toAmqpError } from './errors.ts';
import { encodeFrame, frameHeadBytes } from './frame.ts';
import { IncomingLink } from './incoming-link.ts';
import type { Link } from './link.ts';
import { accepted, applyOutcome, isTerminal, released } from './outcome.ts';
import { OutgoingLink } from './outgoing-link.ts';
import type { Composite, ErrorValues, Values } from './performatives.ts';
import type { OpenTransaction } from './transactions.ts';
import { Disposition, OutcomeCode, Transfer } from './transfer.ts';
import { Unsettled } from './unsettled.ts';

type State = 'open' | 'ending';

/** Transfers that the peer may send ahead. */
const incomingWindowMax = 4096;
const handleMax = 1023;

const transfer = new Transfer();
const disposition = new Disposition();

/** A run of deliveries with one outcome, to leave as one disposition. */
interface Run {
  first: number;
  last: number;
  state: Composite;
  settled: boolean;
}

/** A session: its links by handle, the windows of both directions, and what was sent and is not settled. */
export class Session {
  readonly connection: Connection;
  readonly channel: number;
  readonly links = new Map<number, Link>();
  readonly unsettled = new Unsettled();
  /** Of the unsettled: those that a transaction acquired [§4.4.3]. */
  readonly acquired = new Map<number, OpenTransaction>();
  published = 0;
  private delivered = 0;
  private deliveredSettled = 0;

  private state: State = 'open';
  /** Transfers: what comes next, and how many may. */
  private nextIncomingId: number;
  private incomingWindow = incomingWindowMax;
  /** Transfers of ours: the next one's id, and how many the peer has room for. */
  private nextOutgoingId = 0;
  private remoteWindow: number;
  /** Deliveries of ours so far. */
  private lastDelivery = -1;
  /** Deliveries of the peer: the last one's number, of which the wire has the lower 32 bits. */
  private lastIncoming = -1;
  private run: Run | null = null;
  private readonly runs: Run[] = [];
  private readonly toGrant = new Set<IncomingLink>();
  private owesFlow = false;
  /** Frames of a delivery that the window has no room for, the next one first. */
  private pending: { readonly handle: number; readonly frame: Buffer }[] = [];
  private lastLink: IncomingLink | null = null;
  private readonly remoteHandleMax: number;

  constructor(connection: Connection, channel: number, begin: Values<'begin'>) {
    this.connection = connection;
    this.channel = channel;
    this.nextIncomingId = begin.nextOutgoingId;
    this.remoteWindow = begin.incomingWindow;
    this.remoteHandleMax = Math.min(begin.handleMax ?? handleMax, handleMax);
  }

  get open(): boolean {
    return this.state === 'open';
  }

  /** There is room for a transfer, in the peer's window and in the outbox. */
  get hasRoom(): boolean {
    const { connection } = this;
    return (
      this.remoteWindow > 0 && this.pending.length === 0 && !connection.stream.blocked && this.open && connection.open
    );
  }

  start(): void {
    this.connection.send(this.channel, 'begin', {
      remoteChannel: this.channel,
      nextOutgoingId: this.nextOutgoingId,
      incomingWindow: this.incomingWindow,
      outgoingWindow: 0xffff_ffff,
      handleMax,
    });
  }

  // — transfers in ————————————————————————————————————————————————————————————————————————————————————————————————

  onTransfer(chunk: Buffer, at: number, end: number): void {
    const payloadAt = transfer.read(chunk, at, end);
    this.nextIncomingId = (this.nextIncomingId + 1) >>> 0;
    this.incomingWindow -= 1;
    if (this.incomingWindow < 0) {
      throw new AmqpError(ErrorCondition.windowViolation, 'session', 'incoming window violation');
    }
    if (this.incomingWindow <= incomingWindowMax / 2) this.openWindow();
    let link = this.lastLink;
    if (link === null || link.handle !== transfer.handle) {
      const found = this.links.get(transfer.handle);
      if (!(found instanceof IncomingLink)) throw this.unattached(transfer.handle);
      link = found;
      this.lastLink = link;
    }
    if (!link.open) return; // [§2.6.5] detached with an error: what was under way is discarded
    try {
      link.onTransfer(transfer, chunk, payloadAt, end);
    } catch (error) {
      this.failLink(link, error);
    }
  }

  /** The number of a delivery from its id on the wire. */
  incomingNumber(id: number): number {
    const last = this.lastIncoming;
    if (last < 0) {
      this.lastIncoming = id;
      return id;
    }
    const number = last + ((id - last) | 0);
    if (number > last) this.lastIncoming = number;
    return number;
  }

  private openWindow(): void {
    this.incomingWindow = incomingWindowMax;
    this.owesFlow = true;
    this.connection.flushLater(this);
  }

  /** The outcome of a delivery of the peer's; those of a turn leave together. */
  answer(delivery: number, state: Composite, settled: boolean): void {
    const { run } = this;
    if (run === null) this.connection.flushLater(this);
    else if (delivery === run.last + 1 && state === run.state && settled === run.settled) {
      run.last = delivery;
      return;
    } else this.runs.push(run);
    this.run = { first: delivery, last: delivery, state, settled };
  }

  /** The link may have credit to grant. */
  grantLater(link: IncomingLink): void {
    this.toGrant.add(link);
    this.connection.flushLater(this);
  }

  get consumes(): boolean {
    for (const link of this.links.values()) if (link instanceof OutgoingLink) return true;
    return false;
  }

  /** The alarm is over: senders go on. */
  grantCredit(): void {
    for (const link of this.links.values()) if (link instanceof IncomingLink) link.grant();
  }

  flush(): void {
    this.flushAnswers();
    if (this.toGrant.size > 0) {
      for (const link of this.toGrant) if (link.open) this.sendFlow({ handle: link.handle, ...link.credit() });
      this.toGrant.clear();
    } else if (this.owesFlow) this.sendFlow({});
    this.owesFlow = false;
  }

  private flushAnswers(): void {
    if (this.run === null) return;
    this.runs.push(this.run);
    this.run = null;
    for (const { first, last, state, settled } of this.runs) this.dispose(false, first, last, settled, state);
    this.runs.length = 0;
  }

  private dispose(asSender: boolean, first: number, last: number, settled: boolean, state: Composite | null): void {
    const { stream } = this.connection;
    if (state === accepted && settled) {
      const at = stream.reserve(acceptedBytes);
      const { out } = stream;
      acceptedFrame.copy(out, at);
      out.writeUInt16BE(this.channel, at + 6);
      out[at + 14] = asSender ? 0x42 : 0x41;
      out.writeUInt32BE(first >>> 0, at + 16);
      out.writeUInt32BE(last >>> 0, at + 21);
      stream.advance(acceptedBytes);
      return;
    }
    this.connection.send(this.channel, 'disposition', {
      role: !asSender,
      first: first >>> 0,
      ...(last === first ? {} : { last: last >>> 0 }),
      settled,
      ...(state === null ? {} : { state }),
    });
  }

  sendFlow(link: Partial<Values<'flow'>>): void {
    this.connection.send(this.channel, 'flow', {
      nextIncomingId: this.nextIncomingId,
      incomingWindow: this.incomingWindow,
      nextOutgoingId: this.nextOutgoingId,
      outgoingWindow: 0xffff_ffff,
      ...link,
    });
  }

  // — transfers out ———————————————————————————————————————————————————————————————————————————————————————————————

  /** @param entry null: it is settled by being sent. @returns the number of the delivery */
  nextDelivery(entry: QueueEntry | null): number {
    this.lastDelivery += 1;
    if (entry === null) this.deliveredSettled += 1;
    else {
      this.delivered += 1;
      this.unsettled.add(this.lastDelivery, entry);
    }
    return this.lastDelivery;
  }

  /** A transfer was written. */
  sent(): void {
    this.nextOutgoingId = (this.nextOutgoingId + 1) >>> 0;
    this.remoteWindow -= 1;
  }

  /**
   * A delivery in frames of the size that the peer takes, sent as its window has room for them: nothing overtakes them.
   * @param transfer the performative: the first says what the delivery is, the others go on with it
   */
  sendInFrames(handle: number, transfer: (more: boolean, isFirst: boolean) => Buffer, content: Buffer): void {
    const { frameMax } = this.connection;
    for (let at = 0; at < content.length; ) {
      const room = frameMax - frameHeadBytes - transfer(true, at === 0).length;
      const end = Math.min(at + room, content.length);
      const performative = transfer(end < content.length, at === 0);
      const frame = Buffer.alloc(frameHeadBytes + performative.length + end - at);
      frame.writeUInt32BE(frame.length);
      frame[4] = 2;
      frame.writeUInt16BE(this.channel, 6);
      performative.copy(frame, frameHeadBytes);
      content.copy(frame, frameHeadBytes + performative.length, at, end);
      this.pending.push({ handle, frame });
      at = end;
    }
    this.sendPending();
  }

  private sendPending(): void {
    while (this.pending.length > 0 && this.remoteWindow > 0) {
      this.connection.stream.write(this.pending.shift()!.frame);
      this.sent();
    }
  }

  // The rest of what a link was sending when it was detached: its handle may be another's soon.
  private dropPending(handle: number): void {
    if (this.pending.length === 0) return;
    this.pending = this.pending.filter((each) => each.handle !== handle);
    this.onRoom();
  }

  /** The outbox, or the peer's window, has room again. */
  onRoom(): void {
    this.sendPending();
    if (!this.hasRoom) return;
    for (const link of this.links.values()) if (link instanceof OutgoingLink) link.wake();
  }

  onFlow(flow: Values<'flow'>): void {
    // [§2.5.6] what is under way counts against the window; before the peer knows our begin it says nothing
    const next = flow.nextIncomingId ?? 0;
    const wasFull = this.remoteWindow === 0;
    this.remoteWindow = Math.max(0, ((next - this.nextOutgoingId) | 0) + flow.incomingWindow);
    this.sendPending();
    if (flow.handle === undefined) {
      this.onRoom();
      if (flow.echo === true) this.sendFlow({});
      return;
    }
    const link = this.links.get(flow.handle);
    if (link === undefined) throw this.unattached(flow.handle);
    if (!link.open) return;
    try {
      link.onFlow(flow);
    } catch (error) {
      this.failLink(link, error);
    }
    if (wasFull) this.onRoom(); // the others waited for the window, too
  }

  // — settlement ——————————————————————————————————————————————————————————————————————————————————————————————————

  onDisposition(chunk: Buffer, at: number, end: number): void {
    disposition.read(chunk, at, end);
    const { settled, plainOutcome } = disposition;
    if (!disposition.isReceiver) return this.onSenderDisposition();
    const last = this.lastDelivery;
    if (last < 0) return;
    const first = last + ((disposition.first - last) | 0);
    const until = Math.min(first + ((disposition.last - disposition.first) >>> 0), last);
    if (this.acquired.size > 0) this.retire(first, until, settled, disposition.state);
    else if (plainOutcome === OutcomeCode.accepted) {
      this.unsettled.takeRange(first, until, accept);
    } else {
      const state = disposition.state;
      if (state !== null && state.is === 'transactionalState') {
        const transaction = this.connection.transactions.get(state.txnId);
        this.unsettled.takeRange(first, until, (entry) => transaction.settle(entry, state.outcome ?? accepted));
      } else if (settled || isTerminal(state)) {
        this.unsettled.takeRange(first, until, (entry) => applyOutcome(entry, state));
      } else return;
    }
    if (!settled) this.settleSecond(first, until, disposition.state);
  }

  // What a transaction acquired is retired in it, whatever else is settled beside it.
  private retire(first: number, until: number, settled: boolean, state: Composite | null): void {
    const named = state?.is === 'transactionalState' ? this.connection.transactions.get(state.txnId) : null;
    const outcome = state?.is === 'transactionalState' ? (state.outcome ?? accepted) : state;
    if (named === null && !settled && !isTerminal(outcome)) return;
    this.unsettled.takeRange(first, until, (entry, delivery) => {
      const transaction = named ?? this.acquired.get(delivery);
      this.acquired.delete(delivery);
      if (transaction === undefined) applyOutcome(entry, outcome);
      else transaction.settle(entry, isTerminal(outcome) ? outcome! : released);
    });
  }

  /** What the transaction acquired and its receiver has not settled is the receiver's from now on, or the queue's again. */
  discharged(transaction: OpenTransaction, failed: boolean): void {
    for (const [delivery, acquirer] of this.acquired) {
      if (acquirer !== transaction) continue;
      this.acquired.delete(delivery);
      if (!failed) continue;
      this.unsettled.takeRange(delivery, delivery, (entry) => {
        applyOutcome(entry, released);
        if (this.open) this.dispose(true, delivery, delivery, true, released);
      });
    }
  }

  // The receiver settles second [§2.6.12]: it hears from us when what it said cannot be lost any longer.
  private settleSecond(first: number, last: number, state: Composite | null): void {
    const { journal } = this.connection.door.broker;
    journal.whenDurable(journal.position, () => {
      if (this.open) this.dispose(true, first, last, true, state);
    });
  }

  // What the peer sent and has now settled, after us.
  private onSenderDisposition(): void {
    if (!disposition.settled || this.lastIncoming < 0) return;
    const first = this.lastIncoming + ((disposition.first - this.lastIncoming) | 0);
    const last = Math.min(first + ((disposition.last - disposition.first) >>> 0), this.lastIncoming);
    for (const link of this.links.values()) if (link instanceof IncomingLink) link.forget(first, last);
  }

  /** Takes back what a link was given and the peer has not settled. */
  takeBack(link: OutgoingLink, take: (entry: QueueEntry, delivery: number) => void): void {
    this.unsettled.takeAll(link, take);
  }

  // — links ———————————————————————————————————————————————————————————————————————————————————————————————————————

  onAttach(attach: Values<'attach'>): void {
    const { handle } = attach;
    if (this.links.has(handle)) {
      throw new AmqpError(ErrorCondition.handleInUse, 'session', `handle ${handle} is in use`);
    }
    if (handle > this.remoteHandleMax) {
      throw new AmqpError(ErrorCondition.framingError, 'connection', `handle ${handle} is above handle-max`);
    }
    if (attach.unsettled !== undefined) this.steal(attach);
    const { journal } = this.connection.door.broker;
    const before = journal.position;
    try {
      attachLink(this, attach, (link) => {
        this.links.set(handle, link);
        this.connection.whenDurable(before, () => link.start());
      });
    } catch (error) {
      const known = toAmqpError(error);
      if (known.scope !== 'link') throw error;
      this.refuse(attach, known);
    }
  }

  // [§2.6.1] Who goes on with a link of the name takes it over. Others may have its name, as RabbitMQ lets it.
  private steal({ name, role }: Values<'attach'>): void {
    for (const other of this.links.values()) {
      if (other.name !== name || other.isSender !== role || !other.open) continue;
      this.failLink(other, new AmqpError(ErrorCondition.stolen, 'link', 'attached again'));
    }
  }

  /** [§2.6.3] A link that cannot be is attached without its terminus, and detached. */
  refuse(attach: Values<'attach'>, { condition, message }: AmqpError): void {
    this.connection.door.log.info(
      { peer: this.connection.peer, link: attach.name, condition, reason: message },
      'amqp10: link refused',
    );
    const { name, handle, role, source, target } = attach;
    // our own terminus is what is missing: as the sender the source, as the receiver the target
    const other = role ? { target } : { source };
    this.connection.send(this.channel, 'attach', {
      name,
      handle,
      role: !role,
      ...other,
      ...(role ? { initialDeliveryCount: 0 } : {}),
    });
    this.connection.send(this.channel, 'detach', { handle, closed: true, error: { condition, description: message } });
    this.links.set(handle, new Refused(this, name, handle, role));
  }

  onDetach(detach: Values<'detach'>): void {
    const link = this.links.get(detach.handle);
    if (link === undefined) throw this.unattached(detach.handle);
    this.links.delete(detach.handle);
    if (this.lastLink === link) this.lastLink = null;
    if (!link.open) return; // it answers ours
    this.flushAnswers();
    const { journal } = this.connection.door.broker;
    const before = journal.position;
    link.detached(detach.closed ?? false);
    this.dropPending(link.handle);
    this.connection.whenDurable(before, () =>
      this.connection.send(this.channel, 'detach', { handle: detach.handle, closed: detach.closed ?? false }),
    );
  }

  /** The link dies of an error of its own; one of a wider scope goes on to its scope. */
  failLink(link: Link, error: unknown): void {
    const known = toAmqpError(error);
    if (known.scope !== 'link') throw error;
    const { condition, message } = known;
    this.connection.door.log.info(
      { peer: this.connection.peer, link: link.name, condition, reason: message },
      'amqp10: link detached',
    );
    this.flushAnswers();
    link.detached(true);
    this.dropPending(link.handle);
    this.connection.send(this.channel, 'detach', {
      handle: link.handle,
      closed: true,
      error: { condition, description: message },
    });
  }

  private unattached(handle: number): AmqpError {
    return new AmqpError(ErrorCondition.unattachedHandle, 'session', `unattached link handle: ${handle}`);
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Ends it because of an error; the peer's end is awaited. */
  end(error: ErrorValues): void {
    this.flush();
    this.connection.send(this.channel, 'end', { error });
    this.gone();
  }

  /** Gives up its links, and what was not settled goes back. */
  gone(): void {
    this.state = 'ending';
    for (const link of this.links.values()) if (link.open) link.detached(false);
    this.links.clear();
    this.pending = [];
    this.unsettled.takeAll(null, (entry) => applyOutcome(entry, null));
    this.acquired.clear();
  }

  describe(): ChannelView {
    let consumers = 0;
    let unconfirmed = 0;
    let prefetch = 0;
    for (const link of this.links.values()) {
      if (link instanceof OutgoingLink) {
        consumers += 1;
        prefetch = Math.max(prefetch, link.prefetch);
      } else if (link instanceof IncomingLink) unconfirmed += link.unconfirmed;
    }
    return {
      number: this.channel,
      state: this.open ? 'running' : 'closing',
      consumers,
      unacked: this.unsettled.count,
      unconfirmed,
      prefetch,
      globalPrefetch: 0,
      confirms: true,
      transactional: this.connection.transactions.count > 0,
      uncommittedMessages: this.connection.transactions.publishes,
      uncommittedAcks: this.connection.transactions.settlements,
      counts: {
        ...noCounts,
        published: this.published,
        delivered: this.delivered,
        deliveredSettled: this.deliveredSettled,
      },
    };
  }
}

/** A link that was refused: its handle is the peer's until it answers the detach. */
class Refused implements Link {
  readonly session: Session;
  readonly name: string;
  readonly handle: number;
  readonly isSender: boolean;
  readonly open = false;

  constructor(session: Session, name: string, handle: number, isSender: boolean) {
    this.session = session;
    this.name = name;
    this.handle = handle;
    this.isSender = isSender;
  }

  start(): void {}
  onFlow(): void {}
  detached(): void {}
}

function accept(entry: QueueEntry): void {
  (entry.consumer as OutgoingLink | null)?.settledOne();
  entry.ack();
}

/** disposition │ role │ first │ last │ settled │ accepted, with the ids as four octets each. */
const acceptedFrame = Buffer.concat([
  encodeFrame(0, 'disposition', { role: true, first: 0x1_0000, last: 0x1_0000, settled: true, state: accepted }),
]);
const acceptedBytes = acceptedFrame.length;
