import type { Credentials } from '../../core/auth.ts';
import { decodeText } from '../../lib/bytes.ts';

/** SASL's outcomes [AMQP 1.0 §5.3.3.6]. */
export const SaslCode = { ok: 0, auth: 1, sys: 2 } as const;

/** @returns null when the mechanism is not offered, or the response not of its form */
export function readCredentials(mechanism: string, response: Buffer, anonymous: boolean): Credentials | null {
  switch (mechanism) {
    case 'PLAIN': {
      // [RFC 4616] authorization identity, NUL, user, NUL, password
      const first = response.indexOf(0);
      const second = response.indexOf(0, first + 1);
      if (first < 0 || second < 0) return null;
      return {
        mechanism,
        user: decodeText(response, first + 1, second),
        password: decodeText(response, second + 1, response.length),
      };
    }
    case 'ANONYMOUS':
      return anonymous ? { mechanism, user: '', password: '' } : null;
    default:
      return null;
  }
}
