import type { Permissions } from '../auth/permissions.ts';
import type { Users } from '../auth/users.ts';
import type { Broker } from '../core/broker.ts';
import type { Script } from '../core/explain.ts';
import type { MessageFormat } from '../core/format.ts';
import type { Parameters } from '../core/parameters.ts';
import type { Vhost } from '../core/vhost.ts';
import { HttpError } from './errors.ts';

/** A port that is listened on. */
export interface ListenerView {
  readonly name: string;
  readonly protocol: string;
  readonly host: string;
  readonly port: number;
  readonly encrypted: boolean;
  readonly transport: string;
  /** When its certificate, with the chain that it shows, expires first; null without TLS. */
  findCertificateEndMs(): number | null;
}

/** The process and the machine that it runs on. */
export interface NodeView {
  readonly name: string;
  readonly version: string;
  readonly startedAtMs: number;
  readonly dataDir: string;
  readonly memoryLimitBytes: number;
  readonly diskLimitBytes: number;
  listeners(): readonly ListenerView[];
  diskFreeBytes(): Promise<number>;
  /** File descriptors of the process; null where the system does not tell. */
  descriptors(): Promise<{ readonly used: number; readonly limit: number } | null>;
  /** Sockets of all listeners, also of those who have not logged in. */
  connections(): number;
}

/** What the API is about. */
export interface Management {
  readonly broker: Broker;
  readonly users: Users;
  readonly permissions: Permissions;
  readonly parameters: Parameters;
  readonly node: NodeView;
  /** What messages published here are written in, and all are shown in: AMQP 0-9-1's. */
  readonly format: MessageFormat;
  /** Those that messages are explained in. */
  readonly scripts: readonly Script[];
  /** The same, with what a listener of MQTT says for its devices; undefined: there is none of the name. */
  scriptsOf(listener: string): readonly Script[] | undefined;
  /** The topic that MQTT's subscribers see for a routing key. */
  topicOf(routingKey: string, vhost: Vhost): string;
  /** Why no durable messages are taken now: it starts, it stops, the disk refuses; null when they are. */
  fault(): string | null;
}

/**
 * Resolves when everything changed so far survives a crash.
 * @throws HttpError 503 when the disk takes nothing now: what was asked is done, as long as the broker runs
 */
export async function durable({ broker }: Management): Promise<void> {
  const { journal } = broker;
  if (!journal.writable) {
    const reason = 'done, but the disk takes nothing now: it is lost if the broker ends before there is room';
    throw new HttpError(503, 'service_unavailable', reason);
  }
  return new Promise((resolve) => journal.whenDurable(journal.position, resolve));
}
