import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { destination, pino, stdSerializers } from 'pino';
import { ConfigError, loadConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { version } from './config/version.ts';
import { collectSmallHeapsLater } from './lib/collector.ts';
import { DefinitionsError, ListenError, type Listening, Server } from './server.ts';
import { DirectoryInUse } from './storage/lock.ts';
import { JournalDamage } from './storage/segment.ts';

const ExitCode = { ok: 0, failure: 1, configuration: 78 } as const;

/** What the command line says of the configuration. */
export interface StartFlags {
  readonly config?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly set: readonly string[];
}

const startedMs = performance.now();

/** Ends the process with 78 and one line when something is wrong. */
export function readConfig(flags: StartFlags): Config {
  const sets: [string, string][] = [];
  for (const text of flags.set) {
    const equals = text.indexOf('=');
    if (equals < 1) fail(`--set ${text}: KEY=VALUE is expected`, ExitCode.configuration);
    sets.push([text.slice(0, equals), text.slice(equals + 1)]);
  }
  if (flags.dataDir !== undefined) sets.push(['dataDir', JSON.stringify(flags.dataDir)]);
  const own = fileURLToPath(new URL('../config/rosettamq.yaml', import.meta.url));
  try {
    return loadConfig({ file: flags.config ?? (existsSync(own) ? own : undefined), env: process.env, sets });
  } catch (error) {
    if (error instanceof ConfigError) return fail(`configuration: ${error.message}`, ExitCode.configuration);
    throw error;
  }
}

/** The broker, until a signal ends it. */
export async function run(config: Config): Promise<void> {
  collectSmallHeapsLater();
  const serializers = { err: stdSerializers.err, error: stdSerializers.err };
  const log = pino({ level: config.logLevel, base: null, serializers }, destination({ fd: 2, sync: true }));
  let server: Server;
  try {
    server = await Server.start({ config, log, version });
  } catch (error) {
    if (error instanceof DefinitionsError) return fail(error.message, ExitCode.configuration);
    if (error instanceof ListenError || error instanceof DirectoryInUse || error instanceof JournalDamage) {
      return fail(error.message, ExitCode.failure);
    }
    const { code } = error as NodeJS.ErrnoException;
    if (code !== undefined)
      return fail(`dataDir: '${config.dataDir}' cannot be used (${code}${advice[code] ?? ''})`, ExitCode.failure);
    throw error;
  }
  stopOnSignals(server);
  say(`${table(server.listening)}ready in ${Math.round(performance.now() - startedMs)} ms\n`);
}

/** A signal that npm or the terminal sends a second time at once is the same signal. */
const sameSignalMs = 500;

function stopOnSignals(server: Server): void {
  let stoppingSinceMs = 0;
  const stop = (): void => {
    if (stoppingSinceMs > 0) {
      if (performance.now() - stoppingSinceMs > sameSignalMs) process.exit(ExitCode.failure);
      return;
    }
    stoppingSinceMs = performance.now();
    server.stop().then(
      () => process.exit(ExitCode.ok),
      (error) => fail((error as Error).message, ExitCode.failure),
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // The command `rosettamq` under an older Node is our parent, and has a channel to us: it closes when that ends.
  if (process.channel) process.on('disconnect', stop);
  if (process.env['npm_lifecycle_event'] !== 'start') return;
  // Killed without a word, npm leaves its child behind: a broker that it started goes with it.
  const parent = process.ppid;
  server.broker.timers.every(1000, () => {
    if (process.ppid !== parent) stop();
  });
}

function table(listening: readonly Listening[]): string {
  const rows = [
    ['listener', 'protocol', 'host', 'port'],
    ...listening.map((each) => [each.name, each.protocol, each.host, String(each.port)]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function say(text: string): void {
  process.stdout.write(text);
}

function fail(text: string, code: number): never {
  process.stderr.write(`rosettamq: ${text}\n`);
  process.exit(code);
}

/** What an operator can do about an error of the file system. */
const advice: Readonly<Record<string, string>> = {
  ENOSPC: ': the disk is full, and a start needs a few kilobytes',
  EDQUOT: ': the quota is used up, and a start needs a few kilobytes',
  EROFS: ': the file system is read-only',
};
