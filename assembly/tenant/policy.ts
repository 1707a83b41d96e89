/** Reads the policy and dryRun of a pluginConfig and resolves them to bits. A policy can only take away; an entry without effect is an error. */
import { Codec } from '../keys/codec';
import { commandFor, isOpen, nameOperation, operationCount } from '../policy/names';
import { newPolicyBits, refusesOperation, setRefused } from '../policy/policy-bits';
import * as writer from '../texts/writer';
import { DryRun } from '../terms/terms';
import { isSameBytes } from '../wire/bytes';
import { FieldReader } from './field-reader';
import { Json, JsonType } from './json';
import { Tenant } from './tenant';
import { TextIndex } from './text-index';

const SLASH: u8 = 0x2f;
const STAR: u8 = 0x2a;

const POLICY_FIELDS: string[] = ['refuse', 'tenants'];
const TENANT_FIELDS: string[] = ['refuse'];

/** The effect of an entry of a list. */
const enum Found {
  NO_OPERATION,
  NOTHING_NEW,
  ADDED,
}

/** The names of all operations, in order. Writing them for each of ten thousand tenants would take seconds. */
function namesOfRules(): ArrayBuffer[] {
  const names: ArrayBuffer[] = [];
  writer.beginText();
  for (let operation: u32 = 0; operation < operationCount(); operation++) {
    writer.clearText();
    nameOperation(operation);
    const name = new ArrayBuffer(<i32>writer.textLength);
    memory.copy(changetype<usize>(name), writer.textAt, writer.textLength);
    names.push(name);
  }
  return names;
}

/** Why an entry of a list is rejected. */
function reasonAgainst(item: Json, found: Found): string {
  if (item.type != JsonType.STRING) return 'must be a text';
  const entry = '"' + item.text + '"';
  return found == Found.NO_OPERATION
    ? entry + ' is no method or endpoint'
    : entry + ' is refused already; leave it out';
}

/** Reads "policy" and "dryRun". */
export class PolicyReader extends FieldReader {
  private ruleNames: ArrayBuffer[] = [];

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
    this.ruleNames = namesOfRules();
    this.known(json, 'policy', POLICY_FIELDS);
    this.list(json, 'policy', 0, this.tenants.length);
    const some = json.get('tenants');
    if (some == null) return;
    if (some.type != JsonType.OBJECT) this.fail('policy.tenants', 'must be an object');
    let member = some.first;
    while (member != null && this.error.length == 0) {
      this.tenant(member, names);
      this.withinMember('policy.tenants', member.name);
      member = member.next;
    }
  }

  private tenant(json: Json, names: TextIndex): void {
    const bytes = String.UTF8.encode(json.name);
    const place = names.find(changetype<usize>(bytes), bytes.byteLength);
    if (place < 0) {
      this.fail('', '"' + json.name + '" is not in tenants');
      return;
    }
    this.known(json, '', TENANT_FIELDS);
    this.list(json, '', place, 1);
  }

  /** Applies a list to `count` tenants from index `first` on. */
  private list(json: Json, where: string, first: i32, count: i32): void {
    const list = json.get('refuse');
    if (list == null) return;
    if (list.type != JsonType.ARRAY)
      this.fail(
        where + '.refuse',
        'must be a list, for example ["tikvpb.Tikv/KvDeleteRange", "GET /pd/api/v1/regions"]',
      );
    let i = 0;
    let item = list.first;
    while (item != null && this.error.length == 0) {
      const bytes = String.UTF8.encode(item.text);
      const found = this.refuse(changetype<usize>(bytes), bytes.byteLength, first, count);
      if (item.type != JsonType.STRING || found != Found.ADDED)
        this.fail(where + '.refuse[' + i.toString() + ']', reasonAgainst(item, found));
      i++;
      item = item.next;
    }
  }

  /** Refuses an operation to these tenants. A name that ends in `/*` stands for all below it. */
  private refuse(at: usize, length: usize, first: i32, count: i32): Found {
    const isFamily = length > 1 && load<u8>(at + length - 1) == STAR && load<u8>(at + length - 2) == SLASH;
    const size = isFamily ? length - 1 : length;
    let found = Found.NO_OPERATION;
    for (let i = 0; i < this.ruleNames.length; i++) {
      const name = this.ruleNames[i];
      const nameLength = <usize>name.byteLength;
      if (isFamily ? nameLength < size : nameLength != size) continue;
      if (!isSameBytes(changetype<usize>(name), at, size)) continue;
      found = max<Found>(found, this.refuseOperation(<u32>i, first, count));
    }
    return found;
  }

  private refuseOperation(operation: u32, first: i32, count: i32): Found {
    let found = Found.NOTHING_NEW;
    if (!isOpen(operation)) return found;
    for (let i = first; i < first + count; i++) {
      const terms = this.tenants[i].terms;
      if (refusesOperation(terms.policyBits, operation)) continue;
      if (terms.policyBits == 0) terms.policyBits = newPolicyBits();
      setRefused(terms.policyBits, operation, commandFor(operation));
      found = Found.ADDED;
    }
    return found;
  }

  private dryRun(): void {
    for (let i = 0; i < this.tenants.length; i++) {
      const terms = this.tenants[i].terms;
      if (terms.number != 0) continue;
      if (terms.space.codec != Codec.TENANT_ZERO) {
        this.fail(
          'dryRun',
          'is for tenant 0 where its keys have always been; tenants[' + i.toString() + '] has moved',
        );
        return;
      }
      // Unread requests could reach every key, so they pass only while there is no other tenant.
      terms.dryRun = this.tenants.length == 1 ? DryRun.ALL : DryRun.POLICY;
      return;
    }
    this.fail(
      'dryRun',
      'is for tenant 0, the keys that are there already, and tenants lists none with number 0',
    );
  }
}
