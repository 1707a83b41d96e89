/** `tidb-mesh tenants`: adds, lists, empties and removes the tenants of a storage layer. */
import { InvalidArgumentError, type Command } from 'commander';
import type { Endpoint } from '../../pd/endpoint.ts';
import { addTenant, type Added, type Wanted } from '../../tenants/add.ts';
import { tenantsOfFile } from '../../tenants/config-file.ts';
import { run, UsageError, withPd, type ConnectionOptions } from '../../tenants/connection.ts';
import { listTenants } from '../../tenants/list.ts';
import { Refusal } from '../../tenants/refusal.ts';
import { emptyTenant, removeTenant } from '../../tenants/remove.ts';
import { columns, print, printJson, progress } from '../../tenants/show.ts';
import { nameError, numberError, type Tenant } from '../../tenants/tenant.ts';

const ADD_HELP = `
What it does:
  A tenant's keys are one range of the store. PD gets one region label rule for it (tidb-mesh/NAME),
  splits its regions at both borders and never merges across them. The rule outlives restarts of PD.
  A new tenant's range must be empty, which the stores are asked for; the number is the lowest free one.
  Doing it again changes nothing.

Examples:
  tidb-mesh tenants add alpha --pd http://pd:2379
  tidb-mesh tenants add alpha --number 7 --pd https://pd:2379 --cert op.pem --key op.key --ca ca.pem
  tidb-mesh tenants add --all --config plugin-config.json --pd http://pd:2379
  tidb-mesh tenants add legacy --number 0 --pd http://pd:2379     the keys that are there already

Exit code: 0 added or there already, 1 refused or PD does not answer, 2 wrong command line.`;

const REMOVE_HELP = `
Only a tenant of which nothing is left is removed: no key in the store, none in PD's etcd, no rule, resource
group or safe point of its own. Otherwise it prints what is there, counted, and how each goes; the way:
  1. stop its TiDBs, backups and changefeeds
  2. tidb-mesh tenants empty NAME --confirm NAME      destroys its data for good
  3. tidb-mesh tenants remove NAME
  4. take it out of the pluginConfig
Doing it again changes nothing.`;

const EMPTY_HELP = `
Destroys every key of the tenant in the stores, with all versions, and its keys in PD's etcd. There is no
way back: take a backup first. Refused while one of its TiDBs, backups or changefeeds runs.`;

interface AddOptions extends ConnectionOptions {
  readonly number?: number;
  readonly config?: string;
  readonly all?: boolean;
  readonly withData?: boolean;
}

export function register(program: Command): void {
  const tenants = program
    .command('tenants')
    .description('the tenants of a storage layer: add, list, empty, remove');

  withPd(tenants.command('add').argument('[name]', 'a-z, 0-9 and -', parseName))
    .description("add a tenant: its borders become borders of PD's regions and stay so")
    .option('--number <n>', 'the number in its keys, 1 to 32766; default: the lowest free one', parseNumber)
    .option('--config <file>', 'take the tenant, its number and its key space from this pluginConfig (JSON)')
    .option('--all', 'every tenant of --config')
    .option('--with-data', 'keys in its range are its own already')
    .addHelpText('after', ADD_HELP)
    .action((name: string | undefined, options: AddOptions) => run(options, (pd) => add(pd, name, options)));

  withPd(tenants.command('list'))
    .description(
      'all tenants: number, key space, regions, estimated size, what holds garbage collection back',
    )
    .action((options: ConnectionOptions) => run(options, (pd) => list(pd, options)));

  withPd(tenants.command('empty').argument('<name>', '', parseName))
    .description('destroy all data of a tenant')
    .option('--confirm <name>', "the tenant's name once more")
    .addHelpText('after', EMPTY_HELP)
    .action((name: string, options: ConnectionOptions & { confirm?: string }) =>
      run(options, (pd) => empty(pd, name, options)),
    );

  withPd(tenants.command('remove').argument('<name>', '', parseName))
    .description('remove a tenant of which nothing is left')
    .addHelpText('after', REMOVE_HELP)
    .action((name: string, options: ConnectionOptions) => run(options, (pd) => remove(pd, name, options)));
}

function parseName(text: string): string {
  const wrong = nameError(text);
  if (wrong !== undefined) throw new InvalidArgumentError(wrong);
  return text;
}

function parseNumber(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  const wrong = numberError(value);
  if (wrong !== undefined) throw new InvalidArgumentError(`${text}: ${wrong}`);
  return value;
}

/** The tenants that the command line asks for. */
function wanted(name: string | undefined, options: AddOptions): Wanted[] {
  const { config, all, number } = options;
  if (all) {
    if (name !== undefined || number !== undefined)
      throw new UsageError('--all takes names and numbers from --config: leave NAME and --number out');
    if (config === undefined) throw new UsageError('--all needs --config FILE');
    return read(config);
  }
  if (name === undefined) throw new UsageError('name the tenant, or give --all --config FILE');
  if (config === undefined) return [{ name, number }];
  const found = read(config).find((tenant) => tenant.name === name);
  if (!found) throw new UsageError(`--config ${config}: lists no tenant ${name}`);
  if (number !== undefined && number !== found.number)
    throw new UsageError(`--config ${config}: ${name} has number ${found.number} there, not ${number}`);
  return [found];
}

function read(file: string): Tenant[] {
  try {
    return tenantsOfFile(file);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function describe({ tenant, isNew }: Added): string {
  return isNew
    ? `${tenant.name} is added with number ${tenant.number}; its borders are borders of regions`
    : `${tenant.name} is there already, with number ${tenant.number}; its borders are borders of regions`;
}

async function add(pd: Endpoint, name: string | undefined, options: AddOptions): Promise<number> {
  const json = options.json ?? false;
  const done: Added[] = [];
  const failed: { name: string; error: string }[] = [];
  for (const tenant of wanted(name, options)) {
    try {
      const added = await addTenant(pd, tenant, {
        withData: options.withData ?? false,
        tell: progress(json),
      });
      done.push(added);
      if (!json) print(describe(added));
    } catch (error) {
      // With --all, a refused tenant does not hold the others back.
      if (!options.all || !(error instanceof Refusal)) throw error;
      failed.push({ name: tenant.name, error: error.message });
      if (!json) process.stderr.write(`tidb-mesh: ${error.message}\n`);
    }
  }
  if (json)
    printJson({
      tenants: done.map(({ tenant, isNew, skipped }) => ({ ...tenant, isNew, skippedNumbers: skipped })),
      failed,
    });
  else if (options.config === undefined)
    for (const { tenant } of done) print(`In the pluginConfig, below "tenants":\n  ${fragment(tenant)}`);
  return failed.length > 0 ? 1 : 0;
}

/** The tenant's entry in the pluginConfig. */
function fragment({ name, number }: Tenant): string {
  return `{ "name": "${name}", "number": ${number} }`;
}

async function list(pd: Endpoint, { json }: ConnectionOptions): Promise<number> {
  const all = await listTenants(pd);
  if (json) {
    printJson(all);
    return 0;
  }
  if (all.length === 0) {
    print('no tenants; add one: tidb-mesh tenants add NAME');
    return 0;
  }
  const head = [
    'NAME',
    'NUMBER',
    'KEY SPACE',
    'REGIONS',
    'ABOUT MiB',
    'ABOUT KEYS',
    'BORDERS',
    'HOLDS GC BACK',
  ];
  const rows = all.map((tenant) => [
    tenant.name,
    String(tenant.number ?? '?'),
    tenant.keySpace,
    String(tenant.regions),
    String(tenant.approximateMiB),
    String(tenant.approximateKeys),
    tenant.borders,
    tenant.holdsBack || '-',
  ]);
  print(columns([head, ...rows]));
  return 0;
}

async function empty(
  pd: Endpoint,
  name: string,
  options: ConnectionOptions & { confirm?: string },
): Promise<number> {
  if (options.confirm !== name)
    throw new UsageError(`this destroys all data of ${name}; say so with --confirm ${name}`);
  const json = options.json ?? false;
  const { stores, etcdKeys, rules } = await emptyTenant(pd, name, progress(json));
  if (json) printJson({ name, stores, etcdKeys, rules });
  else
    print(
      `${name} is empty: its keys at ${stores} ${stores === 1 ? 'store' : 'stores'} and ${etcdKeys} keys in PD's etcd are destroyed, and ${rules} of its rules and resource groups`,
    );
  return 0;
}

async function remove(pd: Endpoint, name: string, options: ConnectionOptions): Promise<number> {
  const json = options.json ?? false;
  const removed = await removeTenant(pd, name, progress(json));
  if (json) printJson({ name, removed });
  else
    print(
      removed
        ? `${name} is removed; take it out of the pluginConfig too`
        : `there is no tenant ${name}, and nothing is kept by that name`,
    );
  return 0;
}
