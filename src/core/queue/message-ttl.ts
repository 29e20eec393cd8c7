import type { Message } from '../message.ts';
import type { QueueEntry } from './entry.ts';

/**
 * x-message-ttl: how long messages live in a queue at most. A policy that changes it makes those that are there live as
 * if they had come then; what has less time left keeps that.
 */
export class MessageTtl {
  /** Milliseconds; −1: it is in force no longer. */
  ms: number;
  /** When messages from before a change expire at the latest, in milliseconds since the epoch. */
  shortenedToMs = 0;
  /** By sequence; 0: it never changed. */
  private shortenedBefore = 0;

  private constructor(ms: number) {
    this.ms = ms;
  }

  /** @param before what was in force until now: what it has shortened stays so. @returns null when there was none ever */
  static of(ms: number, before: MessageTtl | null): MessageTtl | null {
    if (before === null) return ms < 0 ? null : new MessageTtl(ms);
    before.ms = ms;
    return before;
  }

  /** When a message expires that comes now: the message's own expiry or the queue's, whichever is sooner. */
  expiryOf(message: Message, nowMs: number): number {
    if (this.ms < 0) return message.expiresAtMs;
    const dueMs = nowMs + this.ms;
    return message.expiresAtMs > 0 && message.expiresAtMs < dueMs ? message.expiresAtMs : dueMs;
  }

  /** It also holds for messages that are older than it. */
  get hasShortened(): boolean {
    return this.shortenedBefore > 0;
  }

  /** From now on it holds for all with a sequence below `before`. */
  shorten(nowMs: number, before: number): void {
    this.shortenedToMs = nowMs + this.ms;
    this.shortenedBefore = before;
  }

  /** The entry waits, or has been read back: it may be from before a change. */
  apply(entry: QueueEntry): void {
    const dueMs = this.shortenedToMs;
    if (entry.message.sequence >= this.shortenedBefore) return;
    if (entry.expiresAtMs === 0 || entry.expiresAtMs > dueMs) entry.expiresAtMs = dueMs;
  }
}
