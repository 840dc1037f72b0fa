import { beforeAll, expect, test, vi } from 'vitest';

let columns: typeof import('./columns.svelte');

beforeAll(async () => {
	vi.stubGlobal('localStorage', { getItem: () => 'version', setItem() {} });
	columns = await import('./columns.svelte');
});

test('as many columns as fit, in their order', () => {
	expect(columns.shownColumns(390)).toEqual(['name', 'state', 'seen']);
	expect(columns.shownColumns(320)).toEqual(['name', 'state']);
	expect(columns.shownColumns(100)).toEqual(['name']);
	expect(columns.shownColumns(700)).toEqual(['name', 'state', 'group', 'tags', 'os', 'seen']);
});

test('a column that was switched off stays away', () => {
	expect(columns.shownColumns(2000)).not.toContain('version');
	columns.toggleColumn('version');
	expect(columns.shownColumns(2000)).toContain('version');
	expect(columns.template(columns.shownColumns(390))).toMatch(/^36px /);
});
