/** What the pluginConfig refuses beyond the tables, resolved to bits; and the dry run. It can only take away: what adds nothing is an error. */
import { commandFor, isOpen, nameRule, ruleCount } from '../policy/names';
import { newTightening, refusesRule, tighten } from '../policy/tighten';
import { beginText, clearText, textAt, textLength } from '../texts/writer';
import { isSameBytes } from '../wire/bytes';
import { FieldReader } from './field-reader';
import { Json, JsonType } from './json';
import { Tenant, Trial } from './tenant';
import { TextIndex } from './text-index';

const SLASH: u8 = 0x2f;
const STAR: u8 = 0x2a;

const POLICY_FIELDS: string[] = ['refuse', 'tenants'];
const TENANT_FIELDS: string[] = ['refuse'];

/** What an entry of a list has done. */
const enum Found {
  NO_RULE,
  NOTHING_NEW,
  ADDED,
}

/** Refuses these tenants what has this name or, when it ends in `/*`, lies below it. */
function refuse(at: usize, length: usize, tenants: Tenant[]): Found {
  const isFamily = length > 1 && load<u8>(at + length - 1) == STAR && load<u8>(at + length - 2) == SLASH;
  const size = isFamily ? length - 1 : length;
  let found = Found.NO_RULE;
  for (let rule: u32 = 0; rule < ruleCount(); rule++) {
    clearText();
    nameRule(rule);
    if (isFamily ? textLength < size : textLength != size) continue;
    if (!isSameBytes(textAt, at, size)) continue;
    found = max<Found>(found, Found.NOTHING_NEW);
    if (!isOpen(rule)) continue;
    for (let i = 0; i < tenants.length; i++) {
      const tenant = tenants[i];
      if (refusesRule(tenant.tightening, rule)) continue;
      if (tenant.tightening == 0) tenant.tightening = newTightening();
      tighten(tenant.tightening, rule, commandFor(rule));
      found = Found.ADDED;
    }
  }
  return found;
}

/** Reads "policy" and "dryRun". */
export class PolicyReader extends FieldReader {
  constructor(
    root: Json,
    private tenants: Tenant[],
    names: TextIndex,
  ) {
    super();
    const json = root.get('policy');
    if (json != null) this.policy(json, names);
    if (this.flag(root, 'dryRun', '')) this.dryRun();
  }

  private policy(json: Json, names: TextIndex): void {
    // The names of rules are written there, one in the place of the other.
    beginText();
    this.known(json, 'policy', POLICY_FIELDS);
    this.list(json, 'policy', this.tenants);
    const some = json.get('tenants');
    if (some == null) return;
    if (some.type != JsonType.OBJECT) this.fail('policy.tenants', 'must be an object');
    let member = some.first;
    while (member != null) {
      const name = member.name;
      const where = 'policy.tenants.' + name;
      const bytes = String.UTF8.encode(name);
      const place = names.find(changetype<usize>(bytes), bytes.byteLength);
      if (place < 0) {
        this.fail(where, '"' + name + '" is not in tenants');
        return;
      }
      this.known(member, where, TENANT_FIELDS);
      this.list(member, where, [this.tenants[place]]);
      member = member.next;
    }
  }

  private list(json: Json, where: string, tenants: Tenant[]): void {
    const list = json.get('refuse');
    if (list == null) return;
    where += '.refuse';
    if (list.type != JsonType.ARRAY)
      this.fail(where, 'must be a list, for example ["tikvpb.Tikv/KvDeleteRange", "GET /pd/api/v1/regions"]');
    let i = 0;
    let item = list.first;
    while (item != null && this.error.length == 0) {
      const place = where + '[' + (i++).toString() + ']';
      const bytes = String.UTF8.encode(item.text);
      const found = refuse(changetype<usize>(bytes), bytes.byteLength, tenants);
      if (item.type != JsonType.STRING) this.fail(place, 'must be a text');
      if (found == Found.NO_RULE) this.fail(place, '"' + item.text + '" is no method or endpoint');
      if (found == Found.NOTHING_NEW)
        this.fail(place, '"' + item.text + '" is refused already; leave it out');
      item = item.next;
    }
  }

  private dryRun(): void {
    for (let i = 0; i < this.tenants.length; i++) {
      const tenant = this.tenants[i];
      if (tenant.number != 0) continue;
      // What passes unread could reach everything: it does so only while there is nobody else.
      tenant.trial = this.tenants.length == 1 ? Trial.ALL : Trial.POLICY;
      return;
    }
    this.fail(
      'dryRun',
      'is for tenant 0, the keys that are there already, and tenants lists none with number 0',
    );
  }
}
