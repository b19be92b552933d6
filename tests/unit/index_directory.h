/* A directory for an archive, and what comparing two indexes told, for the tests of the index.
 * After cmocka.h. */
#ifndef TAPE_TESTS_UNIT_INDEX_DIRECTORY_H
#define TAPE_TESTS_UNIT_INDEX_DIRECTORY_H

#include <stdio.h>
#include <unistd.h>

#include "format/error.h"
#include "tests/unit/make_story.h"

static char path[256], archive_path[300];
static int directory;
static struct tape_error error;

static int open_directory(void **state)
{
    (void)state;
    directory = made_directory(path);
    snprintf(archive_path, sizeof archive_path, "%s/a", path);
    return directory < 0;
}

static int remove_directory(void **state)
{
    (void)state;
    close(directory);
    remove_tree(path);
    return 0;
}

static struct {
    int count;
    char first[1024];
} told;

static void hear(void *context, const char *words)
{
    (void)context;
    if (told.count++ == 0)
        snprintf(told.first, sizeof told.first, "%s", words);
}

#endif
