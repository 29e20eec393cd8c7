import { readFile } from 'node:fs/promises';
import { Api, apiOptions, jsonOption, vhostOf, vhostOption } from './api.ts';
import { type Call, type Command, CommandError, ExitCode } from './command.ts';
import { again, type Repetition } from './scheduled.ts';
import { renderTable } from './table.ts';

/** What the API answers. */
interface Explanation {
  readonly vhost: string;
  readonly exchange: string;
  readonly routing_keys: readonly string[];
  readonly declares: string | null;
  readonly retained: boolean;
  readonly held: (Repetition & { readonly delay: number; readonly due_at: string }) | null;
  readonly result: string;
  readonly route: readonly Step[];
  readonly queues: readonly {
    readonly name: string;
    readonly type: string;
    readonly policy: string | null;
    readonly operator_policy: string | null;
    readonly effective_policy_definition: object;
  }[];
  readonly consumers: readonly Consumer[];
}

interface Step {
  readonly exchange: string;
  readonly type: string;
  readonly matched: boolean;
  readonly alternate_exchange: string | null;
  readonly alternate_taken: boolean;
  readonly bindings: readonly {
    readonly destination: string;
    readonly destination_type: string;
    readonly matched: boolean;
    readonly why: string;
  }[];
}

interface Consumer {
  readonly title: string;
  readonly delivery: readonly Item[];
  readonly fields: readonly Item[];
  readonly headers: readonly Item[];
  readonly lost: readonly string[];
}

interface Item {
  readonly name: string;
  readonly value: string;
  readonly type: string;
  readonly companion?: boolean;
}

export const explain: Command = {
  name: 'explain',
  summary: 'Show where a message would go and what consumers of each protocol would get.',
  details: `Nothing is published, and nothing changes.

PROTOCOL is amqp-0-9-1, amqp-1.0, mqtt-5, mqtt-3.1.1 or stomp; DESTINATION is in its words: a topic of MQTT, a destination of STOMP, an
address of AMQP 1.0, of AMQP 0-9-1 the routing key. Values are JSON or else text.

  rosettamq explain mqtt-5 sensors/hall '21.5' --property content_type=text/plain --header n=5
  rosettamq explain --file message.json

In the answer + marks a header that carries what has no place of its own there, and - what is lost.`,
  arguments: ['[PROTOCOL]', '[DESTINATION]', '[BODY]'],
  options: {
    file: {
      type: 'string',
      short: 'f',
      value: 'PATH',
      help: 'the message as JSON, as POST /api/explain takes it; - reads standard input',
    },
    'body-file': { type: 'string', value: 'PATH', help: 'the body, whatever octets it has; - reads standard input' },
    exchange: { type: 'string', short: 'x', value: 'NAME', help: 'of AMQP 0-9-1; without it the default exchange' },
    property: {
      type: 'string',
      short: 'P',
      multiple: true,
      value: 'NAME=VALUE',
      help: 'e.g. content_type, reply_to, priority, ttl_ms; repeatable',
    },
    header: {
      type: 'string',
      short: 'H',
      multiple: true,
      value: 'NAME=VALUE',
      help: 'a header of the application; repeatable',
    },
    listener: {
      type: 'string',
      value: 'NAME',
      help: 'of MQTT: with its rules for devices of 3.1 and 3.1.1, as publishers and consumers',
    },
    qos: { type: 'string', value: 'NUMBER', help: 'of MQTT: 0, 1 or 2' },
    retain: { type: 'boolean', help: 'of MQTT: the message is retained' },
    ...jsonOption,
    ...vhostOption,
    ...apiOptions,
  },
  async run(call) {
    const description = await readMessage(call);
    const api = await Api.of(call);
    const answer = (await api.post('explain', description)) as Explanation;
    const { terminal } = call;
    if (call.flag('json')) return terminal.say(`${JSON.stringify(answer, null, 2)}\n`);
    terminal.say(renderRoute(answer, terminal.width));
    terminal.say(renderConsumers(answer.consumers, terminal.width));
  },
};

async function readMessage(call: Call): Promise<object> {
  const file = call.text('file');
  const given = file === undefined ? {} : await readJson(call, file);
  const [protocol, destination, text] = [call.find(0), call.find(1), call.find(2)];
  const named = {
    protocol,
    destination,
    body: text,
    exchange: call.text('exchange'),
    qos: call.integer('qos'),
    listener: call.text('listener'),
  };
  const bodyFile = call.text('body-file');
  const body = bodyFile === undefined ? {} : await readBody(call, bodyFile);
  const told = Object.entries({ ...named, ...body }).filter(([, value]) => value !== undefined);
  const message: Record<string, unknown> = { vhost: vhostOf(call), ...given, ...Object.fromEntries(told) };
  for (const [option, field] of [
    ['property', 'properties'],
    ['header', 'headers'],
  ] as const) {
    const pairs = call.list(option).map((pair) => readPair(option, pair));
    if (pairs.length > 0) message[field] = { ...(message[field] as object | undefined), ...Object.fromEntries(pairs) };
  }
  if (call.flag('retain')) message['retain'] = true;
  for (const field of ['protocol', 'destination']) {
    if (message[field] === undefined) {
      throw new CommandError(`${field.toUpperCase()} is missing (see rosettamq explain --help)`, ExitCode.usage);
    }
  }
  return message;
}

async function readBody(call: Call, file: string): Promise<object> {
  if (call.find(2) !== undefined) {
    throw new CommandError('BODY and --body-file: one of them is expected', ExitCode.usage);
  }
  try {
    const octets = file === '-' ? Buffer.from(await call.terminal.readAll(), 'utf8') : await readFile(file);
    return { body: octets.toString('base64'), body_encoding: 'base64' };
  } catch (error) {
    throw new CommandError(`--body-file ${file}: ${(error as Error).message}`, ExitCode.usage);
  }
}

async function readJson(call: Call, file: string): Promise<object> {
  let text: string;
  try {
    text = file === '-' ? await call.terminal.readAll() : await readFile(file, 'utf8');
  } catch (error) {
    throw new CommandError(`--file ${file}: ${(error as Error).message}`, ExitCode.usage);
  }
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json;
  } catch {
    // told below
  }
  throw new CommandError(`--file ${file}: this is no JSON object`, ExitCode.usage);
}

function readPair(option: string, pair: string): [string, unknown] {
  const equals = pair.indexOf('=');
  if (equals < 1) throw new CommandError(`--${option} ${pair}: NAME=VALUE is expected`, ExitCode.usage);
  const value = pair.slice(equals + 1);
  const name = pair.slice(0, equals);
  const isText = option === 'property' && !/^(true|false|\d+)$/.test(value);
  if (
    isText ||
    (option === 'property' && !/^(priority|ttl_ms|timestamp_ms|group_sequence|durable|text_payload)$/.test(name))
  ) {
    return [name, value];
  }
  try {
    return [name, JSON.parse(value)];
  } catch {
    return [name, value];
  }
}

function renderRoute({ vhost, exchange, routing_keys, route, queues, ...rest }: Explanation, width: number): string {
  const keys = routing_keys.map((key) => `'${key}'`).join(', ');
  const lines = [`Published to exchange '${exchange}' of '${vhost}' with the routing key ${keys}: ${rest.result}\n`];
  if (rest.declares !== null)
    lines.push(`The queue '${rest.declares}' is not there: it is declared, and gets the message.\n`);
  if (rest.held !== null) lines.push(renderHeld(rest.held));
  if (rest.retained) lines.push('It is retained: later subscribers of MQTT get it too.\n');
  lines.push('\n', renderTable(['exchange', 'to', 'matched', 'why'], route.flatMap(rowsOf), width));
  if (queues.length > 0) {
    const rows = queues.map((queue) => [
      queue.name,
      queue.type,
      [queue.policy, queue.operator_policy].filter((policy) => policy !== null).join(', '),
      JSON.stringify(queue.effective_policy_definition),
    ]);
    lines.push('\n', renderTable(['queue', 'type', 'policies', 'in force'], rows, width));
  }
  return lines.join('');
}

function renderHeld(held: Repetition & { readonly delay: number; readonly due_at: string }): string {
  const more = again(held);
  const what = more === '' ? '' : ` and again (${more})`;
  return `Held for ${held.delay / 1000} s, until ${held.due_at}, then routed${what}; as things are now, so:\n`;
}

function rowsOf(step: Step): string[][] {
  const name = `${step.exchange === '' ? '(default)' : step.exchange} [${step.type}]`;
  const rows = step.bindings.map((each) => [
    name,
    `${each.destination_type} ${each.destination}`,
    each.matched ? 'yes' : 'no',
    each.why,
  ]);
  if (step.bindings.length === 0) rows.push([name, '', 'no', 'it has no bindings']);
  if (step.matched) return rows;
  const alternate = step.alternate_exchange;
  if (alternate === null) return [...rows, [name, '', 'end', 'nothing matched, and there is no alternate exchange']];
  const why = step.alternate_taken ? 'nothing matched: the alternate exchange' : 'the alternate exchange is not there';
  return [...rows, [name, `exchange ${alternate}`, step.alternate_taken ? 'yes' : 'end', why]];
}

/** Columns that a protocol needs beside the others to be read. */
const columnsOfOne = 30;

// Side by side, or below one another where the terminal is too narrow.
function renderConsumers(consumers: readonly Consumer[], width: number): string {
  const columns = consumers.map(linesOf);
  const heads = consumers.map(({ title }) => title);
  if (width < columnsOfOne * consumers.length) {
    return columns
      .map(
        (lines, i) =>
          `\n${renderTable(
            [heads[i]!],
            lines.map((line) => [line]),
            width,
          )}`,
      )
      .join('');
  }
  const longest = Math.max(...columns.map(({ length }) => length));
  const rows = Array.from({ length: longest }, (_, i) => columns.map((lines) => lines[i] ?? ''));
  return `\n${renderTable(heads, rows, width)}`;
}

function linesOf({ delivery, fields, headers, lost }: Consumer): string[] {
  const show = (mark: string, { name, value, type }: Item): string =>
    `${mark} ${name}: ${value}${type === 'text' ? '' : ` (${type})`}`;
  return [
    ...[...delivery, ...fields].map((item) => show(' ', item)),
    ...headers.map((item) => show(item.companion === true ? '+' : ' ', item)),
    ...lost.map((what) => `- ${what}`),
  ];
}
