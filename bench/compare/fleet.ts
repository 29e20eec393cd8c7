import type { Peer, RunningPeer, StartOptions } from './peers.ts';

/**
 * The peers that run. Each use of one has it afresh, except those that take seconds to start: they are kept for a round,
 * stopped by signal while another is measured.
 */
export class Fleet {
  private readonly kept = new Map<Peer, RunningPeer>();
  private readonly running = new Set<RunningPeer>();

  constructor() {
    process.once('exit', () => {
      for (const peer of this.running) peer.kill();
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  }

  /** @param timeoutMs after that the peer is ended, and the call fails */
  async use<T>(peer: Peer, timeoutMs: number, work: (running: RunningPeer) => Promise<T>): Promise<T> {
    const running = await this.take(peer);
    try {
      const result = await within(timeoutMs, work(running));
      if (peer.startsSlowly) this.keep(peer, running);
      else await this.end(running);
      return result;
    } catch (error) {
      await this.end(running);
      throw error;
    }
  }

  /** One that nobody has used, ended afterwards. */
  async useFresh<T>(
    peer: Peer,
    timeoutMs: number,
    options: StartOptions,
    work: (running: RunningPeer) => Promise<T>,
  ): Promise<T> {
    const running = await this.start(peer, options);
    try {
      return await within(timeoutMs, work(running));
    } finally {
      await this.end(running);
    }
  }

  async endRound(): Promise<void> {
    for (const running of this.kept.values()) {
      running.resume();
      await this.end(running);
    }
    this.kept.clear();
  }

  private async take(peer: Peer): Promise<RunningPeer> {
    const kept = this.kept.get(peer);
    if (kept === undefined) return this.start(peer, {});
    this.kept.delete(peer);
    kept.resume();
    return kept;
  }

  private keep(peer: Peer, running: RunningPeer): void {
    running.suspend();
    this.kept.set(peer, running);
  }

  private async start(peer: Peer, options: StartOptions): Promise<RunningPeer> {
    const running = await peer.start(options);
    this.running.add(running);
    return running;
  }

  private async end(running: RunningPeer): Promise<void> {
    await running.stop();
    this.running.delete(running);
  }
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
