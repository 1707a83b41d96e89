/** What the filters are told of a tenant that moves, by the record of its move. */
import type { Order, Orders, Phase } from '../filters/mesh.ts';
import { isBetweenStorages, isSamePlace, placeOf, type Place } from '../place.ts';
import { isLeftClosed, type MoveRecord } from '../record.ts';

/** What the filters are told while the tenant is served there. */
export function ordersAt(record: MoveRecord, served: Place, move?: Order): Orders {
  const { from, to, switches } = record;
  const keptState = isLeftClosed(record) ? 'suspended' : record.keptState;
  if (isBetweenStorages(record)) {
    const other = isSamePlace(served, from) ? to : from;
    const isFirst = switches === 0 && other === to;
    return {
      place: served,
      ...(keptState === undefined ? {} : { state: keptState }),
      other: { as: isFirst ? 'movesTo' : 'movedFrom', place: other, ...(move ? { move } : {}) },
      ...(move ? { move } : {}),
    };
  }
  const home = [from, to].find(({ cluster }) => cluster === undefined) ?? served;
  // Of a tenant that is served outside, nothing passes.
  const moving = move ? { move } : {};
  if (served.cluster !== undefined) return { place: home, state: 'suspended', ...moving };
  // Until the mesh serves it, it is suspended for the import's sake.
  const state = from.cluster === undefined ? keptState : (keptState ?? 'active');
  return { place: served, ...(state === undefined ? {} : { state }), ...moving };
}

/** The same in a phase of the move, while the tenant is served where it is by now. */
export function ordersFor(
  record: MoveRecord,
  phase: Phase,
  serial: number,
  until?: number,
): Orders & { readonly move: Order } {
  const move = { serial, phase, ...(until === undefined ? {} : { until: Math.round(until) }) };
  return { ...ordersAt(record, record.from, move), move };
}

/** What the configuration has of the tenant from now on. One that a cluster serves keeps its own place here, which is empty. */
export function placeAfter(record: MoveRecord, served: Place): Place {
  if (served.cluster === undefined) return served;
  return placeOf({ ...ordersAt(record, served).place, readableSince: undefined });
}

/** What the filters are told when the move is over. */
export function lastOrders(record: MoveRecord): Orders {
  const orders = ordersAt(record, record.from);
  if (!orders.other || record.switches > 0) return orders;
  return { place: orders.place };
}
