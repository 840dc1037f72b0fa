// Everything can be reached and left with the keyboard, and shows where the focus is.
import { assert, deviceId, enter, open, scenario, settled, until, visit } from '../lib.mjs';

const focus = (page) =>
	page.evaluate(() => {
		const element = document.activeElement;
		const style = getComputedStyle(element);
		const box = element.getBoundingClientRect();
		const seen = style.outlineStyle !== 'none' || style.boxShadow !== 'none' || element.closest('.screen');
		return {
			name: element === document.body ? 'body' : element.getAttribute('aria-label') || element.innerText?.trim() || element.getAttribute('placeholder') || element.tagName,
			role: element.getAttribute('role') || element.tagName.toLowerCase(),
			shown: element === document.body || (box.width > 0 && box.height > 0 && Boolean(seen)),
		};
	});

/** Presses Tab until the focus leaves the page; returns what it met. */
async function walk(page, most = 120) {
	await page.evaluate(() => document.activeElement?.blur());
	const met = [];
	for (let i = 0; i < most; i++) {
		await page.keyboard.press('Tab');
		const now = await focus(page);
		if (now.role === 'body') return met;
		assert(now.shown, `focus is seen on ${now.role} "${now.name}"`);
		met.push(now);
	}
	throw new Error(`Tab never left the page: ${JSON.stringify(met.slice(-5))}`);
}

async function tabTo(page, test, what) {
	return until(async () => {
		await page.keyboard.press('Tab');
		return test(await focus(page));
	}, `Tab reaches ${what}`);
}

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	await settled(page);

	const met = (await walk(page)).map(({ name }) => name);
	assert.equal(met[0], 'Skip to content');
	for (const name of ['Fleet', 'Live', 'Maps', 'Relays', 'People', 'Audit', 'Account', 'Search devices', 'Add a device', 'Devices']) {
		assert(met.some((one) => one.startsWith(name)), `${name} among ${met.join(' | ')}`);
	}

	// To a device without a mouse.
	await page.keyboard.press('/');
	assert.equal((await focus(page)).name, 'Search devices');
	await page.keyboard.type('web02');
	await page.keyboard.press('Escape');
	await page.getByRole('grid').focus();
	await page.keyboard.press('ArrowDown');
	await page.keyboard.press('Enter');
	await page.getByRole('heading', { name: /^web02/ }).waitFor();
	await tabTo(page, ({ name }) => name === 'Live' && page.url().includes('/devices/'), 'the tab Live');

	for (const path of ['/live', '/maps', '/relays', '/people', '/audit', '/tasks', '/me', '/command-line', `/devices/${await deviceId('web02')}`, `/devices/${await deviceId('web02')}/live`]) {
		await visit(page, path);
		assert((await walk(page)).length > 5, path);
	}

	// A table of processes is one stop; arrows go through it.
	await page.getByRole('rowgroup', { name: 'Processes' }).focus();
	await page.keyboard.press('ArrowDown');
	const first = await focus(page);
	await page.keyboard.press('ArrowDown');
	const second = await focus(page);
	assert(first.role === 'button' && second.role === 'button' && first.shown && second.shown, `${first.role}, ${second.role}`);
	await page.keyboard.press('Enter');
	await page.getByRole('complementary', { name: 'Details' }).waitFor();

	// The graph: a node at a time.
	await page.locator('[data-complete=true]').waitFor();
	await page.getByRole('application').focus();
	await page.keyboard.press('ArrowRight');
	await page.getByRole('complementary', { name: 'Details' }).waitFor();
	await page.keyboard.press('Escape');
	await page.getByRole('complementary', { name: 'Details' }).waitFor({ state: 'hidden' });
	await page.keyboard.press('Space');
	await page.getByRole('button', { name: 'Go on' }).waitFor();
	await page.keyboard.press('Space');

	// Tab belongs to the shell; Shift+Escape leads out.
	await visit(page, `/devices/${await deviceId('web02')}/terminal`);
	await page.locator('[data-state=open]').waitFor();
	await until(async () => (await focus(page)).name.startsWith('Terminal 1 on'), 'the terminal has the focus');
	await page.keyboard.press('Tab');
	assert((await focus(page)).name.startsWith('Terminal 1 on'));
	await page.keyboard.press('Shift+Escape');
	assert.equal((await focus(page)).role, 'tab');

	// A dialog holds the focus and gives it back.
	await visit(page, '/');
	const button = page.getByRole('button', { name: 'Add a device' });
	await button.focus();
	await page.keyboard.press('Enter');
	await page.getByRole('dialog').waitFor();
	for (let i = 0; i < 12; i++) {
		await page.keyboard.press('Tab');
		assert(await page.evaluate(() => document.activeElement === document.body || document.querySelector('dialog').contains(document.activeElement)));
	}
	await page.keyboard.press('Escape');
	await until(() => button.evaluate((element) => document.activeElement === element), 'the focus is back');
});
