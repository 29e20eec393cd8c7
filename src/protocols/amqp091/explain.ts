import { BrokerError } from '../../core/errors.ts';
import type { Script, Shown } from '../../core/explain.ts';
import type { Value } from '../../core/properties.ts';
import { ProtocolError } from './errors.ts';
import { amqp091Format, blindCopyFormat } from './message.ts';
import { RoutingFacts, readCopies, readPropertyList } from './properties.ts';

/** Messages of AMQP 0-9-1, for `explain`. */
export const amqp091Script: Script = {
  name: 'amqp-0-9-1',
  title: 'AMQP 0-9-1',
  qosMax: -1,
  findAddress: ({ exchange, destination }) => ({ exchange, routingKey: destination, declares: null }),
  compose(described) {
    const native = described.as(amqp091Format);
    const facts = new RoutingFacts();
    try {
      facts.read(native, 0, native.length);
      if (facts.copiesAt < 0) return { format: amqp091Format, native, copies: [] };
      const { keys, blind } = readCopies(native, facts.copiesAt);
      return { format: blind ? blindCopyFormat : amqp091Format, native, copies: keys };
    } catch (error) {
      if (error instanceof ProtocolError) throw new BrokerError('precondition-failed', error.message);
      throw error;
    }
  },
  show(message) {
    const native = message.as(amqp091Format);
    const { headers, seconds, ...fields } = readPropertyList(native);
    const shown: Shown[] = [
      { place: 'delivery', name: 'exchange', value: message.exchange },
      { place: 'delivery', name: 'routing-key', value: message.routingKey },
    ];
    for (const [field, value] of Object.entries({ ...fields, timestamp: seconds })) {
      if (value === undefined) continue;
      const name = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      shown.push({ place: 'field', name, value: typeof value === 'string' ? value : String(value) });
    }
    for (const [name, value] of headers as ReadonlyMap<string, Value>) shown.push({ place: 'header', name, value });
    return { format: amqp091Format, native, shown };
  },
};
