import type { Broker } from '../../core/broker.ts';
import type { Logger } from '../../lib/log.ts';
import type { Timer } from '../../lib/timers.ts';
import type { Protocol } from '../../transport/protocol.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import type { Connection } from './connection.ts';
import type { Dialect } from './destination.ts';
import type { FrameLimits } from './frame.ts';
import { Handshake } from './handshake.ts';

export interface StompOptions extends FrameLimits {
  readonly vhost: string;
  /** What we can send and want, in milliseconds. */
  readonly heartBeatMs: number;
  readonly loginTimeoutMs: number;
  /** Consumers get no message that their protocol cannot say whole. */
  readonly rejectsLosses: boolean;
  /** A CONNECT without login is let in. */
  readonly anonymous: boolean;
  readonly version: string;
  readonly dialect: Dialect;
  /** A CONNECT whose host is no virtual host is refused; else it gets the default one. */
  readonly strictHost: boolean;
}

/** The door of STOMP 1.0, 1.1 and 1.2. */
export class Stomp implements Protocol {
  readonly name = 'stomp';
  readonly broker: Broker;
  readonly options: StompOptions;
  readonly log: Logger;
  readonly handshakes = new Set<Handshake>();
  readonly connections = new Set<Connection>();
  readonly beatEveryMs: number;
  private readonly beats: Timer;
  private connectionId = 0;

  constructor(broker: Broker, options: StompOptions) {
    this.broker = broker;
    this.options = options;
    this.log = broker.log;
    // twice in the shortest interval, so that none is ever longer than was promised
    this.beatEveryMs = Math.max(Math.floor(options.heartBeatMs / 2), 10);
    this.beats = broker.timers.every(this.beatEveryMs, () => {
      for (const connection of this.connections) connection.beat(broker.nowMs);
    });
  }

  accept(stream: Stream): StreamHandler {
    const handshake = new Handshake(stream, this);
    this.handshakes.add(handshake);
    return handshake;
  }

  nextConnectionId(): string {
    this.connectionId += 1;
    return `stomp-${this.connectionId}`;
  }

  sweep(): void {
    const now = this.broker.nowMs;
    for (const handshake of this.handshakes) handshake.sweep(now);
    for (const connection of this.connections) connection.sweep(now);
  }

  stop(): void {
    this.beats.cancel();
    for (const handshake of this.handshakes) handshake.close();
    for (const connection of this.connections) connection.close('connection-forced', 'the server is shutting down');
  }
}
