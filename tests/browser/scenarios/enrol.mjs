// The enrolment dialog: a line to copy, pasted on a machine, and the dialog turns green with its name.
import { assert, enter, join, open, scenario } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await page.getByRole('button', { name: 'Add a device' }).click();
	const dialog = page.getByRole('dialog', { name: 'Add a device' });
	await dialog.getByLabel('Group').fill('lab');
	await dialog.getByRole('button', { name: 'Make the line' }).click();
	const line = await dialog.getByRole('group', { name: 'Copy the line' }).innerText();
	await dialog.getByText('Waiting for the machine').waitFor();
	const words = line.trim().split(' ');
	assert.deepEqual(words.slice(0, 2), ['murmesh', 'join']);
	const agent = join(words.find((word) => word.includes('#')), 'heron');
	try {
		const joined = dialog.locator('.joined');
		await joined.getByText(/^heron-\d+$/).waitFor();
		await dialog.getByRole('button', { name: 'Done' }).click();
		const row = page.getByRole('row').filter({ hasText: /heron-\d+/ });
		await row.getByText('online', { exact: true }).waitFor();
		await row.getByText('lab', { exact: true }).waitFor();
	} finally {
		agent.kill();
	}
	await page.getByRole('row').filter({ hasText: /heron-\d+/ }).getByText('offline').waitFor();
});
