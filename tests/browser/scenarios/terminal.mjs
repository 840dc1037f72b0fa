// A terminal on a device: echo, size, reload, several, hanging up.
import { assert, deviceId, enter, given, open, scenario, until, visit } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	const path = `/devices/${await deviceId('web02')}/terminal`;
	await visit(page, path);

	const panel = () => page.locator('[role=tabpanel]:not([hidden])');
	const lines = async () => (await panel().locator('.xterm-accessibility-tree').innerText()).replaceAll('\u00a0', ' ');
	const says = (text) => until(async () => (await lines()).includes(text), `"${text}" on the screen`);
	const opened = () => panel().locator('[data-state=open]').waitFor();
	const type = (text) => page.keyboard.type(text);

	await opened();
	await page.getByRole('button', { name: 'Screen reader' }).click();
	await panel().locator('textarea').focus();
	await type('echo sum=$((40 + 2))\n');
	await says('sum=42');

	// The size of the window is the terminal's.
	const size = async () => {
		await type('clear; stty size\n');
		return until(async () => /^(\d+) (\d+) *$/m.exec(await lines())?.slice(1).map(Number), 'a size');
	};
	const [rows, columns] = await size();
	assert(rows > 10 && columns > 60, `${rows} ${columns}`);
	await page.setViewportSize({ width: 800, height: 600 });
	await until(async () => {
		const [lower, narrower] = await size();
		return lower < rows && narrower < columns;
	}, 'the terminal is smaller');
	await page.setViewportSize({ width: 1280, height: 900 });

	// A reload comes back to the same shell with what it had said.
	await type('clear; KEPT=here; echo before=$KEPT\n');
	await says('before=here');
	await page.reload();
	await opened();
	await says('before=here');
	await type('echo after=$KEPT\n');
	await says('after=here');

	// Colours, and much at once.
	await type("printf '\\033[1;31mred \\033[38;2;20;180;90mgreen\\033[0m \\u2713\\n'; seq 1 60000 | tail -n +1; echo all=$((1+1))\n");
	await says('all=2');

	// A second one beside it.
	await page.getByRole('button', { name: 'New terminal' }).click();
	await opened();
	await type('echo second=${KEPT:-fresh}\n');
	await says('second=fresh');
	await page.getByRole('tab', { name: 'Terminal 1' }).click();
	await says('all=2');
	await page.screenshot({ path: `${given.pictures}/terminal.png`, caret: 'initial' });

	// Both come back, and both end.
	await page.reload();
	await opened();
	assert.equal(await page.getByRole('tab').count(), 2);
	await type('exit 3\n');
	await panel().locator('[data-state=ended]').waitFor();
	await panel().getByText('ended with 3').waitFor();
	await panel().getByRole('button', { name: 'Close' }).click();
	await opened();
	await panel().getByRole('button', { name: 'Hang up' }).click();
	await panel().locator('[data-state=ended]').waitFor();
	await panel().getByRole('button', { name: 'Open another' }).click();
	await opened();
	await panel().locator('textarea').focus();
	await type('exit\n');
	await panel().locator('[data-state=ended]').waitFor();
});
