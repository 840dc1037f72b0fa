// A device gets another name, tags and a group, and leaves the mesh.
import { devices, enterByPassword, given, open, scenario, settled, until } from '../lib.mjs';

await scenario(async (browser) => {
	const page = await open(browser, { expected: [/status of 40[0134]/] });
	await enterByPassword(page);
	const press = (name) => page.getByRole('button', { name, exact: true }).click();
	const dialog = page.getByRole('dialog');
	const now = async () => (await devices()).find(({ id }) => id === given.device);

	await page.getByRole('link', { name: /^changeling-/ }).click();
	await settled(page);
	await press('Rename');
	await dialog.getByLabel('Name').fill('no such name!');
	await dialog.getByRole('button', { name: 'Rename' }).click();
	await dialog.getByRole('alert').waitFor();
	await dialog.getByLabel('Name').fill('swan');
	await dialog.getByRole('button', { name: 'Rename' }).click();
	await page.getByRole('heading', { name: /^swan-\d+$/ }).waitFor();
	await until(async () => (await now()).name === 'swan', 'the command line knows the name');

	await press('Tags');
	await dialog.getByLabel('Add tags').fill('white, big');
	await dialog.getByRole('button', { name: /^Apply/ }).click();
	await page.locator('.chip').getByText('white', { exact: true }).first().waitFor();
	await press('Group');
	await dialog.getByLabel('Group', { exact: true }).fill('lake');
	await dialog.getByRole('button', { name: /^Apply/ }).click();
	await page.getByText('lake', { exact: true }).first().waitFor();

	await page.getByRole('link', { name: 'Fleet', exact: true }).first().click();
	await page.getByRole('textbox', { name: 'Search devices' }).or(page.getByRole('searchbox', { name: 'Search devices' })).or(page.getByRole('combobox', { name: 'Search devices' })).first().fill('tag:white group:lake');
	await page.getByRole('status').getByText(/^1 of /).waitFor();
	await until(() => page.url().includes('white'), 'the search is in the address');
	await page.getByRole('checkbox', { name: /^Select swan/ }).check();
	await press('Delete');
	await dialog.getByRole('button', { name: /^Delete/ }).click();
	await page.getByRole('dialog', { name: 'Confirm that it is you' }).getByLabel('Password').fill(given.password);
	await page.getByRole('button', { name: 'Confirm', exact: true }).click();
	await until(async () => !(await now()), 'it has left the mesh');
	await page.getByText('No device matches').waitFor();
});
