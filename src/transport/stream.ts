import type { Duplex } from 'node:stream';
import { emptyBuffer } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';

/** The protocol's side of a connection. */
export interface StreamHandler {
  /**
   * Takes what it can of `chunk[0, end)`; the rest is kept and comes again, followed by more. The chunk is valid only
   * during the call: it is read into again.
   * @returns octets consumed. Fewer than all of them: a frame is cut, or `stream.hold()` was called.
   */
  onBytes(chunk: Buffer, end: number): number;
  /** The outbox has room again after `blocked`. */
  onDrain(): void;
  /** Something was written in this turn and is about to leave: the last chance to add to it. */
  onFlush(): void;
  /** Once, when the connection is gone for whatever reason; `error` is empty when the peer just closed. */
  onClose(error: string): void;
}

const batchBytes = 64 * 1024;
/** Octets not taken by the kernel above which a consumer is not given more. */
const blockedFrom = 1024 * 1024;
const drainedBelow = 256 * 1024;
const pool: Buffer[] = [];
const poolMax = 64;

let dirty: Stream[] = [];
let flushing: Stream[] = [];
let flushScheduled = false;

// After all sockets of the turn were read: what they caused for one another leaves in one write each.
function flushAll(): void {
  flushScheduled = false;
  const streams = dirty;
  dirty = flushing;
  flushing = streams;
  for (let i = 0; i < streams.length; i++) streams[i]!.flush();
  streams.length = 0;
}

/**
 * A connection's octets. Encoders write straight into its batch buffer:
 *
 *     const at = stream.reserve(n);   // room for n octets in `stream.out` from `at`
 *     …                               // fill them
 *     stream.advance(n);
 *
 * and one write a turn sends what gathered there.
 */
export class Stream {
  out: Buffer = emptyBuffer;
  /** The outbox is over its mark: whoever produces on demand stops until `onDrain`. */
  blocked = false;
  /** Least octets that the next call of `onBytes` needs; set by the handler when it knows how long a cut frame is. */
  want = 0;
  lastReadMs: number;
  lastWriteMs: number;
  bytesIn = 0;
  bytesOut = 0;
  handler: StreamHandler = noHandler;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly encrypted: boolean;

  private readonly duplex: Duplex;
  private readonly clock: Clock;
  private used = 0;
  private isDirty = false;
  private rest: Buffer = emptyBuffer;
  private restBytes = 0;
  private holds = 0;
  private processing = false;
  private paused = false;
  private state: 'open' | 'ending' | 'closed' = 'open';

  constructor(duplex: Duplex, clock: Clock, remote: { address: string; port: number; encrypted: boolean }) {
    this.duplex = duplex;
    this.clock = clock;
    this.lastReadMs = clock.nowMs;
    this.lastWriteMs = clock.nowMs;
    this.remoteAddress = remote.address;
    this.remotePort = remote.port;
    this.encrypted = remote.encrypted;
    duplex.on('drain', () => this.drained());
    duplex.on('error', (error: Error) => this.closed(error.message));
    duplex.on('end', () => this.end());
    duplex.on('close', () => this.closed(''));
  }

  get peer(): string {
    return `${this.remoteAddress}:${this.remotePort}`;
  }

  get open(): boolean {
    return this.state === 'open';
  }

  // — out —————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** @returns the offset in `out` (read it after the call) from which `bytes` octets may be written. */
  reserve(bytes: number): number {
    if (this.used + bytes > this.out.length) this.makeRoom(bytes);
    if (!this.isDirty) this.markDirty();
    return this.used;
  }

  advance(bytes: number): void {
    this.used += bytes;
  }

  /** Octets of a buffer that is the caller's own: copied. */
  write(bytes: Buffer): void {
    const at = this.reserve(bytes.length);
    bytes.copy(this.out, at);
    this.advance(bytes.length);
  }

  /** Has `onFlush` called at the end of the turn even if nothing was written. */
  markDirty(): void {
    if (this.isDirty || this.state === 'closed') return;
    this.isDirty = true;
    dirty.push(this);
    if (!flushScheduled) {
      flushScheduled = true;
      setImmediate(flushAll);
    }
  }

  flush(): void {
    if (!this.isDirty) return;
    this.handler.onFlush();
    this.isDirty = false;
    this.send();
    if (this.out.length > 0) this.recycle(this.out);
    this.out = emptyBuffer;
    this.used = 0;
  }

  // — in ——————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Called by whoever reads the socket; `chunk` is his again afterwards. */
  receive(chunk: Buffer, length: number): void {
    if (this.state !== 'open') return;
    this.clock.refresh();
    this.lastReadMs = this.clock.nowMs;
    this.bytesIn += length;
    if (this.restBytes > 0 || this.holds > 0) {
      this.keep(chunk, 0, length);
      if (this.holds === 0 && this.restBytes >= this.want) this.processRest();
      return;
    }
    const consumed = this.process(chunk, length);
    if (consumed < length && this.state === 'open') this.keep(chunk, consumed, length);
  }

  /** Nothing is given to the handler until as many `release`: a cold operation is under way. */
  hold(): void {
    this.holds += 1;
  }

  release(): void {
    this.holds -= 1;
    if (this.holds > 0) return;
    if (!this.processing && this.restBytes > 0 && this.restBytes >= this.want) this.processRest();
    this.readOn();
  }

  get held(): boolean {
    return this.holds > 0;
  }

  /** Reads no more until `resume`: back-pressure for a publisher. */
  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.duplex.pause();
  }

  resume(): void {
    this.paused = false;
    this.readOn();
  }

  // — end —————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Sends what was written and closes; the peer's further octets are not looked at. */
  end(): void {
    if (this.state !== 'open') return;
    this.flush();
    this.state = 'ending';
    this.duplex.end();
    this.duplex.resume();
    // A peer that never closes its side must not keep ours.
    setTimeout(() => this.destroy(), lingerMs).unref();
    this.tellClosed('');
  }

  destroy(): void {
    this.duplex.destroy();
    this.closed('');
  }

  private drained(): void {
    if (!this.blocked || this.duplex.writableLength > drainedBelow) return;
    this.blocked = false;
    this.clock.refresh();
    if (this.state === 'open') this.handler.onDrain();
  }

  private makeRoom(bytes: number): void {
    if (this.used > 0) this.send();
    if (bytes <= this.out.length - this.used) return;
    if (this.out.length > 0) this.recycle(this.out);
    this.out = bytes <= batchBytes ? (pool.pop() ?? Buffer.allocUnsafeSlow(batchBytes)) : Buffer.allocUnsafeSlow(bytes);
    this.used = 0;
  }

  // Leaves `out` empty or fresh: octets that the kernel did not take at once keep their buffer until it has.
  private send(): void {
    if (this.used === 0 || this.state !== 'open') {
      this.used = 0;
      return;
    }
    const batch = this.out;
    this.bytesOut += this.used;
    this.lastWriteMs = this.clock.nowMs;
    let taken = false;
    let written = false;
    this.duplex.write(batch.subarray(0, this.used), () => {
      written = true;
      if (taken) this.recycle(batch);
    });
    this.used = 0;
    const queued = this.duplex.writableLength;
    if (queued > 0 && !written) {
      taken = true;
      this.out = emptyBuffer;
      if (queued > blockedFrom) this.blocked = true;
    }
  }

  private recycle(buffer: Buffer): void {
    if (buffer.length === batchBytes && pool.length < poolMax) pool.push(buffer);
  }

  // Appends to `rest`, which grows by doubling up to what the handler wants: an announced length alone takes no memory.
  private keep(chunk: Buffer, start: number, end: number): void {
    const bytes = this.restBytes + end - start;
    if (bytes > this.rest.length) {
      const grown = Buffer.allocUnsafe(Math.max(bytes, Math.min(this.rest.length * 2, Math.max(this.want, 2 * bytes))));
      this.rest.copy(grown, 0, 0, this.restBytes);
      this.rest = grown;
    }
    chunk.copy(this.rest, this.restBytes, start, end);
    this.restBytes = bytes;
    if (this.holds > 0 && bytes > batchBytes) this.duplex.pause();
  }

  // A handler may put another in its place: what it left goes to that one.
  private process(chunk: Buffer, length: number): number {
    this.processing = true;
    let consumed = 0;
    let handler: StreamHandler;
    do {
      handler = this.handler;
      this.want = 0;
      const rest = consumed === 0 ? chunk : chunk.subarray(consumed, length);
      consumed += handler.onBytes(rest, length - consumed);
    } while (handler !== this.handler && consumed < length && this.state === 'open' && this.holds === 0);
    this.processing = false;
    return consumed;
  }

  private processRest(): void {
    const length = this.restBytes;
    const chunk = this.rest;
    const consumed = this.process(chunk, length);
    if (this.state !== 'open' || consumed === length) {
      this.rest = emptyBuffer;
      this.restBytes = 0;
    } else if (consumed > 0) {
      // A copy, not a shift in place: a message may still be a view into what was consumed.
      const bytes = length - consumed;
      const moved = Buffer.allocUnsafe(Math.max(bytes, Math.min(Math.max(this.want, bytes), 4 * batchBytes)));
      chunk.copy(moved, 0, consumed, length);
      this.rest = moved;
      this.restBytes = bytes;
    }
  }

  private readOn(): void {
    if (!this.paused && this.holds === 0 && this.state === 'open') this.duplex.resume();
  }

  private closed(error: string): void {
    if (this.state === 'closed') return;
    const tell = this.state === 'open';
    this.state = 'closed';
    this.used = 0;
    this.rest = emptyBuffer;
    this.restBytes = 0;
    if (!this.duplex.destroyed) this.duplex.destroy();
    this.clock.refresh();
    if (tell) this.tellClosed(error);
  }

  private tellClosed(error: string): void {
    const handler = this.handler;
    this.handler = noHandler;
    handler.onClose(error);
  }
}

const lingerMs = 2000;

const noHandler: StreamHandler = {
  onBytes: (_chunk, end) => end,
  onDrain() {},
  onFlush() {},
  onClose() {},
};
