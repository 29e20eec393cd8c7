import type { Client } from '../client.ts';
import type { Condition } from '../errors.ts';
import type { Binding, Match } from '../exchange/binding.ts';
import type { DeathReason, Message } from '../message.ts';
import type { Headers } from '../properties.ts';
import type { QueueOptions } from './arguments.ts';
import type { DeadLetterAddress } from './dead-letter.ts';
import type { KeptEntry, QueueEntry } from './entry.ts';
import type { QueueSpec } from './spec.ts';

/** refused: the queue will not have it; pending: the queue's owner will tell the receipt. */
export type Verdict = 'accepted' | 'refused' | 'pending';

/** Whoever takes deliveries: a channel's consumer, a session, a subscription. */
export interface Consumer {
  /** Credit left, and room in the outbox. Whoever makes it true calls `queue.wake()`. */
  readonly ready: boolean;
  /** True: a delivery is settled by being handed over (automatic ack), and its entry is the caller's own after it. */
  readonly settles: boolean;
  /** There is room for a message that nobody acknowledges (MQTT, QoS 0), whatever the credit; absent: as `ready`. */
  readonly open?: boolean;
  /** Higher ones are served first while they are ready. */
  readonly priority: number;
  readonly exclusive: boolean;
  /** Takes only the messages that it is true for; without one, all. */
  readonly selector?: ((message: Message) => boolean) | null;
  /** What it cannot be told whole is dead-lettered, whatever its queue says; absent: as its queue says. */
  readonly rejectsLosses?: boolean;
  readonly client: Client;
  /** As its protocol names it, for management. */
  readonly tag: string;
  /** The channel or session of the client that it belongs to, as `describeChannels` numbers them. */
  readonly channel: number;
  /** Unacked deliveries at most; 0 = any number. */
  readonly prefetch: number;
  readonly arguments: Headers;
  /** With `settles` the entry and a flying message are valid only during the call. */
  deliver(entry: QueueEntry): void;
  /**
   * False when its protocol has no words for all of the message, or its peer takes none so large: that is counted as a
   * loss. Asked before a delivery where losses are rejected; absent: it can be told everything.
   */
  represents?(message: Message): boolean;
  /** The queue is gone, or will not have this consumer any longer. */
  cancelled(why: Condition): void;
}

export interface QueueCounts {
  readonly ready: number;
  readonly unacked: number;
  readonly consumers: number;
}

/** Where entries have their places: a queue, or a schedule of what is not due yet. */
export interface EntryKeeper {
  /** If it is durable: the number that the journal knows it by; 0 for others. */
  readonly id: number;
  settle(entry: KeptEntry): void;
  requeue(entry: KeptEntry, counted: boolean): void;
  /**
   * @param otherwise where it goes if the queue has no dead letter address of its own
   * @param reason rejected, if it is not said
   */
  reject(entry: KeptEntry, otherwise: DeadLetterAddress | null, reason?: DeathReason): void;
}

/** Cold operations answer at once or by a promise: nobody may assume that a queue is local. */
export interface Queue extends EntryKeeper {
  readonly spec: QueueSpec;
  readonly name: string;
  readonly bindings: Set<Binding>;
  readonly deleted: boolean;
  readonly counts: QueueCounts;
  /** Octets of the bodies that are ready. */
  readonly readyBytes: number;
  readonly options: QueueOptions;

  publish(message: Message, match: Match | null): Verdict;
  /** A restart leaves it the message: a durable one in a durable queue, any in a quorum queue. */
  keeps(message: Message): boolean;
  /** False if it would refuse one of so many more messages with bodies of so many octets in all. */
  accepts(count: number, bytes: number): boolean;
  /** The entry made by the last `publish` that journals it; null when there is nothing to write. */
  takeUnwritten(): QueueEntry | null;
  /** A consumer became ready. */
  wake(): void;
  /** The same; answered when consumers have what they can take, also of what had to be read back for it. */
  serve(): void | Promise<void>;

  /** @throws BrokerError unauthorized-access when it, or a consumer that it has, is exclusive */
  attach(consumer: Consumer): void | Promise<void>;
  detach(consumer: Consumer): void;
  /**
   * Takes the first ready entry; undefined when there is none.
   * @param settles whoever takes it settles it at once, and nobody acks it; false if it is left out
   */
  get(settles?: boolean): QueueEntry | undefined | Promise<QueueEntry | undefined>;
  /**
   * Looks without taking: at most `count` ready entries behind `after`, the last one that was seen (null: from the
   * head), in the order in which they would be delivered. They stay the queue's: nobody settles them.
   */
  browse(after: QueueEntry | null, count: number): readonly QueueEntry[] | Promise<readonly QueueEntry[]>;
  /** Has `arrived` called, in a turn of its own, when messages came that `browse` shows; until it is given to `unwatch`. */
  watch(arrived: () => void): void;
  unwatch(arrived: () => void): void;
  /** @returns how many ready entries were removed. */
  purge(): number | Promise<number>;
}
