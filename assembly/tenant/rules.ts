/** Reads the caller rules of a pluginConfig: they map callers to tenants. Ambiguity is rejected. */
import { MAX_FACTS } from './caller';
import { Fact, FIELD_NAMES, Field } from './facts';
import { FieldReader } from './field-reader';
import { Json, JsonType } from './json';
import { CAPTURE, covers, isExact, patternError } from './pattern';
import { TextIndex } from './text-index';

const NOTHING: ArrayBuffer = new ArrayBuffer(0);

/** A pattern over a fact. */
export class Condition {
  constructor(
    /** Index in Rules.peer or Rules.node. */
    public fact: i32,
    public pattern: ArrayBuffer,
  ) {}
}

export class Rule {
  /** ASCII; empty: the rule asks for no principal. */
  principal: ArrayBuffer = new ArrayBuffer(0);
  peer: Condition[] = [];
  node: Condition[] = [];
  /** Index in the configuration's tenants, or -1: it is captured. */
  tenant: i32 = -1;
  system: bool = false;
  /** Indexes of the tenants that it may act for: a proxy of another storage layer. Empty for all others. */
  actsFor: i32[] = [];

  /** It asks for more than a principal. */
  get hasConditions(): bool {
    return this.peer.length + this.node.length != 0;
  }
}

const MAX_LABEL_LENGTH: i32 = 317;
/** Rules at most: a new caller is compared with each, and each rule with all before it. */
const MAX_RULES: i32 = 1000;

/** The rule of a configuration without rules. It is safe, because only operators decide in which namespace a workload is (docs/decisions/0007). */
const DEFAULT_PRINCIPAL: string = 'spiffe://cluster.local/ns/{tenant}/sa/*';

const RULE_FIELDS: string[] = ['principal', 'peer', 'node', 'tenant', 'system', 'mayActFor'];

export class Rules {
  list: Rule[] = [];
  /** The principal alone selects the rule; other conditions can only refuse. */
  requirePrincipal: bool = true;
  /** The facts that rules ask for. */
  peer: Fact[] = [];
  node: Fact[] = [];
  /** The node's facts from Envoy; empty: not known. */
  nodeValues: ArrayBuffer[] = [];
  isNodeRead: bool = false;
  /** Rules with an exact principal, by principal; and the others, in order. */
  exact: TextIndex = new TextIndex();
  patterns: i32[] = [];

  add(rule: Rule, isExactly: bool): void {
    const i = this.list.length;
    this.list.push(rule);
    if (!isExactly) this.patterns.push(i);
    else this.exact.add(rule.principal, i);
  }

  free(): void {
    for (let i = 0; i < this.peer.length; i++) this.peer[i].free();
    for (let i = 0; i < this.node.length; i++) this.node[i].free();
  }
}

/** Reads `rules` and `requirePrincipal`. */
export class RulesReader extends FieldReader {
  rules: Rules = new Rules();
  private captured: bool = false;

  constructor(
    root: Json,
    /** The tenants' indexes in the configuration, by name. */
    private tenants: TextIndex,
  ) {
    super();
    this.rules.requirePrincipal = this.flag(root, 'requirePrincipal', '', true);
    const member = root.get('rules');
    if (this.error.length == 0) {
      if (member != null) this.all(member);
      else this.byDefault();
    }
    for (let i = 0; i < this.rules.node.length; i++) this.rules.nodeValues.push(NOTHING);
  }

  private byDefault(): void {
    if (!this.rules.requirePrincipal) this.fail('rules', 'must be given where "requirePrincipal" is false');
    const rule = new Rule();
    rule.principal = String.UTF8.encode(DEFAULT_PRINCIPAL);
    this.rules.add(rule, false);
  }

  private all(member: Json): void {
    if (member.type != JsonType.ARRAY || member.first == null) {
      this.fail(
        'rules',
        'must list at least one rule, for example {"principal": "' + DEFAULT_PRINCIPAL + '"}',
      );
      return;
    }
    const count = member.count();
    if (count > MAX_RULES)
      this.fail(
        'rules',
        'has ' +
          count.toString() +
          ' rules, and ' +
          MAX_RULES.toString() +
          ' are the most; serve many tenants by one rule that captures {tenant}',
      );
    let loose = false;
    let i = 0;
    let item = member.first;
    while (item != null && this.error.length == 0) {
      const rule = this.rule(item, '');
      this.within('rules', i++);
      if (rule.principal.byteLength == 0 || rule.hasConditions) loose = true;
      item = item.next;
    }
    if (!this.rules.requirePrincipal && !loose)
      this.fail('requirePrincipal', 'must not be false: every rule is decided by a principal alone');
  }

  private rule(json: Json, where: string): Rule {
    const rule = new Rule();
    this.known(json, where, RULE_FIELDS);
    const principal = this.text(json, 'principal', where);
    const tenant = this.text(json, 'tenant', where);
    rule.system = this.flag(json, 'system', where + '.');
    if (this.error.length != 0) return rule;
    if (principal.length != 0) this.pattern(principal, where + '.principal');
    const fromPrincipal = principal.indexOf(CAPTURE) >= 0;
    this.captured = fromPrincipal;
    rule.peer = this.conditions(json.get('peer'), where + '.peer', this.rules.peer);
    rule.node = this.conditions(json.get('node'), where + '.node', this.rules.node);
    if (this.error.length != 0) return rule;
    if (principal.length == 0 && (rule.system || this.rules.requirePrincipal || !rule.hasConditions))
      this.fail(where + '.principal', "is missing: a pattern over the caller's SPIFFE principal");
    const acts = json.get('mayActFor');
    if (acts != null) {
      this.actsFor(acts, rule, tenant.length != 0 || rule.system || this.captured, where);
      this.finish(rule, principal, where);
      return rule;
    }
    const named = tenant.length != 0;
    if (rule.system ? named || this.captured : named ? fromPrincipal : !this.captured)
      this.fail(
        where,
        'must say exactly one of: {tenant} in the principal, "tenant": "<name>", "system": true',
      );
    else if (this.rules.requirePrincipal && this.captured && !fromPrincipal && !named)
      this.fail(
        where,
        'would let a workload choose its tenant by its own metadata; capture {tenant} in the principal too, or name the tenant',
      );
    if (named) {
      const name = String.UTF8.encode(tenant);
      rule.tenant = this.tenants.find(changetype<usize>(name), name.byteLength);
      if (rule.tenant < 0) this.fail(where + '.tenant', '"' + tenant + '" is not in tenants');
    }
    this.finish(rule, principal, where);
    return rule;
  }

  private finish(rule: Rule, principal: string, where: string): void {
    if (this.error.length != 0) return;
    rule.principal = String.UTF8.encode(principal);
    this.reachable(rule, where);
    this.rules.add(rule, isExact(principal));
  }

  /** Reads the tenants for which a proxy of another storage layer may call. */
  private actsFor(json: Json, rule: Rule, isSomebody: bool, where: string): void {
    const path = where + '.mayActFor';
    if (isSomebody) this.fail(path, 'must stand alone: leave out {tenant}, "tenant" and "system"');
    else if (!this.rules.requirePrincipal)
      this.fail(path, 'needs "requirePrincipal": only a certificate tells which proxy calls');
    else if (json.type != JsonType.ARRAY || json.first == null)
      this.fail(path, 'must list the names of tenants, for example ["alpha"]');
    let item = json.first;
    while (item != null && this.error.length == 0) {
      const name = item.type == JsonType.STRING ? String.UTF8.encode(item.text) : NOTHING;
      const tenant = this.tenants.find(changetype<usize>(name), name.byteLength);
      if (tenant < 0)
        this.fail(
          path,
          item.type == JsonType.STRING
            ? '"' + item.text + '" is not in tenants'
            : 'must list the names of tenants, for example ["alpha"]',
        );
      else if (rule.actsFor.includes(tenant)) this.fail(path, '"' + item.text + '" is there twice');
      else rule.actsFor.push(tenant);
      item = item.next;
    }
  }

  private pattern(pattern: string, where: string): void {
    const wrong = patternError(pattern);
    if (wrong.length != 0) this.fail(where, wrong);
  }

  /** The index of a fact among those that rules ask for. */
  private factOf(facts: Fact[], field: Field, label: string, where: string): i32 {
    for (let i = 0; i < facts.length; i++) if (facts[i].field == field && facts[i].label == label) return i;
    if (facts.length == MAX_FACTS)
      this.fail(where, 'all rules together may ask for ' + MAX_FACTS.toString() + ' different facts only');
    else facts.push(new Fact(field, label));
    return facts.length - 1;
  }

  private condition(
    to: Condition[],
    facts: Fact[],
    field: Field,
    label: string,
    json: Json,
    where: string,
  ): void {
    const text = json.type == JsonType.STRING ? json.text : '';
    if (text.length == 0) this.fail(where, 'must be a text that is not empty');
    else this.pattern(text, where);
    if (this.error.length != 0) return;
    const fact = this.factOf(facts, field, label, where);
    if (text.indexOf(CAPTURE) >= 0) this.captured = true;
    to.push(new Condition(fact, String.UTF8.encode(text)));
  }

  private conditions(json: Json | null, where: string, facts: Fact[]): Condition[] {
    const found: Condition[] = [];
    if (json == null) return found;
    this.known(json, where, FIELD_NAMES);
    let value = json.first;
    while (value != null && this.error.length == 0) {
      const field = <Field>FIELD_NAMES.indexOf(value.name);
      const path = where + '.' + value.name;
      if (field == Field.LABEL) this.labels(value, path, found, facts);
      else this.condition(found, facts, field, '', value, path);
      value = value.next;
    }
    if (found.length == 0) this.fail(where, 'must name at least one of ' + FIELD_NAMES.join(', '));
    return found;
  }

  private labels(json: Json, where: string, to: Condition[], facts: Fact[]): void {
    if (json.type != JsonType.OBJECT || json.first == null)
      this.fail(where, 'must be an object: the names of labels with patterns');
    let value = json.first;
    while (value != null && this.error.length == 0) {
      const label = value.name;
      const bad = label.length == 0 || label.length > MAX_LABEL_LENGTH || label.indexOf('{') >= 0;
      if (bad || patternError(label).length != 0) this.fail(where, 'has a name that no label can have');
      else this.condition(to, facts, Field.LABEL, label, value, where + '["' + label + '"]');
      value = value.next;
    }
  }

  /** Rejects an unreachable rule. */
  private reachable(rule: Rule, where: string): void {
    if (rule.principal.byteLength == 0) return;
    const earlier = this.rules.list;
    for (let i = 0; i < earlier.length; i++) {
      if (!this.isWhole(earlier[i]) || !covers(earlier[i].principal, rule.principal)) continue;
      this.fail(
        where + '.principal',
        'is never reached: rules[' + i.toString() + '] comes first and matches the same principals',
      );
      return;
    }
  }

  /** True if the rule matches every caller whose principal it matches. */
  private isWhole(rule: Rule): bool {
    return this.rules.requirePrincipal || !rule.hasConditions;
  }
}
