/** Why a statement takes longer than it may, by its name. */
export const EXPLAINED: Readonly<Record<string, string>> = {
  'Stale read':
    'a tenant was told once that the table did not exist a second ago; it was. Not looked into yet.',
};
