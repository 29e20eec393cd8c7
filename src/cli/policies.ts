import { Api, apiOptions, path, vhostOf, vhostOption } from './api.ts';
import { type Command, CommandError, ExitCode, type Group } from './command.ts';

function groupOf(name: 'policies' | 'operator-policies', summary: string): Group {
  const what = name === 'policies' ? 'policy' : 'operator policy';
  const set: Command = {
    name: 'set',
    summary: `Add or change a ${what}.`,
    details: `PATTERN is a regular expression for names. DEFINITION is JSON, e.g. '{"max-length": 1000, "overflow": "reject-publish"}'.`,
    arguments: ['NAME', 'PATTERN', 'DEFINITION'],
    options: {
      priority: { type: 'string', value: 'NUMBER', help: 'of several that match the highest holds (0)' },
      'apply-to': {
        type: 'string',
        value: 'WHAT',
        help: 'all (default), queues, classic_queues, quorum_queues or exchanges',
      },
      ...vhostOption,
      ...apiOptions,
    },
    async run(call) {
      const definition = readJson(call.get(2));
      const api = await Api.of(call);
      await api.put(`${name}/${path(vhostOf(call), call.get(0))}`, {
        pattern: call.get(1),
        definition,
        priority: call.integer('priority') ?? 0,
        'apply-to': call.text('apply-to') ?? 'all',
      });
      call.terminal.say(`${what} '${call.get(0)}' is set\n`);
    },
  };
  const remove: Command = {
    name: 'delete',
    summary: `Delete ${name.replace('-', ' ')}.`,
    arguments: ['NAME…'],
    options: { ...vhostOption, ...apiOptions },
    async run(call) {
      const api = await Api.of(call);
      for (const each of call.rest(0)) {
        await api.delete(`${name}/${path(vhostOf(call), each)}`);
        call.terminal.say(`${what} '${each}' is deleted\n`);
      }
    },
  };
  return { name, summary, commands: [{ ...set, name: 'add' }, set, remove] };
}

export const policies = groupOf('policies', 'Give queues and exchanges arguments from outside, by their names.');
export const operatorPolicies = groupOf('operator-policies', 'Limit what queues may take, whatever their users say.');

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError(`${text}: this is no JSON`, ExitCode.usage);
  }
}
