import { Api, apiOptions, path, vhostOf, vhostOption } from './api.ts';
import { type Command, CommandError, ExitCode, type Group } from './command.ts';

const declare: Command = {
  name: 'declare',
  summary: 'Make a queue, durable unless it is said otherwise.',
  arguments: ['NAME'],
  options: {
    transient: { type: 'boolean', help: 'it goes with the broker' },
    'auto-delete': { type: 'boolean', help: 'it goes with its last consumer' },
    argument: {
      type: 'string',
      short: 'a',
      multiple: true,
      value: 'KEY=VALUE',
      help: 'e.g. x-max-length=1000; VALUE is JSON or else text; repeatable',
    },
    ...vhostOption,
    ...apiOptions,
  },
  async run(call) {
    const api = await Api.of(call);
    await api.put(`queues/${path(vhostOf(call), call.get(0))}`, {
      durable: !call.flag('transient'),
      auto_delete: call.flag('auto-delete'),
      arguments: Object.fromEntries(call.list('argument').map(readArgument)),
    });
    call.terminal.say(`queue '${call.get(0)}' is there\n`);
  },
};

const purge: Command = {
  name: 'purge',
  summary: 'Drop the messages that are ready in queues.',
  arguments: ['NAME…'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    for (const name of call.rest(0)) {
      await api.delete(`queues/${path(vhostOf(call), name)}/contents`);
      call.terminal.say(`queue '${name}' is purged\n`);
    }
  },
};

const remove: Command = {
  name: 'delete',
  summary: 'Delete queues with their messages.',
  arguments: ['NAME…'],
  options: {
    'if-empty': { type: 'boolean', help: 'only without messages' },
    'if-unused': { type: 'boolean', help: 'only without consumers' },
    ...vhostOption,
    ...apiOptions,
  },
  async run(call) {
    const api = await Api.of(call);
    const query = `if-empty=${call.flag('if-empty')}&if-unused=${call.flag('if-unused')}`;
    for (const name of call.rest(0)) {
      await api.delete(`queues/${path(vhostOf(call), name)}?${query}`);
      call.terminal.say(`queue '${name}' is deleted\n`);
    }
  },
};

export const queues: Group = {
  name: 'queues',
  summary: 'Declare, purge and delete queues.',
  commands: [declare, purge, remove],
};

function readArgument(text: string): [string, unknown] {
  const equals = text.indexOf('=');
  if (equals < 1) throw new CommandError(`--argument ${text}: KEY=VALUE is expected`, ExitCode.usage);
  const value = text.slice(equals + 1);
  try {
    return [text.slice(0, equals), JSON.parse(value)];
  } catch {
    return [text.slice(0, equals), value];
  }
}
