// A command as people type it, as the words that are sent.

/** Undefined when a quotation mark is not closed.  Quotes and backslashes as in a shell, nothing else. */
export function splitWords(text: string): string[] | undefined {
	const words: string[] = [];
	let word: string | undefined;
	let quote = '';
	for (let i = 0; i < text.length; i++) {
		const character = text.charAt(i);
		if (quote === "'" || (quote === '"' && character !== '\\')) {
			if (character === quote) quote = '';
			else word = (word ?? '') + character;
		} else if (character === '\\') {
			if (++i >= text.length) return undefined;
			const escaped = text.charAt(i);
			word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(escaped) ? `\\${escaped}` : escaped);
		} else if (character === "'" || character === '"') {
			quote = character;
			word ??= '';
		} else if (/\s/.test(character)) {
			if (word !== undefined) words.push(word);
			word = undefined;
		} else word = (word ?? '') + character;
	}
	if (quote) return undefined;
	if (word !== undefined) words.push(word);
	return words;
}
