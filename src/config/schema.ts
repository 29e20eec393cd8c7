import { z } from 'zod';

/** The shape of the configuration; `config/rosettamq.yaml` documents every key, and a test holds the two together. */

const port = z.int().min(0).max(65_535);
const bytes = z.int().positive();
const milliseconds = z.int().positive();

const listener = z.strictObject({
  enabled: z.boolean().default(true),
  protocol: z.enum(['amqp', 'mqtt', 'stomp', 'management']),
  host: z.string().default('*'),
  port,
  dialect: z.enum(['auto', 'rabbitmq', 'activemq']).optional(),
});

const user = z.strictObject({
  password: z.string(),
  loopbackOnly: z.boolean().default(false),
});

export const schema = z.strictObject({
  dataDir: z.string().min(1),
  logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']),
  listeners: z.record(z.string(), listener),
  vhosts: z.array(z.string().min(1)).min(1),
  defaultVhost: z.string().min(1),
  users: z.record(z.string(), user),
  anonymous: z.strictObject({ enabled: z.boolean(), user: z.string() }),
  limits: z.strictObject({ messageBytes: bytes, loginTimeoutMs: milliseconds }),
  amqp: z.strictObject({
    frameSizeMax: z.int().min(4096),
    channelMax: z.int().min(1).max(65_535),
    heartbeatSeconds: z.int().min(0).max(65_535),
    consumerTimeoutMs: milliseconds,
  }),
  mqtt: z.strictObject({
    exchange: z.string().min(1),
    inflightMax: z.int().min(1).max(65_535),
    receiveMaximum: z.int().min(1).max(65_535),
    topicAliasMaximum: z.int().min(0).max(65_535),
    sessionExpiryMaxSeconds: z.int().min(0).max(0xffff_ffff),
    keepAliveMaxSeconds: z.int().min(0).max(65_535),
    queueQos0Offline: z.boolean(),
    sessionQueueLength: z.int().min(0),
    retainedCountMax: z.int().min(0),
    retainedBytesMax: z.int().min(0),
    sysIntervalSeconds: z.int().min(0),
  }),
  stomp: z.strictObject({
    strictHost: z.boolean(),
    heartBeatMs: milliseconds,
    headerCountMax: z.int().positive(),
    headerBytesMax: bytes,
  }),
  journal: z.strictObject({
    durability: z.enum(['sync', 'interval', 'none']),
    intervalMs: milliseconds,
    segmentBytes: z.int().min(1024 * 1024),
  }),
  memory: z.strictObject({ alarmFraction: z.number().gt(0).max(1) }),
  disk: z.strictObject({ freeMinBytes: z.int().min(0) }),
});

export type Config = z.infer<typeof schema>;
export type ListenerConfig = z.infer<typeof listener>;

/** The keys of a listener and of a user, which have names that the configuration chooses. */
export const mapShapes: Record<string, readonly string[]> = {
  listeners: Object.keys(listener.shape),
  users: Object.keys(user.shape),
};

export const defaults: Config = {
  dataDir: './data',
  logLevel: 'info',
  listeners: {
    amqp: { enabled: true, protocol: 'amqp', host: '*', port: 5672 },
    mqtt: { enabled: true, protocol: 'mqtt', host: '*', port: 1883 },
    stomp: { enabled: true, protocol: 'stomp', host: '*', port: 61_613, dialect: 'auto' },
    management: { enabled: true, protocol: 'management', host: '*', port: 15_672 },
  },
  vhosts: ['/'],
  defaultVhost: '/',
  users: { guest: { password: 'guest', loopbackOnly: true } },
  anonymous: { enabled: false, user: 'guest' },
  limits: { messageBytes: 16 * 1024 * 1024, loginTimeoutMs: 10_000 },
  amqp: { frameSizeMax: 131_072, channelMax: 2047, heartbeatSeconds: 60, consumerTimeoutMs: 1_800_000 },
  mqtt: {
    exchange: 'amq.topic',
    inflightMax: 1000,
    receiveMaximum: 65_535,
    topicAliasMaximum: 16,
    sessionExpiryMaxSeconds: 0xffff_ffff,
    keepAliveMaxSeconds: 0,
    queueQos0Offline: false,
    sessionQueueLength: 0,
    retainedCountMax: 1_000_000,
    retainedBytesMax: 16 * 1024 * 1024,
    sysIntervalSeconds: 10,
  },
  stomp: { strictHost: false, heartBeatMs: 1000, headerCountMax: 1000, headerBytesMax: 65_536 },
  journal: { durability: 'sync', intervalMs: 100, segmentBytes: 64 * 1024 * 1024 },
  memory: { alarmFraction: 0.6 },
  disk: { freeMinBytes: 256 * 1024 * 1024 },
};
