// Rows as CSV (RFC 4180).  A cell that a spreadsheet would take for a formula gets an apostrophe in front.

export function csvCell(text: string): string {
	const harmless = /^[\s]*[=+\-@\t\r|%]/.test(text) ? `'${text}` : text;
	return /[",\r\n]/.test(harmless) || harmless !== harmless.trim() ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export function csv(rows: Iterable<readonly string[]>): string {
	const lines: string[] = [];
	for (const row of rows) lines.push(row.map(csvCell).join(','));
	return `${lines.join('\r\n')}\r\n`;
}

export function download(name: string, text: string, type = 'text/csv;charset=utf-8'): void {
	const url = URL.createObjectURL(new Blob([text], { type }));
	const anchor = document.createElement('a');
	anchor.href = url;
	anchor.download = name;
	anchor.click();
	setTimeout(() => URL.revokeObjectURL(url), 1000);
}
