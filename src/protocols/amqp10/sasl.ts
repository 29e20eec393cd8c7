import type { Credentials } from '../../core/auth.ts';
import { decodeText } from '../../lib/bytes.ts';

/** SASL's outcomes [AMQP 1.0 §5.3.3.6]. */
export const SaslCode = { ok: 0, auth: 1, sys: 2 } as const;

/** What a client is offered. SCRAM-SHA-256 is served beside them to who asks for it (docs/decisions/0401). */
export function mechanismsFor(anonymous: boolean, certificateName: string): readonly string[] {
  return ['PLAIN', ...(certificateName === '' ? [] : ['EXTERNAL']), ...(anonymous ? ['ANONYMOUS'] : [])];
}

/**
 * Who a client says it is.
 * @param certificateName the name in the certificate that it has shown
 * @returns null for a mechanism that there is not, or a response that is not of its form
 */
export function readCredentials(mechanism: string, response: Buffer, certificateName: string): Credentials | null {
  switch (mechanism) {
    case 'PLAIN':
      return readPlain(response);
    case 'EXTERNAL': {
      // [RFC 4422 appendix A] the response may name who it wants to act as
      const actsAs = decodeText(response, 0, response.length);
      if (certificateName === '' || (actsAs !== '' && actsAs !== certificateName)) return null;
      return { mechanism, user: certificateName, password: '' };
    }
    case 'ANONYMOUS':
      return { mechanism, user: '', password: '' };
    default:
      return null;
  }
}

// [RFC 4616] authorization identity, NUL, user, NUL, password: nobody acts in the name of another
function readPlain(response: Buffer): Credentials | null {
  const first = response.indexOf(0);
  const second = response.indexOf(0, first + 1);
  if (first < 0 || second < 0) return null;
  const user = decodeText(response, first + 1, second);
  const actsAs = decodeText(response, 0, first);
  if (actsAs !== '' && actsAs !== user) return null;
  return { mechanism: 'PLAIN', user, password: decodeText(response, second + 1, response.length) };
}
