import { randomBytes } from 'node:crypto';
import type { Access, Credentials } from '../../core/auth.ts';
import type { Client } from '../../core/client.ts';
import { BrokerError, type Condition } from '../../core/errors.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { PublishReceipt } from '../../core/journal.ts';
import { Message, noDeaths } from '../../core/message.ts';
import { noHeaders } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Queue } from '../../core/queue/queue.ts';
import type { Vhost } from '../../core/vhost.ts';
import { emptyBuffer, startsWith } from '../../lib/bytes.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { parseDestination } from './destination.ts';
import { encodeFrame, FrameReader, ProtocolError } from './frame.ts';
import { formatOf, ownHeaders } from './message.ts';
import type { Stomp } from './protocol.ts';
import { type AckMode, Subscription } from './subscription.ts';
import { escapeText, negotiate, type Version, versions } from './versions.ts';

type State = 'awaiting-connect' | 'authenticating' | 'open' | 'closed';

type Headers = Map<string, string>;

const names = {
  destination: Buffer.from('destination'),
  receipt: Buffer.from('receipt'),
  persistent: Buffer.from('persistent'),
  priority: Buffer.from('priority'),
  expiration: Buffer.from('expiration'),
  transaction: Buffer.from('transaction'),
};
const own = ownHeaders.map((name) => Buffer.from(name));

/** One connection, from CONNECT to its end. */
export class Connection implements StreamHandler, Client, PublishReceipt {
  readonly protocol = 'stomp';
  readonly id: string;
  readonly peer: string;
  readonly connectedAtMs: number;
  readonly stream: Stream;
  readonly session = `session-${randomBytes(12).toString('base64url')}`;
  user = '';
  version: Version = '1.2';

  private readonly door: Stomp;
  private readonly frame: FrameReader;
  private state: State = 'awaiting-connect';
  private opened: { vhost: Vhost; access: Access } | null = null;
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly unacked = new Map<number, QueueEntry>();
  private deliveries = 0;
  /** Receipt ids that wait for their message to be safe, by publish tag. */
  private readonly receipts = new Map<number, string>();
  private publishes = 0;
  /** Milliseconds; 0 = off. */
  private sendEveryMs = 0;
  private expectEveryMs = 0;

  private lastDestination: Buffer = emptyBuffer;
  private lastRoute: Route | null = null;

  constructor(stream: Stream, door: Stomp) {
    this.stream = stream;
    this.door = door;
    this.id = door.nextConnectionId();
    this.peer = stream.peer;
    this.connectedAtMs = stream.lastReadMs;
    this.frame = new FrameReader(door.options);
  }

  get vhost(): Vhost {
    return this.get().vhost;
  }

  get access(): Access {
    return this.get().access;
  }

  get subscriber(): object {
    return this;
  }

  private get(): { vhost: Vhost; access: Access } {
    if (this.opened === null) throw new Error('the connection is not open');
    return this.opened;
  }

  // — frames in ———————————————————————————————————————————————————————————————————————————————————————————————————

  onBytes(chunk: Buffer, end: number): number {
    let at = 0;
    let receipt: string | undefined;
    try {
      while (this.state !== 'closed' && !this.stream.held) {
        // between frames: heart-beats, and the EOLs that may follow a frame [STOMP 1.2 §Heart-beating]
        while (at < end && (chunk[at] === 0x0a || chunk[at] === 0x0d)) at += 1;
        if (at === end) break;
        receipt = undefined;
        if (!this.frame.read(chunk, at, end)) {
          this.stream.want = this.frame.want;
          break;
        }
        at = this.frame.next;
        if (this.frame.command === 'SEND' && this.state === 'open') this.onSend(chunk);
        else {
          const headers = this.frame.headers(this.escapesOf(this.frame.command));
          receipt = headers.get('receipt');
          this.onFrame(this.frame.command, headers);
        }
      }
    } catch (error) {
      this.fail(error, receipt ?? this.findReceipt());
      return end;
    }
    return this.state === 'closed' ? end : at;
  }

  // CONNECT and CONNECTED are never escaped, for 1.0's sake [STOMP 1.2 §Value Encoding].
  private escapesOf(command: string): Version {
    return command === 'CONNECT' || command === 'STOMP' ? '1.0' : this.version;
  }

  private findReceipt(): string | undefined {
    const index = this.frame.command === 'SEND' && this.frame.count > 0 ? this.frame.find(names.receipt) : -1;
    try {
      return index < 0 ? undefined : this.frame.value(index, this.version);
    } catch {
      return undefined;
    }
  }

  private onFrame(command: string, headers: Headers): void {
    if (command === 'CONNECT' || command === 'STOMP') return this.onConnect(headers);
    if (this.state !== 'open') throw new ProtocolError('Illegal command', 'You must log in using CONNECT first');
    const { journal } = this.door.broker;
    const before = journal.position;
    switch (command) {
      case 'SUBSCRIBE':
        this.onSubscribe(headers);
        break;
      case 'UNSUBSCRIBE':
        this.onUnsubscribe(headers);
        break;
      case 'ACK':
        this.onAck(headers, (entry) => entry.ack());
        break;
      case 'NACK': {
        const requeue = headers.get('requeue') !== 'false';
        this.onAck(headers, (entry) => (requeue ? entry.requeue() : entry.reject()));
        break;
      }
      case 'DISCONNECT':
        return this.onDisconnect(headers);
      case 'BEGIN':
      case 'COMMIT':
      case 'ABORT':
        throw new ProtocolError('Not implemented', `${command}: transactions are not there yet`);
      default:
        throw new ProtocolError('Bad command', `Could not interpret command '${command}'`);
    }
    const receipt = headers.get('receipt');
    if (receipt === undefined) return;
    if (journal.position === before) this.sendReceipt(receipt);
    else journal.whenDurable(journal.position, () => this.sendReceipt(receipt));
  }

  private sendReceipt(id: string): void {
    if (this.state === 'open')
      this.stream.write(encodeFrame('RECEIPT', [`receipt-id:${escapeText(id, this.version)}`]));
  }

  // — CONNECT —————————————————————————————————————————————————————————————————————————————————————————————————————

  private onConnect(headers: Headers): void {
    if (this.state !== 'awaiting-connect') throw new ProtocolError('Illegal command', 'a second CONNECT');
    const version = negotiate(headers.get('accept-version'));
    if (version === undefined) {
      this.sendError('Version mismatch', `Supported versions are ${versions.toReversed().join(',')}`, [
        `version:${versions.toReversed().join(',')}`,
      ]);
      return this.finish('no common version');
    }
    this.version = version;
    const beat = parseHeartBeat(headers.get('heart-beat'));
    const login = headers.get('login');
    if (login === undefined && !this.door.options.anonymous) return this.refuse('no login');
    const credentials: Credentials =
      login === undefined
        ? { mechanism: 'ANONYMOUS', user: '', password: '' }
        : { mechanism: 'PLAIN', user: login, password: headers.get('passcode') ?? '' };
    this.state = 'authenticating';
    this.stream.hold();
    this.authenticate(credentials, headers.get('host'), beat)
      .catch((error: unknown) => this.fail(error, undefined))
      .finally(() => this.stream.release());
  }

  private async authenticate(
    credentials: Credentials,
    host: string | undefined,
    beat: [number, number],
  ): Promise<void> {
    const { broker, options } = this.door;
    const peer = { address: this.stream.remoteAddress, protocol: 'stomp' };
    const user = await broker.authenticator.authenticate(credentials, peer);
    if (this.state !== 'authenticating') return;
    if (user === null) return this.refuse(`wrong credentials of '${credentials.user}'`);
    // Many clients send the name of the machine: what is no virtual host is the default one.
    const vhost = broker.vhosts.get(host ?? options.vhost) ?? broker.vhosts.get(options.vhost);
    const access = vhost === undefined ? null : broker.authenticator.findAccess(user, vhost.name);
    if (vhost === undefined || access === null) return this.refuse(`user '${user}' may not open its vhost`);
    this.user = user;
    this.opened = { vhost, access };
    this.state = 'open';
    const [theySend, theyWant] = beat;
    this.sendEveryMs = theyWant === 0 ? 0 : Math.max(theyWant, options.heartBeatMs);
    this.expectEveryMs = theySend === 0 ? 0 : Math.max(theySend, options.heartBeatMs);
    broker.addClient(this);
    this.door.log.info({ peer: this.peer, user, vhost: vhost.name, protocol: 'stomp' }, 'connected');
    this.stream.write(
      encodeFrame('CONNECTED', [
        `version:${this.version}`,
        `session:${this.session}`,
        `heart-beat:${options.heartBeatMs},${options.heartBeatMs}`,
        `server:RosettaMQ/${options.version}`,
      ]),
    );
  }

  private refuse(reason: string): void {
    this.door.log.info({ peer: this.peer, protocol: 'stomp', reason }, 'refused');
    this.sendError('Bad CONNECT', 'Access refused');
    this.finish('');
  }

  // — SEND ————————————————————————————————————————————————————————————————————————————————————————————————————————

  private onSend(chunk: Buffer): void {
    const { frame, version } = this;
    const destination = frame.find(names.destination);
    if (destination < 0) throw new ProtocolError('Missing header', "SEND needs 'destination'");
    if (frame.find(names.transaction) >= 0)
      throw new ProtocolError('Not implemented', 'transactions are not there yet');
    const route = this.routeTo(chunk, destination);
    const { vhost } = this;
    const ttlMs = this.findInteger(names.expiration);
    const [bytes, nativeStart, nativeEnd, bodyStart, bodyEnd] = this.findNative(chunk);
    const persistent = frame.find(names.persistent);
    const message = new Message({
      format: formatOf[version],
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: persistent >= 0 && frame.value(persistent, version) === 'true',
      priority: Math.min(this.findInteger(names.priority), 255),
      expiresAtMs: ttlMs < 0 ? 0 : vhost.nowMs + ttlMs,
      qos: -1,
      retain: false,
      publisher: this,
      deaths: noDeaths,
      bytes,
      start: nativeStart,
      end: bodyEnd,
      nativeStart,
      nativeEnd,
      bodyStart,
      bodyEnd,
    });
    const receipt = frame.find(names.receipt);
    if (receipt < 0) {
      vhost.publish(route, message, null, 0);
      return;
    }
    this.publishes += 1;
    this.receipts.set(this.publishes, frame.value(receipt, version));
    vhost.publish(route, message, this, this.publishes);
  }

  /** RECEIPT: every queue has it, and it is on disk if it is persistent. */
  confirmed(tag: number): void {
    const receipt = this.receipts.get(tag);
    this.receipts.delete(tag);
    if (receipt !== undefined) this.sendReceipt(receipt);
  }

  refused(tag: number, why: Condition): void {
    const receipt = this.receipts.get(tag);
    this.receipts.delete(tag);
    this.fail(new ProtocolError('Message refused', `the message was refused: ${why}`), receipt);
  }

  private routeTo(chunk: Buffer, destination: number): Route {
    const start = this.frame.colonAt[destination]! + 1;
    const length = this.frame.lineEnd[destination]! - start;
    const route = this.lastRoute;
    const isLast =
      route !== null &&
      length === this.lastDestination.length &&
      startsWith(chunk, start, this.lastDestination, length) &&
      this.vhost.current(route);
    if (isLast) return route;
    const parsed = parseDestination(this.frame.value(destination, this.version));
    if (parsed.kind === 'queue') this.getQueue(parsed.name, parsed.declared);
    const [exchange, key] = parsed.kind === 'queue' ? ['', parsed.name] : [parsed.exchange, parsed.key];
    const found = this.vhost.routeFor(exchange, key);
    if (found.isReply) return found;
    this.vhost.demand(this, 'write', 'exchange', exchange);
    if (found.exchange.spec.type === 'topic') this.vhost.demand(this, 'write', 'topic', key);
    this.lastDestination = Buffer.from(chunk.subarray(start, start + length));
    this.lastRoute = found;
    return found;
  }

  /**
   * The header lines that belong to the message. Where the frame's own lie together in front of them or behind them,
   * as they mostly do, the lines are taken as they lie in the chunk; else they are gathered, body and all.
   */
  private findNative(chunk: Buffer): [bytes: Buffer, start: number, end: number, bodyStart: number, bodyEnd: number] {
    const { frame } = this;
    let first = 0;
    let last = frame.count - 1;
    while (first <= last && this.isOwn(first)) first += 1;
    while (last >= first && this.isOwn(last)) last -= 1;
    let whole = !frame.hasCr;
    for (let i = first + 1; i < last && whole; i++) whole = !this.isOwn(i);
    if (first > last) return [chunk, frame.bodyStart, frame.bodyStart, frame.bodyStart, frame.bodyEnd];
    if (whole) return [chunk, frame.nameAt[first]!, frame.lineEnd[last]! + 1, frame.bodyStart, frame.bodyEnd];
    const parts: Buffer[] = [];
    for (let i = first; i <= last; i++) {
      if (!this.isOwn(i)) parts.push(chunk.subarray(frame.nameAt[i]!, frame.lineEnd[i]!), lineFeed);
    }
    const native = Buffer.concat(parts);
    const bytes = Buffer.concat([native, chunk.subarray(frame.bodyStart, frame.bodyEnd)]);
    return [bytes, 0, native.length, native.length, bytes.length];
  }

  private isOwn(index: number): boolean {
    for (const name of own) if (this.frame.isName(index, name)) return true;
    return false;
  }

  // −1 when there is none, or it is no number.
  private findInteger(name: Buffer): number {
    const index = this.frame.find(name);
    if (index < 0) return -1;
    const text = this.frame.value(index, this.version);
    return /^\d{1,15}$/.test(text) ? Number(text) : -1;
  }

  // — SUBSCRIBE, ACK ——————————————————————————————————————————————————————————————————————————————————————————————

  private onSubscribe(headers: Headers): void {
    const destination = need(headers, 'SUBSCRIBE', 'destination');
    const id = headers.get('id') ?? (this.version === '1.0' ? `Q_${destination}` : need(headers, 'SUBSCRIBE', 'id'));
    if (this.subscriptions.has(id)) throw new ProtocolError('Duplicated subscription identifier', `'${id}' is in use`);
    const parsed = parseDestination(destination);
    const queue =
      parsed.kind === 'queue'
        ? this.getQueue(parsed.name, parsed.declared)
        : this.bindQueue(parsed.exchange, parsed.key);
    this.vhost.demand(this, 'read', 'queue', queue.name);
    const prefetch = Number(headers.get('prefetch-count') ?? headers.get('activemq.prefetchSize') ?? 0);
    const subscription = new Subscription(this, queue, {
      id,
      ackMode: parseAckMode(headers.get('ack')),
      prefetch: Number.isInteger(prefetch) && prefetch > 0 ? prefetch : 0,
      destination,
    });
    this.subscriptions.set(id, subscription);
    const attached = queue.attach(subscription);
    if (!(attached instanceof Promise)) return;
    this.stream.hold();
    attached.catch((error: unknown) => this.fail(error, undefined)).finally(() => this.stream.release());
  }

  private getQueue(name: string, declared: boolean): Queue {
    if (!declared || this.vhost.queues.has(name)) return this.vhost.getQueue(name, this);
    return this.vhost.declareQueue(this, {
      name,
      durable: true,
      autoDelete: false,
      exclusiveTo: null,
      arguments: noHeaders,
    });
  }

  // A subscription to a topic is a queue of its own, which goes with it.
  private bindQueue(exchange: string, key: string): Queue {
    const queue = this.vhost.declareQueue(
      this,
      {
        name: `amq.gen-${randomBytes(16).toString('base64url')}`,
        durable: false,
        autoDelete: true,
        exclusiveTo: this,
        arguments: noHeaders,
      },
      'generated',
    );
    this.vhost.bind(this, exchange, queue, key, noHeaders);
    return queue;
  }

  private onUnsubscribe(headers: Headers): void {
    const id =
      headers.get('id') ??
      (this.version === '1.0'
        ? `Q_${need(headers, 'UNSUBSCRIBE', 'destination')}`
        : need(headers, 'UNSUBSCRIBE', 'id'));
    const subscription = this.subscriptions.get(id);
    if (subscription === undefined)
      throw new ProtocolError('Subscription not found', `There is no current subscription with id '${id}'`);
    this.subscriptions.delete(id);
    this.leave(subscription);
  }

  private leave(subscription: Subscription): void {
    const returned: QueueEntry[] = [];
    for (const [tag, entry] of this.unacked) {
      if (entry.consumer !== subscription) continue;
      this.unacked.delete(tag);
      returned.push(entry);
    }
    subscription.queue.detach(subscription);
    for (const entry of returned) entry.requeue();
  }

  /** @returns the number in the message id */
  nextDelivery(entry: QueueEntry, settled: boolean): number {
    this.deliveries += 1;
    if (!settled) this.unacked.set(this.deliveries, entry);
    return this.deliveries;
  }

  private onAck(headers: Headers, settle: (entry: QueueEntry) => void): void {
    const name = this.version === '1.2' ? 'id' : 'message-id';
    const id = need(headers, 'ACK', name);
    const prefix = `${this.session}@@`;
    const tag = id.startsWith(prefix) ? Number(id.slice(prefix.length)) : Number.NaN;
    const entry = this.unacked.get(tag);
    if (entry === undefined) throw new ProtocolError('Message not found', `There is no unacknowledged message '${id}'`);
    const subscription = entry.consumer as Subscription;
    if (subscription.ackMode === 'client-individual') this.settleOne(tag, entry, subscription, settle);
    else {
      // cumulative: all deliveries of the subscription up to this one
      for (const [earlier, each] of this.unacked) {
        if (earlier > tag) break;
        if (each.consumer === subscription) this.settleOne(earlier, each, subscription, settle);
      }
    }
    subscription.queue.wake();
  }

  private settleOne(
    tag: number,
    entry: QueueEntry,
    subscription: Subscription,
    settle: (entry: QueueEntry) => void,
  ): void {
    this.unacked.delete(tag);
    subscription.unacked -= 1;
    settle(entry);
  }

  /** The queue of a subscription was deleted. */
  queueGone(subscription: Subscription): void {
    if (this.subscriptions.get(subscription.id) !== subscription) return;
    this.subscriptions.delete(subscription.id);
    this.fail(
      new ProtocolError('Server cancelled subscription', `The queue of subscription '${subscription.id}' was deleted`),
      undefined,
    );
  }

  // — the end —————————————————————————————————————————————————————————————————————————————————————————————————————

  // The receipt of DISCONNECT says that all before it is safe [STOMP 1.2 §DISCONNECT].
  private onDisconnect(headers: Headers): void {
    const receipt = headers.get('receipt');
    if (receipt === undefined) return this.finish('closed by the client');
    const { journal } = this.door.broker;
    this.stream.hold();
    journal.whenDurable(journal.position, () => {
      this.sendReceipt(receipt);
      this.finish('closed by the client');
    });
  }

  private fail(error: unknown, receipt: string | undefined): void {
    if (this.state === 'closed') return;
    const isOurs = !(error instanceof ProtocolError) && !(error instanceof BrokerError);
    if (isOurs) this.door.log.error({ peer: this.peer, error }, 'stomp: a fault of ours');
    const message = isOurs
      ? 'Internal error'
      : error instanceof BrokerError
        ? shownCondition[error.condition]
        : error.message;
    const detail = isOurs
      ? 'an error inside the broker'
      : error instanceof ProtocolError
        ? error.detail
        : error.message;
    const lines = receipt === undefined ? [] : [`receipt-id:${escapeText(receipt, this.version)}`];
    this.sendError(message, detail, lines);
    this.finish(`${message}: ${detail}`);
  }

  private sendError(message: string, detail: string, lines: readonly string[] = []): void {
    const body = `${detail}\n`;
    this.stream.write(
      encodeFrame(
        'ERROR',
        [
          `message:${escapeText(message, this.version)}`,
          'content-type:text/plain',
          ...lines,
          `content-length:${Buffer.byteLength(body)}`,
        ],
        body,
      ),
    );
  }

  close(why: Condition, text: string): void {
    if (this.state === 'open') this.sendError(shownCondition[why], text);
    this.finish(text);
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
    if (this.opened === null) return;
    const subscriptions = [...this.subscriptions.values()];
    this.subscriptions.clear();
    for (const subscription of subscriptions) subscription.queue.detach(subscription);
    const entries = [...this.unacked.values()];
    this.unacked.clear();
    for (const entry of entries) entry.requeue();
    this.door.broker.clientGone(this);
    this.door.log.info({ peer: this.peer, user: this.user, reason }, 'closed');
  }

  onDrain(): void {
    for (const subscription of this.subscriptions.values()) subscription.queue.wake();
  }

  onFlush(): void {}

  /** Called about once a second. */
  sweep(nowMs: number): void {
    if (this.state !== 'open') {
      if (nowMs - this.connectedAtMs < this.door.options.loginTimeoutMs) return;
      this.door.log.info({ peer: this.peer }, 'stomp: login took too long');
      return this.finish('');
    }
    if (this.sendEveryMs > 0 && nowMs - this.stream.lastWriteMs >= this.sendEveryMs - sweepEveryMs)
      this.stream.write(lineFeed);
    // twice the interval: room for timing inaccuracies [STOMP 1.2 §Heart-beating]
    if (this.expectEveryMs > 0 && nowMs - this.stream.lastReadMs > 2 * this.expectEveryMs + sweepEveryMs) {
      this.finish('missed heart-beats');
    }
  }
}

const sweepEveryMs = 1000;
const lineFeed = Buffer.from('\n');

/** The `message` header of an ERROR, by condition. */
const shownCondition: Record<Condition, string> = {
  'not-found': 'Not found',
  'precondition-failed': 'Precondition failed',
  'resource-locked': 'Resource locked',
  'resource-deleted': 'Resource deleted',
  'unauthorized-access': 'Access refused',
  'resource-limit-exceeded': 'Resource limit exceeded',
  'quota-exceeded': 'Quota exceeded',
  'not-allowed': 'Not allowed',
  'not-implemented': 'Not implemented',
  'illegal-state': 'Illegal state',
  'invalid-field': 'Invalid header',
  'no-route': 'No route',
  'connection-forced': 'Server shutting down',
  'internal-error': 'Internal error',
};

function need(headers: Headers, command: string, name: string): string {
  const value = headers.get(name);
  if (value === undefined) throw new ProtocolError('Missing header', `${command} needs '${name}'`);
  return value;
}

function parseAckMode(text: string | undefined): AckMode {
  if (text === undefined) return 'auto';
  if (text === 'auto' || text === 'client' || text === 'client-individual') return text;
  throw new ProtocolError('Invalid header', `ack mode '${text}'`);
}

/** @returns what the peer can send and what it wants, in milliseconds */
function parseHeartBeat(text: string | undefined): [number, number] {
  if (text === undefined) return [0, 0];
  const match = /^(\d{1,9}),(\d{1,9})$/.exec(text.trim());
  if (match === null) throw new ProtocolError('Invalid header', `heart-beat '${text}'`);
  return [Number(match[1]), Number(match[2])];
}
