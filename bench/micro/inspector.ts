import type { BrokerProcess } from '../../test/support/broker-process.ts';

/** Flags with which a broker can be looked into, and does not collect on its own while it is. */
export const inspectable = [
  '--expose-gc',
  '--inspect=127.0.0.1:0',
  '--min-semi-space-size=512',
  '--max-semi-space-size=512',
];

/** Evaluates expressions in a broker's process, so that its memory is measured without a line of code in it. */
export class Inspector {
  private readonly socket: WebSocket;
  private readonly waiting = new Map<number, (value: unknown) => void>();
  private id = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.addEventListener('message', (event) => {
      const reply = JSON.parse(String(event.data)) as { id?: number; result?: { result?: { value?: unknown } } };
      if (reply.id !== undefined) this.waiting.get(reply.id)?.(reply.result?.result?.value);
    });
  }

  /** @param broker one that was started with `inspectable` */
  static async of(broker: BrokerProcess): Promise<Inspector> {
    const url = /ws:\/\/\S+/.exec(broker.log)?.[0];
    if (url === undefined) throw new Error(`the broker does not say where to inspect it: ${broker.log}`);
    const socket = new WebSocket(url);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    return new Inspector(socket);
  }

  evaluate<T>(expression: string): Promise<T> {
    return this.call('Runtime.evaluate', { expression, returnByValue: true }) as Promise<T>;
  }

  private call(method: string, params: object): Promise<unknown> {
    this.id += 1;
    const { id } = this;
    return new Promise((resolve) => {
      this.waiting.set(id, (value) => {
        this.waiting.delete(id);
        resolve(value);
      });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }

  /** Collects what is garbage. */
  async collect(): Promise<void> {
    await this.evaluate('gc(); gc(); 1');
  }

  /** Collects what is garbage and gives its pages back, as a process short of memory would. */
  async collectAll(): Promise<void> {
    await this.call('HeapProfiler.collectGarbage', {});
  }

  close(): void {
    this.socket.close();
  }
}
