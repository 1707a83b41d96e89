/** `npm run docs`: writes the references in docs/ from the code. */
import { writeFileSync } from 'node:fs';
import { commandsReference } from './commands.ts';
import { compatibilityReference } from './compatibility.ts';
import { configurationReference } from './configuration.ts';
import { licencesReference } from '../supply/licences.ts';
import { metricsReference } from './metrics.ts';
import { pathOf, withReference } from './page.ts';
import { refusalsReference } from './refusals.ts';

const PAGES = [
  ['configuration.md', configurationReference()],
  ['commands.md', commandsReference()],
  ['refusals.md', refusalsReference()],
  ['licences.md', licencesReference()],
  ['metrics.md', metricsReference()],
  ['compatibility.md', compatibilityReference()],
] as const;

for (const [page, reference] of PAGES) {
  writeFileSync(pathOf(page), await withReference(page, reference));
  console.log(`docs/${page} is written`);
}
