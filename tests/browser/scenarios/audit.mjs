// The audit log: filter, verification, export.
import { assert, enter, open, scenario, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await visit(page, '/audit');
	const rows = page.locator('main').getByRole('row');
	await until(async () => (await rows.count()) > 2, 'rows');
	const all = await rows.count();
	await page.getByRole('searchbox', { name: 'Filter' }).fill('web02');
	await until(async () => { const some = await rows.count(); return some > 1 && some < all; }, 'fewer rows');
	assert(page.url().includes('web02'));
	await page.getByRole('button', { name: 'Verify' }).click();
	await page.getByText(/^All [\d,]+ records are as they were written/).waitFor();
	await page.getByRole('searchbox', { name: 'Filter' }).fill('nothing is like this');
	await page.getByRole('heading', { name: 'Nothing is like this' }).waitFor();
	await page.getByRole('button', { name: 'Show all' }).click();
	const download = page.waitForEvent('download');
	await page.getByRole('button', { name: 'Export as CSV' }).click();
	assert.equal((await download).suggestedFilename(), 'audit.csv');
});
