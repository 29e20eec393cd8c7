import { parseArgs } from 'node:util';
import { version } from './config/version.ts';
import { readConfig, run } from './run.ts';

const usageExitCode = 64;

const help = `Usage: npm start -- [options]        (or: node src/main.ts [options], rosettamq start [options])

  --config FILE       configuration file (default: config/rosettamq.yaml beside the program)
  --data-dir DIR      where the journal lives (dataDir)
  --set KEY=VALUE     one key of the configuration, e.g. --set listeners.mqtt.port=2883; repeatable
  --check             check the configuration and exit
  --version           print the version and exit
  --help              print this and exit

The environment overrides the file, flags override both: ROSETTAMQ_DATA_DIR, ROSETTAMQ_LISTENERS_MQTT_PORT, …
`;

const flags = readFlags();
if (flags.help) say(help);
else if (flags.version) say(`rosettamq ${version}\n`);
else {
  const config = readConfig({ config: flags.config, dataDir: flags['data-dir'], set: flags.set ?? [] });
  if (flags.check) say('the configuration is valid\n');
  else await run(config);
}

interface Flags {
  readonly config?: string | undefined;
  readonly 'data-dir'?: string | undefined;
  readonly set?: string[] | undefined;
  readonly check?: boolean | undefined;
  readonly version?: boolean | undefined;
  readonly help?: boolean | undefined;
}

function readFlags(): Flags {
  try {
    return parseArgs({
      options: {
        config: { type: 'string' },
        'data-dir': { type: 'string' },
        set: { type: 'string', multiple: true },
        check: { type: 'boolean' },
        version: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`rosettamq: ${(error as Error).message.split('\n')[0]} (--help lists the options)\n`);
    process.exit(usageExitCode);
  }
}

function say(text: string): void {
  process.stdout.write(text);
}
