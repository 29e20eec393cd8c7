/**
 * What went wrong, in the words of AMQP 1.0 without their prefix; the list is closed. Each protocol has one table
 * from condition to what it says on the wire and to the scope that dies.
 */
export type Condition =
  | 'not-found'
  | 'precondition-failed'
  | 'resource-locked'
  | 'resource-deleted'
  | 'unauthorized-access'
  | 'resource-limit-exceeded'
  | 'quota-exceeded'
  | 'not-allowed'
  | 'not-implemented'
  | 'illegal-state'
  | 'invalid-field'
  | 'no-route'
  | 'connection-forced'
  | 'internal-error';

/** The peer's fault or an operating fault: told to the peer, closes only what it must. */
export class BrokerError extends Error {
  readonly condition: Condition;

  constructor(condition: Condition, message: string) {
    super(message);
    this.condition = condition;
  }
}
