import type { Latencies } from './latency.ts';
import { nowMicros, variedText, type Wire } from './wire.ts';

/** What is published and how, as far as a connection must know. */
export interface Load {
  readonly bodyBytes: number;
  /** Headers of a message; MQTT speaks 5.0 when there are some, else 3.1.1. */
  readonly headers: number;
  /** The properties that client libraries set, in their fields; MQTT is 5.0 with them too. */
  readonly fields?: boolean;
  readonly qos: 0 | 1 | 2;
  readonly persistent: boolean;
  /** Publisher confirms of AMQP, receipts of STOMP; MQTT has them from QoS 1. */
  readonly confirm: boolean;
  /** Consumers acknowledge every so many deliveries at once; 0: automatically. */
  readonly ackEvery: number;
  /** Deliveries that may be unacknowledged. */
  readonly prefetch: number;
  readonly user: string;
  readonly password: string;
  /** Distinguishes the names of this run from those of others on the same broker. */
  readonly run: string;
}

/** Names and values of a message's headers: text of a usual length; the first differs from message to message. */
export function makeHeaders({ headers }: Load): [name: string, value: string][] {
  return Array.from({ length: headers }, (_, i) => [`x-header-${i}`, i === 0 ? variedText : `value of header ${i}`]);
}

/** What client libraries say of a message, but for a reply address; the message id differs from message to message. */
export const fields = {
  contentType: 'application/json',
  priority: 4,
  correlationId: '9b0c1a7e-5b1e-4a51-8f5e-0d9a4d2f3c11',
  messageId: `message-${variedText}`,
  timestampMs: 1_700_000_000_000,
  type: 'order.created',
} as const;

/** One routing key: its publishers reach each of its subscribers. */
export class Topic {
  readonly index: number;
  publishers = 0;
  subscribers = 0;
  published = 0;
  confirmed = 0;
  delivered = 0;
  /** Called when something of it was confirmed or delivered, once a read. */
  onProgress: () => void = () => {};

  constructor(index: number) {
    this.index = index;
  }

  /** Messages that have not reached every subscriber, or are not confirmed. */
  inFlight(confirms: boolean): number {
    const through = this.subscribers === 0 ? this.published : Math.floor(this.delivered / this.subscribers);
    return this.published - (confirms ? Math.min(through, this.confirmed) : through);
  }
}

/** A client's connection: a publisher or a subscriber of one topic. */
export interface Link {
  readonly wire: Wire;
  /** True when publishes are answered. */
  readonly confirms: boolean;
  open(): Promise<void>;
  subscribe(): Promise<void>;
  /** Encodes what `publish` will send. @returns how many go into one write */
  prepare(): number;
  /** Publishes that the broker has given credit for; absent: it does not count them. */
  readonly room?: number;
  publish(count: number): void;
}

export interface LinkParts {
  readonly wire: Wire;
  readonly load: Load;
  readonly topic: Topic;
  readonly latencies: Latencies;
}

/** Reads the stamp of a body that arrived. */
export function noteLatency(latencies: Latencies, chunk: Buffer, at: number, now: number): void {
  const sent = ((chunk[at]! << 24) | (chunk[at + 1]! << 16) | (chunk[at + 2]! << 8) | chunk[at + 3]!) >>> 0;
  latencies.add(now - sent);
}

export { nowMicros };

export const stampBytes = 4;

export function makeBody(load: Load): Buffer {
  return Buffer.alloc(load.bodyBytes, 'rosetta ');
}

/** A reply that a handshake waits for. */
export class Expected<T> {
  private settle: ((value: T) => void) | null = null;
  private fail: ((error: Error) => void) | null = null;

  next(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.settle = resolve;
      this.fail = reject;
    });
  }

  came(value: T): void {
    const { settle } = this;
    this.settle = null;
    settle?.(value);
  }

  failed(why: string): void {
    this.fail?.(new Error(why));
  }
}
