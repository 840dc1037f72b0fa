#include "gateway/gateway.h"

enum gateway_place gateway_place(struct str settings)
{
	return str_is(str_setting(settings, "relay"), "yes") ? GATEWAY_IN_RELAY
	       : str_setting(settings, "roles").len          ? GATEWAY_ELSEWHERE
	                                                     : GATEWAY_AT_CORE;
}
