import type { Message } from '../message.ts';
import { isTyped, type Value } from '../properties.ts';

/** @returns the group that the message belongs to; null: to none */
export function groupOf(message: Message): string | null {
  const { groupId, headers } = message.properties;
  const id = groupId ?? headers.get('JMSXGroupID');
  return typeof id === 'string' && id !== '' ? id : null;
}

/** True for the last message of a group: its sequence number is negative [ActiveMQ: message groups, closing a group]. */
export function closesGroup(message: Message): boolean {
  const { groupSequence, headers } = message.properties;
  if (groupSequence !== undefined) return (groupSequence | 0) < 0; // AMQP 1.0 has no other −1
  return numberOf(headers.get('JMSXGroupSeq') ?? headers.get('x-group-sequence')) < 0;
}

function numberOf(value: Value | undefined): number {
  if (typeof value === 'string') return Number(value);
  return value !== undefined && value !== null && isTyped(value) ? Number(value.value) : 0;
}
