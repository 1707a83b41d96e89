/** Why a statement takes longer than it may, by its name. */
export const EXPLAINED: Readonly<Record<string, string>> = {};
