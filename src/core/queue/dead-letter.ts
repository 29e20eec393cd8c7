import { addDeath } from '../deaths.ts';
import { copyMessage, type DeathReason, type Message } from '../message.ts';
import type { QueueOptions } from './arguments.ts';

/** Where a queue's dead messages go. */
export interface DeadLetterAddress {
  readonly exchange: string;
  /** null: the message's own keys. */
  readonly routingKey: string | null;
  /** The queue that is made for them when the first comes. */
  readonly queue?: string;
}

const suffix = '.dlq';

/** What becomes of the dead letters of a queue that the broker made for dead letters is for whoever looks into it. */
export function isDeadLetterQueue(name: string): boolean {
  return name.endsWith(suffix);
}

/** @returns null when they are dropped */
export function findDeadLetterAddress(options: QueueOptions, name: string): DeadLetterAddress | null {
  if (options.deadLetterExchange !== null) {
    return { exchange: options.deadLetterExchange, routingKey: options.deadLetterRoutingKey };
  }
  return options.deadLetterDefault ? { exchange: '', routingKey: name + suffix, queue: name + suffix } : null;
}

/**
 * Why a queue that asks for at-least-once has at-most-once all the same, in words for operators; null: it does not ask, or has it.
 * A queue that makes room by dropping cannot hold what died [RabbitMQ: quorum queues, at-least-once dead-lettering].
 */
export function whyAtMostOnce(options: QueueOptions): string | null {
  if (options.deadLetterStrategy === 'at-most-once') return null;
  if (options.type !== 'quorum') return 'it is no quorum queue';
  if (options.deadLetterExchange === null && !options.deadLetterDefault) return 'it has no dead letter exchange';
  return options.overflow === 'drop-head' ? 'its overflow is drop-head, where reject-publish is needed' : null;
}

/** What died is held until every queue that its dead letter goes to has taken it. */
export function holdsDeadLetters(options: QueueOptions): boolean {
  return options.deadLetterStrategy === 'at-least-once' && whyAtMostOnce(options) === null;
}

/**
 * The message as it goes on after it died in `queue`: the same octets at another address, its death beside it, and
 * without expiry, for it would die again where it is to be looked at.
 */
export function makeDeadLetter(
  message: Message,
  queue: string,
  reason: DeathReason,
  to: DeadLetterAddress,
  nowMs: number,
): Message {
  message.rest(); // its offsets are read below
  return copyMessage(message, {
    exchange: to.exchange,
    routingKey: to.routingKey ?? message.routingKey,
    expiresAtMs: 0,
    retain: false,
    deaths: addDeath(message, queue, reason, nowMs, to.routingKey !== null),
    start: message.nativeStart,
    end: message.bodyEnd, // without frames around it: they hold what is not shown any longer
  });
}
