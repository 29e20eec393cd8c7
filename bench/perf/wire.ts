import { connect, type Socket } from 'node:net';

const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);
const startMicros = process.hrtime.bigint();

/** Microseconds since the start, never 0. */
export function nowMicros(): number {
  return Number((process.hrtime.bigint() - startMicros) / 1000n) + 1;
}

/** Takes whole frames of `chunk[0, end)`. @returns octets taken; what is left comes again, followed by more */
export type OnBytes = (chunk: Buffer, end: number) => number;

/** A socket that is read into one buffer, with the octets of a cut frame kept in front of the next ones. */
export class Wire {
  /** The kernel has not taken all that was written. */
  busy = false;
  closed = false;
  onBytes: OnBytes = (_chunk, end) => end;
  onIdle: () => void = () => {};
  onClosed: (why: string) => void = () => {};
  private readonly socket: Socket;
  private rest: Buffer = Buffer.alloc(0);
  private restBytes = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('drain', () => {
      this.busy = false;
      this.onIdle();
    });
    socket.on('error', (error) => this.end(error.message));
    socket.on('close', () => this.end('closed by the broker'));
  }

  static connect(host: string, port: number): Promise<Wire> {
    return new Promise((resolve, reject) => {
      let wire: Wire | null = null;
      const socket = connect({
        host,
        port,
        noDelay: true,
        onread: {
          buffer: readBuffer,
          callback: (bytes) => {
            wire?.receive(readBuffer, bytes);
            return true;
          },
        },
      });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        wire = new Wire(socket);
        resolve(wire);
      });
    });
  }

  /** `bytes` are the caller's again when `busy` is false. */
  send(bytes: Buffer): void {
    this.socket.write(bytes);
    if (this.socket.writableLength > 0) this.busy = true;
  }

  close(): void {
    this.onClosed = () => {};
    this.closed = true;
    this.socket.destroy();
  }

  private end(why: string): void {
    if (this.closed) return;
    this.closed = true;
    this.onClosed(why);
  }

  private receive(chunk: Buffer, bytes: number): void {
    if (this.restBytes === 0) {
      const taken = this.onBytes(chunk, bytes);
      if (taken < bytes) this.keep(chunk, taken, bytes);
      return;
    }
    this.keep(chunk, 0, bytes);
    const length = this.restBytes;
    const whole = this.rest;
    const taken = this.onBytes(whole, length);
    if (taken === 0) return;
    this.restBytes = 0;
    this.rest = whole.copyWithin(0, taken, length) as Buffer;
    this.restBytes = length - taken;
  }

  private keep(chunk: Buffer, start: number, end: number): void {
    const needed = this.restBytes + end - start;
    if (needed > this.rest.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(2 * needed, 1024));
      this.rest.copy(grown, 0, 0, this.restBytes);
      this.rest = grown;
    }
    chunk.copy(this.rest, this.restBytes, start, end);
    this.restBytes = needed;
  }
}

/** In the frame of a message: what differs from one to the next. */
export const variedText = '########';

/**
 * As many copies of one encoded publish as go into one write; only what differs is patched before each. The first four
 * octets of a body are the time of its sending, from which its receiver tells the latency.
 */
export class Batch {
  readonly bytes: Buffer;
  readonly frameBytes: number;
  readonly capacity: number;
  private readonly stampAt: number;

  /** @param stampAt where the body begins in the frame; −1 when it is too short for a stamp */
  constructor(frame: Buffer, stampAt: number) {
    this.frameBytes = frame.length;
    this.capacity = Math.max(1, Math.min(1000, Math.floor((128 * 1024) / frame.length)));
    this.bytes = Buffer.concat(Array.from({ length: this.capacity }, () => frame));
    this.stampAt = stampAt;
    this.number(frame.indexOf(variedText));
  }

  // No two messages in a row say the same in their headers.
  private number(at: number): void {
    if (at < 0) return;
    for (let i = 0; i < this.capacity; i++) {
      this.bytes.write(String(i).padStart(variedText.length, '0'), at + i * this.frameBytes, 'latin1');
    }
  }

  /** @returns the octets of `count` publishes sent now */
  stamped(count: number): Buffer {
    if (this.stampAt >= 0) {
      const { bytes, frameBytes } = this;
      const now = nowMicros() >>> 0;
      for (let i = 0, at = this.stampAt; i < count; i++, at += frameBytes) {
        bytes[at] = now >>> 24;
        bytes[at + 1] = now >>> 16;
        bytes[at + 2] = now >>> 8;
        bytes[at + 3] = now;
      }
    }
    return this.bytes.subarray(0, count * this.frameBytes);
  }
}
