import { Broker } from '../../src/core/broker.ts';
import type { PagingLimits } from '../../src/core/queue/pager.ts';
import { SystemClock } from '../../src/lib/clock.ts';
import { silent } from '../../src/lib/log.ts';
import { Timers } from '../../src/lib/timers.ts';
import { openDisk } from '../../src/storage/disk.ts';
import { SegmentJournal } from '../../src/storage/journal.ts';
import { createClient, createMessage, openDoor } from '../../test/support/core.ts';

export interface House {
  readonly broker: Broker;
  readonly journal: SegmentJournal;
}

/** Messages between two turns of the loop. */
export const turnMessages = 1000;
const backlogBytesMax = 16 * 1024 * 1024;

/** A broker without protocols on a directory. */
export async function openHouse(directory: string, limits: PagingLimits): Promise<House> {
  const clock = new SystemClock();
  const timers = new Timers(clock);
  const { journal, recovered } = await SegmentJournal.open(await openDisk(directory), {
    segmentBytes: 64 * 1024 * 1024,
    log: silent,
    clock,
    timers,
  });
  const broker = new Broker({
    journal,
    clock,
    timers,
    log: silent,
    createToken: () => 'token',
    authenticator: openDoor,
    paging: { store: journal.cold, limits },
  });
  broker.addVhost('/');
  broker.restore(recovered);
  return { broker, journal };
}

export function declare({ broker }: House, name: string): void {
  const vhost = broker.getVhost('/');
  const spec = { name, durable: true, autoDelete: false, exclusiveTo: null, arguments: new Map() };
  vhost.declareQueue(createClient(vhost), spec);
}

/** Publishes to the queue as fast as the disk takes it; resolves when it is durable. */
export async function fill(house: House, name: string, count: number, body: string, durable: boolean): Promise<void> {
  const { broker, journal } = house;
  const vhost = broker.getVhost('/');
  for (let sent = 0; sent < count; sent += turnMessages) {
    const route = vhost.routeFor('', name);
    for (let i = 0; i < turnMessages; i++) {
      vhost.publish(route, createMessage(body, { durable, key: name }), null, 0);
    }
    await turn();
    await caughtUp(journal);
  }
  await written(journal);
}

/** Resolves when everything so far is. */
export function written(journal: SegmentJournal): Promise<void> {
  return new Promise((resolve) => journal.whenDurable(journal.position, resolve));
}

/** Resolves when the journal is no longer far behind. */
export async function caughtUp(journal: SegmentJournal): Promise<void> {
  while (journal.backlogBytes > backlogBytesMax) await turn();
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
