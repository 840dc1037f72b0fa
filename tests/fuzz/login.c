/* What `murmesh login` is told and keeps: an address with its fingerprint, and the file of a login. */
#include <assert.h>

#include "cli/logins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct str text = { (const char *)data, size };
	struct server_address server, again;
	struct login login = { 0 };
	if (server_address_parse(text, &server) == 0) {
		/* What it is called names a folder, and is the same address again. */
		assert(!strchr(server.text, '/') && server.text[0] != '.');
		assert(server_address_parse(str_from(server.text), &again) == 0);
		assert(strcmp(server.text, again.text) == 0 && !again.pinned);
	}
	if (login_read(text, &login) == 0)
		assert(login.key && login.leaf && login.intermediate);
	login_done(&login);
	return 0;
}
