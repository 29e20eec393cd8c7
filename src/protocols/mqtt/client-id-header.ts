import { Reader } from './decode.ts';
import { PropertyId, PropertyWriter } from './properties.ts';

/** The user property that says which client published a message, where the listener says so. */
const name = 'x-mqtt-client-id';
const nameOctets = Buffer.from(name);

/** The user property, as every message of the client has it. */
export function clientIdProperty(clientId: string): Buffer {
  return new PropertyWriter().pair(name, clientId).end();
}

/**
 * A property block with the client's id in front; what the client says under that name itself is left out.
 * @param native a block of a PUBLISH, known to be sound, without its length
 */
export function withClientId(native: Buffer, own: Buffer): Buffer {
  if (native.length === 0) return own;
  if (!native.includes(nameOctets)) return Buffer.concat([own, native]);
  const parts = [own];
  const reader = new Reader(native, 0, native.length);
  while (!reader.done) {
    const start = reader.at;
    if (!skipProperty(reader)) parts.push(native.subarray(start, reader.at));
  }
  return Buffer.concat(parts);
}

// True for a user property of the name.
function skipProperty(reader: Reader): boolean {
  switch (reader.octet()) {
    case PropertyId.payloadFormatIndicator:
      reader.octet();
      return false;
    case PropertyId.messageExpiryInterval:
      reader.long();
      return false;
    case PropertyId.userProperty: {
      const isName = reader.octets().equals(nameOctets);
      reader.octets();
      return isName;
    }
    default: // content type, response topic, correlation data
      reader.octets();
      return false;
  }
}
