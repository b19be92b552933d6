#include "record/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int check_url(const struct tape_url *url, struct tape_error *error)
{
    char text[TAPE_URL_TEXT_BYTES];
    if (url->secure || tape_url_is_loopback(url))
        return TAPE_OK;
    tape_url_text(url, text, sizeof text);
    return tape_error_set(error, TAPE_USAGE,
                          "URL \"%.200s\": plain ws:// is for this machine alone (127.0.0.0/8, "
                          "[::1], localhost): use wss://",
                          text);
}

/* The URL of a route, or of no route (-1) where nothing is subscribed. */
static int route_url(const struct tape_receive_options *options, int route, struct tape_url *url,
                     struct tape_error *error)
{
    const char *text = options->url ? options->url : tape_venue_route_url(options->venue, route);
    int status = tape_url_parse(text, url, error);
    if (!status && options->url && !url->has_path && route >= 0)
        status = tape_url_set_target(url, tape_venue_route_path(options->venue, route), error);
    return status ? status : check_url(url, error);
}

static int check_streams(const struct tape_receive_options *options, struct tape_error *error)
{
    if (options->streams_count < 0)
        return tape_error_set(error, TAPE_USAGE, "fewer than no streams are named");
    if (options->streams_count && !options->venue)
        return tape_error_set(error, TAPE_USAGE, "streams are named but no venue");
    if (!options->streams_count && !options->url)
        return tape_error_set(error, TAPE_USAGE, "no stream is named");
    for (int i = 0; i < options->streams_count; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(options->streams[i], options->streams[j]))
                return tape_error_set(error, TAPE_USAGE, "stream \"%.100s\" is named twice",
                                      options->streams[i]);
    return TAPE_OK;
}

static int add_link(struct tape_plan *plan, const struct tape_url *url, int first, int count,
                    struct tape_error *error)
{
    if (plan->links_count == TAPE_PLAN_LINKS_MAX)
        return tape_error_set(error, TAPE_USAGE, "more than %d connections would be needed",
                              TAPE_PLAN_LINKS_MAX);
    plan->links[plan->links_count++] = (struct tape_plan_link){
        .url = *url,
        .streams = (const char *const *)plan->streams + first,
        .streams_count = count,
    };
    return TAPE_OK;
}

/* The links of one route, whose streams are plan->streams[first..). */
static int plan_route(struct tape_plan *plan, const struct tape_receive_options *options, int route,
                      int first, struct tape_error *error)
{
    struct tape_venue_limits limits = {0};
    struct tape_url url;
    int status = route_url(options, route, &url, error);
    if (options->venue)
        tape_venue_read_limits(options->venue, &limits);
    int most = limits.streams_per_connection > 0 ? limits.streams_per_connection : 200;
    int copies = options->connections > 0 ? options->connections : 1;
    do {
        int count = plan->streams_count - first < most ? plan->streams_count - first : most;
        for (int i = 0; i < copies && !status; i++)
            status = add_link(plan, &url, first, count, error);
        first += count;
    } while (first < plan->streams_count && !status);
    return status;
}

/* Copies the streams of one route to the plan's end; -1 when memory is out. */
static int take_streams(struct tape_plan *plan, const struct tape_receive_options *options,
                        const int *routes, int route)
{
    for (int i = 0; i < options->streams_count; i++) {
        if (routes[i] != route)
            continue;
        plan->streams[plan->streams_count] = strdup(options->streams[i]);
        if (!plan->streams[plan->streams_count])
            return -1;
        plan->streams_count++;
    }
    return 0;
}

static int plan_routes(struct tape_plan *plan, const struct tape_receive_options *options,
                       int *routes, struct tape_error *error)
{
    if (!options->streams_count)
        return plan_route(plan, options, -1, 0, error);
    for (int i = 0; i < options->streams_count; i++)
        if ((routes[i] = tape_venue_route(options->venue, options->streams[i], error)) < 0)
            return routes[i];
    for (int route = 0; route < tape_venue_routes(options->venue); route++) {
        int first = plan->streams_count;
        if (take_streams(plan, options, routes, route))
            return tape_error_errno(error, errno, "plan the connections");
        int status =
            plan->streams_count > first ? plan_route(plan, options, route, first, error) : TAPE_OK;
        if (status)
            return status;
    }
    return TAPE_OK;
}

int tape_plan_make(struct tape_plan *plan, const struct tape_receive_options *options,
                   struct tape_error *error)
{
    int status = check_streams(options, error);
    if (status)
        return status;
    size_t streams = (size_t)options->streams_count + 1;
    int *routes = calloc(streams, sizeof *routes);
    plan->streams = calloc(streams, sizeof *plan->streams);
    plan->links = calloc(TAPE_PLAN_LINKS_MAX, sizeof *plan->links);
    if (routes && plan->streams && plan->links)
        status = plan_routes(plan, options, routes, error);
    else
        status = tape_error_errno(error, errno, "plan the connections");
    free(routes);
    if (status)
        tape_plan_free(plan);
    return status;
}

void tape_plan_free(struct tape_plan *plan)
{
    for (int i = 0; i < plan->streams_count; i++)
        free(plan->streams[i]);
    free(plan->streams);
    free(plan->links);
    memset(plan, 0, sizeof *plan);
}
