import type { Client } from '../client.ts';
import type { Headers } from '../properties.ts';

/** What a queue was declared to be. */
export interface QueueSpec {
  readonly name: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** The connection that alone may use it, and with which it goes; null for others. */
  readonly exclusiveTo: Client | null;
  readonly arguments: Headers;
}
