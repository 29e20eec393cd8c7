import { connect, type Socket } from 'node:net';

export interface WireFrame {
  readonly command: string;
  /** As they came: escaped, in their order, with their repeats. */
  readonly lines: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const nothing = Buffer.alloc(0);

/** STOMP as octets: what is sent is written here in full, and what comes is cut at its NUL. */
export class StompWire {
  private readonly socket: Socket;
  private buffer: Buffer = nothing;
  private ended = false;
  private wake: () => void = () => {};
  heartBeats = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.buffer = Buffer.concat([this.buffer, chunk]);
      this.wake();
    });
    const end = (): void => {
      this.ended = true;
      this.wake();
    };
    socket.on('end', end);
    socket.on('close', end);
    socket.on('error', end);
  }

  static open(port: number): Promise<StompWire> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new StompWire(socket)));
      socket.once('error', reject);
    });
  }

  /** Logged in as guest. */
  static async login(
    port: number,
    version = '1.2',
    headers: Readonly<Record<string, string>> = {},
  ): Promise<StompWire> {
    const wire = await StompWire.open(port);
    const accept = version === '1.0' ? '' : `accept-version:${version}\n`;
    const more = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`);
    wire.send(`CONNECT\n${accept}host:/\nlogin:guest\npasscode:guest\n${more.join('')}\n\0`);
    const frame = await wire.next();
    if (frame.command !== 'CONNECTED') throw new Error(`no CONNECTED but ${frame.command}: ${frame.body}`);
    return wire;
  }

  send(octets: string | Buffer): void {
    this.socket.write(octets);
  }

  /** Sends a frame with a receipt, and waits for it: all before it was taken. */
  async confirm(frame: string, receipt = `r-${Math.random()}`): Promise<void> {
    const [command, ...rest] = frame.split('\n');
    this.send(`${command}\nreceipt:${receipt}\n${rest.join('\n')}`);
    const answer = await this.next();
    if (answer.command !== 'RECEIPT' || answer.headers['receipt-id'] !== receipt) {
      throw new Error(`no RECEIPT but ${answer.command} ${answer.lines.join(' | ')}: ${answer.body}`);
    }
  }

  /** The next frame; heart-beats in front of it are counted. Rejects when the server closes first. */
  async next(): Promise<WireFrame> {
    for (;;) {
      const frame = this.cut();
      if (frame !== undefined) return frame;
      if (this.ended) throw new Error('the server closed the connection');
      await this.more();
    }
  }

  /** Resolves when the server has closed; rejects when it says another word. */
  async closed(): Promise<void> {
    while (!this.ended) await this.more();
    if (this.cut() !== undefined) throw new Error('a frame came before the end');
  }

  async heartBeat(): Promise<void> {
    const before = this.heartBeats;
    for (;;) {
      this.cut();
      if (this.heartBeats > before) return;
      if (this.ended) throw new Error('the server closed the connection');
      await this.more();
    }
  }

  destroy(): void {
    this.socket.destroy();
  }

  private more(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private cut(): WireFrame | undefined {
    let at = 0;
    while (this.buffer[at] === 0x0a) at += 1;
    this.heartBeats += at;
    this.buffer = this.buffer.subarray(at);
    const head = this.buffer.indexOf('\n\n');
    if (head < 0) return undefined;
    const [command = '', ...lines] = this.buffer.toString('utf8', 0, head).split('\n');
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[line.slice(0, colon)] ??= line.slice(colon + 1);
    }
    const start = head + 2;
    const length = headers['content-length'];
    const end = length === undefined ? this.buffer.indexOf(0, start) : start + Number(length);
    if (end < 0 || end >= this.buffer.length) return undefined;
    if (this.buffer[end] !== 0) throw new Error('no NUL behind the body');
    const body = Buffer.from(this.buffer.subarray(start, end));
    this.buffer = this.buffer.subarray(end + 1);
    return { command, lines, headers, body };
  }
}
