import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { availableParallelism, hostname, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { getHeapStatistics } from 'node:v8';
import { Permissions } from './auth/permissions.ts';
import { applySeeds } from './auth/seeds.ts';
import { Users } from './auth/users.ts';
import type { Config, ListenerConfig } from './config/schema.ts';
import { Broker } from './core/broker.ts';
import type { Script } from './core/explain.ts';
import { conversionLosses } from './core/losses.ts';
import { Parameters } from './core/parameters.ts';
import type { PagingLimits } from './core/queue/pager.ts';
import { SystemClock } from './lib/clock.ts';
import type { Logger } from './lib/log.ts';
import { Timers } from './lib/timers.ts';
import { listenManagement } from './management/api.ts';
import type { ListenerView, Management } from './management/context.ts';
import { importDefinitions } from './management/definitions.ts';
import { applyVhostLimits } from './management/vhost-limits.ts';
import { countDescriptors } from './metrics/descriptors.ts';
import { Metrics } from './metrics/metrics.ts';
import { amqp10Script } from './protocols/amqp10/explain.ts';
import { Amqp10 } from './protocols/amqp10/protocol.ts';
import { amqp091Script } from './protocols/amqp091/explain.ts';
import { amqp091Format } from './protocols/amqp091/message.ts';
import { Amqp091 } from './protocols/amqp091/protocol.ts';
import { createMqtt3Script, mqtt3Script, mqtt5Script } from './protocols/mqtt/explain.ts';
import { Mqtt, Sessions } from './protocols/mqtt/protocol.ts';
import { spellingOf } from './protocols/mqtt/topic.ts';
import { stompScript } from './protocols/stomp/explain.ts';
import { Stomp } from './protocols/stomp/protocol.ts';
import { freeBytes, openDisk } from './storage/disk.ts';
import { SegmentJournal } from './storage/journal.ts';
import { lockDirectory } from './storage/lock.ts';
import { ResourceWatch } from './storage/resource-watch.ts';
import { Detection } from './transport/detect.ts';
import { AddressLimit, Listener } from './transport/listener.ts';
import type { Protocol } from './transport/protocol.ts';
import { Certificate } from './transport/tls.ts';
import type { WebSocketOptions } from './transport/websocket.ts';

/** A port that cannot be had, by the key that names it. */
export class ListenError extends Error {}

/** A file of definitions that cannot be loaded. */
export class DefinitionsError extends Error {}

export type Listening = ListenerView;

export interface ServerParts {
  readonly config: Config;
  readonly log: Logger;
  readonly version: string;
}

const sweepEveryMs = 1000;
const tellLossesEveryMs = 60_000;
/** How long clients have to take their leave; the whole stop stays under ten seconds. */
const leaveWithinMs = 3000;

/** Who may do what, and what else operators set. */
type Settings = Pick<Management, 'users' | 'permissions' | 'parameters'>;

/** All rooms put together: the one file that knows everyone. */
export class Server {
  readonly listening: Listening[] = [];
  readonly broker: Broker;
  private readonly parts: ServerParts;
  private readonly sessions: Sessions;
  private readonly mqttByListener = new Map<string, Mqtt>();
  private readonly protocols: Protocol[] = [];
  private readonly listeners: Listener[] = [];
  private readonly management: { close(): Promise<void> }[] = [];
  private readonly api: Management;
  /** Gives the data directory back. */
  private readonly unlock: () => Promise<void>;
  private readonly addresses: AddressLimit;
  private readonly certificates: Certificate[] = [];
  private ready = false;

  private constructor(parts: ServerParts, broker: Broker, settings: Settings, unlock: () => Promise<void>) {
    this.parts = parts;
    this.broker = broker;
    this.unlock = unlock;
    const { exchange, queueQos0Offline, qosFromPersistence, sessionQueueLength, sysIntervalSeconds } =
      parts.config.mqtt;
    this.sessions = new Sessions(broker, {
      exchange,
      keepsQos0: queueQos0Offline,
      qosFromPersistence,
      sysIntervalSeconds,
      version: parts.version,
      queueLength: sessionQueueLength,
    });
    this.addresses = new AddressLimit(parts.config.limits.connectionsPerAddress);
    this.api = this.describe(settings);
  }

  /** @throws ListenError, DirectoryInUse, JournalDamage, and errors of the file system */
  static async start(parts: ServerParts): Promise<Server> {
    const { config, log } = parts;
    const clock = new SystemClock();
    const directory = resolve(config.dataDir);
    const unlock = await lockDirectory(directory);
    const { segmentBytes, durability: mode, intervalMs } = config.journal;
    const timers = new Timers(clock);
    const { journal, recovered } = await SegmentJournal.open(await openDisk(directory), {
      segmentBytes,
      durability: { mode, intervalMs },
      log,
      clock,
      timers,
    }).catch(async (error) => {
      await unlock();
      throw error;
    });
    const permissions = new Permissions(journal);
    permissions.restore(recovered);
    const users = new Users({
      journal,
      clock,
      permissions,
      anonymous: config.anonymous,
      scryptCost: config.auth.scryptCost,
      hashesAtOnce: Math.max(1, Math.floor(Math.min(runtimeThreads, availableParallelism()) / 2)),
    });
    users.restore(recovered);
    const { limits } = config;
    const broker = new Broker({
      retainedExchange: config.mqtt.exchange,
      topicMapping: config.mqtt.topicMapping,
      retainedLimits: { countMax: config.mqtt.retainedCountMax, bodyBytesMax: config.mqtt.retainedBytesMax },
      journal,
      clock,
      timers,
      log,
      authenticator: users,
      limits,
      createToken,
      paging: { store: journal.cold, limits: pagingLimits(config) },
    });
    broker.restore(recovered);
    broker.seedVhosts(config.vhosts, recovered);
    tellMappings(broker, config);
    const parameters = new Parameters(journal);
    parameters.restore(recovered);
    for (const vhost of broker.vhosts.values()) applyVhostLimits(vhost, parameters);
    broker.connectionLimitOf = (user) => users.find(user)?.limits['max-connections'] ?? Number.POSITIVE_INFINITY;
    broker.channelLimitOf = (user) => users.find(user)?.limits['max-channels'] ?? Number.POSITIVE_INFINITY;
    permissions.onChanged = (vhost) => broker.vhosts.get(vhost)?.router.change(); // routes carry the decision
    users.onChanged = (user, gone) => {
      if (gone) broker.closeClients((client) => client.user === user, `user '${user}' is deleted`);
    };
    await applySeeds(config.users, config.vhosts, { users, permissions, journal }, recovered);
    const server = new Server(parts, broker, { users, permissions, parameters }, unlock);
    watchResources(broker, config, directory);
    await server.sessions.restore(recovered);
    broker.onVhostDeleted.push((vhost) => server.sessions.forget(vhost));
    try {
      await server.loadDefinitions();
      broker.startSchedules();
      for (const [name, listener] of Object.entries(allListeners(config))) {
        if (listener.enabled) await server.listen(name, listener);
      }
    } catch (error) {
      await server.stop();
      throw error;
    }
    broker.timers.every(sweepEveryMs, () => {
      for (const protocol of server.protocols) protocol.sweep();
      for (const vhost of broker.vhosts.values()) vhost.retained.sweep(broker.nowMs);
    });
    broker.timers.every(tellLossesEveryMs, () => tellLosses(log));
    server.ready = true;
    return server;
  }

  /** Clients are told in their protocol, everything is made durable, and nothing is left open. */
  async stop(): Promise<void> {
    this.ready = false;
    for (const listener of this.listeners) listener.close();
    for (const certificate of this.certificates) certificate.close();
    this.broker.detachConsumers(() => true);
    for (const protocol of this.protocols) protocol.stop();
    const deadline = Date.now() + leaveWithinMs;
    while (this.listeners.some((listener) => listener.connections > 0) && Date.now() < deadline) await sleep(10);
    for (const listener of this.listeners) listener.destroyConnections();
    await this.broker.journal.close(); // a full disk is tried once more, by a timer
    this.broker.timers.stop();
    await this.unlock();
    for (const management of this.management) await management.close();
  }

  private async listen(name: string, listener: ListenerConfig): Promise<void> {
    const host = listener.host === '*' ? undefined : listener.host;
    try {
      const port = await this.open(name, listener, host);
      const { protocol, transport } = listener;
      this.listening.push({
        name,
        protocol,
        host: listener.host,
        port,
        encrypted: listener.tls !== false,
        transport,
        findCertificateEndMs: () => this.certificateFor(listener)?.endMs ?? null,
      });
    } catch (error) {
      const { code, syscall } = error as NodeJS.ErrnoException;
      if (syscall !== 'listen' && syscall !== 'getaddrinfo') {
        throw new ListenError(`listeners.${name}.tls: the certificate cannot be used (${(error as Error).message})`);
      }
      const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on (${code ?? (error as Error).message})`;
      throw new ListenError(`listeners.${name}.port: ${listener.port} on host '${listener.host}' ${why}`);
    }
  }

  private async open(name: string, listener: ListenerConfig, host: string | undefined): Promise<number> {
    if (listener.protocol === 'management') {
      const management = await listenManagement(
        { host, port: listener.port, tls: this.certificateFor(listener) },
        this.api,
        new Metrics(this.broker, this.parts.version),
      );
      this.management.push(management);
      return management.port;
    }
    const protocol = this.createProtocol(listener.protocol, listener);
    const { clock, log } = this.broker;
    const door = new Listener({
      protocol,
      clock,
      log,
      addresses: this.addresses,
      certificate: this.certificateFor(listener),
      webSocket: listener.transport === 'tcp' ? null : this.webSocketFor(listener),
    });
    const port = await door.listen({ host, port: listener.port });
    this.protocols.push(protocol);
    if (protocol instanceof Mqtt) this.mqttByListener.set(name, protocol);
    this.listeners.push(door);
    return port;
  }

  private describe(settings: Settings): Management {
    const { broker } = this;
    const { config, version } = this.parts;
    const dataDir = resolve(config.dataDir);
    return {
      broker,
      ...settings,
      format: amqp091Format,
      scripts: scriptsWith(mqtt3Script),
      scriptsOf: (listener) => {
        const mqtt = this.mqttByListener.get(listener);
        return mqtt === undefined ? undefined : scriptsWith(createMqtt3Script((vhost) => mqtt.deviceRulesOf(vhost)));
      },
      fault: () => (this.ready ? broker.journal.failure : 'it starts or stops'),
      topicOf: (routingKey, { topicMapping }) => spellingOf(topicMapping).toTopic(routingKey),
      node: {
        name: `rosettamq@${hostname()}`,
        version,
        startedAtMs: broker.nowMs,
        dataDir,
        memoryLimitBytes: memoryMarkBytes(config),
        diskLimitBytes: config.disk.freeMinBytes,
        listeners: () => this.listening,
        diskFreeBytes: () => freeBytes(dataDir),
        descriptors: countDescriptors,
        connections: () => this.listeners.reduce((sum, { connections }) => sum + connections, 0),
      },
    };
  }

  /** @throws DefinitionsError naming the file and what is wrong in it */
  private async loadDefinitions(): Promise<void> {
    const { load } = this.parts.config.definitions;
    if (load === '') return;
    try {
      await importDefinitions(JSON.parse(await readFile(load, 'utf8')), null, this.api);
    } catch (error) {
      throw new DefinitionsError(`definitions.load: '${load}': ${(error as Error).message}`);
    }
    this.parts.log.info({ file: load }, 'definitions loaded');
  }

  /** @throws an error of the file system or of the certificate */
  private certificateFor({ tls }: ListenerConfig): Certificate | null {
    if (tls === false) return null;
    const common = this.parts.config.tls;
    const certificate = new Certificate(
      tls === true ? common : { ...tls, minVersion: common.minVersion },
      this.broker.log,
    );
    this.certificates.push(certificate);
    return certificate;
  }

  private webSocketFor({ protocol, path }: ListenerConfig): WebSocketOptions {
    const messageBytes = this.parts.config.limits.messageBytes + mqttHeadBytes;
    return protocol === 'mqtt'
      ? { path, subprotocols: ['mqtt', 'mqttv3.1'], messageBytes, frames: 'binary' }
      : { path, subprotocols: ['v12.stomp', 'v11.stomp', 'v10.stomp'], messageBytes, frames: 'text' };
  }

  private createProtocol(
    protocol: 'amqp' | 'mqtt' | 'stomp',
    { clientIdHeader, dialect, onLoss, v3, vhost }: ListenerConfig,
  ): Protocol {
    const { broker } = this;
    const { config, version } = this.parts;
    const { messageBytes, loginTimeoutMs } = config.limits;
    const common = {
      loginTimeoutMs,
      anonymous: config.anonymous.enabled,
      vhost: vhost ?? config.defaultVhost,
      rejectsLosses: onLoss === 'reject',
      version,
    };
    switch (protocol) {
      case 'amqp':
        return this.createAmqp(common);
      case 'mqtt':
        return new Mqtt(broker, this.sessions, {
          ...common,
          ...config.mqtt,
          v3: v3 ?? [],
          clientIdHeader: clientIdHeader ?? false,
          packetBytes: messageBytes + mqttHeadBytes,
          bodyBytes: messageBytes,
        });
      case 'stomp':
        return new Stomp(broker, {
          ...common,
          bodyBytes: messageBytes,
          dialect: dialect ?? 'auto',
          strictHost: config.stomp.strictHost,
          heartBeatMs: config.stomp.heartBeatMs,
          headerCount: config.stomp.headerCountMax,
          headerBytes: config.stomp.headerBytesMax,
        });
    }
  }

  /** Both versions on one port: the protocol header decides [AMQP 1.0 §2.2; 0-9-1 §4.2.2]. */
  private createAmqp(common: CommonOptions): Protocol {
    const { broker } = this;
    const { config } = this.parts;
    const { messageBytes } = config.limits;
    const { frameSizeMax: frameMax, channelMax, heartbeatSeconds, consumerTimeoutMs } = config.amqp;
    const shared = { ...common, messageBytes, frameMax, heartbeatSeconds };
    const amqp091 = new Amqp091(broker, { ...shared, channelMax, consumerTimeoutMs });
    const amqp10 = new Amqp10(broker, { ...shared, sessionsMax: channelMax, ...config.amqp10 });
    // whatever the protocol id, version 1.0.0 is 1.0's business
    const header = Buffer.from('AMQP\x00\x01\x00\x00', 'latin1');
    const spoken = [{ protocol: amqp10, header, anyAt: [4] }];
    return new Detection(spoken, amqp091, common.loginTimeoutMs, () => broker.nowMs);
  }
}

interface CommonOptions {
  readonly loginTimeoutMs: number;
  readonly anonymous: boolean;
  readonly vhost: string;
  readonly rejectsLosses: boolean;
  readonly version: string;
}

function pagingLimits({ memory }: Config): PagingLimits {
  return {
    queueBytes: memory.queueBytes,
    bodyBytes: machineBytes() * memory.bodyFraction,
    heapBytes: getHeapStatistics().heap_size_limit * memory.heapFraction,
  };
}

// 0 or beyond the machine's: no container limits it
function machineBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}

/** The heap may fill this part of what it can grow to before publishers wait. */
const heapAlarmFraction = 0.8;

function memoryMarkBytes({ memory }: Config): number {
  return machineBytes() * memory.alarmFraction;
}

/** What the disk may be behind: more than any group of a healthy one. */
const backlogMarkBytes = 256 * 1024 * 1024;

function watchResources(broker: Broker, config: Config, directory: string): void {
  new ResourceWatch({
    marks: {
      memoryBytes: memoryMarkBytes(config),
      heapBytes: getHeapStatistics().heap_size_limit * heapAlarmFraction,
      diskFreeBytes: config.disk.freeMinBytes,
      backlogBytes: backlogMarkBytes,
    },
    gauges: {
      memoryBytes: () => process.memoryUsage.rss(),
      heapBytes: () => getHeapStatistics().used_heap_size,
      diskFreeBytes: () => freeBytes(directory),
      backlogBytes: () => broker.journal.backlogBytes,
    },
    timers: broker.timers,
    log: broker.log,
    onChange: (why) => broker.setAlarm(why),
  });
}

/**
 * With a certificate each protocol has its TLS port too, unless the configuration says otherwise. Where a protocol's own
 * listener takes a free port, its companions that were left at their defaults do too: a second broker on the machine
 * meets the first on none of them.
 */
function allListeners(config: Config): Record<string, ListenerConfig> {
  const listeners = withSecure(config);
  for (const [name, sibling, port] of companions) {
    const listener = listeners[name];
    if (listener?.port !== port || listeners[sibling]?.port !== 0) continue;
    listeners[name] = { ...listener, port: 0 };
  }
  return listeners;
}

const companions = [
  ['mqttWs', 'mqtt', 15_675],
  ['stompWs', 'stomp', 15_674],
  ['amqps', 'amqp', 5671],
  ['mqtts', 'mqtt', 8883],
  ['stomps', 'stomp', 61_614],
] as const;

function withSecure({ listeners, tls }: Config): Record<string, ListenerConfig> {
  if (tls.cert === '' || tls.key === '') return { ...listeners };
  const secure = (protocol: ListenerConfig['protocol'], port: number): ListenerConfig => ({
    enabled: true,
    protocol,
    host: '*',
    port,
    onLoss: 'deliver',
    transport: 'tcp',
    path: '/ws',
    tls: true,
  });
  return {
    ...listeners,
    amqps: listeners['amqps'] ?? secure('amqp', 5671),
    mqtts: listeners['mqtts'] ?? secure('mqtt', 8883),
    stomps: listeners['stomps'] ?? secure('stomp', 61_614),
  };
}

/** libuv's, which the disk uses too. */
const runtimeThreads = 4;

/** Room for topic and properties beside the largest body. */
const mqttHeadBytes = 128 * 1024;

/** Those of all protocols, for `explain`. */
function scriptsWith(mqtt3: Script): readonly Script[] {
  return [amqp091Script, amqp10Script, mqtt5Script, mqtt3, stompScript];
}

function createToken(): string {
  return randomBytes(16).toString('base64url');
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// It is fixed when a virtual host is made: who changes the key later is told whom it does not reach.
function tellMappings(broker: Broker, { mqtt, vhosts }: Config): void {
  for (const name of vhosts) {
    const topicMapping = broker.vhosts.get(name)?.topicMapping ?? mqtt.topicMapping;
    if (topicMapping === mqtt.topicMapping) continue;
    broker.log.warn({ vhost: name, topicMapping }, 'mqtt.topicMapping: the virtual host keeps what it was made with');
  }
}

function tellLosses(log: Logger): void {
  const losses = conversionLosses.takeUntold();
  if (losses.length > 0) log.warn({ losses }, 'translations could not say all that publishers said');
}
