#include "agent/relay_ports.h"

#include "base/err.h"
#include "conf/conf.h"
#include "orb/ior.h"
#include "os/fd.h"
#include "os/host.h"
#include "os/socket.h"
#include "tunnel/grant.h"

void relay_ports_close(struct relay_ports *ports)
{
	fd_close(ports->front.fd);
	fd_close(ports->tls.fd);
	fd_close(ports->ior.fd);
}

static int port_open(struct relay_ports *ports, const char *key, uint16_t port, struct relay_port *ret)
{
	ret->fd = socket_listen_port(port, &ret->port);
	if (ret->fd >= 0)
		return 0;
	ret->port = 0;
	ports->taken = key;
	ports->at = port;
	return -E_PORT;
}

static int router_port_open(struct relay_ports *ports, const struct conf *conf, const char *key, uint16_t usual,
                            struct relay_port *ret)
{
	bool any = conf_port(conf, "Relay", "Port") == 0;
	if (conf_is_set(conf, "Router", key))
		return port_open(ports, key, conf_port(conf, "Router", key), ret);
	port_open(ports, key, any ? 0 : usual, ret);
	return 0;
}

int relay_ports_open(const struct conf *conf, struct relay_ports *ret)
{
	*ret = (struct relay_ports){ { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
	int err = port_open(ret, "Port", conf_port(conf, "Relay", "Port"), &ret->front);
	if (err == 0)
		err = router_port_open(ret, conf, "TLSPort", 8194, &ret->tls);
	if (err == 0)
		err = router_port_open(ret, conf, "IORSenderPort", 8192, &ret->ior);
	if (err < 0)
		relay_ports_close(ret);
	return err;
}

/* Host and port of the front, as others find it; the host may be in found. */
static struct str front_of(const struct conf *conf, const struct relay_ports *ports, char found[200], uint16_t *ret_port)
{
	struct conf_address configured = { 0 };
	struct str rest;
	conf_address(conf, "Relay", "Address", &configured);
	*ret_port = configured.has_port ? configured.port : ports->front.port;
	if (configured.host.len)
		return configured.host;
	struct str host = host_address(found, 200) == 0 ? str_from(found) : STR("127.0.0.1");
	return str_starts(host, STR("[")) ? str_cut(str_skip(host, 1), ']', &rest) : host;
}

int relay_address(const struct conf *conf, const struct relay_ports *ports, char out[256])
{
	char found[200];
	uint16_t port;
	struct str host = front_of(conf, ports, found, &port);
	return target_format(host, port, out, 256);
}

int relay_reference(const struct conf *conf, const struct relay_ports *ports, struct buf *out)
{
	struct ior ior = IOR_ROUTER;
	char found[200];
	struct str host = front_of(conf, ports, found, &ior.tls_port);
	if (ports->tls.port &&
	    ior.tls_port == ports->front.port) /* else a port elsewhere leads to the front, and to nothing else */
		ior.tls_port = ports->tls.port;
	int err = str_copy(host, ior.address.host, sizeof ior.address.host);
	return err < 0 ? err : ior_write(&ior, out);
}
