export function jestArguments(project: string): string[];
export function buildArguments(project: string, some?: boolean): string[];
