import { parseArgs } from 'node:util';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { soak } from './soak.ts';

const { values } = parseArgs({
  options: {
    /** After the warm-up. */
    seconds: { type: 'string', default: '600' },
    warmup: { type: 'string', default: '120' },
    window: { type: 'string', default: '60' },
    peak: { type: 'string', default: '10' },
    share: { type: 'string', default: '0.5' },
  },
});

/** How far memory and disk may be from where they were. */
const tolerance = 0.1;

const tell = (line: string): void => void process.stdout.write(`${line}\n`);
const broker = await BrokerProcess.start();
try {
  const { rate, lost, rounds, memoryBytes, diskBytes } = await soak(broker, {
    peakSeconds: Number(values.peak),
    share: Number(values.share),
    warmupSeconds: Number(values.warmup),
    seconds: Number(values.seconds),
    windowSeconds: Number(values.window),
    tell,
  });
  tell(`rate     ${Math.round(rate)} messages/s, ${rounds} rounds of churn`);
  tell(`lost     ${lost}`);
  tell(`memory   ${change(memoryBytes)}`);
  tell(`disk     ${change(diskBytes)}`);
  if (broker.log !== '') tell(`log\n${broker.log}`);
  if (lost > 0 || grew(memoryBytes) || grew(diskBytes)) process.exitCode = 1;
} finally {
  await broker.remove();
}

interface Change {
  readonly warm: number;
  readonly end: number;
}

function grew({ warm, end }: Change): boolean {
  return end > warm * (1 + tolerance);
}

function change({ warm, end }: Change): string {
  const [from, to] = [warm, end].map((bytes) => Math.round(bytes / 1024 / 1024));
  return `${from} MiB after the warm-up, ${to} MiB at the end (${((end / warm - 1) * 100).toFixed(1)} %)`;
}
