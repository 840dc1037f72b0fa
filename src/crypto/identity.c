#include "base/err.h"
#include "crypto/certificate.h"

static const char *const kinds[] = {
	[IDENTITY_NODE] = "node",           [IDENTITY_MANAGER] = "manager", [IDENTITY_USER] = "user",
	[IDENTITY_COMPONENT] = "component", [IDENTITY_RELAY] = "relay",
};

const char *identity_kind_name(enum identity_kind kind)
{
	return kinds[kind];
}

void identity_format(const struct identity *identity, char text[IDENTITY_TEXT_SIZE])
{
	char mesh[ID_TEXT_SIZE], id[ID_TEXT_SIZE];
	id_format(&identity->mesh, mesh);
	id_format(&identity->id, id);
	snprintf(text, IDENTITY_TEXT_SIZE, "murmesh://%s/%s/%s", mesh, kinds[identity->kind], id);
}

static int kind_parse(struct str name, enum identity_kind *ret)
{
	for (unsigned kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
		if (str_is(name, kinds[kind])) {
			*ret = kind;
			return 0;
		}
	return -E_CERTIFICATE_IDENTITY;
}

int identity_parse(struct str uri, struct identity *ret)
{
	const struct str scheme = STR("murmesh://");
	struct identity identity;
	struct str rest;
	if (!str_starts(uri, scheme))
		return -E_CERTIFICATE_IDENTITY;
	struct str mesh = str_cut(str_skip(uri, scheme.len), '/', &rest);
	struct str kind = str_cut(rest, '/', &rest);
	if (id_parse(mesh, &identity.mesh) < 0 || kind_parse(kind, &identity.kind) < 0 || id_parse(rest, &identity.id) < 0)
		return -E_CERTIFICATE_IDENTITY;
	*ret = identity;
	return 0;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->kind == b->kind && id_equal(&a->mesh, &b->mesh) && id_equal(&a->id, &b->id);
}
