import type { Condition } from '../../core/errors.ts';
import { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import type { Settlement } from '../../core/transaction.ts';
import { AmqpError, ErrorCondition, wireCondition } from './errors.ts';
import { amqp10Format, withAnnotations } from './message.ts';
import type { OutgoingLink } from './outgoing-link.ts';
import type { Composite } from './performatives.ts';
import { AmqpMap, type Any, isTyped, textOf } from './types.ts';

/** Outcomes that need no words [AMQP 1.0 §3.4]; compared by identity. */
export const accepted: Composite = { is: 'accepted' };
export const released: Composite = { is: 'released' };

export function rejected(why: Condition, text: string): Composite {
  return { is: 'rejected', error: { condition: wireCondition(why), description: text } };
}

export function isTerminal(state: Composite | null): boolean {
  switch (state?.is) {
    case 'accepted':
    case 'rejected':
    case 'released':
    case 'modified':
      return true;
    default:
      return false;
  }
}

/** @param state null, or one that is no outcome: the default outcome of the link's source */
export function applyOutcome(entry: QueueEntry, state: Composite | null): void {
  const link = entry.consumer as OutgoingLink | null;
  link?.settledOne();
  const outcome = isTerminal(state) ? state! : (link?.defaultOutcome ?? released);
  prepare(entry, outcome);
  switch (settlementOf(outcome)) {
    case 'ack':
      return entry.ack();
    case 'reject':
      return entry.reject();
    case 'requeue':
      // [§3.4.4] what is released has not failed, yet it was acquired before
      entry.redelivered = true;
      if (isFailed(outcome)) entry.requeue();
      else entry.release();
  }
}

/** What an outcome asks of the queue. @throws AmqpError for what is no outcome */
export function settlementOf(outcome: Composite): Settlement {
  switch (outcome.is) {
    case 'accepted':
      return 'ack';
    case 'rejected':
      return 'reject';
    case 'released':
      return 'requeue';
    case 'modified':
      // [RabbitMQ: AMQP 1.0, modified outcome]
      return outcome.undeliverableHere === true ? 'reject' : 'requeue';
    default:
      throw new AmqpError(ErrorCondition.invalidField, 'session', `${outcome.is} is no outcome`);
  }
}

function isFailed(outcome: Composite): boolean {
  return outcome.is === 'modified' && outcome.deliveryFailed === true;
}

/** Gives the entry's message the annotations that its receiver asks for. */
export function prepare(entry: QueueEntry, outcome: Composite): void {
  if (outcome.is !== 'modified' || outcome.messageAnnotations === undefined) return;
  const { pairs } = outcome.messageAnnotations;
  if (pairs.length > 0) entry.message = annotated(entry.message, pairs);
}

/** The same message for this queue alone: one object is shared by all that have it. */
function annotated(message: Message, pairs: readonly (readonly [Any, Any])[]): Message {
  message.rest();
  const names = new Set(pairs.map(([key]) => textOf(key)));
  const native =
    message.format === amqp10Format
      ? withAnnotations(message.native, pairs, (name) => names.has(name))
      : message.format.encode({ ...message.properties, headers: withHeaders(message, pairs) }, message);
  const bytes = Buffer.concat([native, message.body]);
  const copy = new Message({
    format: message.format,
    exchange: message.exchange,
    routingKey: message.routingKey,
    durable: message.durable,
    priority: message.priority,
    expiresAtMs: message.expiresAtMs,
    qos: message.qos,
    retain: message.retain,
    publisher: message.publisher,
    deaths: message.deaths,
    bytes,
    start: 0,
    end: bytes.length,
    nativeStart: 0,
    nativeEnd: native.length,
    bodyStart: native.length,
    bodyEnd: bytes.length,
  });
  copy.sequence = message.sequence;
  copy.replies = message.replies;
  copy.resting = true;
  return copy;
}

// Of another protocol's message they are headers; what no header can say is left out.
function withHeaders(message: Message, pairs: readonly (readonly [Any, Any])[]): Message['properties']['headers'] {
  const headers = new Map(message.properties.headers);
  for (const [key, value] of pairs) {
    const name = textOf(key);
    const isSimple = value === null || typeof value !== 'object' || Buffer.isBuffer(value) || isTyped(value);
    if (name !== undefined && isSimple && !(value instanceof AmqpMap)) headers.set(name, value as never);
  }
  return headers;
}
