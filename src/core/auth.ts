import { BrokerError } from './errors.ts';

export type Operation = 'configure' | 'write' | 'read';
export type Resource = 'exchange' | 'queue' | 'topic';

/** Where a topic is asked for: permissions on topics are given by exchange, and may name the MQTT client. */
export interface TopicContext {
  readonly exchange: string;
  readonly clientId: string;
}

/** What one user may do in one virtual host; decisions are cached behind it, and dropped when permissions change. */
export interface Access {
  /** @param topic given for resource `topic`, whose name is the routing key; undefined: the MQTT exchange */
  allows(operation: Operation, resource: Resource, name: string, topic?: TopicContext): boolean;
}

export interface Credentials {
  /** EXTERNAL: the user is the name in a certificate that has been verified; there is no password. */
  readonly mechanism: 'PLAIN' | 'AMQPLAIN' | 'EXTERNAL' | 'ANONYMOUS';
  readonly user: string;
  readonly password: string;
}

/** Who asks, as far as a decision may depend on it. */
export interface Peer {
  readonly address: string;
  readonly protocol: string;
}

/** What SCRAM-SHA-256 checks a client against [RFC 5802 §3]; the password cannot be had from it. */
export interface ScramVerifier {
  readonly salt: Buffer;
  readonly iterations: number;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

export interface Authenticator {
  /** @returns the user's name, or null when the credentials are wrong: for an unknown user the same, in the same time. */
  authenticate(credentials: Credentials, peer: Peer): Promise<string | null>;
  /**
   * For SCRAM: always a verifier, so that an unknown user is told apart neither by answer nor by time; the one of an
   * unknown user, or of one whose password is known only by a foreign hash, matches no password.
   */
  findScram(user: string): ScramVerifier;
  /** May the user, whose proof a mechanism has checked itself, come from there, now? Also asked before it checks. */
  admits(user: string, peer: Peer): boolean;
  /** What came of a check that a mechanism has made itself: failures slow the next ones down. */
  noteProof(user: string, peer: Peer, succeeded: boolean): void;
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
  topic?: TopicContext,
): void {
  if (access.allows(operation, resource, name, topic)) return;
  const shown = resource === 'exchange' && name === '' ? 'amq.default' : name;
  const place = topic === undefined ? '' : ` in exchange '${topic.exchange}'`;
  throw new BrokerError(
    'unauthorized-access',
    `${operation} access to ${resource} '${shown}'${place} in vhost '${vhost}' refused for user '${user}'`,
  );
}
