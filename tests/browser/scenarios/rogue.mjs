// A walk over every page while agents say two hundred things that want to be more than text.  What lib.mjs watches must stay silent, and
// pages may have no element that they do not have for honest devices: those are printed when `known` is not given.
import { readFileSync } from 'node:fs';
import { assert, enter, given, open, overflow, scenario, settled, until, visit } from '../lib.mjs';

/** Names of all elements, and what no element may have. */
function look() {
	const names = new Set();
	const bad = [];
	for (const element of document.querySelectorAll('*')) {
		names.add(element.localName);
		for (const { name, value } of element.attributes) {
			const link = ['href', 'src', 'action', 'formaction', 'data', 'xlink:href'].includes(name) && new URL(value, location.href);
			const foreign = link && link.origin !== location.origin;
			if (name.startsWith('on') || name === 'srcdoc' || name === 'style' && /url|expression/.test(value) || foreign || value === 'pwned' && name === 'id')
				bad.push(element.outerHTML.slice(0, 200));
		}
	}
	return { names: [...names], bad };
}

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	const known = new Set(given.known).add('b'); // the number of running tasks, while there are some
	const shown = new Set();
	const honest = !given.known;

	const inspect = async (what) => {
		const { names, bad } = await page.evaluate(look);
		assert.deepEqual(bad, [], what);
		if (honest) names.forEach((name) => known.add(name));
		else assert.deepEqual(names.filter((name) => !known.has(name)), [], `elements of ${what}`);
		assert((await page.title()).endsWith('murmesh'), `title of ${what}`);
		const body = await page.locator('body').innerText();
		given.texts.forEach((text, n) => text.length > 5 && body.includes(text.slice(0, 12)) && shown.add(n));
	};
	const walk = async (id) => {
		await visit(page, `/devices/${id}`);
		await page.getByText('File systems').waitFor();
		await inspect(`device ${id}`);
		await visit(page, `/devices/${id}/live`);
		await page.locator('[data-complete=true]').waitFor();
		for (const tab of ['Processes', 'Connections', 'Events']) {
			await page.getByRole('tab', { name: tab }).click();
			await page.getByRole('table').getByRole('row').nth(1).waitFor();
			await inspect(`live ${tab} of ${id}`);
		}
		await page.getByRole('application').focus();
		for (const key of ['ArrowRight', 'ArrowUp', 'ArrowLeft']) await page.keyboard.press(key);
		await page.getByRole('complementary', { name: 'Details' }).waitFor();
		await page.locator('canvas').hover();
		await inspect(`details of ${id}`);
	};
	const terminal = async (id, said) => {
		await visit(page, '/');
		await page.evaluate(() => localStorage.setItem('murmesh.terminal.readable', 'yes'));
		await visit(page, `/devices/${id}/terminal`);
		await page.locator('[data-state=open]').waitFor();
		if (said) await until(async () => (await page.locator('.xterm-accessibility-tree').innerText()).replaceAll('\u00a0', ' ').includes(said), said, 60);
		await page.locator('.screen').click();
		await inspect(`terminal of ${id}`);
	};
	const rest = async () => {
		for (const path of ['/', '/live', '/people', '/audit', '/tasks', '/me']) {
			await visit(page, path);
			if (path === '/live') await page.locator('[data-complete=true]').waitFor();
			await inspect(path);
		}
		await visit(page, '/');
		await page.getByRole('grid').getByRole('row').nth(1).hover();
		for (const box of await page.getByRole('checkbox', { name: /^Select .*-\d+$/ }).all()) await box.check();
		for (const name of ['Run', 'Tags', 'Group', 'Delete']) {
			await page.getByRole('region', { name: 'Selected devices' }).getByRole('button', { name, exact: true }).click();
			await page.getByRole('dialog').waitFor();
			await settled(page);
			await inspect(name);
			await page.keyboard.press('Escape');
		}
	};

	for (const id of given.walked) await walk(id);
	await terminal(given.walked[0], honest ? '' : 'all was said');
	await rest();

	// What machines run is text too.
	await page.getByRole('region', { name: 'Selected devices' }).getByRole('button', { name: 'Run', exact: true }).click();
	await page.getByLabel('Command', { exact: true }).fill('ls /nowhere');
	await page.getByRole('button', { name: /^Run on/ }).click();
	const drawer = page.getByRole('complementary', { name: 'Tasks' });
	await drawer.locator('pre').first().waitFor();
	await inspect('drawer with output');
	await visit(page, '/tasks');
	await page.locator('summary').first().waitFor();
	await inspect('tasks');
	await visit(page, `/devices/${given.walked[0]}`);
	await page.getByLabel('Command', { exact: true }).fill('ls /nowhere');
	await page.locator('main').getByRole('button', { name: 'Run', exact: true }).click();
	await page.locator('main pre').first().waitFor();
	await inspect('device with output');
	if (honest) {
		console.log(JSON.stringify([...known]));
		return;
	}

	// In a table of a spreadsheet nothing begins like a formula.
	await visit(page, '/');
	const download = page.waitForEvent('download');
	await page.getByRole('button', { name: 'Export as CSV' }).click();
	const csv = readFileSync(await (await download).path(), 'utf8');
	assert(!/(^|[,"\r\n])[=+@\t\r-](?!\d+(\.\d+)?[,"\r\n])/m.test(csv.replaceAll('""', '')), csv.slice(0, 2000));

	const narrow = await open(browser, { width: 390, height: 844 });
	await narrow.context().addCookies(await page.context().cookies());
	for (const path of ['/', `/devices/${given.walked[0]}`, `/devices/${given.walked.at(-1)}`, '/live', '/audit']) {
		await visit(narrow, path);
		assert((await overflow(narrow)) <= 0, `${path} is not wider than the window`);
	}
	// That they were there at all.
	console.log(`${shown.size} texts were seen`);
	assert(shown.size >= given.texts.length * 0.6, `${shown.size} of ${given.texts.length} texts were seen`);
});
