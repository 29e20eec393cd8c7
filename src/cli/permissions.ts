import { Api, apiOptions, path, vhostOf, vhostOption } from './api.ts';
import type { Command, Group } from './command.ts';

const details = `Patterns are regular expressions for names of exchanges and queues: '^orders' begins so, '' is none, '.*' any.`;

const set: Command = {
  name: 'set',
  summary: 'Say what a user may do in a virtual host.',
  details: `${details} Left out: '.*'.`,
  arguments: ['USER', '[CONFIGURE]', '[WRITE]', '[READ]'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const vhost = vhostOf(call);
    const [configure = '.*', write = '.*', read = '.*'] = call.rest(1);
    await api.put(`permissions/${path(vhost, call.get(0))}`, { configure, write, read });
    call.terminal.say(
      `user '${call.get(0)}' may configure '${configure}', write '${write}', read '${read}' in '${vhost}'\n`,
    );
  },
};

const remove: Command = {
  name: 'delete',
  summary: 'Close a virtual host to users.',
  arguments: ['USER…'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const vhost = vhostOf(call);
    for (const user of call.rest(0)) {
      await api.delete(`permissions/${path(vhost, user)}`);
      call.terminal.say(`user '${user}' may do nothing in '${vhost}'\n`);
    }
  },
};

export const permissions: Group = {
  name: 'permissions',
  summary: 'Say what users may do in virtual hosts.',
  commands: [{ ...set, name: 'add' }, set, remove],
};

const setTopic: Command = {
  name: 'set',
  summary: 'Say which routing keys of a topic exchange a user may write and read.',
  details: `Patterns are regular expressions for routing keys; {username}, {vhost} and {client_id} stand for themselves. Without
any for an exchange, the permission on the exchange is enough.`,
  arguments: ['USER', 'EXCHANGE', 'WRITE', 'READ'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const [user, exchange, write, read] = [0, 1, 2, 3].map((index) => call.get(index));
    await api.put(`topic-permissions/${path(vhostOf(call), user!)}`, { exchange, write, read });
    call.terminal.say(`user '${user}' may write '${write}', read '${read}' in exchange '${exchange}'\n`);
  },
};

const removeTopic: Command = {
  name: 'delete',
  summary: "Drop a user's topic permissions, of one exchange or all.",
  arguments: ['USER', '[EXCHANGE]'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    await api.delete(`topic-permissions/${path(vhostOf(call), ...call.rest(0))}`);
    call.terminal.say(`topic permissions of user '${call.get(0)}' are dropped\n`);
  },
};

export const topicPermissions: Group = {
  name: 'topic-permissions',
  summary: 'Say which routing keys users may write and read.',
  commands: [{ ...setTopic, name: 'add' }, setTopic, removeTopic],
};
