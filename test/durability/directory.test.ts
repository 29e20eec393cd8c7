import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import amqplib from 'amqplib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findZeros } from '../../src/storage/segment.ts';
import { Amqp10Peer, data, section } from '../support/amqp10-peer.ts';
import { ApiClient } from '../support/api-client.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { readJournal } from '../support/document-reader.ts';
import { MqttPeer } from '../support/mqtt-peer.ts';
import { StompWire } from '../support/stomp-wire.ts';

/** A data directory with every kind of fact in it, of a broker that was killed; and a backup that was made before. */
let home: string;
let dataDir: string;
let copy: string;
const segment = '0000000001.segment';

async function rosettamq(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  return promisify(execFile)(process.execPath, ['bin/rosettamq.js', ...words], { maxBuffer: 64 * 1024 * 1024 }).then(
    ({ stdout, stderr }) => ({ code: 0, out: stdout, err: stderr }),
    (error) => ({ code: error.code as number, out: error.stdout as string, err: error.stderr as string }),
  );
}

async function fill(broker: BrokerProcess): Promise<void> {
  const api = new ApiClient(broker.port('management'));
  const put = async (path: string, body: unknown): Promise<void> => {
    const { status, body: answer } = await api.put(path, body);
    expect(status, JSON.stringify(answer)).toBeLessThan(300);
  };
  await put('vhosts/other', {});
  await put('users/device', { password: 'secret', tags: '' });
  await put('permissions/%2F/device', { configure: '', write: '^amq\\.topic$', read: '.*' });
  await put('topic-permissions/%2F/device', { exchange: 'amq.topic', write: '^a', read: '.*' });
  await put('policies/%2F/short', { pattern: '^policed', definition: { 'max-length': 5 } });
  await put('operator-policies/%2F/cap', { pattern: '^policed', definition: { 'max-length': 9 } });
  await put('global-parameters/cluster_name', { value: 'here' });

  const amqp = await amqplib.connect(`amqp://guest:guest@127.0.0.1:${broker.port('amqp')}`);
  amqp.on('error', () => {}); // it is killed
  const channel = await amqp.createConfirmChannel();
  await channel.assertExchange('orders', 'topic', { durable: true, alternateExchange: 'amq.fanout' });
  const queues: [name: string, args: object][] = [
    ['q', {}],
    ['brief', { 'x-message-ttl': 3_600_000 }],
    ['quorum', { 'x-queue-type': 'quorum' }],
    ['ids', { 'x-deduplication-window': 3_600_000 }],
    ['tried', { 'x-retry-delays': '1h', 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'q' }],
  ];
  for (const [queue, args] of queues) {
    await channel.assertQueue(queue, { durable: true, arguments: args });
    await channel.bindQueue(queue, 'orders', '#');
  }
  for (const body of ['one', 'two', 'three']) {
    channel.publish('orders', 'a.b', Buffer.from(body), { persistent: true, priority: 3, headers: { n: 1 } });
  }
  channel.publish('orders', 'a.b', Buffer.from('fleeting'), { persistent: false }); // the quorum queue keeps it
  channel.publish('', 'ids', Buffer.from('once'), { persistent: true, headers: { 'x-deduplication-id': 'id-1' } });
  await channel.waitForConfirms();
  const first = await channel.get('q');
  if (first !== false) channel.ack(first);
  const tried = await channel.get('tried');
  if (tried !== false) channel.nack(tried);
  const dead = await channel.get('tried');
  if (dead !== false) channel.reject(dead, false);

  const amqp10 = await Amqp10Peer.openSession(broker.port('amqp'));
  await amqp10.sender(0, 'q');
  await amqp10.publish(0, Buffer.concat([section(0x70, [true]), data('from 1.0')]));
  const stomp = await StompWire.login(broker.port('stomp'));
  await stomp.publish('/amq/queue/q', 'from STOMP', 'persistent:true\n');

  const lasting = { clean: false, properties: { sessionExpiryInterval: 3600 } };
  const { peer: mqtt } = await MqttPeer.connect(broker, { clientId: 'lasting', ...lasting });
  await mqtt.subscribe('in/#', { qos: 2 });
  const { peer: other } = await MqttPeer.connect(broker, { clientId: 'other', ...lasting });
  other.publish('state/1', 'retained', { qos: 1, messageId: 1, retain: true });
  await other.nextOf('puback');
  other.publish('in/1', 'twice', { qos: 2, messageId: 2, properties: { responseTopic: 'in/answers' } });
  await other.nextOf('pubrec'); // no PUBREL: its id is kept
  await mqtt.nextOf('publish'); // no PUBREC: it is in flight
  other.publish('$delayed/3600/in/2', 'later', { qos: 1, messageId: 3 });
  await other.nextOf('puback');
  await channel.assertQueue('requests', { durable: true });
  await channel.bindQueue('requests', 'amq.topic', 'requests');
  other.publish('requests', 'r', { qos: 1, messageId: 4, properties: { responseTopic: 'in/answers' } });
  await other.nextOf('puback');
  await channel.get('requests'); // has an alias made for the answer's address
  await api.put('queues/%2F/synced', { durable: true }); // all of it is on the disk
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'rosettamq-'));
  dataDir = join(home, 'data');
  copy = join(home, 'copy');
  const broker = await BrokerProcess.start({ dataDir });
  await fill(broker);
  expect(await rosettamq('backup', copy, '--data-dir', dataDir)).toMatchObject({ code: 0 });
  await new ApiClient(broker.port('management')).put('queues/%2F/after-the-backup', { durable: true });
  await broker.kill();
});

afterAll(() => rm(home, { recursive: true, force: true }));

async function filesOf(directory: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of await readdir(directory)) files.set(name, await readFile(join(directory, name)));
  return files;
}

/** What `journal export` says of the log, a record a line. */
async function exported(directory: string): Promise<{ code: number; records: Record<string, unknown>[]; err: string }> {
  const { code, out, err } = await rosettamq('journal', 'export', '--data-dir', directory);
  const lines = out.split('\n').filter((line) => line !== '');
  return { code, records: lines.map((line) => JSON.parse(line) as Record<string, unknown>), err };
}

/** A copy of the data directory, with its log changed, which has no prepared room behind its end. */
async function harmed(change: (log: Buffer) => Buffer): Promise<string> {
  const directory = await mkdtemp(join(home, 'harmed-'));
  for (const [name, content] of await filesOf(dataDir)) {
    await writeFile(
      join(directory, name),
      name === segment ? change(content.subarray(0, findZeros(content, 0))) : content,
    );
  }
  return directory;
}

function startOn(directory: string): Promise<string> {
  return BrokerProcess.start({ dataDir: directory }).then(
    async (broker) => {
      await broker.stop();
      return `started: ${broker.log}`;
    },
    (error: Error) => error.message,
  );
}

test('a program that knows docs/storage.md alone finds all of it: values of every kind, and what the queues hold', async () => {
  const state = readJournal(await filesOf(dataDir));
  const page = await readFile('docs/storage.md', 'utf8');
  const kinds = [...page.matchAll(/^\| (`[^|]+) \| (?:vhost|user|virtual host|number)/gm)].flatMap(([, names]) =>
    [...names!.matchAll(/`([^`]+)`/g)].map(([, kind]) => kind!),
  );
  const rare = ['parameter', 'schedule-repeat', 'deduplication', 'held-dead-letter'];
  expect(kinds).toEqual(expect.arrayContaining([...state.values.keys(), ...rare]));
  const missing = kinds.filter((kind) => !rare.includes(kind) && !((state.values.get(kind)?.size ?? 0) > 0));
  expect(missing).toEqual([]);
  const named = new Map<string, string[]>();
  for (const [key, { value }] of state.values.get('queue')!) {
    const { id } = JSON.parse(value.toString()) as { id: number };
    const entries = [...(state.queues.get(id) ?? [])].sort(([a], [b]) => a - b);
    named.set(
      key.split('\0')[1]!,
      entries.map(([, { value: message }]) => message.body.toString()),
    );
  }
  expect(Object.fromEntries(named)).toMatchObject({
    q: ['two', 'three', 'two', 'from 1.0', 'from STOMP'],
    brief: ['one', 'two', 'three'],
    quorum: ['one', 'two', 'three', 'fleeting'],
    ids: ['one', 'two', 'three', 'once'],
    tried: ['one', 'three'],
    requests: ['r'],
    'mqtt-subscription-lastingqos1': ['twice'],
  });
});

test('inspect, verify and export show the whole log', async () => {
  const inspected = await rosettamq('journal', 'inspect', '--json', '--data-dir', dataDir);
  const { segments, queues, kinds, damage } = JSON.parse(inspected.out);
  expect([segments, damage]).toEqual([[expect.objectContaining({ file: segment })], []]);
  expect(queues).toContainEqual(expect.objectContaining({ name: 'q', vhost: '/', messages: 5 }));
  expect(queues).toContainEqual(expect.objectContaining({ name: 'amq.topic', messages: 1 })); // it waits for its time
  expect(kinds).toMatchObject({ retained: 1, 'mqtt-session': 2, 'mqtt-in': 1, 'mqtt-out': 1, 'reply-alias': 1 });
  expect(await rosettamq('journal', 'verify', '--data-dir', dataDir)).toMatchObject({ code: 0, err: '' });
  const { code, records } = await exported(dataDir);
  expect(code).toBe(0);
  // what is JSON is shown as that
  expect(records).toContainEqual(
    expect.objectContaining({ record: 'put', kind: 'policy', value: expect.objectContaining({ name: 'short' }) }),
  );
  expect(records).toContainEqual(
    expect.objectContaining({ record: 'put', kind: 'mqtt-out', octets: expect.any(String) }),
  );
  expect(records).toContainEqual(
    expect.objectContaining({
      record: 'published',
      routingKey: 'q',
      durable: true,
      priority: 3,
      qos: -1,
      retain: false,
      deaths: [expect.objectContaining({ queue: 'tried', reason: 'rejected' })],
    }),
  );
  expect(records).toContainEqual(
    expect.objectContaining({ record: 'published', durable: false, body: Buffer.from('fleeting').toString('base64') }),
  );
});

test('an octet that is changed in the middle is found by all of them, and stops the start', async () => {
  let at = 0;
  const directory = await harmed((log) => {
    at = log.length >> 1;
    log[at] = log[at]! ^ 1;
    return log;
  });
  const { code, err } = await rosettamq('journal', 'verify', '--data-dir', directory);
  const found =
    /^rosettamq: 0000000001\.segment: damage at offset (\d+), \d+ octets skipped up to (\d+): a batch fails its checksum; .*\n$/.exec(
      err,
    );
  expect([code, found], err).toEqual([1, expect.anything()]);
  expect(Number(found![1])).toBeLessThan(at);
  expect(Number(found![2])).toBeGreaterThan(at);
  const whole = await exported(dataDir);
  const { code: exportCode, records, err: exportErr } = await exported(directory);
  expect([exportCode, exportErr]).toEqual([1, err]);
  // What is before it is shown, and what is behind it.
  const place = records.findIndex(({ record }) => record === 'damage');
  expect(place).toBeGreaterThan(0);
  expect(records[place]).toMatchObject({ file: segment, offset: Number(found![1]), end: Number(found![2]) });
  expect(records.slice(0, place)).toEqual(whole.records.slice(0, place));
  const behind = records.slice(place + 1);
  expect(behind.length).toBeGreaterThan(0);
  expect(behind).toEqual(whole.records.slice(-behind.length));
  const { out } = await rosettamq('journal', 'inspect', '--json', '--data-dir', directory);
  expect(JSON.parse(out).damage).toMatchObject([{ kind: 'damage', offset: Number(found![1]) }]);
  expect(await startOn(directory)).toContain(`journal damaged: ${segment} at offset ${found![1]}: `);
});

/** Without the places where they stand. */
function facts(files: Map<string, Buffer>): object {
  const { values, queues } = readJournal(files);
  const plain = <T>(kept: Map<unknown, { readonly value: T }>): [unknown, T][] =>
    [...kept].map(([key, { value }]) => [key, value]);
  return {
    values: new Map(
      [...values].filter(([, kept]) => kept.size > 0).map(([kind, kept]) => [kind, new Map(plain(kept))]),
    ),
    queues: new Map([...queues].filter(([, kept]) => kept.size > 0).map(([id, kept]) => [id, new Map(plain(kept))])),
  };
}

test('what salvage writes of a whole log is the same state', async () => {
  const target = join(home, 'same');
  const { code, out } = await rosettamq('journal', 'salvage', target, '--data-dir', dataDir);
  expect([code, out]).toEqual([0, expect.stringMatching(/^wrote \d+ messages of \d+ queues and \d+ keys to /)]);
  expect(facts(await filesOf(target))).toEqual(facts(await filesOf(dataDir)));
});

test('a broker starts on what salvage wrote of a damaged log, and has all but what damage took', async () => {
  const directory = await harmed((log) => {
    const at = log.indexOf('"name":"brief"'); // the declaration of a queue
    log[at] = log[at]! ^ 1;
    return log;
  });
  const refusal = await startOn(directory);
  expect(refusal).toMatch(/journal damaged: 0000000001\.segment at offset \d+: /);
  expect(refusal).toContain('rosettamq journal salvage DIR');
  const target = join(home, 'salvaged');
  const { code, out } = await rosettamq('journal', 'salvage', target, '--data-dir', directory);
  expect(code).toBe(0);
  expect(out).toMatch(/queue \d+ is declared nowhere: its 3 messages came into 'salvaged\.\d+' of '\/'\n/);
  expect(await rosettamq('journal', 'verify', '--data-dir', target)).toMatchObject({ code: 0 });
  const broker = await BrokerProcess.start({ dataDir: target });
  const list = await new ApiClient(broker.port('management')).read<{ name: string; messages: number }[]>('queues');
  const counts = new Map(list.map(({ name, messages }) => [name.replace(/\.\d+$/, ''), messages]));
  expect(Object.fromEntries(counts)).toMatchObject({ q: 5, salvaged: 3, quorum: 4, ids: 4, requests: 1 });
  expect(counts.has('brief')).toBe(false);
  const { peer } = await MqttPeer.connect(broker, { clientId: 'looks' });
  await peer.subscribe('state/1', { qos: 1 });
  expect((await peer.nextOf('publish')).payload.toString()).toBe('retained');
  await broker.kill();
});

test('a tail that is cut is told from damage; the start cuts it off and says so', async () => {
  const directory = await harmed((log) => log.subarray(0, log.length - 10));
  const { code, err } = await rosettamq('journal', 'verify', '--data-dir', directory);
  expect([code, err]).toEqual([
    1,
    expect.stringMatching(/segment: torn tail at offset \d+, \d+ octets skipped up to \d+: /),
  ]);
  expect(await startOn(directory)).toMatch(/^started: .*cut a torn tail off/);
  expect(await rosettamq('journal', 'verify', '--data-dir', directory)).toMatchObject({ code: 0 });
});

test('a log of a version that is not known is refused by its number, with the way out', async () => {
  const directory = await harmed((log) => {
    log.writeUInt32BE(4, 8);
    log.writeUInt32BE(crc32(log.subarray(0, 24)), 24);
    return log;
  });
  const version = 'its format is version 4, this program reads versions 2 to 3';
  const { err } = await rosettamq('journal', 'verify', '--data-dir', directory);
  expect(err).toMatch(
    /^rosettamq: 0000000001\.segment: damage at offset 8, \d+ octets skipped up to \d+: its format is/,
  );
  expect(err).toContain(version);
  const started = await startOn(directory);
  expect(started).toContain(version);
  expect(started).toContain('Start the program that wrote it');
});

test('a broker starts from the backup with what was there when it was made', async () => {
  expect(await rosettamq('journal', 'verify', '--data-dir', copy)).toMatchObject({ code: 0 });
  const counts = async (directory: string): Promise<Map<string, number>> => {
    const broker = await BrokerProcess.start({ dataDir: directory });
    const list = await new ApiClient(broker.port('management')).read<{ name: string; messages: number }[]>('queues');
    await broker.kill();
    return new Map(list.map(({ name, messages }) => [name, messages]));
  };
  const [backed, original] = [await counts(copy), await counts(dataDir)];
  expect(original.delete('after-the-backup')).toBe(true);
  expect(backed).toEqual(original);
  expect(backed.get('q')).toBe(5);
});
