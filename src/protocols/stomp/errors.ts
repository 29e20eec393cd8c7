import { BrokerError, type Condition } from '../../core/errors.ts';
import { encodeFrame, ProtocolError } from './frame.ts';
import { escapeText, type Version } from './versions.ts';

/** The `message` header of an ERROR, by condition; whatever the condition, an ERROR ends the connection. */
export const shownCondition: Record<Condition, string> = {
  'not-found': 'Not found',
  'precondition-failed': 'Precondition failed',
  'resource-locked': 'Resource locked',
  'resource-deleted': 'Resource deleted',
  'unauthorized-access': 'Access refused',
  'resource-limit-exceeded': 'Resource limit exceeded',
  'quota-exceeded': 'Quota exceeded',
  'not-allowed': 'Not allowed',
  'not-implemented': 'Not implemented',
  'illegal-state': 'Illegal state',
  'invalid-field': 'Invalid header',
  'no-route': 'No route',
  'connection-forced': 'Server shutting down',
  'internal-error': 'Internal error',
};

/** What the peer is told; null for a fault of ours, of which it learns nothing. */
export function showError(error: unknown): { message: string; detail: string } | null {
  if (error instanceof ProtocolError) return { message: error.message, detail: error.detail };
  if (error instanceof BrokerError) return { message: shownCondition[error.condition], detail: error.message };
  return null;
}

/** @param lines headers more, escaped already */
export function encodeError(message: string, detail: string, lines: readonly string[], version: Version): Buffer {
  const body = `${detail}\n`;
  return encodeFrame(
    'ERROR',
    [
      `message:${escapeText(message, version)}`,
      'content-type:text/plain',
      ...lines,
      `content-length:${Buffer.byteLength(body)}`,
    ],
    body,
  );
}
