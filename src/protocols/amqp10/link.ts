import type { Values } from './performatives.ts';
import type { Session } from './session.ts';

/** One end of a link, as its session sees it. */
export interface Link {
  readonly session: Session;
  readonly name: string;
  /** The peer's handle, and ours. */
  readonly handle: number;
  /** The broker is the sender. */
  readonly isSender: boolean;
  /** False once it is detached, while the peer's detach is awaited. */
  readonly open: boolean;
  /** Everything that its attach asked for is durable: answers it. */
  start(): void;
  onFlow(flow: Values<'flow'>): void;
  /** @param closed its terminus ends with it; else it may be attached again */
  detached(closed: boolean): void;
}
