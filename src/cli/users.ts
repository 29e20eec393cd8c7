import { Api, apiOptions, path } from './api.ts';
import { type Call, type Command, CommandError, ExitCode, type Group, type Options } from './command.ts';

const passwordDetails = `The password is asked for, or is the first line of standard input when that is no terminal (the second with
--password-stdin, which takes the first for the login). As an argument it is seen by others in the list of processes.`;

const userOptions: Options = {
  tags: { type: 'string', value: 'A,B', help: 'of administrator, monitoring, policymaker, management' },
  'password-hash': { type: 'string', value: 'HASH', help: 'instead of a password: its hash, as RabbitMQ has it' },
  'hashing-algorithm': {
    type: 'string',
    value: 'NAME',
    help: 'of the hash, or for the password: scrypt (ours), rabbit_password_hashing_sha256, …_sha512, …_md5',
  },
  'no-password': { type: 'boolean', help: 'nobody logs in with a password' },
};

interface UserJson {
  readonly tags: readonly string[];
  readonly password_hash: string;
  readonly hashing_algorithm: string;
}

const add: Command = {
  name: 'add',
  summary: 'Add a user.',
  details: passwordDetails,
  arguments: ['NAME', '[PASSWORD]'],
  options: { ...userOptions, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const name = call.get(0);
    if (await find(api, name)) throw new CommandError(`user '${name}' is there already`);
    const secret = readSecret(call) ?? { password: await askPassword(call) };
    await api.put(`users/${path(name)}`, { tags: call.text('tags') ?? '', ...secret });
    call.terminal.say(`user '${name}' is added; it needs permissions: rosettamq permissions set ${name}\n`);
  },
};

const set: Command = {
  name: 'set',
  summary: "Change a user's password, tags or both.",
  details: `${passwordDetails} With --tags alone the password stays.`,
  arguments: ['NAME', '[PASSWORD]'],
  options: { ...userOptions, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    const name = call.get(0);
    const current = await find(api, name);
    if (current === undefined) throw new CommandError(`there is no user '${name}'`);
    const { password_hash, hashing_algorithm, tags } = current;
    const given = readSecret(call);
    const keeps = given === undefined && call.text('tags') !== undefined;
    const secret = keeps ? { password_hash, hashing_algorithm } : (given ?? { password: await askPassword(call) });
    await api.put(`users/${path(name)}`, { tags: call.text('tags') ?? tags, ...secret });
    call.terminal.say(`user '${name}' is changed\n`);
  },
};

const remove: Command = {
  name: 'delete',
  summary: 'Delete users, and close their connections.',
  arguments: ['NAME…'],
  options: apiOptions,
  async run(call) {
    const api = await Api.of(call);
    for (const name of call.rest(0)) {
      await api.delete(`users/${path(name)}`);
      call.terminal.say(`user '${name}' is deleted\n`);
    }
  },
};

export const users: Group = { name: 'users', summary: 'Add, change and delete users.', commands: [add, set, remove] };

async function find(api: Api, name: string): Promise<UserJson | undefined> {
  const all = (await api.get('users')) as (UserJson & { name: string })[];
  return all.find((user) => user.name === name);
}

type Secret =
  | { readonly password: string; readonly hashing_algorithm?: string }
  | { readonly password_hash: string; readonly hashing_algorithm?: string };

// What the options and arguments say of the password; undefined: nothing.
function readSecret(call: Call): Secret | undefined {
  const hash = call.text('password-hash');
  const algorithm = call.text('hashing-algorithm');
  const ways = [call.find(1), hash, call.flag('no-password') || undefined].filter((each) => each !== undefined);
  if (ways.length > 1) throw new CommandError('one password, hash or --no-password is enough', ExitCode.usage);
  const named = algorithm === undefined ? {} : { hashing_algorithm: algorithm };
  if (call.flag('no-password')) return { password_hash: '' };
  if (hash !== undefined) return { password_hash: hash, ...named };
  const password = call.find(1);
  return password === undefined ? undefined : { password, ...named };
}

async function askPassword({ terminal }: Call): Promise<string> {
  if (!terminal.interactive) {
    const line = await terminal.readLine();
    if (line === undefined || line === '') throw new CommandError('a password is missing', ExitCode.usage);
    return line;
  }
  const password = await terminal.askSecret('New password: ');
  if (password === '') throw new CommandError('a password is missing', ExitCode.usage);
  if ((await terminal.askSecret('Once more: ')) !== password) {
    throw new CommandError('the two are not the same', ExitCode.usage);
  }
  return password;
}
