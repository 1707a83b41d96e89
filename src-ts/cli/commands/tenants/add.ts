/** `tidb-mesh tenants add`: gives tenants a number, and boundaries in PD. */
import { CommandError, EXIT } from '../../../errors.ts';
import type { Endpoint } from '../../../pd/endpoint.ts';
import { addTenant, type Added, type Wanted } from '../../../tenants/add.ts';
import type { Tenant } from '../../../tenants/tenant.ts';
import type { Call, Result } from '../../definition.ts';
import { readTenants, withConfig } from '../../files.ts';
import { pdCommand } from '../../pd.ts';
import { parseName, parseNumber } from './names.ts';

interface Options {
  readonly number?: number;
  readonly config?: string;
  readonly all?: true;
  readonly withData?: true;
}

type Args = [name?: string];

export const addTenants = pdCommand<Options, Args>({
  name: 'tenants add',
  summary: 'add a tenant: PD splits regions at its boundaries, and never merges across them',
  about: `A tenant's keys are one range of the store. PD gets one region label rule for it (tidb-mesh/NAME),
splits its regions at both boundaries and never merges across them. The rule outlives restarts of PD.
A new tenant's range must be empty, which the stores are asked for. The number is the lowest free
one. PD also gets a resource group NUMBER:default without a limit; with "ownDefaultGroup" in the
pluginConfig it is the tenant's \`default\`. Doing it again makes only what is missing.`,
  examples: [
    'tidb-mesh tenants add alpha --pd http://pd:2379',
    'tidb-mesh tenants add alpha --number 7 --pd https://pd:2379 --cert op.pem --key op.key --ca ca.pem',
    ['tidb-mesh tenants add --all --config mesh.yaml --pd http://pd:2379', 'every tenant of the mesh file'],
    ['tidb-mesh tenants add legacy --number 0 --pd http://pd:2379', 'the keys that are there already'],
  ],
  exits: { [EXIT.ok]: 'added, or there already', [EXIT.failed]: 'refused; with --all, others may be added' },
  define: (command) =>
    withConfig(
      command.argument('[name]', "the tenant's name: a-z, 0-9 and -", parseName),
      'take the tenant, its number and its key range from it',
    )
      .option('--number <n>', 'the number in its keys, 1 to 32766; default: the lowest free one', parseNumber)
      .option('--all', 'every tenant of --config')
      .option('--with-data', 'the keys in its range are its own already'),
  run: add,
});

/** The tenants that the command line asks for. */
function wanted(name: string | undefined, { config, all, number, withData }: Options): Wanted[] {
  if (all) {
    if (name !== undefined || number !== undefined)
      throw new CommandError(
        'USAGE',
        '--all takes names and numbers from --config',
        'leave NAME and --number out',
      );
    if (config === undefined)
      throw new CommandError('USAGE', '--all needs a file with the tenants', 'add --config FILE');
    return readTenants(config);
  }
  if (name === undefined)
    throw new CommandError('USAGE', 'no tenant is named', 'name the tenant, or give --all --config FILE');
  if (config === undefined && withData && number === undefined)
    throw new CommandError(
      'USAGE',
      '--with-data needs the range of the keys that are there',
      'give --config FILE, which has it, or --number N for table keys',
    );
  if (config === undefined) return [{ name, number }];
  const tenants = readTenants(config);
  const found = tenants.find((tenant) => tenant.name === name);
  if (!found) {
    const known = tenants.map((tenant) => tenant.name).join(', ');
    throw new CommandError(
      'USAGE',
      `--config ${config}: lists no tenant ${name}`,
      `add it there; it lists: ${known}`,
    );
  }
  if (number !== undefined && number !== found.number)
    throw new CommandError(
      'USAGE',
      `--config ${config}: ${name} has number ${found.number} there, not ${number}`,
      'leave --number out',
    );
  return [found];
}

async function add(pd: Endpoint, { args: [name], options, tell }: Call<Options, Args>): Promise<Result> {
  const done: Added[] = [];
  const failed: { name: string; error: CommandError }[] = [];
  const withData = options.withData ?? false;
  const all = wanted(name, options);
  for (const [i, tenant] of all.entries()) {
    const tellOne = (line: string): void =>
      tell(all.length === 1 ? line : `${i + 1} of ${all.length}: ${line}`);
    tellOne(`adding ${tenant.name}`);
    try {
      done.push(
        await addTenant(pd, tenant, { withData, isByName: options.config === undefined, tell: tellOne }),
      );
    } catch (error) {
      if (!options.all || !(error instanceof CommandError)) throw error;
      failed.push({ name: tenant.name, error });
      // A refused tenant does not hold the others back. A PD that does not answer does.
      if (error.code !== 'REFUSED') break;
    }
  }
  const fragments =
    options.config === undefined
      ? done.filter(({ isNew }) => isNew).map(({ tenant }) => fragment(tenant))
      : [];
  return {
    value: {
      tenants: done.map(({ tenant, isNew, skipped }) => ({ ...tenant, isNew, skippedNumbers: skipped })),
      failed: failed.map(({ name, error }) => ({ name, ...error.toJSON() })),
    },
    text: [...done.map(describe), ...fragments].join('\n'),
    exit: failed[0]?.error.exit ?? EXIT.ok,
    errors: failed.map(({ error }) => error),
  };
}

function describe({ tenant, isNew }: Added): string {
  return isNew
    ? `${tenant.name} is added with number ${tenant.number}; regions are split at its boundaries`
    : `${tenant.name} is there already, with number ${tenant.number}; regions are split at its boundaries`;
}

/** The tenant's entry in the pluginConfig. */
function fragment({ name, number }: Tenant): string {
  const more = number === 0 ? '' : ', "ownDefaultGroup": true';
  return `In the pluginConfig, below "tenants":\n  { "name": "${name}", "number": ${number}${more} }`;
}
