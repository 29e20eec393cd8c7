import type { Stream, StreamHandler } from './stream.ts';

/** The door of a protocol: gives a new connection its handler. */
export interface Protocol {
  readonly name: string;
  accept(stream: Stream): StreamHandler;
  /** Called about once a second: keep-alives, log-in deadlines; one sweep, not a timer a connection. */
  sweep(): void;
  /** Tells every client in its protocol that the server stops, and closes. */
  stop(): void;
}
