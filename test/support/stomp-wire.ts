import { connect, type Socket } from 'node:net';

export interface WireFrame {
  readonly command: string;
  /** As they came: escaped, in their order, with their repeats. */
  readonly lines: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const nothing = Buffer.alloc(0);

/** A peer of the broker, whatever lies between them. */
export abstract class StompPeer {
  abstract send(octets: string | Buffer): void;

  /** The next frame, behind heart-beats that may come first. */
  abstract next(): Promise<WireFrame>;

  /** Resolves when the server has closed; rejects when it says another word. */
  abstract closed(): Promise<void>;

  /** Sends a frame with a receipt, and waits for it: all before it was taken. */
  async confirm(frame: string, receipt = `r-${Math.random()}`): Promise<void> {
    const [command, ...rest] = frame.split('\n');
    this.send(`${command}\nreceipt:${receipt}\n${rest.join('\n')}`);
    const answer = await this.next();
    if (answer.command !== 'RECEIPT' || answer.headers['receipt-id'] !== receipt) {
      throw new Error(`no RECEIPT but ${answer.command} ${answer.lines.join(' | ')}: ${answer.body}`);
    }
  }

  /** SUBSCRIBE, and its receipt. */
  subscribe(id: string, destination: string, headers = ''): Promise<void> {
    return this.confirm(`SUBSCRIBE\nid:${id}\ndestination:${destination}\n${headers}\n\0`);
  }

  /** SEND, and its receipt. */
  publish(destination: string, body: string, headers = ''): Promise<void> {
    return this.confirm(`SEND\ndestination:${destination}\n${headers}\n${body}\0`);
  }

  /** The next frames' bodies. */
  async bodies(count: number): Promise<string[]> {
    const found: string[] = [];
    while (found.length < count) found.push((await this.next()).body.toString());
    return found;
  }

  /** The ERROR that comes now, and the end of the connection. */
  async error(): Promise<WireFrame> {
    const frame = await this.next();
    if (frame.command !== 'ERROR') throw new Error(`no ERROR but ${frame.command} ${frame.lines.join(' | ')}`);
    await this.closed();
    return frame;
  }
}

/** STOMP as octets: what is sent is written here in full, and what comes is cut at its NUL. */
export class StompWire extends StompPeer {
  private readonly socket: Socket;
  private buffer: Buffer = nothing;
  private ended = false;
  private wake: () => void = () => {};
  heartBeats = 0;

  private constructor(socket: Socket) {
    super();
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
    const cut = cutFrame(this.buffer);
    if (cut === undefined) return undefined;
    this.buffer = this.buffer.subarray(cut.next);
    return cut.frame;
  }
}

/** The first frame, behind heart-beats that may come first; undefined when it is not whole. */
export function cutFrame(octets: Buffer): { readonly frame: WireFrame; readonly next: number } | undefined {
  let begin = 0;
  while (octets[begin] === 0x0a) begin += 1;
  const head = octets.indexOf('\n\n', begin);
  if (head < 0) return undefined;
  const [command = '', ...lines] = octets.toString('utf8', begin, head).split('\n');
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon)] ??= line.slice(colon + 1);
  }
  const start = head + 2;
  const length = headers['content-length'];
  const end = length === undefined ? octets.indexOf(0, start) : start + Number(length);
  if (end < 0 || end >= octets.length) return undefined;
  if (octets[end] !== 0) throw new Error('no NUL behind the body');
  return { frame: { command, lines, headers, body: Buffer.from(octets.subarray(start, end)) }, next: end + 1 };
}
