/** `tidb-mesh doctor`: what is wrong with a storage layer that tenants share. */
import { InvalidArgumentError, type Command } from 'commander';
import { tenantsOfFile } from '../../tenants/config-file.ts';
import { run, UsageError, withPd, type ConnectionOptions } from '../../tenants/connection.ts';
import { examine } from '../../tenants/doctor.ts';
import { print, printJson } from '../../tenants/show.ts';

const HELP = `
It looks at versions and stores, at the tenants' borders and the regions that reach over them, and at garbage
collection: PD's safe point, and by name every backup, changefeed and transaction that holds it back.
With --config it also compares the pluginConfig with what PD knows. It changes nothing.

Exit code: 0 all is well, 1 something is wrong (each line says what to do) or PD does not answer, 2 wrong command line.`;

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

interface DoctorOptions extends ConnectionOptions {
  readonly config?: string;
  readonly maxAge: number;
}

/** Adds `doctor` to the program. */
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
        const count = findings.filter(({ level }) => level === 'wrong').length;
        if (options.json) printJson(findings);
        else {
          for (const { level, what, remedy } of findings)
            print(level === 'ok' ? `  ok     ${what}` : `  WRONG  ${what}\n         → ${remedy}`);
          print(count === 0 ? 'all is well' : `${count} ${count === 1 ? 'thing is' : 'things are'} wrong`);
        }
        return count > 0 ? 1 : 0;
      }),
    );
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
