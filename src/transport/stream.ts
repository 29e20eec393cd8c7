import { Duplex } from 'node:stream';
import { emptyBuffer } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { Ring } from '../lib/ring.ts';
import { batchBytes, findLargeBuffer, returnBuffer, smallBatchBytes, takeBuffer } from './buffer-pool.ts';
import { type Handle, offerTo, writeError, writeTo } from './handle.ts';
import type { TlsFacts } from './tls-facts.ts';

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

/** From so many octets on a copy costs more than a write of their own. */
export const longFrom = 48 * 1024;
/** Octets not taken by the kernel above which a consumer is not given more. */
const blockedFrom = 1024 * 1024;
const drainedBelow = 256 * 1024;
/** Octets that one connection is read in one turn: then it is the others' turn, and what it caused is written. */
const turnBytesMax = 256 * 1024;
/** Octets kept of a connection whose handler is held: it is not read meanwhile. */
const heldBytesMax = 64 * 1024;
/** Octets added to a cut frame at first, while its handler cannot tell how long it is. */
const stitchBytes = 512;
/** A cut frame of which so much is there is gathered in a buffer of the pool: an announced length alone takes none. */
const largeRestFrom = 16 * 1024;

const nothing = (): void => {};
/** In the place of one that is closed. */
const gone = new Duplex({ read: nothing, write: (_chunk, _encoding, done) => done() }).destroy();

let dirty: Stream[] = [];
let flushing: Stream[] = [];
let waiting: Stream[] = [];
let turn = 0;
let turnEnds = false;

function endTurnLater(): void {
  if (turnEnds) return;
  turnEnds = true;
  setImmediate(endTurn);
}

// After all sockets of the turn were read: what they caused for one another leaves in one write each.
function endTurn(): void {
  turnEnds = false;
  turn += 1;
  const streams = dirty;
  dirty = flushing;
  flushing = streams;
  for (let i = 0; i < streams.length; i++) streams[i]!.flush();
  streams.length = 0;
  if (waiting.length === 0) return;
  const waited = waiting;
  waiting = [];
  for (const stream of waited) stream.takeTurn();
}

export interface Remote {
  readonly address: string;
  readonly port: number;
  /** `host:port` that it connected to. */
  readonly local: string;
  /** The common name in the certificate that the peer has shown, if it was verified. */
  readonly certificateName?: string;
  /** Asked while the connection lives; left out where nothing protects it, or somebody in front of us does. */
  readonly describeTls?: () => TlsFacts | null;
}

/** Octets so far, and in how many pieces they came and left. */
export interface Traffic {
  readonly local: string;
  readonly tls: TlsFacts | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly reads: number;
  readonly writes: number;
}

/**
 * A connection's octets. Encoders write straight into its batch buffer:
 *
 *     const at = stream.reserve(n);   // room for n octets in `stream.out` from `at`
 *     …                               // fill them
 *     stream.advance(n);
 *
 * and one write a turn sends what gathered there. Who owns which octets:
 *
 * - What `onBytes` is given is the stream's, and read into again: the handler's during the call only.
 * - What is written (`write`, `writeRange`) is the caller's, and again his alone when the call returns.
 * - A batch is the stream's until the kernel has taken it; then it is any connection's.
 *
 * A handler that throws is at fault itself: it is logged, and its connection is closed.
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
  private reads = 0;
  private writes = 0;
  handler: StreamHandler = noHandler;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly local: string;
  /** See `Remote`; empty when there is none. */
  readonly certificateName: string;
  private describeTls: (() => TlsFacts | null) | null;

  private duplex: Duplex;
  /** What the duplex reads and we write; null: it is written to as well. */
  private handle: Handle | null;
  private readonly clock: Clock;
  private readonly log: Logger;
  private used = 0;
  private isDirty = false;
  private inFlush = false;
  /** Batches that the kernel has not taken yet, oldest first; made for the first. */
  private sending: Ring<Buffer> | null = null;
  /** Writes taken at once whose callbacks are still to come: all before those of `sending`. */
  private sentAtOnce = 0;
  private written: (status: number) => void;
  private rest: Buffer = emptyBuffer;
  private restBytes = 0;
  private holds = 0;
  private processing = false;
  private reading = true;
  private paused = false;
  /** It was read enough in this turn. */
  private waits = false;
  private turn = 0;
  private turnBytes = 0;
  private peerEnded = false;
  private linger: NodeJS.Timeout | null = null;
  private state: 'open' | 'ending' | 'closed' = 'open';

  constructor(duplex: Duplex, clock: Clock, log: Logger, remote: Remote, handle: Handle | null = null) {
    this.duplex = duplex;
    this.handle = handle;
    this.written = handle === null ? () => this.onWritten() : (status) => this.onTaken(status);
    this.clock = clock;
    this.log = log;
    this.lastReadMs = clock.nowMs;
    this.lastWriteMs = clock.nowMs;
    this.remoteAddress = remote.address;
    this.remotePort = remote.port;
    this.local = remote.local;
    this.certificateName = remote.certificateName ?? '';
    this.describeTls = remote.describeTls ?? null;
    duplex.on('drain', () => this.drained());
    duplex.on('error', (error: Error) => this.closed(error.message));
    duplex.on('end', () => {
      this.peerEnded = true;
      this.endIfRead();
    });
    duplex.on('close', () => {
      this.closed('');
      this.letGo();
    });
  }

  // Messages that wait know their publisher, and through it this: they are not to keep a socket of 2.5 KiB each.
  private letGo(): void {
    this.duplex = gone;
    this.handle = null;
    this.describeTls = null;
    this.written = nothing;
    this.sending = null;
    this.linger = null;
  }

  get peer(): string {
    return `${this.remoteAddress}:${this.remotePort}`;
  }

  get open(): boolean {
    return this.state === 'open';
  }

  /** For management. */
  describe(): Traffic {
    const { local, bytesIn, bytesOut, reads, writes } = this;
    return { local, tls: this.describeTls?.() ?? null, bytesIn, bytesOut, reads, writes };
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

  /**
   * Octets `bytes[start, end)` and `tail` behind them, of buffers that are somebody else's: they are read during the call
   * only. From `longFrom` on the kernel takes them from where they lie, with what was written before them; what it has no
   * room for is copied.
   */
  writeRange(bytes: Buffer, start: number, end: number, tail: Buffer): void {
    const total = end - start + tail.length;
    const taken = total < longFrom ? 0 : this.offer(bytes, start, end, tail);
    if (taken === total) return;
    const at = this.reserve(total - taken);
    const { out } = this;
    const copied = bytes.copy(out, at, Math.min(start + taken, end), end);
    tail.copy(out, at + copied, tail.length - (total - taken - copied));
    this.advance(total - taken);
    if (taken > 0) this.send();
  }

  /** Has `onFlush` called at the end of the turn even if nothing was written. */
  markDirty(): void {
    if (this.isDirty || this.state === 'closed') return;
    this.isDirty = true;
    dirty.push(this);
    endTurnLater();
  }

  /** Called at the end of the turn; the handler is asked for its last words first. */
  flush(): void {
    if (!this.isDirty) return;
    if (!this.inFlush) {
      this.inFlush = true;
      try {
        this.handler.onFlush();
      } catch (error) {
        this.fault(error);
      }
      this.inFlush = false;
    }
    this.isDirty = false;
    this.send();
    returnBuffer(this.out);
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
    this.reads += 1;
    this.countTurn(length);
    let at = 0;
    if (this.restBytes > 0 && this.holds === 0) at = this.stitch(chunk, length);
    if (at < length && this.restBytes === 0 && this.canProcess) {
      at += this.process(at === 0 ? chunk : chunk.subarray(at, length), length - at);
    }
    if (at < length && this.state === 'open') this.keep(chunk, at, length);
    this.readOrNot();
  }

  /** Nothing is given to the handler until as many `release`: a cold operation is under way. */
  hold(): void {
    this.holds += 1;
  }

  release(): void {
    this.holds -= 1;
    if (this.holds > 0) return;
    if (!this.processing && this.restBytes > 0 && this.restBytes >= this.want && this.canProcess) this.processRest();
    this.readOrNot();
    if (this.peerEnded && !this.processing) this.endIfRead();
  }

  get held(): boolean {
    return this.holds > 0;
  }

  /** Reads no more until `resume`: back-pressure for a publisher. */
  pause(): void {
    this.paused = true;
    this.readOrNot();
  }

  resume(): void {
    this.paused = false;
    this.readOrNot();
  }

  /** A new turn: it is read again. */
  takeTurn(): void {
    this.waits = false;
    this.readOrNot();
  }

  // — end —————————————————————————————————————————————————————————————————————————————————————————————————————————

  /** Sends what was written and closes; the peer's further octets are not looked at. */
  end(): void {
    if (this.state !== 'open') return;
    this.flush();
    // Writing may have shown that the peer is gone.
    if (!this.open) return;
    this.state = 'ending';
    this.rest = emptyBuffer;
    this.restBytes = 0;
    this.duplex.end();
    this.readOrNot(); // else a peer that has more to say would never see our end
    // A peer that never closes its side must not keep ours.
    this.lingerOn();
    this.tellClosed('');
  }

  destroy(): void {
    this.duplex.destroy();
    this.closed('');
  }

  // — inside: out —————————————————————————————————————————————————————————————————————————————————————————————————

  /** Octets that were sent and that the kernel has not taken. */
  private get queuedBytes(): number {
    return this.handle === null ? this.duplex.writableLength : this.handle.writeQueueSize;
  }

  private drained(): void {
    if (!this.blocked || this.queuedBytes > drainedBelow) return;
    this.blocked = false;
    this.clock.refresh();
    if (this.state !== 'open') return;
    try {
      this.handler.onDrain();
    } catch (error) {
      this.fault(error);
    }
  }

  private makeRoom(bytes: number): void {
    if (this.out.length === smallBatchBytes && this.used + bytes <= batchBytes) return this.grow();
    if (this.used > 0) this.send();
    if (bytes <= this.out.length - this.used) return;
    returnBuffer(this.out);
    this.used = 0;
    this.out = takeBuffer(bytes);
  }

  private grow(): void {
    const small = this.out;
    this.out = takeBuffer(batchBytes);
    small.copy(this.out, 0, 0, this.used);
    returnBuffer(small);
  }

  // Leaves `out` empty or fresh: octets that the kernel did not take at once keep their buffer until it has.
  private send(): void {
    if (this.used === 0 || this.state !== 'open') {
      this.used = 0;
      return;
    }
    const batch = this.out;
    this.bytesOut += this.used;
    this.writes += 1;
    this.lastWriteMs = this.clock.nowMs;
    const bytes = batch.subarray(0, this.used);
    this.used = 0;
    const queued = this.handle === null ? this.writeThrough(bytes) : writeTo(this.handle, bytes, this.written);
    if (queued === 0) return;
    if (queued < 0) return this.broken(queued);
    this.sending ??= new Ring();
    this.sending.push(batch);
    this.out = emptyBuffer;
    if (queued > blockedFrom) this.blocked = true;
  }

  /** @returns how many octets of range and tail need no more writing */
  private offer(bytes: Buffer, start: number, end: number, tail: Buffer): number {
    const { handle, used } = this;
    if (handle === null || handle.writeQueueSize > 0 || this.state !== 'open') return 0;
    const parts = [bytes.subarray(start, end)];
    if (used > 0) parts.unshift(this.out.subarray(0, used));
    if (tail.length > 0) parts.push(tail);
    const taken = offerTo(handle, parts);
    if (taken < 0) {
      this.broken(taken);
      return 0;
    }
    this.bytesOut += taken;
    this.writes += 1;
    this.lastWriteMs = this.clock.nowMs;
    if (taken < used) this.out.copyWithin(0, taken, used);
    this.used = Math.max(0, used - taken);
    return Math.max(0, taken - used);
  }

  private writeThrough(bytes: Buffer): number {
    const { duplex } = this;
    duplex.write(bytes, this.written as () => void);
    const queued = duplex.writableLength;
    if (queued === 0) this.sentAtOnce += 1;
    return queued;
  }

  // The handle's: what it took at once is not told.
  private onTaken(status: number): void {
    const batch = this.sending?.shift();
    if (batch !== undefined) returnBuffer(batch);
    if (status < 0) this.broken(status);
    else this.drained();
  }

  // Told in a turn of its own, as a stream does: somebody may be about to write.
  private broken(status: number): void {
    this.duplex.destroy(new Error(writeError(status)));
  }

  private onWritten(): void {
    if (this.sentAtOnce > 0) {
      this.sentAtOnce -= 1;
      return;
    }
    const batch = this.sending?.shift();
    if (batch !== undefined) returnBuffer(batch);
  }

  // — inside: in ——————————————————————————————————————————————————————————————————————————————————————————————————

  private get canProcess(): boolean {
    return this.holds === 0 && this.state === 'open';
  }

  private countTurn(bytes: number): void {
    if (this.turn !== turn) {
      this.turn = turn;
      this.turnBytes = 0;
    }
    this.turnBytes += bytes;
    if (this.turnBytes >= turnBytesMax && !this.waits) {
      this.waits = true;
      waiting.push(this);
    }
    endTurnLater();
  }

  // Reads go on unless somebody has a reason against it; of an ended connection they are thrown away.
  private readOrNot(): void {
    const reading =
      this.state === 'ending' || !(this.paused || this.waits || (this.holds > 0 && this.restBytes > heldBytesMax));
    if (reading === this.reading || this.state === 'closed') return;
    this.reading = reading;
    if (reading) this.duplex.resume();
    else this.duplex.pause();
  }

  /**
   * Completes the cut frame with as little of the chunk as it needs, so that all behind it is handled where it lies:
   *
   *     rest  [ cut fra ]          chunk  [ me │ frame │ frame │ cut f ]
   *           [ cut fra me ] ◄──────────────┘  └── handled in the chunk
   *
   * @returns octets of the chunk that are done with, or are part of `rest` now
   */
  private stitch(chunk: Buffer, length: number): number {
    let at = 0;
    while (at < length && this.restBytes > 0 && this.canProcess) {
      const before = this.restBytes;
      const needed = this.want > before ? this.want - before : Math.max(before, stitchBytes);
      const taken = Math.min(needed, length - at);
      this.keep(chunk, at, at + taken);
      at += taken;
      if (this.restBytes < this.want) break;
      this.processRest();
      // What was not consumed of the addition lies in the chunk too.
      if (this.restBytes <= taken && this.open) {
        at -= this.restBytes;
        this.restBytes = 0;
        returnBuffer(this.rest);
        this.rest = emptyBuffer;
      }
    }
    return at;
  }

  // Appends to `rest`, which grows by doubling up to what the handler wants: an announced length alone takes no memory but what
  // lies ready.
  private keep(chunk: Buffer, start: number, end: number): void {
    const bytes = this.restBytes + end - start;
    if (bytes > this.rest.length) {
      const grown = this.roomFor(bytes);
      this.rest.copy(grown, 0, 0, this.restBytes);
      returnBuffer(this.rest);
      this.rest = grown;
    }
    chunk.copy(this.rest, this.restBytes, start, end);
    this.restBytes = bytes;
  }

  private roomFor(bytes: number): Buffer {
    const { want } = this;
    const room = Math.max(bytes, Math.min(this.rest.length * 2, Math.max(want, 2 * bytes)));
    if (bytes < largeRestFrom) return Buffer.allocUnsafeSlow(room);
    return (
      (want > batchBytes && want >= bytes ? findLargeBuffer(want) : undefined) ??
      takeBuffer(bytes <= batchBytes ? bytes : room)
    );
  }

  // A handler may put another in its place: what it left goes to that one.
  private process(chunk: Buffer, length: number): number {
    this.processing = true;
    let consumed = 0;
    let handler: StreamHandler;
    try {
      do {
        handler = this.handler;
        this.want = 0;
        const rest = consumed === 0 ? chunk : chunk.subarray(consumed, length);
        consumed += handler.onBytes(rest, length - consumed);
      } while (handler !== this.handler && consumed < length && this.canProcess);
    } catch (error) {
      this.fault(error);
    }
    this.processing = false;
    return consumed;
  }

  private processRest(): void {
    const length = this.restBytes;
    const chunk = this.rest;
    const consumed = this.process(chunk, length);
    if (this.state === 'open' && consumed === 0) return;
    this.restBytes = this.state === 'open' ? length - consumed : 0;
    // In a buffer of its own size: what was consumed may have been much larger.
    this.rest = this.restBytes === 0 ? emptyBuffer : Buffer.from(chunk.subarray(consumed, length));
    returnBuffer(chunk);
  }

  // — inside: end —————————————————————————————————————————————————————————————————————————————————————————————————

  // The peer has said all it will: what it said before is still heard, also when a cold operation holds it up.
  private endIfRead(): void {
    if (this.holds === 0) this.end();
  }

  // Who reads slowly gets all that was written for it; who reads nothing for so long is not waited for.
  private lingerOn(): void {
    const { queuedBytes } = this;
    this.linger = setTimeout(() => {
      if (this.queuedBytes < queuedBytes) this.lingerOn();
      else this.destroy();
    }, lingerMs);
    this.linger.unref();
  }

  private fault(error: unknown): void {
    this.log.error({ peer: this.peer, err: error }, 'a fault of ours: the connection is closed');
    this.destroy();
  }

  private closed(error: string): void {
    if (this.state === 'closed') return;
    const tell = this.state === 'open';
    this.state = 'closed';
    this.used = 0;
    this.rest = emptyBuffer;
    this.restBytes = 0;
    if (this.linger !== null) clearTimeout(this.linger);
    if (!this.duplex.destroyed) this.duplex.destroy();
    this.clock.refresh();
    if (tell) this.tellClosed(error);
  }

  private tellClosed(error: string): void {
    const handler = this.handler;
    this.handler = noHandler;
    try {
      handler.onClose(error);
    } catch (fault) {
      this.log.error({ peer: this.peer, err: fault }, 'a fault of ours when a connection closed');
    }
  }
}

/** Without progress: after that an ended connection is broken off. */
const lingerMs = 2000;

const noHandler: StreamHandler = {
  onBytes: (_chunk, end) => end,
  onDrain() {},
  onFlush() {},
  onClose() {},
};
