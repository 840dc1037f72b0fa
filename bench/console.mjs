// One browser on the fleet page, as console.py asks: `load` opens it again and again, `use` filters and scrolls.  One JSON line a result.
import { at, enter, given, open, scenario } from '../tests/browser/lib.mjs';

const FRAMES = 300;

/** Runs before the page's own scripts.  Times are milliseconds since navigation began; a frame counts once it has been drawn. */
function watch() {
	const drawn = () =>
		new Promise((done) =>
			requestAnimationFrame(() => {
				const { port1, port2 } = new MessageChannel();
				port1.onmessage = () => done(performance.now());
				port2.postMessage(null);
			}),
		);
	const when = (condition) =>
		new Promise((done) => {
			const look = () => {
				if (!condition()) return;
				observer.disconnect();
				done(drawn());
			};
			const observer = new MutationObserver(look);
			observer.observe(document, { childList: true, subtree: true, characterData: true });
		});
	const summary = () => document.querySelector('[role=status].number')?.textContent ?? '';
	let busiest = 0;
	new PerformanceObserver((list) => list.getEntries().forEach(({ duration }) => (busiest = Math.max(busiest, duration)))).observe({ type: 'longtask' });
	globalThis.measured = { first: when(() => document.querySelector('[data-id]')), whole: when(() => / of |\d devices/.test(summary()) && !summary().includes('loading')) };
	globalThis.busiest = () => busiest;
	globalThis.keys = [];
	addEventListener('keydown', ({ timeStamp }) => void drawn().then((time) => globalThis.keys.push(time - timeStamp)), true);
}

async function loaded() {
	const first_row_ms = await globalThis.measured.first;
	const whole_ms = await globalThis.measured.whole;
	const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
	return {
		first_row_ms,
		whole_ms,
		longest_task_ms: globalThis.busiest(),
		requests: entries.length,
		kb: entries.reduce((sum, { transferSize }) => sum + transferSize, 0) / 1024,
		rows: document.querySelector('[role=grid]').ariaRowCount - 1,
	};
}

/** Frames of a list that moves by so many pixels in each. */
async function scrolled({ pixels, frames }) {
	const scroller = document.querySelector('[role=grid]');
	const times = [];
	const next = () => new Promise(requestAnimationFrame);
	scroller.scrollTop = 0;
	await next();
	let last = await next();
	for (let i = 0; i < frames; i++) {
		scroller.scrollTop += pixels;
		const now = await next();
		times.push(now - last);
		last = now;
	}
	times.sort((a, b) => a - b);
	return { frames_per_s: (1000 * frames) / times.reduce((sum, time) => sum + time, 0), p95_ms: times[Math.floor(frames * 0.95)], longest_ms: times.at(-1) };
}

const say = (result) => console.log(JSON.stringify(result));

/** With nothing in its cache. */
async function visit(browser, storageState) {
	const page = await open(browser, { storageState });
	await page.addInitScript(watch);
	await page.waitForTimeout(1000); // the tab itself is there
	await page.goto(at('/'));
	return [page, await page.evaluate(loaded)];
}

async function load(browser, storageState) {
	for (let i = 0; i < given.rounds; i++) {
		const [page, result] = await visit(browser, storageState);
		say(result);
		await page.context().close();
	}
}

async function typed(page, query) {
	await page.getByRole('textbox').first().fill('');
	await page.waitForTimeout(500);
	await page.evaluate(() => (globalThis.keys.length = 0));
	await page.keyboard.type(query, { delay: 150 });
	await page.waitForTimeout(500);
	const { keys, rows } = await page.evaluate(() => ({ keys: globalThis.keys, rows: document.querySelector('[role=grid]')?.ariaRowCount - 1 }));
	return { keys, rows };
}

async function use(browser, storageState) {
	const [page] = await visit(browser, storageState);
	for (let i = 0; i < given.rounds; i++) for (const query of given.queries) say({ query, ...(await typed(page, query)) });
	await typed(page, '');
	for (let i = 0; i < given.rounds; i++) for (const pixels of given.steps) say({ pixels, ...(await page.evaluate(scrolled, { pixels, frames: FRAMES })) });
}

await scenario(async (browser) => {
	const page = await open(browser);
	await enter(page);
	const storageState = await page.context().storageState();
	await page.context().close();
	await { load, use }[given.what](browser, storageState);
});
