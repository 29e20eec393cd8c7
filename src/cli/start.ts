import type { Command, Options } from './command.ts';

/** Where the broker takes its configuration from. */
export const configOptions: Options = {
  config: { type: 'string', value: 'FILE', help: 'configuration file (config/rosettamq.yaml beside the program)' },
  'data-dir': { type: 'string', value: 'DIR', help: 'where the journal lives (dataDir)' },
  set: {
    type: 'string',
    multiple: true,
    value: 'KEY=VALUE',
    help: 'one key of the configuration, e.g. --set listeners.mqtt.port=2883; repeatable',
  },
};

export const start: Command = {
  name: 'start',
  summary: 'Run the broker in the foreground.',
  details: `The environment overrides the file, flags override both: ROSETTAMQ_DATA_DIR,
ROSETTAMQ_LISTENERS_MQTT_PORT, … SIGTERM and SIGINT end it, with 0 when everything is on disk. It ends with 78 when
the configuration is wrong, and with 1 when a port or the data directory cannot be had.`,
  options: configOptions,
  async run(call) {
    const { readConfig, run } = await import('../run.ts'); // the whole broker: only who runs it loads it
    const flags = { config: call.text('config'), dataDir: call.text('data-dir'), set: call.list('set') };
    await run(readConfig(flags));
  },
};
