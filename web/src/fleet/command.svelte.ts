// The command that somebody is writing, as it is sent and as it is written on a command line.
import { splitWords } from './argv';
import { shellQuote } from './targets';

export class Command {
	text = $state('');
	shell = $state(false);

	/** Undefined while it cannot be sent. */
	argv = $derived.by(() => {
		if (!this.text.trim()) return undefined;
		return this.shell ? ['sh', '-c', this.text] : splitWords(this.text);
	});

	unbalanced = $derived(this.text.trim() !== '' && this.argv === undefined);

	line(selector: string): string {
		return `murmesh run ${selector} -- ${(this.argv ?? []).map(shellQuote).join(' ')}`;
	}
}
