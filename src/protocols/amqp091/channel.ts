import { BrokerError } from '../../core/errors.ts';
import { type ExchangeType, exchangeTypes } from '../../core/exchange/exchange.ts';
import type { Route } from '../../core/exchange/route.ts';
import { Message, noDeaths } from '../../core/message.ts';
import { type Headers, isTyped } from '../../core/properties.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Queue } from '../../core/queue/queue.ts';
import { decodeText, emptyBuffer, startsWith } from '../../lib/bytes.ts';
import { Confirms } from './confirms.ts';
import type { Connection } from './connection.ts';
import { ChannelConsumer } from './consumer.ts';
import { ProtocolError } from './errors.ts';
import { contentBytes, writeContent } from './frame.ts';
import { amqp091Format } from './message.ts';
import { type Arguments, encodeMethod } from './methods.ts';
import { RoutingFacts } from './properties.ts';
import { type Method, methods, ReplyCode } from './spec.ts';
import { Unacked } from './unacked.ts';

type State = 'open' | 'closing';

/** A publish whose content is still arriving. */
interface Assembly {
  readonly exchange: string;
  readonly routingKey: string;
  readonly mandatory: boolean;
  native: Buffer;
  /** −1 until the content header has come. */
  bodyBytes: number;
  body: Buffer;
  received: number;
}

const facts = new RoutingFacts();

/** A channel: its consumers, what it has delivered and not settled, its publishes and their confirms. */
export class Channel {
  readonly id: number;
  readonly connection: Connection;
  readonly consumers = new Map<string, ChannelConsumer>();
  state: State = 'open';

  private readonly unacked = new Unacked();
  private lastDeliveryTag = 0;
  /** For consumers to come; 0 = no limit. */
  private prefetch = 0;
  /** For the channel as a whole; 0 = no limit. */
  private channelPrefetch = 0;
  private confirms: Confirms | null = null;
  private assembly: Assembly | null = null;
  private lastQueue = '';

  /** Exchange and routing key of the last publish as they came, and where they lead. */
  private lastAddress: Buffer = emptyBuffer;
  private lastAddressBytes = -1;
  private lastRoute: Route | null = null;

  constructor(connection: Connection, id: number) {
    this.connection = connection;
    this.id = id;
  }

  get hasCredit(): boolean {
    return this.channelPrefetch === 0 || this.unacked.count < this.channelPrefetch;
  }

  send(frame: Buffer): void {
    this.connection.stream.write(frame);
  }

  // — publishing ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** True while content frames are due on this channel. */
  get assembling(): boolean {
    return this.assembly !== null;
  }

  abandonAssembly(): void {
    this.assembly = null;
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
    this.assembly = {
      exchange: method.text('exchange'),
      routingKey: method.text('routingKey'),
      mandatory: method.bit('mandatory'),
      native: emptyBuffer,
      bodyBytes: -1,
      body: emptyBuffer,
      received: 0,
    };
    if (method.bit('immediate')) throw new ProtocolError(ReplyCode.notImplemented, 'immediate=true');
  }

  onHeader(payload: Buffer): void {
    const assembly = this.assembly;
    if (assembly === null || assembly.bodyBytes >= 0) {
      throw new ProtocolError(ReplyCode.unexpectedFrame, 'expected method frame, got content header frame instead');
    }
    if (payload.length < 14) throw new ProtocolError(ReplyCode.syntaxError, 'content header is cut');
    if (payload.readUInt16BE(0) !== methods.basicPublish.classId) {
      throw new ProtocolError(ReplyCode.unexpectedFrame, 'content header of another class');
    }
    const bodyBytes = payload.readUInt32BE(4) * 0x1_0000_0000 + payload.readUInt32BE(8);
    const bodyMax = this.connection.limits.messageBytes;
    if (bodyBytes > bodyMax) {
      this.assembly = null;
      throw new ProtocolError(
        ReplyCode.preconditionFailed,
        `message size ${bodyBytes} is larger than configured max size ${bodyMax}`,
      );
    }
    assembly.native = Buffer.from(payload.subarray(12));
    assembly.bodyBytes = bodyBytes;
    if (bodyBytes === 0) this.endAssembly(assembly);
  }

  onBody(payload: Buffer): void {
    const assembly = this.assembly;
    if (assembly === null || assembly.bodyBytes < 0) {
      throw new ProtocolError(
        ReplyCode.unexpectedFrame,
        'expected content header or method frame, got content body frame',
      );
    }
    const { native } = assembly;
    if (assembly.received + payload.length > assembly.bodyBytes) {
      throw new ProtocolError(ReplyCode.unexpectedFrame, 'body frames exceed the announced body size');
    }
    const needed = native.length + assembly.received + payload.length;
    if (needed > assembly.body.length) {
      // Grows with what comes: an announced size alone takes no memory.
      const grown = Math.min(native.length + assembly.bodyBytes, Math.max(needed, 2 * assembly.body.length));
      const body = Buffer.allocUnsafeSlow(grown);
      if (assembly.received === 0) native.copy(body);
      else assembly.body.copy(body, 0, 0, native.length + assembly.received);
      assembly.body = body;
    }
    payload.copy(assembly.body, native.length + assembly.received);
    assembly.received += payload.length;
    if (assembly.received === assembly.bodyBytes) this.endAssembly(assembly);
  }

  private endAssembly(assembly: Assembly): void {
    this.assembly = null;
    const { native, bodyBytes, mandatory } = assembly;
    const bytes = bodyBytes === 0 ? native : assembly.body;
    facts.read(native, 0, native.length);
    const route = this.routeTo(assembly.exchange, assembly.routingKey);
    const end = native.length + bodyBytes;
    this.publish(route, bytes, 0, end, 0, native.length, native.length, end, mandatory ? 1 : 0);
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
    const vhost = this.connection.vhost;
    const message = new Message({
      format: amqp091Format,
      exchange: route.exchange.name,
      routingKey: route.routingKey,
      durable: facts.durable,
      priority: facts.priority,
      expiresAtMs: facts.ttlMs < 0 ? 0 : vhost.nowMs + facts.ttlMs,
      qos: -1,
      retain: false,
      publisher: this.connection,
      deaths: noDeaths,
      bytes,
      start,
      end,
      nativeStart,
      nativeEnd,
      bodyStart,
      bodyEnd,
    });
    const confirms = this.confirms;
    if (confirms !== null) confirms.published += 1;
    if ((flags & 1) !== 0 && this.isUnroutable(route, message)) this.return(message);
    vhost.publish(route, message, confirms, confirms === null ? 0 : confirms.published);
  }

  // basic.return comes before the confirm [RabbitMQ: confirms].
  private isUnroutable(route: Route, message: Message): boolean {
    return this.connection.vhost.targetsOf(route, message).length === 0;
  }

  private return(message: Message): void {
    const method = encodeMethod(this.id, methods.basicReturn, {
      replyCode: ReplyCode.noRoute,
      replyText: 'NO_ROUTE',
      exchange: message.exchange,
      routingKey: message.routingKey,
    });
    this.sendContent(method, message);
  }

  private sendContent(method: Buffer, message: Message): void {
    const { stream, frameMax } = this.connection;
    const bytes = method.length + contentBytes(message, frameMax);
    const at = stream.reserve(bytes);
    method.copy(stream.out, at);
    writeContent(stream.out, at + method.length, message, this.id, frameMax);
    stream.advance(bytes);
  }

  private findRoute(chunk: Buffer, address: number, addressBytes: number): Route {
    const exchangeEnd = address + 1 + chunk[address]!;
    const exchange = decodeText(chunk, address + 1, exchangeEnd);
    const routingKey = decodeText(chunk, exchangeEnd + 1, address + addressBytes);
    const route = this.routeTo(exchange, routingKey);
    this.lastAddress = Buffer.from(chunk.subarray(address, address + addressBytes));
    this.lastAddressBytes = addressBytes;
    this.lastRoute = route;
    return route;
  }

  private routeTo(exchange: string, routingKey: string): Route {
    const { vhost } = this.connection;
    const route = vhost.routeFor(exchange, routingKey);
    if (route.isReply) return route;
    vhost.demand(this.connection, 'write', 'exchange', exchange);
    if (route.exchange.spec.type === 'topic') vhost.demand(this.connection, 'write', 'topic', routingKey);
    if (route.exchange.spec.internal) {
      throw new BrokerError(
        'unauthorized-access',
        `cannot publish to internal exchange '${exchange}' in vhost '${vhost.name}'`,
      );
    }
    return route;
  }

  /** Sends the turn's confirms. */
  flush(): void {
    this.confirms?.flush(
      (deliveryTag, multiple) => this.send(encodeMethod(this.id, methods.basicAck, { deliveryTag, multiple })),
      (deliveryTag) => this.send(encodeMethod(this.id, methods.basicNack, { deliveryTag })),
    );
  }

  // — deliveries ——————————————————————————————————————————————————————————————————————————————————————————————————

  /** @returns the delivery tag */
  nextDelivery(entry: QueueEntry, settled: boolean): number {
    this.lastDeliveryTag += 1;
    if (!settled) this.unacked.add(this.lastDeliveryTag, entry);
    return this.lastDeliveryTag;
  }

  onAck(tag: number, multiple: boolean): void {
    this.settle(tag, multiple, ack);
  }

  onNack(tag: number, multiple: boolean, requeue: boolean): void {
    this.settle(tag, multiple, requeue ? requeueEntry : rejectEntry);
  }

  // Tag 0 with multiple is all of them [AMQP 0-9-1, basic.ack].
  private settle(tag: number, multiple: boolean, settle: (entry: QueueEntry) => void): void {
    const all = multiple && tag === 0;
    if (!all && !this.unacked.has(tag)) {
      throw new ProtocolError(ReplyCode.preconditionFailed, `unknown delivery tag ${tag}`);
    }
    if (multiple) this.settleUpTo(all ? this.lastDeliveryTag : tag, settle);
    else {
      const entry = this.unacked.take(tag)!;
      this.settleOne(entry, settle);
      entry.queue.wake();
    }
    if (this.channelPrefetch > 0) this.wakeConsumers();
  }

  private settleUpTo(tag: number, settle: (entry: QueueEntry) => void): void {
    let queue: Queue | null = null;
    for (let entry = this.unacked.takeFirst(tag); entry !== undefined; entry = this.unacked.takeFirst(tag)) {
      if (queue !== null && queue !== entry.queue) queue.wake();
      queue = entry.queue;
      this.settleOne(entry, settle);
    }
    queue?.wake();
  }

  private settleOne(entry: QueueEntry, settle: (entry: QueueEntry) => void): void {
    if (entry.consumer !== null) (entry.consumer as ChannelConsumer).unacked -= 1;
    settle(entry);
  }

  wakeConsumers(): void {
    for (const consumer of this.consumers.values()) consumer.queue.wake();
  }

  private requeueAll(): void {
    this.settleUpTo(this.lastDeliveryTag, requeueEntry);
  }

  /** Gives up consumers and returns what was not settled; the channel or its connection is closing. */
  close(): void {
    this.assembly = null;
    for (const consumer of this.consumers.values()) consumer.queue.detach(consumer);
    this.consumers.clear();
    this.requeueAll();
    this.confirms = null;
  }

  // — cold methods ————————————————————————————————————————————————————————————————————————————————————————————————

  onMethod(method: Method, args: Arguments): void {
    switch (method) {
      case methods.exchangeDeclare:
        return this.onExchangeDeclare(args);
      case methods.exchangeDelete:
        this.connection.vhost.deleteExchange(this.connection, args.text('exchange'), args.bit('ifUnused'));
        return this.reply(args.bit('noWait'), methods.exchangeDeleteOk);
      case methods.exchangeBind:
      case methods.exchangeUnbind:
        return this.onExchangeBind(args, method === methods.exchangeBind);
      case methods.queueDeclare:
        return this.onQueueDeclare(args);
      case methods.queueBind:
        this.connection.vhost.bind(
          this.connection,
          args.text('exchange'),
          this.getQueue(args.text('queue')),
          this.bindingKey(args),
          args.table('arguments'),
        );
        return this.reply(args.bit('noWait'), methods.queueBindOk);
      case methods.queueUnbind:
        this.connection.vhost.unbind(
          this.connection,
          args.text('exchange'),
          this.getQueue(args.text('queue')),
          this.bindingKey(args),
          args.table('arguments'),
        );
        return this.reply(false, methods.queueUnbindOk);
      case methods.queuePurge:
        return this.onQueuePurge(args);
      case methods.queueDelete:
        return this.onQueueDelete(args);
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
        this.requeueAll();
        if (method === methods.basicRecover) this.reply(false, methods.basicRecoverOk);
        return;
      case methods.confirmSelect:
        this.confirms ??= new Confirms(() => this.connection.flushLater(this));
        return this.reply(args.bit('noWait'), methods.confirmSelectOk);
      case methods.channelFlow:
        return this.reply(false, methods.channelFlowOk, { active: args.bit('active') });
      case methods.accessRequest:
        return this.reply(false, methods.accessRequestOk, { ticket: 1 });
      default:
        throw new ProtocolError(ReplyCode.notImplemented, `${method.name} is not implemented`);
    }
  }

  private reply(noWait: boolean, method: Method, values: Record<string, unknown> = {}): void {
    if (!noWait) this.connection.reply(encodeMethod(this.id, method, values));
  }

  private onExchangeDeclare(args: Arguments): void {
    const { vhost } = this.connection;
    const name = args.text('exchange');
    if (args.bit('passive')) vhost.getExchange(name);
    else {
      const type = args.text('type');
      if (!exchangeTypes.includes(type as ExchangeType)) {
        throw new ProtocolError(ReplyCode.commandInvalid, `unknown exchange type '${type}'`);
      }
      vhost.declareExchange(this.connection, {
        name,
        type: type as ExchangeType,
        durable: args.bit('durable'),
        autoDelete: args.bit('autoDelete'),
        internal: args.bit('internal'),
        arguments: args.table('arguments'),
      });
    }
    this.reply(args.bit('noWait'), methods.exchangeDeclareOk);
  }

  private onExchangeBind(args: Arguments, bind: boolean): void {
    const { vhost } = this.connection;
    const destination = vhost.getExchange(args.text('destination'));
    const [source, key, table] = [args.text('source'), args.text('routingKey'), args.table('arguments')];
    if (bind) vhost.bind(this.connection, source, destination, key, table);
    else vhost.unbind(this.connection, source, destination, key, table);
    this.reply(args.bit('noWait'), bind ? methods.exchangeBindOk : methods.exchangeUnbindOk);
  }

  private onQueueDeclare(args: Arguments): void {
    const { vhost } = this.connection;
    const name = args.text('queue');
    if (args.bit('passive') && vhost.isReplyAlias(name)) {
      // responders look whether the requester is still there
      this.reply(args.bit('noWait'), methods.queueDeclareOk, { queue: name, messageCount: 0, consumerCount: 1 });
      return;
    }
    let queue: Queue;
    if (args.bit('passive')) queue = this.getQueue(name);
    else {
      queue = vhost.declareQueue(
        this.connection,
        {
          name: name === '' ? this.connection.generateName('amq.gen-') : name,
          durable: args.bit('durable'),
          autoDelete: args.bit('autoDelete'),
          exclusiveTo: args.bit('exclusive') ? this.connection : null,
          arguments: args.table('arguments'),
        },
        name === '' ? 'generated' : 'named',
      );
    }
    this.lastQueue = queue.name;
    const { ready, consumers } = queue.counts;
    this.reply(args.bit('noWait'), methods.queueDeclareOk, {
      queue: queue.name,
      messageCount: ready,
      consumerCount: consumers,
    });
  }

  private onQueuePurge(args: Arguments): void {
    const queue = this.getQueue(args.text('queue'));
    this.connection.vhost.demand(this.connection, 'read', 'queue', queue.name);
    this.connection.settled(queue.purge(), (messageCount) =>
      this.reply(args.bit('noWait'), methods.queuePurgeOk, { messageCount }),
    );
  }

  private onQueueDelete(args: Arguments): void {
    const messageCount = this.connection.vhost.deleteQueue(
      this.connection,
      this.queueName(args.text('queue')),
      args.bit('ifUnused'),
      args.bit('ifEmpty'),
    );
    this.reply(args.bit('noWait'), methods.queueDeleteOk, { messageCount });
  }

  private onQos(args: Arguments): void {
    if (args.number('prefetchSize') !== 0) {
      throw new ProtocolError(ReplyCode.notImplemented, `prefetch_size!=0 (${args.number('prefetchSize')})`);
    }
    if (args.bit('global')) {
      this.channelPrefetch = args.number('prefetchCount');
      this.wakeConsumers();
    } else this.prefetch = args.number('prefetchCount');
    this.reply(false, methods.basicQosOk);
  }

  private onConsume(args: Arguments): void {
    const queue = this.getQueue(args.text('queue'));
    this.connection.vhost.demand(this.connection, 'read', 'queue', queue.name);
    const tag = args.text('consumerTag') || this.connection.generateName('amq.ctag-');
    if (this.consumers.has(tag)) {
      throw new ProtocolError(ReplyCode.notAllowed, `attempt to reuse consumer tag '${tag}'`);
    }
    const consumer = new ChannelConsumer(this, queue, {
      tag,
      noAck: args.bit('noAck'),
      exclusive: args.bit('exclusive'),
      priority: findPriority(args.table('arguments')),
      prefetch: args.bit('noAck') ? 0 : this.prefetch,
    });
    this.connection.settled(queue.attach(consumer), () => {
      this.consumers.set(tag, consumer);
      this.reply(args.bit('noWait'), methods.basicConsumeOk, { consumerTag: tag });
      consumer.start();
    });
  }

  private onCancel(args: Arguments): void {
    const consumer = this.consumers.get(args.text('consumerTag'));
    if (consumer !== undefined) {
      this.consumers.delete(consumer.tag);
      consumer.queue.detach(consumer);
    }
    this.reply(args.bit('noWait'), methods.basicCancelOk, { consumerTag: args.text('consumerTag') });
  }

  private onGet(args: Arguments): void {
    const queue = this.getQueue(args.text('queue'));
    this.connection.vhost.demand(this.connection, 'read', 'queue', queue.name);
    const noAck = args.bit('noAck');
    this.connection.settled(queue.get(), (entry) => {
      if (entry === undefined) return this.reply(false, methods.basicGetEmpty);
      const { message } = entry;
      const deliveryTag = this.nextDelivery(entry, noAck);
      const method = encodeMethod(this.id, methods.basicGetOk, {
        deliveryTag,
        redelivered: entry.redelivered,
        exchange: message.exchange,
        routingKey: message.routingKey,
        messageCount: queue.counts.ready,
      });
      this.sendContent(method, message);
      if (noAck) entry.ack();
    });
  }

  private getQueue(name: string): Queue {
    return this.connection.vhost.getQueue(this.queueName(name), this.connection);
  }

  // The empty name is the queue last declared on the channel [AMQP 0-9-1, queue.bind].
  private queueName(name: string): string {
    if (name !== '') return name;
    if (this.lastQueue !== '') return this.lastQueue;
    throw new ProtocolError(ReplyCode.notFound, 'no previously declared queue');
  }

  private bindingKey(args: Arguments): string {
    const key = args.text('routingKey');
    return key === '' && args.text('queue') === '' ? this.lastQueue : key;
  }
}

function ack(entry: QueueEntry): void {
  entry.ack();
}

function requeueEntry(entry: QueueEntry): void {
  entry.requeue();
}

function rejectEntry(entry: QueueEntry): void {
  entry.reject();
}

function findPriority(args: Headers): number {
  const value = args.get('x-priority');
  if (value === undefined) return 0;
  if (!isTyped(value) || !Number.isInteger(Number(value.value))) {
    throw new ProtocolError(ReplyCode.preconditionFailed, "invalid arg 'x-priority' for consumer: not an integer");
  }
  return Number(value.value);
}
