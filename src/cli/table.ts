const gap = '  ';
/** A column is not made narrower than this, as long as there are wider ones. */
const narrowest = 6;

/**
 * Rows under their heads, each line at most `width` columns: what does not fit is cut in the widest columns, and ends
 * in `…`. Control characters, which a name may have, are shown escaped.
 */
export function renderTable(heads: readonly string[], rows: readonly (readonly string[])[], width: number): string {
  const lines = [heads, ...rows.map((row) => row.map(plain))];
  const widths = heads.map((_, column) => Math.max(...lines.map((line) => columnsOf(line[column] ?? ''))));
  narrow(widths, width - gap.length * (heads.length - 1));
  return lines
    .map((line) =>
      `${line.map((cell, column) => pad(cut(cell, widths[column]!), widths[column]!)).join(gap)}`.trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}

// The widest gives first.
function narrow(widths: number[], room: number): void {
  let over = widths.reduce((sum, each) => sum + each, 0) - room;
  while (over > 0) {
    const widest = Math.max(...widths);
    const index = widths.indexOf(widest);
    const next = Math.max(...widths.filter((each) => each < widest), room < widths.length * narrowest ? 1 : narrowest);
    if (widest <= next) return;
    const less = Math.min(over, widest - next);
    widths[index] = widest - less;
    over -= less;
  }
}

function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function columnsOf(text: string): number {
  return [...text].length;
}

function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, Math.max(0, width - 1)).join('')}…`;
}

function pad(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - columnsOf(text)));
}
