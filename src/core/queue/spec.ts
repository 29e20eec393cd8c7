import type { Client } from '../client.ts';
import { BrokerError } from '../errors.ts';
import { type Headers, isTyped, type Value } from '../properties.ts';

/** What a queue was declared to be. */
export interface QueueSpec {
  readonly name: string;
  readonly durable: boolean;
  readonly autoDelete: boolean;
  /** The connection that alone may use it, and with which it goes; null for others. */
  readonly exclusiveTo: Client | null;
  readonly arguments: Headers;
}

/** @throws BrokerError precondition-failed naming what differs, in RabbitMQ's words */
export function demandEquivalent(kind: string, name: string, vhost: string, wanted: object, current: object): void {
  for (const [field, current_] of Object.entries(current)) {
    const wanted_ = (wanted as Record<string, unknown>)[field];
    if (wanted_ === current_) continue;
    throw new BrokerError(
      'precondition-failed',
      `inequivalent arg '${field}' for ${kind} '${name}' in vhost '${vhost}': received '${wanted_}' but current is '${current_}'`,
    );
  }
}

/** How RabbitMQ shows a value in an error: `'value' of type 'long'`, or `none`. */
export function showArgument(value: Value | undefined): string {
  if (value === undefined) return 'none';
  if (value === null) return "undefined of type 'void'";
  if (typeof value === 'boolean') return `the value '${value}' of type 'bool'`;
  if (typeof value === 'string') return `the value '${value}' of type 'longstr'`;
  if (Buffer.isBuffer(value)) return `a value of type 'binary'`;
  if (isTyped(value)) return `the value '${value.value}' of type '${value.type === 'int' ? 'signedint' : value.type}'`;
  return `a value of type '${value instanceof Map ? 'table' : 'array'}'`;
}
