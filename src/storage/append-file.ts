/** A file that is appended to. */
export interface AppendFile {
  /** Writes all of the buffers at the end; they may be reused when the promise has resolved. */
  write(buffers: readonly Buffer[]): Promise<void>;
  datasync(): Promise<void>;
  /**
   * As `write` and `datasync` behind it, in less time. Behind its end the file may hold zeros from then on.
   * @throws SyncFailed when what was written may not be on the disk; any other error is one of the write
   */
  writeThrough(buffers: readonly Buffer[]): Promise<void>;
  /** Cuts off what a failed write left behind, and zeros. */
  truncate(length: number): Promise<void>;
  close(): Promise<void>;
}

/** What it was about cannot be made good on the same file: the system may take what it could not write for written. */
export class SyncFailed extends Error {
  constructor(cause: unknown) {
    super((cause as Error).message, { cause });
  }
}
