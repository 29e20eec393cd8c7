import { BrokerError } from '../../core/errors.ts';
import type { Address, Composed, Description, Script, Shown } from '../../core/explain.ts';
import type { Message } from '../../core/message.ts';
import type { Value } from '../../core/properties.ts';
import { escapePrefix } from '../../core/text-headers.ts';
import { spell } from '../../core/typed-text.ts';
import { parseDestination, showDestination } from './destination.ts';
import { ProtocolError } from './frame.ts';
import { formats, nativeFor, readLines } from './message.ts';
import { isScheduledHeader, readTiming } from './scheduled.ts';

const version = '1.2';
const format = formats.none[version];

/** Messages of STOMP 1.2, for `explain`. */
export const stompScript: Script = {
  name: 'stomp',
  title: 'STOMP 1.2',
  qosMax: -1,
  findAddress,
  compose,
  show(message) {
    const native = nativeFor(message, version);
    const { headers } = message.properties;
    const shown: Shown[] = [
      { place: 'delivery', name: 'destination', value: showDestination(message.exchange, message.routingKey, 'auto') },
    ];
    const lines = readLines(native, version);
    const names = new Set(lines.map(([name]) => name));
    for (const [name, value] of lines) {
      const isOwn = (headers.has(name) && !names.has(escapePrefix + name)) || name.startsWith('x-');
      shown.push({ place: isOwn ? 'header' : 'field', name, value });
    }
    return { format, native, shown };
  },
};

// What says when it is to be routed is the frame's own; consumers see the number of the schedule instead.
function compose(described: Message, nowMs: number): Composed {
  const { properties } = described;
  const own = [...properties.headers];
  const isAgain = properties.headers.has('scheduledJobId');
  const timing = isAgain ? null : readTiming((_, name) => findText(properties.headers.get(name)), nowMs);
  const headers = new Map(own.filter(([name]) => !isScheduledHeader(name)));
  if (headers.size === own.length) return { format, native: described.as(format), copies: [] };
  if (timing !== null) headers.set('scheduledJobId', '…');
  return { format, native: format.encode({ ...properties, headers }, described), copies: [], timing };
}

function findText(value: Value | undefined): string | undefined {
  return value === undefined ? undefined : spell(value).text;
}

function findAddress({ destination }: Description): Address {
  const [first, ...others] = parse(destination);
  if (first === undefined || others.length > 0) {
    throw new BrokerError('invalid-field', `'${destination}' are several destinations: they are explained one by one`);
  }
  switch (first.kind) {
    case 'queue':
      return { exchange: '', routingKey: first.name, declares: first.declared ? first.name : null };
    case 'exchange':
      return { exchange: first.exchange, routingKey: first.key, declares: null };
    default:
      throw new BrokerError('invalid-field', `'${destination}' is its connection's own`);
  }
}

function parse(destination: string): ReturnType<typeof parseDestination>['destinations'] {
  try {
    return parseDestination(destination, 'auto').destinations;
  } catch (error) {
    if (error instanceof ProtocolError) throw new BrokerError('invalid-field', error.message);
    throw error;
  }
}
