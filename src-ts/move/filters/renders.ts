/**
 * What a mesh file says at each step of a move between two storage layers must be valid. An error would show only in `final` otherwise,
 * when all requests of the tenant are held, and lead the switch back.
 */
import type { Judge } from '../../config/judge.ts';
import { judgeFile } from '../../config/validate.ts';
import { CommandError } from '../../errors.ts';
import type { Place } from '../place.ts';
import { withOrders } from './config.ts';
import type { Order } from './mesh.ts';

/** Above all others: the largest that the filter takes. */
const MOVE: Order = { serial: 2 ** 32 - 1, phase: 'final' };

/**
 * @param file names the text in errors
 * @throws CommandError with the first error
 */
export function mustStayValid(
  text: string,
  file: string,
  tenant: string,
  { from, to }: { readonly from: Place; readonly to: Place },
  judge: Judge,
): void {
  const steps = [
    { what: 'before the switch', place: from, as: 'movesTo', other: to },
    { what: 'after the switch', place: to, as: 'movedFrom', other: from },
    { what: 'after a switch back', place: from, as: 'movedFrom', other: to },
  ] as const;
  for (const { what, place, as, other } of steps) {
    const changed = withOrders(text, file, tenant, {
      place,
      move: MOVE,
      other: { as, place: other, move: MOVE },
    });
    const findings = judgeFile(changed, judge).flatMap((judged) => judged.findings);
    const error = findings.find(({ severity }) => severity === 'error');
    if (error)
      throw new CommandError(
        'REFUSED',
        `${file} would not be valid ${what} of ${tenant}: ${error.text}`,
        'correct that now: during the switch, it would hold all requests and lead back',
      );
  }
}
