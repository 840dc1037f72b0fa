import { expect, test } from 'vitest';
import { number } from './text';

test('thousands are apart', () => {
	expect([0, 999, 1000, 12_345, 999_999, 1_234_567, 1_000_000_000].map(number)).toEqual(
		['0', '999', '1,000', '12,345', '999,999', '1,234,567', '1,000,000,000'],
	);
});
