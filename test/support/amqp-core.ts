import { duplexPair } from 'node:stream';
import type { BrokerParts } from '../../src/core/broker.ts';
import { Amqp091, type Amqp091Options } from '../../src/protocols/amqp091/protocol.ts';
import { Stream } from '../../src/transport/stream.ts';
import { AmqpPeer, type HandshakeOptions } from './amqp-peer.ts';
import { Core } from './core.ts';

export interface AmqpCoreOptions extends Partial<Amqp091Options> {
  readonly broker?: Partial<BrokerParts>;
  /** The common name in the peers' certificates. */
  readonly certificateName?: string;
}

/** The door of AMQP 0-9-1 on a core of its own, in this process and on a clock that the test moves: no sockets. */
export class AmqpCore {
  readonly core: Core;
  readonly door: Amqp091;
  private readonly certificateName: string;

  constructor({ broker, certificateName, ...options }: AmqpCoreOptions = {}) {
    this.core = new Core(broker);
    this.certificateName = certificateName ?? '';
    this.door = new Amqp091(this.core.broker, {
      frameMax: 131_072,
      channelMax: 2047,
      messageBytes: 1024 * 1024,
      consumerTimeoutMs: 1_800_000,
      rejectsLosses: false,
      heartbeatSeconds: 60,
      loginTimeoutMs: 10_000,
      anonymous: false,
      version: '0.0.0',
      ...options,
    });
  }

  /** A connection on which nothing was said yet. */
  connect(): AmqpPeer {
    const [ours, theirs] = duplexPair();
    const { clock, log } = this.core.broker;
    const stream = new Stream(ours, clock, log, {
      address: '127.0.0.1',
      port: 1,
      local: '127.0.0.1:5672',
      certificateName: this.certificateName,
    });
    stream.handler = this.door.accept(stream);
    ours.on('data', (chunk: Buffer) => stream.receive(chunk, chunk.length));
    return new AmqpPeer(theirs);
  }

  async open(options: HandshakeOptions = {}): Promise<AmqpPeer> {
    const peer = this.connect();
    await peer.handshake(options);
    return peer;
  }

  async openChannel(options: HandshakeOptions = {}): Promise<AmqpPeer> {
    const peer = await this.open(options);
    await peer.openChannel();
    return peer;
  }

  /** Moves the clock by as many seconds, with the sweep of each. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.core.clock.advance(1000);
      this.door.sweep();
    }
  }
}
