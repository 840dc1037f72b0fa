// A command on several devices: the drawer shows how it goes, also after a reload.
import { enter, given, open, scenario, settled } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await settled(page);
	await page.getByRole('checkbox', { name: 'Select web02' }).check();
	await page.getByRole('checkbox', { name: `Select ${given.host}` }).check();
	await page.getByRole('region', { name: 'Selected devices' }).getByRole('button', { name: 'Run', exact: true }).click();
	await page.getByLabel('Command', { exact: true }).fill('echo here-is-$((6 * 7))');
	await page.getByText('By the shell').click();
	await page.getByRole('button', { name: /^Run on/ }).click();
	const drawer = page.getByRole('complementary', { name: 'Tasks' });
	await drawer.getByText(/of .* done|done/).first().waitFor();
	const open_ = async () => {
		const show = drawer.getByRole('button', { name: 'Show devices' }).first();
		if (await show.isVisible()) await show.click();
		await drawer.locator('summary', { hasText: 'done' }).nth(1).waitFor(); // both: they stand in their places
		await drawer.getByText(/^web02-\d+$/).first().click();
		await drawer.getByText('here-is-42').locator('visible=true').first().waitFor(); // other devices' output is folded
	};
	await open_();
	await page.reload();
	await settled(page);
	if (!(await drawer.isVisible())) await page.getByRole('button', { name: /^Tasks/ }).click();
	await drawer.getByText('here-is').first().waitFor();
});
