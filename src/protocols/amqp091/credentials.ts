import type { Credentials } from '../../core/auth.ts';
import type { Headers } from '../../core/properties.ts';
import { decodeText } from '../../lib/bytes.ts';
import { ProtocolError } from './errors.ts';
import { ReplyCode } from './spec.ts';
import { decodeTable } from './table.ts';

/**
 * Who a client says it is, in the response of connection.start-ok.
 * @param certificateName the name in the certificate that it has shown
 * @throws ProtocolError 503 for a mechanism that there is not, 502 for a response that is not of its form
 */
export function readCredentials(mechanism: string, response: Buffer, certificateName: string): Credentials {
  switch (mechanism) {
    case 'PLAIN':
      return readPlain(response);
    case 'AMQPLAIN':
      return readAmqplain(response);
    case 'EXTERNAL':
      return readExternal(response, certificateName);
    case 'ANONYMOUS':
      return { mechanism, user: '', password: '' };
    default:
      throw new ProtocolError(ReplyCode.commandInvalid, `unknown authentication mechanism '${mechanism}'`);
  }
}

// [RFC 4616] authorization identity, NUL, user, NUL, password: nobody acts in the name of another
function readPlain(response: Buffer): Credentials {
  const first = response.indexOf(0);
  const second = response.indexOf(0, first + 1);
  const user = decodeText(response, first + 1, Math.max(second, first + 1));
  const actsAs = decodeText(response, 0, Math.max(first, 0));
  if (first < 0 || second < 0 || (actsAs !== '' && actsAs !== user)) throw malformed('PLAIN');
  return { mechanism: 'PLAIN', user, password: decodeText(response, second + 1, response.length) };
}

// A field table without its length.
function readAmqplain(response: Buffer): Credentials {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(response.length);
  let table: Headers;
  try {
    table = decodeTable(Buffer.concat([length, response]), 0);
  } catch {
    throw malformed('AMQPLAIN');
  }
  const [user, password] = [table.get('LOGIN'), table.get('PASSWORD')];
  if (typeof user !== 'string' || typeof password !== 'string') throw malformed('AMQPLAIN');
  return { mechanism: 'AMQPLAIN', user, password };
}

// [RFC 4422 appendix A] the response may name who it wants to act as
function readExternal(response: Buffer, certificateName: string): Credentials {
  const actsAs = decodeText(response, 0, response.length);
  if (actsAs !== '' && actsAs !== certificateName) throw malformed('EXTERNAL');
  return { mechanism: 'EXTERNAL', user: certificateName, password: '' };
}

function malformed(mechanism: string): ProtocolError {
  return new ProtocolError(ReplyCode.syntaxError, `response is not of mechanism ${mechanism}`);
}
