import { connect, type Socket } from 'node:net';

/** A peer that sends octets and collects what comes back. */
export class RawPeer {
  readonly socket: Socket;
  private received: Buffer = Buffer.alloc(0);
  private ended = false;
  private waiting: (() => void)[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.tell();
    });
    const end = (): void => {
      this.ended = true;
      this.tell();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
  }

  static connect(port: number, host = '127.0.0.1'): Promise<RawPeer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        socket.setNoDelay(true);
        resolve(new RawPeer(socket));
      });
    });
  }

  write(octets: Buffer | string): void {
    this.socket.write(octets);
  }

  /** Resolves with everything received so far once `enough` is true of it. Rejects when the connection ends before. */
  async until(enough: (received: Buffer) => boolean): Promise<Buffer> {
    while (!enough(this.received)) {
      if (this.ended) throw new Error(`the connection ended after ${JSON.stringify(this.received.toString('latin1'))}`);
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    return this.received;
  }

  atLeast(octets: number): Promise<Buffer> {
    return this.until((received) => received.length >= octets);
  }

  untilText(text: string): Promise<Buffer> {
    return this.until((received) => received.includes(text));
  }

  /** Resolves with everything received once the broker has closed the connection. */
  async untilEnd(): Promise<Buffer> {
    while (!this.ended) await new Promise<void>((resolve) => this.waiting.push(resolve));
    return this.received;
  }

  /** Forgets what was received. */
  clear(): void {
    this.received = Buffer.alloc(0);
  }

  /** Without a farewell. */
  destroy(): void {
    this.socket.destroy();
  }

  private tell(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
