import { randomBytes } from 'node:crypto';
import type { Credentials } from '../../core/auth.ts';
import type { Broker } from '../../core/broker.ts';
import { splitKey } from '../../core/definitions.ts';
import type { Recovered } from '../../core/journal.ts';
import type { Vhost } from '../../core/vhost.ts';
import type { Logger } from '../../lib/log.ts';
import type { Protocol } from '../../transport/protocol.ts';
import type { Stream, StreamHandler } from '../../transport/stream.ts';
import { never } from './connect.ts';
import { Connection } from './connection.ts';
import { ReasonCode } from './reason-code.ts';
import { Session, sessionKind } from './session.ts';

export interface MqttOptions {
  /** Where topics are published. */
  readonly exchange: string;
  readonly vhost: string;
  /** Octets of a packet. */
  readonly packetBytes: number;
  /** Deliveries of QoS > 0 in flight to a client that names no receive maximum. */
  readonly inflightMax: number;
  readonly loginTimeoutMs: number;
  /** A CONNECT without user name is let in. */
  readonly anonymous: boolean;
}

/** The sessions of a broker, shared by all its MQTT listeners: a client id has one, whichever door it comes through. */
export class Sessions {
  private readonly byVhost = new Map<Vhost, Map<string, Session>>();

  of(vhost: Vhost): Map<string, Session> {
    let sessions = this.byVhost.get(vhost);
    if (sessions === undefined) {
      sessions = new Map();
      this.byVhost.set(vhost, sessions);
    }
    return sessions;
  }

  /** Puts back the sessions that outlived the last run; their expiry begins anew. */
  restore(broker: Broker, recovered: Recovered, exchange: string): void {
    for (const [key, value] of recovered.entries(sessionKind)) {
      const [vhostName, clientId] = splitKey(key);
      const vhost = broker.vhosts.get(vhostName);
      if (vhost === undefined) continue;
      const session = new Session(clientId, vhost, vhost.getExchange(exchange), never);
      session.restore(value);
      this.of(vhost).set(clientId, session);
      this.expireLater(broker, session);
    }
  }

  expireLater(broker: Broker, session: Session): void {
    if (session.expirySeconds === never) return;
    session.expiry = broker.timers.after(session.expirySeconds * 1000, () => this.end(session));
  }

  end(session: Session): void {
    const sessions = this.of(session.vhost);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    session.end();
  }
}

/** The door of MQTT 3.1, 3.1.1 and 5.0. */
export class Mqtt implements Protocol {
  readonly name = 'mqtt';
  readonly broker: Broker;
  readonly options: MqttOptions;
  readonly log: Logger;
  readonly connections = new Set<Connection>();
  private readonly sessions: Sessions;
  private connectionId = 0;

  constructor(broker: Broker, sessions: Sessions, options: MqttOptions) {
    this.broker = broker;
    this.sessions = sessions;
    this.options = options;
    this.log = broker.log;
  }

  accept(stream: Stream): StreamHandler {
    const connection = new Connection(stream, this);
    this.connections.add(connection);
    return connection;
  }

  /** The session of a client id: the one that is there, taken over from its connection, or a new one. */
  takeSession(
    vhost: Vhost,
    clientId: string,
    cleanStart: boolean,
    expirySeconds: number,
  ): { session: Session; present: boolean } {
    const sessions = this.sessions.of(vhost);
    let session = sessions.get(clientId);
    session?.connection?.closeWith(ReasonCode.sessionTakenOver, 'session taken over'); // [MQTT-3.1.4-3]
    session = sessions.get(clientId);
    if (session !== undefined && cleanStart) {
      this.sessions.end(session);
      session = undefined;
    }
    const present = session !== undefined;
    if (session === undefined) {
      session = new Session(clientId, vhost, vhost.getExchange(this.options.exchange), expirySeconds);
      sessions.set(clientId, session);
    }
    session.expiry?.cancel();
    session.expirySeconds = expirySeconds;
    session.save();
    return { session, present };
  }

  leaveSession(session: Session, expirySeconds: number): void {
    session.detach();
    if (expirySeconds === 0) return this.sessions.end(session);
    if (session.expirySeconds !== expirySeconds) {
      session.expirySeconds = expirySeconds;
      session.save();
    }
    this.sessions.expireLater(this.broker, session);
  }

  /** `vhost:user` names the virtual host [RabbitMQ: MQTT plugin]; null credentials: nobody may come without a name. */
  credentialsOf(
    user: string | undefined,
    password: Buffer | undefined,
  ): { credentials: Credentials | null; vhost: string } {
    if (user === undefined) {
      const credentials = this.options.anonymous ? ({ mechanism: 'ANONYMOUS', user: '', password: '' } as const) : null;
      return { credentials, vhost: this.options.vhost };
    }
    const colon = user.lastIndexOf(':');
    return {
      credentials: { mechanism: 'PLAIN', user: user.slice(colon + 1), password: password?.toString('utf8') ?? '' },
      vhost: colon < 0 ? this.options.vhost : user.slice(0, colon),
    };
  }

  generateClientId(): string {
    return `auto-${randomBytes(12).toString('base64url')}`;
  }

  nextConnectionId(): string {
    this.connectionId += 1;
    return `mqtt-${this.connectionId}`;
  }

  sweep(): void {
    const now = this.broker.nowMs;
    for (const connection of this.connections) connection.sweep(now);
  }

  stop(): void {
    for (const connection of this.connections)
      connection.closeWith(ReasonCode.serverShuttingDown, 'server shutting down');
  }
}
