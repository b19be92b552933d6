#include <stdlib.h>
#include <string.h>

#include "format/summary_state.h"

/* The ${wanted}th smallest of values[0..count). Pivots are drawn at random, so that no order of
 * values makes it slow; the answer does not depend on them. */
static int64_t select_nth(int64_t *values, uint32_t count, uint32_t wanted, uint64_t *random)
{
    uint32_t low = 0, high = count;
    while (high - low > 1) {
        *random = tape_summary_mix(*random + 1, 0x2545f4914f6cdd1du);
        int64_t pivot = values[low + (uint32_t)(*random % (high - low))];
        /* [low, less) < pivot, [less, at) == pivot, [more, high) > pivot */
        uint32_t less = low, at = low, more = high;
        while (at < more) {
            int64_t value = values[at];
            if (value < pivot) {
                values[at++] = values[less];
                values[less++] = value;
            } else if (value > pivot) {
                values[at] = values[--more];
                values[more] = value;
            } else {
                at++;
            }
        }
        if (wanted < less)
            high = less;
        else if (wanted >= more)
            low = more;
        else
            return pivot;
    }
    return values[low];
}

/* Latencies side by side, slot after slot, in the order of the slots. */
static int64_t *group(const struct tape_summariser *summariser)
{
    size_t count = summariser->latencies_used;
    int64_t *values = malloc((count + 1) * sizeof *values);
    uint32_t *next = calloc(summariser->slots_used + 1, sizeof *next);
    if (values && next) {
        for (uint32_t i = 0; i + 1 < summariser->slots_used; i++)
            next[i + 1] = next[i] + summariser->slots[i].lat_n;
        for (size_t i = 0; i < count; i++)
            values[next[summariser->latencies[i].slot]++] = summariser->latencies[i].ns;
    } else {
        free(values);
        values = NULL;
    }
    free(next);
    return values;
}

static void put_slot(struct tape_summariser *summariser, const struct tape_summary_slot *slot,
                     int64_t block_id, const int64_t quantiles[2])
{
    struct tape_summary_rows *rows = &summariser->rows;
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_BLOCK_STREAM);
    tape_summary_rows_number(rows, (int64_t)slot->first_ordinal);
    tape_summary_rows_number(rows, block_id);
    tape_summary_rows_number(rows, (int64_t)slot->stream + 1);
    tape_summary_rows_number(rows, tape_summary_day(summariser, slot->min_ns));
    tape_summary_rows_number(rows, (int64_t)slot->messages);
    tape_summary_rows_number(rows, (int64_t)slot->bytes);
    tape_summary_rows_number(rows, slot->min_ns);
    tape_summary_rows_number(rows, slot->max_ns);
    tape_summary_rows_number(rows, slot->first_sequence);
    tape_summary_rows_number(rows, slot->last_sequence);
    tape_summary_rows_number(rows, slot->lat_n);
    tape_summary_rows_number(rows, slot->lat_min_ns);
    tape_summary_rows_number(rows, slot->lat_n ? slot->lat_sum_ns : TAPE_SUMMARY_NONE);
    tape_summary_rows_number(rows, quantiles[0]);
    tape_summary_rows_number(rows, quantiles[1]);
    tape_summary_rows_number(rows, slot->lat_max_ns);
}

static void put_slots(struct tape_summariser *summariser, int64_t block_id, int64_t *values)
{
    uint64_t random = summariser->seed;
    for (uint32_t i = 0; i < summariser->slots_used; i++) {
        struct tape_summary_slot *slot = &summariser->slots[i];
        int64_t quantiles[2] = {TAPE_SUMMARY_NONE, TAPE_SUMMARY_NONE};
        uint32_t n = slot->lat_n;
        if (n > 0) {
            quantiles[0] = select_nth(values, n, (n - 1) / 2, &random);
            quantiles[1] = select_nth(values, n, (uint32_t)((99ull * n + 99) / 100 - 1), &random);
        }
        put_slot(summariser, slot, block_id, quantiles);
        values += n;
        summariser->streams[slot->stream].slot = 0;
    }
}

static void put_stream_counts(struct tape_summariser *summariser, uint32_t place)
{
    struct tape_summary_rows *rows = &summariser->rows;
    struct tape_summary_stream *stream = &summariser->streams[place];
    tape_summary_rows_begin(rows, TAPE_SUMMARY_ROW_STREAM_COUNTS);
    tape_summary_rows_number(rows, (int64_t)place + 1);
    tape_summary_rows_number(rows, stream->first_ns);
    tape_summary_rows_number(rows, stream->last_ns);
    tape_summary_rows_number(rows, (int64_t)stream->messages);
    tape_summary_rows_number(rows, (int64_t)stream->bytes);
    tape_summary_rows_number(rows, stream->last_sequence);
    tape_summary_rows_number(rows, (int64_t)stream->duplicates);
    tape_summary_rows_number(rows, (int64_t)stream->breaks);
    tape_summary_rows_number(rows, stream->open_gap ? stream->open_gap : TAPE_SUMMARY_NONE);
    stream->touched = 0;
}

void tape_summary_streams_take(struct tape_summariser *summariser, int64_t block_id)
{
    int64_t *values = group(summariser);
    if (values)
        put_slots(summariser, block_id, values);
    else
        summariser->short_of_memory = 1;
    free(values);
    for (uint32_t i = 0; i < summariser->touched_used; i++)
        put_stream_counts(summariser, summariser->touched[i]);
    summariser->slots_used = 0;
    summariser->latencies_used = 0;
    summariser->touched_used = 0;
}
