import { randomBytes } from 'node:crypto';
import type { Access } from '../../core/auth.ts';
import { type ChannelView, type Client, type ClientView, noCounts } from '../../core/client.ts';
import type { Condition } from '../../core/errors.ts';
import type { Position } from '../../core/journal.ts';
import type { Message } from '../../core/message.ts';
import type { Value } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Vhost } from '../../core/vhost.ts';
import { copyBytes, startsWith } from '../../lib/bytes.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { Valve } from '../../transport/valve.ts';
import type { Dialect } from './destination.ts';
import { Endpoints } from './endpoints.ts';
import { encodeError, type Shown, showCondition, showError } from './errors.ts';
import { FrameReader, ProtocolError } from './frame.ts';
import type { Opened } from './handshake.ts';
import { isText, nativeFor } from './message.ts';
import type { Stomp } from './protocol.ts';
import { Publisher } from './publisher.ts';
import { Subscriptions } from './subscriptions.ts';
import { Transactions } from './transactions.ts';
import { escapeText, type Version } from './versions.ts';

/** closing: DISCONNECT came; what was sent before it is on its way to the disk. */
type State = 'open' | 'closing' | 'closed';

const receiptName = Buffer.from('receipt');
const transactionName = Buffer.from('transaction');
const receiptStart = Buffer.from('RECEIPT\nreceipt-id:');
const receiptEnd = Buffer.from('\n\n\0');
const lineFeed = Buffer.from('\n');

/** A client that has logged in, to its end. */
export class Connection implements StreamHandler, Client {
  readonly protocol = 'stomp';
  readonly id: string;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  readonly version: Version;
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  readonly clientId: string | undefined;
  readonly mechanism: string;
  readonly session = `session-${randomBytes(12).toString('base64url')}`;
  /** What ids of deliveries begin with. */
  readonly idStart = Buffer.from(`${this.session}@@`, 'latin1');
  /** The line that begins with it, and the end of the line before. */
  readonly ackStart = Buffer.from(`\nack:${this.session}@@`, 'latin1');
  dialect: Dialect;

  readonly subscriptions = new Subscriptions(this);
  readonly endpoints = new Endpoints(this);
  readonly transactions: Transactions;
  private readonly publisher: Publisher;
  private readonly door: Stomp;
  private readonly frame: FrameReader;
  private state: State = 'open';
  private deliveries = 0;
  private untracked = 0;
  /** Of the DISCONNECT that waits. */
  private lastReceipt: string | null = null;
  /** Made at the first alarm. */
  private valve: Valve | null = null;
  private readonly sendEveryMs: number;
  private readonly expectEveryMs: number;

  constructor(stream: Stream, door: Stomp, opened: Opened) {
    this.stream = stream;
    this.door = door;
    this.version = opened.version;
    this.user = opened.user;
    this.vhost = opened.vhost;
    this.access = opened.access;
    this.clientId = opened.clientId;
    this.mechanism = opened.mechanism;
    this.sendEveryMs = opened.sendEveryMs;
    this.expectEveryMs = opened.expectEveryMs;
    this.dialect = door.options.dialect;
    this.id = door.nextConnectionId();
    this.peer = stream.peer;
    this.connectedAtMs = stream.lastReadMs;
    this.frame = new FrameReader(door.options);
    this.publisher = new Publisher(this, this.frame);
    this.transactions = new Transactions(this.vhost);
    door.connections.add(this);
    door.broker.addClient(this);
    door.log.info({ peer: this.peer, user: this.user, vhost: this.vhost.name, protocol: 'stomp' }, 'connected');
  }

  get subscriber(): object {
    return this;
  }

  describe(): ClientView {
    const { stream, clientId } = this;
    const properties = new Map<string, Value>([['product', 'STOMP client']]);
    if (clientId !== undefined) properties.set('client_id', clientId);
    return {
      protocol: `STOMP ${this.version}`,
      ...stream.describe(),
      mechanism: this.mechanism,
      state: this.state !== 'open' ? 'closing' : this.valve?.holds === true ? 'blocked' : 'running',
      channelMax: 1,
      frameMax: 0,
      heartbeatSeconds: Math.ceil(this.expectEveryMs / 1000),
      properties,
    };
  }

  /** One: STOMP has no channels. */
  describeChannels(): ChannelView[] {
    const { subscriptions, transactions, publisher } = this;
    const { uncommitted } = transactions;
    return [
      {
        number: 1,
        state: this.state === 'open' ? 'running' : 'closing',
        consumers: subscriptions.count,
        unacked: subscriptions.unacked.count,
        unconfirmed: publisher.waiting,
        prefetch: 0,
        globalPrefetch: 0,
        confirms: publisher.waiting > 0,
        transactional: transactions.count > 0,
        uncommittedMessages: uncommitted.publishes,
        uncommittedAcks: uncommitted.settles,
        counts: {
          ...noCounts,
          published: publisher.sent,
          delivered: this.deliveries,
          deliveredSettled: this.untracked,
        },
      },
    ];
  }

  get position(): Position {
    return this.door.broker.journal.position;
  }

  /** The client did what only one written for ActiveMQ does. */
  showActivemq(): void {
    if (this.dialect === 'auto') this.dialect = 'activemq';
  }

  // — frames in ———————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    try {
      while (this.state === 'open' && !this.stream.held) {
        // between frames: heart-beats, the EOLs that may follow a frame [STOMP 1.2 §Heart-beating], and NULs that
        // some clients leave there
        while (at < end && isBetween(chunk[at]!)) at += 1;
        if (at === end) break;
        if (!this.frame.read(chunk, at, end)) {
          this.stream.want = this.frame.want;
          break;
        }
        at = this.frame.next;
        this.onFrame(chunk);
      }
    } catch (error) {
      this.fail(error, this.findReceipt());
      return end;
    }
    return this.state === 'closed' ? end : at;
  }

  // Octets as they came: it goes back in the words of the same version.
  private findReceipt(): string | null {
    const index = this.frame.find(receiptName);
    return index < 0 ? null : this.frame.raw(index, this.version);
  }

  private onFrame(chunk: Buffer): void {
    const { frame } = this;
    const { command } = frame;
    if (command === 'SEND') {
      if (this.valve !== null) {
        this.valve.hold();
        this.valve.refuses(frame.bodyEnd - frame.bodyStart, false); // an ERROR would end the connection
      }
      return this.publisher.onSend(chunk);
    }
    frame.checkEscapes(this.version);
    const before = this.position;
    switch (command) {
      case 'ACK':
      case 'NACK':
        this.subscriptions.onAck(frame, command);
        break;
      case 'SUBSCRIBE':
        return this.subscriptions.onSubscribe(frame.headers(this.version), this.findReceipt());
      case 'UNSUBSCRIBE':
        this.subscriptions.onUnsubscribe(frame.headers(this.version));
        break;
      case 'BEGIN':
        this.transactions.begin(this.readTransaction());
        break;
      case 'COMMIT':
        return this.onCommit(before);
      case 'ABORT':
        this.onAbort();
        break;
      case 'DISCONNECT':
        return this.onDisconnect();
      case 'CONNECT':
      case 'STOMP':
        throw new ProtocolError('Illegal command', `a second ${command}`);
      default:
        throw new ProtocolError('Bad command', `Could not interpret command "${command}"\n`);
    }
    const receipt = this.findReceipt();
    if (receipt !== null) this.whenSafe(before, receipt, null);
  }

  /** Sends the receipt, and calls `then`, once everything appended since `before` is on disk: at once if nothing was. */
  whenSafe(before: Position, receipt: string | null, then: (() => void) | null): void {
    const { journal } = this.door.broker;
    const done = (): void => {
      if (receipt !== null) this.sendReceipt(receipt);
      if (this.state === 'open') then?.();
    };
    if (receipt === null || journal.position === before) done();
    else journal.whenDurable(journal.position, done);
  }

  /** @param receipt octets, one character each */
  sendReceipt(receipt: string): void {
    if (this.state === 'closed') return;
    const at = this.beginReceipt(receipt.length);
    const { out } = this.stream;
    for (let i = 0; i < receipt.length; i++) out[at + i] = receipt.charCodeAt(i);
    this.endReceipt(at + receipt.length);
  }

  /** The same of octets that are the caller's again afterwards. */
  sendReceiptOf(bytes: Buffer, start: number, end: number): void {
    if (this.state === 'closed') return;
    const at = this.beginReceipt(end - start);
    copyBytes(bytes, start, end, this.stream.out, at);
    this.endReceipt(at + end - start);
  }

  private beginReceipt(bytes: number): number {
    const { stream } = this;
    const at = stream.reserve(receiptStart.length + bytes + receiptEnd.length);
    copyBytes(receiptStart, 0, receiptStart.length, stream.out, at);
    stream.advance(receiptStart.length + bytes + receiptEnd.length);
    return at + receiptStart.length;
  }

  private endReceipt(at: number): void {
    copyBytes(receiptEnd, 0, receiptEnd.length, this.stream.out, at);
  }

  // — transactions ————————————————————————————————————————————————————————————————————————————————————————————————

  private readTransaction(): string {
    const { frame, version } = this;
    const index = frame.find(transactionName);
    if (index >= 0) return frame.value(index, version);
    throw new ProtocolError('Missing transaction', `"${frame.command}" must include a 'transaction' header\n`);
  }

  private onCommit(before: Position): void {
    const transaction = this.transactions.take(this.readTransaction());
    const position = transaction.commit();
    if (position === null) {
      this.giveBack(transaction.settles.map(({ delivery, entry }) => [delivery, entry]));
      throw new ProtocolError('Transaction refused', 'a queue would not take one of the messages: nothing was done');
    }
    const receipt = this.findReceipt();
    for (const each of transaction.receipts) this.whenSafe(before, each, null);
    if (receipt !== null) this.whenSafe(before, receipt, null);
  }

  private onAbort(): void {
    const transaction = this.transactions.take(this.readTransaction());
    this.giveBack(transaction.settles.map(({ delivery, entry }) => [delivery, entry]));
  }

  // Unacked again, and the client's to settle once more.
  private giveBack(deliveries: readonly (readonly [number, QueueEntry])[]): void {
    this.subscriptions.unacked.restore(deliveries);
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** @returns the number in the message id, by which it is acked */
  nextDelivery(entry: QueueEntry): number {
    this.deliveries += 1;
    this.subscriptions.unacked.add(this.deliveries, entry);
    return this.deliveries;
  }

  nextUntracked(): number {
    this.untracked += 1;
    return this.untracked;
  }

  /** The delivery that a header names; −1 when it is none of this connection's. */
  readDelivery(frame: FrameReader, index: number): number {
    const { idStart } = this;
    const start = frame.valueAt(index, this.version);
    const end = frame.lineEnd[index]!;
    if (end - start <= idStart.length || end - start > idStart.length + 15) return -1;
    if (!startsWith(frame.chunk, start, idStart, idStart.length)) return -1;
    let number = 0;
    for (let i = start + idStart.length; i < end; i++) {
      const digit = frame.chunk[i]! - 0x30;
      if (digit < 0 || digit > 9) return -1;
      number = number * 10 + digit;
    }
    return number;
  }

  /** Header lines of a MESSAGE that are the message's own. */
  get rejectsLosses(): boolean {
    return this.door.options.rejectsLosses;
  }

  nativeOf(message: Message): Buffer {
    const native = nativeFor(message, this.version);
    if (this.dialect !== 'activemq' || message.expiresAtMs === 0 || native.includes('expires:')) return native;
    return Buffer.concat([native, Buffer.from(`expires:${message.expiresAtMs}\n`)]);
  }

  /** To ActiveMQ's clients a body that is counted is binary: text goes out as it would there, ended by its NUL. */
  countsBody(message: Message): boolean {
    return this.dialect !== 'activemq' || !isText(message) || message.body.includes(0);
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  // The receipt of DISCONNECT says that all before it is safe [STOMP 1.2 §DISCONNECT].
  private onDisconnect(): void {
    this.lastReceipt = this.findReceipt();
    if (this.lastReceipt === null) return this.finish('closed by the client');
    this.state = 'closing';
    this.stream.hold();
    const { journal } = this.door.broker;
    journal.whenDurable(journal.position, () => this.leaveIfDone());
  }

  /** A receipt of a SEND was given. */
  published(): void {
    if (this.state === 'closing') this.leaveIfDone();
  }

  private leaveIfDone(): void {
    if (this.state !== 'closing' || this.publisher.waiting > 0 || this.lastReceipt === null) return;
    this.sendReceipt(this.lastReceipt);
    this.finish('closed by the client');
  }

  /** @param receipt of the frame that failed, octets as they came */
  fail(error: unknown, receipt: string | null): void {
    if (this.state === 'closed') return;
    const shown = showError(error);
    if (shown === null) this.door.log.error({ peer: this.peer, error }, 'stomp: a fault of ours');
    const lines = receipt === null ? [] : [`receipt-id:${Buffer.from(receipt, 'latin1').toString('utf8')}`];
    this.failWith(shown ?? showCondition('internal-error', 'an error inside the broker'), lines);
  }

  /** The queue of a subscription was deleted. */
  cancelled(id: string | null, what: string): void {
    if (this.state === 'closed') return;
    const lines = id === null ? [] : [`subscription:${escapeText(id, this.version)}`];
    const detail = `The server has canceled a subscription.\nNo more messages will be delivered for ${what}.\n`;
    this.failWith({ message: 'Server cancelled subscription', detail }, lines);
  }

  close(why: Condition, text: string): void {
    if (this.state !== 'closed') this.failWith(showCondition(why, text), []);
  }

  private failWith(shown: Shown, lines: readonly string[]): void {
    this.stream.write(encodeError(shown, lines, this.version));
    this.finish(`${shown.message}: ${shown.detail}`);
  }

  private finish(reason: string): void {
    if (this.state === 'closed') return;
    this.gone(reason);
    this.stream.end();
  }

  onClose(error: string): void {
    if (this.state !== 'closed') this.gone(error || 'connection lost');
  }

  private gone(reason: string): void {
    this.state = 'closed';
    this.door.connections.delete(this);
    this.subscriptions.close();
    for (const entry of this.transactions.close()) entry.requeue();
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  onDrain(): void {
    this.subscriptions.wake();
  }

  onFlush(): void {}

  /** Called every `beatEveryMs` of the door: a LF if the next call would be too late for it. */
  beat(nowMs: number): void {
    const { stream, sendEveryMs } = this;
    if (sendEveryMs > 0 && nowMs - stream.lastWriteMs >= sendEveryMs - this.door.beatEveryMs) stream.write(lineFeed);
  }

  onAlarm(why: string | null): void {
    this.valve ??= new Valve(this.stream);
    this.valve.alarm(why);
  }

  /** Called about once a second. */
  sweep(nowMs: number): void {
    this.valve?.sweep(this.subscriptions.count > 0);
    if (this.valve?.shut === true) return; // it may have sent its heart-beats
    // twice the interval: room for timing inaccuracies [STOMP 1.2 §Heart-beating]
    if (this.expectEveryMs > 0 && nowMs - this.stream.lastReadMs > 2 * this.expectEveryMs + sweepEveryMs) {
      this.finish('missed heart-beats');
    }
  }
}

const sweepEveryMs = 1000;

function isBetween(octet: number): boolean {
  return octet === 0x0a || octet === 0x0d || octet === 0;
}
