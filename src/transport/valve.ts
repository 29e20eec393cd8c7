/** Of a stream: whether its socket is read. */
export interface Reading {
  pause(): void;
  resume(): void;
}

/**
 * Holds a peer back that publishes while the broker is short of something: its socket is not read until there is
 * enough again. A peer that consumes too is read a little about once a second, so that its acknowledgements and pings
 * arrive; of what it publishes no more than one read gets in with them.
 */
export class Valve {
  /** The peer is being held back, and its silence is ours. */
  shut = false;
  private readonly stream: Reading;
  private isShort = false;

  constructor(stream: Reading) {
    this.stream = stream;
  }

  /** @param why what is short; null: there is enough again */
  alarm(why: string | null): void {
    this.isShort = why !== null;
    if (!this.isShort) this.open();
  }

  /** The peer published something. */
  published(): void {
    if (!this.isShort || this.shut) return;
    this.shut = true;
    this.stream.pause();
  }

  /** Called about once a second. */
  sweep(consumes: boolean): void {
    if (consumes) this.open();
  }

  private open(): void {
    if (!this.shut) return;
    this.shut = false;
    this.stream.resume();
  }
}
