/* Any records at all, folded with and without a reload of the state after every block: the index
 * must take every row, and both ways must give the same tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/index_internal.h"
#include "format/summary_state.h"

enum { RECORDS_MAX = 256 };

static struct tape_archive *archive;

static void say(void *context, const char *words)
{
    (void)context;
    fprintf(stderr, "%s\n", words);
}

static void must(int good, const char *words)
{
    if (good)
        return;
    fprintf(stderr, "%s\n", words);
    abort();
}

static struct tape_summariser *reload(struct tape_index *index, const struct tape_record *records)
{
    struct tape_error error;
    struct tape_summariser *summariser = tape_summariser_new(&error);
    must(tape_index_load_state(index, summariser, &error) == 0, "the state is not loaded");
    must(summariser->next_ordinal == tape_index_next_ordinal(index), "the index was emptied");
    for (uint64_t i = summariser->open_since; i < summariser->next_ordinal; i++)
        tape_summariser_warm(summariser, &records[i], &error);
    return summariser;
}

/* One index for each way, emptied for each input: making the tables takes longer than all else. */
static struct tape_index *fold(const struct tape_record *records, size_t used, size_t step,
                               int reloads)
{
    static struct tape_index *kept[2];
    struct tape_error error = {0};
    struct tape_block_header header = {.segment = 1};
    if (!kept[reloads])
        kept[reloads] = tape_index_open_memory(archive, &error);
    struct tape_index *index = kept[reloads];
    struct tape_summariser *summariser = tape_summariser_new(&error);
    must(index && summariser, error.text);
    must(tape_index_clear(index, &error) == 0, error.text);
    for (size_t i = 0; i < used; i++) {
        must(tape_summariser_add(summariser, &records[i], NULL, &error) == 0, error.text);
        if ((i + 1) % step != 0 && i + 1 < used)
            continue;
        struct tape_summary *summary = tape_summariser_take(summariser, &header, i);
        must(tape_index_begin(index, &error) == 0, error.text);
        must(tape_index_apply(index, summary, &error) == 0, error.text);
        must(tape_index_commit(index, &error) == 0, error.text);
        tape_summary_free(summary);
        if (reloads) {
            tape_summariser_free(summariser);
            summariser = reload(index, records);
        }
    }
    tape_summariser_free(summariser);
    return index;
}

static void open_archive(void)
{
    char path[] = "/tmp/tape-fuzz-XXXXXX/a";
    struct tape_error error;
    path[strlen(path) - 2] = '\0';
    must(mkdtemp(path) != NULL, "no directory");
    path[strlen(path)] = '/';
    archive = tape_archive_create(path, &error);
    must(archive != NULL, error.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tape_record records[RECORDS_MAX];
    size_t used = 0, at = 1;
    int64_t ns = 1795600000000000000;
    if (!archive)
        open_archive();
    if (size < 2)
        return 0;
    while (used < RECORDS_MAX) {
        records[used].ordinal = used;
        size_t bytes = tape_record_get(data + at, size - at, ns, &records[used]);
        if (bytes == 0)
            break;
        at += bytes;
        ns = records[used++].recv_ns;
    }
    if (used == 0)
        return 0;
    struct tape_error error;
    size_t step = 1 + data[0] % 64;
    struct tape_index *left = fold(records, used, step, 1);
    struct tape_index *right = fold(records, used, step, 0);
    must(tape_index_compare(left, right, say, NULL, &error) == 0, "the two ways differ");
    return 0;
}
