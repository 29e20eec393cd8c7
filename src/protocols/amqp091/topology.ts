import { BrokerError } from '../../core/errors.ts';
import { type ExchangeType, exchangeTypes } from '../../core/exchange/exchange.ts';
import type { Queue } from '../../core/queue/queue.ts';
import type { Connection } from './connection.ts';
import { ProtocolError } from './errors.ts';
import type { Arguments } from './methods.ts';
import { replyQueueName } from './reply-queue.ts';
import { type Method, methods, ReplyCode } from './spec.ts';

type Reply = (noWait: boolean, method: Method, values?: Record<string, unknown>) => void;

/** The classes exchange and queue on one channel, which remembers the queue that was declared last. */
export class Topology {
  private readonly connection: Connection;
  private readonly reply: Reply;
  private lastQueue = '';

  constructor(connection: Connection, reply: Reply) {
    this.connection = connection;
    this.reply = reply;
  }

  /** @returns false when the method is of another class */
  onMethod(method: Method, args: Arguments): boolean {
    switch (method) {
      case methods.exchangeDeclare:
        this.onExchangeDeclare(args);
        return true;
      case methods.exchangeDelete:
        this.connection.vhost.deleteExchange(this.connection, readName(args, 'exchange'), args.bit('ifUnused'));
        this.reply(args.bit('noWait'), methods.exchangeDeleteOk);
        return true;
      case methods.exchangeBind:
      case methods.exchangeUnbind:
        this.onExchangeBind(args, method === methods.exchangeBind);
        return true;
      case methods.queueDeclare:
        this.onQueueDeclare(args);
        return true;
      case methods.queueBind:
        this.onQueueBind(args);
        return true;
      case methods.queueUnbind:
        this.onQueueUnbind(args);
        return true;
      case methods.queuePurge:
        this.onQueuePurge(args);
        return true;
      case methods.queueDelete:
        this.onQueueDelete(args);
        return true;
      default:
        return false;
    }
  }

  /**
   * The empty name is the queue last declared on the channel; who may not read it is not told whether it is there.
   * @throws BrokerError unauthorized-access, not-found, resource-locked
   */
  getReadable(name: string): Queue {
    const { connection } = this;
    const queue = this.queueName(name);
    connection.vhost.demand(connection, 'read', 'queue', queue);
    return connection.vhost.getQueue(queue, connection);
  }

  private onExchangeDeclare(args: Arguments): void {
    const { vhost } = this.connection;
    const name = readName(args, 'exchange');
    if (args.bit('passive')) {
      if (name === '') throw new BrokerError('unauthorized-access', 'operation not permitted on the default exchange');
      vhost.getExchange(name);
    } else {
      const type = args.text('type');
      if (!exchangeTypes.includes(type as ExchangeType)) {
        // [RabbitMQ] the empty one is invalid, any other that is not there unknown
        throw new ProtocolError(
          ReplyCode.commandInvalid,
          `${type === '' ? 'invalid' : 'unknown'} exchange type '${type}'`,
        );
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
    const { connection } = this;
    const { vhost } = connection;
    const [source, name, key] = [readName(args, 'source'), readName(args, 'destination'), args.text('routingKey')];
    const table = args.table('arguments');
    vhost.demandBinding(connection, source, 'exchange', name, key);
    if (bind) {
      vhost.getExchange(source); // of two that are not there RabbitMQ names the source
      vhost.bind(connection, source, vhost.getExchange(name), key, table);
    } else {
      const destination = vhost.exchanges.get(name);
      // [RabbitMQ] what is not bound, or is not there, is unbound already
      if (destination !== undefined && vhost.exchanges.has(source)) {
        vhost.unbind(connection, source, destination, key, table);
      }
    }
    this.reply(args.bit('noWait'), bind ? methods.exchangeBindOk : methods.exchangeUnbindOk);
  }

  private onQueueBind(args: Arguments): void {
    const { connection } = this;
    const { vhost } = connection;
    const [source, name, key] = [
      readName(args, 'exchange'),
      this.queueName(readName(args, 'queue')),
      this.bindingKey(args),
    ];
    vhost.demandBinding(connection, source, 'queue', name, key);
    vhost.getExchange(source); // of two that are not there RabbitMQ names the source
    vhost.bind(connection, source, vhost.getQueue(name, connection), key, args.table('arguments'));
    this.reply(args.bit('noWait'), methods.queueBindOk);
  }

  private onQueueUnbind(args: Arguments): void {
    const { connection } = this;
    const { vhost } = connection;
    const [source, name, key] = [
      readName(args, 'exchange'),
      this.queueName(readName(args, 'queue')),
      this.bindingKey(args),
    ];
    vhost.demandBinding(connection, source, 'queue', name, key);
    if (vhost.queues.has(name) && vhost.exchanges.has(source)) {
      vhost.unbind(connection, source, vhost.getQueue(name, connection), key, args.table('arguments'));
    }
    this.reply(false, methods.queueUnbindOk);
  }

  private onQueueDeclare(args: Arguments): void {
    const { vhost } = this.connection;
    const name = readName(args, 'queue');
    if (args.bit('passive') && vhost.isReplyAlias(name)) {
      // responders look whether the requester is still there
      this.reply(args.bit('noWait'), methods.queueDeclareOk, { queue: name, messageCount: 0, consumerCount: 1 });
      return;
    }
    if (name === replyQueueName || (name.startsWith(`${replyQueueName}.`) && vhost.queues.has(name))) {
      // [RabbitMQ: direct reply-to] a responder may ask whether somebody still waits
      this.reply(args.bit('noWait'), methods.queueDeclareOk, { queue: name, messageCount: 0, consumerCount: 1 });
      return;
    }
    if (name.startsWith(`${replyQueueName}.`)) {
      throw new BrokerError('not-found', `no queue '${name}' in vhost '${vhost.name}'`);
    }
    let queue: Queue;
    // [RabbitMQ] here the empty name is no queue, not the one declared last
    if (args.bit('passive')) queue = vhost.getQueue(name, this.connection);
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
    const queue = this.getReadable(args.text('queue'));
    this.connection.settled(queue.purge(), (messageCount) =>
      this.reply(args.bit('noWait'), methods.queuePurgeOk, { messageCount }),
    );
  }

  private onQueueDelete(args: Arguments): void {
    const messageCount = this.connection.vhost.deleteQueue(
      this.connection,
      this.queueName(readName(args, 'queue')),
      args.bit('ifUnused'),
      args.bit('ifEmpty'),
    );
    this.reply(args.bit('noWait'), methods.queueDeleteOk, { messageCount });
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

// [RabbitMQ] where it is declared, bound or deleted, a name has no line ends.
function readName(args: Arguments, field: string): string {
  return args.text(field).replaceAll(/[\r\n]/g, '');
}
