import type { IClientOptions, IPublishPacket } from 'mqtt';
import { afterEach, describe, expect, test } from 'vitest';
import type { MortalBroker } from '../support/mortal-broker.ts';
import { MqttJsClient } from '../support/mqttjs-client.ts';

type Qos = 0 | 1 | 2;
type Version = 3 | 4 | 5;

const versions: readonly Version[] = [3, 4, 5];
const bodyBytesMax = 16 * 1024 * 1024;
const signals = ['SIGTERM', 'SIGKILL'] as const;

const spoken = (version: Version): IClientOptions =>
  version === 3 ? { protocolId: 'MQIsdp', protocolVersion: 3 } : { protocolVersion: version };

/** That the session outlives its connection, in the words of the version. */
const lasting = (version: Version): IClientOptions => ({
  ...spoken(version),
  clean: false,
  ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
});

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

/** mqtt.js, the usual client for Node. */
export function mqttjsSuite(broker: () => MortalBroker): void {
  const clients: MqttJsClient[] = [];
  let unique = 0;

  const dial = (options: IClientOptions = {}): MqttJsClient => {
    const client = new MqttJsClient(broker().port, options);
    clients.push(client);
    return client;
  };
  const connect = (options: IClientOptions = {}): Promise<MqttJsClient> => dial(options).open();
  /** A client id, and a topic, that no other test has. */
  const name = (): string => {
    unique += 1;
    return `js-${unique}`;
  };

  afterEach(async () => {
    await Promise.all(clients.splice(0).map((client) => client.mqtt.endAsync(true)));
  });

  /** It has got nothing more, up to what is sent now. */
  async function expectSilence(client: MqttJsClient): Promise<void> {
    const fence = name();
    await client.mqtt.subscribeAsync(fence);
    await client.mqtt.publishAsync(fence, 'fence');
    expect((await client.next()).topic).toBe(fence);
  }

  /** Resolves when the broker's clock has gone on by this: it sends a will then. */
  async function pass(seconds: number): Promise<void> {
    const topic = name();
    const watcher = await connect();
    await watcher.mqtt.subscribeAsync(topic);
    const dying = await connect({
      ...lasting(5),
      clientId: name(),
      will: { topic, payload: Buffer.from('time'), qos: 0, retain: false, properties: { willDelayInterval: seconds } },
    });
    await dying.cut();
    await watcher.next();
  }

  describe('quality of service', () => {
    test.each(versions)('version %i: each QoS to each, at the lower of the two', async (version) => {
      const topic = name();
      const publisher = await connect(spoken(version));
      for (const granted of [0, 1, 2] as const) {
        const subscriber = await connect(spoken(version));
        const [grant] = await subscriber.mqtt.subscribeAsync(`${topic}/${granted}`, { qos: granted });
        expect(grant?.qos).toBe(granted);
        for (const qos of [0, 1, 2] as const) {
          await publisher.mqtt.publishAsync(`${topic}/${granted}`, `at ${qos}`, { qos });
          const got = await subscriber.next();
          expect([String(got.payload), got.qos, got.dup, got.retain]).toEqual([
            `at ${qos}`,
            Math.min(qos, granted),
            false,
            false,
          ]);
        }
      }
    });

    test.each([0, 1, 2] as const)(
      'QoS %i: five hundred without waiting come in their order, once each',
      async (qos) => {
        const topic = name();
        const [publisher, subscriber] = [await connect(), await connect()];
        await subscriber.mqtt.subscribeAsync(topic, { qos });
        const sent = numbers(500).map((body) => publisher.mqtt.publishAsync(topic, body, { qos }));
        expect(await subscriber.bodies(500)).toEqual(numbers(500));
        await Promise.all(sent);
        await expectSilence(subscriber);
      },
    );
  });

  describe('sessions', () => {
    test.each(versions)(
      'version %i: what is published while it is away waits for it, QoS 0 does not',
      async (version) => {
        const [clientId, topic] = [name(), name()];
        const first = await connect({ ...lasting(version), clientId });
        expect(first.connack?.sessionPresent).toBe(false);
        await first.mqtt.subscribeAsync(topic, { qos: 2 });
        await first.mqtt.endAsync();
        const publisher = await connect();
        for (const qos of [0, 1, 2] as const) await publisher.mqtt.publishAsync(topic, `at ${qos}`, { qos });
        const second = await connect({ ...lasting(version), clientId });
        expect(second.connack?.sessionPresent).toBe(version !== 3); // 3.1 has no word for it
        expect(await second.bodies(2)).toEqual(['at 1', 'at 2']);
        await expectSilence(second);
        await second.mqtt.endAsync();
        const clean = await connect({ ...spoken(version), clientId, clean: true });
        expect(clean.connack?.sessionPresent).toBe(false);
        await publisher.mqtt.publishAsync(topic, 'nobody listens', { qos: 1 });
        await expectSilence(clean);
      },
    );

    test.each(signals)('%s: subscriptions and what waits are there after a restart', async (signal) => {
      const [clientId, topic] = [name(), name()];
      const first = await connect({ ...lasting(4), clientId });
      await first.mqtt.subscribeAsync(`${topic}/+`, { qos: 2 });
      await first.mqtt.endAsync();
      const publisher = await connect();
      await Promise.all(
        numbers(100).map((body, i) => publisher.mqtt.publishAsync(`${topic}/a`, body, { qos: i % 2 === 0 ? 1 : 2 })),
      );
      await broker().restart(signal);
      const second = await connect({ ...lasting(4), clientId });
      expect(second.connack?.sessionPresent).toBe(true);
      const bodies = await second.bodies(100);
      for (const half of [0, 1]) {
        // of a QoS each
        const ofHalf = (body: string) => Number(body) % 2 === half;
        expect(bodies.filter(ofHalf)).toEqual(numbers(100).filter(ofHalf));
      }
      await (await connect()).mqtt.publishAsync(`${topic}/b`, 'the subscription stands', { qos: 1 });
      expect(await second.bodies(1)).toEqual(['the subscription stands']);
    });

    test.each(signals)(
      '%s: what was not acknowledged comes again, as a duplicate, with its packet id',
      async (signal) => {
        const [clientId, topic] = [name(), name()];
        const first = dial({ ...lasting(5), clientId });
        first.mqtt.handleMessage = () => {}; // which would acknowledge it
        await first.open();
        await first.mqtt.subscribeAsync(topic, { qos: 1 });
        await (await connect()).mqtt.publishAsync(topic, 'held', { qos: 1 });
        const held = await first.next();
        expect(held.dup).toBe(false);
        await broker().restart(signal);
        const second = await connect({ ...lasting(5), clientId });
        expect(await second.next()).toMatchObject({ topic, dup: true, qos: 1, messageId: held.messageId });
        await expectSilence(second);
      },
    );

    test.each(signals)(
      '%s in the midst of QoS 2: clients that reconnect by themselves see each message once',
      async (signal) => {
        const topic = name();
        const persistent = { ...lasting(4), reconnectPeriod: 20 };
        const subscriber = await connect({ ...persistent, clientId: name() });
        await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
        const publisher = await connect({ ...persistent, clientId: name() });
        const sent = numbers(300).map((body) => publisher.mqtt.publishAsync(topic, body, { qos: 2 }));
        const before = await subscriber.bodies(50);
        await broker().restart(signal);
        const after = await subscriber.bodies(250);
        await Promise.all(sent);
        expect([...before, ...after].sort()).toEqual(numbers(300).sort());
        await expectSilence(subscriber);
      },
    );

    test('a client id that comes again takes the session over, and the first is told', async () => {
      const clientId = name();
      const first = await connect({ ...lasting(5), clientId });
      const told = first.disconnect();
      const second = await connect({ ...lasting(5), clientId });
      expect(second.connack?.sessionPresent).toBe(true);
      expect(await told).toMatchObject({ reasonCode: 0x8e });
    });

    test('sessions, messages and retained messages are gone when their time is over', async () => {
      const [clientId, shortId, topic] = [name(), name(), name()];
      const [lasts, ends] = [
        await connect({ ...lasting(5), clientId }),
        await connect({ ...lasting(5), clientId: shortId, properties: { sessionExpiryInterval: 1 } }),
      ];
      await lasts.mqtt.subscribeAsync(topic, { qos: 1 });
      await Promise.all([lasts.mqtt.endAsync(), ends.mqtt.endAsync()]);
      const publisher = await connect(spoken(5));
      const properties = { messageExpiryInterval: 1 };
      await publisher.mqtt.publishAsync(topic, 'short', { qos: 1, retain: true, properties });
      await publisher.mqtt.publishAsync(topic, 'long', { qos: 1, properties: { messageExpiryInterval: 3600 } });
      await pass(2);
      const again = await connect({ ...lasting(5), clientId });
      const long = await again.next();
      expect(String(long.payload)).toBe('long');
      expect(long.properties?.messageExpiryInterval).toBeLessThan(3600);
      await again.mqtt.subscribeAsync(topic, { qos: 1 }); // nothing retained is left
      await expectSilence(again);
      expect((await connect({ ...lasting(5), clientId: shortId })).connack?.sessionPresent).toBe(false);
    });
  });

  describe('retained messages', () => {
    test('they come to exact and wildcard filters after a kill, until they are cleared', async () => {
      const topic = name();
      const publisher = await connect();
      for (const leaf of ['a', 'b', 'b/c']) {
        await publisher.mqtt.publishAsync(`${topic}/${leaf}`, `old ${leaf}`, { qos: 1, retain: true });
        await publisher.mqtt.publishAsync(`${topic}/${leaf}`, `of ${leaf}`, { qos: 1, retain: true });
      }
      await broker().restart('SIGKILL');
      const seen = async (filter: string, count: number): Promise<string[]> => {
        const subscriber = await connect();
        await subscriber.mqtt.subscribeAsync(filter, { qos: 1 });
        const bodies: string[] = [];
        for (let i = 0; i < count; i++) {
          const got = await subscriber.next();
          expect(got.retain).toBe(true);
          bodies.push(String(got.payload));
        }
        await expectSilence(subscriber);
        return bodies.sort();
      };
      expect(await seen(`${topic}/a`, 1)).toEqual(['of a']);
      expect(await seen(`${topic}/+`, 2)).toEqual(['of a', 'of b']);
      expect(await seen(`${topic}/#`, 3)).toEqual(['of a', 'of b', 'of b/c']);
      expect(await seen(`${topic}/+/c`, 1)).toEqual(['of b/c']);
      await (await connect()).mqtt.publishAsync(`${topic}/b`, '', { qos: 1, retain: true });
      expect(await seen(`${topic}/#`, 2)).toEqual(['of a', 'of b/c']);
      await broker().restart('SIGTERM');
      expect(await seen(`${topic}/#`, 2)).toEqual(['of a', 'of b/c']);
    });

    test('retain handling and retain as published are as the subscriber asks', async () => {
      const topic = name();
      const [publisher, subscriber] = [await connect(spoken(5)), await connect(spoken(5))];
      await publisher.mqtt.publishAsync(topic, 'kept', { qos: 1, retain: true });
      await subscriber.mqtt.subscribeAsync(topic, { qos: 1, rh: 2 });
      await subscriber.mqtt.subscribeAsync(topic, { qos: 1, rh: 1, rap: true }); // it is there already
      await expectSilence(subscriber);
      await publisher.mqtt.publishAsync(topic, 'live', { qos: 1, retain: true });
      expect(await subscriber.next()).toMatchObject({ payload: Buffer.from('live'), retain: true });
      await subscriber.mqtt.subscribeAsync(topic, { qos: 1, rh: 0 });
      expect(await subscriber.next()).toMatchObject({ payload: Buffer.from('live'), retain: true });
    });
  });

  describe('wills', () => {
    const willTo = (topic: string, qos: Qos = 1, retain = false) => ({
      topic,
      payload: Buffer.from('gone'),
      qos,
      retain,
    });

    test.each(versions)('version %i: sent when the connection is cut, not after a farewell', async (version) => {
      const topic = name();
      const watcher = await connect();
      await watcher.mqtt.subscribeAsync(`${topic}/#`, { qos: 2 });
      const polite = await connect({ ...spoken(version), will: willTo(`${topic}/polite`) });
      await polite.mqtt.endAsync();
      for (const qos of [0, 1, 2] as const) {
        const dying = await connect({ ...spoken(version), will: willTo(`${topic}/cut`, qos, true) });
        await dying.cut();
        expect(await watcher.next()).toMatchObject({ topic: `${topic}/cut`, payload: Buffer.from('gone'), qos });
      }
      const late = await connect();
      await late.mqtt.subscribeAsync(`${topic}/#`);
      expect(await late.next()).toMatchObject({ topic: `${topic}/cut`, retain: true });
    });

    test('one with a delay waits for it, is not sent to a session that comes back, and is sent when the session ends', async () => {
      const topic = name();
      const watcher = await connect();
      await watcher.mqtt.subscribeAsync(`${topic}/#`);
      const clientId = name();
      const delayed = (leaf: string, willDelayInterval: number): IClientOptions => ({
        ...lasting(5),
        clientId,
        will: { ...willTo(`${topic}/${leaf}`), properties: { willDelayInterval } },
      });
      await (await connect(delayed('back', 1))).cut();
      const back = await connect(delayed('ended', 3600));
      await pass(2); // by now the first would have come
      await back.cut();
      await connect({ ...spoken(5), clientId, clean: true });
      expect((await watcher.next()).topic).toBe(`${topic}/ended`);
    });

    test('v5: DISCONNECT with will has it sent', async () => {
      const topic = name();
      const watcher = await connect();
      await watcher.mqtt.subscribeAsync(topic);
      const leaving = await connect({ ...spoken(5), will: willTo(topic) });
      await leaving.mqtt.endAsync(false, { reasonCode: 4 });
      expect((await watcher.next()).topic).toBe(topic);
    });

    test('SIGKILL: a will that waits, and that of a client that was there, are sent by the next process', async () => {
      const topic = name();
      const watcher = await connect({ ...lasting(4), clientId: name(), reconnectPeriod: 20 });
      await watcher.mqtt.subscribeAsync(`${topic}/#`, { qos: 1 });
      const waits = { ...willTo(`${topic}/waits`), properties: { willDelayInterval: 1 } };
      await (await connect({ ...lasting(5), clientId: name(), will: waits })).cut();
      await connect({ ...lasting(5), clientId: name(), will: willTo(`${topic}/there`) });
      await broker().restart('SIGKILL');
      const topics = [(await watcher.next()).topic, (await watcher.next()).topic];
      expect(topics.sort()).toEqual([`${topic}/there`, `${topic}/waits`]);
    });
  });

  describe('shared subscriptions', () => {
    test.each(versions)(
      'version %i: each message goes to one member, and to every other subscriber',
      async (version) => {
        const topic = name();
        const members = [await connect(spoken(version)), await connect(spoken(version))];
        for (const member of members) await member.mqtt.subscribeAsync(`$share/workers/${topic}/+`, { qos: 1 });
        const other = await connect(spoken(version));
        await other.mqtt.subscribeAsync(`${topic}/#`, { qos: 1 });
        const got: string[] = [];
        const enough = new Promise<void>((resolve) => {
          for (const member of members) {
            member.mqtt.on('message', (_topic, body) => {
              if (got.push(String(body)) === 100) resolve();
            });
          }
        });
        const publisher = await connect();
        for (const body of numbers(100)) await publisher.mqtt.publishAsync(`${topic}/t`, body, { qos: 1 });
        await enough;
        expect(await other.bodies(100)).toEqual(numbers(100));
        expect(got.sort()).toEqual(numbers(100).sort());
        for (const member of members) expect(member.waitingCount).toBeGreaterThan(0);
      },
    );

    test.each(versions)('version %i: what a member did not acknowledge goes to another', async (version) => {
      const topic = name();
      const holder = dial(spoken(version));
      holder.mqtt.handleMessage = () => {};
      await holder.open();
      await holder.mqtt.subscribeAsync(`$share/workers/${topic}`, { qos: 1 });
      const publisher = await connect();
      for (const body of numbers(10)) await publisher.mqtt.publishAsync(topic, body, { qos: 1 });
      await holder.next();
      const heir = await connect(spoken(version));
      await heir.mqtt.subscribeAsync(`$share/workers/${topic}`, { qos: 1 });
      await holder.cut();
      expect((await heir.bodies(10)).sort()).toEqual(numbers(10).sort());
      await expectSilence(heir);
    });
  });

  describe('large payloads', () => {
    test.each(versions)(
      'version %i: 16 MiB come back as they were, at each QoS; an octet more is refused',
      async (version) => {
        const topic = name();
        const [publisher, subscriber] = [await connect(spoken(version)), await connect(spoken(version))];
        await subscriber.mqtt.subscribeAsync(topic, { qos: 2 });
        const body = Buffer.alloc(bodyBytesMax, 'RosettaMQ');
        for (const qos of [0, 1, 2] as const) {
          await publisher.mqtt.publishAsync(topic, body, { qos });
          expect(body.equals((await subscriber.next()).payload as Buffer)).toBe(true);
        }
        const ended = publisher.closed();
        publisher.mqtt.publish(topic, Buffer.alloc(bodyBytesMax + 1), { qos: 1 });
        await ended;
        await expectSilence(subscriber);
      },
    );

    test('v5: an octet more than 16 MiB is told as 0x95', async () => {
      const publisher = await connect(spoken(5));
      const told = publisher.disconnect();
      publisher.mqtt.publish(name(), Buffer.alloc(bodyBytesMax + 1), { qos: 1 });
      expect(await told).toMatchObject({ reasonCode: 0x95 });
    });
  });

  describe('refusals', () => {
    const refusal = (options: IClientOptions) =>
      connect(options).then(
        () => 'served',
        (error: { code: number }) => error.code,
      );

    test('a wrong password is 4 or 5 before version 5, as Mosquitto and RabbitMQ say it, and 0x86 in it', async () => {
      expect(await refusal({ ...spoken(3), password: 'wrong' })).toBe(4);
      expect(await refusal({ ...spoken(4), password: 'wrong' })).toBe(4);
      expect(await refusal({ ...spoken(5), password: 'wrong' })).toBe(0x86);
    });

    test('a virtual host that is not open to the user is 5, and 0x87 in version 5', async () => {
      expect(await refusal({ ...spoken(3), username: 'nowhere:guest' })).toBe(5);
      expect(await refusal({ ...spoken(4), username: 'nowhere:guest' })).toBe(5);
      expect(await refusal({ ...spoken(5), username: 'nowhere:guest' })).toBe(0x87);
    });

    test('a client id of more than 23 characters is 2 in version 3.1, and served in the others', async () => {
      const clientId = 'c'.repeat(24);
      expect(await refusal({ ...spoken(3), clientId })).toBe(2);
      expect(await refusal({ ...spoken(4), clientId })).toBe('served');
      expect(await refusal({ ...spoken(5), clientId })).toBe('served');
    });
  });

  describe('topic filters', () => {
    test('+ is one level, # is any number of them, $ is not for wildcards, and empty levels are levels', async () => {
      const root = name();
      const cases: Record<string, readonly (string | null)[]> = {
        [`${root}/+`]: ['a', 'b', ''],
        [`${root}/#`]: ['', 'a', 'a/b', 'a//b', '/', 'b', null],
        [`${root}/+/b`]: ['a/b'],
        [`${root}/+/+/b`]: ['a//b'],
        [`${root}/a/#`]: ['a', 'a/b', 'a//b'],
        [`+/a/b`]: ['a/b'],
        [`${root}`]: [null],
      };
      const leaves = ['a', 'a/b', 'a//b', 'b', '', '/', null];
      const topicOf = (leaf: string | null): string => (leaf === null ? root : `${root}/${leaf}`);
      const publisher = await connect();
      const subscribers = new Map<string, MqttJsClient>();
      for (const filter of Object.keys(cases)) {
        const subscriber = await connect(spoken(5));
        await subscriber.mqtt.subscribeAsync(filter, { qos: 1, rh: 2 });
        subscribers.set(filter, subscriber);
      }
      const everything = await connect(spoken(5));
      await everything.mqtt.subscribeAsync(['#', '+/x'], { qos: 0, rh: 2 });
      await publisher.mqtt.publishAsync('$hidden/x', 'hidden', { qos: 1 });
      for (const leaf of leaves) await publisher.mqtt.publishAsync(topicOf(leaf), 'x', { qos: 1 });
      for (const [filter, subscriber] of subscribers) {
        const expected = (cases[filter] ?? []).map(topicOf).sort();
        const got: string[] = [];
        while (got.length < expected.length) got.push((await subscriber.next()).topic);
        expect([filter, got.sort()]).toEqual([filter, expected]);
        await expectSilence(subscriber);
      }
      for (const leaf of leaves) expect((await everything.next()).topic).toBe(topicOf(leaf));
    });

    test('after UNSUBSCRIBE nothing more comes', async () => {
      const topic = name();
      const client = await connect();
      await client.mqtt.subscribeAsync([topic, `${topic}/#`], { qos: 1 });
      await client.mqtt.publishAsync(topic, 'once', { qos: 1 });
      expect(await client.bodies(1)).toEqual(['once']); // overlapping filters: one copy
      await client.mqtt.unsubscribeAsync([topic, `${topic}/#`]);
      await client.mqtt.publishAsync(topic, 'no more', { qos: 1 });
      await expectSilence(client);
    });
  });

  describe('properties of version 5', () => {
    test('all of a PUBLISH come to the subscriber as they were sent', async () => {
      const topic = name();
      const [publisher, subscriber] = [await connect(spoken(5)), await connect(spoken(5))];
      await subscriber.mqtt.subscribeAsync(topic, { qos: 2, properties: { subscriptionIdentifier: 268_435_455 } });
      const properties = {
        payloadFormatIndicator: true,
        responseTopic: 'replies/é',
        correlationData: Buffer.from([0, 1, 255]),
        contentType: 'text/plain',
        userProperties: { one: 'Grüße', two: ['a', 'b'] },
      };
      for (const qos of [0, 1, 2] as const) {
        await publisher.mqtt.publishAsync(topic, 'x', { qos, properties });
        const got = await subscriber.next();
        expect(got.properties).toEqual({ ...properties, subscriptionIdentifier: 268_435_455 });
      }
    });

    test('a request is answered at its response topic with its correlation data', async () => {
      const [requests, replies] = [name(), name()];
      const [requester, responder] = [await connect(spoken(5)), await connect(spoken(5))];
      await requester.mqtt.subscribeAsync(replies, { qos: 1 });
      await responder.mqtt.subscribeAsync(requests, { qos: 1 });
      const correlationData = Buffer.from('question 1');
      await requester.mqtt.publishAsync(requests, '?', {
        qos: 1,
        properties: { responseTopic: replies, correlationData },
      });
      const request = await responder.next();
      const { responseTopic = '', correlationData: asked } = request.properties ?? {};
      await responder.mqtt.publishAsync(responseTopic, '!', {
        qos: 1,
        properties: asked === undefined ? {} : { correlationData: asked },
      });
      expect(await requester.next()).toMatchObject({ topic: replies, properties: { correlationData } });
    });

    test('topic aliases stand for topics in both directions', async () => {
      const topics = [name(), name()];
      const publisher = await connect({ ...spoken(5), autoAssignTopicAlias: true });
      const subscriber = await connect({ ...spoken(5), properties: { topicAliasMaximum: 2 } });
      const wire = { sent: [] as string[], received: [] as string[] };
      publisher.mqtt.on('packetsend', (packet) => packet.cmd === 'publish' && wire.sent.push(packet.topic));
      subscriber.mqtt.on('packetreceive', (packet) => packet.cmd === 'publish' && wire.received.push(packet.topic));
      await subscriber.mqtt.subscribeAsync(topics, { qos: 1 });
      const got: string[] = [];
      for (const topic of [...topics, ...topics]) {
        await publisher.mqtt.publishAsync(topic, 'x', { qos: 1 });
        got.push((await subscriber.next()).topic);
      }
      expect(got).toEqual([...topics, ...topics]);
      expect(wire).toEqual({ sent: [...topics, '', ''], received: [...topics, '', ''] });
    });

    test('no more are in flight to a client than its receive maximum', async () => {
      const [clientId, topic] = [name(), name()];
      const options = { ...lasting(5), clientId, properties: { sessionExpiryInterval: 3600, receiveMaximum: 3 } };
      const first = await connect(options);
      await first.mqtt.subscribeAsync(topic, { qos: 2 });
      await first.mqtt.endAsync();
      const publisher = await connect();
      await Promise.all(numbers(100).map((body) => publisher.mqtt.publishAsync(topic, body, { qos: 2 })));
      const second = dial(options);
      let [inflight, most] = [0, 0];
      second.mqtt.on('packetreceive', (packet) => {
        if (packet.cmd !== 'publish') return;
        inflight += 1;
        most = Math.max(most, inflight);
      });
      second.mqtt.on('packetsend', (packet) => {
        if (packet.cmd === 'pubcomp') inflight -= 1;
      });
      await second.open();
      expect(await second.bodies(100)).toEqual(numbers(100));
      expect(most).toBe(3);
    });

    test('a client id that was left empty is assigned, and no local is kept', async () => {
      const client = await connect({ ...spoken(5), clientId: '', clean: true });
      expect(client.connack?.properties?.assignedClientIdentifier).toMatch(/./);
      const topic = name();
      await client.mqtt.subscribeAsync(topic, { qos: 1, nl: true });
      await client.mqtt.publishAsync(topic, 'mine', { qos: 1 });
      await expectSilence(client);
    });
  });

  test('a thousand clients at once: each receives its message', async () => {
    const topic = name();
    const crowd = await Promise.all(
      numbers(1000).map(async (i) => {
        const client = await connect({ protocolVersion: Number(i) % 2 === 0 ? 4 : 5 });
        await client.mqtt.subscribeAsync(`${topic}/${i}`, { qos: 1 });
        return client;
      }),
    );
    await Promise.all(
      crowd.map((client, i) => client.mqtt.publishAsync(`${topic}/${(i + 1) % crowd.length}`, String(i), { qos: 1 })),
    );
    const got = await Promise.all(crowd.map((client): Promise<IPublishPacket> => client.next()));
    expect(got.map(({ payload }) => (Number(String(payload)) + 1) % crowd.length)).toEqual(crowd.map((_, i) => i));
    expect(crowd.every((client) => client.waitingCount === 0)).toBe(true);
  });
}
