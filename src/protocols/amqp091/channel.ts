import type { ChannelView } from '../../core/client.ts';
import type { Route } from '../../core/exchange/route.ts';
import type { MessageFormat } from '../../core/format.ts';
import { Message, type MessageFacts, noDeaths } from '../../core/message.ts';
import { noHeaders } from '../../core/properties.ts';
import { readConsumerPriority } from '../../core/queue/arguments.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Queue } from '../../core/queue/queue.ts';
import type { Settlement } from '../../core/transaction.ts';
import { decodeText, emptyBuffer, startsWith } from '../../lib/bytes.ts';
import { Assembly } from './assembly.ts';
import { ChannelTransaction } from './channel-transaction.ts';
import { Confirms } from './confirms.ts';
import type { Connection } from './connection.ts';
import { ChannelConsumer } from './consumer.ts';
import { DeliveryAge } from './delivery-age.ts';
import { ProtocolError } from './errors.ts';
import { contentBytes, represents, shownInstead, shownKey, writeContent } from './frame.ts';
import { amqp091Format, blindCopyFormat } from './message.ts';
import { type Arguments, encodeMethod } from './methods.ts';
import { RoutingFacts, readCopies, replaceReplyTo } from './properties.ts';
import { replyQueueName, wantsReplyQueue } from './reply-queue.ts';
import { type Method, methods, ReplyCode } from './spec.ts';
import { Topology } from './topology.ts';
import { Unacked } from './unacked.ts';

type State = 'open' | 'closing';

const facts = new RoutingFacts();

/** A channel: its consumers, what it has delivered and not settled, its publishes and their confirms. */
export class Channel {
  readonly id: number;
  readonly connection: Connection;
  readonly consumers = new Map<string, ChannelConsumer>();
  state: State = 'open';

  private readonly unacked = new Unacked();
  private lastDeliveryTag = 0;
  /** Of the unacked, those that basic.get took: no prefetch counts them. */
  private fetched = 0;
  private published = 0;
  private returned = 0;
  private dropped = 0;
  /** Deliveries and fetches that nobody acks; of them and others those that were asked for one by one. */
  private settledDeliveries = 0;
  private got = 0;
  private gotSettled = 0;
  private gotNothing = 0;
  private redelivered = 0;
  private acked = 0;
  /** For consumers to come; 0 = no limit. */
  private prefetch = 0;
  /** For the channel as a whole; 0 = no limit. */
  private channelPrefetch = 0;
  private confirms: Confirms | null = null;
  private transaction: ChannelTransaction | null = null;
  private assembly: Assembly | null = null;
  private readonly topology: Topology;
  /** Where replies to `amq.rabbitmq.reply-to` come, and go straight to the consumer. */
  private replyQueue: Queue | null = null;
  private readonly deliveryAge: DeliveryAge;

  /** Exchange and routing key of the last publish as they came, and where they lead. */
  private lastAddress: Buffer = emptyBuffer;
  private lastAddressBytes = -1;
  private lastRoute: Route | null = null;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.id = id;
    this.deliveryAge = new DeliveryAge(connection.limits.consumerTimeoutMs);
    this.topology = new Topology(connection, (noWait, method, values) => this.reply(noWait, method, values));
  }

  get hasCredit(): boolean {
    if (this.channelPrefetch === 0) return true;
    return this.unacked.count - this.fetched + (this.transaction?.settled.length ?? 0) < this.channelPrefetch;
  }

  send(frame: Buffer): void {
    this.connection.stream.write(frame);
  }

  describe(): ChannelView {
    const { confirms, transaction } = this;
    return {
      number: this.id,
      state: this.state === 'open' ? 'running' : 'closing',
      consumers: this.consumers.size,
      unacked: this.unacked.count,
      unconfirmed: confirms?.unsettled ?? 0,
      prefetch: this.prefetch,
      globalPrefetch: this.channelPrefetch,
      confirms: confirms !== null,
      transactional: transaction !== null,
      uncommittedMessages: transaction?.core.published ?? 0,
      uncommittedAcks: transaction?.settled.length ?? 0,
      counts: {
        published: this.published,
        confirmed: confirms?.told ?? 0,
        returned: this.returned,
        dropped: this.dropped,
        delivered: this.lastDeliveryTag - this.settledDeliveries - this.got,
        deliveredSettled: this.settledDeliveries - this.gotSettled,
        fetched: this.got,
        fetchedSettled: this.gotSettled,
        fetchedNothing: this.gotNothing,
        redelivered: this.redelivered,
        acked: this.acked,
      },
    };
  }

  // — publishing ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** True while content frames are due on this channel. */
  get assembling(): boolean {
    return this.assembly !== null;
  }

  /** Another frame came where content was due. */
  interrupted(): never {
    throw this.assembly?.interrupted() ?? notMethod();
  }

  /**
   * A publish whose frames lie whole in the chunk, header behind method and at most one body frame behind it.
   * @param address offset of the exchange's length, behind class id, method id and the reserved short
   * @param header offset of the header frame; `body` that of the body frame, or of what follows when there is none
   */
  publishWhole(chunk: Buffer, address: number, header: number, headerEnd: number, bodyBytes: number): void {
    const addressBytes = 2 + chunk[address]! + chunk[address + 1 + chunk[address]!]!;
    let route = this.lastRoute;
    if (
      route === null ||
      addressBytes !== this.lastAddressBytes ||
      !startsWith(chunk, address, this.lastAddress, addressBytes) ||
      !this.connection.vhost.current(route)
    ) {
      route = this.findRoute(chunk, address, addressBytes);
    }
    const nativeStart = header + 19;
    const nativeEnd = headerEnd - 1;
    facts.read(chunk, nativeStart, nativeEnd);
    const bodyStart = bodyBytes === 0 ? nativeEnd + 1 : headerEnd + 7;
    const bodyEnd = bodyStart + bodyBytes;
    const flags = chunk[address + addressBytes]!;
    this.publish(
      route,
      chunk,
      header,
      bodyBytes === 0 ? headerEnd : bodyEnd + 1,
      nativeStart,
      nativeEnd,
      bodyStart,
      bodyEnd,
      flags,
    );
  }

  /** basic.publish whose content comes in frames of its own. */
  beginPublish(method: Arguments): void {
    this.assembly = new Assembly(method);
    if (method.bit('immediate')) throw new ProtocolError(ReplyCode.notImplemented, 'immediate=true');
  }

  onHeader(payload: Buffer): void {
    const { assembly } = this;
    if (assembly === null) throw notMethod();
    if (assembly.onHeader(payload, this.connection.limits.messageBytes)) this.endAssembly(assembly);
  }

  onBody(payload: Buffer): void {
    const { assembly } = this;
    if (assembly === null) throw notMethod();
    if (assembly.onBody(payload)) this.endAssembly(assembly);
  }

  private endAssembly(assembly: Assembly): void {
    this.assembly = null;
    const { bytes, nativeBytes, mandatory } = assembly;
    facts.read(bytes, 0, nativeBytes);
    const route = this.connection.vhost.routeFrom(this.connection, assembly.exchange, assembly.routingKey);
    const end = bytes.length;
    this.publish(route, bytes, 0, end, 0, nativeBytes, nativeBytes, end, mandatory ? 1 : 0);
  }

  // The facts of the properties are in `facts`. Mandatory is bit 0 of `flags`, immediate bit 1.
  private publish(
    route: Route,
    bytes: Buffer,
    start: number,
    end: number,
    nativeStart: number,
    nativeEnd: number,
    bodyStart: number,
    bodyEnd: number,
    flags: number,
  ): void {
    if ((flags & 2) !== 0) throw new ProtocolError(ReplyCode.notImplemented, 'immediate=true');
    if (facts.userIdAt >= 0) this.demandUser(bytes, facts.userIdAt);
    if (facts.copiesAt >= 0 || (facts.replyToAt >= 0 && wantsReplyQueue(bytes, facts.replyToAt))) {
      this.publishRewritten(route, bytes, nativeStart, nativeEnd, bytes.subarray(bodyStart, bodyEnd), flags);
      return;
    }
    this.route(amqp091Format, route, bytes, start, end, nativeStart, nativeEnd, bodyStart, bodyEnd, flags);
  }

  private route(
    format: MessageFormat,
    route: Route,
    bytes: Buffer,
    start: number,
    end: number,
    nativeStart: number,
    nativeEnd: number,
    bodyStart: number,
    bodyEnd: number,
    flags: number,
  ): void {
    const { connection, confirms } = this;
    const { vhost } = connection;
    this.published += 1;
    if (connection.refuses(end - start, confirms !== null)) return confirms!.refuse();
    const of = messageFacts;
    of.format = format;
    of.exchange = route.exchange.name;
    of.routingKey = route.routingKey;
    of.durable = facts.durable;
    of.priority = facts.priority;
    of.expiresAtMs = facts.ttlMs < 0 ? 0 : vhost.nowMs + facts.ttlMs;
    of.publisher = connection;
    of.bytes = bytes;
    of.start = start;
    of.end = end;
    of.nativeStart = nativeStart;
    of.nativeEnd = nativeEnd;
    of.bodyStart = bodyStart;
    of.bodyEnd = bodyEnd;
    const message = new Message(of);
    if (this.transaction !== null) {
      this.transaction.publish(route, message, (flags & 1) !== 0);
      return;
    }
    if (confirms !== null) confirms.published += 1;
    if ((flags & 1) !== 0 && this.isUnroutable(route, message)) this.return(message);
    const mandatory = (flags & 1) !== 0;
    const result = vhost.publish(route, message, confirms, confirms === null ? 0 : confirms.published, mandatory);
    if (result === 'unroutable' && !mandatory) this.dropped += 1;
  }

  // CC, BCC and a reply-to that stands for a queue of the broker's: the properties are written anew.
  private publishRewritten(
    route: Route,
    bytes: Buffer,
    nativeStart: number,
    nativeEnd: number,
    body: Buffer,
    flags: number,
  ): void {
    let native: Buffer = bytes.subarray(nativeStart, nativeEnd);
    if (facts.replyToAt >= 0 && wantsReplyQueue(bytes, facts.replyToAt)) {
      if (this.replyQueue === null || this.replyQueue.deleted) {
        throw new ProtocolError(ReplyCode.preconditionFailed, 'fast reply consumer does not exist');
      }
      native = replaceReplyTo(native, facts.replyToAt - nativeStart, this.replyQueue.name);
    }
    let to = route;
    let format = amqp091Format;
    if (facts.copiesAt >= 0) {
      const copies = readCopies(native, facts.copiesAt - nativeStart);
      if (copies.blind) format = blindCopyFormat;
      const { vhost } = this.connection;
      if (route.exchange.spec.type === 'topic') {
        for (const key of copies.keys) vhost.demandTopic(this.connection, key, route.exchange.name);
      }
      to = vhost.routeForAll(route.exchange.name, [route.routingKey, ...copies.keys]);
    }
    const own = Buffer.concat([native, body]);
    this.route(format, to, own, 0, own.length, 0, native.length, native.length, own.length, flags);
  }

  private demandUser(bytes: Buffer, at: number): void {
    const user = decodeText(bytes, at + 1, at + 1 + bytes[at]!);
    if (user === this.connection.user) return;
    throw new ProtocolError(
      ReplyCode.preconditionFailed,
      `user_id property set to '${user}' but authenticated user was '${this.connection.user}'`,
    );
  }

  // basic.return comes before the confirm [RabbitMQ: confirms].
  private isUnroutable(route: Route, message: Message): boolean {
    return this.connection.vhost.targetsOf(route, message).length === 0;
  }

  private return(message: Message): void {
    this.returned += 1;
    this.connection.vhost.returned += 1;
    const method = encodeMethod(this.id, methods.basicReturn, {
      replyCode: ReplyCode.noRoute,
      replyText: 'NO_ROUTE',
      exchange: message.exchange,
      routingKey: message.routingKey,
    });
    this.sendContent(method, message, null);
  }

  private sendContent(method: Buffer, message: Message, shown: Buffer | null): void {
    const { stream, frameMax } = this.connection;
    const bytes = method.length + contentBytes(message, frameMax, shown);
    const at = stream.reserve(bytes);
    method.copy(stream.out, at);
    writeContent(stream.out, at + method.length, message, this.id, frameMax, shown);
    stream.advance(bytes);
  }

  private findRoute(chunk: Buffer, address: number, addressBytes: number): Route {
    const exchangeEnd = address + 1 + chunk[address]!;
    const exchange = decodeText(chunk, address + 1, exchangeEnd);
    const routingKey = decodeText(chunk, exchangeEnd + 1, address + addressBytes);
    const route = this.connection.vhost.routeFrom(this.connection, exchange, routingKey);
    this.lastAddress = Buffer.from(chunk.subarray(address, address + addressBytes));
    this.lastAddressBytes = addressBytes;
    this.lastRoute = route;
    return route;
  }

  /** Sends the turn's confirms. */
  flush(): void {
    const { confirms } = this;
    if (confirms === null) return;
    const before = confirms.told;
    confirms.flush(
      (deliveryTag, multiple) => this.send(encodeMethod(this.id, methods.basicAck, { deliveryTag, multiple })),
      (deliveryTag) => this.send(encodeMethod(this.id, methods.basicNack, { deliveryTag, requeue: true })),
    );
    this.connection.vhost.confirmed += confirms.told - before;
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** @returns the delivery tag */
  nextDelivery(entry: QueueEntry, settled: boolean): number {
    this.lastDeliveryTag += 1;
    if (settled) this.settledDeliveries += 1;
    else this.unacked.add(this.lastDeliveryTag, entry);
    if (entry.redelivered) this.redelivered += 1;
    return this.lastDeliveryTag;
  }

  onAck(tag: number, multiple: boolean): void {
    this.settle(tag, multiple, 'ack');
  }

  onNack(tag: number, multiple: boolean, requeue: boolean): void {
    this.settle(tag, multiple, requeue ? 'requeue' : 'reject');
  }

  // Tag 0 with multiple is all of them [AMQP 0-9-1, basic.ack].
  private settle(tag: number, multiple: boolean, as: Settlement): void {
    const all = multiple && tag === 0;
    if (!all && !this.unacked.has(tag)) {
      throw new ProtocolError(ReplyCode.preconditionFailed, `unknown delivery tag ${tag}`);
    }
    if (this.transaction !== null) return this.settleLater(this.transaction, tag, multiple, as);
    if (multiple) this.settleUpTo(all ? this.lastDeliveryTag : tag, as);
    else {
      const entry = this.unacked.take(tag)!;
      this.settleOne(entry, as);
      entry.queue.wake();
    }
    if (this.channelPrefetch > 0) this.wakeConsumers();
  }

  private settleUpTo(tag: number, as: Settlement): void {
    let queue: Queue | null = null;
    for (let entry = this.unacked.takeFirst(tag); entry !== undefined; entry = this.unacked.takeFirst(tag)) {
      if (queue !== null && queue !== entry.queue) queue.wake();
      queue = entry.queue;
      this.settleOne(entry, as);
    }
    queue?.wake();
  }

  private settleOne(entry: QueueEntry, as: Settlement): void {
    this.released(entry);
    if (as === 'ack') {
      this.acked += 1;
      entry.ack();
    } else if (as === 'requeue') entry.requeue();
    else entry.reject();
  }

  // It counts against no window any longer.
  private released(entry: QueueEntry): void {
    if (entry.consumer !== null) (entry.consumer as ChannelConsumer).unacked -= 1;
    else this.fetched -= 1;
  }

  private settleLater(transaction: ChannelTransaction, tag: number, multiple: boolean, as: Settlement): void {
    if (!multiple) {
      transaction.settled.push({ tag, entry: this.unacked.take(tag)!, as });
      return;
    }
    const last = tag === 0 ? this.lastDeliveryTag : tag;
    for (let first = this.unacked.oldest; first !== 0 && first <= last; first = this.unacked.oldest) {
      transaction.settled.push({ tag: first, entry: this.unacked.take(first)!, as });
    }
  }

  /** Closes the channel when a delivery has waited too long for its ack [RabbitMQ: consumers, acknowledgement timeout]. */
  demandAcks(nowMs: number): void {
    if (!this.deliveryAge.isOver(this.unacked.oldest, this.lastDeliveryTag, nowMs)) return;
    throw new ProtocolError(
      ReplyCode.preconditionFailed,
      `delivery acknowledgement on channel ${this.id} timed out. Timeout value used: ${this.connection.limits.consumerTimeoutMs} ms. This timeout value can be configured, see consumers doc guide to learn more`,
    );
  }

  wakeConsumers(): void {
    for (const consumer of this.consumers.values()) consumer.queue.wake();
  }

  private requeueAll(): void {
    this.settleUpTo(this.lastDeliveryTag, 'requeue');
  }

  /** Nothing more is delivered: what the channel or another of a connection that closes returns is for others. */
  detachConsumers(): void {
    for (const consumer of this.consumers.values()) consumer.queue.detach(consumer);
    this.consumers.clear();
  }

  /** Gives up consumers and returns what was not settled; the channel or its connection is closing. */
  close(): void {
    this.assembly = null;
    this.detachConsumers();
    this.rollback();
    this.requeueAll();
    this.confirms = null;
    this.transaction = null;
  }

  // — cold methods ————————————————————————————————————————————————————————————————————————————————————————————————

  onMethod(method: Method, args: Arguments): void {
    if (this.topology.onMethod(method, args)) return;
    switch (method) {
      case methods.basicQos:
        return this.onQos(args);
      case methods.basicConsume:
        return this.onConsume(args);
      case methods.basicCancel:
        return this.onCancel(args);
      case methods.basicGet:
        return this.onGet(args);
      case methods.basicRecover:
      case methods.basicRecoverAsync:
        if (!args.bit('requeue')) throw new ProtocolError(ReplyCode.notImplemented, 'requeue=false');
        if (method === methods.basicRecover) this.reply(false, methods.basicRecoverOk);
        this.requeueAll();
        return;
      case methods.txSelect:
        if (this.confirms !== null) {
          throw new ProtocolError(ReplyCode.preconditionFailed, 'cannot switch from confirm to tx mode');
        }
        this.transaction ??= new ChannelTransaction(this.connection.vhost);
        return this.reply(false, methods.txSelectOk);
      case methods.txCommit:
        this.commit(this.getTransaction());
        return this.reply(false, methods.txCommitOk);
      case methods.txRollback:
        this.getTransaction();
        this.rollback();
        return this.reply(false, methods.txRollbackOk);
      case methods.confirmSelect:
        if (this.transaction !== null) {
          throw new ProtocolError(ReplyCode.preconditionFailed, 'cannot switch from tx to confirm mode');
        }
        this.confirms ??= new Confirms(() => this.connection.flushLater(this));
        return this.reply(args.bit('noWait'), methods.confirmSelectOk);
      case methods.basicCancelOk:
      case methods.channelFlowOk:
        return; // answers to what the broker sends without waiting for one
      case methods.channelFlow:
        if (!args.bit('active')) throw new ProtocolError(ReplyCode.notImplemented, 'active=false');
        return this.reply(false, methods.channelFlowOk, { active: args.bit('active') });
      case methods.accessRequest:
        return this.reply(false, methods.accessRequestOk, { ticket: 1 });
      default:
        throw new ProtocolError(ReplyCode.commandInvalid, 'unimplemented method');
    }
  }

  private reply(noWait: boolean, method: Method, values: Record<string, unknown> = {}): void {
    if (!noWait) this.connection.reply(encodeMethod(this.id, method, values));
  }

  private getTransaction(): ChannelTransaction {
    if (this.transaction !== null) return this.transaction;
    throw new ProtocolError(ReplyCode.preconditionFailed, 'channel is not transactional');
  }

  private commit(transaction: ChannelTransaction): void {
    const settled = transaction.commit((message) => this.return(message));
    if (settled === null) throw new ProtocolError(ReplyCode.preconditionFailed, 'partial tx completion');
    for (const { entry, as } of settled) {
      if (as === 'ack') this.acked += 1;
      this.released(entry);
    }
    this.wakeConsumers();
  }

  private rollback(): void {
    if (this.transaction !== null) this.unacked.restore(this.transaction.rollback());
  }

  private onQos(args: Arguments): void {
    if (args.number('prefetchSize') !== 0) {
      throw new ProtocolError(ReplyCode.notImplemented, `prefetch_size!=0 (${args.number('prefetchSize')})`);
    }
    if (args.bit('global')) {
      this.channelPrefetch = args.number('prefetchCount');
    } else this.prefetch = args.number('prefetchCount');
    this.reply(false, methods.basicQosOk);
    this.wakeConsumers();
  }

  private onConsume(args: Arguments): void {
    const tag = args.text('consumerTag') || this.connection.generateName('amq.ctag-');
    if (this.consumers.has(tag)) {
      throw new ProtocolError(ReplyCode.notAllowed, `attempt to reuse consumer tag '${tag}'`);
    }
    const queue =
      args.text('queue') === replyQueueName ? this.openReplyQueue(args) : this.topology.getReadable(args.text('queue'));
    const what = `queue '${queue.name}' in vhost '${this.connection.vhost.name}'`;
    // [RabbitMQ: quorum queues, global QoS]
    if (this.channelPrefetch > 0 && queue.options.type === 'quorum') {
      throw new ProtocolError(ReplyCode.notImplemented, `${what} does not support global qos`);
    }
    const consumer = new ChannelConsumer(this, queue, {
      tag,
      noAck: args.bit('noAck'),
      exclusive: args.bit('exclusive'),
      priority: readConsumerPriority(args.table('arguments'), what),
      prefetch: args.bit('noAck') ? 0 : this.prefetch,
      arguments: args.table('arguments'),
    });
    this.connection.settled(queue.attach(consumer), () => {
      this.consumers.set(tag, consumer);
      this.reply(args.bit('noWait'), methods.basicConsumeOk, { consumerTag: tag });
      consumer.start();
    });
  }

  // A queue like others, for this connection alone: a reply comes to it by its name, from whatever protocol.
  private openReplyQueue(args: Arguments): Queue {
    if (!args.bit('noAck')) {
      throw new ProtocolError(ReplyCode.preconditionFailed, 'reply consumer cannot acknowledge');
    }
    if (this.replyQueue !== null && !this.replyQueue.deleted) {
      throw new ProtocolError(ReplyCode.preconditionFailed, 'reply consumer already set');
    }
    this.replyQueue = this.connection.vhost.createQueue({
      name: this.connection.generateName(`${replyQueueName}.`),
      durable: false,
      autoDelete: true,
      exclusiveTo: this.connection,
      arguments: noHeaders,
    });
    return this.replyQueue;
  }

  private onCancel(args: Arguments): void {
    const consumer = this.consumers.get(args.text('consumerTag'));
    if (consumer !== undefined) {
      this.consumers.delete(consumer.tag);
      consumer.queue.detach(consumer);
    }
    this.reply(args.bit('noWait'), methods.basicCancelOk, { consumerTag: args.text('consumerTag') });
  }

  private rejectsLosses(queue: Queue): boolean {
    return queue.options.rejectsLosses || this.connection.limits.rejectsLosses;
  }

  private onGet(args: Arguments): void {
    const queue = this.topology.getReadable(args.text('queue'));
    const noAck = args.bit('noAck');
    this.connection.settled(queue.get(noAck), (entry) => {
      if (entry === undefined) {
        this.gotNothing += 1;
        return this.reply(false, methods.basicGetEmpty);
      }
      const { message } = entry;
      if (this.rejectsLosses(queue) && !represents(message, this.connection.frameMax)) {
        queue.reject(entry, null, 'unrepresentable');
        return this.onGet(args);
      }
      const deliveryTag = this.nextDelivery(entry, noAck);
      if (noAck) this.gotSettled += 1;
      else {
        this.got += 1;
        this.fetched += 1;
      }
      const method = encodeMethod(this.id, methods.basicGetOk, {
        deliveryTag,
        redelivered: entry.redelivered,
        exchange: message.exchange,
        routingKey: shownKey(message.routingKey),
        messageCount: queue.counts.ready,
      });
      this.sendContent(method, message, shownInstead(entry, this.connection.frameMax));
      if (noAck) entry.ack();
    });
  }
}

function notMethod(): ProtocolError {
  return new ProtocolError(ReplyCode.unexpectedFrame, 'expected method frame, got non method frame instead');
}

/** Filled for each message, and read by its constructor alone: saves an object a message. */
const messageFacts: { -readonly [Fact in keyof MessageFacts]: MessageFacts[Fact] } = {
  format: amqp091Format,
  exchange: '',
  routingKey: '',
  durable: false,
  priority: -1,
  expiresAtMs: 0,
  qos: -1,
  retain: false,
  publisher: null,
  deaths: noDeaths,
  bytes: emptyBuffer,
  start: 0,
  end: 0,
  nativeStart: 0,
  nativeEnd: 0,
  bodyStart: 0,
  bodyEnd: 0,
};
