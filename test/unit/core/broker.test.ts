import { beforeEach, describe, expect, test } from 'vitest';
import type { Broker } from '../../../src/core/broker.ts';
import type { Recovered } from '../../../src/core/journal.ts';
import { noMetadata } from '../../../src/core/vhost.ts';
import { Core, createClient } from '../../support/core.ts';

let broker: Broker;

beforeEach(() => {
  broker = new Core().broker;
});

/** A journal that remembers the seeds of these names. */
const seeded = (...names: string[]): Recovered => ({
  lastSequence: 0,
  lastQueueId: 0,
  queues: () => [],
  forget() {},
  entries: (kind) => (kind === 'vhost-seed' ? names.map((name): [string, Buffer] => [name, Buffer.alloc(0)]) : []),
});

describe('virtual hosts', () => {
  test('of the configuration are made once in the life of a data directory', () => {
    broker.seedVhosts(['a', 'b'], seeded('b'));
    expect([...broker.vhosts.keys()]).toEqual(['/', 'a']);
  });

  test('that are there already keep their metadata unless other is given', () => {
    const metadata = { ...noMetadata, description: 'first' };
    broker.createVhost('v', metadata);
    expect(broker.createVhost('v').metadata.description).toBe('first');
    expect(broker.createVhost('v', { ...metadata, description: 'second' }).metadata.description).toBe('second');
  });

  test('keep the mapping of topics that they were made with', () => {
    expect(broker.createVhost('mapped', undefined, 'rabbitmq').topicMapping).toBe('rabbitmq');
    expect(broker.createVhost('mapped', noMetadata, 'exact').topicMapping).toBe('rabbitmq');
    expect(broker.createVhost('other').topicMapping).toBe('exact');
  });

  test('that are deleted close their clients, and others are told', () => {
    const vhost = broker.createVhost('v');
    const closed: string[] = [];
    broker.addClient({ ...createClient(vhost), close: (_why, text) => closed.push(text) });
    const told: string[] = [];
    broker.onVhostDeleted.push(({ name }) => told.push(name));
    expect([broker.deleteVhost('v'), broker.deleteVhost('v')]).toEqual([true, false]);
    expect(closed).toEqual(["vhost 'v' is deleted"]);
    expect(told).toEqual(['v']);
  });

  test.each(['', 'a\0b'])('the name %j is none', (name) => {
    expect(() => broker.createVhost(name)).toThrow(/is no name of a vhost/);
  });
});

describe('limits', () => {
  test('of a virtual host hold for its connections and queues', () => {
    const vhost = broker.createVhost('small');
    vhost.limits = { connections: 1, queues: 0 };
    const client = createClient(vhost);
    broker.demandRoom('guest', vhost);
    broker.addClient(client);
    expect(() => broker.demandRoom('guest', vhost)).toThrow(/connection limit \(1\) is reached/);
    const spec = { name: 'q', durable: false, autoDelete: false, exclusiveTo: null, arguments: new Map() };
    expect(() => vhost.declareQueue(client, spec)).toThrow(/queue limit in vhost 'small' \(0\) is reached/);
  });

  test('of a user hold for connections and channels, and for nobody else', () => {
    const vhost = broker.createVhost('v');
    broker.connectionLimitOf = (user) => (user === 'guest' ? 1 : Number.POSITIVE_INFINITY);
    broker.channelLimitOf = broker.connectionLimitOf;
    const [channel] = [{ number: 1 }] as ReturnType<ReturnType<typeof createClient>['describeChannels']>;
    broker.demandChannel('guest');
    broker.addClient({ ...createClient(vhost), describeChannels: () => [channel!] });
    expect(() => broker.demandRoom('guest', vhost)).toThrow(/user connection limit \(1\) is reached/);
    expect(() => broker.demandChannel('guest')).toThrow(/maximum allowed user limit of \(1\)/);
    broker.demandRoom('other', vhost);
    broker.demandChannel('other');
  });
});
