/** Versions spoken, and the escapes of their headers [STOMP 1.2 §Value Encoding]; 1.0 has none. */
export type Version = '1.0' | '1.1' | '1.2';

export const versions: readonly Version[] = ['1.2', '1.1', '1.0'];

/** The highest version that both speak; no list at all means 1.0 [STOMP 1.2 §Connecting]. */
export function negotiate(accepted: string | undefined): Version | undefined {
  if (accepted === undefined) return '1.0';
  const offered = accepted.split(',').map((version) => version.trim());
  return versions.find((version) => offered.includes(version));
}

/** @throws RangeError for an escape that the version does not know [STOMP 1.2: undefined escapes are a fatal error] */
export function unescapeText(text: string, version: Version): string {
  if (version === '1.0' || !text.includes('\\')) return text;
  return text.replace(/\\(.?)/gs, (sequence, letter: string) => {
    switch (letter) {
      case 'n':
        return '\n';
      case 'c':
        return ':';
      case '\\':
        return '\\';
      case 'r':
        if (version === '1.2') return '\r';
    }
    throw new RangeError(`undefined escape sequence '${sequence}'`);
  });
}

/** Text that the version cannot spell loses what it lacks: 1.0 knows no line feed, 1.1 no carriage return. */
export function escapeText(text: string, version: Version): string {
  if (!/[\\:\n\r]/.test(text)) return text;
  if (version === '1.0') return text.replace(/[\r\n]/g, ' ');
  return text.replace(/[\\:\n\r]/g, (character) => {
    if (character === '\n') return '\\n';
    if (character === ':') return '\\c';
    if (character === '\\') return '\\\\';
    return version === '1.2' ? '\\r' : '';
  });
}

/** A name must not be cut at a colon, in whatever version. */
export function escapeName(text: string, version: Version): string {
  return version === '1.0' ? text.replace(/[:\r\n]/g, ' ') : escapeText(text, version);
}
