import { isDeathHeader } from './deaths.ts';
import { noteLoss } from './losses.ts';
import type { Death } from './message.ts';
import type { Properties, Value } from './properties.ts';
import { addJson, type Part, residueHeader, takeJson } from './residue.ts';
import { typesHeader } from './typed-text.ts';

type Line = readonly [name: string, text: string];

/**
 * Of a name that repeats the first line counts; the others, and the places of all, are residue:
 * `[["a"], ["b"], ["a", "second"]]`.
 */
export function keepRepeats(lines: readonly Line[], part: Part, properties: Properties): void {
  const seen = new Set<string>();
  const items: string[][] = [];
  for (const [name, text] of lines) {
    if (name === typesHeader || name === residueHeader) continue;
    items.push(seen.has(name) ? [name, text] : [name]);
    seen.add(name);
  }
  if (seen.size === items.length) return;
  const headers = new Map<string, Value>(properties.headers);
  if (addJson(headers, part, items)) properties.headers = headers;
  else properties.lost = [...(properties.lost ?? []), 'repeats'];
}

/**
 * The inverse: only a name that is there may repeat, behind the line that counts. The residue is anybody's: a user id, which
 * was checked, and what the broker says of a message that died are there once.
 */
export function restoreRepeats(lines: readonly Line[], part: Part, deaths: readonly Death[]): readonly Line[] {
  const residue = lines.find(([name]) => name === residueHeader);
  if (residue === undefined) return lines;
  const headers = new Map<string, Value>([residue]);
  const items = takeJson(headers, part);
  if (!Array.isArray(items)) return lines;
  const texts = new Map(lines.filter(([name]) => name !== residueHeader));
  const left = new Map(texts);
  const restored: Line[] = [];
  for (const item of items) {
    if (!Array.isArray(item)) continue;
    const [name, text] = item as unknown[];
    if (typeof name !== 'string') continue;
    const first = texts.get(name);
    if (first === undefined) noteLoss('repeats');
    else if (typeof text !== 'string') {
      if (left.delete(name)) restored.push([name, first]);
    } else if (left.has(name) || isOnce(name, deaths)) noteLoss('repeats');
    else restored.push([name, text]);
  }
  const others = headers.get(residueHeader);
  if (typeof others === 'string') left.set(residueHeader, others);
  return [...restored, ...left];
}

function isOnce(name: string, deaths: readonly Death[]): boolean {
  return name === 'user-id' || (deaths.length > 0 && isDeathHeader(name));
}
