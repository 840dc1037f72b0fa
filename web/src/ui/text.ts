// Text that others wrote, numbers and times, made fit to be shown.

const DIRECTIONS: Record<string, string> = {
	'\u202a': '⟨LRE⟩',
	'\u202b': '⟨RLE⟩',
	'\u202c': '⟨PDF⟩',
	'\u202d': '⟨LRO⟩',
	'\u202e': '⟨RLO⟩',
	'\u2066': '⟨LRI⟩',
	'\u2067': '⟨RLI⟩',
	'\u2068': '⟨FSI⟩',
	'\u2069': '⟨PDI⟩',
};

/** Control characters as visible symbols: ESC becomes ␛; those that turn the direction of what follows by their names. */
export function visible(text: string): string {
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, (character) => {
		const code = character.charCodeAt(0);
		const direction = DIRECTIONS[character];
		if (direction) return direction;
		if (code < 0x20) return String.fromCharCode(0x2400 + code);
		if (code === 0x7f) return '\u2421';
		return '\ufffd';
	});
}

/** The same for text of several lines: line ends and tabs stay. */
export function visibleLines(text: string): string {
	return text.replace(/\r\n/g, '\n').split('\n').map((line) => line.split('\t').map(visible).join('\t')).join('\n');
}

/** A whole number with commas.  What the browser has for it takes tens of milliseconds when it is first used. */
export const number = (value: number) => String(value).replace(/\B(?=(\d{3})+$)/g, ',');

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

export function bytes(value: number): string {
	let unit = 0;
	while (value >= 1024 && unit < UNITS.length - 1) {
		value /= 1024;
		unit++;
	}
	return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit]}`;
}

/** Of microseconds, as people read them: 0.8 ms, 12 ms, 3,450 ms. */
export function milliseconds(microseconds: number): string {
	const value = microseconds / 1000;
	return `${value < 9.95 ? value.toFixed(1) : number(Math.round(value))} ms`;
}

export function dateTime(seconds: number): string {
	const date = new Date(seconds * 1000);
	const two = (value: number) => String(value).padStart(2, '0');
	return (
		`${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
		`${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
	);
}
