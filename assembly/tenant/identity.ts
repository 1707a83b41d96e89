/** From a principal to a tenant: the configured rules, first match wins, each principal resolved once. */
import { Config, Tenant } from './config';
import { hashBytes } from '../wire/bytes';
import { captureEnd, captureStart, matches } from './pattern';

export const enum Access {
  REFUSED,
  TENANT,
  SYSTEM,
}

/** What the rules say of one principal. */
export class Identity {
  access: Access = Access.REFUSED;
  tenant: Tenant | null = null;
  /** UTF-8; why the caller is refused and what to add where. */
  refusal: ArrayBuffer = new ArrayBuffer(0);
  principal: ArrayBuffer = new ArrayBuffer(0);
}

/** Principals remembered; beyond that the oldest answers are forgotten together. */
const MAX_IDENTITIES: i32 = 4096;
/** A SPIFFE id has at most 2048 bytes. */
const MAX_PRINCIPAL_BYTES: usize = 2048;

/** Resolves principals by one configuration. */
export class Resolver {
  private known: Map<u32, Identity> = new Map();
  private nobody: Identity = refuse(
    '',
    'the caller has no principal (a SPIFFE URI in a client certificate); connect with mutual TLS',
  );

  constructor(public config: Config) {}

  /** The identity behind a principal of `length` UTF-8 bytes at `p`. No allocation for one that is known. */
  resolve(p: usize, length: usize): Identity {
    if (length == 0) return this.nobody;
    if (length > MAX_PRINCIPAL_BYTES) return refuse('', 'the principal is longer than 2048 bytes');
    const hash = hashBytes(p, length);
    if (this.known.has(hash)) {
      const identity = this.known.get(hash);
      const principal = changetype<usize>(identity.principal);
      if (<usize>identity.principal.byteLength == length && memory.compare(principal, p, length) == 0)
        return identity;
    }
    const text = String.UTF8.decodeUnsafe(p, length);
    const identity = this.decide(text);
    identity.principal = new ArrayBuffer(<i32>length);
    memory.copy(changetype<usize>(identity.principal), p, length);
    if (this.known.size >= MAX_IDENTITIES) this.known.clear();
    this.known.set(hash, identity);
    return identity;
  }

  private decide(principal: string): Identity {
    const rules = this.config.rules;
    for (let i = 0; i < rules.length; i++) {
      const rule = rules[i];
      if (!matches(rule.principal, principal)) continue;
      const identity = new Identity();
      if (rule.system) {
        identity.access = Access.SYSTEM;
        return identity;
      }
      const name = rule.tenant.length != 0 ? rule.tenant : principal.substring(captureStart, captureEnd);
      const tenant = this.config.tenant(name);
      if (tenant == null)
        return refuse(
          principal,
          'rules[' +
            i.toString() +
            '] makes it tenant "' +
            name +
            '", which pluginConfig.tenants does not list; add {"name": "' +
            name +
            '", "number": <a free number>} there',
        );
      identity.access = Access.TENANT;
      identity.tenant = tenant;
      return identity;
    }
    return refuse(
      principal,
      'no rule matches it; add one to pluginConfig.rules, for example {"principal": "' +
        principal +
        '", "tenant": "<name>"}',
    );
  }
}

/** Printable ASCII only: the text goes into a header. */
function refuse(principal: string, why: string): Identity {
  const identity = new Identity();
  const text = principal.length == 0 ? 'tidb-mesh: ' + why : 'tidb-mesh: principal ' + principal + ': ' + why;
  const bytes = String.UTF8.encode(text);
  const at = changetype<usize>(bytes);
  for (let i: usize = 0; i < <usize>bytes.byteLength; i++) {
    const c = load<u8>(at + i);
    if (c < 0x20 || c > 0x7e) store<u8>(at + i, 0x3f);
  }
  identity.refusal = bytes;
  return identity;
}
