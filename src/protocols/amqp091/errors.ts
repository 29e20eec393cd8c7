import type { Condition } from '../../core/errors.ts';
import { ReplyCode } from './spec.ts';

/** What a peer did wrong, in the specification's codes; thrown by the codec and by the handlers. */
export class ProtocolError extends Error {
  readonly code: ReplyCode;

  constructor(code: ReplyCode, text: string) {
    super(text);
    this.code = code;
  }
}

/** The one table from the core's conditions to reply codes. */
export const codeOf: Record<Condition, ReplyCode> = {
  'not-found': ReplyCode.notFound,
  'precondition-failed': ReplyCode.preconditionFailed,
  'resource-locked': ReplyCode.resourceLocked,
  'resource-deleted': ReplyCode.notFound,
  'unauthorized-access': ReplyCode.accessRefused,
  'resource-limit-exceeded': ReplyCode.resourceError,
  'quota-exceeded': ReplyCode.resourceError,
  'not-allowed': ReplyCode.notAllowed,
  'not-implemented': ReplyCode.notImplemented,
  'illegal-state': ReplyCode.preconditionFailed,
  'invalid-field': ReplyCode.preconditionFailed,
  'no-route': ReplyCode.noRoute,
  'connection-forced': ReplyCode.connectionForced,
  'internal-error': ReplyCode.internalError,
};

/** The words that RabbitMQ puts in front of its reply texts. */
const nameOf: Record<ReplyCode, string> = {
  200: 'SUCCESS',
  311: 'CONTENT_TOO_LARGE',
  312: 'NO_ROUTE',
  320: 'CONNECTION_FORCED',
  402: 'INVALID_PATH',
  403: 'ACCESS_REFUSED',
  404: 'NOT_FOUND',
  405: 'RESOURCE_LOCKED',
  406: 'PRECONDITION_FAILED',
  501: 'FRAME_ERROR',
  502: 'SYNTAX_ERROR',
  503: 'COMMAND_INVALID',
  504: 'CHANNEL_ERROR',
  505: 'UNEXPECTED_FRAME',
  506: 'RESOURCE_ERROR',
  530: 'NOT_ALLOWED',
  540: 'NOT_IMPLEMENTED',
  541: 'INTERNAL_ERROR',
};

export function replyText(code: ReplyCode, text: string): string {
  return `${nameOf[code]} - ${text}`;
}

/** Soft errors close the channel, all others the connection [AMQP 0-9-1 §1.2, constants of class soft-error]. */
export function closesChannel(code: ReplyCode): boolean {
  switch (code) {
    case ReplyCode.contentTooLarge:
    case ReplyCode.noRoute:
    case ReplyCode.accessRefused:
    case ReplyCode.notFound:
    case ReplyCode.resourceLocked:
    case ReplyCode.preconditionFailed:
      return true;
    default:
      return false;
  }
}
