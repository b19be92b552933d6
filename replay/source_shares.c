#include "replay/source_shares.h"

#include <stdlib.h>
#include <string.h>

#include "replay/lateness.h"
#include "replay/source_hash.h"

enum {
    STREAMS_FIRST = 64,
    LATENESSES_MAX = 8192, /* 64 MiB; rows beyond tell of the largest only */
};

/*
 * Positions count what was given of a stream, from 1; first and last are those of the messages that
 * this archive had, too, seen of them: what is between them and was not seen was missed.
 */
struct row {
    int archive;
    uint64_t given, late, seen, first, last, unmatched, differing;
    int64_t late_max_ns;
    struct tape_lateness *lateness; /* NULL until something is late */
};

/* Invariant: rows [0, rows_used) are in the order of their archives. */
struct stream {
    char *name;
    size_t name_bytes;
    uint64_t hash, given;
    struct row *rows;
    int rows_used, rows_room;
};

/* Which row is the ${index}th to be told. */
struct told {
    int stream, row;
};

/*
 * Invariants: slots is a power of two above 2 * streams_used; each holds a stream's number + 1, or
 * 0. told [0, told_used) is in order when told_used equals rows_total. others is the number of
 * "(others)", or -1.
 */
struct tape_source_shares {
    struct stream *streams;
    int streams_used, streams_room, others;
    uint32_t *slots, slots_mask;
    int rows_total, latenesses;
    struct told *told;
    int told_used;
};

struct tape_source_shares *tape_source_shares_new(void)
{
    struct tape_source_shares *shares = calloc(1, sizeof *shares);
    if (!shares)
        return NULL;
    shares->others = -1;
    shares->slots_mask = 4 * STREAMS_FIRST - 1;
    shares->slots = calloc(4 * STREAMS_FIRST, sizeof *shares->slots);
    shares->streams_room = STREAMS_FIRST;
    shares->streams = calloc(STREAMS_FIRST, sizeof *shares->streams);
    if (shares->slots && shares->streams)
        return shares;
    tape_source_shares_free(shares);
    return NULL;
}

void tape_source_shares_recount(struct tape_source_shares *shares)
{
    for (int i = 0; i < shares->streams_used; i++) {
        struct stream *stream = &shares->streams[i];
        for (int row = 0; row < stream->rows_used; row++)
            free(stream->rows[row].lateness);
        stream->rows_used = 0;
        stream->given = 0;
    }
    free(shares->told);
    shares->told = NULL;
    shares->rows_total = shares->latenesses = shares->told_used = 0;
}

void tape_source_shares_reset(struct tape_source_shares *shares)
{
    tape_source_shares_recount(shares);
    for (int i = 0; i < shares->streams_used; i++) {
        free(shares->streams[i].rows);
        free(shares->streams[i].name);
    }
    if (shares->slots)
        memset(shares->slots, 0, (shares->slots_mask + 1ul) * sizeof *shares->slots);
    shares->streams_used = 0;
    shares->others = -1;
}

void tape_source_shares_free(struct tape_source_shares *shares)
{
    if (!shares)
        return;
    tape_source_shares_reset(shares);
    free(shares->streams);
    free(shares->slots);
    free(shares);
}

/* ---- streams ---- */

static uint32_t *find_slot(const struct tape_source_shares *shares, const char *name, size_t bytes,
                           uint64_t hash)
{
    uint32_t at = (uint32_t)hash & shares->slots_mask;
    for (;; at = (at + 1) & shares->slots_mask) {
        uint32_t *slot = &shares->slots[at];
        if (*slot == 0)
            return slot;
        const struct stream *stream = &shares->streams[*slot - 1];
        if (stream->hash == hash && stream->name_bytes == bytes &&
            memcmp(stream->name, name, bytes) == 0)
            return slot;
    }
}

static int grow(struct tape_source_shares *shares)
{
    int room = 2 * shares->streams_room;
    struct stream *streams = realloc(shares->streams, (size_t)room * sizeof *streams);
    if (!streams)
        return TAPE_FAILED;
    shares->streams = streams;
    uint32_t *slots = calloc(4 * (size_t)room, sizeof *slots);
    if (!slots)
        return TAPE_FAILED;
    free(shares->slots);
    shares->slots = slots;
    shares->slots_mask = 4 * (uint32_t)room - 1;
    shares->streams_room = room;
    for (int i = 0; i < shares->streams_used; i++) {
        const struct stream *stream = &streams[i];
        *find_slot(shares, stream->name, stream->name_bytes, stream->hash) = (uint32_t)i + 1;
    }
    return 0;
}

static int add_stream(struct tape_source_shares *shares, const char *name, size_t bytes,
                      uint64_t hash)
{
    if (shares->streams_used == shares->streams_room && grow(shares) < 0)
        return TAPE_FAILED;
    char *copy = malloc(bytes + 1);
    if (!copy)
        return TAPE_FAILED;
    memcpy(copy, name, bytes);
    copy[bytes] = '\0';
    int number = shares->streams_used++;
    shares->streams[number] = (struct stream){.name = copy, .name_bytes = bytes, .hash = hash};
    *find_slot(shares, copy, bytes, hash) = (uint32_t)number + 1;
    return number;
}

int tape_source_shares_stream(struct tape_source_shares *shares, const char *name, size_t bytes)
{
    static const char others[] = "(others)";
    if (bytes > TAPE_SOURCE_SHARES_NAME_MAX_BYTES)
        bytes = TAPE_SOURCE_SHARES_NAME_MAX_BYTES;
    if (bytes == 0)
        name = "";
    uint64_t hash = tape_source_hash(0, name, bytes);
    uint32_t slot = *find_slot(shares, name, bytes, hash);
    if (slot != 0)
        return (int)slot - 1;
    if (shares->streams_used < TAPE_SOURCE_SHARES_STREAMS_MAX)
        return add_stream(shares, name, bytes, hash);
    if (shares->others < 0) {
        bytes = sizeof others - 1;
        hash = tape_source_hash(0, others, bytes);
        slot = *find_slot(shares, others, bytes, hash);
        shares->others = slot ? (int)slot - 1 : add_stream(shares, others, bytes, hash);
    }
    return shares->others;
}

/* ---- rows ---- */

static struct row *insert_row(struct tape_source_shares *shares, struct stream *stream, int at,
                              int archive)
{
    if (stream->rows_used == stream->rows_room) {
        int room = stream->rows_room ? 2 * stream->rows_room : 2;
        struct row *rows = realloc(stream->rows, (size_t)room * sizeof *rows);
        if (!rows)
            return NULL;
        stream->rows = rows;
        stream->rows_room = room;
    }
    struct row *row = &stream->rows[at];
    memmove(row + 1, row, (size_t)(stream->rows_used - at) * sizeof *row);
    *row = (struct row){.archive = archive};
    stream->rows_used++;
    shares->rows_total++;
    return row;
}

static struct row *find_row(struct tape_source_shares *shares, int number, int archive)
{
    struct stream *stream = &shares->streams[number];
    int at = 0;
    while (at < stream->rows_used && stream->rows[at].archive < archive)
        at++;
    if (at < stream->rows_used && stream->rows[at].archive == archive)
        return &stream->rows[at];
    return insert_row(shares, stream, at, archive);
}

static void see(struct row *row, uint64_t position)
{
    row->seen++;
    if (row->first == 0 || position < row->first)
        row->first = position;
    if (position > row->last)
        row->last = position;
}

uint64_t tape_source_shares_given(struct tape_source_shares *shares, int stream, int archive)
{
    struct row *row = find_row(shares, stream, archive);
    if (!row)
        return 0;
    uint64_t position = ++shares->streams[stream].given;
    row->given++;
    see(row, position);
    return position;
}

int tape_source_shares_late(struct tape_source_shares *shares, int stream, int archive,
                            uint64_t position, int again, int64_t late_ns)
{
    struct row *row = find_row(shares, stream, archive);
    if (!row)
        return TAPE_FAILED;
    row->late++;
    if (!again && position > 0)
        see(row, position);
    if (late_ns > row->late_max_ns)
        row->late_max_ns = late_ns;
    if (!row->lateness && shares->latenesses < LATENESSES_MAX) {
        row->lateness = calloc(1, sizeof *row->lateness);
        if (!row->lateness)
            return TAPE_FAILED;
        shares->latenesses++;
    }
    if (row->lateness)
        tape_lateness_add(row->lateness, late_ns);
    return 0;
}

void tape_source_shares_unmatched(struct tape_source_shares *shares, int stream, int archive)
{
    struct row *row = find_row(shares, stream, archive);
    if (row)
        row->unmatched++;
}

void tape_source_shares_differing(struct tape_source_shares *shares, int stream, int archive)
{
    struct row *row = find_row(shares, stream, archive);
    if (row)
        row->differing++;
}

/* ---- reading ---- */

static int compare_streams(const void *one, const void *other, void *context)
{
    const struct stream *streams = context;
    const struct stream *a = &streams[*(const int *)one], *b = &streams[*(const int *)other];
    size_t bytes = a->name_bytes < b->name_bytes ? a->name_bytes : b->name_bytes;
    int order = memcmp(a->name, b->name, bytes);
    return order ? order : (a->name_bytes > b->name_bytes) - (a->name_bytes < b->name_bytes);
}

static int put_in_order(struct tape_source_shares *shares)
{
    int *numbers = malloc(((size_t)shares->streams_used + 1) * sizeof *numbers);
    struct told *told =
        realloc(shares->told, ((size_t)shares->rows_total + 1) * sizeof *shares->told);
    if (told)
        shares->told = told;
    if (!numbers || !told) {
        free(numbers);
        return TAPE_FAILED;
    }
    for (int i = 0; i < shares->streams_used; i++)
        numbers[i] = i;
    qsort_r(numbers, (size_t)shares->streams_used, sizeof *numbers, compare_streams,
            shares->streams);
    shares->told_used = 0;
    for (int i = 0; i < shares->streams_used; i++)
        for (int row = 0; row < shares->streams[numbers[i]].rows_used; row++)
            shares->told[shares->told_used++] = (struct told){numbers[i], row};
    free(numbers);
    return 0;
}

int tape_source_shares_read(struct tape_source_shares *shares, int index,
                            struct tape_source_share *share)
{
    if (index < 0 || index >= shares->rows_total ||
        (shares->told_used != shares->rows_total && put_in_order(shares) < 0))
        return 0;
    const struct stream *stream = &shares->streams[shares->told[index].stream];
    const struct row *row = &stream->rows[shares->told[index].row];
    *share = (struct tape_source_share){
        .stream = stream->name,
        .archive = row->archive,
        .given = row->given,
        .late = row->late,
        .missed = row->seen ? row->last - row->first + 1 - row->seen : 0,
        .unmatched = row->unmatched,
        .differing = row->differing,
        .late_p50_ns = row->lateness ? tape_lateness_quantile(row->lateness, 0.5) : 0,
        .late_p99_ns = row->lateness ? tape_lateness_quantile(row->lateness, 0.99) : 0,
        .late_max_ns = row->late_max_ns,
    };
    return 1;
}
