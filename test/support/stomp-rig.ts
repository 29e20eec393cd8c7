import { Duplex } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { BrokerParts } from '../../src/core/broker.ts';
import { silent } from '../../src/lib/log.ts';
import { Stomp, type StompOptions } from '../../src/protocols/stomp/protocol.ts';
import { Stream } from '../../src/transport/stream.ts';
import { Core } from './core.ts';
import { cutFrame, StompPeer, type WireFrame } from './stomp-wire.ts';

const defaults: StompOptions = {
  vhost: '/',
  heartBeatMs: 1000,
  loginTimeoutMs: 10_000,
  anonymous: false,
  version: 'test',
  dialect: 'auto',
  strictHost: false,
  rejectsLosses: false,
  bodyBytes: 1024 * 1024,
  headerCount: 100,
  headerBytes: 4096,
};

/** STOMP over the core in this process: no socket, no disk, and a clock that the test moves. */
export class StompRig {
  readonly core: Core;
  readonly door: Stomp;

  constructor(options: Partial<StompOptions> = {}, parts: Partial<BrokerParts> = {}) {
    this.core = new Core(parts);
    this.door = new Stomp(this.core.broker, { ...defaults, ...options });
  }

  open(): RigPeer {
    return new RigPeer(this);
  }

  /** Logged in, the CONNECTED taken. */
  async login(headers = 'accept-version:1.2'): Promise<RigPeer> {
    const peer = this.open();
    peer.send(`CONNECT\nhost:/\nlogin:guest\npasscode:guest\n${headers}\n\n\0`);
    const frame = await peer.next();
    if (frame.command !== 'CONNECTED') throw new Error(`${frame.command}: ${frame.body}`);
    return peer;
  }

  /** A second passes, and the sweep that ends it. */
  passSecond(): void {
    this.core.clock.advance(1000);
    this.door.sweep();
  }
}

/** The other end: what the broker writes is kept. */
export class RigPeer extends StompPeer {
  readonly stream: Stream;
  received: Buffer = Buffer.alloc(0);
  ended = false;

  constructor(rig: StompRig) {
    super();
    const end = (): void => {
      this.ended = true;
    };
    const duplex = new Duplex({
      read() {},
      write: (chunk: Buffer, _encoding, done) => {
        this.received = Buffer.concat([this.received, chunk]);
        done();
      },
      final(done) {
        end();
        done();
      },
    });
    duplex.on('close', end);
    this.stream = new Stream(duplex, rig.core.clock, silent, {
      address: '127.0.0.1',
      port: 1,
      local: '',
    });
    this.stream.handler = rig.door.accept(this.stream);
  }

  /** The octets come as one chunk, which is overwritten afterwards, as a socket's is. */
  send(octets: string | Buffer): void {
    const chunk = Buffer.from(octets);
    this.stream.receive(chunk, chunk.length);
    chunk.fill(0x21);
  }

  /** All that the broker has to do is done. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await nextTurn();
  }

  /** The frames that have come. */
  async frames(): Promise<WireFrame[]> {
    await this.settle();
    const frames: WireFrame[] = [];
    for (;;) {
      const cut = cutFrame(this.received);
      if (cut === undefined) return frames;
      this.received = this.received.subarray(cut.next);
      frames.push(cut.frame);
    }
  }

  async next(): Promise<WireFrame> {
    await this.settle();
    const cut = cutFrame(this.received);
    if (cut === undefined) throw new Error(`no frame but ${JSON.stringify(this.received.toString('latin1'))}`);
    this.received = this.received.subarray(cut.next);
    return cut.frame;
  }

  async closed(): Promise<void> {
    await this.settle();
    if (!this.ended || this.received.length > 0) {
      throw new Error(`${this.ended ? 'ended' : 'open'} with ${JSON.stringify(this.received.toString('latin1'))}`);
    }
  }

  /** Nothing has come, and nothing is about to. */
  async silence(): Promise<void> {
    await this.settle();
    if (this.received.length > 0 || this.ended) throw new Error(`not silent: ${this.received.toString('latin1')}`);
  }
}
