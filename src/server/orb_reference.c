#include "base/err.h"
#include "server/orb.h"

static uint16_t port_of(struct str settings, const char *name)
{
	uint64_t port = 0;
	str_to_u64(str_setting(settings, name), UINT16_MAX, &port);
	return (uint16_t)port;
}

/* Of host or host:port, [v6] or [v6]:port. */
static struct str host_of(struct str address)
{
	struct str rest;
	return str_starts(address, STR("[")) ? str_cut(str_skip(address, 1), ']', &rest) : str_cut(address, ':', &rest);
}

static void other_add(struct ior *ior, struct str host)
{
	bool known = !host.len || str_is(host, ior->address.host);
	for (size_t i = 0; i < ior->n_others; i++)
		known = known || str_is(host, ior->others[i].host);
	struct ior_address *other = &ior->others[ior->n_others];
	if (!known && ior->n_others < IOR_OTHERS_MAX && str_copy(host, other->host, sizeof other->host) == 0) {
		other->port = ior->address.port;
		ior->n_others++;
	}
}

int orb_reference(struct str settings, struct ior *ret)
{
	*ret = IOR_ROUTER;
	ret->address.port = port_of(settings, "iiop_port");
	ret->tls_port = port_of(settings, "tls_port");
	if (!ret->address.port && !ret->tls_port)
		return -E_NO_ORB;
	int err = str_copy(host_of(str_setting(settings, "address")), ret->address.host, sizeof ret->address.host);
	other_add(ret, host_of(str_setting(settings, "domain")));
	other_add(ret, host_of(str_setting(settings, "machine")));
	return err;
}
