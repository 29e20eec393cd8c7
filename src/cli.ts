import { check } from './cli/check.ts';
import { type Command, type Group, runWords } from './cli/command.ts';
import { connections } from './cli/connections.ts';
import { definitions } from './cli/definitions.ts';
import { explain } from './cli/explain.ts';
import { backup, journal } from './cli/journal.ts';
import { list } from './cli/list.ts';
import { logLevel } from './cli/log-level.ts';
import { permissions, topicPermissions } from './cli/permissions.ts';
import { operatorPolicies, policies } from './cli/policies.ts';
import { queues } from './cli/queues.ts';
import { scheduled } from './cli/scheduled.ts';
import { start } from './cli/start.ts';
import { status } from './cli/status.ts';
import { ProcessTerminal } from './cli/terminal.ts';
import { users } from './cli/users.ts';
import { vhosts } from './cli/vhosts.ts';
import { version } from './config/version.ts';

/** Every command has a file of its own under `cli/`, and a line here. */
const commands: readonly (Command | Group)[] = [
  start,
  check,
  status,
  list,
  users,
  vhosts,
  permissions,
  topicPermissions,
  policies,
  operatorPolicies,
  queues,
  scheduled,
  explain,
  connections,
  definitions,
  logLevel,
  journal,
  backup,
];

const words = process.argv.slice(2);
const terminal = new ProcessTerminal(process);
if (words[0] === '--version') terminal.say(`rosettamq ${version}\n`);
else process.exitCode = await runWords(commands, words, terminal, process.env);
