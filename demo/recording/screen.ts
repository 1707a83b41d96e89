/** What a terminal shows while a recorded command runs. The terminal is xterm.js, without a window. */
import xterm from '@xterm/headless';
import type { Piece, Size } from './run.ts';

/** Text of one style. */
export interface Span {
  readonly text: string;
  readonly column: number;
  /** Class names of `svg.ts`, such as `bold` or `c2` for the palette's third color. */
  readonly style: string;
}

export type Row = readonly Span[];

/** The rows of a screen, and for how many seconds it is shown. */
export interface Screen {
  readonly rows: readonly Row[];
  readonly seconds: number;
}

export interface Pace {
  /** A new screen is shown no sooner than this after the last, in seconds. */
  readonly shortest: number;
  /** Longer waits are cut to this. */
  readonly longest: number;
  /** The last screen stays for so long. */
  readonly end: number;
}

/** The screens that a viewer sees, one after the other. */
export async function screens(pieces: readonly Piece[], size: Size, pace: Pace): Promise<Screen[]> {
  const terminal = new xterm.Terminal({
    cols: size.columns,
    rows: size.rows,
    allowProposedApi: true,
  });
  const shown: Screen[] = [];
  let waited = 0;
  let rows: readonly Row[] = [];
  for (const { pause, text } of pieces) {
    waited += pause;
    if (waited >= pace.shortest && rows.length > 0) {
      shown.push({ rows, seconds: Math.min(waited, pace.longest) });
      waited = 0;
    }
    await new Promise<void>((resolve) => terminal.write(text, resolve));
    rows = rowsOf(terminal, size);
  }
  shown.push({ rows, seconds: pace.end });
  terminal.dispose();
  return merged(shown);
}

/** Screens that look alike are one. */
function merged(all: readonly Screen[]): Screen[] {
  const result: Screen[] = [];
  for (const screen of all) {
    const last = result.at(-1);
    if (last !== undefined && JSON.stringify(last.rows) === JSON.stringify(screen.rows))
      result[result.length - 1] = { rows: last.rows, seconds: last.seconds + screen.seconds };
    else result.push(screen);
  }
  return result;
}

function rowsOf(terminal: xterm.Terminal, { columns, rows }: Size): Row[] {
  const buffer = terminal.buffer.active;
  return Array.from({ length: rows }, (_, y) => {
    const line = buffer.getLine(buffer.baseY + y);
    const spans: Span[] = [];
    for (let column = 0; line !== undefined && column < columns; column++) {
      const cell = line.getCell(column);
      const text = cell?.getChars() ?? '';
      if (cell === undefined || text.trim() === '') continue;
      const style = styleOf(cell);
      const last = spans.at(-1);
      const gap = last === undefined ? 0 : column - last.column - [...last.text].length;
      if (last !== undefined && last.style === style && gap <= 1)
        spans[spans.length - 1] = { ...last, text: last.text + ' '.repeat(gap) + text };
      else spans.push({ text, column, style });
    }
    return spans;
  });
}

type Cell = NonNullable<ReturnType<NonNullable<ReturnType<xterm.IBuffer['getLine']>>['getCell']>>;

function styleOf(cell: Cell): string {
  const styles: string[] = [];
  if (cell.isBold()) styles.push('bold');
  if (cell.isDim()) styles.push('dim');
  if (cell.isFgPalette()) styles.push(`c${cell.getFgColor()}`);
  return styles.join(' ');
}
