import type { Timers } from '../../lib/timers.ts';
import type { Client } from '../client.ts';
import type { Journal, Position } from '../journal.ts';
import type { DeathReason, Message } from '../message.ts';
import type { ReplyAliases } from '../reply.ts';
import type { Chores } from './chores.ts';
import type { DeadLetterAddress } from './dead-letter.ts';
import type { HeldDeath } from './held-dead-letters.ts';
import type { LocalQueue } from './local-queue.ts';

/** What a queue asks of its virtual host. */
export interface QueueOwner {
  readonly name: string;
  readonly journal: Journal;
  readonly replies: ReplyAliases;
  readonly nowMs: number;
  readonly timers: Timers;
  /** Where what is long goes on in later turns. */
  readonly chores: Chores;
  /** The last consumer left, or an auto-delete queue was otherwise done with. */
  queueUnused(queue: LocalQueue): void;
  nextSequence(): number;
  /** What is published now is confirmed when `position` is durable, though the queue has nothing of it to write. */
  confirmsAfter(position: Position): void;
  /** Routes a message that died in the queue to where it says; its entry is settled by the caller, in the same turn. */
  deadLetter(queue: LocalQueue, to: DeadLetterAddress, message: Message, reason: DeathReason): void;
  /** The same for the queues that do not have it yet, as far as they take it. @returns true when all have it */
  deadLetterSafely(queue: LocalQueue, to: DeadLetterAddress, message: Message, death: HeldDeath): boolean;
  /** Some of its dead letters could not be sent, the first time. */
  deadLettersHeld(queue: LocalQueue): void;
  /** x-overflow block: it is full, and `publisher` is to wait until it has room. */
  queueFull(queue: LocalQueue, publisher: Client): void;
  queueHasRoom(queue: LocalQueue): void;
  /** A publish made the queue hold more than it may, or what is expired: `tidy` is to be called when it is done. */
  untidy(queue: LocalQueue): void;
}
