import type { Protocol } from './protocol.ts';
import type { Stream, StreamHandler } from './stream.ts';

/** A protocol of several on one port, and how its first octets look. */
export interface Spoken {
  readonly protocol: Protocol;
  /** Octets that decide; fewer are waited for while they can still become such. */
  readonly header: Buffer;
  /** Offsets of the header that may be anything. */
  readonly anyAt: readonly number[];
}

/** One port for several protocols: what a peer says first decides. */
export class Detection implements Protocol {
  readonly name: string;
  private readonly spoken: readonly Spoken[];
  private readonly otherwise: Protocol;
  private readonly undecided = new Set<Undecided>();
  private readonly loginTimeoutMs: number;
  private readonly now: () => number;

  /** @param otherwise whose business it is to answer what nobody knows */
  constructor(spoken: readonly Spoken[], otherwise: Protocol, loginTimeoutMs: number, now: () => number) {
    this.name = otherwise.name;
    this.spoken = spoken;
    this.otherwise = otherwise;
    this.loginTimeoutMs = loginTimeoutMs;
    this.now = now;
  }

  accept(stream: Stream): StreamHandler {
    const handler = new Undecided(stream, (chunk, end) => this.decide(chunk, end), this.undecided);
    this.undecided.add(handler);
    return handler;
  }

  sweep(): void {
    for (const { stream, sinceMs } of this.undecided) {
      if (this.now() - sinceMs >= this.loginTimeoutMs) stream.end();
    }
    for (const protocol of this.protocols) protocol.sweep();
  }

  stop(): void {
    for (const { stream } of this.undecided) stream.end();
    for (const protocol of this.protocols) protocol.stop();
  }

  private get protocols(): Set<Protocol> {
    return new Set([this.otherwise, ...this.spoken.map(({ protocol }) => protocol)]);
  }

  // null: too little is there to tell.
  private decide(chunk: Buffer, end: number): Protocol | null {
    let isOpen = false;
    for (const { protocol, header, anyAt } of this.spoken) {
      const length = Math.min(end, header.length);
      let matches = true;
      for (let i = 0; i < length; i++) if (chunk[i] !== header[i] && !anyAt.includes(i)) matches = false;
      if (matches && length === header.length) return protocol;
      isOpen ||= matches;
    }
    return isOpen ? null : this.otherwise;
  }
}

/** Until the first octets are there; then the protocol's own handler takes the stream over. */
class Undecided implements StreamHandler {
  readonly stream: Stream;
  readonly sinceMs: number;
  private readonly decide: (chunk: Buffer, end: number) => Protocol | null;
  private readonly siblings: Set<Undecided>;

  constructor(stream: Stream, decide: (chunk: Buffer, end: number) => Protocol | null, siblings: Set<Undecided>) {
    this.stream = stream;
    this.sinceMs = stream.lastReadMs;
    this.decide = decide;
    this.siblings = siblings;
  }

  onBytes(chunk: Buffer, end: number): number {
    const protocol = this.decide(chunk, end);
    if (protocol === null) return 0;
    this.siblings.delete(this);
    this.stream.handler = protocol.accept(this.stream);
    return 0;
  }

  onDrain(): void {}
  onFlush(): void {}

  onClose(): void {
    this.siblings.delete(this);
  }
}
