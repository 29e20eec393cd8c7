import type { QueueOptions } from './arguments.ts';

/** x-max-length and x-max-length-bytes: how many ready messages, and octets of their bodies, a queue keeps. */
export class LengthLimit {
  readonly maxLength: number;
  readonly maxBytes: number;
  /** True: what is too much is not taken. False: the oldest make room for it, or publishers wait. */
  readonly refuses: boolean;
  /** Publishers wait while the queue is full. */
  readonly blocks: boolean;
  /** What is refused is dead-lettered. */
  readonly deadLettersRefused: boolean;

  private constructor(options: QueueOptions) {
    this.maxLength = options.maxLength < 0 ? Number.POSITIVE_INFINITY : options.maxLength;
    this.maxBytes = options.maxLengthBytes < 0 ? Number.POSITIVE_INFINITY : options.maxLengthBytes;
    this.refuses = options.overflow === 'reject-publish' || options.overflow === 'reject-publish-dlx';
    this.blocks = options.overflow === 'block';
    this.deadLettersRefused = options.overflow === 'reject-publish-dlx';
  }

  /** @returns null when the queue has no limit */
  static of(options: QueueOptions): LengthLimit | null {
    return options.maxLength < 0 && options.maxLengthBytes < 0 ? null : new LengthLimit(options);
  }

  /** As much is there as may be: one more is too much. */
  isFull(length: number, bytes: number): boolean {
    return length > 0 && (length >= this.maxLength || bytes >= this.maxBytes);
  }

  /** A fifth is free again, so that publishers are not held and let go with every message. */
  hasRoom(length: number, bytes: number): boolean {
    return length <= this.maxLength * roomFrom && bytes <= this.maxBytes * roomFrom;
  }

  exceeded(length: number, bytes: number): boolean {
    return length > this.maxLength || bytes > this.maxBytes;
  }
}

const roomFrom = 0.8;
