import type { Binding } from './exchange/binding.ts';
import { Exchange, type ExchangeSpec, type ExchangeType } from './exchange/exchange.ts';
import { bindingId } from './exchange/identity.ts';
import type { QueueSpec } from './queue/spec.ts';
import { type Pattern, parsePattern } from './topic.ts';
import { headersFromJson, headersToJson } from './typed-text.ts';

/** How topology is written to the journal: keys are names, values JSON that keeps the types of arguments. */

export function nameKey(vhost: string, name: string): string {
  return `${vhost}\0${name}`;
}

export function splitKey(key: string): [vhost: string, name: string] {
  const at = key.indexOf('\0');
  return [key.slice(0, at), key.slice(at + 1)];
}

export function bindingKey(vhost: string, binding: Binding): string {
  const id = bindingId(binding.destination, binding.key, binding.arguments);
  return `${vhost}\0${binding.source.name}\0${id}`;
}

export function encodeExchange(spec: ExchangeSpec): Buffer {
  return toBytes({ ...spec, arguments: headersToJson(spec.arguments) });
}

export function decodeExchange(value: Buffer): ExchangeSpec {
  const json = fromBytes<Omit<ExchangeSpec, 'arguments'> & { type: ExchangeType; arguments: object }>(value);
  return { ...json, arguments: headersFromJson(json.arguments) };
}

export function encodeQueue(spec: QueueSpec, id: number): Buffer {
  return toBytes({ id, name: spec.name, autoDelete: spec.autoDelete, arguments: headersToJson(spec.arguments) });
}

export function decodeQueue(value: Buffer): { id: number; spec: QueueSpec } {
  const json = fromBytes<{ id: number; name: string; autoDelete: boolean; arguments: object }>(value);
  const args = headersFromJson(json.arguments);
  return {
    id: json.id,
    spec: { name: json.name, durable: true, autoDelete: json.autoDelete, exclusiveTo: null, arguments: args },
  };
}

interface BindingRecord {
  source: string;
  destination: string;
  destinationType: 'queue' | 'exchange';
  key: string;
  arguments: object;
}

export function encodeBinding(binding: Binding): Buffer {
  const record: BindingRecord = {
    source: binding.source.name,
    destination: binding.destination.name,
    destinationType: binding.destination instanceof Exchange ? 'exchange' : 'queue',
    key: binding.key,
    arguments: headersToJson(binding.arguments) as object,
  };
  return toBytes(record);
}

export function decodeBinding(value: Buffer): BindingRecord & { pattern: Pattern } {
  const record = fromBytes<BindingRecord>(value);
  return { ...record, pattern: parsePattern(record.key) };
}

function toBytes(json: unknown): Buffer {
  return Buffer.from(JSON.stringify(json), 'utf8');
}

function fromBytes<T>(value: Buffer): T {
  return JSON.parse(value.toString('utf8')) as T;
}
