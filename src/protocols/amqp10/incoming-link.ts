import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { PublishReceipt } from '../../core/journal.ts';
import { Message, noDeaths } from '../../core/message.ts';
import { decodeText } from '../../lib/bytes.ts';
import { readCopies } from './copies.ts';
import { AmqpError, ErrorCondition, toAmqpError } from './errors.ts';
import type { Link } from './link.ts';
import { amqp10Format, reshape } from './message.ts';
import { accepted, rejected, released } from './outcome.ts';
import type { Composite, Values } from './performatives.ts';
import { RoutingFacts, Sections } from './sections.ts';
import type { Session } from './session.ts';
import { type SuspendedLink, unsettledMap } from './suspended.ts';
import type { TargetNode } from './target.ts';
import { findTiming } from './timing.ts';
import type { OpenTransaction } from './transactions.ts';
import type { Transfer } from './transfer.ts';
import { Decoder } from './types.ts';

/** Messages that a sender may have under way. */
const creditMax = 2000;
/** [§2.8.7] */
const tagBytesMax = 32;
/** Outcomes that a suspended link remembers at most. */
const outcomesMax = 10_000;

const sections = new Sections();
const facts = new RoutingFacts();

/** A delivery in several transfers. */
interface Assembly {
  readonly deliveryId: number;
  readonly tag: Buffer | null;
  readonly messageFormat: number;
  /** As the link says: on one whose receiver settles second, the transfer did not ask for the other. */
  readonly waits: boolean;
  settled: boolean;
  readonly state: Composite | null;
  readonly resume: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

/** The peer sends, the broker receives: each transfer is published where the target says. */
export class IncomingLink implements Link, PublishReceipt {
  readonly session: Session;
  readonly name: string;
  readonly handle: number;
  readonly isSender = false;
  open = true;
  unconfirmed = 0;

  private readonly attach: Values<'attach'>;
  private readonly target: TargetNode;
  /** The sender settles after us [AMQP 1.0 §2.6.12]. */
  private readonly settlesSecond: boolean;
  private readonly preSettled: boolean;
  private creditLeft = 0;
  private deliveryCount: number;
  private assembly: Assembly | null = null;
  /** With `settlesSecond`: tags of what is not settled by the sender, with the outcomes, by delivery. */
  private readonly tags = new Map<number, Buffer>();
  private readonly outcomes = new Map<number, Composite>();
  /** What was received before the link was detached, and is not settled by the sender. */
  private readonly resumed: Map<string, Composite>;
  /** There was no room to say all of it: until the link is attached again only resumed deliveries are taken [§2.7.3]. */
  private resumesOnly = false;

  constructor(session: Session, attach: Values<'attach'>, target: TargetNode, resumed: SuspendedLink | null) {
    this.session = session;
    this.name = attach.name;
    this.handle = attach.handle;
    this.attach = attach;
    this.target = target;
    this.settlesSecond = attach.rcvSettleMode === 1;
    this.preSettled = attach.sndSettleMode === 1;
    this.deliveryCount = attach.initialDeliveryCount ?? 0;
    this.resumed = resumed?.outcomes ?? new Map();
  }

  start(): void {
    const { attach, session } = this;
    const unsettled = unsettledMap(this.resumed, session.connection.frameMax);
    this.resumesOnly = unsettled?.incomplete ?? false;
    session.connection.send(session.channel, 'attach', {
      name: this.name,
      handle: this.handle,
      role: true,
      ...(attach.sndSettleMode === undefined ? {} : { sndSettleMode: attach.sndSettleMode }),
      rcvSettleMode: this.settlesSecond ? 1 : 0,
      ...(attach.source === undefined ? {} : { source: attach.source }),
      target: this.target.shown,
      ...(unsettled === null ? {} : { unsettled: unsettled.map, incompleteUnsettled: unsettled.incomplete }),
      maxMessageSize: this.messageBytesMax,
      ...(attach.properties === undefined ? {} : { properties: attach.properties }),
    });
    this.grant();
  }

  onFlow(flow: Values<'flow'>): void {
    if (flow.deliveryCount !== undefined && this.assembly === null) {
      // [§2.6.7] a sender may use up its credit without sending
      const skipped = (flow.deliveryCount - this.deliveryCount) | 0;
      if (skipped > 0 && skipped <= this.creditLeft) {
        this.deliveryCount = flow.deliveryCount;
        this.creditLeft -= skipped;
      }
    }
    if (flow.echo === true) this.session.sendFlow({ handle: this.handle, ...this.credit() });
    this.grant();
  }

  // — credit ——————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Grants credit if half of it is used, and neither an alarm nor what waits for the disk is against it. */
  grant(): void {
    if (!this.open || this.creditLeft > creditMax / 2 || this.unconfirmed >= creditMax) return;
    if (this.session.connection.alarm !== null) return;
    this.creditLeft = creditMax;
    this.session.grantLater(this);
  }

  credit(): { deliveryCount: number; linkCredit: number } {
    return { deliveryCount: this.deliveryCount, linkCredit: this.creditLeft };
  }

  // — transfers ———————————————————————————————————————————————————————————————————————————————————————————————————

  onTransfer(transfer: Transfer, chunk: Buffer, at: number, end: number): void {
    if (this.assembly !== null) return this.onContinuation(this.assembly, transfer, chunk, at, end);
    if (this.creditLeft <= 0) {
      throw new AmqpError(ErrorCondition.transferLimitExceeded, 'link', 'transfer without credit');
    }
    if (transfer.deliveryId < 0) throw invalid('transfer.delivery-id is mandatory on the first transfer');
    const tagBytes = transfer.tagEnd - transfer.tagStart;
    if (tagBytes < 0) throw invalid('transfer.delivery-tag is mandatory on the first transfer');
    if (tagBytes > tagBytesMax) throw invalid(`transfer.delivery-tag is longer than ${tagBytesMax} octets`);
    if (transfer.settled !== null) this.checkSettled(transfer.settled, transfer.more, transfer.aborted);
    this.creditLeft -= 1;
    this.deliveryCount = (this.deliveryCount + 1) >>> 0;
    const number = this.session.incomingNumber(transfer.deliveryId);
    if (transfer.rcvSettleMode === 1 && !this.settlesSecond && !(transfer.settled ?? this.preSettled)) {
      throw invalid('transfer.rcv-settle-mode is second on a link whose receiver settles first');
    }
    if (transfer.aborted) {
      // of one frame: as if it never had come, but for the credit that it took
    } else if (!transfer.more) {
      this.checkSize(end - at);
      const settled = transfer.settled ?? this.preSettled;
      if (transfer.stateAt < 0 && !transfer.resume && !this.settlesSecond && !this.resumesOnly) {
        this.publish(chunk, at, end, number, settled, null);
      } else {
        const { tag, state, resume } = transfer;
        this.onSpecial(chunk, at, end, number, settled, tag, state, resume, transfer.rcvSettleMode !== 0);
      }
    } else {
      this.assembly = {
        deliveryId: number,
        tag: transfer.tag,
        messageFormat: transfer.messageFormat,
        waits: transfer.rcvSettleMode !== 0,
        settled: transfer.settled ?? this.preSettled,
        state: transfer.state,
        resume: transfer.resume,
        parts: [Buffer.from(chunk.subarray(at, end))],
        bytes: end - at,
      };
      this.checkSize(end - at);
    }
    if (this.creditLeft <= creditMax / 2) this.grant();
  }

  private onContinuation(assembly: Assembly, transfer: Transfer, chunk: Buffer, at: number, end: number): void {
    if (transfer.aborted) {
      // [§2.7.5] what came of it is as if it never had
      this.assembly = null;
      return;
    }
    if (transfer.deliveryId >= 0 && this.session.incomingNumber(transfer.deliveryId) !== assembly.deliveryId) {
      throw invalid('delivery-id of a continuation differs from that of the first transfer');
    }
    const { tag: again } = transfer;
    if (again !== null && assembly.tag !== null && !again.equals(assembly.tag)) {
      throw invalid('delivery-tag of a continuation differs from that of the first transfer');
    }
    if (transfer.messageFormat >= 0 && transfer.messageFormat !== Math.max(0, assembly.messageFormat)) {
      throw invalid('message-format of a continuation differs from that of the first transfer');
    }
    if (transfer.settled === true) assembly.settled = true;
    if (!transfer.more || transfer.settled === true) this.checkSettled(assembly.settled, transfer.more, false);
    assembly.parts.push(Buffer.from(chunk.subarray(at, end)));
    assembly.bytes += end - at;
    this.checkSize(assembly.bytes);
    if (transfer.more) return;
    this.assembly = null;
    const bytes = Buffer.concat(assembly.parts);
    const { deliveryId, settled, tag, state, resume, waits } = assembly;
    this.onSpecial(bytes, 0, bytes.length, deliveryId, settled, tag, state, resume, waits);
  }

  // [§2.7.5] ~ what does not say whether it is settled is what the link says, not unsettled.
  private checkSettled(settled: boolean, more: boolean, aborted: boolean): void {
    const { sndSettleMode } = this.attach;
    if (aborted || (settled ? sndSettleMode !== 0 : sndSettleMode !== 1 || more)) return;
    throw invalid(
      settled
        ? 'transfer.settled is true on a link whose snd-settle-mode is unsettled'
        : 'transfer.settled is false on a link whose snd-settle-mode is settled',
    );
  }

  private checkSize(bytes: number): void {
    if (bytes <= this.messageBytesMax) return;
    this.assembly = null;
    throw new AmqpError(
      ErrorCondition.messageSizeExceeded,
      'link',
      `message size is larger than configured max size ${this.messageBytesMax}`,
    );
  }

  /** A body of the largest size has a head as well. */
  private get messageBytesMax(): number {
    return this.session.connection.options.messageBytes + headBytes;
  }

  // With a transaction, a resumed delivery, or one that is settled by the sender last.
  private onSpecial(
    bytes: Buffer,
    start: number,
    end: number,
    number: number,
    settled: boolean,
    tag: Buffer | null,
    state: Composite | null,
    resume: boolean,
    waits: boolean,
  ): void {
    const { session } = this;
    if (resume) {
      // it was received before, and is not published again; [§2.7.5] what is not known is ignored
      const name = tag?.toString('latin1') ?? '';
      const known = this.resumed.get(name);
      this.resumed.delete(name);
      if (known !== undefined && !settled) session.answer(number, known, true);
      return;
    }
    if (this.resumesOnly) {
      throw new AmqpError(ErrorCondition.illegalState, 'link', 'a new delivery while the unsettled map is incomplete');
    }
    if (this.settlesSecond && waits && !settled && tag !== null) this.tags.set(number, tag);
    const transaction = state?.is === 'transactionalState' ? session.connection.transactions.get(state.txnId) : null;
    this.publish(bytes, start, end, number, settled, transaction);
    if (transaction !== null && !settled) {
      const { txnId } = state as Composite & { is: 'transactionalState' };
      session.answer(number, { is: 'transactionalState', txnId, outcome: accepted }, !this.tags.has(number));
    }
  }

  private publish(
    bytes: Buffer,
    start: number,
    end: number,
    number: number,
    settled: boolean,
    transaction: OpenTransaction | null,
  ): void {
    sections.read(bytes, start, end);
    const { session, target } = this;
    session.published += 1;
    if (target.onMessage !== null) {
      target.onMessage(bytes, sections, (state) => {
        if (!settled) session.answer(number, state, true);
      });
      return;
    }
    facts.read(bytes, sections);
    if (facts.userIdAt >= 0) this.demandUser(bytes, facts.userIdAt);
    const route = this.findRoute(bytes, number, settled);
    if (route === null) return;
    if (session.connection.refuses(end - start, !settled && transaction === null)) {
      this.answer(number, rejected('resource-limit-exceeded', `publishers wait: ${session.connection.alarm}`));
      return;
    }
    const timed = bytes;
    const annotationsAt = sections.messageAnnotations;
    let nativeEnd = sections.bodyAt;
    let { dataStart, dataEnd } = sections;
    if (!sections.plain) {
      const { native, body } = reshape(bytes, start, sections);
      bytes = Buffer.concat([native, body]);
      start = 0;
      nativeEnd = native.length;
      dataStart = native.length;
      dataEnd = bytes.length;
    }
    const { vhost } = session.connection;
    const message = new Message({
      format: amqp10Format,
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: facts.durable,
      priority: facts.priority,
      expiresAtMs: facts.ttlMs >= 0 ? vhost.nowMs + facts.ttlMs : facts.absoluteExpiryMs,
      qos: -1,
      retain: false,
      publisher: session.connection,
      deaths: noDeaths,
      bytes,
      start,
      end: dataEnd,
      nativeStart: start,
      nativeEnd,
      bodyStart: dataStart,
      bodyEnd: dataEnd,
    });
    if (annotationsAt >= 0 && !this.findTiming(message, timed, annotationsAt, number, settled)) return;
    if (transaction !== null) {
      transaction.publish(route, message);
      return;
    }
    if (settled) {
      vhost.publish(route, message, null, 0);
      return;
    }
    // what is retained is kept, whether a queue takes it or none
    if (vhost.targetsOf(route, message).length === 0 && !vhost.isRetained(message)) {
      vhost.publish(route, message, null, 0, true); // to be counted
      vhost.returned += 1;
      this.answer(number, this.unroutable());
      return;
    }
    this.unconfirmed += 1;
    vhost.publish(route, message, this, number);
  }

  // What names no time is its own outcome. @returns false when it was given
  private findTiming(message: Message, bytes: Buffer, at: number, number: number, settled: boolean): boolean {
    try {
      message.timing = findTiming(bytes, at, bytes.length, this.session.connection.vhost.nowMs);
      return true;
    } catch (error) {
      if (settled || !(error instanceof BrokerError)) throw error;
      this.answer(number, rejected(error.condition, error.message));
      return false;
    }
  }

  private unroutable(): Composite {
    const { unroutable } = this.session.connection.options;
    return unroutable === 'released' ? released : rejected('no-route', 'the message reaches no queue');
  }

  // A message that says itself where it goes may be wrong: that is its own outcome [anonymous terminus §2.2.2].
  private findRoute(bytes: Buffer, number: number, settled: boolean): Route | null {
    const { target } = this;
    try {
      const route = target.routeOf(bytes, sections);
      return sections.messageAnnotations < 0 ? route : this.copied(route, bytes);
    } catch (error) {
      if (!target.isAnonymous || settled) throw error;
      const { condition, message } = toAmqpError(error);
      this.answer(number, { is: 'rejected', error: { condition, description: message } });
      return null;
    }
  }

  // Its annotations may name further keys: each queue gets it once.
  private copied(route: Route, bytes: Buffer): Route {
    const keys = readCopies(bytes, sections.messageAnnotations, sections.end);
    if (keys.length === 0) return route;
    const { connection } = this.session;
    const { vhost } = connection;
    const { name, spec } = route.exchange;
    if (spec.type === 'topic') for (const key of keys) vhost.demandTopic(connection, key, name);
    return vhost.routeForAll(name, [route.routingKey, ...keys]);
  }

  private demandUser(bytes: Buffer, at: number): void {
    const value = new Decoder(bytes, at).read();
    const user = Buffer.isBuffer(value) ? decodeText(value, 0, value.length) : '';
    if (user === this.session.connection.user) return;
    throw new AmqpError(
      ErrorCondition.unauthorizedAccess,
      'link',
      `user_id property set to '${user}' but authenticated user was '${this.session.connection.user}'`,
    );
  }

  // — outcomes ————————————————————————————————————————————————————————————————————————————————————————————————————

  confirmed(number: number): void {
    this.unconfirmed -= 1;
    this.answer(number, accepted);
  }

  refused(number: number, why: Condition): void {
    this.unconfirmed -= 1;
    this.answer(number, rejected(why, 'a queue refused the message'));
  }

  private answer(number: number, state: Composite): void {
    if (!this.open) return;
    const waits = this.settlesSecond && this.tags.has(number);
    if (waits) this.outcomes.set(number, state);
    this.session.answer(number, state, !waits);
    if (this.creditLeft <= creditMax / 2) this.grant();
  }

  /** The sender has settled these. */
  forget(first: number, last: number): void {
    for (const number of this.tags.keys()) {
      if (number < first || number > last) continue;
      this.tags.delete(number);
      this.outcomes.delete(number);
    }
  }

  detached(closed: boolean): void {
    this.open = false;
    this.assembly = null;
    if (!closed && this.settlesSecond) this.suspend();
    this.target.release(closed);
  }

  private suspend(): void {
    const { connection } = this.session;
    const timeoutMs = this.target.timeoutMs;
    if (timeoutMs === 0) return;
    const outcomes = new Map<string, Composite>(this.resumesOnly ? this.resumed : []);
    for (const [number, tag] of this.tags) {
      const state = this.outcomes.get(number);
      if (state !== undefined && outcomes.size < outcomesMax) outcomes.set(tag.toString('latin1'), state);
    }
    const until = connection.door.broker.nowMs + timeoutMs;
    connection.door.suspended.keep(
      suspensionKey(this.session, this.name, false),
      { entries: new Map(), outcomes },
      until,
    );
  }
}

/** Room for the sections before a body of the largest size. */
const headBytes = 128 * 1024;

export function suspensionKey(session: Session, name: string, isSender: boolean): string {
  const { vhost, user, containerId } = session.connection;
  return `${vhost.name}\0${user}\0${containerId}\0${isSender ? 's' : 'r'}\0${name}`;
}

function invalid(text: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'link', text);
}
