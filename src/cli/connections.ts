import { Api, apiOptions, path } from './api.ts';
import { type Command, CommandError, ExitCode, type Group } from './command.ts';

const close: Command = {
  name: 'close',
  summary: 'Close connections, by name or all of a user.',
  details: 'Names are as `rosettamq list connections` shows them. The peer is told in its protocol, with the reason.',
  arguments: ['[NAME…]'],
  options: {
    'of-user': { type: 'string', value: 'NAME', help: 'all of this user' },
    reason: { type: 'string', value: 'TEXT', help: 'what the peer is told' },
    ...apiOptions,
  },
  async run(call) {
    const user = call.text('of-user');
    const names = call.rest(0);
    if ((user === undefined) === (names.length === 0)) {
      throw new CommandError('either names or --of-user are expected', ExitCode.usage);
    }
    const api = await Api.of(call);
    const reason = call.text('reason');
    const headers: Record<string, string> = reason === undefined ? {} : { 'x-reason': reason };
    if (user !== undefined) {
      await api.delete(`connections/username/${path(user)}`, headers);
      call.terminal.say(`connections of user '${user}' are closed\n`);
    }
    for (const name of names) {
      await api.delete(`connections/${path(name)}`, headers);
      call.terminal.say(`connection '${name}' is closed\n`);
    }
  },
};

export const connections: Group = { name: 'connections', summary: 'Close connections.', commands: [close] };
