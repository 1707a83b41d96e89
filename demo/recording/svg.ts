/** Screens as one SVG that plays by itself and shows its last screen where motion is not wanted. */
import type { Row, Screen } from './screen.ts';
import type { Size } from './run.ts';

const CHARACTER = 7.25;
const LINE = 15;
const MARGIN = 14;
const BAR = 26;

/** The terminal is dark on light and dark pages alike. */
const STYLE = `
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dce2;white-space:pre}
.bold{font-weight:700;fill:#fff}.dim{opacity:.62}
.c1{fill:#ff7b72}.c2{fill:#5fd38a}.c3{fill:#f2c14e}.c4{fill:#7ab7ff}.c5{fill:#d7a6ff}.c6{fill:#6fd6d6}`;

/** `title` is read out and stands in the window's bar. */
export function svg(screens: readonly Screen[], size: Size, title: string): string {
  const width = Math.ceil(size.columns * CHARACTER + 2 * MARGIN);
  const height = size.rows * LINE + BAR + MARGIN;
  const total = screens.reduce((sum, { seconds }) => sum + seconds, 0);
  const rows = new Map<string, number>();
  const idOf = (row: Row): number => {
    const text = spans(row);
    const id = rows.get(text) ?? rows.size;
    rows.set(text, id);
    return id;
  };
  const frames = screens.map((screen, i) => {
    const uses = screen.rows.flatMap((row, y) =>
      row.length === 0 ? [] : [`<use href="#r${idOf(row)}" y="${y * LINE}"/>`],
    );
    return `<g class="f" id="f${i}">${uses.join('')}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(title)}">`,
    `<title>${escape(title)}</title>`,
    `<style>${STYLE}\n${animation(screens, total)}</style>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#161b22" stroke="#6e7681"/>`,
    ...['#ff5f57', '#febc2e', '#28c840'].map(
      (fill, i) => `<circle cx="${16 + i * 18}" cy="14" r="5.5" fill="${fill}"/>`,
    ),
    `<text x="${width / 2}" y="18" text-anchor="middle" class="dim">${escape(title)}</text>`,
    `<defs>${[...rows].map(([text, id]) => `<g id="r${id}">${text}</g>`).join('')}</defs>`,
    `<g transform="translate(${MARGIN} ${BAR + 12})">`,
    ...frames,
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

function spans(row: Row): string {
  return row
    .map(({ text, column, style }) => {
      const width = ([...text].length * CHARACTER).toFixed(1);
      const look = style === '' ? '' : ` class="${style}"`;
      const x = (column * CHARACTER).toFixed(1);
      return `<text x="${x}"${look} textLength="${width}" lengthAdjust="spacingAndGlyphs">${escape(text)}</text>`;
    })
    .join('');
}

/** Each screen is visible in its part of the whole; only the last one without an animation. */
function animation(screens: readonly Screen[], total: number): string {
  let at = 0;
  const last = screens.length - 1;
  const rules = screens.map(({ seconds }, i) => {
    const from = percent(at / total);
    at += seconds;
    const to = percent(at / total);
    const before = i === 0 ? '' : '0%{visibility:hidden}';
    const after = i === last ? '100%{visibility:visible}' : `${to}{visibility:hidden}`;
    return `@keyframes k${i}{${before}${from}{visibility:visible}${after}}#f${i}{animation-name:k${i}}`;
  });
  return [
    `.f{visibility:hidden}#f${last}{visibility:visible}`,
    `@media (prefers-reduced-motion:no-preference){.f{animation:${total.toFixed(2)}s step-end infinite}${rules.join('')}}`,
  ].join('\n');
}

function percent(share: number): string {
  return `${(share * 100).toFixed(3)}%`;
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
