import type { Journal, Position, PublishReceipt } from '../core/journal.ts';
import type { KeptEntry } from '../core/queue/entry.ts';

/** Remembers nothing: everything is as durable as it will ever be at once. */
export class MemoryJournal implements Journal {
  position: Position = 0;
  readonly backlogBytes = 0;
  readonly writable = true;
  readonly failure = null;

  get durable(): Position {
    return this.position;
  }

  publish(_first: KeptEntry): Position {
    return ++this.position;
  }

  settle(_entry: KeptEntry): Position {
    return ++this.position;
  }

  replace(): void {}

  put(_kind: string, _key: string, _value: Buffer): Position {
    return ++this.position;
  }

  delete(_kind: string, _key: string): Position {
    return ++this.position;
  }

  confirm(_upTo: Position, receipt: PublishReceipt, tag: number): void {
    receipt.confirmed(tag);
  }

  whenDurable(_upTo: Position, done: () => void): void {
    done();
  }

  restored(): void {}

  async close(): Promise<void> {}
}
