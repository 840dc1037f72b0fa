/* Prints the API's description: the build makes the console's client from it. */
#include <unistd.h>

#include "web/api.h"

int main(void)
{
	json_t *document = openapi_document();
	if (!document || json_dumpfd(document, STDOUT_FILENO, JSON_INDENT(1)) < 0 || write(STDOUT_FILENO, "\n", 1) != 1)
		return 1;
	json_decref(document);
	return 0;
}
