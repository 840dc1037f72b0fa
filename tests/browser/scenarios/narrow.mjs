// At 390 pixels nothing makes the page scroll sideways.
import { assert, deviceId, enter, open, overflow, pagesOf, scenario, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { width: 390, height: 844, hasTouch: true });
	await enter(page);
	const wide = [];
	const look = async (what) => {
		const pixels = await overflow(page);
		if (pixels > 0) wide.push(`${what}: ${pixels} pixels`);
	};
	for (const path of pagesOf(await deviceId('web02'))) {
		await visit(page, path);
		if (path.endsWith('/terminal')) await page.locator('[data-state=open]').waitFor();
		if (path.endsWith('/live')) await page.locator('[data-complete=true]').waitFor();
		await look(path);
	}
	await visit(page, '/');
	await page.getByRole('button', { name: 'Add a device' }).click();
	await page.getByRole('button', { name: 'Make the line' }).click();
	await page.getByText('Waiting for the machine').waitFor();
	await look('enrolment');
	assert.deepEqual(wide, []);
});
