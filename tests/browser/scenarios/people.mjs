// Somebody is invited, chooses a password, sees what he may see, and is shut out.
import { assert, enter, given, open, scenario, settled, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { expected: [/status of 40[13]/] });
	await enter(page);
	await visit(page, '/people');
	const dialog = page.getByRole('dialog').last();
	await page.getByRole('button', { name: 'Add someone' }).click();
	await dialog.getByLabel('Name').fill('grace');
	await dialog.getByText('Viewer: sees devices').click();
	await dialog.getByRole('button', { name: 'Add and make the link' }).click();
	const link = await until(async () => /https:\S+#token=\S+/.exec(await page.getByRole('dialog').last().innerText())?.[0], 'a link');
	await page.getByRole('button', { name: 'Done', exact: true }).click();

	const guest = await open(browser, { expected: [/status of 40[13]/] });
	await guest.goto(link);
	await guest.getByLabel('Password', { exact: true }).fill('a quiet reed bed');
	await guest.getByLabel('Password once more').fill('a quiet reed bed');
	await guest.getByRole('button', { name: 'Continue' }).click();
	await guest.getByRole('button', { name: 'Not now' }).click();
	await settled(guest);
	await guest.getByRole('link', { name: /^web02/ }).waitFor();
	assert.equal(await guest.getByRole('link', { name: 'People' }).count(), 0, 'a viewer manages nobody');
	assert.equal(await guest.getByRole('button', { name: 'Add a device' }).count(), 0);

	const row = page.getByRole('row').filter({ hasText: 'grace' });
	await visit(page, '/people');
	await row.getByRole('button', { name: 'Actions for grace' }).click();
	await page.getByText('Disable', { exact: true }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
	await row.getByText('disabled').waitFor();
	await guest.reload();
	await guest.getByRole('heading', { name: 'Log in' }).waitFor();

	// One's own sessions.
	await visit(page, '/me');
	await page.getByText('this one').waitFor();
});
