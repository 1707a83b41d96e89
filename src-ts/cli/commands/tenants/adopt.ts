/** `tidb-mesh tenants adopt`: makes a cluster that was there before the mesh tenant 0. */
import { CommandError, EXIT } from '../../../errors.ts';
import { adopt, checkAdoption, type Check } from '../../../tenants/adopt.ts';
import { pdCommand } from '../../pd.ts';
import { parseName } from './names.ts';

interface Options {
  readonly check?: true;
}

export const adoptTenants = pdCommand<Options, [string]>({
  name: 'tenants adopt',
  summary: 'make a cluster that was there before the mesh tenant 0',
  about: `The cluster keeps its keys: tenant 0 is what lies below t 80 01. The command checks that stores are up,
that no key and no name of the cluster would be another tenant's, and says what runs past the mesh.
Then PD gets the boundary of tenant 0, and splits a region there. No key is moved or changed.
Doing it again changes nothing.`,
  examples: [
    ['tidb-mesh tenants adopt legacy --check --pd http://pd:2379', 'only look'],
    'tidb-mesh tenants adopt legacy --pd http://pd:2379',
  ],
  exits: {
    [EXIT.ok]: 'adopted, or tenant 0 already',
    [EXIT.failed]: 'refused; or adopted, and PD has not split yet',
  },
  define: (command) =>
    command.argument('<name>', "the tenant's name", parseName).option('--check', 'check, and change nothing'),
  run: async (pd, { args: [name], options, tell }) => {
    const checks = await checkAdoption(pd, name, tell);
    const against = checks.filter(({ level }) => level === 'must');
    if (against.length > 0)
      throw new CommandError(
        'REFUSED',
        `${name} cannot be adopted, and nothing was changed: ${against.map(({ what }) => what).join('; ')}`,
        against.map(({ remedy }) => remedy).join('\n'),
      );
    const isNew = options.check ? undefined : await adopt(pd, name, tell);
    return {
      value: { name, number: 0, isNew: isNew ?? false, checks },
      text: [...checks.map(lineOf), ...end(name, isNew)].join('\n'),
    };
  },
});

function lineOf({ level, what, remedy }: Check): string {
  return `${level.padEnd(4)}  ${what}${remedy === '' ? '' : `\n      → ${remedy}`}`;
}

/** @param isNew undefined after a check alone */
function end(name: string, isNew: boolean | undefined): string[] {
  if (isNew === undefined) return [`${name} can be adopted`];
  return [
    isNew ? `${name} is tenant 0; no key was changed` : `${name} is tenant 0 already`,
    `In the pluginConfig, below "tenants":\n  { "name": "${name}", "number": 0 }`,
    'With "dryRun": true, the filter first counts what it would refuse (docs/configuration.md).',
  ];
}
