import { BrokerError } from './errors.ts';

export type Operation = 'configure' | 'write' | 'read';
export type Resource = 'exchange' | 'queue' | 'topic';

/** What one user may do in one virtual host; decisions are cached behind it. */
export interface Access {
  allows(operation: Operation, resource: Resource, name: string): boolean;
}

export interface Credentials {
  readonly mechanism: 'PLAIN' | 'AMQPLAIN' | 'ANONYMOUS';
  readonly user: string;
  readonly password: string;
}

/** Who asks, as far as a decision may depend on it. */
export interface Peer {
  readonly address: string;
  readonly protocol: string;
}

export interface Authenticator {
  /** @returns the user's name, or null when the credentials are wrong: for an unknown user the same, in the same time. */
  authenticate(credentials: Credentials, peer: Peer): Promise<string | null>;
  /** @returns null when the user may not open the virtual host. */
  findAccess(user: string, vhost: string): Access | null;
}

/** @throws BrokerError unauthorized-access in RabbitMQ's words */
export function demand(
  access: Access,
  user: string,
  operation: Operation,
  resource: Resource,
  name: string,
  vhost: string,
): void {
  if (access.allows(operation, resource, name)) return;
  const shown = resource === 'exchange' && name === '' ? 'amq.default' : name;
  throw new BrokerError(
    'unauthorized-access',
    `${operation} access to ${resource} '${shown}' in vhost '${vhost}' refused for user '${user}'`,
  );
}
