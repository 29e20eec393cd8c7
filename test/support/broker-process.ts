import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface BrokerOptions {
  readonly dataDir?: string;
  readonly args?: readonly string[];
  /** For Node itself, e.g. --cpu-prof. */
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The broker as a process of its own, on free ports, with a data directory that outlives `kill`. */
export class BrokerProcess {
  readonly dataDir: string;
  readonly ports: ReadonlyMap<string, number>;
  readonly output: string;
  private readonly child: ChildProcess;
  private readonly ownsDataDir: boolean;
  private readonly errors: string[];

  private constructor(child: ChildProcess, dataDir: string, ownsDataDir: boolean, output: string, errors: string[]) {
    this.child = child;
    this.dataDir = dataDir;
    this.ownsDataDir = ownsDataDir;
    this.output = output;
    this.errors = errors;
    this.ports = new Map(
      [...output.matchAll(/^(\S+) +\S+ +\S+ +(\d+)$/gm)].map((row) => [row[1] as string, Number(row[2])]),
    );
  }

  static async start(options: BrokerOptions = {}): Promise<BrokerProcess> {
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'rosettamq-')));
    const ports = ['amqp', 'mqtt', 'stomp', 'management'].flatMap((name) => ['--set', `listeners.${name}.port=0`]);
    const child = spawn(
      process.execPath,
      [
        ...(options.nodeArgs ?? []),
        'src/main.ts',
        '--data-dir',
        dataDir,
        ...ports,
        '--set',
        'logLevel=warn',
        ...(options.args ?? []),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env } },
    );
    const errors: string[] = [];
    child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
    const output = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (/^ready in \d+ ms$/m.test(text)) resolve(text);
      });
      child.once('exit', (code) => reject(new Error(`the broker ended with ${code}: ${errors.join('')}`)));
    });
    return new BrokerProcess(child, dataDir, options.dataDir === undefined, output, errors);
  }

  port(listener: string): number {
    const port = this.ports.get(listener);
    if (port === undefined) throw new Error(`no listener ${listener} in:\n${this.output}`);
    return port;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** What it wrote to standard error: logs of level warn and above. */
  get log(): string {
    return this.errors.join('');
  }

  /** kill -9: what was promised must be on disk. */
  async kill(): Promise<void> {
    await this.end('SIGKILL');
  }

  /** Asks it to stop. @returns its exit code; null when it had to be killed after 15 s */
  stop(): Promise<number | null> {
    return this.end('SIGTERM');
  }

  /** Stops it and removes its data directory if it was made for it. */
  async remove(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.stop();
    if (this.ownsDataDir) await rm(this.dataDir, { recursive: true, force: true });
  }

  private async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const ended = new Promise<number | null>((resolve) => this.child.once('exit', (code) => resolve(code)));
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 15_000);
    const code = await ended;
    clearTimeout(timer);
    return code;
  }
}
