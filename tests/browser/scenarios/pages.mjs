// Every page, and the dialogs, in one theme: nothing for axe-core to find.
import { assert, deviceId, enter, findings, given, open, pagesOf, scenario, settled, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { theme: given.theme, expected: [/status of 401/] });
	const found = [];
	const look = async (what) => found.push(...(await findings(page)).map((finding) => `${what}: ${finding}`));
	const press = (name) => page.getByRole('button', { name, exact: true }).click();
	const dialog = async (name) => {
		await page.getByRole('dialog').waitFor();
		await settled(page);
		await look(name);
		await page.keyboard.press('Escape');
		await page.getByRole('dialog').waitFor({ state: 'hidden' });
	};

	await page.goto(given.url);
	await page.getByRole('heading', { name: 'Log in' }).waitFor();
	await look('login');
	await enter(page);
	const id = await deviceId('web02');
	for (const path of pagesOf(id)) {
		await visit(page, path);
		if (path.endsWith('/terminal')) await page.locator('[data-state=open]').waitFor();
		if (path.endsWith('/live')) await page.locator('[data-complete=true]').waitFor();
		await look(path);
	}

	await visit(page, '/');
	await page.keyboard.press('?');
	await dialog('keys');
	await press('Add a device');
	await dialog('enrol');
	await page.getByRole('checkbox', { name: 'Select web02' }).check();
	await look('selected');
	for (const name of ['Run', 'Tags', 'Group', 'Delete']) {
		await page.getByRole('region', { name: 'Selected devices' }).getByRole('button', { name, exact: true }).click();
		await dialog(name);
	}
	await press('Account');
	await look('account menu');
	await page.keyboard.press('Escape');
	await press('Tasks');
	await page.getByRole('complementary', { name: 'Tasks' }).waitFor();
	await look('task drawer');
	await visit(page, `/devices/${id}`);
	await press('Rename');
	await dialog('rename');
	await visit(page, '/people');
	await press('Add someone');
	await dialog('add someone');
	await visit(page, `/devices/${id}/live`);
	await page.locator('[data-complete=true]').waitFor();
	await page.getByRole('application').focus();
	await page.keyboard.press('ArrowRight');
	await page.getByRole('complementary', { name: 'Details' }).waitFor();
	await look('live details');
	for (const tab of ['Connections', 'Events']) {
		await page.getByRole('tab', { name: tab }).click();
		await look(`live ${tab}`);
	}
	assert.deepEqual(found, []);
});
