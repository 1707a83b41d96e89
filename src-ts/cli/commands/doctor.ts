/** `tidb-mesh doctor`: finds what is wrong with a storage layer that tenants share. */
import { InvalidArgumentError, Option } from 'commander';
import { EXIT } from '../../errors.ts';
import { examine, GROUPS, type Finding, type Level } from '../../tenants/doctor.ts';
import { serverVersions, type ServerVersion } from '../../tenants/server-versions.ts';
import { overEnvoys, withEnvoys, type EnvoyOptions } from '../envoys.ts';
import { readTenants, withConfig } from '../files.ts';
import { table } from '../output.ts';
import { pdCommand } from '../pd.ts';

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
const DAY_SECONDS = 86_400;

interface Options extends EnvoyOptions {
  readonly config?: string;
  readonly maxAge: number;
  readonly versions?: boolean;
}

export const doctor = pdCommand<Options, []>({
  name: 'doctor',
  summary: 'find what is wrong with the storage layer, and who holds garbage collection back',
  about: `It looks at versions and stores, at the tenants' boundaries and the regions that span them, and at
garbage collection: PD's safe point, and by name every backup, changefeed and transaction that holds
it back. With --config, it also compares the tenants with those that PD knows. With --envoy, it asks
every address whether a filter answers: a server without one is open. It changes nothing.

With --versions, it lists the versions of PD, the stores and the TiDBs instead, and says for each
whether TiDB Mesh was run with it, only checked against its protocols, or neither.

Each finding is ok, a warning or wrong, and has a code that docs/doctor.md explains. Before the first
round of garbage collection is due, a safe point that has never moved is ok.`,
  examples: [
    'tidb-mesh doctor --pd http://pd:2379',
    'tidb-mesh doctor --versions --pd http://pd:2379',
    'tidb-mesh doctor --config mesh.yaml --pd https://pd:2379 --cert op.pem --key op.key --ca ca.pem',
    [
      'tidb-mesh doctor --pd http://pd:2379 --envoy http://pd-0:2379 http://tikv-0:20160 http://tikv-1:20160',
      'every PD and store, by the addresses that they advertise',
    ],
    ['tidb-mesh doctor --pd http://pd:2379 -o json | jq \'.[] | select(.level == "wrong")\'', 'for a script'],
  ],
  exits: { [EXIT.ok]: 'nothing is wrong', [EXIT.failed]: 'something is wrong, or PD refuses the call' },
  define: (command) =>
    withEnvoys(withConfig(command, 'tenants to compare with'), 'finds one without a filter')
      .addOption(
        new Option('--max-age <time>', 'how far garbage collection may be held back: 90m, 24h, 2d')
          .argParser(parseAge)
          .default(DAY_SECONDS, '24h'),
      )
      .option('--versions', 'list versions, and whether TiDB Mesh was tested with them'),
  run: async (pd, { options, tell }) => {
    const { config, maxAge, versions } = options;
    if (versions) {
      tell('asking PD, the stores and etcd');
      const found = await serverVersions(pd);
      return { value: found, text: versionsText(found) };
    }
    const configured = config === undefined ? {} : { configured: readTenants(config) };
    tell('asking PD and the stores');
    const findings = await overEnvoys(options, (envoys) =>
      examine(pd, { maxAgeSeconds: maxAge, ...configured, envoys }),
    );
    const isWrong = findings.some(({ level }) => level === 'wrong');
    return { value: findings, text: reportOf(findings), exit: isWrong ? EXIT.failed : EXIT.ok };
  },
});

const KNOWN: Record<ServerVersion['known'], string> = {
  mesh: '-',
  run: 'run with',
  checked: 'checked against',
  unknown: 'not known',
};

function versionsText(versions: readonly ServerVersion[]): string {
  const rows = versions.map(({ what, version, known, by }) => [
    what,
    version || 'not said',
    by === undefined ? KNOWN[known] : `${KNOWN[known]} ${by}`,
  ]);
  return `${table(['server', 'version', 'TiDB Mesh was'], rows)}\n\nWhat this means: docs/compatibility.md`;
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
    throw new InvalidArgumentError('It must be a number and a unit: 90m, 24h, 2d.');
  return Number(number) * (UNITS[unit] ?? 1);
}
