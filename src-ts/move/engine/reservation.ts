/** The range that a move writes to. A rule of PD keeps everybody else away from it as long as the move lasts. */
import { CommandError } from '../../errors.ts';
import type { Endpoint } from '../../pd/endpoint.ts';
import { deleteLabelRule, setLabelRule } from '../../pd/regions.ts';
import {
  conflict,
  hasRangeOf,
  registered,
  registeredBeside,
  reserved,
  ruleOf,
  targetRuleId,
} from '../../tenants/registry.ts';
import type { Tenant } from '../../tenants/tenant.ts';

/** @throws CommandError when another tenant has, or is moved to, a part of this range */
export async function mustBeFree(pd: Endpoint, target: Tenant): Promise<void> {
  const others = (await registeredBeside(pd, target.name)).filter(({ name }) => name !== target.name);
  const clash = conflict(target, others);
  if (clash) throw new CommandError('REFUSED', clash.what, clash.hint);
}

/**
 * Keeps the range for the move of a tenant. Can be repeated.
 * @param target the tenant with its keys there
 * @throws CommandError when somebody else has it, or takes it at the same time
 */
export async function reserve(pd: Endpoint, target: Tenant): Promise<void> {
  await mustBeFree(pd, target);
  const id = targetRuleId(target.name);
  const wasReserved = (await reserved(pd)).some(({ name }) => name === target.name);
  await setLabelRule(pd, { ...ruleOf(target), id });
  try {
    // Both write first and look then: at least one sees the other.
    await mustBeFree(pd, target);
  } catch (error) {
    if (!wasReserved) await deleteLabelRule(pd, id);
    throw error;
  }
}

/**
 * True while the tenant's own rule, or that of its move, keeps the range. Without one, somebody else may have it by now.
 * @throws CommandError when somebody else has a part of it as well
 */
export async function isKept(pd: Endpoint, target: Tenant): Promise<boolean> {
  const rules = [...(await registered(pd)), ...(await reserved(pd))];
  if (!rules.some((rule) => rule.name === target.name && hasRangeOf(rule, target))) return false;
  await mustBeFree(pd, target);
  return true;
}
