import type { PlainForm } from '../../core/plain-message.ts';
import { replyTopicHeader } from '../../core/reply.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { PropertyId } from './properties.ts';

const out = new OctetWriter();

/** A property block of user properties and a content type; QoS says whether it is durable. */
export function createPlain(userProperties: TextHeaders): PlainForm {
  return {
    protocol: 'mqtt',

    isPlainName: (name) => userProperties.isPlain(name) && name !== replyTopicHeader,

    // The block was read when it came: nothing in it is cut.
    read(message, parts) {
      const { bytes, nativeEnd } = message;
      parts.durable = message.qos > 0;
      let at = message.nativeStart;
      while (at < nativeEnd) {
        switch (bytes[at]) {
          case PropertyId.userProperty: {
            const nameEnd = at + 3 + bytes.readUInt16BE(at + 1);
            const valueEnd = nameEnd + 2 + bytes.readUInt16BE(nameEnd);
            if (!parts.addHeader(at + 3, nameEnd, nameEnd + 2, valueEnd)) return false;
            at = valueEnd;
            break;
          }
          case PropertyId.contentType: {
            const end = at + 3 + bytes.readUInt16BE(at + 1);
            if (!parts.setContentType(at + 3, end)) return false;
            at = end;
            break;
          }
          case PropertyId.topicAlias:
            at += 3;
            break;
          default:
            return false;
        }
      }
      return true;
    },

    write(parts) {
      const { bytes, contentTypeAt, contentTypeEnd } = parts;
      out.begin();
      if (contentTypeAt >= 0) {
        out.u8(PropertyId.contentType);
        out.u16(contentTypeEnd - contentTypeAt);
        out.range(bytes, contentTypeAt, contentTypeEnd);
      }
      for (let i = 0; i < parts.headers; i++) {
        const nameAt = parts.nameAt[i]!;
        const nameEnd = parts.nameEnd[i]!;
        const valueAt = parts.valueAt[i]!;
        const valueEnd = parts.valueEnd[i]!;
        out.u8(PropertyId.userProperty);
        out.u16(nameEnd - nameAt);
        out.range(bytes, nameAt, nameEnd);
        out.u16(valueEnd - valueAt);
        out.range(bytes, valueAt, valueEnd);
      }
      return out.end();
    },
  };
}
