#include "ca/chain.h"

#include "base/encode.h"
#include "base/err.h"
#include "os/clock.h"

#define YEAR_S (365 * 86400ll)

static int make(const struct certificate_order *order, const char *name, const struct key *subject,
                const struct certificate *issuer, const struct key *issuer_key, struct certificate **ret)
{
	struct certificate_order whole = *order;
	whole.common_name = str_from(name);
	whole.not_before = clock_wall_s() - 3600;
	whole.not_after = clock_wall_s() + (order->profile == CERTIFICATE_ROOT ? 20 : 5) * YEAR_S;
	return certificate_issue(&whole, subject, issuer, issuer_key, ret);
}

int chain_root_make(const struct id *mesh, const struct key *root_key, struct certificate **ret)
{
	const struct certificate_order order = { .profile = CERTIFICATE_ROOT, .identity = { .mesh = *mesh } };
	char name[64], text[ID_TEXT_SIZE];
	id_format(mesh, text);
	snprintf(name, sizeof name, "murmesh root %.8s", text);
	return make(&order, name, root_key, NULL, root_key, ret);
}

/* Its name is its own: issuers are looked for by names. */
int chain_intermediate_make(const struct id *mesh, const struct key *subject, const struct certificate *root,
                            const struct key *root_key, struct certificate **ret)
{
	const struct certificate_order order = { .profile = CERTIFICATE_INTERMEDIATE, .identity = { .mesh = *mesh } };
	char name[64], text[ID_TEXT_SIZE], key[HEX_SIZE(4)];
	uint8_t hash[HASH_SIZE];
	int err = key_public_hash(subject, hash);
	if (err < 0)
		return err;
	id_format(mesh, text);
	hex_encode(hash, 4, key);
	snprintf(name, sizeof name, "murmesh intermediate %.8s %s", text, key);
	return make(&order, name, subject, root, root_key, ret);
}

int chain_check(const struct id *mesh, const struct certificate *root, const struct certificate *intermediate,
                const struct key *intermediate_key)
{
	struct certificate_info info;
	struct certificate *leaf;
	struct identity identity;
	int err = certificate_inspect(intermediate, &info);
	const struct certificate_order order = { .profile = CERTIFICATE_LEAF,
		                                 .identity = { *mesh, IDENTITY_COMPONENT, *mesh },
		                                 .common_name = STR("check"),
		                                 .not_before = info.not_before,
		                                 .not_after = info.not_before + 60 };
	if (err == 0)
		err = certificate_issue(&order, intermediate_key, intermediate, intermediate_key, &leaf);
	if (err < 0)
		return err == -E_INTERNAL ? -E_CHECKSUM : err;
	err = certificate_verify(leaf, intermediate, root, mesh, 1u << IDENTITY_COMPONENT, info.not_before, &identity);
	certificate_free(leaf);
	return err < 0 ? -E_CHECKSUM : 0;
}
