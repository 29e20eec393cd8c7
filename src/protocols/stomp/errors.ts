import { BrokerError, type Condition } from '../../core/errors.ts';
import { encodeFrame, ProtocolError } from './frame.ts';
import { escapeText, type Version, versions } from './versions.ts';

/** The `message` header of an ERROR, by condition, in RabbitMQ's words; whatever the condition, it ends the connection. */
const nameOf: Record<Condition, string> = {
  'not-found': 'not_found',
  'precondition-failed': 'precondition_failed',
  'resource-locked': 'resource_locked',
  'resource-deleted': 'not_found',
  'unauthorized-access': 'access_refused',
  'resource-limit-exceeded': 'resource_error',
  'quota-exceeded': 'resource_error',
  'not-allowed': 'not_allowed',
  'not-implemented': 'not_implemented',
  'illegal-state': 'precondition_failed',
  'invalid-field': 'precondition_failed',
  'no-route': 'no_route',
  'connection-forced': 'connection_forced',
  'internal-error': 'internal_error',
};

/** What an ERROR says: its header `message`, and its body. */
export interface Shown {
  readonly message: string;
  readonly detail: string;
}

export function showCondition(condition: Condition, text: string): Shown {
  const message = nameOf[condition];
  return { message, detail: `${message.toUpperCase()} - ${text}` };
}

/** What the peer is told; null for a fault of ours, of which it learns nothing. */
export function showError(error: unknown): Shown | null {
  if (error instanceof ProtocolError) return { message: error.message, detail: error.detail };
  if (error instanceof BrokerError) return showCondition(error.condition, error.message);
  return null;
}

/**
 * Without content-length, as ActiveMQ's: stompit throws an ERROR of counted text where nobody can catch it.
 * @param lines headers more, escaped already
 */
export function encodeError({ message, detail }: Shown, lines: readonly string[], version: Version): Buffer {
  return encodeFrame(
    'ERROR',
    [
      `message:${escapeText(message, version)}`,
      'content-type:text/plain',
      `version:${versions.toReversed().join(',')}`,
      ...lines,
    ],
    detail,
  );
}
