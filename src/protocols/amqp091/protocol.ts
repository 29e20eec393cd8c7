import type { Broker } from '../../core/broker.ts';
import type { Client } from '../../core/client.ts';
import type { Headers, Value } from '../../core/properties.ts';
import type { Logger } from '../../lib/log.ts';
import type { Protocol } from '../../transport/protocol.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import type { Connection } from './connection.ts';
import { Handshake } from './handshake.ts';

export interface Limits {
  /** Octets of a frame, its eight of overhead included. */
  readonly frameMax: number;
  readonly channelMax: number;
  /** Octets of a body. */
  readonly messageBytes: number;
  /** How long a delivery may wait for its ack. */
  readonly consumerTimeoutMs: number;
  /** Consumers get no message that their protocol cannot say whole. */
  readonly rejectsLosses: boolean;
}

export interface Amqp091Options extends Limits {
  readonly heartbeatSeconds: number;
  readonly loginTimeoutMs: number;
  readonly anonymous: boolean;
  readonly version: string;
}

/** The door of AMQP 0-9-1. */
export class Amqp091 implements Protocol {
  readonly name = 'amqp';
  readonly broker: Broker;
  readonly options: Amqp091Options;
  readonly log: Logger;
  readonly handshakes = new Set<Handshake>();
  readonly connections = new Set<Connection>();
  readonly serverProperties: Headers;
  private connectionId = 0;

  constructor(broker: Broker, options: Amqp091Options) {
    this.broker = broker;
    this.options = options;
    this.log = broker.log;
    this.serverProperties = new Map<string, Value>([
      ['product', 'RosettaMQ'],
      ['version', options.version],
      ['platform', 'Node.js'],
      ['copyright', 'The RosettaMQ authors'],
      ['information', 'Licensed under the Apache License 2.0'],
      ['capabilities', capabilities],
    ]);
  }

  accept(stream: Stream): StreamHandler {
    const handshake = new Handshake(stream, this);
    this.handshakes.add(handshake);
    return handshake;
  }

  nextConnectionId(): string {
    this.connectionId += 1;
    return `amqp-${this.connectionId}`;
  }

  sweep(): void {
    const now = this.broker.nowMs;
    for (const handshake of this.handshakes) handshake.sweep(now);
    const silent = new Set<Client>();
    for (const connection of this.connections) if (connection.isSilent(now)) silent.add(connection);
    if (silent.size > 1) this.broker.detachConsumers((client) => silent.has(client)); // a machine that is gone had many
    for (const connection of this.connections) connection.sweep(now);
  }

  stop(): void {
    for (const handshake of this.handshakes) handshake.stop();
    for (const connection of this.connections) {
      connection.close('connection-forced', "broker forced connection closure with reason 'shutdown'");
    }
  }
}

const capabilities: Headers = new Map<string, Value>([
  ['publisher_confirms', true],
  ['exchange_exchange_bindings', true],
  ['basic.nack', true],
  ['consumer_cancel_notify', true],
  ['consumer_priorities', true],
  ['authentication_failure_close', true],
  ['per_consumer_qos', true],
  ['direct_reply_to', true],
  ['connection.blocked', true],
]);
