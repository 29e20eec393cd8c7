import type { FastifyInstance } from 'fastify';
import { badRequest } from './errors.ts';

/** Bodies are JSON objects, whatever their type is said to be; a form may carry one as its field `file`. */
export function acceptBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: { headers: object }, bytes: Buffer) => {
    const type = (request.headers as Record<string, string | undefined>)['content-type'] ?? '';
    const boundary = /^multipart\/form-data;.*boundary="?([^";]+)/i.exec(type)?.[1];
    return readObject(boundary === undefined ? bytes : findFile(bytes, boundary));
  });
  app.addHook('preValidation', async (request) => {
    request.body ??= {};
  });
}

function readObject(bytes: Buffer): object {
  const text = bytes.toString('utf8').trim();
  if (text === '') return {};
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw badRequest('not_json');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw badRequest('not_json');
  return json;
}

// [RFC 7578] the part of a form whose name is `file`
function findFile(bytes: Buffer, boundary: string): Buffer {
  const text = bytes.toString('latin1');
  for (const part of text.split(`--${boundary}`)) {
    const end = part.indexOf('\r\n\r\n');
    if (end < 0 || !/content-disposition:[^\r\n]*\bname="?file"?/i.test(part.slice(0, end))) continue;
    return Buffer.from(part.slice(end + 4).replace(/\r\n$/, ''), 'latin1');
  }
  throw badRequest("the form has no field 'file'");
}
