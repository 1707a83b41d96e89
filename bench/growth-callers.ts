/** One worker's VM with 1 to 10,000 tenants and 1 to 1,000 rules configured: loading that, and finding out who calls. */
import { clocked } from './clock.ts';
import type { Subject } from './growth.ts';
import { callHeaders, HostedModule } from './module.ts';

const TENANTS = [1, 10, 100, 1_000, 10_000];
const RULES = [1, 10, 100, 1_000];
const HEADERS = callHeaders('/tikvpb.Tikv/KvGet');
const PRINCIPAL = 'spiffe://demo.mesh/ns/';
const REFUSED = ['tikvpb.Tikv/KvDeleteRange', 'GET /pd/api/v1/regions'];

export function tenantName(i: number): string {
  return `tenant-${i}`;
}

/** A pluginConfig of so many tenants, and so many rules of which the last is everybody's; `more` is added to it. */
export function configOf(tenants: number, rules: number, more: object = {}): Buffer {
  const others = Array.from({ length: rules - 1 }, (_, i) => ({
    principal: `${PRINCIPAL}operators-${i}/sa/*`,
    system: true,
  }));
  return Buffer.from(
    JSON.stringify({
      tenants: Array.from({ length: tenants }, (_, i) => ({ name: tenantName(i), number: i + 1 })),
      rules: [...others, { principal: `${PRINCIPAL}{tenant}/sa/*` }],
      ...more,
    }),
  );
}

const DIGITS = 8;

/** Callers of all tenants in turn, each time somebody who never called before. */
class NewCallers {
  private readonly texts: Buffer[];
  private count = 0;

  constructor(tenants: number) {
    this.texts = Array.from({ length: tenants }, (_, i) =>
      Buffer.from(`${PRINCIPAL}${tenantName(i)}/sa/${'0'.repeat(DIGITS)}`),
    );
  }

  next(): Buffer {
    const text = this.texts[this.count % this.texts.length]!;
    let rest = this.count++;
    for (let i = 1; i <= DIGITS; i++) {
      text[text.length - i] = 0x30 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    return text;
  }
}

/** A pluginConfig that refuses something to each of so many tenants. */
function configWithPolicies(tenants: number): Buffer {
  const refusals = Array.from({ length: tenants }, (_, i) => [tenantName(i), { refuse: REFUSED }]);
  return configOf(tenants, 1, { policy: { tenants: Object.fromEntries(refusals) } });
}

function start(config: Buffer): HostedModule {
  const module = new HostedModule();
  module.configure(config);
  return module;
}

function subjectOf(curve: string, along: string, at: number, work: () => void): Subject {
  return {
    curve,
    along,
    at,
    run: (times) =>
      clocked(() => {
        for (let i = 0; i < times; i++) work();
      }),
  };
}

function loadingPolicies(tenants: number): Subject {
  const config = configWithPolicies(tenants);
  const loading = start(config);
  return subjectOf('tenants, loading a policy for each', 'tenants', tenants, () => loading.configure(config));
}

function subjectsAt(along: string, at: number, tenants: number, rules: number): Subject[] {
  const config = configOf(tenants, rules);
  const [loading, resolving] = [start(config), start(config)];
  const callers = new NewCallers(tenants);
  const known = Array.from({ length: tenants }, (_, i) =>
    Buffer.from(`${PRINCIPAL}${tenantName(i)}/sa/tidb`),
  );
  let turn = 0;
  const call = (caller: Uint8Array): void => resolving.close(resolving.open(caller, HEADERS));
  const subject = (what: string, work: () => void): Subject =>
    subjectOf(`${along}, ${what}`, along, at, work);
  return [
    subject('loading the configuration', () => loading.configure(config)),
    subject("a new caller's stream", () => call(callers.next())),
    subject("a known caller's stream", () => call(known[turn++ % tenants]!)),
  ];
}

export function tenantSubjects(): Subject[] {
  return TENANTS.flatMap((tenants) => [
    ...subjectsAt('tenants', tenants, tenants, 1),
    loadingPolicies(tenants),
  ]);
}

export function ruleSubjects(): Subject[] {
  return RULES.flatMap((rules) => subjectsAt('rules', rules, 1, rules));
}
