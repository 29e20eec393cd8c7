import type { Match } from '../exchange/binding.ts';
import type { Message } from '../message.ts';
import type { DeadLetterAddress } from './dead-letter.ts';
import type { Consumer, EntryKeeper, Queue } from './queue.ts';

/** ready → unacked → (waiting → ready …) → settled; a waiting entry is invisible, a settled one nobody's. */
export type EntryState = 'ready' | 'unacked' | 'waiting' | 'settled';

/** What the journal knows of an entry: nothing, waiting to be written with its group, on disk. */
export type JournalState = 'none' | 'pending' | 'written';

/** An entry of whatever keeps it. */
export type KeptEntry = QueueEntry<EntryKeeper>;

/** A message's place in one queue. */
export class QueueEntry<K extends EntryKeeper = Queue> {
  message: Message;
  readonly queue: K;
  /** Options of the subscriptions that matched, for sessions of MQTT. */
  match: Match | null;
  /** Times that it was handed to a consumer and came back. */
  deliveryCount = 0;
  /** Shown as `redelivered`: it was in a consumer's hands before. */
  redelivered = false;
  /** Milliseconds since the epoch, 0 = never: the message's own expiry, or its queue's if that is sooner. */
  expiresAtMs = 0;
  state: EntryState = 'ready';
  journal: JournalState = 'none';
  /** Who has it while it is unacked; null for one that was fetched. */
  consumer: Consumer | null = null;
  /** The next durable queue's entry of the same message; a ring once the journal has written it. */
  sibling: KeptEntry | null = null;
  /** Where the journal has the entry: its own business. */
  home: object | null = null;
  homeIndex = 0;
  /** Of the record: where it begins, and its octets. */
  homeAt = 0;
  homeBytes = 0;
  /** The queues that shared the record when it was written. */
  homeShares = 1;
  /** Its number in the store if it left memory and came back: the store still has it there. −1 = none. */
  slot = -1;

  constructor(queue: K, message: Message, match: Match | null) {
    this.queue = queue;
    this.message = message;
    this.match = match;
  }

  /** Done with: it is removed. Settling what is settled already does nothing. */
  ack(): void {
    this.queue.settle(this);
  }

  /** Back to its place, to be delivered again. */
  requeue(): void {
    this.queue.requeue(this, true);
  }

  /** Back to its place as if it had never left: for deliveries that did not reach the consumer. */
  release(): void {
    this.queue.requeue(this, false);
  }

  /** Refused for good: dead-lettered where the queue says so, else to `otherwise` if that is given, else removed. */
  reject(otherwise: DeadLetterAddress | null = null): void {
    this.queue.reject(this, otherwise);
  }
}
