import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { findProgram, freePort } from '../../test/support/local-brokers.ts';
import { inspectable } from '../micro/inspector.ts';
import type { ProtocolName, Target } from '../perf/run.ts';

export type PeerName = 'RosettaMQ' | 'Mosquitto' | 'nats-server' | 'RabbitMQ' | 'ActiveMQ' | 'aedes';

/** A broker that scenarios are run on, started with a fresh directory. */
export interface Peer {
  readonly name: PeerName;
  readonly speaks: readonly ProtocolName[];
  /** MQTT's qualities of service that it has. */
  readonly qosMax: 0 | 1 | 2;
  version(): string;
  /** What differs from its defaults, for the reader of the table. */
  readonly settings: string;
  /** In seconds: it is started once for several scenarios. */
  readonly startsSlowly: boolean;
  installed(): boolean;
  start(options?: StartOptions): Promise<RunningPeer>;
}

export interface StartOptions {
  /** Its heap is to be collected on demand: RosettaMQ alone can. */
  readonly inspect?: boolean;
}

export interface RunningPeer {
  readonly target: Target & { readonly pid: number };
  /** RosettaMQ's process, for what is measured inside it. */
  readonly broker: BrokerProcess | null;
  /** It gets no CPU until `resume`. */
  suspend(): void;
  resume(): void;
  stop(): Promise<void>;
  /** At once, when this process ends before it could stop it. */
  kill(): void;
}

const host = '127.0.0.1';

export const rosetta: Peer = {
  name: 'RosettaMQ',
  speaks: ['amqp', 'amqp10', 'mqtt', 'stomp'],
  qosMax: 2,
  version: () => `Node ${process.versions.node}`,
  settings: 'none: the default configuration',
  startsSlowly: false,
  installed: () => true,
  async start(options = {}) {
    const broker = await BrokerProcess.start({ nodeArgs: options.inspect ? inspectable.slice(0, 2) : [] });
    const amqp = broker.port('amqp');
    const ports = { amqp, amqp10: amqp, mqtt: broker.port('mqtt'), stomp: broker.port('stomp') };
    return {
      target: { host, ports, pid: broker.pid, user: 'guest', password: 'guest' },
      broker,
      suspend: () => process.kill(broker.pid, 'SIGSTOP'),
      resume: () => process.kill(broker.pid, 'SIGCONT'),
      stop: () => broker.remove(),
      kill: () => process.kill(broker.pid, 'SIGKILL'),
    };
  },
};

const mosquitto: Peer = {
  name: 'Mosquitto',
  speaks: ['mqtt'],
  qosMax: 2,
  version: () => versionOf('mosquitto', ['-h'], /mosquitto version (\S+)/),
  settings: 'allow_anonymous true, max_inflight_messages 0, max_queued_messages 0 (no limits), log_type error',
  startsSlowly: false,
  installed: () => findProgram('mosquitto') !== undefined,
  start: () =>
    startPeer(['mqtt'], async (directory, ports) => {
      const config = join(directory, 'mosquitto.conf');
      const lines = [
        `listener ${ports.mqtt} ${host}`,
        'allow_anonymous true',
        'max_inflight_messages 0',
        'max_queued_messages 0',
        'log_type error',
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      return { program: findProgram('mosquitto')!, args: ['-c', config] };
    }),
};

const nats: Peer = {
  name: 'nats-server',
  speaks: ['mqtt'],
  qosMax: 1,
  version: () => versionOf('nats-server', ['--version'], /v(\d\S*)/),
  settings: 'JetStream in the fresh directory, MQTT max_ack_pending 65535',
  startsSlowly: false,
  installed: () => findProgram('nats-server') !== undefined,
  start: () =>
    startPeer(['mqtt'], async (directory, ports) => {
      const config = join(directory, 'nats.conf');
      const lines = [
        `server_name: bench`,
        `listen: "${host}:${await freePort()}"`,
        `jetstream { store_dir: "${directory}/store" }`,
        `mqtt { host: "${host}", port: ${ports.mqtt}, max_ack_pending: 65535 }`,
      ];
      await writeFile(config, `${lines.join('\n')}\n`);
      return { program: findProgram('nats-server')!, args: ['-c', config] };
    }),
};

const rabbit: Peer = {
  name: 'RabbitMQ',
  speaks: ['amqp', 'mqtt', 'stomp'],
  qosMax: 1,
  version() {
    const library = '/usr/lib/rabbitmq/lib';
    const directory = existsSync(library) ? readdirSync(library)[0] : undefined;
    return directory?.replace('rabbitmq_server-', '') ?? 'unknown';
  },
  settings: 'plugins rabbitmq_mqtt and rabbitmq_stomp, mqtt.prefetch 1000, log at error',
  startsSlowly: true,
  installed: () => findProgram('rabbitmq-server') !== undefined,
  start: () =>
    startPeer(['amqp', 'mqtt', 'stomp'], async (directory, ports) => {
      const [distributionPort, mapperPort] = [await freePort(), await freePort()];
      await writeFile(join(directory, 'enabled_plugins'), '[rabbitmq_mqtt,rabbitmq_stomp].\n');
      const lines = [
        `listeners.tcp.1 = ${host}:${ports.amqp}`,
        `mqtt.listeners.tcp.1 = ${host}:${ports.mqtt}`,
        `stomp.listeners.tcp.1 = ${host}:${ports.stomp}`,
        'mqtt.prefetch = 1000',
        'log.console.level = error',
        'log.file.level = error',
      ];
      await writeFile(join(directory, 'rabbitmq.conf'), `${lines.join('\n')}\n`);
      return {
        program: findProgram('rabbitmq-server')!,
        args: [],
        worker: 'beam.smp',
        mapperPort,
        env: {
          HOME: directory,
          ERL_EPMD_PORT: String(mapperPort),
          RABBITMQ_NODENAME: `bench${ports.amqp}@localhost`,
          RABBITMQ_DIST_PORT: String(distributionPort),
          RABBITMQ_MNESIA_BASE: directory,
          RABBITMQ_LOG_BASE: directory,
          RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
          RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq.conf'),
        },
      };
    }),
};

const activeJar = '/usr/share/activemq/bin/activemq.jar';

const active: Peer = {
  name: 'ActiveMQ',
  speaks: ['stomp'],
  qosMax: 0,
  version: () =>
    spawnSync('dpkg-query', ['-W', '-f', '${' + 'Version}', 'activemq'], { encoding: 'utf8' }).stdout.trim() ||
    'unknown',
  settings: 'Debian’s configuration with a STOMP connector; KahaDB in the fresh directory; 1 GiB of heap',
  startsSlowly: true,
  installed: () => existsSync(activeJar) && findProgram('java') !== undefined,
  start: () =>
    startPeer(['stomp'], async (directory, ports) => {
      const config = join(directory, 'activemq.xml');
      const debian = readFileSync('/etc/activemq/instances-available/main/activemq.xml', 'utf8');
      const connector = `<transportConnector name="stomp" uri="stomp://${host}:${ports.stomp}"/>`;
      await writeFile(config, debian.replace(/<transportConnector [^>]*>/, connector));
      return {
        program: findProgram('java')!,
        args: [
          '-Xms1G',
          '-Xmx1G',
          '-Dactivemq.home=/usr/share/activemq',
          `-Dactivemq.base=${directory}`,
          '-jar',
          activeJar,
          'start',
          `xbean:file:${config}`,
        ],
      };
    }),
};

const aedes: Peer = {
  name: 'aedes',
  speaks: ['mqtt'],
  qosMax: 2,
  version: () => (JSON.parse(readFileSync('node_modules/aedes/package.json', 'utf8')) as { version: string }).version,
  settings: 'in memory, as its README starts it',
  startsSlowly: false,
  installed: () => existsSync('node_modules/aedes/package.json'),
  start: () =>
    startPeer(['mqtt'], async (_directory, ports) => ({
      program: process.execPath,
      args: ['bench/compare/aedes.ts', String(ports.mqtt)],
    })),
};

/** Ours first: the others are compared with it. */
export const peers: readonly Peer[] = [rosetta, mosquitto, nats, rabbit, active, aedes];

interface Command {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The process that does the work, when `program` is a script that starts it. */
  readonly worker?: string;
  /** Of Erlang's port mapper, which outlives the broker. */
  readonly mapperPort?: number;
}

type Ports = Record<ProtocolName, number>;

async function startPeer(
  speaks: readonly ProtocolName[],
  configure: (directory: string, ports: Ports) => Promise<Command>,
): Promise<RunningPeer> {
  const directory = await mkdtemp(join(tmpdir(), 'compare-'));
  const ports: Ports = { amqp: 0, amqp10: 0, mqtt: 0, stomp: 0 };
  for (const protocol of speaks) ports[protocol] = await freePort();
  const command = await configure(directory, ports);
  const child = spawn(command.program, command.args, {
    stdio: 'ignore',
    detached: true, // a group of its own: a script and what it started are ended together
    env: { ...process.env, ...command.env },
  });
  // A group that is gone already is none to be told.
  const signal = (name: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, name);
  };
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve));
    if (child.exitCode === null && child.signalCode === null) {
      signal('SIGTERM');
      const kill = setTimeout(() => signal('SIGKILL'), 15_000);
      await ended;
      clearTimeout(kill);
    }
    endMapper();
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  };
  const endMapper = () => {
    if (command.mapperPort !== undefined) spawnSync('epmd', ['-port', String(command.mapperPort), '-kill']);
  };
  try {
    for (const protocol of speaks) await untilListening(ports[protocol], child);
  } catch (error) {
    await stop();
    throw error;
  }
  const pid = command.worker === undefined ? child.pid! : findInGroup(child.pid!, command.worker);
  return {
    target: { host, ports, pid, user: 'guest', password: 'guest' },
    broker: null,
    suspend: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    stop,
    kill: () => {
      signal('SIGKILL');
      endMapper();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function findInGroup(group: number, name: string): number {
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const processGroup = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]);
      if (processGroup === group && stat.includes(`(${name})`)) return Number(pid);
    } catch {
      // it ended meanwhile
    }
  }
  throw new Error(`no ${name} in process group ${group}`);
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  const deadlineMs = performance.now() + 90_000;
  while (performance.now() < deadlineMs) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`);
    const isListening = await new Promise<boolean>((resolve) => {
      const socket = connect(port, host, () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (isListening) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${child.spawnfile} does not listen on ${port}`);
}

function versionOf(program: string, args: readonly string[], pattern: RegExp): string {
  const { stdout, stderr } = spawnSync(findProgram(program) ?? program, args, { encoding: 'utf8' });
  return pattern.exec(`${stdout}${stderr}`)?.[1] ?? 'unknown';
}
