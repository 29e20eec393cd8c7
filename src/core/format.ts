import type { Lookup } from './lookup.ts';
import type { Death, Message } from './message.ts';
import type { PlainForm } from './plain-message.ts';
import type { Properties } from './properties.ts';

/**
 * One wire dialect's way of writing what belongs to a message beside its body. `native` is always octets: the
 * publisher's own content header, property block or header lines, which nobody but the format reads.
 */
export interface MessageFormat {
  readonly name: string;
  /** Written into the journal, never reused. */
  readonly id: number;
  decode(native: Buffer, message: Message): Properties;
  /** Finds a header or a field as `decode` would, of a message that has not died; without it all is decoded. */
  readonly lookup?: Lookup;
  /** Reads and writes plain messages as `decode` and `encode` would; without it all are decoded and encoded. */
  readonly plain?: PlainForm;
  /**
   * From the properties and the message's facts: never from its body, publisher or sequence, for messages that agree in
   * the rest share a translation.
   * @returns octets of their own, which nobody writes to
   */
  encode(properties: Properties, message: Message): Buffer;
  /** `native` with another value of a text header that it has; without it the properties are encoded. */
  replaceHeader?(native: Buffer, name: string, value: string): Buffer;
  /** `native` with the headers that deaths are shown in, all else as it was; without it the properties are encoded. */
  encodeDead?(native: Buffer, deaths: readonly Death[]): Buffer;
}

const formats: (MessageFormat | undefined)[] = [];

/** Makes a format known to the journal's recovery; called once by the format's own file. */
export function register<F extends MessageFormat>(format: F): F {
  if (formats[format.id] !== undefined) throw new Error(`message format id ${format.id} is taken`);
  formats[format.id] = format;
  return format;
}

export function findFormat(id: number): MessageFormat | undefined {
  return formats[id];
}
