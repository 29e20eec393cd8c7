/** Where a command's words go, and where it asks. */
export interface Terminal {
  /** Columns of a line; infinite when nobody looks. */
  readonly width: number;
  /** Somebody sits there who can be asked. */
  readonly interactive: boolean;
  say(text: string): void;
  complain(text: string): void;
  /** All of standard input, as text. */
  readAll(): Promise<string>;
  /** The next line of standard input, without its end; undefined when there is none. */
  readLine(): Promise<string | undefined>;
  /** Asks without showing the answer. */
  askSecret(question: string): Promise<string>;
}

export interface Streams {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The terminal, pipe or file that the process was started with. */
export class ProcessTerminal implements Terminal {
  private readonly streams: Streams;
  private rest: string | null = null;

  constructor(streams: Streams) {
    this.streams = streams;
  }

  get width(): number {
    const { stdout, env } = this.streams;
    const told = Number(env['COLUMNS']);
    if (stdout.isTTY && stdout.columns > 0) return stdout.columns;
    return Number.isInteger(told) && told > 0 ? told : Number.POSITIVE_INFINITY;
  }

  get interactive(): boolean {
    return this.streams.stdin.isTTY === true && this.streams.stderr.isTTY === true;
  }

  say(text: string): void {
    this.streams.stdout.write(text);
  }

  complain(text: string): void {
    this.streams.stderr.write(text);
  }

  async readAll(): Promise<string> {
    if (this.rest === null) {
      const chunks: Buffer[] = [];
      for await (const chunk of this.streams.stdin) chunks.push(Buffer.from(chunk));
      this.rest = Buffer.concat(chunks).toString('utf8');
    }
    const all = this.rest;
    this.rest = '';
    return all;
  }

  async readLine(): Promise<string | undefined> {
    const all = await this.readAll();
    if (all === '') return undefined;
    const end = all.indexOf('\n');
    this.rest = end < 0 ? '' : all.slice(end + 1);
    return (end < 0 ? all : all.slice(0, end)).replace(/\r$/, '');
  }

  askSecret(question: string): Promise<string> {
    const { stdin, stderr } = this.streams;
    stderr.write(question);
    stdin.setRawMode(true);
    stdin.setEncoding('utf8');
    stdin.resume();
    return new Promise((resolve) => {
      let answer = '';
      const onData = (text: string): void => {
        for (const character of text) {
          if (character === '\u0003') {
            finish();
            process.kill(process.pid, 'SIGINT');
            return;
          }
          if (character === '\r' || character === '\n' || character === '\u0004') {
            finish();
            return resolve(answer);
          }
          if (character === '\u007f' || character === '\b') answer = [...answer].slice(0, -1).join('');
          else answer += character;
        }
      };
      const finish = (): void => {
        stdin.off('data', onData);
        stdin.setRawMode(false);
        stdin.pause();
        stderr.write('\n');
      };
      stdin.on('data', onData);
    });
  }
}
