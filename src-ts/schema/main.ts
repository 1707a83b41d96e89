/** `npm run schema`: writes the filter's tables from proto/. */
import { writeFileSync } from 'node:fs';
import { BITS_FILE, bitsText } from './bits.ts';
import { readDescriptors } from './descriptors.ts';
import { judge } from './judgement.ts';
import { layOut } from './layout.ts';
import { HTTP_TABLE_FILE } from './http-table.ts';
import { STATUS_FILE, statusText } from './statuses.ts';
import { TABLE_FILE, TEXTS_FILE, httpText, tableText, textsText } from './table.ts';

try {
  const judgement = judge(readDescriptors());
  const layout = layOut(judgement);
  writeFileSync(BITS_FILE, await bitsText());
  writeFileSync(TABLE_FILE, await tableText(judgement, layout));
  writeFileSync(HTTP_TABLE_FILE, await httpText(layout));
  writeFileSync(TEXTS_FILE, await textsText(layout));
  writeFileSync(STATUS_FILE, await statusText());
  console.log(
    `assembly/schema/table.ts: ${judgement.methods.length} methods, ${judgement.messages.length} messages, ${layout.bytes} bytes`,
  );
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
