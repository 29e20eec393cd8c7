import { Core, createMessage } from '../../test/support/core.ts';

/**
 * What features with a time cost while a million messages wait: nanoseconds of CPU for each, and octets of memory for
 * each that waits, its message with them. `npm run bench:timed`
 */
const resting = 1_000_000;
const measured = 200_000;

function memory(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function nanoseconds(count: number, run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return ((user + system) * 1000) / count;
}

function report(name: string, ns: number): void {
  process.stdout.write(`${name.padEnd(44)} ${ns.toFixed(0).padStart(7)} ns\n`);
}

function delayed(): void {
  const core = new Core();
  core.declare('q');
  const route = core.vhost.routeFor('', 'q');
  const hold = (dueMs: number): void => {
    const message = createMessage('0123456789', { key: 'q', durable: true });
    message.timing = { dueMs, repeat: null };
    core.vhost.publish(route, message, null, 0);
  };
  const { nowMs } = core.clock;
  const before = memory();
  for (let i = 0; i < resting; i++) hold(nowMs + 3_600_000 + ((i * 7919) % 3_600_000));
  const bytes = (memory() - before) / resting;
  for (let i = 0; i < measured; i++) hold(nowMs + 1000 + ((i * 7919) % 1000));
  report(
    'delayed: a release',
    nanoseconds(measured, () => core.clock.advance(2000)),
  );
  report(
    'a publish, for comparison',
    nanoseconds(measured, () => {
      for (let i = 0; i < measured; i++) {
        core.vhost.publish(route, createMessage('0123456789', { key: 'q', durable: true }), null, 0);
      }
    }),
  );
  report(
    'delayed: a hold',
    nanoseconds(measured, () => {
      for (let i = 0; i < measured; i++) hold(nowMs + 10_000_000 + ((i * 7919) % 1000));
    }),
  );
  process.stdout.write(`${'delayed: memory of each that waits'.padEnd(44)} ${bytes.toFixed(0).padStart(7)} octets\n`);
}

delayed();
