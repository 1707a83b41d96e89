/** `npm run record`: runs the demo, and draws what a terminal shows meanwhile as docs/pictures/demo.svg. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { pieces, record } from './run.ts';
import { screens } from './screen.ts';
import { svg } from './svg.ts';

const SIZE = { columns: 112, rows: 70 };
const PACE = { shortest: 1, longest: 0.6, end: 12 };
const DEMO = 'npm run demo -- --once';
const PICTURE = join(fileURLToPath(new URL('../../docs/pictures/', import.meta.url)), 'demo.svg');

const command = new Command('npm run record --')
  .description('Records `npm run demo -- --once` and draws it as docs/pictures/demo.svg.')
  .option('--from <files...>', 'instead of a run: the output and the timing that `script` has written');

const { from } = command.parse().opts<{ from?: [string, string] }>();
const run =
  from === undefined
    ? await record(DEMO, SIZE)
    : pieces(readFileSync(from[0]), readFileSync(from[1], 'utf8'));
writeFileSync(PICTURE, svg(await screens(run, SIZE, PACE), SIZE, DEMO));
