/** `tidb-mesh routing get`, `plan` and `apply`: where tenants are served, as one document. */
import { Option, type Command } from 'commander';
import { CommandError, EXIT } from '../../errors.ts';
import { summaryOf } from '../../move/diagnosis/show.ts';
import { moves, type MoveRecord } from '../../move/record.ts';
import {
  applyRouting,
  isChange,
  parseRules,
  planRouting,
  routing,
  type Plan,
  type Step,
  type Wanted,
} from '../../move/routing.ts';
import { fulfilled } from '../../move/wishes.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import type { Tell } from '../../tell.ts';
import type { Result } from '../definition.ts';
import { readText } from '../files.ts';
import { jsonText, table } from '../output.ts';
import { pdCommand } from '../pd.ts';

const WAIT_MS = 600_000;

export const getRouting = pdCommand<{ readonly rules?: true }, []>({
  name: 'routing get',
  summary: 'show which tenant is served where',
  about: `Reads the records of moves in PD's etcd. A tenant that is being moved has a rule: "source_…" while it is
served where its move began, "target" where it is moved to. Other tenants have one place only. The revision
is that of etcd; \`routing apply\` refuses what has changed since.`,
  examples: [
    'tidb-mesh routing get --pd http://pd:2379',
    ['tidb-mesh routing get --json --pd http://pd:2379', 'as `routing plan` and `routing apply` read it'],
    ['tidb-mesh routing get --rules --pd http://pd:2379', 'only {"alpha": "source_alpha", …}'],
  ],
  define: (command) => command.option('--rules', 'print only the rules, as one JSON object'),
  run: async (pd, { options }) => {
    const found = await routing(pd);
    if (options.rules) return { value: found.rules, text: jsonText(found.rules) };
    const rows = found.tenants.map(({ tenant, servedAt, rule = '-', otherSide = '-', state = '-' }) => [
      tenant,
      servedAt,
      rule,
      otherSide,
      state,
    ]);
    const head = ['TENANT', 'SERVED AT', 'RULE', 'OTHER SIDE', 'STATE'];
    const text = rows.length === 0 ? 'there is no tenant' : table(head, rows);
    return { value: found, text: `${text}\nrevision ${found.revision}` };
  },
});

interface RulesOptions {
  readonly revision?: bigint;
}

const FILE = 'the rules (JSON), as `routing get` prints them in either form; - is the standard input';

function withRules(command: Command): Command {
  return command
    .argument('<file>', FILE)
    .addOption(
      new Option(
        '--revision <n>',
        'the revision that the rules were made from, where the file has none',
      ).argParser(parseRevision),
    );
}

function parseRevision(text: string): bigint {
  if (/^\d+$/.test(text)) return BigInt(text);
  throw new CommandError('USAGE', `--revision ${text}: must be a whole number`, 'take it from `routing get`');
}

/** @throws CommandError */
function wantedIn(file: string, { revision }: RulesOptions): Wanted {
  const wanted = parseRules(readText(file), file);
  return { ...wanted, revision: revision ?? wanted.revision };
}

function planText({ steps, changed }: Plan): string {
  if (steps.length === 0) return 'there are no rules';
  const rows = steps.map(({ tenant, now, wanted, action }) => [tenant, now, wanted, action]);
  const reasons = steps
    .filter(({ action }) => action === 'refused')
    .map(({ tenant, why, hint }) => `${tenant}: ${why ?? ''}\n  → ${hint ?? ''}`);
  return [
    table(['TENANT', 'SERVED AT', 'WANTED', 'ACTION'], rows),
    ...changed.map((what) => `changed since the revision of the rules: ${what}`),
    ...reasons,
  ].join('\n');
}

function canApply({ steps, changed }: Plan): boolean {
  return changed.length === 0 && !steps.some(({ action }) => action === 'refused');
}

function planned(plan: Plan): Result {
  const count = plan.steps.filter(isChange).length;
  const sum = canApply(plan) ? `${count} to switch; nothing was changed` : 'it would be refused';
  return {
    value: plan,
    text: `${planText(plan)}\n${sum}`,
    exit: canApply(plan) ? EXIT.ok : EXIT.failed,
  };
}

export const planRules = pdCommand<RulesOptions, [string]>({
  name: 'routing plan',
  summary: 'say what applying rules would do, and change nothing',
  about: `For each rule: switch, reverse, nothing, or refused with the reason and what to do. With a revision, it also
says what has changed since.`,
  examples: [
    'tidb-mesh routing plan rules.json --pd http://pd:2379',
    [`echo '{"alpha": "target"}' | tidb-mesh routing plan - --pd http://pd:2379`, 'one tenant'],
  ],
  exits: { [EXIT.ok]: 'all of it can be applied', [EXIT.failed]: 'it would be refused, or was not valid' },
  define: withRules,
  run: async (pd, { args: [file], options }) => planned(await planRouting(pd, wantedIn(file, options))),
});

interface ApplyOptions extends RulesOptions {
  readonly dryRun?: true;
  readonly wait?: true;
}

export const applyRules = pdCommand<ApplyOptions, [string]>({
  name: 'routing apply',
  summary: 'serve tenants where the rules say, reads and writes together',
  about: `Asks for the switches as \`move switch\` and \`move reverse\` do: for all of them at once, or for none. Only
tenants whose move follows can be switched. Tenants without a rule in the file stay as they are. It refuses
when one of its tenants was switched, or asked for something, since the revision of the rules, and says what
has changed. The workers do the switches, beside each other: tidb-mesh move run.`,
  examples: [
    'tidb-mesh routing apply rules.json --wait --pd http://pd:2379',
    [
      `echo '{"alpha": "target", "beta": "source_beta"}' | tidb-mesh routing apply - --revision 8125 --pd http://pd:2379`,
      'the revision is from `routing get`',
    ],
  ],
  exits: {
    [EXIT.ok]: 'asked for; with --wait, done',
    [EXIT.failed]: 'refused, and nothing was asked for; with --wait, a switch was not done, too',
  },
  define: (command) =>
    withRules(command)
      .option('--dry-run', 'the same as `routing plan`')
      .option('--wait', 'wait until all are switched'),
  run: async (pd, { args: [file], options, tell }) => {
    const wanted = wantedIn(file, options);
    if (options.dryRun) return planned(await planRouting(pd, wanted));
    const before = new Map((await moves(pd)).map(({ record }) => [record.tenant, record]));
    const plan = await applyRouting(pd, wanted);
    const changes = plan.steps.filter(isChange);
    if (changes.length === 0) return { value: plan, text: `${planText(plan)}\nthere is nothing to do` };
    if (!options.wait)
      return {
        value: plan,
        text: `${planText(plan)}\n${changes.length} will be switched; see: tidb-mesh move list`,
      };
    return waited(pd, plan, before, tell);
  },
});

/** Waits for each switch by itself. One that is not done does not end the others. */
async function waited(
  pd: Endpoint,
  plan: Plan,
  before: ReadonlyMap<string, MoveRecord>,
  tell: Tell,
): Promise<Result> {
  const changes = plan.steps.filter(isChange);
  const states = new Map<string, string>();
  let done = 0;
  const outcomes = await Promise.allSettled(
    changes.map(async ({ tenant }) => {
      const show = (now: MoveRecord): void => {
        states.set(tenant, `${tenant} ${summaryOf(now).state}`);
        tell(`${done} of ${changes.length} switched; ${[...states.values()].join(', ')}`);
      };
      const { switches = 0, createdAt } = before.get(tenant) ?? {};
      const record = await fulfilled(pd, tenant, {
        verb: 'switch',
        switches,
        createdAt,
        timeoutMs: WAIT_MS,
        tell: show,
      });
      done++;
      states.delete(tenant);
      return record;
    }),
  );
  const ended = changes.map((step, i) => endOf(step, outcomes[i]));
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' && outcome.reason instanceof CommandError ? [outcome.reason] : [],
  );
  const broken = outcomes.find(
    (outcome) => outcome.status === 'rejected' && !(outcome.reason instanceof CommandError),
  );
  if (broken?.status === 'rejected') throw broken.reason;
  const rows = ended.map(({ tenant, wanted, isDone, heldMs }) => [
    tenant,
    wanted,
    isDone ? 'yes' : 'no',
    heldMs === undefined ? '-' : `${heldMs} ms`,
  ]);
  return {
    value: { ...plan, ended },
    text: `${table(['TENANT', 'SERVED AT', 'DONE', 'WRITES HELD'], rows)}\n${done} of ${changes.length} are switched`,
    exit: errors.length === 0 ? EXIT.ok : EXIT.failed,
    errors,
  };
}

interface Ended extends Pick<Step, 'tenant' | 'wanted'> {
  readonly isDone: boolean;
  /** For how long writes were held, ms. */
  readonly heldMs?: number | undefined;
}

function endOf(
  { tenant, wanted }: Step,
  outcome: PromiseSettledResult<MoveRecord | undefined> | undefined,
): Ended {
  const isDone = outcome?.status === 'fulfilled';
  const record = isDone ? outcome.value : undefined;
  return { tenant, wanted, isDone, heldMs: record?.history.at(-1)?.writesHeldMs };
}
