export function jestArguments(project: string): string[];
