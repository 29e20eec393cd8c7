import type { Policy } from '../core/policies.ts';

/** A policy in RabbitMQ's JSON. */
export function showPolicy(policy: Policy, vhost: string): Record<string, unknown> {
  const { name, pattern, applyTo, definition, priority } = policy;
  return { vhost, name, pattern, 'apply-to': applyTo, definition, priority };
}
