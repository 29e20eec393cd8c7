import { encodeText } from '../../lib/bytes.ts';
import { AmqpError, decodeError, ErrorCondition } from './errors.ts';
import {
  AmqpArray,
  AmqpMap,
  type Any,
  Decoder,
  Described,
  encodeList,
  encodeValue,
  isTyped,
  symbol,
  uint,
} from './types.ts';

/**
 * The described lists of the specification as one table: what there is on a connection, in SASL, as a terminus, a
 * delivery's state, an error or a transaction. Transfers, dispositions and flows come too often for it, and are read
 * and written by offset where they are handled.
 */
interface Kinds {
  readonly any: Any;
  readonly boolean: boolean;
  readonly binary: Buffer;
  readonly error: ErrorValues;
  readonly map: AmqpMap;
  readonly string: string;
  readonly symbol: string;
  /** One symbol, or an array of them [§1.4, multiple]. */
  readonly symbols: readonly string[];
  readonly ubyte: number;
  readonly uint: number;
  readonly ulong: number;
  readonly ushort: number;
  /** Of a source or target, a delivery's state, or an outcome. */
  readonly composite: Composite;
}

type Field = readonly [name: string, kind: keyof Kinds, presence?: 'mandatory'];

const specs = {
  // transport [part 2]
  open: [
    0x10,
    ['containerId', 'string', 'mandatory'],
    ['hostname', 'string'],
    ['maxFrameSize', 'uint'],
    ['channelMax', 'ushort'],
    ['idleTimeout', 'uint'],
    ['outgoingLocales', 'symbols'],
    ['incomingLocales', 'symbols'],
    ['offeredCapabilities', 'symbols'],
    ['desiredCapabilities', 'symbols'],
    ['properties', 'map'],
  ],
  begin: [
    0x11,
    ['remoteChannel', 'ushort'],
    ['nextOutgoingId', 'uint', 'mandatory'],
    ['incomingWindow', 'uint', 'mandatory'],
    ['outgoingWindow', 'uint', 'mandatory'],
    ['handleMax', 'uint'],
    ['offeredCapabilities', 'symbols'],
    ['desiredCapabilities', 'symbols'],
    ['properties', 'map'],
  ],
  attach: [
    0x12,
    ['name', 'string', 'mandatory'],
    ['handle', 'uint', 'mandatory'],
    ['role', 'boolean', 'mandatory'],
    ['sndSettleMode', 'ubyte'],
    ['rcvSettleMode', 'ubyte'],
    ['source', 'composite'],
    ['target', 'composite'],
    ['unsettled', 'map'],
    ['incompleteUnsettled', 'boolean'],
    ['initialDeliveryCount', 'uint'],
    ['maxMessageSize', 'ulong'],
    ['offeredCapabilities', 'symbols'],
    ['desiredCapabilities', 'symbols'],
    ['properties', 'map'],
  ],
  flow: [
    0x13,
    ['nextIncomingId', 'uint'],
    ['incomingWindow', 'uint', 'mandatory'],
    ['nextOutgoingId', 'uint', 'mandatory'],
    ['outgoingWindow', 'uint', 'mandatory'],
    ['handle', 'uint'],
    ['deliveryCount', 'uint'],
    ['linkCredit', 'uint'],
    ['available', 'uint'],
    ['drain', 'boolean'],
    ['echo', 'boolean'],
    ['properties', 'map'],
  ],
  transfer: [
    0x14,
    ['handle', 'uint', 'mandatory'],
    ['deliveryId', 'uint'],
    ['deliveryTag', 'binary'],
    ['messageFormat', 'uint'],
    ['settled', 'boolean'],
    ['more', 'boolean'],
    ['rcvSettleMode', 'ubyte'],
    ['state', 'composite'],
    ['resume', 'boolean'],
    ['aborted', 'boolean'],
    ['batchable', 'boolean'],
  ],
  disposition: [
    0x15,
    ['role', 'boolean', 'mandatory'],
    ['first', 'uint', 'mandatory'],
    ['last', 'uint'],
    ['settled', 'boolean'],
    ['state', 'composite'],
    ['batchable', 'boolean'],
  ],
  detach: [0x16, ['handle', 'uint', 'mandatory'], ['closed', 'boolean'], ['error', 'error']],
  end: [0x17, ['error', 'error']],
  close: [0x18, ['error', 'error']],
  error: [0x1d, ['condition', 'symbol', 'mandatory'], ['description', 'string'], ['info', 'map']],
  // delivery states [§3.4]
  received: [0x23, ['sectionNumber', 'uint', 'mandatory'], ['sectionOffset', 'ulong', 'mandatory']],
  accepted: [0x24],
  rejected: [0x25, ['error', 'error']],
  released: [0x26],
  modified: [0x27, ['deliveryFailed', 'boolean'], ['undeliverableHere', 'boolean'], ['messageAnnotations', 'map']],
  // termini [§3.5]
  source: [
    0x28,
    ['address', 'any'],
    ['durable', 'uint'],
    ['expiryPolicy', 'symbol'],
    ['timeout', 'uint'],
    ['dynamic', 'boolean'],
    ['dynamicNodeProperties', 'map'],
    ['distributionMode', 'symbol'],
    ['filter', 'map'],
    ['defaultOutcome', 'composite'],
    ['outcomes', 'symbols'],
    ['capabilities', 'symbols'],
  ],
  target: [
    0x29,
    ['address', 'any'],
    ['durable', 'uint'],
    ['expiryPolicy', 'symbol'],
    ['timeout', 'uint'],
    ['dynamic', 'boolean'],
    ['dynamicNodeProperties', 'map'],
    ['capabilities', 'symbols'],
  ],
  deleteOnClose: [0x2b],
  deleteOnNoLinks: [0x2c],
  deleteOnNoMessages: [0x2d],
  deleteOnNoLinksOrMessages: [0x2e],
  // transactions [part 4]
  coordinator: [0x30, ['capabilities', 'symbols']],
  declare: [0x31, ['globalId', 'any']],
  discharge: [0x32, ['txnId', 'binary', 'mandatory'], ['fail', 'boolean']],
  declared: [0x33, ['txnId', 'binary', 'mandatory']],
  transactionalState: [0x34, ['txnId', 'binary', 'mandatory'], ['outcome', 'composite']],
  // security [§5.3]
  saslMechanisms: [0x40, ['mechanisms', 'symbols', 'mandatory']],
  saslInit: [0x41, ['mechanism', 'symbol', 'mandatory'], ['initialResponse', 'binary'], ['hostname', 'string']],
  saslChallenge: [0x42, ['challenge', 'binary', 'mandatory']],
  saslResponse: [0x43, ['response', 'binary', 'mandatory']],
  saslOutcome: [0x44, ['code', 'ubyte', 'mandatory'], ['additionalData', 'binary']],
} as const satisfies Record<string, readonly [code: number, ...fields: Field[]]>;

type Specs = typeof specs;
export type Name = keyof Specs;
type FieldOf<N extends Name> = Extract<Specs[N][number], Field>;
type Mandatory<F extends Field> = F extends readonly [string, keyof Kinds, 'mandatory'] ? F : never;

/** The fields of a described list by name; what is absent takes the specification's default where it is used. */
export type Values<N extends Name> = {
  readonly [F in FieldOf<N> as F[0]]?: Kinds[F[1]] | undefined;
} & { readonly [F in Mandatory<FieldOf<N>> as F[0]]: Kinds[F[1]] };

/** The fields of `error`, said by hand: it is a kind of field too. */
export interface ErrorValues {
  readonly condition: string;
  readonly description?: string | undefined;
  readonly info?: AmqpMap | undefined;
}

/** A described list of the table, or of somebody else's. */
export type Composite<N extends Name = Name> = { [K in N]: { readonly is: K } & Values<K> }[N] | Foreign;

/** What the table does not know: kept as it is. */
export interface Foreign {
  readonly is: 'foreign';
  readonly described: Described;
}

const nameOfCode = new Map<number, Name>();
const nameOfSymbol = new Map<string, Name>();
for (const [name, [code]] of Object.entries(specs) as [Name, readonly [number]][]) {
  nameOfCode.set(code, name);
  nameOfSymbol.set(symbolicDescriptor(name), name);
}

// `saslInit` is `amqp:sasl-init:list`.
function symbolicDescriptor(name: Name): string {
  return `amqp:${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}:list`;
}

export function codeOf(name: Name): number {
  return specs[name][0];
}

// — decoding ————————————————————————————————————————————————————————————————————————————————————————————————————————

/**
 * The described list at the decoder's place; the payload of a transfer lies behind it.
 * @throws AmqpError decode-error, or invalid-field naming the field
 */
export function decodePerformative(decoder: Decoder): Composite {
  const value = decoder.read();
  if (!(value instanceof Described)) throw decodeError('a performative is a described list');
  return toComposite(value);
}

export function toComposite(described: Described): Composite {
  const { descriptor, value } = described;
  const name = typeof descriptor === 'string' ? nameOfSymbol.get(descriptor) : nameOfCode.get(Number(descriptor));
  if (name === undefined) return { is: 'foreign', described };
  if (!Array.isArray(value)) throw decodeError(`${name} is not a list`);
  const [, ...fields] = specs[name] as readonly [number, ...Field[]];
  const result: Record<string, unknown> = { is: name };
  for (const [i, [field, kind, presence]] of fields.entries()) {
    const item: Any = value[i] ?? null;
    if (item !== null) result[field] = toKind(item, kind, name, field);
    else if (presence === 'mandatory') throw invalidField(name, field, 'is mandatory');
  }
  return result as unknown as Composite;
}

function toKind(value: Any, kind: keyof Kinds, name: Name, field: string): unknown {
  const typed = isTyped(value) ? value : null;
  switch (kind) {
    case 'any':
      return value;
    case 'boolean':
      if (typeof value === 'boolean') return value;
      break;
    case 'binary':
      if (Buffer.isBuffer(value)) return value;
      break;
    case 'string':
      if (typeof value === 'string') return value;
      break;
    case 'symbol':
      if (typed?.type === 'symbol') return typed.value;
      break;
    case 'symbols':
      return toSymbols(value, name, field);
    case 'map':
      if (value instanceof AmqpMap) return value;
      break;
    case 'ubyte':
    case 'ushort':
    case 'uint':
      if (typed?.type === kind) return typed.value;
      break;
    case 'ulong':
      if (typed?.type === 'ulong') return Number(typed.value);
      break;
    case 'error':
    case 'composite': {
      if (!(value instanceof Described)) break;
      const composite = toComposite(value);
      if (kind === 'error' && composite.is !== 'error') break;
      return composite;
    }
  }
  throw invalidField(name, field, `is not of type ${kind}`);
}

function toSymbols(value: Any, name: Name, field: string): readonly string[] {
  const items = value instanceof AmqpArray ? value.items : [value];
  return items.map((item) => {
    if (isTyped(item) && item.type === 'symbol') return item.value;
    throw invalidField(name, field, 'is not of type symbol');
  });
}

function invalidField(name: Name, field: string, why: string): AmqpError {
  return new AmqpError(ErrorCondition.invalidField, 'connection', `${name}.${field} ${why}`);
}

// — encoding ————————————————————————————————————————————————————————————————————————————————————————————————————————

/** The described list; fields behind the last one that is set are left out. */
export function encodePerformative<N extends Name>(name: N, values: Values<N>): Buffer {
  const [code, ...fields] = specs[name] as readonly [number, ...Field[]];
  const given = values as Record<string, unknown>;
  const items = fields.map(([field, kind]) => encodeKind(given[field], kind));
  while (items.length > 0 && items.at(-1)!.length === 1 && items.at(-1)![0] === 0x40) items.pop();
  return Buffer.concat([Buffer.from([0, 0x53, code]), encodeList(items)]);
}

function encodeKind(value: unknown, kind: keyof Kinds): Buffer {
  if (value === undefined) return encodeValue(null);
  switch (kind) {
    case 'symbol':
      return encodeValue(symbol(value as string));
    case 'symbols':
      return encodeSymbols(value as readonly string[]);
    case 'ubyte':
    case 'ushort':
      return encodeValue({ type: kind, value: value as number });
    case 'uint':
      return encodeValue(uint(value as number));
    case 'ulong':
      return encodeValue({ type: 'ulong', value: BigInt(value as number) });
    case 'error':
      return encodePerformative('error', value as ErrorValues);
    case 'composite':
      return encodeComposite(value as Composite);
    case 'string':
      return encodeValue(value as string);
    default:
      return encodeValue(value as Any);
  }
}

export function encodeComposite(composite: Composite): Buffer {
  if (composite.is === 'foreign') return encodeValue(composite.described);
  return encodePerformative(composite.is, composite as never);
}

// Symbols are ASCII; one alone needs no array.
function encodeSymbols(symbols: readonly string[]): Buffer {
  if (symbols.length === 1) return encodeValue(symbol(symbols[0]!));
  const octets = symbols.map(encodeText);
  if (octets.some(({ length }) => length > 255)) return encodeValue(new AmqpArray(symbols.map(symbol)));
  const items = octets.map((text) => Buffer.concat([Buffer.from([text.length]), text]));
  const body = Buffer.concat([Buffer.from([0xa3]), ...items]);
  if (body.length + 1 > 255 || symbols.length > 255) return encodeValue(new AmqpArray(symbols.map(symbol)));
  return Buffer.concat([Buffer.from([0xe0, body.length + 1, symbols.length]), body]);
}

/** As a value, for maps that hold states. */
export function toDescribed(composite: Composite): Described {
  return new Decoder(encodeComposite(composite)).read() as Described;
}
