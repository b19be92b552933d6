/* Makes and reads archives for the index's part tests.
 *
 *   index_story write DIR SEED RECORDS CRASHES   a recorder's life, indexed as it is written
 *   index_story lines DIR VENUE < LINES          "<ns> <payload>" lines as one connection's
 * messages index_story catch_up DIR                     what the recorder does at its start
 *   index_story compare DIR                      index.db, read only, with the segments
 */
#include "tests/unit/make_story.h"

static void lines(const char *directory, const char *venue)
{
    static char line[1 << 20];
    struct recorder recorder;
    struct story story = {0};
    recorder_open(&recorder, directory);
    for (int first = 1; fgets(line, sizeof line, stdin); first = 0) {
        char *payload;
        size_t bytes = strcspn(line, "\n");
        line[bytes] = '\0';
        story.now_ns = strtoll(line, &payload, 10);
        if (*payload++ != ' ')
            abort();
        if (first) {
            story_start(&story, 1);
            story_open(&story, 1, venue);
        }
        if (strlen(payload) < 65536)
            story_frame(&story, 1, 0x81, payload, strlen(payload));
        if (story.used < 300)
            continue;
        recorder_block(&recorder, story.records, story.used);
        uint64_t next = story.first + story.used;
        story_free(&story);
        story.first = next;
    }
    if (story.used > 0)
        recorder_block(&recorder, story.records, story.used);
    recorder_close(&recorder);
    story_free(&story);
}

static int catch_up(const char *directory)
{
    int rebuilt;
    struct tape_archive *archive = tape_archive_create(directory, &story_error);
    must(archive);
    struct tape_index *index = tape_index_open(archive, &rebuilt, &story_error);
    must(index);
    struct tape_summariser *summariser = tape_summariser_new(&story_error);
    int64_t blocks = tape_index_catch_up(index, archive, summariser, NULL, NULL, &story_error);
    must(blocks >= 0);
    printf("%lld blocks\n", (long long)blocks);
    tape_summariser_free(summariser);
    tape_index_close(index);
    tape_archive_close(archive);
    return 0;
}

static void say(void *context, const char *words)
{
    (void)context;
    puts(words);
}

static int compare(const char *directory)
{
    struct tape_archive *archive = tape_archive_open(directory, &story_error);
    must(archive);
    struct tape_index *index = tape_index_open_read(archive, &story_error);
    if (!index) {
        puts(story_error.text);
        tape_archive_close(archive);
        return 1;
    }
    struct tape_index *truth = tape_index_open_memory(archive, &story_error);
    struct tape_summariser *summariser = tape_summariser_new(&story_error);
    must(truth && summariser);
    must(tape_index_catch_up(truth, archive, summariser, NULL, NULL, &story_error) >= 0);
    int differences = tape_index_compare(index, truth, say, NULL, &story_error);
    must(differences >= 0);
    printf("%d differences\n", differences);
    tape_summariser_free(summariser);
    tape_index_close(truth);
    tape_index_close(index);
    tape_archive_close(archive);
    return differences > 0;
}

int main(int count, char **words)
{
    const char *what = count > 2 ? words[1] : "";
    if (strcmp(what, "write") == 0 && count == 6) {
        uint64_t seed = strtoull(words[3], NULL, 10);
        struct story story = story_of_life(seed, strtoull(words[4], NULL, 10));
        recorder_write(words[2], &story, seed, words[5][0] == '1');
        story_free(&story);
        return 0;
    }
    if (strcmp(what, "lines") == 0 && count == 4) {
        lines(words[2], words[3]);
        return 0;
    }
    if (strcmp(what, "catch_up") == 0)
        return catch_up(words[2]);
    if (strcmp(what, "compare") == 0)
        return compare(words[2]);
    fputs("usage: index_story write|lines|catch_up|compare DIR ...\n", stderr);
    return 2;
}
