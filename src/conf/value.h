/* conf/value.h: what each type of option takes. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H
#include "conf/conf.h"

#define VALUE_WANTED_SIZE 96

/* Whether text, not empty, is a value of this option; *ret_number is its number (boolean, unsigned, port, duration), else 0. */
bool value_parse(const struct conf_option *option, struct str text, uint64_t *ret_number);
/* What the option takes, in words that follow "is not". */
void value_wanted(const struct conf_option *option, char out[VALUE_WANTED_SIZE]);
bool value_address(struct str text, struct conf_address *ret);
/* Takes the next item off *rest. */
struct str value_item(struct str *rest);
#endif
