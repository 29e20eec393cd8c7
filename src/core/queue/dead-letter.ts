import { addDeath } from '../deaths.ts';
import { type DeathReason, Message } from '../message.ts';
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
  message.rest();
  const deaths = addDeath(message, queue, reason, nowMs, to.routingKey !== null);
  const dead = new Message({
    format: message.format,
    exchange: to.exchange,
    routingKey: to.routingKey ?? message.routingKey,
    durable: message.durable,
    priority: message.priority,
    expiresAtMs: 0,
    qos: message.qos,
    retain: false,
    publisher: message.publisher,
    deaths,
    bytes: message.bytes,
    start: message.nativeStart,
    end: message.bodyEnd, // without frames around it: they hold what is not shown any longer
    nativeStart: message.nativeStart,
    nativeEnd: message.nativeEnd,
    bodyStart: message.bodyStart,
    bodyEnd: message.bodyEnd,
  });
  dead.resting = true; // its octets are at rest already
  return dead;
}
