import { Api, apiOptions, path } from './api.ts';
import { type Call, type Command, CommandError, type Group, type Options } from './command.ts';

const vhostOptions: Options = {
  description: { type: 'string', value: 'TEXT', help: 'what it is for' },
  tags: { type: 'string', value: 'A,B', help: 'of your choice' },
};

const add: Command = {
  name: 'add',
  summary: 'Add a virtual host; who adds it may use it.',
  arguments: ['NAME'],
  options: { ...vhostOptions, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const name = call.get(0);
    if (await isThere(api, name)) throw new CommandError(`vhost '${name}' is there already`);
    await api.put(`vhosts/${path(name)}`, metadataOf(call));
    call.terminal.say(`vhost '${name}' is added\n`);
  },
};

const set: Command = {
  name: 'set',
  summary: 'Change what is noted of a virtual host.',
  arguments: ['NAME'],
  options: {
    ...vhostOptions,
    protect: { type: 'boolean', help: 'it cannot be deleted' },
    'no-protect': { type: 'boolean', help: 'it can again' },
    ...apiOptions,
  },
  async run(call) {
    const api = await Api.of(call);
    const name = call.get(0);
    if (!(await isThere(api, name))) throw new CommandError(`there is no vhost '${name}'`);
    const isProtected = call.flag('protect') ? true : call.flag('no-protect') ? false : undefined;
    await api.put(`vhosts/${path(name)}`, {
      ...metadataOf(call),
      ...(isProtected === undefined ? {} : { protected_from_deletion: isProtected }),
    });
    call.terminal.say(`vhost '${name}' is changed\n`);
  },
};

const remove: Command = {
  name: 'delete',
  summary: 'Delete virtual hosts with all that is in them, messages too.',
  arguments: ['NAME…'],
  options: apiOptions,
  async run(call) {
    const api = await Api.of(call);
    for (const name of call.rest(0)) {
      await api.delete(`vhosts/${path(name)}`);
      call.terminal.say(`vhost '${name}' is deleted\n`);
    }
  },
};

export const vhosts: Group = {
  name: 'vhosts',
  summary: 'Add, change and delete virtual hosts.',
  commands: [add, set, remove],
};

async function isThere(api: Api, name: string): Promise<boolean> {
  return ((await api.get('vhosts')) as { name: string }[]).some((vhost) => vhost.name === name);
}

function metadataOf(call: Call): object {
  const [description, tags] = [call.text('description'), call.text('tags')];
  return { ...(description === undefined ? {} : { description }), ...(tags === undefined ? {} : { tags }) };
}
