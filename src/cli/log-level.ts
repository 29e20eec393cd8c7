import { Api, apiOptions } from './api.ts';
import type { Command } from './command.ts';

export const logLevel: Command = {
  name: 'log-level',
  summary: 'Show or set how much the broker logs.',
  details: 'LEVEL is debug, info, warn, error or silent. It holds until the broker starts again.',
  arguments: ['[LEVEL]'],
  options: apiOptions,
  async run(call) {
    const api = await Api.of(call);
    const level = call.find(0);
    if (level !== undefined) await api.put('log-level', { level });
    const now = (await api.get('log-level')) as { level: string };
    call.terminal.say(`${now.level}\n`);
  },
};
