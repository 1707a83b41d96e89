/** `tidb-mesh doctor`: finds what is wrong with a storage layer that tenants share. */
import { InvalidArgumentError, type Command } from 'commander';
import { tenantsOfFile } from '../../tenants/config-file.ts';
import { run, UsageError, withPd, type ConnectionOptions } from '../../tenants/connection.ts';
import { examine, GROUPS, type Finding, type Level } from '../../tenants/doctor.ts';
import { print, printJson } from '../../tenants/show.ts';

const HELP = `
It looks at versions and stores, at the tenants' borders and the regions that reach over them, and at garbage
collection: PD's safe point, and by name every backup, changefeed and transaction that holds it back.
With --config it also compares the pluginConfig with what PD knows. It changes nothing.

Each finding is ok, a warning, or wrong, and has a code that docs/doctor.md explains. Before the first round of garbage
collection is due, a safe point that has never moved is ok.

Exit code: 0 nothing is wrong, 1 something is wrong or PD does not answer, 2 wrong command line.

Examples:
  tidb-mesh doctor --pd http://pd:2379
  tidb-mesh doctor --config mesh.yaml --pd https://pd:2379 --cert op.pem --key op.key --ca ca.pem`;

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

interface DoctorOptions extends ConnectionOptions {
  readonly config?: string;
  readonly maxAge: number;
}

export function register(program: Command): void {
  withPd(program.command('doctor'))
    .description('say what is wrong with the storage layer, and who holds garbage collection back')
    .option('--config <file>', 'the pluginConfig (JSON), to compare')
    .option('--max-age <time>', 'how far garbage collection may be held back: 90m, 24h, 2d', parseAge, 86_400)
    .addHelpText('after', HELP)
    .action((options: DoctorOptions) =>
      run(options, async (pd) => {
        const findings = await examine(pd, {
          maxAgeSeconds: options.maxAge,
          ...(options.config === undefined ? {} : { configured: read(options.config) }),
        });
        if (options.json) printJson(findings);
        else print(reportOf(findings));
        return findings.some(({ level }) => level === 'wrong') ? 1 : 0;
      }),
    );
}

const MARKS: Record<Level, string> = { ok: 'ok', warning: 'warning', wrong: 'WRONG' };
const MARK_WIDTH = 9;

/** Writes the findings by group, and a line with their numbers. */
function reportOf(findings: readonly Finding[]): string {
  const lines: string[] = [];
  for (const group of GROUPS) {
    const some = findings.filter((finding) => finding.group === group);
    if (some.length > 0) lines.push(group);
    for (const { level, code, what, remedy, link } of some) {
      lines.push(`  ${MARKS[level].padEnd(MARK_WIDTH)}${what} [${code}]`);
      if (level !== 'ok') for (const more of [`→ ${remedy}`, `  ${link}`]) lines.push(`           ${more}`);
    }
  }
  const counts = (['wrong', 'warning', 'ok'] as const).map(
    (level) => `${findings.filter((finding) => finding.level === level).length} ${level}`,
  );
  return [...lines, counts.join(', ')].join('\n');
}

function parseAge(text: string): number {
  const [, number, unit] = /^(\d+)([smhd])$/.exec(text) ?? [];
  if (number === undefined || unit === undefined)
    throw new InvalidArgumentError('a number and a unit: 90m, 24h, 2d');
  return Number(number) * (UNITS[unit] ?? 1);
}

function read(file: string): ReturnType<typeof tenantsOfFile> {
  try {
    return tenantsOfFile(file);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}
