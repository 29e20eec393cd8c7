import { isUtf8 } from 'node:buffer';
import { type Headers, isTyped, nestingMax, type Value } from '../core/properties.ts';
import { badRequest } from './errors.ts';

/** Arguments and headers as the API shows them: plain JSON, in which the types of numbers are lost. */
export function toJson(value: Value): unknown {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
  if (Buffer.isBuffer(value)) return isUtf8(value) ? value.toString('utf8') : value.toString('base64');
  if (Array.isArray(value)) return value.map(toJson);
  if (value instanceof Map) return headersToJson(value);
  if (!isTyped(value)) return null;
  switch (value.type) {
    case 'long':
    case 'ulong':
      return Number(value.value);
    case 'timestamp':
      return Math.floor(Number(value.value) / 1000);
    case 'decimal':
      return value.value / 10 ** value.scale;
    case 'uuid':
    case 'decimal32':
    case 'decimal64':
    case 'decimal128':
      return value.value.toString('hex');
    default:
      return value.value;
  }
}

export function headersToJson(headers: Headers): Record<string, unknown> {
  return Object.fromEntries([...headers].map(([name, value]) => [name, toJson(value)]));
}

/**
 * A number without a fraction is a long, as in RabbitMQ.
 * @throws HttpError 400 for what no protocol could say, nested as deeply
 */
export function fromJson(json: unknown, levels = nestingMax): Value {
  if (json === undefined || json === null) return null;
  if (typeof json === 'string' || typeof json === 'boolean') return json;
  if (typeof json === 'number') {
    return Number.isSafeInteger(json) ? { type: 'long', value: BigInt(json) } : { type: 'double', value: json };
  }
  if (levels === 0) throw badRequest('values are nested too deeply');
  if (Array.isArray(json)) return json.map((item) => fromJson(item, levels - 1));
  return headersFromJson(json as object, levels - 1);
}

export function headersFromJson(json: object | undefined, levels = nestingMax): Headers {
  return new Map(Object.entries(json ?? {}).map(([name, value]) => [name, fromJson(value, levels)]));
}
