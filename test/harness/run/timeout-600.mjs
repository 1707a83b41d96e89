import { jest } from '@jest/globals';

jest.setTimeout(600_000);
