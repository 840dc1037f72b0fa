// Loaded with its page, not with the first view.
export const commandLine = {
	lead: 'The program murmesh, for work from your own machine: maps, terminals, commands on many devices.',
	what: (version: string, size: string) => `murmesh ${version}, ${size}`,
	download: 'Download',
	downloadText:
		'It is the one of this server, for Linux on the same kind of processor. Run these lines in the folder where you want it. curl does not know the mesh’s own certificate (-k); the second line checks that what has come is what this page names.',
	copyGet: 'Copy the download',
	copyCheck: 'Copy the check',
	login: 'Log in',
	copyLogin: 'Copy the login',
	loginText: 'It shows the fingerprint of this server and asks; then it wants your name and password. A login is good for 12 hours.',
	libraries: 'Where it says that a library is missing (Debian 12):',
	install: 'sudo apt-get install libjansson4 libnghttp2-14 libsqlite3-0 libssl3 libuv1',
	copyInstall: 'Copy the installation',
	by: 'Or by the browser',
	save: 'Save the program',
	hash: 'SHA-256',
	none: 'This server was started without the command line beside it. It is in the same package as the server: copy the program murmesh from there.',
};
