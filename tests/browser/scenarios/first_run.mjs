// The first minutes of a mesh: the link that `murmesh up` prints, a name and a password, a second factor, and this machine green.
import { assert, given, open, scenario, settled, totp, until } from '../lib.mjs';

const PASSWORD = 'a flock at dusk';

await scenario(async (browser) => {
	const page = await open(browser, { expected: [/status of 401/] });
	const label = (text, options) => page.getByLabel(text, { exact: true, ...options });
	const press = (name) => page.getByRole('button', { name, exact: true }).click();

	await page.goto(given.login);
	await label('Name').fill('ada');
	await label('Password').fill(PASSWORD);
	assert(!page.url().includes('token'), 'the token is out of the address');
	await label('Password once more').fill(`${PASSWORD}!`);
	assert(await page.getByRole('button', { name: 'Continue' }).isDisabled(), 'different passwords');
	await label('Password once more').fill(PASSWORD);
	await press('Continue');

	await page.getByRole('heading', { name: 'Second factor' }).waitFor();
	const secret = await until(async () => /[A-Z2-7]{16,}/.exec((await page.locator('main').innerText()).replaceAll(/[ \n]/g, ' ').replaceAll(/(?<=[A-Z2-7]{4}) (?=[A-Z2-7]{4})/g, ''))?.[0], 'a secret');
	await page.getByLabel('Code that the app shows').fill(totp(secret));
	await press('Turn it on');

	await settled(page);
	const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: `${given.host}-1` }) });
	await row.getByText('online', { exact: true }).waitFor();

	// The link was good once.
	const other = await open(browser, { expected: [/status of 40\d/] });
	await other.goto(given.login);
	await other.getByRole('heading', { name: 'The link does not work' }).waitFor();
	await other.getByRole('group').getByText('murmesh login-link').waitFor();

	await page.getByRole('button', { name: 'Account' }).click();
	await press('Log out');
	await page.getByRole('heading', { name: 'Log in' }).waitFor();

	await label('Name').fill('ada');
	await label('Password').fill('not the right one');
	await press('Log in');
	await page.getByRole('alert').waitFor();
	await until(() => page.getByRole('button', { name: 'Log in' }).isEnabled(), 'it may be tried again');
	await label('Password').fill(PASSWORD);
	await press('Log in');
	await page.getByLabel('Code').fill(totp(secret, 1));
	await press('Continue');
	await row.waitFor();
	await page.reload();
	await row.waitFor();
});
