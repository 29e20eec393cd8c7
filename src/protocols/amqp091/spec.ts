/** AMQP 0-9-1 with RabbitMQ's extensions: constants and the table of all methods [AMQP 0-9-1, amqp-rabbitmq-0.9.1]. */

export const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;
export const frameEnd = 0xce;
export const frameMinSize = 4096;
/** Type, channel and size before the payload, the end octet behind it. */
export const frameOverhead = 8;
export const protocolHeader = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);

export const ReplyCode = {
  success: 200,
  contentTooLarge: 311,
  noRoute: 312,
  connectionForced: 320,
  invalidPath: 402,
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
  frameError: 501,
  syntaxError: 502,
  commandInvalid: 503,
  channelError: 504,
  unexpectedFrame: 505,
  resourceError: 506,
  notAllowed: 530,
  notImplemented: 540,
  internalError: 541,
} as const;

export type ReplyCode = (typeof ReplyCode)[keyof typeof ReplyCode];

export type FieldType =
  | 'bit'
  | 'octet'
  | 'short'
  | 'long'
  | 'longlong'
  | 'shortstr'
  | 'longstr'
  | 'table'
  | 'timestamp';

export interface Method {
  readonly name: string;
  readonly classId: number;
  readonly methodId: number;
  /** Class and method id as one number: what a handler switches on. */
  readonly id: number;
  readonly fields: readonly (readonly [name: string, type: FieldType])[];
}

type Fields = Record<string, FieldType>;

function method(name: string, classId: number, methodId: number, fields: Fields = {}): Method {
  return { name, classId, methodId, id: (classId << 16) | methodId, fields: Object.entries(fields) };
}

const close: Fields = { replyCode: 'short', replyText: 'shortstr', classId: 'short', methodId: 'short' };
const tune: Fields = { channelMax: 'short', frameMax: 'long', heartbeat: 'short' };
const bind: Fields = {
  reserved: 'short',
  destination: 'shortstr',
  source: 'shortstr',
  routingKey: 'shortstr',
  noWait: 'bit',
  arguments: 'table',
};

export const methods = {
  connectionStart: method('connection.start', 10, 10, {
    versionMajor: 'octet',
    versionMinor: 'octet',
    serverProperties: 'table',
    mechanisms: 'longstr',
    locales: 'longstr',
  }),
  connectionStartOk: method('connection.start-ok', 10, 11, {
    clientProperties: 'table',
    mechanism: 'shortstr',
    response: 'longstr',
    locale: 'shortstr',
  }),
  connectionSecure: method('connection.secure', 10, 20, { challenge: 'longstr' }),
  connectionSecureOk: method('connection.secure-ok', 10, 21, { response: 'longstr' }),
  connectionTune: method('connection.tune', 10, 30, tune),
  connectionTuneOk: method('connection.tune-ok', 10, 31, tune),
  connectionOpen: method('connection.open', 10, 40, {
    virtualHost: 'shortstr',
    capabilities: 'shortstr',
    insist: 'bit',
  }),
  connectionOpenOk: method('connection.open-ok', 10, 41, { knownHosts: 'shortstr' }),
  connectionClose: method('connection.close', 10, 50, close),
  connectionCloseOk: method('connection.close-ok', 10, 51),
  connectionBlocked: method('connection.blocked', 10, 60, { reason: 'shortstr' }),
  connectionUnblocked: method('connection.unblocked', 10, 61),
  connectionUpdateSecret: method('connection.update-secret', 10, 70, { newSecret: 'longstr', reason: 'shortstr' }),
  connectionUpdateSecretOk: method('connection.update-secret-ok', 10, 71),

  channelOpen: method('channel.open', 20, 10, { outOfBand: 'shortstr' }),
  channelOpenOk: method('channel.open-ok', 20, 11, { channelId: 'longstr' }),
  channelFlow: method('channel.flow', 20, 20, { active: 'bit' }),
  channelFlowOk: method('channel.flow-ok', 20, 21, { active: 'bit' }),
  channelClose: method('channel.close', 20, 40, close),
  channelCloseOk: method('channel.close-ok', 20, 41),

  accessRequest: method('access.request', 30, 10, {
    realm: 'shortstr',
    exclusive: 'bit',
    passive: 'bit',
    active: 'bit',
    write: 'bit',
    read: 'bit',
  }),
  accessRequestOk: method('access.request-ok', 30, 11, { ticket: 'short' }),

  exchangeDeclare: method('exchange.declare', 40, 10, {
    reserved: 'short',
    exchange: 'shortstr',
    type: 'shortstr',
    passive: 'bit',
    durable: 'bit',
    autoDelete: 'bit',
    internal: 'bit',
    noWait: 'bit',
    arguments: 'table',
  }),
  exchangeDeclareOk: method('exchange.declare-ok', 40, 11),
  exchangeDelete: method('exchange.delete', 40, 20, {
    reserved: 'short',
    exchange: 'shortstr',
    ifUnused: 'bit',
    noWait: 'bit',
  }),
  exchangeDeleteOk: method('exchange.delete-ok', 40, 21),
  exchangeBind: method('exchange.bind', 40, 30, bind),
  exchangeBindOk: method('exchange.bind-ok', 40, 31),
  exchangeUnbind: method('exchange.unbind', 40, 40, bind),
  exchangeUnbindOk: method('exchange.unbind-ok', 40, 51),

  queueDeclare: method('queue.declare', 50, 10, {
    reserved: 'short',
    queue: 'shortstr',
    passive: 'bit',
    durable: 'bit',
    exclusive: 'bit',
    autoDelete: 'bit',
    noWait: 'bit',
    arguments: 'table',
  }),
  queueDeclareOk: method('queue.declare-ok', 50, 11, {
    queue: 'shortstr',
    messageCount: 'long',
    consumerCount: 'long',
  }),
  queueBind: method('queue.bind', 50, 20, {
    reserved: 'short',
    queue: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    noWait: 'bit',
    arguments: 'table',
  }),
  queueBindOk: method('queue.bind-ok', 50, 21),
  queuePurge: method('queue.purge', 50, 30, { reserved: 'short', queue: 'shortstr', noWait: 'bit' }),
  queuePurgeOk: method('queue.purge-ok', 50, 31, { messageCount: 'long' }),
  queueDelete: method('queue.delete', 50, 40, {
    reserved: 'short',
    queue: 'shortstr',
    ifUnused: 'bit',
    ifEmpty: 'bit',
    noWait: 'bit',
  }),
  queueDeleteOk: method('queue.delete-ok', 50, 41, { messageCount: 'long' }),
  queueUnbind: method('queue.unbind', 50, 50, {
    reserved: 'short',
    queue: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    arguments: 'table',
  }),
  queueUnbindOk: method('queue.unbind-ok', 50, 51),

  basicQos: method('basic.qos', 60, 10, { prefetchSize: 'long', prefetchCount: 'short', global: 'bit' }),
  basicQosOk: method('basic.qos-ok', 60, 11),
  basicConsume: method('basic.consume', 60, 20, {
    reserved: 'short',
    queue: 'shortstr',
    consumerTag: 'shortstr',
    noLocal: 'bit',
    noAck: 'bit',
    exclusive: 'bit',
    noWait: 'bit',
    arguments: 'table',
  }),
  basicConsumeOk: method('basic.consume-ok', 60, 21, { consumerTag: 'shortstr' }),
  basicCancel: method('basic.cancel', 60, 30, { consumerTag: 'shortstr', noWait: 'bit' }),
  basicCancelOk: method('basic.cancel-ok', 60, 31, { consumerTag: 'shortstr' }),
  basicPublish: method('basic.publish', 60, 40, {
    reserved: 'short',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    mandatory: 'bit',
    immediate: 'bit',
  }),
  basicReturn: method('basic.return', 60, 50, {
    replyCode: 'short',
    replyText: 'shortstr',
    exchange: 'shortstr',
    routingKey: 'shortstr',
  }),
  basicDeliver: method('basic.deliver', 60, 60, {
    consumerTag: 'shortstr',
    deliveryTag: 'longlong',
    redelivered: 'bit',
    exchange: 'shortstr',
    routingKey: 'shortstr',
  }),
  basicGet: method('basic.get', 60, 70, { reserved: 'short', queue: 'shortstr', noAck: 'bit' }),
  basicGetOk: method('basic.get-ok', 60, 71, {
    deliveryTag: 'longlong',
    redelivered: 'bit',
    exchange: 'shortstr',
    routingKey: 'shortstr',
    messageCount: 'long',
  }),
  basicGetEmpty: method('basic.get-empty', 60, 72, { clusterId: 'shortstr' }),
  basicAck: method('basic.ack', 60, 80, { deliveryTag: 'longlong', multiple: 'bit' }),
  basicReject: method('basic.reject', 60, 90, { deliveryTag: 'longlong', requeue: 'bit' }),
  basicRecoverAsync: method('basic.recover-async', 60, 100, { requeue: 'bit' }),
  basicRecover: method('basic.recover', 60, 110, { requeue: 'bit' }),
  basicRecoverOk: method('basic.recover-ok', 60, 111),
  basicNack: method('basic.nack', 60, 120, { deliveryTag: 'longlong', multiple: 'bit', requeue: 'bit' }),

  confirmSelect: method('confirm.select', 85, 10, { noWait: 'bit' }),
  confirmSelectOk: method('confirm.select-ok', 85, 11),

  txSelect: method('tx.select', 90, 10),
  txSelectOk: method('tx.select-ok', 90, 11),
  txCommit: method('tx.commit', 90, 20),
  txCommitOk: method('tx.commit-ok', 90, 21),
  txRollback: method('tx.rollback', 90, 30),
  txRollbackOk: method('tx.rollback-ok', 90, 31),
} as const;

const byId = new Map<number, Method>(Object.values(methods).map((each) => [each.id, each]));

export function findMethod(id: number): Method | undefined {
  return byId.get(id);
}
