import type { Access } from './auth.ts';
import type { Condition } from './errors.ts';
import type { Vhost } from './vhost.ts';

/** A connection that has authenticated and opened a virtual host, as the core and the management see it. */
export interface Client {
  readonly id: string;
  readonly protocol: string;
  readonly user: string;
  readonly vhost: Vhost;
  readonly access: Access;
  /** Whose subscriptions are its own, for no-local: itself, or the session that outlives it. */
  readonly subscriber: object;
  /** `host:port` of the peer. */
  readonly peer: string;
  readonly connectedAtMs: number;
  /** Publishers are to wait, null: no longer. A protocol that cannot say so may hold their octets. */
  onAlarm?(why: string | null): void;
  /** What the client calls itself (MQTT, STOMP), if it does; patterns of topic permissions may name it. */
  readonly clientId?: string | undefined;
  /** Tells the peer in its protocol, and closes. */
  close(why: Condition, text: string): void;
}
