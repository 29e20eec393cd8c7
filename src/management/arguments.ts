import { isUtf8 } from 'node:buffer';
import { type Headers, isTyped, type Value } from '../core/properties.ts';

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

/** A number without a fraction is a long, as in RabbitMQ. */
export function fromJson(json: unknown): Value {
  if (json === undefined || json === null) return null;
  if (typeof json === 'string' || typeof json === 'boolean') return json;
  if (typeof json === 'number') {
    return Number.isSafeInteger(json) ? { type: 'long', value: BigInt(json) } : { type: 'double', value: json };
  }
  if (Array.isArray(json)) return json.map(fromJson);
  return headersFromJson(json as object);
}

export function headersFromJson(json: object | undefined): Headers {
  return new Map(Object.entries(json ?? {}).map(([name, value]) => [name, fromJson(value)]));
}
