import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import type { Terminal } from './terminal.ts';

/** What the shell is told. */
export const ExitCode = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Ends the command with one line on standard error. */
export class CommandError extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = ExitCode.refused) {
    super(message);
    this.exitCode = exitCode;
  }
}

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** What stands for the value in the help. */
  readonly value?: string;
  readonly help: string;
}

export type Options = Readonly<Record<string, Option>>;

/** One command, mostly one file. */
export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Shown by its help, below the usage. */
  readonly details?: string;
  /** `NAME` must be given, `[NAME]` may be, `NAME…` may be given several times. */
  readonly arguments?: readonly string[];
  readonly options?: Options;
  /** @throws CommandError */
  run(call: Call): void | Promise<void>;
}

/** Commands under one word: `users add`, `users delete`. */
export interface Group {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly Command[];
}

/** What the command was called with. */
export class Call {
  readonly terminal: Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  private readonly positionals: readonly string[];
  private readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;

  constructor(
    terminal: Terminal,
    env: Call['env'],
    { positionals, values }: { positionals: readonly string[]; values: Call['values'] },
  ) {
    this.terminal = terminal;
    this.env = env;
    this.positionals = positionals;
    this.values = values;
  }

  /** An argument that the command demands. */
  get(index: number): string {
    return this.positionals[index] as string; // `readCall` counted them
  }

  find(index: number): string | undefined {
    return this.positionals[index];
  }

  rest(from: number): readonly string[] {
    return this.positionals.slice(from);
  }

  flag(option: string): boolean {
    return this.values[option] === true;
  }

  text(option: string): string | undefined {
    const value = this.values[option];
    return typeof value === 'string' ? value : undefined;
  }

  list(option: string): readonly string[] {
    const value = this.values[option];
    return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  }

  /** @throws CommandError when it is no integer */
  integer(option: string): number | undefined {
    const text = this.text(option);
    if (text === undefined) return undefined;
    const number = Number(text);
    if (!Number.isInteger(number) || text.trim() === '') {
      throw new CommandError(`--${option} ${text}: a whole number is expected`, ExitCode.usage);
    }
    return number;
  }
}

/**
 * Runs what the words name. @returns the exit code: 0 done, 1 refused, 2 wrong usage, 3 the broker cannot be reached
 */
export async function runWords(
  commands: readonly (Command | Group)[],
  words: readonly string[],
  terminal: Terminal,
  env: Call['env'],
): Promise<number> {
  try {
    const [first, ...rest] = words;
    if (first === undefined || isHelp(first)) {
      terminal.say(helpOfAll(commands));
      return ExitCode.ok;
    }
    if (first === 'help') return await runWords(commands, [...rest, '--help'], terminal, env);
    const named = commands.find(({ name }) => name === first);
    if (named === undefined) throw unknown(first, commands, 'rosettamq --help');
    if (!('commands' in named)) return await runCommand(named, [first], rest, terminal, env);
    const [second, ...others] = rest;
    if (second === undefined || isHelp(second)) {
      terminal.say(helpOfGroup(named));
      return second === undefined ? ExitCode.usage : ExitCode.ok;
    }
    const command = named.commands.find(({ name }) => name === second);
    if (command === undefined) throw unknown(`${first} ${second}`, named.commands, `rosettamq ${first} --help`);
    return await runCommand(command, [first, second], others, terminal, env);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    terminal.complain(`rosettamq: ${error.message}\n`);
    return error.exitCode;
  }
}

async function runCommand(
  command: Command,
  path: readonly string[],
  words: readonly string[],
  terminal: Terminal,
  env: Call['env'],
): Promise<number> {
  if (words.some(isHelp)) {
    terminal.say(helpOf(command, path));
    return ExitCode.ok;
  }
  await command.run(readCall(command, path, words, terminal, env));
  return ExitCode.ok;
}

function readCall(
  command: Command,
  path: readonly string[],
  words: readonly string[],
  terminal: Terminal,
  env: Call['env'],
): Call {
  const hint = `rosettamq ${path.join(' ')} --help`;
  const config: ParseArgsOptionsConfig = {};
  for (const [name, { type, short, multiple }] of Object.entries(command.options ?? {})) {
    config[name] = { type, ...(short === undefined ? {} : { short }), ...(multiple === true ? { multiple } : {}) };
  }
  let parsed: { positionals: string[]; values: Call['values'] };
  try {
    parsed = parseArgs({ args: [...words], options: config, allowPositionals: true });
  } catch (error) {
    throw new CommandError(`${(error as Error).message.split(/\.? To specify|\n/)[0]} (see ${hint})`, ExitCode.usage);
  }
  const wanted = command.arguments ?? [];
  const least = wanted.filter((each) => !each.startsWith('[')).length;
  const most = wanted.at(-1)?.includes('…') ? Number.POSITIVE_INFINITY : wanted.length;
  const given = parsed.positionals.length;
  if (given < least) throw new CommandError(`${wanted[given]} is missing (see ${hint})`, ExitCode.usage);
  if (given > most)
    throw new CommandError(`'${parsed.positionals[most]}' is one too many (see ${hint})`, ExitCode.usage);
  return new Call(terminal, env, parsed);
}

function isHelp(word: string): boolean {
  return word === '--help' || word === '-h';
}

function unknown(words: string, commands: readonly { name: string }[], hint: string): CommandError {
  const names = commands.map(({ name }) => name).join(', ');
  return new CommandError(`'${words}' is no command; there are ${names} (see ${hint})`, ExitCode.usage);
}

// — help ————————————————————————————————————————————————————————————————————————————————————————————————————————————

function helpOfAll(commands: readonly (Command | Group)[]): string {
  return `Usage: rosettamq COMMAND …

${twoColumns(commands.map(({ name, summary }) => [name, summary]))}
  --help after a command tells more; --version prints the version.

Exit codes: 0 done, 1 refused by the broker, 2 wrong usage, 3 the broker cannot be reached.
`;
}

function helpOfGroup({ name, summary, commands }: Group): string {
  const rows = commands.map((each): [string, string] => [usageOf(each, each.name), each.summary]);
  return `${summary}\n\nUsage: rosettamq ${name} COMMAND …\n\n${twoColumns(rows)}`;
}

function helpOf(command: Command, path: readonly string[]): string {
  const options = Object.entries(command.options ?? {});
  const rows = options.map(([name, { short, type, value, help }]): [string, string] => [
    `${short === undefined ? '' : `-${short}, `}--${name}${type === 'boolean' ? '' : ` ${value ?? 'TEXT'}`}`,
    help,
  ]);
  const usage = `Usage: rosettamq ${usageOf(command, path.join(' '))}${options.length > 0 ? ' [options]' : ''}`;
  const details = command.details === undefined ? '' : `\n${command.details.trimEnd()}\n`;
  return `${command.summary}\n\n${usage}\n${details}${rows.length > 0 ? `\n${twoColumns(rows)}` : ''}`;
}

function usageOf(command: Command, path: string): string {
  return [path, ...(command.arguments ?? [])].join(' ');
}

function twoColumns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.min(30, Math.max(...rows.map(([left]) => left.length)));
  const indent = `\n${' '.repeat(width + 4)}`;
  return rows
    .map(([left, right]) => {
      const lines = right.replaceAll('\n', indent);
      return left.length > width ? `  ${left}${indent}${lines}\n` : `  ${left.padEnd(width)}  ${lines}\n`;
    })
    .join('');
}
