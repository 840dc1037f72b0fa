#include "web/api.h"

json_t *openapi_document(void)
{
	return json_object();
}
