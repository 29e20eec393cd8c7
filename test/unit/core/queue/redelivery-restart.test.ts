import { expect, test } from 'vitest';
import { createMessage } from '../../../support/core.ts';
import { JournaledBroker } from '../../../support/journaled.ts';
import { SimulatedDisk } from '../../../support/simulated-disk.ts';

function declare(core: JournaledBroker, args: Record<string, string | boolean>): void {
  core.vhost.declareQueue(core.client, {
    name: 'q',
    durable: true,
    autoDelete: false,
    exclusiveTo: null,
    arguments: new Map(Object.entries(args)),
  });
}

async function restart(core: JournaledBroker, disk: SimulatedDisk): Promise<[JournaledBroker, SimulatedDisk]> {
  await core.durable();
  const left = SimulatedDisk.holding(disk.contents());
  return [await JournaledBroker.open(left), left];
}

test('how often a message came back is known after a restart', async () => {
  let disk = new SimulatedDisk();
  let core = await JournaledBroker.open(disk);
  declare(core, { 'x-queue-type': 'quorum' });
  core.publish('q', 'm');
  for (let life = 0; life < 7; life++) {
    for (let i = 0; i < 3; i++) (await core.get('q'))!.requeue();
    [core, disk] = await restart(core, disk);
  }
  expect(core.vhost.queues.get('q')!.counts.ready).toBe(0);
});

test('an id that was seen is known after a restart', async () => {
  let disk = new SimulatedDisk();
  let core = await JournaledBroker.open(disk);
  declare(core, { 'x-deduplication': true });
  const publish = (body: string): void => {
    const message = createMessage(body, { durable: true, key: 'q', properties: { messageId: 'a' } });
    core.vhost.publish(core.vhost.routeFor('', 'q'), message, null, 0);
  };
  publish('first');
  [core, disk] = await restart(core, disk);
  publish('again');
  expect(core.vhost.queues.get('q')!.counts.ready).toBe(1);
});
