import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../lib/log.ts';
import type { Protocol } from '../../transport/protocol.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import type { Connection } from './connection.ts';
import { Handshake } from './handshake.ts';
import { Suspended } from './suspended.ts';

export interface Limits {
  /** Octets of a frame. */
  readonly frameMax: number;
  /** Sessions of a connection. */
  readonly sessionsMax: number;
  /** Octets of a message. */
  readonly messageBytes: number;
}

export interface Amqp10Options extends Limits {
  readonly heartbeatSeconds: number;
  readonly loginTimeoutMs: number;
  /** Consumers get no message that their protocol cannot say whole. */
  readonly rejectsLosses: boolean;
  readonly anonymous: boolean;
  /** Where a client comes that names none. */
  readonly vhost: string;
  /** A queue that a bare name, or an address of version 1, asks for is made when it is not there. */
  readonly createQueues: boolean;
  /** What cannot be routed is `released`, or `rejected`. */
  readonly unroutable: 'released' | 'rejected';
  /** What open says that this is. */
  readonly product: string;
  readonly version: string;
}

/** The door of AMQP 1.0. */
export class Amqp10 implements Protocol {
  readonly name = 'amqp10';
  readonly broker: Broker;
  readonly options: Amqp10Options;
  readonly log: Logger;
  readonly handshakes = new Set<Handshake>();
  readonly connections = new Set<Connection>();
  readonly suspended: Suspended;
  private connectionId = 0;

  constructor(broker: Broker, options: Amqp10Options) {
    this.broker = broker;
    this.options = options;
    this.log = broker.log;
    this.suspended = new Suspended();
  }

  accept(stream: Stream): StreamHandler {
    const handshake = new Handshake(stream, this);
    this.handshakes.add(handshake);
    return handshake;
  }

  nextConnectionId(): string {
    this.connectionId += 1;
    return `amqp10-${this.connectionId}`;
  }

  sweep(): void {
    const now = this.broker.nowMs;
    for (const handshake of this.handshakes) handshake.sweep(now);
    for (const connection of this.connections) connection.sweep(now);
    this.suspended.sweep(now);
  }

  stop(): void {
    for (const handshake of this.handshakes) handshake.stop();
    for (const connection of this.connections) {
      connection.close('connection-forced', "broker forced connection closure with reason 'shutdown'");
    }
    this.suspended.clear();
  }
}
