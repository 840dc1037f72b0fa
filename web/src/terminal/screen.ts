// xterm.js as we use it.  Its own renderer writes <style> elements and style attributes, which the policy `style-src 'self'` forbids; with the
// canvas renderer loaded before open() that renderer is never made.
import '@xterm/xterm/css/xterm.css';
import { CanvasAddon } from '@xterm/addon-canvas';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal, type ITheme } from '@xterm/xterm';
import { colorsOf, watchColors } from '../colors';
import type { Size } from './session';

const ANSI = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'] as const;
const BRIGHT = ['brightBlack', 'brightRed', 'brightGreen', 'brightYellow', 'brightBlue', 'brightMagenta', 'brightCyan', 'brightWhite'] as const;
const TOKENS = ['sunken', 'text', 'accent', 'accent-text', 'select', ...[...ANSI, ...BRIGHT].map((_, i) => `ansi-${i}` as const)] as const;

/** Rows or columns (proto/terminal.proto). */
const LARGEST = 1000;

function themeOf(where: Element): ITheme {
	const colors = colorsOf(where, TOKENS);
	const theme: ITheme = {
		background: colors.sunken,
		foreground: colors.text,
		cursor: colors.accent,
		cursorAccent: colors['accent-text'],
		selectionBackground: colors.select,
	};
	[...ANSI, ...BRIGHT].forEach((name, i) => (theme[name] = colors[`ansi-${i}`]));
	return theme;
}

export interface Screen {
	size(): Size;
	write(bytes: Uint8Array, shown: () => void): void;
	clear(): void;
	focus(): void;
	/** What is selected goes to the clipboard. */
	copy(): void;
	/** For screen readers: the lines as text beside the canvas. */
	setReadable(on: boolean): void;
	close(): void;
}

export interface ScreenEvents {
	typed(bytes: Uint8Array): void;
	resized(size: Size): void;
	selected(some: boolean): void;
	/** Shift+Escape: the keyboard's way out, since Tab belongs to the shell. */
	left(): void;
	label: string;
	readable: boolean;
}

export function openScreen(host: HTMLElement, events: ScreenEvents): Screen {
	const terminal = new Terminal({
		theme: themeOf(host),
		fontFamily: getComputedStyle(host).getPropertyValue('--mono'),
		fontSize: 13,
		lineHeight: 1.15,
		cursorBlink: !matchMedia('(prefers-reduced-motion: reduce)').matches,
		scrollback: 5000,
		minimumContrastRatio: 4.5,
		screenReaderMode: events.readable,
		logLevel: 'off',
		// Links that output names are shown and never opened.
		linkHandler: { activate: () => {} },
	});
	// Repetitions that xterm.js would count through, however many: what no terminal has room for is left out.
	for (const final of 'ILMSTZb')
		terminal.parser.registerCsiHandler({ final }, (parameters) => parameters.some((value) => typeof value === 'number' && value > LARGEST));
	const fit = new FitAddon();
	terminal.loadAddon(new CanvasAddon());
	terminal.loadAddon(fit);
	terminal.attachCustomKeyEventHandler((event) => {
		if (event.type !== 'keydown') return true;
		if (event.shiftKey && event.key === 'Escape') {
			events.left();
			return false;
		}
		const chord = event.ctrlKey && event.shiftKey && !event.altKey;
		if (chord && event.code === 'KeyC') {
			event.preventDefault();
			document.execCommand('copy');
			return false;
		}
		return !(chord && event.code === 'KeyV');
	});
	terminal.open(host);
	terminal.textarea?.setAttribute('aria-label', events.label);
	fit.fit();

	const encoder = new TextEncoder();
	terminal.onData((text) => events.typed(encoder.encode(text)));
	// Mouse reports: one byte a character.
	terminal.onBinary((text) => events.typed(Uint8Array.from(text, (character) => character.charCodeAt(0))));
	terminal.onResize(({ cols, rows }) => events.resized({ columns: cols, rows }));
	terminal.onSelectionChange(() => events.selected(terminal.hasSelection()));
	const sizes = new ResizeObserver(() => {
		if (host.clientWidth && host.clientHeight) fit.fit();
	});
	sizes.observe(host);
	const endWatch = watchColors(() => (terminal.options.theme = themeOf(host)));

	return {
		size: () => ({ columns: terminal.cols, rows: terminal.rows }),
		write: (bytes, shown) => terminal.write(bytes, shown),
		clear: () => terminal.reset(),
		focus: () => terminal.focus(),
		copy() {
			terminal.focus();
			document.execCommand('copy');
		},
		setReadable: (on) => (terminal.options.screenReaderMode = on),
		close() {
			sizes.disconnect();
			endWatch();
			// Out of the page first: disposing of the canvas renderer makes the other one for a moment.
			terminal.element?.remove();
			terminal.dispose();
		},
	};
}
