import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../suites/interop.ts';

/** A broker of somebody else's, as a process of ours on a free port with a fresh directory. */
export interface LocalBroker {
  readonly endpoint: Endpoint;
  stop(): Promise<void>;
}

/** Path of a program, or undefined when the machine does not have it. */
export function findProgram(name: string): string | undefined {
  // RabbitMQ's own script before Debian's, which would change the user
  for (const directory of ['/usr/lib/rabbitmq/bin', ...(process.env['PATH'] ?? '').split(':'), '/usr/sbin']) {
    if (directory !== '' && spawnSync('test', ['-x', join(directory, name)]).status === 0) return join(directory, name);
  }
  return undefined;
}

/** @param lines of its configuration beside the listener */
export async function startMosquitto(program: string, lines: readonly string[] = []): Promise<LocalBroker> {
  const directory = await mkdtemp(join(tmpdir(), 'mosquitto-'));
  const port = await freePort();
  const config = join(directory, 'mosquitto.conf');
  await writeFile(config, [`listener ${port} 127.0.0.1`, 'allow_anonymous true', ...lines, ''].join('\n'));
  const child = spawn(program, ['-c', config], { stdio: 'ignore' });
  await untilListening(port, child);
  return localBroker(child, port, directory);
}

export interface LocalRabbitMq extends LocalBroker {
  /** Of its HTTP API, if it was started with it. */
  readonly managementPort: number;
}

/** @param options management: with its HTTP API */
export async function startRabbitMq(program: string, options: { management?: boolean } = {}): Promise<LocalRabbitMq> {
  const directory = await mkdtemp(join(tmpdir(), 'rabbitmq-'));
  const [port, distributionPort, mapperPort] = [await freePort(), await freePort(), await freePort()];
  const managementPort = await freePort();
  await writeFile(
    join(directory, 'enabled_plugins'),
    options.management === true ? '[rabbitmq_management].\n' : '[].\n',
  );
  const config = `management.tcp.port = ${managementPort}\nmanagement.tcp.ip = 127.0.0.1\n`;
  if (options.management === true) await writeFile(join(directory, 'rabbitmq.conf'), config);
  const child = spawn(program, [], {
    stdio: 'ignore',
    detached: true, // a group of its own: the script, the emulator and what that starts are ended together
    env: {
      ...process.env,
      HOME: directory,
      ERL_EPMD_PORT: String(mapperPort),
      RABBITMQ_NODENAME: `interop${port}@localhost`,
      RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distributionPort),
      RABBITMQ_MNESIA_BASE: directory,
      RABBITMQ_LOG_BASE: directory,
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'enabled_plugins'),
      RABBITMQ_CONFIG_FILE: join(directory, options.management === true ? 'rabbitmq' : 'none'),
    },
  });
  await untilListening(port, child);
  if (options.management === true) await untilListening(managementPort, child);
  const broker = localBroker(child, port, directory, () => process.kill(-(child.pid as number), 'SIGTERM'));
  return {
    ...broker,
    managementPort,
    async stop() {
      await broker.stop();
      // the port mapper that the emulator started is a daemon of its own, and goes only after it
      spawnSync('epmd', ['-port', String(mapperPort), '-kill']);
    },
  };
}

function localBroker(
  child: ChildProcess,
  port: number,
  directory: string,
  end: () => void = () => child.kill('SIGTERM'),
): LocalBroker {
  return {
    endpoint: { host: '127.0.0.1', port, user: 'guest', password: 'guest' },
    async stop() {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      if (child.exitCode === null) {
        end();
        await ended;
      }
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`${child.spawnargs[0]} ended with ${child.exitCode}`);
    const listening = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (listening) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`nothing listens on ${port}`);
}
