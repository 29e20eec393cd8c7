import { parseArgs } from 'node:util';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { type ProtocolName, protocols, type Result, run, type Scenario, type Target } from './run.ts';

const help = `Usage: npm run perf -- [options]

Loads a broker and prints messages a second, latency, and what a message costs the broker. Without --host it starts
one of its own, on free ports with a fresh data directory, in its default configuration.

  --pub amqp|amqp10|mqtt|stomp protocol of the publishers (mqtt)
  --sub … or none              protocol of the subscribers (mqtt)
  --pubs N  --subs N           how many connections of each (1, 1). Publishers and subscribers are spread over
                               min(pubs, subs) topics: 1 and 100 is fan-out, 100 and 1 fan-in, 10 and 10 ten pairs
  --size OCTETS                body (100)
  --headers N                  headers of text; with some, MQTT is 5.0 instead of 3.1.1 (0)
  --fields                     content type, priority, ids, timestamp and type, as client libraries set them
  --qos 0|1|2                  of MQTT, on both sides (0)
  --persistent                 delivery mode 2 and durable queues; in STOMP /queue/ and persistent:true
  --confirm                    AMQP publisher confirms (1.0: unsettled), STOMP receipts; latency is still from publish to delivery
  --ack N                      AMQP and STOMP: acknowledge every N deliveries, cumulatively (0: automatic)
  --prefetch N                 with --ack: deliveries that may be unacknowledged (1000)
  --window N                   messages of one publisher that are under way (published and not delivered to all, or
                               not confirmed) at most (1000); 0: no limit but the broker's
  --rate N                     messages a second of all publishers together (0: as fast as they go)
  --seconds S  --warmup S      measured time (5) and what goes before it (1)
  --messages N                 publish so many, and measure from the first to the last of them instead
  --host H --port P            a running broker: --port amqp=5672,amqp10=5672,mqtt=1883,stomp=61613
  --pid N                      its process, if its cost is to be measured; --user, --password (guest, guest)
  --broker-arg ARG             an argument for the broker that is started; repeatable
  --cpu-prof DIR               have that broker write a CPU profile there
  --json                       print one JSON object

The broker's CPU is the user and system time of its process, all threads, from /proc. When the generator's share of
its core is 90 % or more, the row shows the generator's limit.
`;

const { values: flags } = parseArgs({
  options: {
    pub: { type: 'string', default: 'mqtt' },
    sub: { type: 'string', default: 'mqtt' },
    pubs: { type: 'string', default: '1' },
    subs: { type: 'string', default: '1' },
    size: { type: 'string', default: '100' },
    headers: { type: 'string', default: '0' },
    fields: { type: 'boolean', default: false },
    qos: { type: 'string', default: '0' },
    persistent: { type: 'boolean', default: false },
    confirm: { type: 'boolean', default: false },
    ack: { type: 'string', default: '0' },
    prefetch: { type: 'string', default: '1000' },
    window: { type: 'string', default: '1000' },
    rate: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '5' },
    warmup: { type: 'string', default: '1' },
    messages: { type: 'string', default: '0' },
    host: { type: 'string' },
    port: { type: 'string', default: 'amqp=5672,amqp10=5672,mqtt=1883,stomp=61613' },
    pid: { type: 'string' },
    user: { type: 'string', default: 'guest' },
    password: { type: 'string', default: 'guest' },
    'broker-arg': { type: 'string', multiple: true, default: [] },
    'cpu-prof': { type: 'string' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

if (flags.help) process.stdout.write(help);
else await main();

async function main(): Promise<void> {
  const scenario = readScenario();
  const profile = flags['cpu-prof'];
  const broker =
    flags.host === undefined
      ? await BrokerProcess.start({
          args: flags['broker-arg'],
          nodeArgs: profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`],
        })
      : null;
  try {
    const result = await run(scenario, broker === null ? remoteTarget() : localTarget(broker));
    process.stdout.write(flags.json ? `${JSON.stringify({ scenario, result })}\n` : show(result));
    if (result.lost > 0) process.exitCode = 1;
  } finally {
    await broker?.remove();
  }
}

function readScenario(): Scenario {
  return {
    pub: oneOf('pub', protocols),
    sub: oneOf('sub', [...protocols, 'none'] as const),
    pubs: number('pubs'),
    subs: number('subs'),
    bodyBytes: number('size'),
    headers: number('headers'),
    fields: flags.fields,
    qos: Number(oneOf('qos', ['0', '1', '2'] as const)) as 0 | 1 | 2,
    persistent: flags.persistent,
    confirm: flags.confirm,
    ackEvery: number('ack'),
    prefetch: number('prefetch'),
    window: number('window'),
    rate: number('rate'),
    seconds: number('seconds'),
    warmupSeconds: number('warmup'),
    messages: number('messages'),
  };
}

function localTarget(broker: BrokerProcess): Target {
  const ports = {
    amqp: broker.port('amqp'),
    amqp10: broker.port('amqp'),
    mqtt: broker.port('mqtt'),
    stomp: broker.port('stomp'),
  };
  return { host: '127.0.0.1', ports, pid: broker.pid, user: 'guest', password: 'guest' };
}

function remoteTarget(): Target {
  const ports: Record<ProtocolName, number> = { amqp: 0, amqp10: 0, mqtt: 0, stomp: 0 };
  for (const each of flags.port.split(',')) {
    const [protocol, port] = each.split('=') as [ProtocolName, string];
    if (!(protocol in ports)) fail(`--port ${each}: PROTOCOL=PORT is expected`);
    ports[protocol] = Number(port);
  }
  const pid = flags.pid === undefined ? null : number('pid');
  return { host: flags.host!, ports, pid, user: flags.user, password: flags.password };
}

function oneOf<T extends string>(flag: 'pub' | 'sub' | 'qos', allowed: readonly T[]): T {
  const value = flags[flag] as T;
  return allowed.includes(value) ? value : fail(`--${flag} ${value}: one of ${allowed.join(', ')} is expected`);
}

type NumberFlag =
  | 'pubs'
  | 'subs'
  | 'size'
  | 'headers'
  | 'ack'
  | 'prefetch'
  | 'window'
  | 'rate'
  | 'seconds'
  | 'warmup'
  | 'messages'
  | 'pid';

function number(flag: NumberFlag): number {
  const value = Number(flags[flag]);
  return value >= 0 ? value : fail(`--${flag} ${flags[flag]}: a number is expected`);
}

function show(result: Result): string {
  const { latencyMicros: latency, rssBytes: rss } = result;
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
  const ms = (micros: number) => `${(micros / 1000).toFixed(2)} ms`;
  const limit = result.generatorCpu >= 0.9 ? '  (the generator’s limit)' : '';
  return [
    `messages       ${result.messages} in ${result.seconds.toFixed(2)} s, published ${result.published}, lost ${result.lost}`,
    `rate           ${Math.round(result.messagesPerSecond)} messages/s`,
    `latency        p50 ${ms(latency.p50)}  p99 ${ms(latency.p99)}  p99.9 ${ms(latency.p999)}`,
    `broker CPU     ${result.brokerCpuMicrosPerMessage.toFixed(3)} µs a message, ${percent(result.brokerCpu)} of a core`,
    `generator CPU  ${percent(result.generatorCpu)} of a core${limit}`,
    `broker memory  before ${mib(rss.before)}  peak ${mib(rss.peak)}  after ${mib(rss.after)}`,
    '',
  ].join('\n');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}

function fail(text: string): never {
  process.stderr.write(`perf: ${text}\n`);
  process.exit(64);
}
