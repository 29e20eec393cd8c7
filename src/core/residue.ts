import type { Value } from './properties.ts';

/**
 * What a protocol cannot say, not even in a companion header of its own name, as one header of text:
 *
 *     x-rosetta-residue: part *( "." part )      part = owner's letter, base64url
 *
 * Each protocol reads its own parts and hands the others on, so that they survive any number of crossings.
 */
export const residueHeader = 'x-rosetta-residue';

/** Characters of the header with all its parts; what would make it longer is a loss. */
const residueMax = 4096;

/** `a` sections of AMQP 1.0 · `p` properties of 0-9-1 · `m` `s` lines of MQTT 5 and STOMP that repeat · `k` headers · `f` fields. */
export type Part = 'a' | 'p' | 'm' | 's' | 'k' | 'f';

const grammar = /^[a-z][\w-]+(\.[a-z][\w-]+)*$/;

/** @returns false when there is no room for it, or a header of a publisher's own in its place */
export function addResidue(headers: Map<string, Value>, part: Part, octets: Buffer): boolean {
  const text = part + octets.toString('base64url');
  const others = headers.get(residueHeader);
  if (others !== undefined && !(typeof others === 'string' && grammar.test(others))) return false;
  const joined = others === undefined ? text : `${others}.${text}`;
  if (joined.length > residueMax) return false;
  headers.set(residueHeader, joined);
  return true;
}

/** Takes the part out of the header, and the header away with its last part. */
export function takeResidue(headers: Map<string, Value>, part: Part): Buffer | undefined {
  const text = headers.get(residueHeader);
  if (typeof text !== 'string' || !grammar.test(text)) return undefined;
  const parts = text.split('.');
  const own = parts.find((each) => each[0] === part);
  if (own === undefined) return undefined;
  const others = parts.filter((each) => each[0] !== part);
  if (others.length === 0) headers.delete(residueHeader);
  else headers.set(residueHeader, others.join('.'));
  return Buffer.from(own.slice(1), 'base64url');
}

/** @returns undefined when it is no JSON of ours */
export function takeJson(headers: Map<string, Value>, part: Part): unknown {
  const octets = takeResidue(headers, part);
  if (octets === undefined) return undefined;
  try {
    return JSON.parse(octets.toString('utf8'));
  } catch {
    return undefined;
  }
}

export function addJson(headers: Map<string, Value>, part: Part, json: unknown): boolean {
  return addResidue(headers, part, Buffer.from(JSON.stringify(json), 'utf8'));
}
