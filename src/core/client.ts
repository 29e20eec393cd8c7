import type { Access } from './auth.ts';
import type { Condition } from './errors.ts';
import type { Headers } from './properties.ts';
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
  /** For management: made when somebody asks. */
  describe(): ClientView;
  /** What works inside the connection: channels or sessions as its protocol has them, at least one where it has none. */
  describeChannels(): ChannelView[];
}

/** What protects a connection's octets, in the words of its cipher suite: `ecdhe_rsa`, `aes_256_gcm`, `aead`. */
export interface TlsView {
  /** `tlsv1.3` */
  readonly protocol: string;
  readonly keyExchange: string;
  readonly cipher: string;
  readonly hash: string;
  /** What the peer has shown; null when it has shown nothing. */
  readonly peerCertificate: PeerCertificateView | null;
}

export interface PeerCertificateView {
  /** As in RFC 4514: `CN=device-1,O=example`. */
  readonly subject: string;
  readonly issuer: string;
  /** `2026-01-01T00:00:00Z - 2027-01-01T00:00:00Z` */
  readonly validity: string;
}

/** What management is told of a connection's octets. */
export interface WireView {
  /** `host:port` that the peer connected to. */
  readonly local: string;
  /** null: they are readable on their way. */
  readonly tls: TlsView | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** In so many pieces they came and left. */
  readonly reads: number;
  readonly writes: number;
}

/** What management is told of a connection. A number that the protocol does not have is 0. */
export interface ClientView extends WireView {
  /** Protocol and version in RabbitMQ's spelling: `AMQP 0-9-1`, `AMQP 1-0`, `MQTT 5-0`, `STOMP 1.2`. */
  readonly protocol: string;
  /** How it logged in: `PLAIN`, `ANONYMOUS`, … */
  readonly mechanism: string;
  /** blocked: it publishes, and is held because of an alarm. */
  readonly state: 'running' | 'blocked' | 'closing';
  readonly channelMax: number;
  /** Octets of a frame or packet. */
  readonly frameMax: number;
  readonly heartbeatSeconds: number;
  /** What the client said of itself. */
  readonly properties: Headers;
}

/** What management is told of a channel or session. */
export interface ChannelView {
  /** Unique in its connection. */
  readonly number: number;
  readonly state: 'running' | 'closing';
  readonly consumers: number;
  readonly unacked: number;
  /** Published and not yet confirmed. */
  readonly unconfirmed: number;
  /** Deliveries that a new consumer, and all together, may have unacked; 0 = any number. */
  readonly prefetch: number;
  readonly globalPrefetch: number;
  readonly confirms: boolean;
  readonly transactional: boolean;
  /** In the transaction under way. */
  readonly uncommittedMessages: number;
  readonly uncommittedAcks: number;
  readonly counts: ChannelCounts;
}

/** Messages of a channel so far; 0 where its protocol does not tell. */
export interface ChannelCounts {
  readonly published: number;
  /** The publisher was told that the broker has it. */
  readonly confirmed: number;
  /** No queue took it: the publisher got it back, or did not ask. */
  readonly returned: number;
  readonly dropped: number;
  /** To consumers that settle what they get, and to those that need not. */
  readonly delivered: number;
  readonly deliveredSettled: number;
  /** The same of what was asked for one by one, and how often there was nothing. */
  readonly fetched: number;
  readonly fetchedSettled: number;
  readonly fetchedNothing: number;
  readonly redelivered: number;
  readonly acked: number;
}

export const noCounts: ChannelCounts = {
  published: 0,
  confirmed: 0,
  returned: 0,
  dropped: 0,
  delivered: 0,
  deliveredSettled: 0,
  fetched: 0,
  fetchedSettled: 0,
  fetchedNothing: 0,
  redelivered: 0,
  acked: 0,
};
