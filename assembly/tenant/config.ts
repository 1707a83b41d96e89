/** The pluginConfig: who may call, which tenant they are, what is held at most. Ambiguity is refused at load. */
import { MAX_TENANT, MIN_TENANT } from '../keys/table';
import { Budget } from '../memory/held';
import { Json, JsonReader, JsonType } from './json';
import { CAPTURE, isTenantName, patternError } from './pattern';

const ETCD_PREFIX: string = '/tidb-mesh/';

/** One tenant. Lives outside of the garbage collector's sight as long as its configuration. */
export class Tenant {
  /** UTF-8 bytes of the name and of the prefix of its keys in etcd. */
  nameBytes: ArrayBuffer;
  prefixBytes: ArrayBuffer;
  /** Bytes of partial frames that its streams hold. */
  budget: Budget = new Budget();

  constructor(
    public name: string,
    public number: u32,
  ) {
    this.nameBytes = String.UTF8.encode(name);
    this.prefixBytes = String.UTF8.encode(ETCD_PREFIX + name + ':');
  }
}

export class Rule {
  principal: string = '';
  /** '' when the principal captures it or the rule is for a system principal. */
  tenant: string = '';
  system: bool = false;
}

export class Limits {
  maxMessageBytes: u32 = 64 * 1024 * 1024;
  heldBytesPerVM: u32 = 256 * 1024 * 1024;
  heldBytesPerTenant: u32 = 128 * 1024 * 1024;
}

export class Config {
  tenants: Tenant[] = [];
  rules: Rule[] = [];
  requirePrincipal: bool = true;
  limits: Limits = new Limits();

  tenant(name: string): Tenant | null {
    for (let i = 0; i < this.tenants.length; i++) if (this.tenants[i].name == name) return this.tenants[i];
    return null;
  }
}

const ROOT_FIELDS: string[] = ['tenants', 'rules', 'requirePrincipal', 'limits'];
const TENANT_FIELDS: string[] = ['name', 'number'];
const RULE_FIELDS: string[] = ['principal', 'tenant', 'system'];
const LIMIT_FIELDS: string[] = ['maxMessageBytes', 'heldBytesPerVM', 'heldBytesPerTenant'];

/** Smallest and largest value of a limit, in bytes. */
const MIN_LIMIT: f64 = 1024;
const MAX_LIMIT: f64 = 1024 * 1024 * 1024;

/** Reads a pluginConfig; `error` is '' or one line that names the field and the reason. */
export class ConfigReader {
  error: string = '';
  config: Config = new Config();

  constructor(text: string) {
    const reader = new JsonReader(text);
    const json = reader.read();
    if (reader.error.length != 0) this.error = reader.error;
    else this.root(json);
  }

  private fail(where: string, why: string): void {
    if (this.error.length == 0) this.error = where + ': ' + why;
  }

  private known(json: Json, where: string, names: string[]): void {
    if (json.type != JsonType.OBJECT) {
      this.fail(where, 'must be an object');
      return;
    }
    for (let i = 0; i < json.names.length; i++) {
      if (names.includes(json.names[i])) continue;
      const path = where == 'pluginConfig' ? json.names[i] : where + '.' + json.names[i];
      this.fail(path, 'unknown field; known here: ' + names.join(', '));
    }
  }

  private text(json: Json, name: string, where: string): string {
    const member = json.get(name);
    if (member == null) return '';
    if (member.type != JsonType.STRING || member.text.length == 0)
      this.fail(where + '.' + name, 'must be a text that is not empty');
    return member.text;
  }

  private list(json: Json, name: string, why: string): Json[] {
    const member = json.get(name);
    if (member == null || member.type != JsonType.ARRAY || member.items.length == 0) {
      this.fail(name, why);
      return [];
    }
    return member.items;
  }

  private root(json: Json): void {
    this.known(json, 'pluginConfig', ROOT_FIELDS);
    if (this.error.length != 0) return;
    const tenants = this.list(
      json,
      'tenants',
      'must list at least one tenant, for example {"name": "alpha", "number": 1}',
    );
    for (let i = 0; i < tenants.length; i++) this.tenant(tenants[i], 'tenants[' + i.toString() + ']');
    const rules = this.list(
      json,
      'rules',
      'must list at least one rule, for example {"principal": "spiffe://cluster.local/ns/{tenant}/sa/*"}; without rules nobody may call',
    );
    for (let i = 0; i < rules.length; i++) this.rule(rules[i], 'rules[' + i.toString() + ']');
    const require = json.get('requirePrincipal');
    if (require != null) {
      if (require.type != JsonType.BOOL) this.fail('requirePrincipal', 'must be true or false');
      else if (!require.bool)
        this.fail('requirePrincipal', 'must be true: no identity but the principal can be checked yet');
    }
    const limits = json.get('limits');
    if (limits != null) this.limits(limits);
    for (let i = 0; i < this.config.tenants.length; i++)
      this.config.tenants[i].budget.limit = this.config.limits.heldBytesPerTenant;
  }

  private tenant(json: Json, where: string): void {
    this.known(json, where, TENANT_FIELDS);
    const name = this.text(json, 'name', where);
    if (this.error.length != 0) return;
    if (!isTenantName(name)) {
      this.fail(where + '.name', 'must be 1 to 63 of a-z, 0-9 and -');
      return;
    }
    const number = json.get('number');
    const range = 'must be a whole number from ' + MIN_TENANT.toString() + ' to ' + MAX_TENANT.toString();
    if (number == null || number.type != JsonType.NUMBER || number.number != Math.floor(number.number)) {
      this.fail(where + '.number', range);
      return;
    }
    if (number.number < <f64>MIN_TENANT || number.number > <f64>MAX_TENANT) {
      this.fail(where + '.number', range);
      return;
    }
    const tenant = new Tenant(name, <u32>number.number);
    for (let i = 0; i < this.config.tenants.length; i++) {
      const other = this.config.tenants[i];
      if (other.name == name)
        this.fail(where + '.name', '"' + name + '" is the name of tenants[' + i.toString() + '] already');
      if (other.number == tenant.number)
        this.fail(
          where + '.number',
          tenant.number.toString() +
            ' is the number of tenants[' +
            i.toString() +
            '] already: two tenants would share one key space',
        );
    }
    this.config.tenants.push(tenant);
  }

  private rule(json: Json, where: string): void {
    this.known(json, where, RULE_FIELDS);
    const rule = new Rule();
    rule.principal = this.text(json, 'principal', where);
    rule.tenant = this.text(json, 'tenant', where);
    const system = json.get('system');
    if (system != null) {
      if (system.type != JsonType.BOOL) this.fail(where + '.system', 'must be true or false');
      rule.system = system.bool;
    }
    if (this.error.length != 0) return;
    if (rule.principal.length == 0) {
      this.fail(where + '.principal', "is missing: a pattern over the caller's SPIFFE principal");
      return;
    }
    const wrong = patternError(rule.principal);
    if (wrong.length != 0) this.fail(where + '.principal', wrong);
    const captures = rule.principal.indexOf(CAPTURE) >= 0;
    const ways = (captures ? 1 : 0) + (rule.tenant.length != 0 ? 1 : 0) + (rule.system ? 1 : 0);
    if (ways != 1)
      this.fail(
        where,
        'must say exactly one of: {tenant} in the principal, "tenant": "<name>", "system": true',
      );
    if (rule.tenant.length != 0 && this.config.tenant(rule.tenant) == null)
      this.fail(where + '.tenant', '"' + rule.tenant + '" is not in tenants');
    this.config.rules.push(rule);
  }

  private limit(json: Json, name: string, byDefault: u32): u32 {
    const member = json.get(name);
    if (member == null) return byDefault;
    const value = member.number;
    if (
      member.type == JsonType.NUMBER &&
      value == Math.floor(value) &&
      value >= MIN_LIMIT &&
      value <= MAX_LIMIT
    )
      return <u32>value;
    this.fail('limits.' + name, 'must be a whole number of bytes from 1024 to 1073741824');
    return byDefault;
  }

  private limits(json: Json): void {
    this.known(json, 'limits', LIMIT_FIELDS);
    if (this.error.length != 0) return;
    const limits = this.config.limits;
    limits.maxMessageBytes = this.limit(json, 'maxMessageBytes', limits.maxMessageBytes);
    limits.heldBytesPerVM = this.limit(json, 'heldBytesPerVM', limits.heldBytesPerVM);
    limits.heldBytesPerTenant = this.limit(json, 'heldBytesPerTenant', limits.heldBytesPerTenant);
  }
}
