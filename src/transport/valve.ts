/** Of a stream: whether its socket is read. */
export interface Reading {
  pause(): void;
  resume(): void;
}

/** Octets that a peer which is held back and still read may publish in one alarm. */
export const heldBytesMax = 1024 * 1024;

/**
 * Holds a peer back that publishes while the broker is short of something: its socket is not read until there is
 * enough again. A peer that consumes too is read a little about once a second, so that its acknowledgements and pings
 * arrive. What gets in with them is bounded: above `heldBytesMax` its publishes are refused where its protocol can say
 * so; of what cannot be refused nothing more is read until there is enough again.
 *
 *     alarm ─► first publish ─► a read a second ─► heldBytesMax ─► refused, or not read ─► enough again
 */
export class Valve {
  /** The peer is being held back, and its silence is ours. */
  shut = false;
  private readonly stream: Reading;
  private isShort = false;
  private heldBytes = 0;
  private stopped = false;

  constructor(stream: Reading) {
    this.stream = stream;
  }

  /** The peer has published in this alarm: what more it has is not read, or little of it. */
  get holds(): boolean {
    return this.isShort && (this.shut || this.heldBytes > 0);
  }

  /** @param why what is short; null: there is enough again */
  alarm(why: string | null): void {
    this.isShort = why !== null;
    if (this.isShort) return;
    this.heldBytes = 0;
    this.stopped = false;
    this.open();
  }

  /** The peer publishes. */
  hold(): void {
    if (!this.isShort || this.shut) return;
    this.shut = true;
    this.stream.pause();
  }

  /**
   * Counts a message that the peer published.
   * @param refusable the peer can be told that it is not taken, and keeps its connection
   * @returns true: it is to be refused
   */
  refuses(bytes: number, refusable: boolean): boolean {
    if (!this.isShort) return false;
    const tooMuch = this.heldBytes > heldBytesMax;
    this.heldBytes += bytes;
    if (!tooMuch || refusable) return tooMuch;
    this.stopped = true; // what has been read is taken
    this.hold();
    return false;
  }

  /** Called about once a second. */
  sweep(consumes: boolean): void {
    if (consumes && !this.stopped) this.open();
  }

  private open(): void {
    if (!this.shut) return;
    this.shut = false;
    this.stream.resume();
  }
}
