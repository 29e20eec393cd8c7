import { z } from 'zod';

/** The shape of the configuration; `config/rosettamq.yaml` documents every key, and a test holds the two together. */

/** The names of RabbitMQ's modules, and our own. */
const hashingAlgorithms = [
  'scrypt',
  'rabbit_password_hashing_sha256',
  'rabbit_password_hashing_sha512',
  'rabbit_password_hashing_md5',
] as const;

const port = z.int().min(0).max(65_535);
const bytes = z.int().positive();
const milliseconds = z.int().positive();

const permission = z.strictObject({
  configure: z.string().default('.*'),
  write: z.string().default('.*'),
  read: z.string().default('.*'),
});

const line = z
  .string()
  .max(1000)
  .refine((text) => !text.includes('\0'), 'text without NUL is expected');
const fieldsOfMessages: readonly string[] = [
  'content-type',
  'reply-to',
  'correlation-id',
  'correlation-data',
  'expiration',
];
const headerName = line.refine((name) => !fieldsOfMessages.includes(name), 'a name of a header is expected');
const deviceRule = z.strictObject({
  filter: z
    .string()
    .min(1)
    .regex(/^(?:[^+#/]+|\+|)(?:\/(?:[^+#/]+|\+|))*(?:\/#)?$|^#$/, 'a topic filter is expected'),
  envelope: z.enum(['none', 'json']).default('none'),
  contentType: line.optional(),
  headers: z.record(headerName, z.union([line, z.number(), z.boolean()])).default({}),
  priority: z.int().min(0).max(255).optional(),
  ttlMs: milliseconds.optional(),
});

const listener = z.strictObject({
  enabled: z.boolean().default(true),
  protocol: z.enum(['amqp', 'mqtt', 'stomp', 'management']),
  host: z.string().default('*'),
  port,
  dialect: z.enum(['auto', 'rabbitmq', 'activemq']).optional(),
  vhost: z.string().min(1).optional(),
  v3: z.array(deviceRule).optional(),
  clientIdHeader: z.boolean().optional(),
  onLoss: z.enum(['deliver', 'reject']).default('deliver'),
  transport: z.enum(['tcp', 'websocket']).default('tcp'),
  path: z.string().startsWith('/').default('/ws'),
  tls: z
    .union([
      z.boolean(),
      z.strictObject({
        cert: z.string(),
        key: z.string(),
        ca: z.string().default(''),
        verify: z.enum(['none', 'optional', 'required']).default('none'),
      }),
    ])
    .default(false),
});

const user = z.strictObject({
  password: z.string().optional(),
  passwordHash: z.string().optional(),
  hashingAlgorithm: z.enum(hashingAlgorithms).default('rabbit_password_hashing_sha256'),
  tags: z.array(z.string()).default([]),
  loopbackOnly: z.boolean().default(false),
  permissions: z.record(z.string(), permission).optional(),
  topicPermissions: z
    .record(z.string(), z.record(z.string(), z.strictObject({ write: z.string(), read: z.string() })))
    .optional(),
});

export const schema = z.strictObject({
  dataDir: z.string().min(1),
  logLevel: z.enum(['debug', 'info', 'warn', 'error', 'silent']),
  listeners: z.record(z.string(), listener),
  tls: z.strictObject({
    cert: z.string(),
    key: z.string(),
    ca: z.string(),
    verify: z.enum(['none', 'optional', 'required']),
    minVersion: z.enum(['TLSv1.2', 'TLSv1.3']),
  }),
  vhosts: z.array(z.string().min(1)).min(1),
  defaultVhost: z.string().min(1),
  users: z.record(z.string(), user),
  definitions: z.strictObject({ load: z.string() }),
  auth: z.strictObject({
    scryptCost: z.int().min(1024).max(1_048_576).refine(isPowerOfTwo, 'a power of two is expected'),
  }),
  anonymous: z.strictObject({ enabled: z.boolean(), user: z.string() }),
  limits: z.strictObject({
    messageBytes: bytes,
    loginTimeoutMs: milliseconds,
    connections: z.int().positive(),
    connectionsPerUser: z.int().positive(),
    connectionsPerAddress: z.int().positive(),
    queuesPerVhost: z.int().positive(),
  }),
  amqp: z.strictObject({
    frameSizeMax: z.int().min(4096),
    channelMax: z.int().min(1).max(65_535),
    heartbeatSeconds: z.int().min(0).max(65_535),
    consumerTimeoutMs: milliseconds,
  }),
  amqp10: z.strictObject({
    createQueues: z.boolean(),
    unroutable: z.enum(['released', 'rejected']),
    product: z.string().min(1),
  }),
  mqtt: z.strictObject({
    exchange: z.string().min(1),
    topicMapping: z.enum(['exact', 'rabbitmq']),
    qosFromPersistence: z.boolean(),
    inflightMax: z.int().min(1).max(65_535),
    receiveMaximum: z.int().min(1).max(65_535),
    topicAliasMaximum: z.int().min(0).max(65_535),
    sessionExpiryMaxSeconds: z.int().min(0).max(0xffff_ffff),
    keepAliveMaxSeconds: z.int().min(0).max(65_535),
    queueQos0Offline: z.boolean(),
    sessionQueueLength: z.int().min(0),
    validatePayloadFormat: z.boolean(),
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
  memory: z.strictObject({
    alarmFraction: z.number().gt(0).max(1),
    queueBytes: bytes,
    bodyFraction: z.number().gt(0).max(1),
    heapFraction: z.number().gt(0).max(1),
  }),
  disk: z.strictObject({ freeMinBytes: z.int().min(0) }),
});

function isPowerOfTwo(number: number): boolean {
  return (number & (number - 1)) === 0;
}

export type Config = z.infer<typeof schema>;
export type ListenerConfig = z.infer<typeof listener>;

/** The keys of a listener and of a user, which have names that the configuration chooses. */
export const mapShapes: Record<string, readonly string[]> = {
  listeners: Object.keys(listener.shape),
  users: Object.keys(user.shape),
};

function on(protocol: ListenerConfig['protocol'], port: number): ListenerConfig {
  return { enabled: true, protocol, host: '*', port, onLoss: 'deliver', transport: 'tcp', path: '/ws', tls: false };
}

export const defaults: Config = {
  dataDir: './data',
  logLevel: 'info',
  listeners: {
    amqp: on('amqp', 5672),
    mqtt: on('mqtt', 1883),
    stomp: { ...on('stomp', 61_613), dialect: 'auto' },
    mqttWs: { ...on('mqtt', 15_675), transport: 'websocket' },
    stompWs: { ...on('stomp', 15_674), transport: 'websocket' },
    management: on('management', 15_672),
  },
  tls: { cert: '', key: '', ca: '', verify: 'none', minVersion: 'TLSv1.2' },
  vhosts: ['/'],
  defaultVhost: '/',
  users: {
    guest: {
      password: 'guest',
      hashingAlgorithm: 'rabbit_password_hashing_sha256',
      tags: ['administrator'],
      loopbackOnly: true,
    },
  },
  definitions: { load: '' },
  auth: { scryptCost: 16_384 },
  anonymous: { enabled: false, user: 'guest' },
  limits: {
    messageBytes: 16 * 1024 * 1024,
    loginTimeoutMs: 10_000,
    connections: 50_000,
    connectionsPerUser: 50_000,
    connectionsPerAddress: 50_000,
    queuesPerVhost: 100_000,
  },
  amqp: { frameSizeMax: 131_072, channelMax: 2047, heartbeatSeconds: 60, consumerTimeoutMs: 1_800_000 },
  amqp10: { createQueues: true, unroutable: 'released', product: 'RosettaMQ' },
  mqtt: {
    exchange: 'amq.topic',
    topicMapping: 'exact',
    qosFromPersistence: false,
    inflightMax: 1000,
    receiveMaximum: 65_535,
    topicAliasMaximum: 16,
    sessionExpiryMaxSeconds: 0xffff_ffff,
    keepAliveMaxSeconds: 0,
    queueQos0Offline: false,
    sessionQueueLength: 0,
    validatePayloadFormat: false,
    retainedCountMax: 1_000_000,
    retainedBytesMax: 16 * 1024 * 1024,
    sysIntervalSeconds: 10,
  },
  stomp: { strictHost: false, heartBeatMs: 1000, headerCountMax: 1000, headerBytesMax: 65_536 },
  journal: { durability: 'sync', intervalMs: 100, segmentBytes: 64 * 1024 * 1024 },
  memory: { alarmFraction: 0.6, queueBytes: 16 * 1024 * 1024, bodyFraction: 0.4, heapFraction: 0.6 },
  disk: { freeMinBytes: 256 * 1024 * 1024 },
};
