// The pictures of README.md, of a fleet that screenshots.py has set up.
import { enter, given, open, scenario, settled, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { width: 1280, height: 800, reducedMotion: 'reduce' }); // nothing is on its way in a picture
	const shoot = async (name) => {
		await page.mouse.move(0, 0);
		await page.screenshot({ path: `${given.pictures}/${name}.png` });
	};
	await enter(page);
	await visit(page, '/');
	await page.getByText(`${given.devices} devices`).first().waitFor();
	await page.getByText('offline').nth(1).waitFor();
	await shoot('fleet');

	await visit(page, `/devices/${given.device}/terminal`);
	await page.locator('[data-state=open]').waitFor();
	await page.evaluate(() => localStorage.setItem('murmesh.terminal.readable', 'yes'));
	await page.reload();
	await page.locator('[data-state=open]').waitFor();
	await page.locator('.screen').click();
	await page.keyboard.type('uptime; df -h / | cat; ss -tln; ls --color=always /etc/*.conf | head\n');
	await until(async () => (await page.locator('.xterm-accessibility-tree').innerText()).includes('8081'), 'its output');
	await shoot('terminal');

	await visit(page, `/devices/${given.device}/live`);
	await page.locator('[data-complete=true]').waitFor();
	await page.getByRole('table').getByRole('row').nth(6).waitFor();
	await page.getByRole('tab', { name: /^Connections/ }).click();
	await page.getByRole('table').getByRole('row').nth(6).waitFor();
	await until(() => page.locator('canvas').evaluate((canvas) => Number(canvas.dataset.nodes) >= 12), 'nodes');
	await settled(page);
	await shoot('live');
});
