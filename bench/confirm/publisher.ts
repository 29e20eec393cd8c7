import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer, contentFrames } from '../../test/support/amqp-peer.ts';
import type { Latencies } from '../perf/latency.ts';
import { pace, sleep } from './pace.ts';

const persistent = Buffer.from([0x10, 0, 2]);
const queues = ['kept', 'purged', 'purged', 'purged'] as const;
const purgeEveryMs = 100;
/** Of basic.ack: frame, channel, size, class and method, tag, flag. */
const ackBytes = 21;

/** Publishes at a steady rate with confirms, and purges most of it behind itself. */
export class Publisher {
  private readonly peer: AmqpPeer;
  private readonly purger: AmqpPeer;
  private readonly frames: readonly Buffer[];
  /** When each message was published, by its tag. */
  private sentMs: number[] = [];
  private published = 0;
  private confirmed = 0;
  private latencies: Latencies | null = null;
  private rest: Buffer = Buffer.alloc(0);

  private constructor(peer: AmqpPeer, purger: AmqpPeer, body: Buffer) {
    this.peer = peer;
    this.purger = purger;
    this.frames = queues.map((routingKey) => contentFrames(1, { routingKey }, body, persistent));
    peer.socket.removeAllListeners('data');
    peer.socket.on('data', (chunk: Buffer) => this.onBytes(chunk));
  }

  static async open(port: number, body: Buffer): Promise<Publisher> {
    const peer = await AmqpPeer.openChannel(port);
    for (const queue of new Set(queues)) await peer.declare(queue, { durable: true });
    await peer.call(1, methods.confirmSelect, {}, methods.confirmSelectOk);
    return new Publisher(peer, await AmqpPeer.openChannel(port), body);
  }

  /** Resolves when all of the slice is confirmed. */
  async publish(rate: number, sliceMs: number, latencies: Latencies): Promise<void> {
    this.latencies = latencies;
    const purging = setInterval(() => void this.purge(), purgeEveryMs);
    await pace(rate, sliceMs, (count) => this.send(count));
    clearInterval(purging);
    while (this.confirmed < this.published) await sleep(1);
    await this.purge();
  }

  close(): void {
    this.peer.destroy();
    this.purger.destroy();
  }

  private send(count: number): void {
    const parts: Buffer[] = [];
    const nowMs = performance.now();
    for (let i = 0; i < count; i++) {
      parts.push(this.frames[this.published % queues.length]!);
      this.sentMs[this.published] = nowMs;
      this.published += 1;
    }
    this.peer.socket.write(Buffer.concat(parts));
  }

  private async purge(): Promise<void> {
    await this.purger.call(1, methods.queuePurge, { queue: 'purged' }, methods.queuePurgeOk);
  }

  private onBytes(chunk: Buffer): void {
    const octets = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    let at = 0;
    for (; at + ackBytes <= octets.length; at += ackBytes) {
      if (octets.readUInt32BE(at + 7) !== methods.basicAck.id) throw new Error('the broker sent no ack');
      this.onAck(Number(octets.readBigUInt64BE(at + 11)), octets[at + 19] !== 0);
    }
    this.rest = octets.subarray(at);
  }

  // The broker confirms in order.
  private onAck(tag: number, multiple: boolean): void {
    const nowMs = performance.now();
    if (!multiple && tag !== this.confirmed + 1) throw new Error(`ack ${tag} behind ${this.confirmed}`);
    for (; this.confirmed < tag; this.confirmed++) this.latencies!.add((nowMs - this.sentMs[this.confirmed]!) * 1000);
  }
}
