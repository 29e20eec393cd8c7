import { HeaderName } from '../lookup.ts';
import type { Message } from '../message.ts';
import { isTyped, type Value } from '../properties.ts';

const idHeader = new HeaderName('JMSXGroupID');
const sequenceHeaders = [new HeaderName('JMSXGroupSeq'), new HeaderName('x-group-sequence')] as const;

/** @returns the group that the message belongs to; null: to none */
export function groupOf(message: Message): string | null {
  const id = message.findField('groupId') ?? message.findHeader(idHeader);
  return typeof id === 'string' && id !== '' ? id : null;
}

/** True for the last message of a group: its sequence number is negative [ActiveMQ: message groups, closing a group]. */
export function closesGroup(message: Message): boolean {
  const sequence = message.findField('groupSequence');
  if (sequence !== undefined) return (numberOf(sequence) | 0) < 0; // AMQP 1.0 has no other −1
  return numberOf(message.findHeader(sequenceHeaders[0]) ?? message.findHeader(sequenceHeaders[1])) < 0;
}

function numberOf(value: Value | number | undefined): number {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') return Number(value);
  return value !== undefined && value !== null && isTyped(value) ? Number(value.value) : 0;
}
