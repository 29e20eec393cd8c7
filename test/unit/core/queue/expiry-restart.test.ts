import { expect, test } from 'vitest';
import { int } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

const segmentBytes = 64 * 1024;

/** Killed, and started again when the clock has gone `sinceMs` from where tests begin. */
async function restart(core: JournaledBroker, disk: SimulatedDisk, sinceMs: number) {
  await core.durable();
  const left = SimulatedDisk.holding(disk.contents());
  return { disk: left, core: await JournaledBroker.openCold(left, { segmentBytes, sinceMs }) };
}

async function settled(core: JournaledBroker): Promise<number> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  return core.vhost.queues.get('q')!.counts.ready;
}

test('x-message-ttl counts from when a message came, over any number of kills', async () => {
  let disk = new SimulatedDisk();
  let core = await JournaledBroker.openCold(disk, { segmentBytes });
  core.declare('q', { 'x-message-ttl': int(1000) });
  core.publish('q', 'm');
  for (const sinceMs of [300, 600, 900]) {
    ({ core, disk } = await restart(core, disk, sinceMs));
    expect(await settled(core)).toBe(1);
  }
  core.clock.advance(99);
  expect(await settled(core)).toBe(1);
  core.clock.advance(1);
  expect(await settled(core)).toBe(0);
});

test('what expired while the broker was down is not delivered, and goes where dead letters go', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes });
  core.declare('q', { 'x-message-ttl': int(1000), 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' });
  core.declare('dead');
  core.publish('q', 'm');
  const { core: after } = await restart(core, disk, 5000);
  expect(await settled(after)).toBe(0);
  expect((await after.vhost.queues.get('dead')!.get())?.message.body.toString()).toBe('m');
});

test('a policy that came after the messages holds for them after a kill too', async () => {
  const disk = new SimulatedDisk();
  const core = await JournaledBroker.openCold(disk, { segmentBytes });
  core.declare('q');
  core.publish('q', 'm');
  await core.durable();
  const definition = { 'message-ttl': 1000 };
  core.vhost.policies.set({ name: 'p', pattern: '', applyTo: 'queues', priority: 0, definition });
  const { core: after } = await restart(core, disk, 500);
  expect(await settled(after)).toBe(1);
  after.clock.advance(1000);
  expect(await settled(after)).toBe(0);
});
