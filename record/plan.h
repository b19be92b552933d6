/* Which connections a recorder needs: streams by route, cut to what one connection may carry. */
#ifndef TAPE_RECORD_PLAN_H
#define TAPE_RECORD_PLAN_H

#include "format/error.h"
#include "record/receive.h"
#include "record/url.h"

enum { TAPE_PLAN_LINKS_MAX = 4096 };

/* One connection to be kept up. */
struct tape_plan_link {
    struct tape_url url;
    const char *const *streams; /* a stretch of the plan's */
    int streams_count;
};

/* Owns all it points to. Zero-initialise. */
struct tape_plan {
    char **streams; /* by route, in the order they were named */
    int streams_count;
    struct tape_plan_link *links;
    int links_count;
};

/* tape_plan_make(plan, options, error): 0, TAPE_USAGE or TAPE_FAILED. */
int tape_plan_make(struct tape_plan *plan, const struct tape_receive_options *options,
                   struct tape_error *error);
void tape_plan_free(struct tape_plan *plan);

#endif
