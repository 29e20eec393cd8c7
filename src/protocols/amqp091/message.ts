import { type MessageFormat, register } from '../../core/format.ts';
import { decodeProperties, encodeDead, encodeProperties } from './properties.ts';

/** `native` is the property list of the content header, flags first. */
export const amqp091Format: MessageFormat = register({
  name: 'amqp-0-9-1',
  id: 1,
  decode: decodeProperties,
  encode: encodeProperties,
  encodeDead,
});
