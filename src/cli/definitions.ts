import { readFile, writeFile } from 'node:fs/promises';
import { Api, apiOptions, path } from './api.ts';
import { type Command, CommandError, type Group, type Options } from './command.ts';

const vhostOption: Options = {
  vhost: { type: 'string', short: 'V', value: 'NAME', help: 'of this virtual host alone' },
};

const exportAll: Command = {
  name: 'export',
  summary: 'Write everything but the messages as JSON, which RabbitMQ takes too.',
  details: `Users are in it with the hashes of their passwords: the file is for nobody else to read. RabbitMQ does not know our own
hash, scrypt; who is to log in there needs another password, or one that was set with --hashing-algorithm
rabbit_password_hashing_sha256.`,
  arguments: ['[FILE]'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const vhost = call.text('vhost');
    const json = await api.get(vhost === undefined ? 'definitions' : `definitions/${path(vhost)}`);
    const text = `${JSON.stringify(json, null, 2)}\n`;
    const file = call.find(0) ?? '-';
    if (file === '-') return call.terminal.say(text);
    await writeFile(file, text, { mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
      throw new CommandError(`${file} cannot be written (${error.code})`);
    });
    call.terminal.say(`definitions are in ${file}\n`);
  },
};

const importAll: Command = {
  name: 'import',
  summary: 'Bring definitions in, ours or RabbitMQ’s, beside what is there.',
  details: `Without a file, or with -, they are read from standard input. What only other brokers have, as streams and types of
exchanges that come by plugins, is left out and told.`,
  arguments: ['[FILE]'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const file = call.find(0) ?? '-';
    const text = file === '-' ? await call.terminal.readAll() : await read(file);
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch {
      throw new CommandError(`${file === '-' ? 'standard input' : file} holds no JSON`);
    }
    const vhost = call.text('vhost');
    const where = vhost === undefined ? 'definitions' : `definitions/${path(vhost)}`;
    const { left_out: leftOut } = (await api.post(`${where}?report=true`, json)) as { left_out: string[] };
    for (const what of leftOut) call.terminal.complain(`left out: ${what}\n`);
    call.terminal.say('definitions are in\n');
  },
};

export const definitions: Group = {
  name: 'definitions',
  summary: 'Take users, permissions, queues and all else from broker to broker.',
  commands: [exportAll, importAll],
};

function read(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read (${error.code})`);
  });
}
