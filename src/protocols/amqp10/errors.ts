import { BrokerError, type Condition } from '../../core/errors.ts';

/** What dies of an error: the link is detached, the session ended, or the connection closed. */
export type Scope = 'link' | 'session' | 'connection';

/** The specification's conditions that are not the core's [AMQP 1.0 §2.8.14–§2.8.18, §4.5.8]. */
export const ErrorCondition = {
  decodeError: 'amqp:decode-error',
  frameSizeTooSmall: 'amqp:frame-size-too-small',
  illegalState: 'amqp:illegal-state',
  invalidField: 'amqp:invalid-field',
  internalError: 'amqp:internal-error',
  notAllowed: 'amqp:not-allowed',
  notFound: 'amqp:not-found',
  notImplemented: 'amqp:not-implemented',
  preconditionFailed: 'amqp:precondition-failed',
  resourceDeleted: 'amqp:resource-deleted',
  resourceLimitExceeded: 'amqp:resource-limit-exceeded',
  resourceLocked: 'amqp:resource-locked',
  unauthorizedAccess: 'amqp:unauthorized-access',
  connectionForced: 'amqp:connection:forced',
  framingError: 'amqp:connection:framing-error',
  windowViolation: 'amqp:session:window-violation',
  errantLink: 'amqp:session:errant-link',
  handleInUse: 'amqp:session:handle-in-use',
  unattachedHandle: 'amqp:session:unattached-handle',
  detachForced: 'amqp:link:detach-forced',
  transferLimitExceeded: 'amqp:link:transfer-limit-exceeded',
  messageSizeExceeded: 'amqp:link:message-size-exceeded',
  stolen: 'amqp:link:stolen',
  unknownTransaction: 'amqp:transaction:unknown-id',
  transactionRollback: 'amqp:transaction:rollback',
} as const;

export type ErrorCondition = (typeof ErrorCondition)[keyof typeof ErrorCondition];

/** The one table from the core's conditions to the wire, and to the scope that dies. */
const wireOf: Record<Condition, readonly [condition: ErrorCondition, scope: Scope]> = {
  'not-found': [ErrorCondition.notFound, 'link'],
  'precondition-failed': [ErrorCondition.preconditionFailed, 'link'],
  'resource-locked': [ErrorCondition.resourceLocked, 'link'],
  'resource-deleted': [ErrorCondition.resourceDeleted, 'link'],
  'unauthorized-access': [ErrorCondition.unauthorizedAccess, 'link'],
  'resource-limit-exceeded': [ErrorCondition.resourceLimitExceeded, 'link'],
  'quota-exceeded': [ErrorCondition.resourceLimitExceeded, 'link'],
  'not-allowed': [ErrorCondition.notAllowed, 'link'],
  'not-implemented': [ErrorCondition.notImplemented, 'link'],
  'illegal-state': [ErrorCondition.illegalState, 'session'],
  'invalid-field': [ErrorCondition.invalidField, 'link'],
  'no-route': [ErrorCondition.notFound, 'link'],
  'connection-forced': [ErrorCondition.connectionForced, 'connection'],
  'internal-error': [ErrorCondition.internalError, 'connection'],
};

/** What a peer did wrong, in the specification's words, and what dies of it. */
export class AmqpError extends Error {
  readonly condition: ErrorCondition;
  readonly scope: Scope;

  constructor(condition: ErrorCondition, scope: Scope, text: string) {
    super(text);
    this.condition = condition;
    this.scope = scope;
  }
}

/** Octets that are no value, or a performative that is not of its form. */
export function decodeError(text: string): AmqpError {
  return new AmqpError(ErrorCondition.decodeError, 'connection', text);
}

/** Of a fault of ours the peer learns that it was one, and no more. */
export function toAmqpError(error: unknown): AmqpError {
  if (error instanceof AmqpError) return error;
  if (error instanceof BrokerError) return new AmqpError(...wireOf[error.condition], error.message);
  return new AmqpError(ErrorCondition.internalError, 'connection', 'internal error');
}

export function wireCondition(condition: Condition): ErrorCondition {
  return wireOf[condition][0];
}
