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
