import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { BrokerError, type Condition } from '../core/errors.ts';
import type { Logger } from '../lib/log.ts';

/** An answer that is none of success: `{error, reason}` in RabbitMQ's words. */
export class HttpError extends Error {
  readonly status: number;
  readonly error: string;

  constructor(status: number, error: string, reason: string) {
    super(reason);
    this.status = status;
    this.error = error;
  }
}

export function notFound(reason = 'Not Found'): HttpError {
  return new HttpError(404, reason === 'Not Found' ? 'Object Not Found' : 'not_found', reason);
}

export function badRequest(reason: string): HttpError {
  return new HttpError(400, 'bad_request', reason);
}

export function notAuthorised(reason: string): HttpError {
  return new HttpError(401, 'not_authorised', reason);
}

const statusOf: Readonly<Record<Condition, readonly [status: number, error: string]>> = {
  'not-found': [404, 'not_found'],
  'unauthorized-access': [401, 'not_authorised'],
  'precondition-failed': [400, 'bad_request'],
  'invalid-field': [400, 'bad_request'],
  'not-allowed': [400, 'bad_request'],
  'not-implemented': [400, 'bad_request'],
  'illegal-state': [400, 'bad_request'],
  'no-route': [400, 'bad_request'],
  'quota-exceeded': [400, 'bad_request'],
  'resource-locked': [400, 'bad_request'],
  'resource-deleted': [404, 'not_found'],
  'resource-limit-exceeded': [503, 'service_unavailable'],
  'connection-forced': [503, 'service_unavailable'],
  'internal-error': [500, 'internal_error'],
};

/** What every error of a handler becomes; one of our own is logged, and tells nothing. */
export function answerError(
  error: FastifyError | Error,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Logger,
): FastifyReply {
  if (error instanceof HttpError) return reply.code(error.status).send({ error: error.error, reason: error.message });
  if (error instanceof BrokerError) {
    const [status, name] = statusOf[error.condition];
    return reply.code(status).send({ error: name, reason: error.message });
  }
  const { validation, statusCode } = error as FastifyError;
  if (validation !== undefined) return reply.code(400).send({ error: 'bad_request', reason: tellFaults(validation) });
  if (statusCode !== undefined && statusCode < 500) {
    return reply.code(statusCode).send({ error: 'bad_request', reason: error.message });
  }
  log.error({ url: request.routeOptions.url, err: error.message, stack: error.stack }, 'management: a fault of ours');
  return reply.code(500).send({ error: 'internal_error', reason: 'Internal Server Error' });
}

type Faults = NonNullable<FastifyError['validation']>;

// RabbitMQ's way: [{key_missing,write},{key_missing,read}]
function tellFaults(faults: Faults): string {
  const missing = faults.filter(({ keyword }) => keyword === 'required');
  if (missing.length > 0) {
    return `[${missing.map(({ params }) => `{key_missing,${String(params['missingProperty'])}}`).join(',')}]`;
  }
  const { instancePath, message, params } = faults[0]!;
  const key = instancePath.slice(1).replaceAll('/', '.');
  const allowed = params['allowedValues'];
  return `${key === '' ? 'the body' : key} ${message}${Array.isArray(allowed) ? ` (${allowed.join(', ')})` : ''}`;
}
