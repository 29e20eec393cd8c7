import type { Command } from './command.ts';
import { configOptions } from './start.ts';

export const check: Command = {
  name: 'check',
  summary: 'Check the configuration and exit.',
  details: 'It ends with 0, or with 78 and one line that names key and value.',
  options: configOptions,
  async run(call) {
    const { readConfig } = await import('../run.ts');
    readConfig({ config: call.text('config'), dataDir: call.text('data-dir'), set: call.list('set') });
    call.terminal.say('the configuration is valid\n');
  },
};
